"""Files and folders that are there whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from jaxvae.errors import FolderError


def require_new(path: Path, kind: str = "folder") -> None:
    """FolderError where something already stands at the path."""
    if os.path.lexists(path):
        raise FolderError(f"{path} exists; name a new {kind} or move the old one away")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears whole or not at all: filled beside its place, renamed when done.

    Where it does not come to that, parents made on the way go too.
    """
    require_new(folder)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    made = [parent for parent in partial.parents if not parent.exists()]
    try:
        with writing(folder):
            partial.mkdir(parents=True)
        yield partial
        with writing(folder):
            os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not os.path.lexists(folder):
            for parent in made:
                with suppress(OSError):
                    parent.rmdir()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """FolderError where the system refuses what is written inside."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {error.strerror or error}") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole, also after a power cut, or as it was before."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with open(partial, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    if os.name == "nt":  # Windows opens no folders.
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
