"""The commands that run a study: its options, its folder, its interrupts, its processes."""

import argparse
import functools
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from jaxvae.cli.panel import label, load_panel, source
from jaxvae.errors import FolderError, Option, OptionError
from jaxvae.runs.interrupts import Interrupts, ignore_signals, say
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
    FINISHED,
    drop_work,
    is_at_work,
    is_finished,
    open_run,
    require_shared_tiles,
    saved_options,
)

# Options that a finished folder's settings tell, by their names there. Those left at their defaults
# are not compared: `--out DIR --resume` alone asks whether a run is done.
COMPARED = {
    **{name: name for name in ("seeds", "betas", "model", "preset", "epochs")},
    **{name: name for name in ("window", "step", "expanding")},
    **{"factors": "n_factors", "seed": "root_seed"},
}


def study(options: argparse.Namespace) -> None:
    """Run a study, go on with one, or do a process's share of one."""
    processes = parse_processes(options.coordinator, options.processes, options.process)
    if options.out is None and (options.resume or processes.coordinator or processes.processes > 1):
        raise OptionError("out", "name the folder of the run to go on with, or to share")
    options.out = options.out or new_out(options)
    if options.resume and is_done(options.out, options):
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
    disconnect(processes)


def _run(
    options: argparse.Namespace,
    panel: Any,
    config: Any,
    processes: Processes,
    interrupts: Interrupts,
) -> None:
    """The study of a panel in its folder, or this process's share of it."""
    from jaxvae.study import progress
    from jaxvae.study.describe import run_facts
    from jaxvae.study.study import fill_folder, run_study

    def wait(done: Any) -> None:
        await_others(processes, lambda: done() or is_finished(options.out), interrupts.check)
        if is_finished(options.out):
            raise ShareDone

    share, facts = (processes.process, processes.processes), run_facts(panel, config)
    with (
        interrupts.gently(options.out, go_on(options)),
        open_run(
            options.out,
            facts,
            options_as_json(options),
            resume=options.resume,
            share=share,
            wait=wait,
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
        if processes.coordinator is None:
            ignore_signals()
    for note in study.config["notes"]:
        say(f"note: {note}")
    print(progress.closing_lines(study))
    print(options.out / "report.html")


def gather(options: argparse.Namespace) -> None:
    """Finish a study whose grid a job array has trained."""
    if is_done(options.folder, options):
        return
    saved = argparse.Namespace(**saved_options(options.folder))
    saved.command, saved.out, saved.resume = options.command, options.folder, True
    saved.quiet = options.quiet
    saved.coordinator = saved.processes = saved.process = None
    use_all_cores()
    import jax

    from jaxvae.training.tiles import resolve_width

    devices = tuple(jax.local_devices())
    width = resolve_width(saved.tile_width, devices) * len(devices)
    require_shared_tiles(options.folder, -(-saved.seeds * len(saved.betas) // width))
    study(saved)


def is_done(folder: Path, options: argparse.Namespace) -> bool:
    """Whether the folder holds what the command would finish; if so this says it and tidies up.

    Raises FolderError where it was finished by another command, or with other settings.
    """
    if not is_finished(folder):
        return False
    _require_same_settings(folder, options)
    drop_work(folder)
    say(f"jaxvae: {folder} is finished already")
    return True


def _require_same_settings(folder: Path, options: argparse.Namespace) -> None:
    try:
        saved = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FolderError(f"{folder / FINISHED} is damaged: {error}") from error
    kind, wanted = saved.get("command", "study"), "walk" if options.command == "walk" else "study"
    if kind != wanted:
        raise FolderError(f"{folder} holds a finished {kind}, no {wanted}; name another folder")
    if options.command == "gather":
        return
    from jaxvae.cli.main import make_parser

    defaults = make_parser().parse_args([wanted])
    for option, name in COMPARED.items():
        asked, was = getattr(options, option, None), saved.get(name)
        was = len(was) if option == "seeds" and isinstance(was, list) else was
        if asked != getattr(defaults, option, None) and was is not None and asked != was:
            raise FolderError(
                f"{folder} is finished, with ",
                Option(option, was),
                f", now {asked}; name another folder",
            )


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
    skipped = ("run", "command", "out", "resume", "quiet", "debug")
    return {name: value for name, value in vars(options).items() if name not in skipped}


def go_on(options: argparse.Namespace) -> str:
    """The command that goes on with this one."""
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
