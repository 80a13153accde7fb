"""The folder of a run: begun once, held by one, gone on with as it was, finished whole."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from launch import FORKS, ended, launch

from jaxvae.errors import DataError, FolderError, OptionError
from jaxvae.runs import run as runs
from jaxvae.runs.run import (
    drop_work,
    is_at_work,
    is_finished,
    open_run,
    require_shared_tiles,
    saved_options,
)

FACTS = {"data": "a hash", "betas": (0.5, 1.0), "epochs": None, "versions": {"jax": "1", "np": "2"}}
OPTIONS = {"data": "returns.csv", "seeds": 2}


class Tile(NamedTuple):
    values: np.ndarray


def opened(folder, facts=FACTS, **options):
    return open_run(folder, facts, OPTIONS, **options)


def work(folder, tiles=(0,), error=None, **options):
    """Begin a run or go on with it, and leave it with some tiles."""
    with opened(folder, **options) as run:
        for tile in tiles:
            run.stage("train", Tile).put(tile, Tile(np.full(2, tile)))
        if error:
            raise error


def finish(folder, fill):
    """Go on with a run to its end."""
    with opened(folder, resume=True) as run:
        assert run.stage("train", Tile).has(0)
        run.finish(fill)


def listing(folder):
    """Every file and what it holds, but for the process that held a lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("lock")
    }


def fill(folder):
    """A study of two tables, a figure and its record."""
    (folder / "a.csv").write_text("a\n1\n")
    (folder / "z.csv").write_text("z\n26\n")
    (folder / "figures").mkdir()
    (folder / "figures" / "one.png").write_bytes(b"picture")
    (folder / "config.json").write_text("{}")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def test_a_run_goes_on_with_what_it_kept(folder):
    work(folder, [0])
    work(folder, [1], resume=True)
    with opened(folder, resume=True) as run:
        stage = run.stage("train", Tile)
        assert [int(stage.get(tile).values[0]) for tile in (0, 1)] == [0, 1]
        assert not run.stage("refit", Tile).has(0)
    assert saved_options(folder) == OPTIONS


def test_a_record_says_what_the_run_depends_on(folder):
    work(folder)
    record = json.loads((folder / "run.json").read_text())
    assert record == {"schema": 1, "facts": {**FACTS, "betas": [0.5, 1.0]}, "options": OPTIONS}


@pytest.mark.parametrize("killed_in", ["", "work"])
def test_a_run_killed_as_it_began_goes_on(killed_in, folder):
    (folder / killed_in).mkdir(parents=True)
    with pytest.raises(FolderError, match="exists"):
        work(folder)
    work(folder, resume=True)
    assert saved_options(folder) == OPTIONS


# What stands in the way


def assert_refused(words, folder, **options):
    before = listing(folder) if folder.exists() else None
    with pytest.raises(FolderError, match=words) as error:
        work(folder, **options)
    assert "\n" not in str(error.value)
    assert before == (listing(folder) if folder.exists() else None)


def test_a_run_is_not_begun_over_another(folder):
    work(folder)
    assert_refused("holds an unfinished run; go on with resume=True", folder)
    fill(folder)
    assert_refused("exists; name a new folder", folder)
    assert_refused("holds a finished run; name another folder", folder, resume=True)
    assert_refused("holds a finished run; name another folder", folder, share=(1, 2))


def test_what_is_no_run_is_not_gone_on_with(folder, tmp_path):
    assert_refused(".* is no folder; leave resume out", folder, resume=True)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert_refused("holds no run in work", folder, resume=True)
    assert_refused("holds no run in work", folder, share=(0, 2))
    assert_refused("cannot be written", folder / "notes.txt", share=(0, 2))
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": "other"}, "another data: a hash, now other"),
        ({"betas": (0.5,)}, r"another betas: \[0.5, 1.0\], now \[0.5\]"),
        ({"epochs": 10}, "another epochs: None, now 10"),
        ({"tile_width": 8}, "another tile width: None, now 8"),
        ({"versions": {"jax": "1", "np": "3"}}, "another versions np: 2, now 3;"),
    ],
)
@pytest.mark.parametrize("options", [{"resume": True}, {"share": (1, 2)}])
def test_a_run_with_other_facts_is_refused(changes, words, options, folder):
    work(folder, share=(0, 2))
    assert_refused(words, folder, facts={**FACTS, **changes}, **options)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged: 'schema'"),
        ('{"schema": 1, "facts": 3, "options": {}}', "damaged"),
        ('{"schema": 1, "facts": {}}', "damaged: 'options'"),
        ('{"schema": 2}', "has schema 2; this reads up to 1: upgrade jaxvae"),
        ("\x80", "damaged"),
    ],
)
def test_a_damaged_record_is_named(content, words, folder):
    work(folder)
    (folder / "run.json").write_text(content, encoding="latin-1")
    assert_refused(f"run.json.* {words}", folder, resume=True)
    with pytest.raises(FolderError, match=words):
        saved_options(folder)


@pytest.mark.parametrize("name", ["", "work", "run.json", "work/train", "work/lock"])
def test_links_are_refused(name, folder, tmp_path):
    work(folder)
    place, elsewhere = folder / name, tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    with pytest.raises(FolderError, match=f"{place} is a symbolic link"):
        work(folder, resume=True)


@pytest.mark.parametrize("place", ["/proc/run", "/sys/run", "/dev/null/run"])
def test_a_place_that_takes_nothing_is_named(place, tmp_path):
    assert_refused(f"{place} cannot be written", Path(place))


def test_a_folder_that_became_read_only_is_named(folder, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(30, "Read-only file system")

    work(folder)
    monkeypatch.setattr(runs, "open", refuse, raising=False)
    assert_refused("cannot be written: Read-only file system", folder, resume=True)


# What an error leaves


@pytest.mark.parametrize("error", [OptionError, DataError, FolderError, KeyboardInterrupt, OSError])
def test_a_folder_made_in_vain_goes_again(error, tmp_path):
    with pytest.raises(error):
        work(tmp_path / "runs" / "one", [], error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OptionError, FolderError, KeyboardInterrupt, OSError])
def test_what_was_kept_stays(error, folder):
    """Above all where the disk is full."""
    with pytest.raises(error):
        work(folder, [0], error)
    finish(folder, fill)


def test_data_that_carry_no_study_leave_nothing(tmp_path):
    with pytest.raises(DataError):
        work(tmp_path / "run", [0], DataError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"resume": True}, {"share": (0, 2)}])
def test_a_folder_that_was_there_stays(options, folder):
    work(folder, [])
    with pytest.raises(DataError):
        work(folder, [], DataError, **options)
    assert saved_options(folder) == OPTIONS


# In use


def hold(folder, share, connection):
    """Open a run, say so and wait."""
    with opened(folder, resume=True, share=share):
        connection.send(os.getpid())
        connection.recv()


@pytest.fixture
def holder(compilation_cache):
    """What opens runs in processes of their own, and the processes."""
    held = []

    def start(folder, share=(0, 1)):
        ours, theirs = FORKS.Pipe()
        held.append((launch(hold, folder, share, theirs), ours))
        return held[-1][0], ours.recv()

    yield start
    for process, _ in held:
        process.kill()
        process.join()


def test_a_folder_in_use_is_refused_until_its_user_is_gone(holder, folder):
    work(folder)
    process, pid = holder(folder)
    for share in ((0, 1), (0, 2), (1, 2)):
        assert_refused(f"in use by process {pid}; wait for it or stop it", folder, share=share,
                       resume=True)  # fmt: skip
    process.kill()
    ended(process)
    work(folder, [1], resume=True)


def test_processes_share_a_run_but_no_share(holder, folder):
    work(folder, share=(2, 3))
    process, pid = holder(folder, (0, 3))
    assert [is_at_work(folder, i) for i in range(3)] == [True, False, False]
    work(folder, [1], share=(1, 3))
    assert_refused(f"in use by process {pid}", folder, share=(0, 3))
    assert_refused("in use by process", folder, resume=True)
    process.kill()
    ended(process)
    assert not is_at_work(folder, 0)
    work(folder, [0], share=(0, 3))
    work(folder, resume=True)


def begin_together(folder, share, connection):
    """Open a run at a sign."""
    connection.send("ready")
    connection.recv()
    with opened(folder, share=share) as run:
        run.stage("train", Tile).put(share[0], Tile(np.full(2, share[0])))
    connection.send("done")


@pytest.mark.usefixtures("compilation_cache")
def test_processes_that_begin_together_do_not_collide(tmp_path):
    pipes = []
    for i in range(4):
        ours, theirs = FORKS.Pipe()
        launch(begin_together, tmp_path / "run", (i, 4), theirs)
        pipes.append(ours)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 4
    for pipe in pipes:
        pipe.send("go")
    assert [pipe.recv() for pipe in pipes] == ["done"] * 4
    require_shared_tiles(tmp_path / "run", 4)


# The end


def test_a_finished_run_is_a_study_and_nothing_else(folder, tmp_path):
    work(folder)
    finish(folder, fill)
    expected = tmp_path / "expected"
    expected.mkdir()
    fill(expected)
    assert listing(folder) == listing(expected)
    assert is_finished(folder)
    assert not (folder / "work").exists()


def finish_and_die(folder, call, number):
    """Finish a run, and be killed at one call of a function of the system."""
    real, calls = getattr(os, call), []

    def die(*arguments, **options):
        calls.append(arguments)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    with opened(folder, resume=True) as run:
        setattr(os, call, die)
        run.finish(fill)


@pytest.mark.usefixtures("compilation_cache")
@pytest.mark.parametrize(("call", "times"), [("replace", 4), ("mkdir", 2), ("unlink", 3)])
def test_a_run_killed_as_it_finishes_finishes_later(call, times, folder, tmp_path):
    """At every file that it moves, makes or removes."""
    work(folder)
    expected = tmp_path / "expected"
    expected.mkdir()
    fill(expected)
    for number in range(1, times + 1):
        copy = tmp_path / f"{call}-{number}"
        shutil.copytree(folder, copy)
        assert ended(launch(finish_and_die, copy, call, number)) == -signal.SIGKILL
        if is_finished(copy):
            assert listing(copy).items() >= listing(expected).items()
            drop_work(copy)
        else:
            finish(copy, fill)
        assert listing(copy) == listing(expected)


def test_only_a_run_leaves_work_to_drop(folder):
    """A user's own folder of that name is not ours."""
    folder.mkdir()
    fill(folder)
    (folder / "work").mkdir()
    (folder / "work" / "notes.txt").write_text("mine")
    drop_work(folder)
    assert (folder / "work" / "notes.txt").exists()


def test_a_full_disk_at_the_end_leaves_the_run(folder, monkeypatch):
    work(folder)

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    def too_much(results):
        fill(results)
        raise FolderError(f"{results} cannot be written: No space left on device")

    with pytest.raises(FolderError, match="No space left"):
        finish(folder, too_much)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(FolderError, match="cannot be written: No space left"):
            finish(folder, fill)
    assert not is_finished(folder)
    finish(folder, fill)
    assert is_finished(folder)


def test_missing_tiles_are_counted(folder):
    work(folder, [0, 3])
    with pytest.raises(FolderError, match="lacks 2 of 4 tiles, number 1 first; run the processes"):
        require_shared_tiles(folder, 4)
    work(folder, [1, 2], resume=True)
    require_shared_tiles(folder, 4)


def test_the_hash_of_a_run_is_of_all_its_facts():
    hashes = {
        runs._hash({**FACTS, **changes})
        for changes in ({}, {"data": "b"}, {"versions": {"jax": "2", "np": "2"}}, {"new": None})
    }
    assert len(hashes) == 4
    assert runs._hash(FACTS) == runs._hash(json.loads(json.dumps(FACTS)))
