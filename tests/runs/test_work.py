"""The folder of a run: begun once, held by one, gone on with as it was, finished whole."""

import os
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from launch import FORKS, ended, launch

from jaxvae.errors import DataError, FolderError, OptionError
from jaxvae.runs import work as runs
from jaxvae.runs.documents import SCHEMA, hash_document, read_sealed, seal
from jaxvae.runs.files import write_files
from jaxvae.runs.processes import UNSHARED, Share
from jaxvae.runs.work import (
    drop_work,
    is_at_work,
    is_finished,
    open_run,
    read_record,
    require_shared_tiles,
)

FACTS = {
    "data": {"returns": "a hash"},
    "settings": {"betas": [0.5, 1.0], "epochs": None},
    "versions": {"jax": "1", "np": "2"},
}
OPTIONS = {"data": "returns.csv", "seeds": 2}
UNSEALED = f'{{"schema": {SCHEMA}, "identity": {{}}, "options": {{}}}}'


# A study of two tables, a figure and its settings.
FILES = {
    "a.csv": b"a\n1\n",
    "z.csv": b"z\n26\n",
    "figures/one.png": b"picture",
    "config.json": b"{}",
}


def make(folder, files=FILES):
    """Files in a folder, without a run."""
    write_files(folder, files)


class Tile(NamedTuple):
    values: np.ndarray


def opened(folder, identity=FACTS, **options):
    return open_run(folder, identity, OPTIONS, **options)


def work(folder, tiles=(0,), error=None, **options):
    """Begin a run or go on with it, and leave it with some tiles."""
    with opened(folder, **options) as run:
        for tile in tiles:
            run.stage("train", Tile).put(tile, Tile(np.full(2, tile)))
        if error:
            raise error


def finish(folder, files=FILES):
    """Go on with a run to its end; what else lies in its folder."""
    with opened(folder, resume=True) as run:
        assert run.stage("train", Tile).has(0)
        return run.finish(files)


def listing(folder):
    """Every file and what it holds, but for the process that held a lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("lock")
    }


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
    assert read_record(folder)["options"] == OPTIONS


def test_a_record_says_what_the_run_depends_on(folder):
    work(folder)
    record = read_sealed(folder / "run.json")
    assert record == {"schema": SCHEMA, "identity": FACTS, "options": OPTIONS}


@pytest.mark.usefixtures("compilation_cache")
@pytest.mark.parametrize(("call", "times"), [("mkdir", 3), ("replace", 1), ("rename", 1)])
def test_a_run_killed_as_it_begins_is_there_or_not(call, times, tmp_path):
    """Whoever comes after begins it, or goes on with it."""
    for number in range(1, times + 1):
        folder = tmp_path / f"{number}" / "run"
        process = launch(begin_and_die, folder, call, number)
        assert ended(process) == -signal.SIGKILL
        work(folder, resume=folder.exists())
        assert read_record(folder)["options"] == OPTIONS


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
    make(folder)
    assert_refused("exists; name a new folder", folder)
    assert_refused("holds a finished run; name another folder", folder, resume=True)
    assert_refused("holds a finished run; name another folder", folder, share=Share(1, 2))


def test_what_is_no_run_is_not_gone_on_with(folder, tmp_path):
    assert_refused(".* is no folder; leave resume out", folder, resume=True)
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert_refused("is no run in work: it has no run.json", folder, resume=True)
    assert_refused("is no run in work: it has no run.json", folder, share=Share(0, 2))
    assert_refused("notes.txt is no folder", folder / "notes.txt", resume=True)
    assert_refused("notes.txt/run.json|no run in work", folder / "notes.txt", share=Share(0, 2))
    assert (folder / "notes.txt").read_text() == "mine"


# What a user may have in a folder that is then named as a run's.
MINE = {
    "nothing": {},
    "work": {"work/notes.txt": b"x", "figures/mine.png": b"y", "report.md": b"z"},
    "a record": {"run.json": UNSEALED.encode(), "work/lock": b"x"},
    "a record of tiles": {"run.json": b"{}", "work/train/tile-00000.safetensors": b"mine"},
    "a configuration": {"config.json": b"{}", "work/notes.txt": b"x"},
}


@pytest.mark.parametrize("options", [{"resume": True}, {"share": Share(0, 2)}, {}])
@pytest.mark.parametrize("mine", MINE)
def test_a_users_folder_is_never_a_run(mine, options, folder):
    folder.mkdir()
    make(folder, MINE[mine])
    assert_refused("run|exists", folder, **options)
    drop_work(folder)
    assert {name: (folder / name).read_bytes() for name in MINE[mine]} == MINE[mine]


@pytest.mark.parametrize("options", [{"resume": True}, {"share": Share(0, 2)}, {}])
@pytest.mark.parametrize("name", [".", "..", "a/..", ""])
def test_where_the_user_is_no_run_is_begun(name, options, tmp_path, monkeypatch):
    (tmp_path / "up" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "up" / "here")
    with pytest.raises(FolderError):
        work(Path(name), **options)
    assert [path.name for path in (tmp_path / "up").rglob("*")] == ["here"]


def test_the_root_is_no_place_for_a_run():
    """Asked about without beginning one."""
    with pytest.raises(FolderError, match="exists"):
        runs.require_place(Path("/"), resume=False, shared=False)
    for resume, shared in ((True, False), (False, True)):
        assert not runs.require_place(Path("/"), resume, shared)
    with pytest.raises(FolderError, match=r"is no run in work: it has no run\.json"):
        read_record(Path("/"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"returns": "other"}}, "another returns: a hash, now other"),
        ({"settings": {"betas": [0.5]}}, r"another betas: \[0.5, 1.0\], now \[0.5\]"),
        ({"tile_width": 8}, "another tile width: None, now 8"),
        ({"versions": {"jax": "1", "np": "3"}}, "another versions np: 2, now 3;"),
    ],
)
@pytest.mark.parametrize("options", [{"resume": True}, {"share": Share(1, 2)}])
def test_a_run_with_other_facts_is_refused(changes, words, options, folder):
    work(folder, share=Share(0, 2))
    assert_refused(words, folder, identity={**FACTS, **changes}, **options)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "damaged"),
        ("{", "damaged"),
        ("[]", "damaged, or not of jaxvae: it is no JSON document with a schema"),
        ("{}", "damaged, or not of jaxvae: it is no JSON document with a schema"),
        (UNSEALED, "damaged or was changed"),
        (f'{{"schema": {SCHEMA}, "checksum": 3}}', "damaged or was changed"),
        (seal({"identity": {}}).decode(), "damaged: it is no record"),
        ('{"schema": 1, "facts": {}}', f"has schema 1; this version reads {SCHEMA}"),
        ('{"schema": [1]}', r"has schema \[1\]"),
        ('{"schema": "3"}', f"has schema '3'; this version reads {SCHEMA}"),
        ('{"schema": NaN}', "damaged.*NaN is no number"),
        ("[" * 100_000, "damaged, or not of jaxvae: it is no JSON document"),
        ("1" * 5000, "damaged"),
        ("\x80", "damaged"),
    ],
)
def test_a_damaged_record_is_named(content, words, folder):
    work(folder)
    (folder / "run.json").write_text(content, encoding="latin-1")
    assert_refused(f"run.json.* {words}", folder, resume=True)
    with pytest.raises(FolderError, match=words):
        read_record(folder)


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


ERRORS = [
    OptionError("out", "no"),
    DataError("no"),
    FolderError("no"),
    KeyboardInterrupt(),
    OSError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_folder_made_in_vain_goes_again(error, tmp_path):
    with pytest.raises(type(error)):
        work(tmp_path / "runs" / "one", [], error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_what_was_kept_stays(error, folder):
    """Above all where the disk is full, or the data turn out not to carry what comes later."""
    with pytest.raises(type(error)):
        work(folder, [0], error)
    finish(folder)


def test_what_a_user_put_into_a_folder_made_in_vain_stays(folder):
    def interrupted():
        with opened(folder):
            make(folder, {"notes.txt": b"mine", "work/notes.txt": b"mine, too"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert listing(folder) == {"notes.txt": b"mine", "work/notes.txt": b"mine, too"}


@pytest.mark.parametrize("options", [{"resume": True}, {"share": Share(0, 2)}])
def test_a_folder_that_was_there_stays(options, folder):
    work(folder, [])
    with pytest.raises(DataError):
        work(folder, [], DataError, **options)
    assert read_record(folder)["options"] == OPTIONS


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

    def start(folder, share=UNSHARED):
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
    for share in (UNSHARED, Share(0, 2), Share(1, 2)):
        assert_refused(f"in use by process {pid}; wait for it or stop it", folder, share=share,
                       resume=True)  # fmt: skip
    process.kill()
    ended(process)
    work(folder, [1], resume=True)


def test_processes_share_a_run_but_no_share(holder, folder):
    work(folder, share=Share(2, 3))
    process, pid = holder(folder, Share(0, 3))
    assert [is_at_work(folder, i) for i in range(3)] == [True, False, False]
    work(folder, [1], share=Share(1, 3))
    assert_refused(f"in use by process {pid}", folder, share=Share(0, 3))
    assert_refused("in use by process", folder, resume=True)
    process.kill()
    ended(process)
    assert not is_at_work(folder, 0)
    work(folder, [0], share=Share(0, 3))
    work(folder, resume=True)


def begin_together(folder, share, connection):
    """Open a run at a sign."""
    connection.send("ready")
    connection.recv()
    with opened(folder, share=share) as run:
        run.stage("train", Tile).put(share.process, Tile(np.full(2, share.process)))
    connection.send("done")


@pytest.mark.usefixtures("compilation_cache")
def test_processes_that_begin_together_do_not_collide(tmp_path):
    pipes = []
    for i in range(4):
        ours, theirs = FORKS.Pipe()
        launch(begin_together, tmp_path / "run", Share(i, 4), theirs)
        pipes.append(ours)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 4
    for pipe in pipes:
        pipe.send("go")
    assert [pipe.recv() for pipe in pipes] == ["done"] * 4
    require_shared_tiles(tmp_path / "run", 4)


# The end


def test_a_finished_run_is_a_study_and_nothing_else(folder):
    work(folder)
    assert finish(folder) == []
    assert listing(folder) == FILES
    assert is_finished(folder)
    assert not (folder / "work").exists()


def begin_and_die(folder, call, number):
    """Begin a run, and be killed at one call of a function of the system."""
    die_at(call, number)
    work(folder, [])
    os.kill(os.getpid(), signal.SIGKILL)


def finish_and_die(folder, call, number):
    """Finish a run, and be killed at one call of a function of the system."""
    with opened(folder, resume=True) as run:
        die_at(call, number)
        run.finish(FILES)


def die_at(call, number):
    real, calls = getattr(os, call), []

    def die(*arguments, **options):
        calls.append(arguments)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)

    setattr(os, call, die)


@pytest.mark.usefixtures("compilation_cache")
@pytest.mark.parametrize(
    ("call", "times"), [("replace", 5), ("mkdir", 1), ("unlink", 3), ("fsync", 9)]
)
def test_a_run_killed_as_it_finishes_finishes_later(call, times, folder, tmp_path):
    """At every file that it writes or removes; also where its results are no longer the same."""
    work(folder)
    for number in range(1, times + 1):
        copy = tmp_path / f"{call}-{number}"
        shutil.copytree(folder, copy)
        assert ended(launch(finish_and_die, copy, call, number)) == -signal.SIGKILL
        if is_finished(copy):
            assert listing(copy).items() >= FILES.items()
            drop_work(copy)
            assert listing(copy) == FILES
        else:
            others = {**FILES, "a.csv": b"a\n2\n"}
            assert finish(copy, others) == []
            assert listing(copy) == others


# A user's own, put into the folder of a run in work or of one that was stopped as it finished.
FOREIGN = ["a.csv", "figures/one.png", "figures/mine.png", "config.json", "figures"]


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_users_file_in_the_way_is_neither_replaced_nor_removed(
    name, stopped, folder, monkeypatch
):
    work(folder)
    with opened(folder, resume=True) as run:
        if stopped:
            stop_at_the_last_file(run, monkeypatch)
            assert (folder / "figures" / "one.png").exists()
        if name == "figures":
            shutil.rmtree(folder / name, ignore_errors=True)
        make(folder, {name: b"mine"})
        before = {**listing(folder)}
        with pytest.raises(FolderError, match="is in the way and not of this run; move it"):
            run.finish(FILES)
        assert (folder / name).read_bytes() == before[name] == b"mine"
        assert (folder / "work" / "train" / "tile-00000.safetensors").exists()
        (folder / name).rename(folder / "elsewhere")
        if name != "figures":
            shutil.rmtree(folder / "figures", ignore_errors=True)
        assert run.finish(FILES) == ["elsewhere"]
    assert listing(folder) == {**FILES, "elsewhere": b"mine"}


def stop_at_the_last_file(run, monkeypatch):
    """All results are written but the last."""
    real = os.replace

    def refuse(source, target):
        if Path(target).name == "config.json":
            raise OSError(28, "No space left on device")
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(FolderError, match="No space left"):
            run.finish(FILES)


@pytest.mark.parametrize("name", ["a.csv", "figures", "config.json"])
def test_results_are_not_written_through_links(name, folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    work(folder)
    (folder / name).symlink_to(elsewhere)
    with pytest.raises(FolderError, match=r"is in the way|is a symbolic link"):
        finish(folder)
    assert not list(elsewhere.iterdir())


def test_what_else_lies_in_the_folder_stays_and_is_told(folder):
    work(folder)
    foreign = {"notes.txt": b"mine", "work/train/notes.txt": b"two", "work/results/a.csv": b"three"}
    make(folder, foreign)
    assert finish(folder) == ["notes.txt", "work"]
    assert listing(folder) == {**FILES, **foreign}
    assert not (folder / "run.json").exists()


def test_only_a_run_leaves_work_to_drop(folder):
    """A user's own folder of that name is not ours, nor is what a link in it leads to."""
    folder.mkdir()
    make(folder, {**FILES, "work/lock": b"mine"})
    drop_work(folder)
    assert (folder / "work" / "lock").exists()


def test_a_link_in_the_work_is_not_followed(folder, tmp_path):
    work(folder)
    make(tmp_path, {"elsewhere/tile-00000.safetensors": b"mine"})
    (folder / "work" / "more").symlink_to(tmp_path / "elsewhere")
    assert finish(folder) == ["work"]
    assert listing(tmp_path / "elsewhere") == {"tile-00000.safetensors": b"mine"}


def test_a_full_disk_at_the_end_leaves_the_run(folder, monkeypatch):
    work(folder)

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(FolderError, match="cannot be written: No space left"):
            finish(folder)
    assert not is_finished(folder)
    finish(folder)
    assert is_finished(folder)


def test_missing_tiles_are_counted(folder):
    work(folder, [0, 3])
    with pytest.raises(FolderError, match="lacks 2 of 4 tiles, number 1 first; run the processes"):
        require_shared_tiles(folder, 4)
    work(folder, [1, 2], resume=True)
    require_shared_tiles(folder, 4)


def test_the_hash_of_a_run_is_of_all_its_facts():
    hashes = {
        hash_document({**FACTS, **changes})
        for changes in ({}, {"data": "b"}, {"versions": {"jax": "2", "np": "2"}}, {"new": None})
    }
    assert len(hashes) == 4
