"""What is shown of a run where there is no terminal."""

import itertools

from jaxvae.study import progress
from jaxvae.training.ensemble import Progress


def test_a_stage_is_said_as_it_begins_and_once_as_it_is_done(monkeypatch, capsys):
    """However often a stage that waits reports it, and however soon the next one is done."""
    now = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now) / 100)
    with progress.shown(quiet=False) as show:
        show("train", None)
        for stage in ("train", "refit"):
            for done in (2, 12, 12, 12):
                show(stage, Progress(done, 0, 12, 0, 1))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[0] for line in lines] == [
        progress.STAGES["train"],
        f"{progress.STAGES['train']}: 12 of 12 members",
        f"{progress.STAGES['refit']}: 2 of 12 members",
        f"{progress.STAGES['refit']}: 12 of 12 members",
    ]
