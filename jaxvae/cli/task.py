"""What commands share that run for long: folder, interrupts, processes, the words at the end."""

import functools
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxvae.cli.options import Output
from jaxvae.cli.panel import Source
from jaxvae.data.panel import Panel
from jaxvae.errors import OptionError
from jaxvae.fitting.config import AUTO
from jaxvae.fitting.presets import PRESETS
from jaxvae.report.content import REPORT, Opening, summary
from jaxvae.runs import progress
from jaxvae.runs.execute import Procedure, execute
from jaxvae.runs.interrupts import Interrupts, say
from jaxvae.runs.processes import Processes, Share, ShareDone
from jaxvae.runs.work import has_record, is_at_work, is_finished

ALONE = Processes()


class Task(NamedTuple):
    """What a command runs.

    label: of the default folder. make_procedure: from panel and configuration. opening: what its
    report says first, which the terminal shows too. follow_up: a command that may come next, with
    {} for the folder.
    """

    source: Source
    config: Any
    label: str
    make_procedure: Callable[[Panel, Any], Procedure]
    opening: Callable[[Any], Opening]
    follow_up: str | None = None

    def procedure(self, panel: Panel) -> Procedure:
        """What is run on the panel, and what the command's options say of it."""
        return self.make_procedure(panel, self.config)._replace(
            options={"source": asdict(self.source), "config": asdict(self.config)},
            described={"source": self.source.described()},
        )


def carry_out(
    interrupts: Interrupts, task: Task, output: Output, processes: Processes = ALONE
) -> None:
    """Run a task in a new folder, go on with one, or do a process's share of one."""
    out = folder_of(task, output, processes)
    interrupts.how_to_go_on = functools.partial(how_to_go_on, out)
    panel = task.source.load(task.config)
    use_all_cores()
    processes = processes.connect()
    try:
        _run(interrupts, task, task.procedure(panel), out, output, processes)
    except ShareDone:
        if processes.coordinator is None:
            print(f"{out}: share {processes.process + 1} of {processes.processes} is done;")
            print(f"once all are: jaxvae gather {shlex.quote(str(out))}")
    except KeyboardInterrupt:
        processes.leave_last(functools.partial(is_at_work, out))
        raise
    processes.disconnect()


def folder_of(task: Task, output: Output, processes: Processes) -> Path:
    """The folder of a run, by default a new one in `runs`.

    Raises OptionError where one must be named.
    """
    if output.out is None and (output.resume or processes != ALONE):
        raise OptionError("out", "name the folder of the run to go on with, or to share")
    return output.out or Path("runs") / f"{task.label}-{time.strftime('%Y%m%d-%H%M%S')}"


def model_notes(names: Iterable[str]) -> str:
    """What stands below the options of a command that fits models: what each of them is."""
    meanings = {AUTO: "the one that validation dates are likeliest under"}
    meanings |= {name: preset.meaning for name, preset in PRESETS.items()}
    return "models:\n" + "\n".join(f"  {name:<14} {meanings[name]}" for name in names)


def how_to_go_on(out: Path) -> str:
    """What an interrupted user reads: the command that goes on with this one."""
    if not has_record(out):
        return f"{out} is finished" if is_finished(out) else "nothing was written"
    words = [word for word in sys.argv[1:] if word != "--resume"]
    if words[:1] != ["gather"]:
        words += ["--resume"] if "--out" in words else ["--out", str(out), "--resume"]
    return f"go on with: jaxvae {shlex.join(words)}"


def use_all_cores() -> None:
    """One XLA device a core, unless the user says how many: XLA threads small products badly."""
    # Where JAX is in use already, its devices stay as they are.
    with suppress(RuntimeError):
        if "JAX_NUM_CPU_DEVICES" not in os.environ:
            jax.config.update("jax_num_cpu_devices", os.cpu_count())


def _run(
    interrupts: Interrupts,
    task: Task,
    procedure: Procedure,
    out: Path,
    output: Output,
    processes: Processes,
) -> None:
    """The task in its folder, or this process's share of it."""

    def wait(done: Callable[[], bool]) -> None:
        processes.await_others(lambda: done() or is_finished(out), interrupts.check)
        if is_finished(out):
            raise ShareDone

    share = Share(processes.process, processes.processes, wait)
    done = output.resume and is_finished(out)
    with progress.show_progress(quiet=output.quiet) as show:

        def on_progress(stage: str, where: Any) -> None:
            interrupts.check()
            show(stage, where)
            if stage == "score" and processes.process > 0:
                wait(lambda: False)

        result, beside = execute(procedure, on_progress, out, resume=output.resume, share=share)
        interrupts.over = processes.coordinator is None
    if done:
        say(f"jaxvae: {out} is finished already")
        return
    for name in beside:
        say(f"note: {out / name} is not of this run, and was left as it is")
    for note in result.config["notes"]:
        say(f"note: {note}")
    print(summary(task.opening(result)))
    print(out / REPORT)
    if task.follow_up is not None:
        print(f"next: jaxvae {task.follow_up.format(shlex.quote(str(out)))}")
