"""What a person sees while a study or a walk runs."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import Any

from jaxvae.training.ensemble import PROGRAMS, Progress
from jaxvae.training.tiles import compiling

OnProgress = Callable[[str, Progress | None], None]
STAGES = {
    "plan": "Timing a few epochs",
    "select": "Choosing model and factors",
    "baselines": "Fitting classical models",
    "train": "Training the ensemble",
    "refit": "Refitting the chosen β",
    "count": "Counting factors",
    "score": "Aligning and scoring",
    "report": "Drawing the report",
}
AT_FIRST = "Preparing the panel"
WIDEST = max(map(len, STAGES.values()))
SECONDS_BETWEEN_LINES = 2.0


def show_progress(quiet: bool) -> AbstractContextManager[OnProgress]:
    """Progress on standard error: bars on a terminal, plain lines elsewhere, or nothing."""
    if quiet:
        return nullcontext(lambda stage, progress: None)
    return _bars() if sys.stderr.isatty() else _lines()


def progress_for_call(
    progress: bool, on_progress: OnProgress | None = None
) -> AbstractContextManager[OnProgress]:
    """Progress of a function that is called in Python: bars on a terminal or in a notebook, or
    nothing.

    Args:
        progress: whether anything is to be shown.
        on_progress: a function that is called in place of that.
    """
    if on_progress is not None:
        return nullcontext(on_progress)
    if progress and _in_notebook():
        # Rich draws in a notebook by its widgets, where they are installed.
        return _bars() if find_spec("ipywidgets") else _lines()
    return show_progress(quiet=not (progress and sys.stderr.isatty()))


def _in_notebook() -> bool:
    """Whether the interpreter is the kernel of a notebook; rich, slow to import, is not asked."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def _bars() -> Iterator[OnProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Compiling(ProgressColumn):
        """What is being compiled, beside the bar of the stage in work."""

        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            in_work = task.stop_time is None and not task.finished
            return Text(compiling_words() if in_work else "", style="dim")

    columns = (
        TextColumn(f"{{task.description:<{WIDEST}}}"),
        BarColumn(),
        TextColumn("{task.fields[text]:<30}"),
        TimeElapsedColumn(),
        Compiling(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}
        pace = _Pace()

        def report(stage: str, progress: Progress | None) -> None:
            if stage not in tasks:
                for task in tasks.values():
                    bars.stop_task(task)
                tasks[stage] = bars.add_task(STAGES[stage], total=None, text="")
            if progress is not None:
                where = _standing(progress, f"epoch {progress.epoch}")
                bars.update(
                    tasks[stage],
                    total=progress.members,
                    completed=progress.members_trained,
                    text=f"{where}, {pace(stage, progress)}",
                )

        yield report


@contextmanager
def _lines() -> Iterator[OnProgress]:
    """Lines; where a stage stands is said again, with the time, while there is nothing new."""
    lines, over = _Lines(), threading.Event()

    def beat() -> None:
        while not over.wait(SECONDS_BETWEEN_LINES / 4):
            lines.say_again()

    beating = threading.Thread(target=beat, daemon=True)
    beating.start()
    try:
        yield lines
    finally:
        over.set()
        beating.join()


class _Lines:
    """A line at the start of a stage (and before the first where that lets wait), then one every
    few seconds and one as its members are all done."""

    def __init__(self) -> None:
        self.last, self.text = time.monotonic(), AT_FIRST
        self.speaking = threading.Lock()
        self.printed: set[tuple[str, bool]] = set()  # stages, and whether they were done
        self.started = time.monotonic()
        self.pace = _Pace()

    def __call__(self, stage: str, progress: Progress | None) -> None:
        """Print where a stage stands; what is neither new nor done, every two seconds at most."""
        with self.speaking:
            if progress is None:
                self.printed.add((stage, False))
                self._say(STAGES[stage])
                return
            epoch = f"epoch {progress.epoch} of {progress.epochs}"
            text, pace = (
                f"{STAGES[stage]}: {_standing(progress, epoch)}",
                self.pace(stage, progress),
            )
            finished = progress.done == progress.members
            known = (stage, finished) in self.printed
            self.printed |= {(stage, False), (stage, finished)}
            if known and time.monotonic() - self.last < SECONDS_BETWEEN_LINES:
                self.text = text
            else:
                self._say(text, pace)

    def say_again(self) -> None:
        """Where the stage stands, where nothing was said for a while."""
        with self.speaking:
            if time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
                self._say(self.text)

    def _say(self, text: str, pace: str = "") -> None:
        self.last, self.text = time.monotonic(), text
        words = [text, pace, compiling_words(), f"{self.last - self.started:.0f} s"]
        with suppress(BrokenPipeError):
            print(", ".join(filter(None, words)), file=sys.stderr, flush=True)


def compiling_words() -> str:
    """What is being compiled now, and how many programs where they are several."""
    names = compiling()
    kinds = dict.fromkeys("training" if name in PROGRAMS else "scoring" for name in names)
    several = f" {len(names)} programs:" if len(names) > 1 else ""
    return f"compiling{several} {', '.join(kinds)}" if names else ""


class _Pace:
    """Members a second and time left, counted from a stage's first edge on, and anew where it
    begins another round of members, so that neither what was done before nor compiling is in
    them."""

    def __init__(self) -> None:
        self.round: tuple[str, int] = "", 0
        self.finished = 0
        self.first = 0.0, 0.0

    def __call__(self, stage: str, progress: Progress) -> str:
        now, done = time.monotonic(), progress.members_trained
        if self.round != (stage, progress.members) or progress.done < self.finished:
            self.round, self.first = (stage, progress.members), (now, done)
        self.finished, (begun, before) = progress.done, self.first
        if done <= before or now <= begun:
            return ""
        rate = (done - before) / (now - begun)
        return f"{rate:.2g} a second, {(progress.members - done) / rate:.0f} s left"


def _standing(progress: Progress, epoch: str) -> str:
    """How many members are trained, and what those in work are at."""
    done = f"{progress.members_trained:.0f} of {progress.members} members"
    if not progress.in_work:
        return done
    return f"{done}, {'scoring' if progress.is_finishing else epoch}"
