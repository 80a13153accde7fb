"""Many members at once: the table of members, and their training tile by tile.

`member` knows one member; `tiles` puts the member axis around it and cuts it over the devices. A
host loop walks over tiles of members and, within a tile, over chunks of epochs: one compiled
program, bounded memory, and at each edge progress, a checkpoint and a chance to stop.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt32

from jaxvae.errors import (
    LARGEST_FLOAT32,
    LARGEST_SEED,
    FolderError,
    OptionError,
    check_option,
    shown,
)
from jaxvae.models.model import Model, Variables
from jaxvae.training import member as train
from jaxvae.training.config import TrainConfig
from jaxvae.training.state import Data, Hyperparameters, Losses, TrainState, compact
from jaxvae.training.store import InMemory, Store, TileState
from jaxvae.training.tiles import (
    Devices,
    concatenate,
    pad,
    resolve_width,
    take,
    tile_program,
    tiles,
)

CHUNK_EPOCHS = 20
MOST_MEMBERS = 1_000_000


class Members(NamedTuple):
    """The table of members, leading axis member; host arrays, so that a caller may write into them.

    Attributes:
        seed: each member's, of 32 bits.
        hyperparameters: a row a member.
    """

    seed: UInt32[Array, "*members"]
    hyperparameters: Hyperparameters


class Ensemble(NamedTuple):
    """Trained members, as host arrays with the member axis first.

    Attributes:
        members: the table that they were trained from.
        variables: of each member's best epoch.
        best_epoch: how many epochs made them.
        ok: false for a member that diverged; its variables are the last good ones.
        epochs: epochs done.
        history: losses by member and epoch, NaN after a member's last.
    """

    members: Members
    variables: Variables
    ok: Bool[np.ndarray, " member"]
    best_epoch: Int[np.ndarray, " member"]
    epochs: Int[np.ndarray, " member"]
    history: Losses


class Progress(NamedTuple):
    """Where a run stands at the edge of a chunk of epochs.

    With all epochs done, what is in work is trained and about to be finished (`train_ensemble`).

    Attributes:
        done, in_work, members: members trained and kept; members of the tile in work; members in
            all.
        epoch, epochs: epochs done by the tile in work; the most it may take.
    """

    done: int
    in_work: int
    members: int
    epoch: int
    epochs: int

    @property
    def members_trained(self) -> float:
        """Those done, and those in work by the share of their epochs."""
        return self.done + self.in_work * self.epoch / self.epochs

    @property
    def is_finishing(self) -> bool:
        """Whether what is in work is trained."""
        return self.in_work > 0 and self.epoch == self.epochs


def member_grid(
    seeds: Sequence[int],
    betas: Sequence[float],
    data: Data,
    model: Model,
    learning_rate: float,
    epochs: int,
) -> Members:
    """Seeds × betas: for each β all seeds in turn; every row and every factor in use.

    Args:
        seeds: whole numbers, each once.
        betas: weights of the KL term, each once.
        data: what the members are trained and validated on.
        model: of all of them.
        learning_rate: Adam's, before the schedule.
        epochs: the most of each.

    Returns:
        A row a member, seeds × betas of them, as host arrays.

    Raises:
        OptionError: as `check_grid` does; epochs or a learning rate out of reach.
    """
    check_grid(seeds, betas)
    learning_rate = check_option("learning_rate", learning_rate, float, least=0)
    epochs = check_option("epochs", epochs, int, least=0)
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
    """Check that seeds × betas can be a table of members.

    Raises:
        OptionError: no seeds or betas, or too many; a seed that is no whole number of 0 … 2³²-1, a
            β that is negative, or in float32 not finite or 0 where it is more; one given twice.
    """
    for name, values in (("seeds", seeds), ("betas", betas)):
        # Looked at in slices: a range may be longer than `len` can say, or than a loop can last.
        if not len(values[:1]):
            raise OptionError(name, "none is given; at least one")
        if len(values[: MOST_MEMBERS + 1]) > MOST_MEMBERS:
            raise OptionError(name, f"too many; at most {MOST_MEMBERS:,}")
    known = {check_option("seeds", seed, int, least=0, most=LARGEST_SEED) for seed in seeds}
    floats = {np.float32(check_option("betas", beta, float, least=0)) for beta in betas}
    if tiny := [beta for beta in betas if beta > 0 and np.float32(beta) == 0]:
        raise OptionError("betas", f"{tiny[0]:g} is 0 in float32: give 0, or more")
    for name, values, different in (("seeds", seeds, known), ("betas", betas, floats)):
        if len(different) < len(values):
            raise OptionError(name, f"{shown([*values])} names one twice")


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
    tile_width: int | None = None,
    devices: Devices | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    finish: Callable[[Ensemble], Any] = lambda ensemble: ensemble,
    stage: Store | None = None,
) -> Any:
    """Train every member.

    Args:
        root: the key that every member's own comes from, with its seed and its β.
        data: what all are trained and validated on.
        members: a row a member.
        model: of all of them.
        config: how they are trained.
        tile_width: members at once on each device; by default 4 on a CPU, 256 elsewhere. A member's
            bits depend on it, and on nothing else of the grid.
        devices: by default all local ones.
        on_progress: called at the edge of every chunk; what it raises ends the run, a
            KeyboardInterrupt once the tile's state is kept.
        finish: makes of a trained tile what is to be kept of it, arrays with the member axis first;
            by default all. Memory holds one tile and what is kept.
        stage: where that goes and what is there already; by default memory.

    Returns:
        What was kept, joined along the member axis: an `Ensemble` unless `finish` says else.

    Raises:
        OptionError: `root` is no typed threefry key (under `vmap`, `rbg` keys draw a whole batch
            from its first key); the table holds what `check_grid` refuses; a tile takes more memory
            than is free.
    """
    _require_threefry(root)
    _check_table(members)
    devices = tuple(jax.local_devices()) if devices is None else devices
    tile_width = resolve_width(tile_width, devices)
    stage, n_members = stage or InMemory(), len(members.seed)
    cut = tiles(n_members, tile_width * len(devices))
    run = _Run(root, compact(data), model, config, tile_width, devices, stage)
    for index, rows in enumerate(cut):

        def report(epoch: int, rows: slice = rows) -> None:
            size = rows.stop - rows.start
            on_progress(Progress(rows.start, size, n_members, epoch, config.epochs))

        if not stage.owns(index):
            continue
        if stage.get(index) is None:
            stage.put(index, finish(_train_tile(run, index, take(members, rows), report)))
        on_progress(Progress(rows.stop, 0, n_members, config.epochs, config.epochs))
    stage.wait(len(cut))
    return concatenate([stage.get(index) for index in range(len(cut))])


class _Run(NamedTuple):
    """What the tiles of a run share."""

    root: Key[Array, ""]
    data: Data
    model: Model
    config: TrainConfig
    tile_width: int
    devices: Devices
    stage: Store


def _train_tile(run: _Run, index: int, tile: Members, report: Callable[[int], None]) -> Ensemble:
    """From the start, or from where the stage has it, to the last epoch of the last member."""
    config, stage = run.config, run.stage
    size, shared = len(tile.seed), (run.root, run.data)
    padded = pad(tile, run.tile_width * len(run.devices))
    padded.hyperparameters.last_epoch[size:] = 0
    advance = tile_program(_advance, run.devices, run.model, config)
    state = tile_program(_start, run.devices, run.model, config)(padded, shared)
    shape = (len(Losses._fields), len(padded.seed), config.epochs)
    epoch, history = 0, np.full(shape, np.nan, np.float32)
    if (kept := stage.state(index)) is not None:
        epoch, state = kept.epoch, _restored(kept, state)
        history[..., :epoch] = [kept.losses[name][:, :epoch] for name in Losses._fields]
    while epoch < config.epochs:
        state, losses, running = advance((padded, state), shared)
        begun, epoch = epoch, min(epoch + CHUNK_EPOCHS, config.epochs)
        history[..., begun:epoch] = np.stack(jax.device_get(losses))[..., : epoch - begun]
        trained = epoch == config.epochs or not np.any(running)
        frozen = functools.partial(_kept, epoch, state, history)
        try:
            report(config.epochs if trained else epoch)
        except KeyboardInterrupt:
            stage.keep(index, epoch, frozen, now=True)
            raise
        if trained:
            break
        stage.keep(index, epoch, frozen, now=False)
    done: Any = jax.device_get(state)
    # After a member's last epoch nothing was its own.
    history[:, np.arange(config.epochs) >= done.epoch[:, None]] = np.nan
    losses = Losses(*history)
    ensemble = Ensemble(padded, done.best, done.ok, done.best_epoch, done.epoch, losses)
    return take(ensemble, slice(0, size))


def _kept(
    epoch: int, state: TrainState, history: Float[np.ndarray, "loss member epoch"]
) -> TileState:
    leaves = {f"{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    return TileState(epoch, leaves, dict(zip(Losses._fields, history[..., :epoch], strict=True)))


def _restored(kept: TileState, like: TrainState) -> TrainState:
    """A kept state, in the shape of one that was just started."""
    fresh, structure = jax.tree.flatten(like)
    found = [kept.leaves.get(f"{i}") for i in range(len(fresh))]
    for leaf, known in zip(found, fresh, strict=True):
        if leaf is None or (leaf.shape, leaf.dtype) != (known.shape, known.dtype):
            raise FolderError("the checkpoint holds the state of another model")
    state: TrainState = jax.tree.unflatten(structure, found)
    return state


def _start(
    member: Members, shared: tuple[Key[Array, ""], Data], model: Model, config: TrainConfig
) -> TrainState:
    root, data = shared
    key = member_key(root, member.seed, member.hyperparameters.beta)
    key_init, _ = jax.random.split(key)
    return train.init(key_init, data, member.hyperparameters, model, config)


def _advance(
    of_member: tuple[Members, TrainState],
    shared: tuple[Key[Array, ""], Data],
    model: Model,
    config: TrainConfig,
) -> tuple[TrainState, Losses, Bool[Array, ""]]:
    (member, state), (root, data) = of_member, shared
    key = member_key(root, member.seed, member.hyperparameters.beta)
    _, key_train = jax.random.split(key)
    setup = train.Setup(data, member.hyperparameters, model, config)
    state, losses = train.advance(key_train, state, setup, CHUNK_EPOCHS)
    return state, losses, train.is_running(state, setup)


def _check_table(members: Members) -> None:
    """What a table of a caller's own can have wrong that no shape or type shows."""
    seed, beta = np.asarray(members.seed), np.asarray(members.hyperparameters.beta)
    if seed.dtype != np.uint32:
        raise OptionError("seeds", f"an array of {seed.dtype}; make it uint32")
    if not ((beta >= 0) & (beta <= LARGEST_FLOAT32)).all():
        raise OptionError("betas", f"{shown(beta.tolist())} must be finite and not negative")


def _require_threefry(root: Array) -> None:
    if not jnp.issubdtype(root.dtype, jax.dtypes.prng_key) or "fry" not in str(root.dtype):
        raise OptionError("root", f"{root.dtype} is no threefry key; use jax.random.key(seed)")


# What programs of training are called, beside those that ask trained members.
PROGRAMS = (_start.__name__, _advance.__name__)
