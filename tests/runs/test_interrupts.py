"""Runs that are interrupted or killed, at any moment, and go on as if nothing had been."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from kept import train, train_and_tell
from launch import FORKS, STUDY, contents, ended, launch, launch_command, wait_until
from small import same_bits

from jaxvae.cli.main import main
from jaxvae.runs.checkpoint import from_tree, load_tree
from jaxvae.runs.interrupts import INTERRUPTED, Interrupts, ignore_signals, signals_as_before
from jaxvae.training.ensemble import Ensemble

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def interrupts():
    """Ours; the tests' own handlers come back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Interrupts()
    for number, handler in before.items():
        signal.signal(number, handler)


@BOTH
def test_an_interrupt_ends_what_is_not_gentle(number, interrupts):
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@BOTH
def test_what_is_over_is_not_interrupted(number, interrupts):
    ignore_signals()
    os.kill(os.getpid(), number)
    interrupts.check()


def test_a_command_leaves_the_signals_as_they_were(unbroken):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["study", "--out", str(unbroken), "--resume"]) == 0
    with signals_as_before():
        ignore_signals()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@BOTH
def test_a_gentle_run_takes_it_up_at_the_next_edge(number, interrupts, tmp_path, capsys):
    done = []
    with pytest.raises(KeyboardInterrupt, match="how to go on"):
        interrupt_between_edges(interrupts, number, tmp_path, done)
    assert done == ["before", "the rest"]
    assert "stopping at the next edge; once more to abort" in capsys.readouterr().err


def interrupt_between_edges(interrupts, number, folder, done):
    with interrupts.gently(folder, "how to go on"):
        interrupts.check()
        done.append("before")
        os.kill(os.getpid(), number)
        done.append("the rest")
        interrupts.check()
        done.append("after")


def test_a_folder_that_is_gone_is_not_gone_on_with(interrupts, tmp_path):
    with pytest.raises(KeyboardInterrupt) as error:
        interrupt_between_edges(interrupts, signal.SIGINT, tmp_path / "gone", [])
    assert str(error.value) == ""


def work_without_an_edge(folder, connection):
    interrupts = Interrupts()
    with interrupts.gently(folder, ""):
        connection.send("at work")
        while not interrupts.seen:
            time.sleep(0.01)
        connection.send("seen")
        time.sleep(60)


@pytest.mark.usefixtures("compilation_cache")
@BOTH
def test_a_second_one_aborts(number, tmp_path):
    ours, theirs = FORKS.Pipe()
    process = launch(work_without_an_edge, tmp_path, theirs)
    assert ours.recv() == "at work"
    os.kill(process.pid, number)
    assert ours.recv() == "seen"
    assert process.is_alive()
    begun = time.monotonic()
    os.kill(process.pid, number)
    assert ended(process) == INTERRUPTED
    assert time.monotonic() - begun < 5


# Kills

N_MEMBERS, N_KILLS = 48, 12


def begin(folder):
    """Train on disk in a process of its own; come back when it is in the middle of a tile."""
    folder.mkdir(exist_ok=True)
    (folder / "begun").unlink(missing_ok=True)
    process = launch(train_and_tell, folder, N_MEMBERS)
    wait_until((folder / "begun").exists, process)
    return process


def found(folder):
    return from_tree(Ensemble, load_tree(folder / "found.safetensors"))


def kill(folder, delays):
    """Kill training after each delay and go on with it; what each kill left, and what came out."""
    left = []
    for delay in delays:
        process = begin(folder)
        time.sleep(delay)
        process.kill()
        assert ended(process) == -signal.SIGKILL
        left.append(tuple(sorted(path.name for path in (folder / "stage").iterdir())))
    assert ended(begin(folder)) == 0
    return left, found(folder)


@pytest.mark.usefixtures("compilation_cache")
def test_a_dozen_kills_at_random_moments_change_no_bit(tmp_path):
    """Two runs at a time, each of twelve tiles of five chunks, with a state after each."""
    expected = train(N_MEMBERS)
    process, begun = begin(tmp_path / "whole"), time.monotonic()
    assert ended(process) == 0
    delays = np.random.default_rng(0).uniform(0, (time.monotonic() - begun) / 7, (2, N_KILLS // 2))
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(kill, (tmp_path / "one", tmp_path / "two"), delays))
    assert len({names for left, _ in ends for names in left}) >= N_KILLS / 2
    for result in (found(tmp_path / "whole"), *(result for _, result in ends)):
        assert same_bits(result, expected)


# What is there when a study is stopped, and how: in the first tile, after it, in later stages, and
# while the report is drawn.
MOMENTS = [
    ("work/train", signal.SIGINT),
    ("work/train/tile-00000.safetensors", signal.SIGKILL),
    ("work/refit", signal.SIGTERM),
    ("work/count", signal.SIGKILL),
    ("work/results/arrays.safetensors", signal.SIGKILL),
]


def stop(moment, number, folder, words):
    """Run a study until a file or folder is there, then send a signal; what it said."""
    log = folder.with_name("log")
    process = launch_command(log, *words)
    wait_until((folder / moment).exists, process)
    os.kill(process.pid, number)
    assert ended(process) == (-number if number == signal.SIGKILL else INTERRUPTED)
    assert not (folder / "config.json").exists()
    return log.read_text().splitlines()


@pytest.mark.usefixtures("compilation_cache")
def test_a_study_stopped_at_every_stage_is_the_unbroken_one(unbroken, returns_csv, tmp_path):
    """Every table, array, checkpoint and figure, and the report, byte for byte."""
    folder, resume = tmp_path / "study", []
    words = ["study", *STUDY, "--data", returns_csv, "--out", folder]
    for moment, number in MOMENTS:
        said = stop(moment, number, folder, [*words, *resume])
        resume = ["--resume"]
        if number == signal.SIGKILL:
            assert said == []
        else:
            assert said[0] == "jaxvae: stopping at the next edge; once more to abort at once"
            assert said[1].startswith("jaxvae: interrupted; go on with: jaxvae study --seeds 3")
            assert said[1].endswith(f"--out {folder} --resume")
            assert list((folder / moment).iterdir())
            assert len(said) == 2
    assert ended(launch_command(tmp_path / "log", *words, *resume)) == 0
    assert contents(folder) == contents(unbroken)
