"""The folder of a run in work: begin it, go on with it, share it among processes, finish it.

    DIR/run.json          the record: what the run depends on, and the options that began it
    DIR/work/train/       finished tiles and the state of those in work, stage by stage (disk.py)

A folder without a record that this package wrote is somebody else's. `config.json` comes last: a
folder that has it is a finished run's, and has neither of the two. What a run did not write itself
it neither replaces nor removes.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxvae.errors import FolderError, Option
from jaxvae.runs.disk import TILE_NAME, OnDisk
from jaxvae.runs.documents import checksum, hash_document, read_sealed, seal
from jaxvae.runs.files import (
    is_plain,
    make_folder,
    missing_parents,
    partial_of,
    remove_empty,
    require_new,
    write_file,
    write_files,
    writing,
)
from jaxvae.runs.identity import require_same
from jaxvae.runs.processes import UNSHARED, Share
from jaxvae.runs.results import CONFIG, RECORD

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

WORK = "work"
SHARED_STAGE = "train"
LOCK = re.compile(r"lock(-\d+)?")
WORK_FILE = re.compile(rf"{TILE_NAME.pattern}|\.{TILE_NAME.pattern}\.partial")


@dataclass(frozen=True)
class Run:
    """A run's folder, open. identity: a hash of all that its numbers depend on. share: what of it
    this process does."""

    folder: Path
    identity: str
    share: Share = UNSHARED

    def stage(self, name: str, kind: type) -> OnDisk:
        """The stage of a name, which keeps NamedTuples of a kind."""
        return OnDisk(self.folder / WORK / name, kind, self.identity, self.share)

    def finish(self, files: Mapping[str, bytes]) -> list[str]:
        """Write the results, `config.json` last, and drop the work; a run that is stopped in the
        middle is not finished, and does this again.

        Returns what lies in the folder beside them, which is left alone.

        Raises FolderError, before anything is written, where something is in the way.
        """
        record, own = read_record(self.folder), {name.split("/")[0] for name in files}
        _remove_own(self.folder, record.get("results", {}))
        for name in sorted(own):
            if os.path.lexists(self.folder / name):
                raise FolderError(
                    f"{self.folder / name} is in the way and not of this run; move it elsewhere "
                    "and go on with what began it"
                )
        results = {name: checksum(content) for name, content in files.items()}
        write_file(self.folder / RECORD, seal({**record, "results": results}))
        write_files(self.folder, files)
        drop_work(self.folder)
        return sorted({path.name for path in self.folder.iterdir()} - own)


@contextmanager
def open_run(
    folder: Path,
    identity: dict[str, Any],
    options: dict[str, Any],
    *,
    resume: bool = False,
    share: Share = UNSHARED,
) -> Iterator[Run]:
    """Begin a run, or go on with one where `resume` is true or several processes share it.

    identity: what the numbers depend on (`identity.identify`); a run begun with another is refused.
    options: what a later command needs to go on by itself.

    A folder made here goes again where the run ends before anything was kept in it.

    Raises FolderError where the folder is in the way, in use, finished, missing, another run's or
    not a run's at all.
    """
    shared, made = share.processes > 1, missing_parents(folder)
    new = require_place(folder, resume, shared)
    if new:
        try:
            make_folder(folder, {RECORD: seal({"identity": identity, "options": options})})
        except FolderError:
            # Of processes that begin together one makes it.
            if not (shared and has_record(folder)):
                raise
    require_same(folder, read_record(folder)["identity"], identity)
    own = f"lock-{share.process}"
    try:
        of_share = _lock(folder, own) if shared else nullcontext()
        with _lock(folder, "lock", shared), of_share:
            yield Run(folder, hash_document(identity), share)
    except BaseException:
        if new and not shared and not any(path.match("*.safetensors") for path in _work(folder)):
            drop_work(folder)
            remove_empty([folder, *made])
        raise


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a finished run."""
    return (folder / CONFIG).is_file()


def has_record(folder: Path) -> bool:
    """Whether the folder holds a run in work."""
    return (folder / RECORD).is_file()


def drop_work(folder: Path) -> None:
    """Remove from a folder what its run has left of its work; the record goes last, and says so.
    What others put there stays."""
    try:
        read_record(folder)
    except FolderError:
        return
    with writing(folder):
        for path in list(_work(folder)):
            path.unlink()
        remove_empty([*_stages(folder), folder / WORK])
        (folder / RECORD).unlink()


def is_at_work(folder: Path, process: int) -> bool:
    """Whether a process that shares the run holds its share."""
    name = f"lock-{process}"
    if not (folder / WORK / name).exists():
        return False
    try:
        with _lock(folder, name):
            return False
    except FolderError:
        return True


def require_shared_tiles(folder: Path, n_tiles: int) -> None:
    """FolderError unless all processes have left their tiles of the grid."""
    stage = folder / WORK / SHARED_STAGE
    absent = [k for k in range(n_tiles) if not (stage / f"tile-{k:05d}.safetensors").exists()]
    if absent:
        raise FolderError(
            f"{folder} lacks {len(absent)} of {n_tiles} tiles, number {absent[0]} first; "
            "run the processes that own them again"
        )


def require_place(folder: Path, resume: bool, shared: bool) -> bool:
    """Whether a run may begin in a folder; else one may go on. FolderError where neither."""
    if folder.is_symlink():
        raise FolderError(f"{folder} is a symbolic link; name the folder itself")
    if resume and not folder.is_dir():
        raise FolderError(f"{folder} is no folder; leave ", Option("resume"), " out to begin it")
    if not os.path.lexists(folder):
        return True
    if not (resume or shared):
        if has_record(folder) and not is_finished(folder):
            raise FolderError(
                f"{folder} holds an unfinished run; go on with ", Option("resume", True)
            )
        require_new(folder)
    if is_finished(folder):
        raise FolderError(f"{folder} holds a finished run; name another folder")
    return False


@contextmanager
def _lock(folder: Path, name: str, shared: bool = False) -> Iterator[None]:
    """A lock on all of the run or on a share, which the system lifts however the process ends."""
    path = folder / WORK / name
    with writing(folder):
        if not is_plain(folder / WORK, stat.S_IFDIR):
            (folder / WORK).mkdir(exist_ok=True)
        is_plain(path)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise FolderError(
                f"{folder} is in use by process {file.read().strip()}; wait for it or stop it"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def read_record(folder: Path) -> dict[str, Any]:
    """The `identity` of a run in work, the `options` that began it and, once results are being
    written, the checksums of these.

    Raises FolderError where the folder holds none, or it is damaged.
    """
    path = folder / RECORD
    if not is_plain(path):
        raise FolderError(f"{folder} is no run in work: it has no {RECORD}")
    record = read_sealed(path)
    if not {"identity", "options"} <= record.keys():
        raise FolderError(f"{path} is damaged: it is no record of a run")
    return record


def _work(folder: Path) -> Iterator[Path]:
    """The files of a run's work: locks, tiles and states, those that were being written too."""
    if is_plain(folder / WORK, stat.S_IFDIR):
        yield from (path for path in (folder / WORK).iterdir() if LOCK.fullmatch(path.name))
        for stage in _stages(folder):
            yield from (path for path in stage.iterdir() if WORK_FILE.fullmatch(path.name))


def _stages(folder: Path) -> list[Path]:
    """The folders in that of the work; links are none."""
    inside = (folder / WORK).glob("*/")
    return [path for path in inside if not path.is_symlink()]


def _remove_own(folder: Path, results: dict[str, str]) -> None:
    """Remove what a run that was stopped as it finished has written: files as they were left."""
    for name, written in results.items():
        path = folder / name
        with writing(path):
            if is_plain(partial_of(path)):
                partial_of(path).unlink()
            if is_plain(path) and checksum(path.read_bytes()) == written:
                path.unlink()
    remove_empty(sorted({(folder / name).parent for name in results} - {folder}))
