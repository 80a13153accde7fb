"""Plain files: read where they are plain, written whole or not at all, never through a link."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from jaxvae.errors import FolderError

KIND_NAMES = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symbolic link"}


def require_new(path: Path, kind: str = "folder") -> None:
    """FolderError where something already stands at the path, or nothing of that name can."""
    if "\0" in str(path) or path.name == "..":
        raise FolderError(f"{str(path)!r} is no name for a new {kind}")
    if os.path.lexists(path):
        raise FolderError(f"{path} exists; name a new {kind} or move the old one away")


def require_new_file(path: Path | None) -> None:
    """FolderError where a file cannot be made at the path: something is there, or no folder is."""
    if path is not None:
        require_new(path, "file")
        if not path.parent.is_dir():
            raise FolderError(f"{path.parent} is no folder; make it first")


def is_plain(path: Path, kind: int = stat.S_IFREG) -> bool:
    """Whether a plain file, or a folder (`stat.S_IFDIR`), is there; false where nothing is.

    Raises FolderError where something else is: a link, a device, a pipe that would keep its reader
    waiting, a folder in a file's place.
    """
    try:
        found = stat.S_IFMT(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise FolderError(f"{path} cannot be read: {_reason(error)}") from error
    if found != kind:
        there, wanted = KIND_NAMES.get(found, "pipe or device"), KIND_NAMES[kind]
        raise FolderError(f"{path} is a {there} where a plain {wanted} belongs; move it away")
    return True


def read_file(path: Path, size: int | None = None, most: int | None = None) -> bytes:
    """What a plain file holds.

    size: how many bytes it must have. most: how many it may have at most. Another size is refused
    before anything is read.

    Raises FolderError where it is missing, no plain file, or cannot be read.
    """
    if not is_plain(path):
        raise FolderError(f"{path} is missing; the folder is not whole")
    try:
        found = path.stat().st_size
        if found != (found if size is None else size) or found > (found if most is None else most):
            raise FolderError(f"{path} is damaged: it cannot have {found:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {_reason(error)}") from error


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to be filled inside, that then stands at the path whole, also after a power cut; where
    it does not come to that, what was there stays.

    Raises FolderError where something else than a plain file is there, or the system refuses.
    """
    is_plain(path)
    partial = partial_of(path)
    with writing(path):
        try:
            partial.unlink(missing_ok=True)
            with open(partial, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        sync_folder(path.parent)


def partial_of(path: Path) -> Path:
    """What a file is called while it is filled."""
    return path.with_name(f".{path.name}.partial")


def write_file(path: Path, content: bytes) -> None:
    """`whole_file` with its content."""
    with whole_file(path) as file:
        file.write(content)


def write_new(path: Path, content: bytes) -> None:
    """`write_file` where nothing is yet. Raises FolderError as `require_new_file` does."""
    require_new_file(path)
    write_file(path, content)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files, by their paths below an existing folder, each whole and in order.

    Raises FolderError, before the first is written, where a link or the like is in the way.
    """
    for name in files:
        for parent in reversed(Path(name).parents[:-1]):
            is_plain(folder / parent, stat.S_IFDIR)
        is_plain(folder / name)
    for name, content in files.items():
        with writing(folder / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_file(folder / name, content)


def make_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """A new folder that appears whole, with its files, or not at all: filled beside its place and
    renamed. Where it does not come to that, parents made on the way go too.

    Raises FolderError where something is in the way, or the system refuses.
    """
    require_new(folder)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    made = missing_parents(folder)
    try:
        with writing(folder):
            partial.mkdir(parents=True)
            write_files(partial, files)
            os.rename(partial, folder)
            sync_folder(folder.parent)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        remove_empty(made)
        if isinstance(error, FolderError):
            raise FolderError(str(error).replace(str(partial), str(folder))) from error
        raise


def missing_parents(path: Path) -> list[Path]:
    """The folders above a path that are not there, the nearest first."""
    return [parent for parent in path.parents if not os.path.lexists(parent)]


def remove_empty(folders: list[Path]) -> None:
    """Remove folders in turn, those that are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """FolderError where the system refuses what is written inside."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {_reason(error)}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    if os.name == "nt":  # Windows opens no folders.
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
