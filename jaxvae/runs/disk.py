"""A stage of training kept in a folder: finished tiles, and the state of those in work."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxvae.errors import FolderError
from jaxvae.runs.checkpoint import as_tree, from_tree, load_checkpoint, save_tree
from jaxvae.runs.files import writing
from jaxvae.training.store import InMemory, TileState

EPOCHS_BETWEEN = 100


STATES_KEPT = 2


STATE_NAME = re.compile(r"tile-(\d{5,})\.epoch-(\d{6,})\.safetensors")


class OnDisk(InMemory):
    """A stage in a folder of its own.

    kind: the NamedTuple that is put. run: what tells this run from any other; a file of another is
    refused. share: (process, processes); tiles go round. wait: called with what tells whether all
    tiles are there, once the own ones are.
    """

    def __init__(
        self,
        folder: Path,
        kind: type,
        run: str,
        share: tuple[int, int] = (0, 1),
        wait: Callable[[Callable[[], bool]], None] = lambda done: None,
    ) -> None:
        if folder.is_symlink():
            raise FolderError(f"{folder} is a symbolic link; make it a folder")
        with writing(folder):
            folder.mkdir(exist_ok=True)
        self.folder, self.kind, self.run = folder, kind, run
        self.share, self.await_others = share, wait
        self.last_kept: dict[int, int] = {}

    def owns(self, tile: int) -> bool:
        process, processes = self.share
        return tile % processes == process

    def wait(self, n_tiles: int) -> None:
        self.await_others(lambda: all(self.has(tile) for tile in range(n_tiles)))

    def has(self, tile: int) -> bool:
        """Whether a tile is finished."""
        return self._path(tile).exists()

    def get(self, tile: int) -> Any:
        if not self.has(tile):
            return None
        path = self._path(tile)
        tree = self._load(path).tree
        try:
            return from_tree(self.kind, tree)
        except KeyError as error:
            raise FolderError(f"{path} is damaged: it has no {error}") from error

    def put(self, tile: int, value: Any) -> None:
        path = self._path(tile)
        with writing(path):
            save_tree(as_tree(value), path, {"run": self.run})
            for state in self._states(tile):
                state.unlink()

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
        if not now and epoch - self.last_kept.setdefault(tile, 0) < EPOCHS_BETWEEN:
            return
        self.last_kept[tile] = epoch
        kept = state()
        tree = {"leaves": kept.leaves, "losses": kept.losses}
        path = self.folder / f"tile-{tile:05d}.epoch-{epoch:06d}.safetensors"
        with writing(path):
            save_tree(tree, path, {"run": self.run, "epoch": str(epoch)})
            for older in self._states(tile)[:-STATES_KEPT]:
                older.unlink()

    def _path(self, tile: int) -> Path:
        return self.folder / f"tile-{tile:05d}.safetensors"

    def _states(self, tile: int) -> list[Path]:
        """The states kept of a tile, oldest first."""
        named = ((STATE_NAME.fullmatch(path.name), path) for path in self.folder.iterdir())
        states = {int(name[2]): path for name, path in named if name and int(name[1]) == tile}
        return [states[epoch] for epoch in sorted(states)]

    def _load(self, path: Path) -> Any:
        checkpoint = load_checkpoint(path)
        if checkpoint.notes.get("run") != self.run:
            raise FolderError(f"{path} is of another run: other settings, data or versions")
        return checkpoint
