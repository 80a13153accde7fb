"""Many members at once: the member axis, tiles of fixed width, devices.

`train` and `likelihood` know one member; here `vmap` puts the axis around them and `shard_map`
cuts it over the devices, with no communication between them. A host loop walks over tiles of
members and, within a tile, over chunks of epochs: one compiled program, bounded memory, progress at
each edge.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from jaxvae import train
from jaxvae.errors import OptionError
from jaxvae.models.base import Model, Variables
from jaxvae.state import Data, Hyperparameters, Losses, TrainConfig, TrainState
from jaxvae.xla import compiler_options

TILE_WIDTH = 4
CHUNK_EPOCHS = 20


class Members(NamedTuple):
    """The table of members: a seed and a row of hyperparameters each, leading axis member; host
    arrays, so that a caller may write into them."""

    seed: UInt32[Array, "*members"]
    hyperparameters: Hyperparameters


class Ensemble(NamedTuple):
    """Trained members, as host arrays with the member axis first.

    variables: of each member's best epoch. best_epoch: how many epochs made them.
    ok: false for a member that diverged; its variables are the last good ones.
    epochs: epochs done. history: losses by member and epoch, NaN after a member's last.
    """

    members: Members
    variables: Variables
    ok: Bool[np.ndarray, " member"]
    best_epoch: Int[np.ndarray, " member"]
    epochs: Int[np.ndarray, " member"]
    history: Losses


class Progress(NamedTuple):
    """Where a run stands at the edge of a chunk: members done, in work and in all; epochs done by
    the tile in work, of the most it may take."""

    done: int
    in_work: int
    members: int
    epoch: int
    epochs: int


def member_grid(
    seeds: Sequence[int],
    betas: Sequence[float],
    data: Data,
    model: Model,
    learning_rate: float,
    epochs: int,
) -> Members:
    """Seeds × betas: for each β all seeds in turn; every row and every factor in use.

    Raises OptionError on a seed outside 0 … 2³²-1, a β that is negative or not finite, or one given
    twice.
    """
    check_grid(seeds, betas)
    table = [(seed, beta) for beta in betas for seed in seeds]
    n = len(table)
    columns: dict[str, Any] = {
        "beta": np.array([beta for _, beta in table], np.float32),
        "learning_rate": np.full(n, learning_rate, np.float32),
        "factor_mask": np.ones((n, model.n_factors), np.float32),
        "row_weights": np.ones((n, data.training.values.shape[0]), np.float32),
        "validation_weights": np.ones((n, data.validation.values.shape[0]), np.float32),
        "last_epoch": np.full(n, epochs, np.int32),
    }
    seed: Any = np.array([seed for seed, _ in table], np.uint32)
    return Members(seed, Hyperparameters(**columns))


def check_grid(seeds: Sequence[int], betas: Sequence[float]) -> None:
    """OptionError on no seeds or betas, a seed outside 0 … 2³²-1, a β that is negative or not
    finite, or one given twice."""
    if not seeds or not betas:
        raise OptionError("seeds and betas: give at least one of each")
    if any(not 0 <= seed < 2**32 for seed in seeds):
        raise OptionError(f"seeds: {list(seeds)} must lie between 0 and 2**32 - 1")
    if any(not (math.isfinite(beta) and beta >= 0) for beta in betas):
        raise OptionError(f"betas: {list(betas)} must be finite and not negative")
    for name, values in (("seeds", seeds), ("betas", betas)):
        if len({float(np.float32(value)) for value in values}) < len(values):
            raise OptionError(f"{name}: {list(values)} names one twice")


def member_key(
    root: Key[Array, ""], seed: UInt32[Array, ""], beta: Float[Array, ""]
) -> Key[Array, ""]:
    """A member's key: the root folded with its seed and the float32 bits of its β.

    It does not depend on the grid around the member, and the other hyperparameters share it.
    """
    bits = jax.lax.bitcast_convert_type(beta.astype(jnp.float32), jnp.uint32)
    return jax.random.fold_in(jax.random.fold_in(root, seed), bits)


def train_ensemble(
    root: Array,
    data: Data,
    members: Members,
    model: Model,
    config: TrainConfig,
    *,
    tile_width: int = TILE_WIDTH,
    devices: tuple[jax.Device, ...] | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Ensemble:
    """Train every member.

    tile_width: members at once on each device. A member's bits depend on it, and on nothing else of
        the grid.
    on_progress: called at the edge of every chunk; what it raises ends the run.

    Raises OptionError unless `root` is a typed threefry key: under `vmap`, `rbg` keys draw a whole
    batch from its first key.
    """
    _require_threefry(root)
    devices = tuple(jax.local_devices()) if devices is None else devices
    n_members = len(members.seed)
    parts = []
    for first in range(0, n_members, tile_width * len(devices)):
        last = min(first + tile_width * len(devices), n_members)

        def report(epoch: int, first: int = first, last: int = last) -> None:
            on_progress(Progress(first, last - first, n_members, epoch, config.epochs))

        tile = _take(members, slice(first, last))
        parts.append(_train_tile(root, data, tile, model, config, tile_width, devices, report))
    return _concatenate(parts)


def map_members(
    function: Callable[[Any, Any], Any],
    by_member: Any,
    shared: Any,
    *,
    tile_width: int = TILE_WIDTH,
    devices: tuple[jax.Device, ...] | None = None,
) -> Any:
    """`function(member's slice, shared)` for every member, tile by tile; host arrays come back.

    `function` must be one object from call to call (cache what makes it), or it compiles anew.
    """
    devices = tuple(jax.local_devices()) if devices is None else devices
    program = _program(function, devices)
    width = tile_width * len(devices)
    n_members = len(jax.tree.leaves(by_member)[0])
    parts = []
    for first in range(0, n_members, width):
        tile = _take(by_member, slice(first, min(first + width, n_members)))
        size = len(jax.tree.leaves(tile)[0])
        parts.append(_take(jax.device_get(program(_pad(tile, width), shared)), slice(0, size)))
    return _concatenate(parts)


def _train_tile(
    root: Key[Array, ""],
    data: Data,
    tile: Members,
    model: Model,
    config: TrainConfig,
    tile_width: int,
    devices: tuple[jax.Device, ...],
    report: Callable[[int], None],
) -> Ensemble:
    size, shared = len(tile.seed), (root, data)
    padded = _pad(tile, tile_width * len(devices))
    padded.hyperparameters.last_epoch[size:] = 0
    start = _program(_starter(model, config), devices)
    advance = _program(_advancer(model, config), devices)
    state, history = start(padded, shared), []
    for epoch in range(0, config.epochs, CHUNK_EPOCHS):
        state, losses, running = advance((padded, state), shared)
        history.append(jax.device_get(losses))
        any_running = np.any(running)
        report(min(epoch + CHUNK_EPOCHS, config.epochs) if any_running else config.epochs)
        if not any_running:
            break
    return _take(_finish(padded, jax.device_get(state), history, config), slice(0, size))


def _finish(members: Members, state: Any, history: list[Losses], config: TrainConfig) -> Ensemble:
    """Join the chunks' losses, padded to the longest run possible with NaN."""
    epochs = np.asarray(state.epoch)
    after = np.arange(config.epochs)[None, :] >= epochs[:, None]

    def join(*chunks: np.ndarray) -> Any:
        joined = np.concatenate(chunks, axis=1)[:, : config.epochs]
        full = np.full(after.shape, np.nan, np.float32)
        full[:, : joined.shape[1]] = joined
        return np.where(after, np.float32(np.nan), full)

    losses = Losses(*(join(*chunks) for chunks in zip(*history, strict=True)))
    return Ensemble(members, state.best, state.ok, state.best_epoch, epochs, losses)


@functools.cache
def _starter(model: Model, config: TrainConfig) -> Callable[[Any, Any], Any]:
    def start(member: Members, shared: tuple[Key[Array, ""], Data]) -> TrainState:
        root, data = shared
        key = member_key(root, member.seed, member.hyperparameters.beta)
        key_init, _ = jax.random.split(key)
        return train.init(key_init, data, member.hyperparameters, model, config)

    return start


@functools.cache
def _advancer(model: Model, config: TrainConfig) -> Callable[[Any, Any], Any]:
    def advance(
        of_member: tuple[Members, TrainState], shared: tuple[Key[Array, ""], Data]
    ) -> tuple[TrainState, Losses, Bool[Array, ""]]:
        (member, state), (root, data) = of_member, shared
        key = member_key(root, member.seed, member.hyperparameters.beta)
        _, key_train = jax.random.split(key)
        hyperparameters = member.hyperparameters
        state, losses = train.advance(
            key_train, state, data, hyperparameters, model, config, CHUNK_EPOCHS
        )
        return state, losses, train.is_running(state, hyperparameters, config)

    return advance


@functools.cache
def _program(
    function: Callable[[Any, Any], Any], devices: tuple[jax.Device, ...]
) -> Callable[[Any, Any], Any]:
    """The function over a tile: `vmap` within a device, the tile cut over the devices."""
    mesh = Mesh(np.array(devices), ("member",))
    over_members = jax.vmap(function, in_axes=(0, None))
    over_tile = jax.shard_map(
        over_members,
        mesh=mesh,
        in_specs=(P("member"), P()),
        out_specs=P("member"),
        check_vma=False,
    )
    return jax.jit(over_tile, compiler_options=compiler_options(devices[0].platform))


def _require_threefry(root: Array) -> None:
    if not jnp.issubdtype(root.dtype, jax.dtypes.prng_key) or "fry" not in str(root.dtype):
        raise OptionError(f"root: {root.dtype} is no threefry key; use jax.random.key(seed)")


def _take(tree: Any, rows: slice) -> Any:
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def _pad(tree: Any, width: int) -> Any:
    """Repeat the last member up to the width; copies, so that callers may write."""

    def pad(leaf: np.ndarray) -> np.ndarray:
        missing = np.repeat(leaf[-1:], width - len(leaf), axis=0)
        return np.concatenate([np.asarray(leaf), missing])

    return jax.tree.map(pad, tree)


def _concatenate(parts: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
