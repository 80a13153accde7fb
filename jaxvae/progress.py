"""What a person sees while a study runs and when it is done."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxvae.ensemble import Progress
from jaxvae.folder import Study

Report = Callable[[str, Progress], None]
STAGES = {"train": "Training the ensemble", "refit": "Refitting the chosen β"}
SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def shown(quiet: bool) -> Iterator[Report]:
    """A progress report on standard error: bars on a terminal, plain lines elsewhere, or nothing."""
    if quiet:
        yield lambda stage, progress: None
    elif sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield _Lines()


def closing_lines(study: Study) -> str:
    """The result in a few lines, for the terminal."""
    panel, chosen = study.config["panel"], study.config["chosen"]
    n_seeds, n_betas = len(study.config["seeds"]), len(study.config["betas"])
    return "\n".join(
        [
            f"{study.config['name']}: {panel['n_dates']:,} dates × {panel['n_assets']:,} assets, "
            f"{n_seeds * n_betas} members ({n_seeds} seeds × {n_betas} betas), "
            f"{study.config['n_factors']} factors",
            f"β = {chosen['beta']:g} chosen on validation, refitted, scored on the "
            f"{panel['n_test']:,} test dates from {panel['test_from']}:",
            *_score_lines(study),
        ]
    )


def _score_lines(study: Study) -> Iterator[str]:
    """Test log-likelihood by model, best first, with the ensemble's lead over each rival."""
    table = study.metrics
    rows = table[(table.metric == "log_likelihood") & (table.split == "test") & table.member.isna()]
    rows = rows.sort_values("value", ascending=False)
    leads = study.comparisons[study.comparisons.model == "vae_ensemble"].set_index("baseline")
    yield f"  {'model':<22}{'nats a date':>12}   the ensemble's lead, 95 % interval"
    for row in rows.itertuples():
        line = f"  {row.model:<22}{row.value:>12.2f}"
        if row.model in leads.index:
            lead = leads.loc[row.model]
            line += f"   {lead.difference:+.2f} [{lead.low:+.2f}, {lead.high:+.2f}]"
        yield line


@contextmanager
def _bars() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("members · epoch {task.fields[epoch]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        tasks = {
            stage: bars.add_task(label, total=None, start=False, visible=stage == "train", epoch=0)
            for stage, label in STAGES.items()
        }
        bars.start_task(tasks["train"])

        def report(stage: str, progress: Progress) -> None:
            if not bars.tasks[tasks[stage]].started:
                bars.start_task(tasks[stage])
            bars.update(
                tasks[stage],
                total=progress.members,
                completed=_members_done(progress),
                epoch=progress.epoch,
                visible=True,
            )

        yield report


class _Lines:
    """A line at the start of a stage, then one every few seconds and one at its end."""

    def __init__(self) -> None:
        self.last = -float("inf")
        self.started = time.monotonic()

    def __call__(self, stage: str, progress: Progress) -> None:
        now = time.monotonic()
        finished = _members_done(progress) == progress.members
        if now - self.last < SECONDS_BETWEEN_LINES and not finished:
            return
        self.last = now
        print(
            f"{STAGES[stage]}: {_members_done(progress)} of {progress.members} members, "
            f"epoch {progress.epoch} of {progress.epochs}, {now - self.started:.0f} s",
            file=sys.stderr,
            flush=True,
        )


def _members_done(progress: Progress) -> int:
    """Members finished, those in work by the share of their epochs."""
    return progress.done + int(progress.in_work * progress.epoch / progress.epochs)
