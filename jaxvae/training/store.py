"""Where the tiles of a stage are kept: finished ones, and the state of the one in work.

A *stage* is one call of `train_ensemble`. It asks its store which tiles are its own, gets what is
already done and puts what it has done: in memory, or (`runs.disk`) in a folder from which a killed
run goes on and in which several processes share the tiles.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable


class TileState(NamedTuple):
    """A tile between two chunks: epochs done, the leaves of its state, its losses so far."""

    epoch: int
    leaves: dict[str, Any]
    losses: dict[str, Any]


@runtime_checkable
class Store(Protocol):
    """What a stage asks of the place where its tiles are kept."""

    def owns(self, tile: int) -> bool:
        """Whether this process is to train a tile."""

    def get(self, tile: int) -> Any:
        """What was put for a tile; None where nothing was."""

    def put(self, tile: int, value: Any) -> None:
        """Keep what came out of a tile."""

    def state(self, tile: int) -> TileState | None:
        """Where a tile was left; None where it was not begun."""

    def keep(self, tile: int, epoch: int, state: Callable[[], TileState], now: bool) -> None:
        """Keep a tile's state: at once, or if it is time to."""

    def wait(self, n_tiles: int) -> None:
        """Come back once all processes have put their tiles, so many in all."""


class InMemory:
    """Finished tiles in memory, and no state; all tiles are this process's."""

    def __init__(self) -> None:
        self.done: dict[int, Any] = {}

    def owns(self, tile: int) -> bool:
        return True

    def get(self, tile: int) -> Any:
        return self.done.get(tile)

    def put(self, tile: int, value: Any) -> None:
        self.done[tile] = value

    def state(self, tile: int) -> TileState | None:
        return None

    def keep(self, tile: int, epoch: int, state: Callable[[], TileState], now: bool) -> None:
        pass

    def wait(self, n_tiles: int) -> None:
        pass


# The store of a stage, by its name and the NamedTuple that is put; None for memory.
Stages = Callable[[str, type], Store | None]


def in_memory(name: str, kind: type) -> None:
    """The stages of a run that is kept nowhere else."""
