"""Several processes on one study: by coordinator, as a job array, and what does not go together."""

import os
import shutil
import signal
import socket
import sys

import jax
import pytest
from launch import STUDY, contents, ended, launch, launch_command, wait_until

from jaxvae.cli.main import main
from jaxvae.cli.study import gather
from jaxvae.cli.task import how_to_go_on
from jaxvae.errors import FolderError, OptionError
from jaxvae.runs import processes
from jaxvae.runs.processes import Processes, ShareDone, parse_processes

ADDRESS = "127.0.0.1:4711"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None), Processes()),
        ((None, 3, 2), Processes(2, 3)),
        ((None, 1, 0), Processes()),
        ((ADDRESS, 2, 0), Processes(0, 2, ADDRESS)),
        (("auto", None, None), Processes(coordinator="auto")),
    ],
)
def test_what_the_options_say(given, expected):
    assert parse_processes(*given) == expected


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((None, 2, None), "processes: it goes with process; give both or neither"),
        ((None, None, 0), "processes: it goes with process; give both or neither"),
        ((ADDRESS, 2, None), "processes: it goes with process; give both or neither"),
        ((ADDRESS, None, None), "coordinator: give processes and process too, or auto"),
        (("auto", 2, 0), "coordinator: auto stands for processes and process; leave these out"),
        (("auto", None, 0), "coordinator: auto stands for processes and process; leave these out"),
        (("localhost", 2, 0), "'localhost' is neither HOST:PORT nor auto"),
        (("localhost:", 2, 0), "'localhost:' is neither HOST:PORT nor auto"),
        ((None, 2, 2), "process: 2 must lie between 0 and 1"),
        ((None, 2, -1), "process: -1 must lie between 0 and 1"),
        ((None, 0, 0), "process: 0 must lie between 0 and -1"),
    ],
)
def test_what_does_not_go_together(given, words):
    with pytest.raises(OptionError) as error:
        parse_processes(*given)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--processes", "2"], "--processes: it goes with --process; give both"),
        (["--processes", "2", "--process", "2", "--out", "x"], "--process: 2"),
        (["--processes", "2", "--process", "1"], "--out: name the folder"),
        (["--coordinator", "auto"], "--out: name the folder"),
        (["--resume"], "--out: name the folder"),
    ],
)
def test_the_command_line_refuses_it_too(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["study", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_one_process_joins_nothing():
    assert Processes().connect() == Processes()
    assert Processes(1, 3).connect() == Processes(1, 3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [(Processes(0, 2, ADDRESS), (ADDRESS, 2, 0)), (Processes(coordinator="auto"), ())],
)
def test_a_runtime_that_refuses_is_named(options, expected, monkeypatch):
    asked = []

    def refuse(*arguments):
        asked.append(arguments)
        raise RuntimeError("no runtime\nin detail")

    monkeypatch.setattr(jax.distributed, "initialize", refuse)
    with pytest.raises(FolderError) as error:
        options.connect()
    assert str(error.value) == f"coordinator: {options.coordinator}: no runtime"
    assert asked == [expected]


def test_only_what_was_joined_is_left(monkeypatch):
    left = []
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: left.append(True))
    for alone in (Processes(), Processes(1, 3)):
        alone.disconnect()
    assert not left
    Processes(1, 2, ADDRESS).disconnect()
    assert left == [True]


def test_waiting_looks_and_listens_until_all_is_done(monkeypatch):
    monkeypatch.setattr(processes, "SECONDS_BETWEEN_LOOKS", 0.0)
    looks, checks = [], []

    def done():
        looks.append(len(looks))
        return len(looks) > 3

    def interrupted():
        raise KeyboardInterrupt

    Processes(1, 2, ADDRESS).await_others(done, lambda: checks.append(1))
    assert (len(looks), len(checks)) == (4, 3)
    with pytest.raises(KeyboardInterrupt):
        Processes(1, 2, ADDRESS).await_others(lambda: False, interrupted)
    Processes().await_others(lambda: False, interrupted)
    with pytest.raises(ShareDone):
        Processes(1, 2).await_others(lambda: True, interrupted)


def test_the_coordinator_leaves_last(monkeypatch):
    monkeypatch.setattr(processes, "SECONDS_BETWEEN_LOOKS", 0.0)
    asked = []

    def is_at_work(process):
        asked.append(process)
        return len(asked) < 5

    for one in (Processes(), Processes(0, 3), Processes(1, 3, ADDRESS)):
        one.leave_last(is_at_work)
    assert asked == []
    Processes(0, 3, ADDRESS).leave_last(is_at_work)
    assert asked == [1, 1, 1, 1, 1, 2]


# A job array


def share(process, of, folder, csv):
    places = ["--processes", of, "--process", process, "--data", csv, "--out", folder]
    return launch_command(folder.with_name(f"log-{process}"), "study", *STUDY, *places)


@pytest.fixture(scope="module")
def array(compilation_cache, returns_csv, tmp_path_factory):
    """A job array of three whose second process was killed."""
    folder = tmp_path_factory.mktemp("array") / "study"
    at_work = [share(i, 3, folder, returns_csv) for i in range(3)]
    wait_until((folder / "work" / "lock-1").exists, at_work[1])
    at_work[1].kill()
    assert [ended(process) for process in at_work] == [0, -signal.SIGKILL, 0]
    return folder


@pytest.mark.slow
def test_each_process_of_an_array_does_its_share(array):
    tiles = {path.name for path in (array / "work" / "train").glob("tile-?????.safetensors")}
    assert tiles == {"tile-00000.safetensors", "tile-00002.safetensors"}
    said = array.with_name("log-0").read_text()
    assert f"share 1 of 3 is done;\nonce all are: jaxvae gather {array}\n" in said


@pytest.mark.slow
def test_a_missing_share_is_not_gathered(array, capsys):
    assert main(["gather", str(array)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "lacks 1 of 3 tiles, number 1 first; run the processes that own them again" in line


@pytest.mark.slow
def test_an_array_gathered_is_the_unbroken_study(array, returns_csv, unbroken, tmp_path):
    """Once the one that was killed has run again, byte for byte."""
    folder, log, other = tmp_path / "study", tmp_path / "log", tmp_path / "in Python"
    shutil.copytree(array, folder)
    assert ended(share(1, 3, folder, returns_csv)) == 0
    shutil.copytree(folder, other)
    # In a process that has JAX's own settings, as those of the array had.
    assert ended(launch(gather, other)) == 0
    assert contents(other) == contents(unbroken)
    assert len(gather(other).members) == 6
    assert ended(launch_command(log, "gather", folder, "--quiet")) == 0
    assert contents(folder) == contents(unbroken)
    assert ended(launch_command(log, "gather", folder, "--quiet")) == 0
    assert log.read_text() == f"jaxvae: {folder} is finished already\n"


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["unbroken", "no run"])
def test_what_is_no_array_is_not_gathered(folder, unbroken, tmp_path, capsys):
    if folder == "unbroken":
        assert main(["gather", str(unbroken)]) == 0
        said = f"jaxvae: {unbroken} is finished already"
    else:
        assert main(["gather", str(tmp_path)]) == 1
        with pytest.raises(FolderError, match="is no run in work"):
            gather(tmp_path)
        said = f"jaxvae: {tmp_path} is no run in work: it has no run.json"
    assert capsys.readouterr().err.splitlines() == [said]


@pytest.mark.slow
def test_an_interrupted_gathering_says_how_to_go_on(array, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["jaxvae", "gather", "a run"])
    folder = tmp_path / "a run"
    assert how_to_go_on(folder) == "nothing was written"
    shutil.copytree(array, folder)
    assert how_to_go_on(folder) == "go on with: jaxvae gather 'a run'"


# A coordinator


@pytest.fixture
def address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def coordinated(address, folder, csv, *words):
    """Two processes that begin at the same time."""
    return [
        launch_command(
            *(folder.with_name(f"log-{i}"), "study", *STUDY, "--data", csv, "--out", folder),
            *("--coordinator", address, "--processes", 2, "--process", i, *words),
        )
        for i in range(2)
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("compilation_cache")
def test_two_processes_on_loopback_make_the_unbroken_study(
    address, returns_csv, unbroken, tmp_path
):
    """Interrupted together before, so that each goes on with its share."""
    folder = tmp_path / "study"
    both = coordinated(address, folder, returns_csv)
    for i, process in enumerate(both):
        wait_until((folder / "work" / f"lock-{i}").exists, process)
    for process in both:
        os.kill(process.pid, signal.SIGTERM)
    assert [ended(process) for process in both] == [130, 130]
    for i in range(2):
        assert f"--process {i} --resume" in (tmp_path / f"log-{i}").read_text()
    both = coordinated(address, folder, returns_csv, "--resume")
    assert [ended(process) for process in both] == [0, 0]
    assert contents(folder) == contents(unbroken)
