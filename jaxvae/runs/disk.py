"""A stage of training kept in a folder: finished tiles, and the state of those in work."""

import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxvae.errors import FolderError
from jaxvae.runs.checkpoint import Checkpoint, load_tree, pack_tree, restore
from jaxvae.runs.files import is_plain, write_files, writing
from jaxvae.runs.processes import UNSHARED, Share
from jaxvae.training.store import TileState

# A run that is ended at once loses no more than this and the chunk in work.
SECONDS_BETWEEN = 10.0
STATES_KEPT = 2
TILE_NAME = re.compile(r"tile-(\d{5,})(?:\.epoch-(\d{6,}))?\.safetensors")


@dataclass
class OnDisk:
    """A stage in a folder of its own; a `training.store.Store`.

    kind: the NamedTuple that is put. run: what tells this run from any other; a file of another is
    refused. share: what this process does.
    """

    folder: Path
    kind: type
    run: str
    share: Share = UNSHARED

    def __post_init__(self) -> None:
        is_plain(self.folder, stat.S_IFDIR)
        self.last_kept = time.monotonic()

    def owns(self, tile: int) -> bool:
        return tile % self.share.processes == self.share.process

    def wait(self, n_tiles: int) -> None:
        self.share.wait(lambda: all(self.has(tile) for tile in range(n_tiles)))

    def has(self, tile: int) -> bool:
        """Whether a tile is finished."""
        return is_plain(self._path(tile))

    def get(self, tile: int) -> Any:
        if not self.has(tile):
            return None
        path = self._path(tile)
        tree = self._load(path).tree
        try:
            return restore(self.kind, tree)
        except (TypeError, AttributeError) as error:
            raise FolderError(f"{path} is damaged: {error}") from error

    def put(self, tile: int, value: Any) -> None:
        self._save(value, self._path(tile), {"run": self.run})
        self._forget(self._states(tile))

    def state(self, tile: int) -> TileState | None:
        states = self._states(tile)
        if not states:
            return None
        *older, newest = states
        try:
            tree, notes = self._load(newest)
            return TileState(int(notes["epoch"]), tree["leaves"], tree["losses"])
        except (KeyError, TypeError, ValueError) as error:
            before = older[-1].name if older else "the tile's start"
            raise FolderError(f"{error}; delete it to go on from {before}") from error

    def keep(self, tile: int, epoch: int, state: Callable[[], TileState], now: bool) -> None:
        if not now and time.monotonic() - self.last_kept < SECONDS_BETWEEN:
            return
        kept = state()
        tree = {"leaves": kept.leaves, "losses": kept.losses}
        self._save(tree, self._path(tile, epoch), {"run": self.run, "epoch": str(epoch)})
        self.last_kept = time.monotonic()
        self._forget(self._states(tile)[:-STATES_KEPT])

    def _path(self, tile: int, epoch: int | None = None) -> Path:
        state = "" if epoch is None else f".epoch-{epoch:06d}"
        return self.folder / f"tile-{tile:05d}{state}.safetensors"

    def _states(self, tile: int) -> list[Path]:
        """The states kept of a tile, oldest first."""
        if not is_plain(self.folder, stat.S_IFDIR):
            return []
        # By `iterdir`, which tells of a folder that cannot be read; `glob` would find nothing.
        start = f"tile-{tile:05d}.epoch-"
        named = [path for path in self.folder.iterdir() if TILE_NAME.fullmatch(path.name)]
        ours = [path for path in named if path.name.startswith(start)]
        return sorted(ours, key=lambda path: (len(path.name), path.name))

    def _save(self, tree: Any, path: Path, notes: dict[str, str]) -> None:
        write_files(self.folder, {path.name: pack_tree(tree, notes)})

    def _forget(self, states: list[Path]) -> None:
        for state in states:
            with writing(state):
                state.unlink()

    def _load(self, path: Path) -> Checkpoint:
        checkpoint = load_tree(path)
        if checkpoint.notes.get("run") != self.run:
            raise FolderError(f"{path} is of another run: other settings, data or versions")
        return checkpoint
