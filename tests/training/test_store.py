"""Finished tiles and states on disk: what is kept, what is refused, and that training goes on."""

import os
import pickle
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from kept import N_CHUNKS, train, train_on_disk, train_until_the_disk_is_full
from launch import FORKS, ended, launch
from small import same_bits

from jaxvae.errors import FolderError
from jaxvae.runs import disk
from jaxvae.runs.disk import SECONDS_BETWEEN, OnDisk
from jaxvae.runs.processes import Share
from jaxvae.training.ensemble import Ensemble
from jaxvae.training.store import InMemory, TileState


class Kind(NamedTuple):
    values: np.ndarray
    tree: Any


def value(number):
    return Kind(np.full(3, number, np.float32), {"encoder": {}, "decoder": {"a": np.ones(2)}})


def state(epoch):
    return TileState(epoch, {"0": np.full(2, epoch)}, {"total": np.zeros((2, epoch))})


def stage(folder, run="this run", **options):
    return OnDisk(folder, Kind, run, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def keep(kept, *epochs, tile=0, now=True):
    for epoch in epochs:
        kept.keep(tile, epoch, lambda epoch=epoch: state(epoch), now)


def test_a_tile_comes_back(tmp_path):
    stage(tmp_path).put(3, value(3))
    again = stage(tmp_path)
    assert [again.has(tile) for tile in (2, 3)] == [False, True]
    assert again.get(2) is None
    assert same_bits(again.get(3), value(3))
    assert again.get(3).tree.keys() == {"encoder", "decoder"}


def test_the_last_two_states_are_kept_and_the_last_comes_back(tmp_path):
    kept = stage(tmp_path)
    assert kept.state(0) is None
    keep(kept, 20, 40, 60, 999_980, 1_000_000)
    keep(kept, 20, tile=1)
    assert [path.name for path in kept._states(0)] == [
        "tile-00000.epoch-999980.safetensors",
        "tile-00000.epoch-1000000.safetensors",
    ]
    found = stage(tmp_path).state(0)
    assert found.epoch == 1_000_000
    assert same_bits(found[1:], state(1_000_000)[1:])
    assert stage(tmp_path).state(1).epoch == 20


def test_states_are_kept_every_so_many_seconds(tmp_path, monkeypatch):
    now, made = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    kept = stage(tmp_path)
    for epoch in range(20, 200, 20):
        now[0] += 0.4 * SECONDS_BETWEEN
        kept.keep(0, epoch, lambda epoch=epoch: made.append(epoch) or state(epoch), now=False)
    assert made == [60, 120, 180]


def test_a_finished_tile_needs_no_states(tmp_path):
    kept = stage(tmp_path)
    keep(kept, 20, 40)
    keep(kept, 20, tile=1)
    kept.put(0, value(0))
    assert names(tmp_path) == ["tile-00000.safetensors", "tile-00001.epoch-000020.safetensors"]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_tile_is_owned_once(processes, tmp_path):
    shares = [stage(tmp_path, share=Share(i, processes)) for i in range(processes)]
    for tile in range(10):
        assert sum(share.owns(tile) for share in shares) == 1


def test_waiting_ends_with_the_last_tile(tmp_path):
    asked = []

    def wait(done):
        while not done():
            asked.append(len(asked))
            stage(tmp_path).put(len(asked), value(0))

    kept = stage(tmp_path, share=Share(0, 2, wait))
    kept.put(0, value(0))
    kept.wait(4)
    assert asked == [0, 1, 2]


# Refusals

SPOIL = {
    "truncated": lambda content: content[: len(content) // 2],
    "flipped": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "empty": lambda content: b"",
    "pickle": lambda content: pickle.dumps({"epoch": 60}),
}


@pytest.mark.parametrize("fault", SPOIL)
def test_a_damaged_state_is_named_and_the_older_one_serves(fault, tmp_path):
    keep(stage(tmp_path), 20, 40)
    older, newest = stage(tmp_path)._states(0)
    newest.write_bytes(SPOIL[fault](newest.read_bytes()))
    with pytest.raises(FolderError, match=f"damaged.*; delete it to go on from {older.name}"):
        stage(tmp_path).state(0)
    newest.unlink()
    assert stage(tmp_path).state(0).epoch == 20
    older.write_bytes(SPOIL[fault](older.read_bytes()))
    with pytest.raises(FolderError, match=r"damaged.*; delete it to go on from the tile's start"):
        stage(tmp_path).state(0)


@pytest.mark.parametrize("fault", SPOIL)
def test_a_damaged_tile_is_named(fault, tmp_path):
    stage(tmp_path).put(0, value(0))
    path = tmp_path / "tile-00000.safetensors"
    path.write_bytes(SPOIL[fault](path.read_bytes()))
    with pytest.raises(FolderError, match=f"{path} is damaged"):
        stage(tmp_path).get(0)


def test_another_runs_files_are_refused(tmp_path):
    keep(stage(tmp_path), 20)
    stage(tmp_path).put(1, value(1))
    other = stage(tmp_path, run="another run")
    for read in (lambda: other.state(0), lambda: other.get(1)):
        with pytest.raises(FolderError, match="is of another run: other settings, data or ver"):
            read()
    assert len(names(tmp_path)) == 2


def test_another_kind_of_tile_is_refused(tmp_path):
    stage(tmp_path).put(0, value(0))
    with pytest.raises(FolderError, match=r"is damaged: .* 'members'"):
        OnDisk(tmp_path, Ensemble, "this run").get(0)


def test_links_are_refused(tmp_path):
    folder, link = tmp_path / "stage", tmp_path / "link"
    keep(stage(folder), 20)
    stage(folder).put(1, value(1))
    link.symlink_to(folder)
    with pytest.raises(FolderError, match="link is a symbolic link"):
        stage(link)
    for path in list(folder.iterdir()):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    for read in (lambda: stage(folder).state(0), lambda: stage(folder).get(1)):
        with pytest.raises(FolderError, match="is a symbolic link"):
            read()


@pytest.mark.parametrize("place", ["/proc/stage", "/sys/stage"])
def test_a_folder_that_takes_nothing_is_named(place):
    with pytest.raises(FolderError, match=f"{place}/tile-00000.safetensors cannot be written"):
        stage(Path(place)).put(0, value(0))


@pytest.mark.parametrize("error", [(28, "No space left on device"), (30, "Read-only file system")])
def test_what_cannot_be_written_is_named_and_what_was_stays(error, tmp_path, monkeypatch):
    kept = stage(tmp_path)
    keep(kept, 20, 40)
    before = names(tmp_path)

    def refuse(*arguments):
        raise OSError(*error)

    monkeypatch.setattr(os, "fsync", refuse)
    for write in (lambda: keep(kept, 60), lambda: kept.put(0, value(0))):
        with pytest.raises(FolderError, match=f"tile-00000.* cannot be written: {error[1]}"):
            write()
    assert names(tmp_path) == before
    assert kept.state(0).epoch == 40


# Training

N_MEMBERS = 6


@pytest.fixture(scope="module")
def whole():
    """Two tiles, unbroken and in memory."""
    return train(N_MEMBERS)


class Stop:
    """Progress that is interrupted at one edge."""

    def __init__(self, edge):
        self.edge, self.seen = edge, []

    def __call__(self, progress):
        self.seen.append(progress)
        if len(self.seen) == self.edge:
            raise KeyboardInterrupt


def test_a_stage_on_disk_gives_what_memory_gives(whole, tmp_path):
    assert same_bits(train_on_disk(tmp_path, N_MEMBERS), whole)
    assert names(tmp_path) == ["tile-00000.safetensors", "tile-00001.safetensors"]
    assert same_bits(train_on_disk(tmp_path, N_MEMBERS), whole)


@pytest.mark.parametrize("edge", range(1, 2 * N_CHUNKS + 2))
def test_a_run_interrupted_at_any_edge_goes_on_from_there(edge, whole, tmp_path):
    unbroken, stopped, resumed = Stop(None), Stop(edge), Stop(None)
    train_on_disk(tmp_path / "unbroken", N_MEMBERS, on_progress=unbroken)
    with pytest.raises(KeyboardInterrupt):
        train_on_disk(tmp_path, N_MEMBERS, on_progress=stopped)
    assert same_bits(train_on_disk(tmp_path, N_MEMBERS, on_progress=resumed), whole)
    assert stopped.seen == unbroken.seen[:edge]
    done = [where for where in stopped.seen if not where.in_work]
    assert resumed.seen == done + unbroken.seen[edge:]


def test_a_run_goes_on_from_the_older_state_once_the_newer_is_deleted(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "SECONDS_BETWEEN", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train_on_disk(tmp_path, N_MEMBERS, on_progress=Stop(3))
    older, newest = OnDisk(tmp_path, Ensemble, "this run")._states(0)
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.raises(FolderError, match=f"{newest} is damaged"):
        train_on_disk(tmp_path, N_MEMBERS)
    assert older.exists()
    newest.unlink()
    assert same_bits(train_on_disk(tmp_path, N_MEMBERS), whole)


def test_a_state_of_another_model_is_refused(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_on_disk(tmp_path, N_MEMBERS, on_progress=Stop(1))
    kept = OnDisk(tmp_path, Ensemble, "this run")
    found = kept.state(0)
    fewer = dict(list(found.leaves.items())[1:])
    kept.keep(0, found.epoch, lambda: found._replace(leaves=fewer), now=True)
    with pytest.raises(FolderError, match="state of another model"):
        train_on_disk(tmp_path, N_MEMBERS)


def test_finish_sees_each_tile_and_only_what_it_leaves_is_kept(whole, tmp_path):
    """Memory holds a tile and what is kept, however many tiles there are."""
    alive, sizes = [], []

    def finish(ensemble):
        sizes.append(len(ensemble.ok))
        alive.append(sum(array.nbytes for array in jax.live_arrays()))
        return Kind(ensemble.best_epoch, {})

    for kept in (InMemory(), stage(tmp_path)):
        found = train(14, finish=finish, stage=kept)
        assert isinstance(found, Kind)
        assert (found.values[:N_MEMBERS] == whole.best_epoch).all()
    assert sizes == [4, 4, 4, 2] * 2
    assert max(alive) == alive[0]


@pytest.mark.slow
@pytest.mark.usefixtures("compilation_cache")
def test_a_disk_that_fills_ends_the_run_which_goes_on_later(whole, tmp_path):
    receiver, sender = FORKS.Pipe()
    process = launch(train_until_the_disk_is_full, tmp_path, N_MEMBERS, sender)
    assert ended(process) == 0
    path = tmp_path / "tile-00000.epoch-000040.safetensors"
    assert receiver.recv() == f"{path} cannot be written: File too large"
    assert names(tmp_path) == ["tile-00000.epoch-000020.safetensors"]
    assert same_bits(train_on_disk(tmp_path, N_MEMBERS), whole)
