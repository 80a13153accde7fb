"""The commands that train a study: `study`, and `gather` for what a job array has trained."""

from dataclasses import MISSING, dataclass
from pathlib import Path

import jax

from jaxvae.cli.options import Command, InFolder, Output, make_group
from jaxvae.cli.panel import ContextSource
from jaxvae.cli.task import ALONE, Task, carry_out, folder_of, model_notes, use_all_cores
from jaxvae.errors import FolderError, Option, OptionError, check_path, like, option
from jaxvae.fitting.config import AUTO, StudyConfig, presets_of, tile_width_of
from jaxvae.fitting.presets import MODELS
from jaxvae.report.study_report import study_opening
from jaxvae.runs.execute import execute
from jaxvae.runs.interrupts import Interrupts, say
from jaxvae.runs.processes import Processes, parse_processes
from jaxvae.runs.progress import progress_for_call, show_progress
from jaxvae.runs.work import (
    drop_work,
    is_finished,
    read_record,
    require_place,
    require_shared_tiles,
)
from jaxvae.study.plan import plan_study
from jaxvae.study.run import study_procedure
from jaxvae.study.study import Study, load_study
from jaxvae.training.tiles import resolve_width


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """The process's number among those that share a study, and where they meet."""

    coordinator: str | None = option(
        None,
        "address at which several processes that share the study of --out meet, or auto on a "
        "cluster that says it",
        otherwise="this process is alone, or one of a job array",
        metavar="HOST:PORT",
    )
    processes: int | None = option(
        None, "number of processes that share the study", otherwise="1", least=1
    )
    process: int | None = option(
        None, "number of this process among them, from 0", otherwise="0", metavar="I", least=0
    )


@dataclass(frozen=True, kw_only=True)
class StudyOutput(Output):
    """Where a study's folder is, or that there is to be none."""

    dry_run: bool = option(
        False,
        "check of panel, options, folder, and what would be trained for how long; writes nothing",
    )


@dataclass(frozen=True, kw_only=True)
class Gathered(InFolder):
    """Which study."""

    folder: Path = like(InFolder, "folder", MISSING, "folder that the processes shared")
    quiet: bool = like(Output, "quiet", False)


def study(
    interrupts: Interrupts,
    source: ContextSource,
    config: StudyConfig,
    sharing: Sharing,
    output: StudyOutput,
) -> None:
    """Choose a model and a number of factors on validation dates, train seeds × betas of it, and
    write a folder of tables, figures and report. Without options: the synthetic linear panel."""
    processes = parse_processes(sharing.coordinator, sharing.processes, sharing.process)
    if output.dry_run:
        _say_what_would_be_done(interrupts, _task(source, config), output, processes)
    else:
        carry_out(interrupts, _task(source, config), output, processes)


def _say_what_would_be_done(
    interrupts: Interrupts, task: Task, output: StudyOutput, processes: Processes
) -> None:
    out = folder_of(task, output, processes)
    if not (output.resume and is_finished(out)):
        require_place(out, output.resume, processes != ALONE)
    panel = task.source.load(task.config)
    use_all_cores()
    with show_progress(quiet=output.quiet) as report:
        plan = plan_study(panel, task.config, on_progress=report)
    interrupts.check()
    for note in panel.notes:
        say(f"note: {note}")
    print(plan)
    print("nothing was written")


def finish_shared(interrupts: Interrupts, gathered: Gathered) -> None:
    """Finish a study whose members the processes of a job array have trained."""
    folder = gathered.folder
    if is_finished(folder):
        _finished(folder)
        say(f"jaxvae: {folder} is finished already")
        return
    output = Output(out=folder, resume=True, quiet=gathered.quiet)
    carry_out(interrupts, _shared_task(folder), output)


def gather(folder: str | Path, *, progress: bool = True) -> Study:
    """Finish a study whose members a job array has trained, as the command `gather` does.

    Args:
        folder: that its processes share, into which the study is written.
        progress: whether a terminal or a notebook shows how far it is.

    Returns:
        The study; of a folder that is finished the one that it holds.

    Raises:
        FolderError: it holds no such run, processes have not done their shares, or data, versions
            or devices are other ones.
    """
    folder = check_path("folder", folder)
    if is_finished(folder):
        return _finished(folder)
    task = _shared_task(folder)
    with progress_for_call(progress) as report:
        procedure = task.procedure(task.source.load(task.config))
        study: Study = execute(procedure, report, folder, resume=True)[0]
    return study


def _finished(folder: Path) -> Study:
    """The study of a folder; what is left of its work goes."""
    study = load_study(folder)
    drop_work(folder)
    return study


def _shared_task(folder: Path) -> Task:
    """What began the run in a folder, once all processes have done their shares of it."""
    saved = read_record(folder)["options"]
    if not saved:
        raise FolderError(
            f"{folder} was begun in Python, by one process; go on with the same call and ",
            Option("resume", True),
        )
    try:
        source = make_group(ContextSource, saved["source"])
        config = make_group(StudyConfig, saved["config"])
    except (AttributeError, KeyError, OptionError) as error:
        raise FolderError(f"{folder} holds no study that can be gone on with: {error}") from error
    use_all_cores()
    devices = tuple(jax.local_devices())
    width = resolve_width(tile_width_of(config), devices) * len(devices)
    # Of models that are still to be chosen from, the one with the fewest members.
    n_members = min(one.seeds * len(one.betas) for one in presets_of(config).values())
    require_shared_tiles(folder, -(-n_members // width))
    return _task(source, config)


def _task(source: ContextSource, config: StudyConfig) -> Task:
    return Task(
        source,
        config,
        label=source.label,
        make_procedure=study_procedure,
        opening=study_opening,
        follow_up="scenarios {} --number 1000 --out scenarios.csv",
    )


COMMANDS = {
    "study": Command(
        study,
        {
            "study --data returns.csv": "a CSV of dates × assets",
            "study --data prices.csv --kind prices --missing keep": "prices with gaps",
            "study --data sp500 --model student --factors 5": "nothing is chosen but β",
            "study --data returns.csv --dry-run": "what would be trained, and for how long",
            "study --data returns.csv --out runs/mine --resume": "go on after Ctrl-C",
        },
        titles=("data", "ensemble", "engine", "output"),
        notes=model_notes((AUTO, *MODELS)),
    ),
    "gather": Command(finish_shared, {"gather runs/shared": "once all shares are done"}),
}
