"""Runs that are interrupted or killed, at any moment, and go on as if nothing had been."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from kept import train, train_and_tell
from launch import (
    STUDY,
    contents,
    ended,
    launch,
    launch_command,
    seconds_of_work,
    wait_until,
)
from small import same_bits

from jaxvae.cli.main import main
from jaxvae.runs.checkpoint import load_tree, restore
from jaxvae.runs.interrupts import (
    INTERRUPTED,
    SECONDS_BETWEEN_LOOKS,
    SECONDS_TO_STOP,
    Interrupts,
    signals_as_before,
)
from jaxvae.training.ensemble import Ensemble

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def interrupts():
    """Ours; the tests' own handlers come back."""
    with signals_as_before():
        yield Interrupts()


def await_signal(interrupts):
    """The main thread hears it a moment after it was sent."""
    while interrupts.since is None:
        time.sleep(0.001)


def test_what_works_says_what_it_says(interrupts):
    done = []
    interrupts.call(lambda: done.append(threading.current_thread()))
    assert done[0] is not threading.main_thread()
    with pytest.raises(ZeroDivisionError):
        interrupts.call(lambda: 1 / 0)


@BOTH
def test_a_signal_is_taken_up_at_the_next_edge(number, interrupts):
    done = []
    interrupts.how_to_go_on = lambda: "how to go on"

    def work():
        interrupts.check()
        done.append("before")
        os.kill(os.getpid(), number)
        await_signal(interrupts)
        done.append("the rest")
        interrupts.check()
        done.append("after")

    with pytest.raises(KeyboardInterrupt, match="how to go on"):
        interrupts.call(work)
    assert done == ["before", "the rest"]


@BOTH
def test_work_without_an_edge_is_left_to_itself(number, interrupts):
    begun, done = time.monotonic(), threading.Event()

    def work():
        os.kill(os.getpid(), number)
        done.wait(60)

    with pytest.raises(KeyboardInterrupt, match="nothing was written"):
        interrupts.call(work)
    assert SECONDS_TO_STOP < time.monotonic() - begun < 30
    done.set()


@BOTH
def test_what_is_over_is_not_interrupted(number, interrupts):
    def work():
        interrupts.over = True
        os.kill(os.getpid(), number)
        time.sleep(3 * SECONDS_BETWEEN_LOOKS)
        interrupts.check()

    interrupts.call(work)


@BOTH
def test_work_that_comes_to_its_end_all_the_same_is_done(number, interrupts):
    def work():
        os.kill(os.getpid(), number)
        await_signal(interrupts)

    interrupts.call(work)


@pytest.mark.slow
def test_a_command_leaves_the_signals_as_they_were(unbroken):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["report", str(unbroken)]) == 0
    with signals_as_before():
        Interrupts()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


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
    return restore(Ensemble, load_tree(folder / "found.safetensors").tree)


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


@pytest.mark.slow
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


# What is there when a study is stopped, and how: before and in the first tile, after it, in later
# stages, and while its results are written.
MOMENTS = [
    ("run.json", signal.SIGTERM),
    ("work/train", signal.SIGINT),
    ("work/train/tile-00000.safetensors", signal.SIGKILL),
    ("work/train/tile-00002.safetensors", signal.SIGTERM),
    ("work/refit/tile-00000.safetensors", signal.SIGTERM),
    ("work/count/tile-00000.safetensors", signal.SIGKILL),
    ("arrays.safetensors", signal.SIGKILL),
]


def stop(moment, number, folder, words):
    """Run a study until a file or folder is there, then send a signal; what it said."""
    log = folder.with_name("log")
    log.write_text("")  # A process that is killed as it starts has not come to it.
    process = launch_command(log, *words)
    wait_until((folder / moment).exists, process)
    os.kill(process.pid, number)
    assert ended(process) == (-number if number == signal.SIGKILL else INTERRUPTED)
    assert not (folder / "config.json").exists()
    return log.read_text().splitlines()


@pytest.mark.slow
@pytest.mark.usefixtures("compilation_cache")
def test_a_study_stopped_at_every_stage_is_the_unbroken_one(unbroken, returns_csv, tmp_path):
    """Every table, array, checkpoint and figure, and the report, byte for byte."""
    folder, resume = tmp_path / "study", []
    words = ["study", *STUDY, "--data", returns_csv, "--out", folder]
    for moment, number in MOMENTS:
        said = stop(moment, number, folder, [*words, *resume])
        resume = ["--resume"] if (folder / "run.json").exists() else []
        if number == signal.SIGKILL:
            assert said == []
        elif resume:
            (line,) = said
            assert line.startswith("jaxvae: interrupted; go on with: jaxvae study --seeds 3")
            assert line.endswith(f"--out {folder} --resume")
        else:
            assert said == ["jaxvae: interrupted; nothing was written"]
    assert ended(launch_command(tmp_path / "log", *words, *resume)) == 0
    assert contents(folder) == contents(unbroken)


N_SIGNALS = 6


def interrupted_after(seconds, log, words):
    """Let a command have so many seconds of the processor, compiling all it needs, and send a
    signal: its exit code, and what it took of the processor from then on."""
    process = launch_command(log, *words, cache=False)
    wait_until(lambda: not process.is_alive() or seconds_of_work(process) > seconds, process)
    before = after = seconds_of_work(process)
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    while process.is_alive():
        after = max(after, seconds_of_work(process))
        time.sleep(0.01)
    return ended(process), after - before


@pytest.mark.slow
@pytest.mark.usefixtures("compilation_cache")
def test_a_signal_at_any_moment_ends_a_study(unbroken, returns_csv, tmp_path):
    """While it compiles, trains, scores or draws: within two seconds of both cores, since others
    may have them meanwhile; and what was done stays."""
    folder, resume = tmp_path / "study", []
    words = ["study", *STUDY, "--data", returns_csv, "--out", folder]
    for seconds in np.random.default_rng(1).uniform(0.5, 15.0, N_SIGNALS):
        code, more = interrupted_after(seconds, tmp_path / "log", [*words, *resume])
        if code == 0:
            break
        assert code == INTERRUPTED
        assert more < 2.0 * 2
        resume = ["--resume"] if folder.exists() else []
    again = ["--resume"] if folder.exists() else []
    assert ended(launch_command(tmp_path / "log", *words, *again)) == 0
    assert contents(folder) == contents(unbroken)
