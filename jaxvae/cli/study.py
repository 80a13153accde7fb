"""The commands that run a study: its options, its folder, its interrupts, its processes."""

import argparse
import functools
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from jaxvae.cli.panel import label, load_panel, source
from jaxvae.errors import OptionError
from jaxvae.runs.interrupts import say
from jaxvae.runs.processes import (
    Processes,
    ShareDone,
    await_others,
    connect,
    disconnect,
    leave_last,
    parse_processes,
)
from jaxvae.runs.run import (
    drop_work,
    has_record,
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
        raise OptionError("out", "name the folder of the run to go on with, or to share")
    options.out = options.out or new_out(options)
    options.interrupts.how_to_go_on = functools.partial(how_to_go_on, options)
    panel, config = load_panel(options), _config(options)
    use_all_cores()
    processes = connect(processes)
    try:
        _run(options, panel, config, processes)
    except ShareDone:
        if processes.coordinator is None:
            print(f"{options.out}: share {processes.process + 1} of {processes.processes} is done;")
            print(f"once all are: jaxvae gather {shlex.quote(str(options.out))}")
    except KeyboardInterrupt:
        leave_last(processes, functools.partial(is_at_work, options.out))
        raise
    disconnect(processes)


def _run(options: argparse.Namespace, panel: Any, config: Any, processes: Processes) -> None:
    """The study of a panel in its folder, or this process's share of it."""
    from jaxvae.report.content import summary
    from jaxvae.report.study_report import study_opening
    from jaxvae.study import progress
    from jaxvae.study.describe import study_identity
    from jaxvae.study.folder import LAYOUT, study_files
    from jaxvae.study.run import run_study

    interrupts, identity = options.interrupts, study_identity(panel, config)
    if is_done(options, LAYOUT, identity):
        return

    def wait(done: Any) -> None:
        await_others(processes, lambda: done() or is_finished(options.out), interrupts.check)
        if is_finished(options.out):
            raise ShareDone

    saved, share = options_as_json(options), (processes.process, processes.processes)
    with (
        open_run(
            options.out, identity, saved, resume=options.resume, share=share, wait=wait
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
        finish(options, run, study_files(study))
        interrupts.over = processes.coordinator is None
    for note in study.config["notes"]:
        say(f"note: {note}")
    print(summary(study_opening(study)))
    print(options.out / "report.html")


def gather(options: argparse.Namespace) -> None:
    """Finish a study whose grid a job array has trained."""
    from jaxvae.study.folder import LAYOUT

    if is_finished(options.folder):
        options.out, options.resume = options.folder, True
        is_done(options, LAYOUT)
        return
    saved = argparse.Namespace(**saved_options(options.folder))
    saved.command, saved.out, saved.resume = options.command, options.folder, True
    saved.quiet, saved.interrupts = options.quiet, options.interrupts
    saved.coordinator = saved.processes = saved.process = None
    use_all_cores()
    import jax

    from jaxvae.training.tiles import resolve_width

    devices = tuple(jax.local_devices())
    width = resolve_width(saved.tile_width, devices) * len(devices)
    require_shared_tiles(options.folder, -(-saved.seeds * len(saved.betas) // width))
    study(saved)


def is_done(
    options: argparse.Namespace, layout: Any, identity: dict[str, Any] | None = None
) -> bool:
    """Whether the folder to go on with is finished; if so this says it and tidies up.

    identity: of the run that is asked for; None where it is the folder's own.

    Raises FolderError where it is another command's, another run's, or not as it was written.
    """
    from jaxvae.runs.identity import require_same
    from jaxvae.runs.results import read_results

    if not (options.resume and is_finished(options.out)):
        return False
    config = read_results(options.out, layout).config
    if identity is not None:
        require_same(options.out, config["identity"], identity)
    drop_work(options.out)
    say(f"jaxvae: {options.out} is finished already")
    return True


def finish(options: argparse.Namespace, run: Any, files: dict[str, bytes]) -> None:
    """Write a run's results, and say what else lies in its folder."""
    for name in run.finish(files):
        say(f"note: {options.out / name} is not of this run, and was left as it is")


def _config(options: argparse.Namespace) -> Any:
    from jaxvae.study.config import StudyConfig

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


def new_out(options: argparse.Namespace) -> Path:
    """The default folder."""
    walk = "walk-" if options.command == "walk" else ""
    return Path("runs") / f"{walk}{label(options)}-{time.strftime('%Y%m%d-%H%M%S')}"


def options_as_json(options: argparse.Namespace) -> dict[str, Any]:
    """The options as JSON, for a later command."""
    skipped = ("run", "command", "out", "resume", "quiet", "debug", "interrupts")
    return {name: value for name, value in vars(options).items() if name not in skipped}


def how_to_go_on(options: argparse.Namespace) -> str:
    """What an interrupted user is told: the command that goes on with this one."""
    if not has_record(options.out):
        return f"{options.out} is finished" if is_finished(options.out) else "nothing was written"
    if options.command == "gather":
        return f"go on with: jaxvae gather {shlex.quote(str(options.out))}"
    words = [word for word in sys.argv[1:] if word != "--resume"]
    if "--out" not in words:
        words += ["--out", str(options.out)]
    return f"go on with: jaxvae {shlex.join(words)} --resume"


def use_all_cores() -> None:
    """One XLA device a core, unless the user says how many: XLA threads small products badly."""
    import jax

    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", os.cpu_count())
