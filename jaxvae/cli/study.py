"""The commands that train a study: `study`, and `gather` for what a job array has trained."""

import functools
from dataclasses import dataclass

import jax

from jaxvae.cli.options import Command, Group, InFolder, Output, make_group
from jaxvae.cli.panel import ContextSource, load_panel_with_context
from jaxvae.cli.run import Task, carry_out, say_is_done, use_all_cores
from jaxvae.errors import FolderError, OptionError, option
from jaxvae.report.study_report import study_opening
from jaxvae.runs.interrupts import Interrupts
from jaxvae.runs.processes import parse_processes
from jaxvae.runs.run import is_finished, require_shared_tiles, saved_options
from jaxvae.study.config import StudyConfig, presets_of
from jaxvae.study.describe import study_identity
from jaxvae.study.folder import STUDY_LAYOUT, study_files
from jaxvae.study.presets import MODELS, PRESETS
from jaxvae.study.run import run_study
from jaxvae.training.tiles import resolve_width


@dataclass(frozen=True, kw_only=True)
class Sharing(Group):
    """Which of several processes this is."""

    coordinator: str | None = option(
        None,
        "of several processes that share the study in --out, or auto on a cluster that says",
        metavar="HOST:PORT",
    )
    processes: int | None = option(None, "how many share the study", least=1)
    process: int | None = option(None, "which of them this is, from 0", metavar="I", least=0)


@dataclass(frozen=True, kw_only=True)
class Gathered(InFolder):
    """Which study."""

    quiet: bool = option(False, "no progress")


def study(
    interrupts: Interrupts,
    source: ContextSource,
    config: StudyConfig,
    sharing: Sharing,
    output: Output,
) -> None:
    """Run a study, go on with one, or do a process's share of one."""
    processes = parse_processes(sharing.coordinator, sharing.processes, sharing.process)
    carry_out(interrupts, _task(source, config), output, processes)


def gather(interrupts: Interrupts, gathered: Gathered) -> None:
    """Finish a study whose grid a job array has trained."""
    folder = gathered.folder
    if is_finished(folder):
        say_is_done(folder, STUDY_LAYOUT)
        return
    saved = saved_options(folder)
    try:
        source = make_group(ContextSource, saved["source"])
        config = make_group(StudyConfig, saved["config"])
    except (AttributeError, KeyError, OptionError) as error:
        raise FolderError(f"{folder} holds no study that can be gone on with: {error}") from error
    use_all_cores()
    devices = tuple(jax.local_devices())
    width = resolve_width(config.tile_width, devices) * len(devices)
    # Of models that are still to be chosen from, the one with the fewest members.
    n_members = min(one.seeds * len(one.betas) for one in presets_of(config).values())
    require_shared_tiles(folder, -(-n_members // width))
    output = Output(out=folder, resume=True, quiet=gathered.quiet)
    carry_out(interrupts, _task(source, config), output)


def _task(source: ContextSource, config: StudyConfig) -> Task:
    return Task(
        source,
        config,
        label=source.label,
        load=functools.partial(
            load_panel_with_context,
            source,
            config.n_factors,
            config.preset or str(config.model),
        ),
        identity=study_identity,
        compute=run_study,
        layout=STUDY_LAYOUT,
        files=study_files,
        opening=study_opening,
        follow_up="scenarios {} --number 1000 --out scenarios.csv",
    )


MEANINGS = {
    "auto": "the one that validation dates are likeliest under",
    **{name: PRESETS[name].meaning for name in MODELS},
}
COMMANDS = {
    "study": Command(
        study,
        {"data": ContextSource, "ensemble": StudyConfig, "engine": Sharing, "output": Output},
        "Choose a model and a number of factors on validation dates, train seeds × betas of it, "
        "and write a folder of tables, figures and report. Without options: the synthetic linear "
        "panel.",
        {
            "study --data returns.csv": "a CSV of dates × assets",
            "study --data prices.csv --kind prices --missing keep": "prices with gaps",
            "study --data sp500 --model student --factors 5": "nothing is chosen but β",
            "study --data returns.csv --out runs/mine --resume": "go on after Ctrl-C",
        },
        "models:\n" + "\n".join(f"  {name:<14} {what}" for name, what in MEANINGS.items()),
    ),
    "gather": Command(
        gather,
        {"": Gathered},
        "Finish a study whose members the processes of a job array have trained.",
        {"gather runs/shared": "once all shares are done"},
    ),
}
