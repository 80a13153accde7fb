"""What is shown of a run where there is no terminal."""

import itertools
import time

import numpy as np

from jaxvae.runs import progress
from jaxvae.training import ensemble, tiles
from jaxvae.training.ensemble import Progress


def test_a_stage_is_said_as_it_begins_and_once_as_it_is_done(monkeypatch, capsys):
    """However often a stage that waits reports it, and however soon the next one is done."""
    now = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now) / 100)
    with progress.show_progress(quiet=False) as show:
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


def test_a_line_is_said_again_with_its_time_while_a_stage_is_silent(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.1)
    with progress.show_progress(quiet=False) as show:
        time.sleep(0.5)
        first = capsys.readouterr().err.splitlines()
        assert {line.rsplit(", ", 1)[0] for line in first} == {progress.AT_FIRST}
        show("score", None)
        time.sleep(1.0)
    lines = capsys.readouterr().err.splitlines()
    assert 4 <= len(lines) <= 11
    assert {line.rsplit(", ", 1)[0] for line in lines} == {progress.STAGES["score"]}
    time.sleep(0.3)
    assert capsys.readouterr().err == ""


def test_what_is_said_again_promises_nothing(monkeypatch, capsys):
    """Neither a pace nor a time left, which have passed."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.1)
    with progress.show_progress(quiet=False) as show:
        show("train", Progress(0, 4, 4, 10, 30))
        time.sleep(0.2)
        show("train", Progress(0, 4, 4, 20, 30))
        time.sleep(0.5)
    *_, again, last = capsys.readouterr().err.splitlines()
    assert "left" not in again + last
    assert last.startswith(f"{progress.STAGES['train']}: 3 of 4 members, epoch 20 of 30, ")


def test_a_further_round_of_members_has_a_pace_of_its_own(monkeypatch):
    """Of other members, or of as many again: what the round before took is not in it."""
    seconds = iter((0, 100, 1000, 1010, 2000, 2010))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    pace = progress._Pace()
    rounds = [(0, 20), (20, 20), (0, 16), (4, 16), (0, 16), (2, 16)]
    said = [pace("select", Progress(done, 0, members, 0, 1)) for done, members in rounds]
    assert said[:2] == ["", "0.2 a second, 0 s left"]
    assert said[2:4] == ["", "0.4 a second, 30 s left"]
    assert said[4:] == ["", "0.2 a second, 70 s left"]


def test_what_is_being_compiled_is_said(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.1)
    said = []

    def _advance(member, shared):
        """Called as it is traced, which is a part of compiling."""
        time.sleep(0.4)
        said.append(progress.compiling_words())
        return member

    with progress.show_progress(quiet=False) as show:
        show("train", None)
        tiles.map_members(_advance, np.zeros((2, 3)), np.ones(()))
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert set(said) == {"compiling training"}
    assert f"{progress.STAGES['train']}, compiling training, " in lines[1]
    assert "compiling" not in lines[0] + lines[-1]


def test_several_programs_are_counted(monkeypatch):
    names = [ensemble.PROGRAMS[0], "_ask_member", ensemble.PROGRAMS[1]]
    monkeypatch.setattr(progress, "compiling", lambda: names)
    assert progress.compiling_words() == "compiling 3 programs: training, scoring"
