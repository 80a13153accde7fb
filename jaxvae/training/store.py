"""What a run keeps while it is in work: finished tiles, and the state of the tile in work.

A *stage* is one call of `train_ensemble`. It asks its store which tiles are its own, gets what is
already done and puts what it has done: in memory, or in a folder from which a killed run goes on
and in which several processes share the tiles.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class TileState(NamedTuple):
    """A tile between two chunks: epochs done, the leaves of its state, its losses so far."""

    epoch: int
    leaves: dict[str, Any]
    losses: dict[str, Any]


class InMemory:
    """A stage that keeps finished tiles in memory and no state."""

    def __init__(self) -> None:
        self.done: dict[int, Any] = {}

    def owns(self, tile: int) -> bool:
        """Whether this process is to train a tile."""
        return True

    def get(self, tile: int) -> Any:
        """What was put for a tile; None where nothing was."""
        return self.done.get(tile)

    def put(self, tile: int, value: Any) -> None:
        """Keep what came out of a tile."""
        self.done[tile] = value

    def state(self, tile: int) -> TileState | None:
        """Where a tile was left; None where it was not begun."""
        return None

    def keep(self, tile: int, epoch: int, state: Callable[[], TileState], now: bool) -> None:
        """Keep a tile's state: at once, or if it is time to."""

    def wait(self, n_tiles: int) -> None:
        """Come back once all processes have put their tiles, so many in all."""


# Where the tiles of a stage are kept, by its name and the NamedTuple that is put; None for memory.
Stages = Callable[[str, type], InMemory | None]


def in_memory(name: str, kind: type) -> None:
    """The stages of a run that is kept nowhere else."""
