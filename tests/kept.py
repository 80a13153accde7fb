"""The small grid on disk, in tiles of four members and chunks that leave states; a full disk."""

import resource
from contextlib import contextmanager
from dataclasses import replace

from small import CONFIG, DATA, MODEL, ROOT

from jaxvae.errors import FolderError
from jaxvae.runs import disk
from jaxvae.runs.checkpoint import pack_tree
from jaxvae.runs.disk import OnDisk
from jaxvae.runs.files import write_file
from jaxvae.training.ensemble import Ensemble, member_grid, train_ensemble

LONG = replace(CONFIG, epochs=100, patience=None)
N_CHUNKS = 5


def save_tree(tree, path, notes=None):
    """A pytree of arrays in a file, whole or not at all."""
    write_file(path, pack_tree(tree, notes))


def train(n_members, **options):
    members = member_grid(range(n_members), (1.0,), DATA, MODEL, 1e-2, LONG.epochs)
    return train_ensemble(ROOT, DATA, members, MODEL, LONG, tile_width=2, **options)


def train_on_disk(folder, n_members, **options):
    return train(n_members, stage=OnDisk(folder, Ensemble, "this run"), **options)


@contextmanager
def full_disk(n_bytes):
    """The system refuses to write more to a file; to pytest's own log, too, so that no more than
    the write belongs inside."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# In processes of their own


def train_and_tell(folder, n_members):
    """Keep every state; say when a tile has begun, and leave what came out."""
    disk.SECONDS_BETWEEN = 0.0

    def tell(progress):
        if progress.epoch < LONG.epochs:
            (folder / "begun").touch()

    found = train_on_disk(folder / "stage", n_members, on_progress=tell)
    (folder / "begun").touch()
    save_tree(found, folder / "found.safetensors")


def train_until_the_disk_is_full(folder, n_members, connection):
    """The disk is full once a state is there; send the error."""
    disk.SECONDS_BETWEEN = 0.0

    def fill(progress):
        if any(folder.iterdir()):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    try:
        train_on_disk(folder, n_members, on_progress=fill)
    except FolderError as error:
        connection.send(str(error))
