"""The commands that run a study: its options, its folder, its interrupts, its processes."""

import argparse
import functools
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxvae.cli import DATA_NAMES, named_numbers
from jaxvae.errors import OptionError
from jaxvae.interrupts import Interrupts, say
from jaxvae.processes import (
    Processes,
    ShareDone,
    await_others,
    connect,
    leave_last,
    parse_processes,
)
from jaxvae.runs import (
    drop_work,
    is_at_work,
    is_finished,
    open_run,
    require_shared_tiles,
    saved_options,
)


def study(options: argparse.Namespace) -> None:
    """Run a study, go on with one, or do a process's share of one."""
    processes = parse_processes(options.coordinator, options.processes, options.process)
    if options.out is None and (options.resume or processes.coordinator or processes.processes > 1):
        raise OptionError("--out: name the folder of the run to go on with, or to share")
    options.out = options.out or _new_out(options)
    if options.resume and _is_done(options.out):
        return
    interrupts = Interrupts()
    panel, config = load_panel(options), _config(options)
    use_all_cores()
    processes = connect(processes)
    try:
        _run(options, panel, config, processes, interrupts)
    except ShareDone:
        if processes.coordinator is None:
            print(f"{options.out}: share {processes.process + 1} of {processes.processes} is done;")
            print(f"once all are: jaxvae gather {shlex.quote(str(options.out))}")
    except KeyboardInterrupt:
        leave_last(processes, functools.partial(is_at_work, options.out))
        raise


def _run(
    options: argparse.Namespace,
    panel: Any,
    config: Any,
    processes: Processes,
    interrupts: Interrupts,
) -> None:
    """The study of a panel in its folder, or this process's share of it."""
    from jaxvae import progress
    from jaxvae.describe import run_facts
    from jaxvae.study import fill_folder, run_study

    def wait(done: Any) -> None:
        await_others(processes, lambda: done() or is_finished(options.out), interrupts.check)
        if is_finished(options.out):
            raise ShareDone

    share, facts = (processes.process, processes.processes), run_facts(panel, config)
    with (
        interrupts.gently(options.out, _go_on(options)),
        open_run(
            options.out, facts, _saved(options), resume=options.resume, share=share, wait=wait
        ) as run,
        progress.shown(quiet=options.quiet) as show,
    ):

        def on_progress(stage: str, where: Any) -> None:
            interrupts.check()
            show(stage, where)
            if stage == "score" and processes.process > 0:
                wait(lambda: False)

        study = run_study(panel, config, on_progress=on_progress, stage=run.stage)
        study.config["source"] = source(options)
        on_progress("report", None)
        run.finish(lambda folder: fill_folder(study, folder))
    for note in study.config["notes"]:
        say(f"note: {note}")
    print(progress.closing_lines(study))
    print(options.out / "report.html")


def gather(options: argparse.Namespace) -> None:
    """Finish a study whose grid a job array has trained."""
    if _is_done(options.folder):
        return
    saved = argparse.Namespace(**saved_options(options.folder))
    saved.command, saved.out, saved.resume = options.command, options.folder, True
    saved.quiet = options.quiet
    saved.coordinator = saved.processes = saved.process = None
    use_all_cores()
    import jax

    from jaxvae.tiles import resolve_width

    devices = tuple(jax.local_devices())
    width = resolve_width(saved.tile_width, devices) * len(devices)
    require_shared_tiles(options.folder, -(-saved.seeds * len(saved.betas) // width))
    study(saved)


def _is_done(folder: Path) -> bool:
    """Whether the folder holds a finished study; if so this says it and tidies up."""
    if not is_finished(folder):
        return False
    drop_work(folder)
    say(f"jaxvae: {folder} is finished already")
    return True


def _config(options: argparse.Namespace) -> Any:
    from jaxvae.fitting import StudyConfig

    return StudyConfig(
        seeds=options.seeds,
        betas=tuple(options.betas),
        n_factors=options.factors,
        preset=options.preset,
        model=options.model,
        epochs=options.epochs,
        root_seed=options.seed,
        tile_width=options.tile_width,
        warmup=options.warmup,
        capacity=options.capacity,
        free_bits=options.free_bits,
    )


def _new_out(options: argparse.Namespace) -> Path:
    return Path("runs") / f"{label(options)}-{time.strftime('%Y%m%d-%H%M%S')}"


def _saved(options: argparse.Namespace) -> dict[str, Any]:
    """The options as JSON, for a later command."""
    skipped = ("run", "command", "out", "resume", "quiet", "debug")
    return {name: value for name, value in vars(options).items() if name not in skipped}


def _go_on(options: argparse.Namespace) -> str:
    """The command that goes on with this one."""
    if options.command == "gather":
        return f"go on with: jaxvae gather {shlex.quote(str(options.out))}"
    words = [word for word in sys.argv[1:] if word != "--resume"]
    if "--out" not in words:
        words += ["--out", str(options.out)]
    return f"go on with: jaxvae {shlex.join(words)} --resume"


def assumed_covariates(words: Sequence[str] | None) -> Any:
    """NAME=VALUE words as a dict, or the table in a file; None where there are none."""
    from jaxvae.reading.frames import read_covariates

    if not words:
        return None
    if len(words) == 1 and "=" not in words[0]:
        return read_covariates(words[0])
    return named_numbers("--covariates", words)


def load_panel(options: argparse.Namespace) -> Any:
    """The panel that the options name, with the covariates they name."""
    from jaxvae.covariates import covariates_option, with_covariates
    from jaxvae.presets import CONDITIONAL
    from jaxvae.reading.frames import with_knowledge

    if options.covariates and options.model not in CONDITIONAL:
        raise OptionError("--covariates goes with --model conditional; add it or leave them out")
    built_in, file = covariates_option(options.covariates)
    panel = with_knowledge(_bare_panel(options), sectors=options.sectors, covariates=file)
    return with_covariates(panel, built_in)


def _bare_panel(options: argparse.Namespace) -> Any:
    """The panel without what other options add."""
    if options.tickers:
        return _download_panel(options)
    if options.start or options.end:
        raise OptionError("--start and --end go with --tickers; add it or leave them out")
    data = "linear" if options.data is None else options.data
    if data in DATA_NAMES:
        _refuse_with(options, f"--data {data}", ("kind", "missing"))
        from jaxvae.market import load_named

        return load_named(data)
    from jaxvae.reading import read_panel

    return read_panel(
        data,
        kind=options.kind or "returns",
        missing=options.missing,
        n_factors=options.factors,
    )


def _download_panel(options: argparse.Namespace) -> Any:
    from jaxvae.market import load_tickers

    _refuse_with(options, "--tickers", ("data", "kind"))
    return load_tickers(options.tickers, options.start, options.end, missing=options.missing)


def _refuse_with(options: argparse.Namespace, what: str, names: Sequence[str]) -> None:
    for name in names:
        if getattr(options, name) is not None:
            raise OptionError(f"--{name} does not go with {what}; leave one of them out")


def source(options: argparse.Namespace) -> dict[str, Any]:
    """Where the data came from, as the options say; a file by its name, without its folder."""
    names = ("kind", "missing", "tickers", "start", "end")
    others = {name: getattr(options, name) for name in names}
    files = {"data": options.data or "linear", "sectors": options.sectors}
    others["covariates"] = [Path(word).name for word in options.covariates or []]
    return {name: path and Path(path).name for name, path in files.items()} | others


def label(options: argparse.Namespace) -> str:
    """What the default folder is called after."""
    if options.tickers:
        return "tickers"
    name = Path("linear" if options.data is None else options.data).name.split(".")[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "study"


def use_all_cores() -> None:
    """One XLA device a core, unless the user says how many: XLA threads small products badly."""
    import jax

    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", os.cpu_count())
