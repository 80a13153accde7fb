"""The folder of a run in work: begin it, go on with it, share it among processes, finish it.

    DIR/run.json          what the run depends on, and the options that began it
    DIR/work/train/       finished tiles and the state of those in work, stage by stage (store.py)

`config.json` comes last: a folder that has it is a finished run's, and has neither of the two.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from jaxvae.errors import DataError, FolderError, Option
from jaxvae.runs.disk import OnDisk
from jaxvae.runs.files import require_new, sync_folder, write_whole, writing

SCHEMA = 1
RECORD, WORK, RESULTS, FINISHED = "run.json", "work", "results", "config.json"
SHARED_STAGE = "train"
Wait = Callable[[Callable[[], bool]], None]


@dataclass(frozen=True)
class Run:
    """A run's folder, open. identity: a hash of all that its numbers depend on. share: (process,
    processes). wait: comes back once what it is given says that all tiles are there."""

    folder: Path
    identity: str
    share: tuple[int, int] = (0, 1)
    wait: Wait = lambda done: None

    def stage(self, name: str, kind: type) -> OnDisk:
        """The stage of a name, which keeps NamedTuples of a kind."""
        return OnDisk(self.folder / WORK / name, kind, self.identity, self.share, self.wait)

    def finish(self, fill: Callable[[Path], None]) -> None:
        """Fill a folder with results, move them into the run's and drop the work: whole or not at
        all, since a run that was stopped in the middle is not finished and does this again."""
        results = self.folder / WORK / RESULTS
        with writing(self.folder):
            shutil.rmtree(results, ignore_errors=True)
            results.mkdir()
        fill(results)
        with writing(self.folder):
            for path in sorted(results.iterdir(), key=lambda path: path.name == FINISHED):
                _replace(path, self.folder / path.name)
            sync_folder(self.folder)
        drop_work(self.folder)


@contextmanager
def open_run(
    folder: Path,
    facts: dict[str, Any],
    options: dict[str, Any],
    *,
    resume: bool = False,
    share: tuple[int, int] = (0, 1),
    wait: Wait = lambda done: None,
) -> Iterator[Run]:
    """Begin a run, or go on with one where `resume` is true or several processes share it.

    facts: all that the numbers depend on, as JSON; a run begun with others is refused. options:
    what a later command needs to go on by itself.

    A folder made here goes again where the run ends before anything was kept in it, or on data that
    cannot carry it.

    Raises FolderError where the folder is in the way, in use, finished, missing, or another run's.
    """
    process, processes = share
    shared, new = processes > 1, not os.path.lexists(folder)
    _require_place(folder, resume, shared)
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        with writing(folder):
            (folder / WORK).mkdir(parents=True, exist_ok=True)
        with _locked(folder, process, shared):
            _require_same(folder, facts, options, process)
            yield Run(folder, _hash(facts), share, wait)
    except BaseException as error:
        in_vain = isinstance(error, DataError) or not any((folder / WORK).rglob("*.safetensors"))
        if new and not shared and in_vain:
            shutil.rmtree(folder, ignore_errors=True)
            for parent in made:
                with suppress(OSError):
                    parent.rmdir()
        raise


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a finished run."""
    return (folder / FINISHED).is_file()


def drop_work(folder: Path) -> None:
    """Remove from a finished folder what its run has left; the record goes last, and says so."""
    if (folder / RECORD).is_file():
        with writing(folder):
            if (folder / WORK).is_dir():
                shutil.rmtree(folder / WORK)
            (folder / RECORD).unlink()


def saved_options(folder: Path) -> dict[str, Any]:
    """The options that began a run. Raises FolderError where the folder has none."""
    return _read_record(folder)["options"]


def is_at_work(folder: Path, process: int) -> bool:
    """Whether a process that shares the run holds its share."""
    name = f"lock-{process}"
    if not (folder / WORK / name).exists():
        return False
    try:
        with _lock(folder, name, False):
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


def _require_place(folder: Path, resume: bool, shared: bool) -> None:
    for path in (folder, folder / WORK, folder / RECORD):
        if path.is_symlink():
            raise FolderError(f"{path} is a symbolic link; name the folder itself")
    if not (resume or shared):
        if (folder / RECORD).is_file() and not is_finished(folder):
            raise FolderError(
                f"{folder} holds an unfinished run; go on with ", Option("resume", True)
            )
        require_new(folder)
    elif folder.is_dir():
        _require_in_work(folder)
    elif resume:
        raise FolderError(f"{folder} is no folder; leave ", Option("resume"), " out to begin it")


def _require_in_work(folder: Path) -> None:
    """An empty folder is a run that was stopped as it began."""
    if is_finished(folder):
        raise FolderError(f"{folder} holds a finished run; name another folder")
    if any(folder.iterdir()) and not (folder / RECORD).is_file() and not (folder / WORK).is_dir():
        raise FolderError(f"{folder} holds no run in work; name another folder")


@contextmanager
def _locked(folder: Path, process: int, shared: bool) -> Iterator[None]:
    """Locks that the system lifts however the process ends: on all of the run, or on a share."""
    with ExitStack() as locks:
        locks.enter_context(_lock(folder, "lock", shared))
        if shared:
            locks.enter_context(_lock(folder, f"lock-{process}", False))
        yield


@contextmanager
def _lock(folder: Path, name: str, shared: bool) -> Iterator[None]:
    path = folder / WORK / name
    with writing(folder):
        if path.is_symlink():
            raise FolderError(f"{path} is a symbolic link; remove it")
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    with file:
        _take_lock(file, folder, shared)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _take_lock(file: TextIO, folder: Path, shared: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        raise FolderError(
            f"{folder} is in use by process {file.read().strip()}; wait for it or stop it"
        ) from error


def _require_same(
    folder: Path, facts: dict[str, Any], options: dict[str, Any], process: int
) -> None:
    """Write down what a new run depends on; refuse to go on with a run that depends on else."""
    path = folder / RECORD
    if not path.exists():
        record = {"schema": SCHEMA, "facts": facts, "options": options}
        # Processes that begin together each write one; the last stands.
        own = folder / WORK / f"{process}-{RECORD}"
        with writing(folder):
            write_whole(own, (json.dumps(record, indent=2) + "\n").encode())
            os.replace(own, path)
            sync_folder(folder)
    before = _by_name(_read_record(folder)["facts"])
    now = _by_name(json.loads(json.dumps(facts)))
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise FolderError(
                f"{folder} was begun with another {name.replace('_', ' ')}: "
                f"{before.get(name)!s:.60}, now {now.get(name)!s:.60}; bits would differ, so begin "
                "a new run or go back"
            )


def _by_name(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts by name, those of a group by both their names."""
    flat: dict[str, Any] = {}
    for name, value in facts.items():
        group = value.items() if isinstance(value, dict) else ()
        flat |= {f"{name} {part}": fact for part, fact in group} if group else {name: value}
    return flat


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.is_file():
        raise FolderError(f"{folder} is no run in work: it has no {RECORD}")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        schema = int(record["schema"])
        if schema <= SCHEMA:
            record = {name: dict(record[name]) for name in ("facts", "options")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FolderError(f"{path} is damaged: {error}") from error
    if schema > SCHEMA:
        raise FolderError(f"{path} has schema {schema}; this reads up to {SCHEMA}: upgrade jaxvae")
    return record


def _replace(source: Path, target: Path) -> None:
    """Rename, also over what a run that was stopped here has left."""
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(source, target)


def _hash(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
