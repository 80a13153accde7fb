"""What is shown of a run where there is no terminal."""

import pytest

from jaxvae.study import progress
from jaxvae.training.ensemble import Progress


@pytest.mark.parametrize("stage", list(progress.STAGES))
def test_that_all_members_are_done_is_said_once(monkeypatch, capsys, stage):
    """However often a stage that waits reports it."""
    now = iter(range(100))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now) / 10)
    with progress.shown(quiet=False) as show:
        show(stage, None)
        for done in (2, 12, 12, 12):
            show(stage, Progress(done, 0, 12, 0, 1))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(", ")[0] for line in lines] == [
        progress.STAGES[stage],
        f"{progress.STAGES[stage]}: 12 of 12 members",
    ]
