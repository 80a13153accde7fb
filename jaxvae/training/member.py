"""Training one member: pure functions `init`, `step`, `epoch` and `fit`; `vmap` comes from outside.

`objective` says what is minimised. What may differ between members is an array in
`Hyperparameters`; what shapes the program is in `TrainConfig`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key

from jaxvae.models.model import Batch, Model, Variables, take_rows
from jaxvae.training.batches import blocks, shuffle, unobserve
from jaxvae.training.config import TrainConfig
from jaxvae.training.objective import Terms, factor_noise, row_terms, weighted_mean
from jaxvae.training.optimiser import make_optimiser
from jaxvae.training.state import Data, Hyperparameters, Losses, TrainState, view


class EpochSettings(NamedTuple):
    """Numbers that all steps of an epoch share.

    Attributes:
        beta: weight of the KL term.
        learning_rate: of the optimiser.
        capacity: nats a row at which the KL is held; None where it is not.
        n_rows: the member's training rows by their weights, which share a model's `complexity`
            evenly; β does not weigh it.
    """

    beta: Float[Array, ""]
    learning_rate: Float[Array, ""]
    capacity: Float[Array, ""] | None = None
    n_rows: Float[Array, ""] | float = math.inf


class Setup(NamedTuple):
    """Data, hyperparameters, model and configuration of a member in training.

    Attributes:
        data: what all members share; for `epoch` as the member sees them (`view`).
        hyperparameters: its own.
        model, config: what shapes the program.
    """

    data: Data
    hyperparameters: Hyperparameters
    model: Model
    config: TrainConfig

    @property
    def batch_size(self) -> int:
        """Rows a step: no more than there are."""
        return min(self.config.batch_size, self.data.training.values.shape[0])

    @property
    def n_batches(self) -> int | Int[Array, ""]:
        """Batches an epoch: a number that the program knows, so that it can be differentiated
        backward, unless the data hold another."""
        if self.data.n_batches is not None:
            return self.data.n_batches
        return math.ceil(self.data.training.values.shape[0] / self.batch_size)

    @property
    def n_rows(self) -> Float[Array, ""]:
        """The training rows by their weights."""
        return jnp.sum(self.hyperparameters.row_weights * self.data.training.weights)


def init(
    key: Key[Array, ""],
    data: Data,
    hyperparameters: Hyperparameters,
    model: Model,
    config: TrainConfig,
) -> TrainState:
    """An untrained member."""
    data = view(data, hyperparameters.window, model)
    variables = model.initialise(key, take_rows(data.training, slice(None)))
    variables = variables._replace(factor_mask=hyperparameters.factor_mask)
    return TrainState(
        variables=variables,
        optimiser=make_optimiser(config, model.decayed).init(variables.parameters),
        best=variables,
        best_validation=jnp.float32(jnp.inf),
        best_epoch=jnp.int32(0),
        epoch=jnp.int32(0),
        ok=jnp.bool_(True),
    )


def step(
    key: Key[Array, ""],
    state: TrainState,
    batch: Batch,
    settings: EpochSettings,
    model: Model,
    config: TrainConfig,
    noise: Float[Array, "draw factor"] | None = None,
) -> tuple[TrainState, Terms]:
    """One step of the optimiser on one batch.

    Args:
        key: of the step's draws.
        state: of the member, with the factors of the epoch in its mask.
        batch: the rows. Where all weights are 0 nothing moves, the optimiser's count included.
        settings: of the epoch.
        model, config: what shapes the program.
        noise: what `factor_noise` makes of the key, by default made here.

    Returns:
        The state with parameters, running statistics and optimiser moved, and the batch's sums.
    """
    used = jnp.any(batch.weights > 0.0)
    # A batch without weight is worked out at full weight and then dropped: its own gradient is 0,
    # whose norm has no derivative, and NaN times nothing is NaN where training is differentiated.
    batch = batch._replace(weights=jnp.where(used, batch.weights, 1.0))
    parameters = state.variables.parameters

    def loss(parameters: Any) -> tuple[Float[Array, ""], tuple[Any, Terms]]:
        at = state.variables._replace(parameters=parameters)
        terms, moved = row_terms(
            key, at, batch, settings.beta, model, config, True, settings.capacity, noise
        )
        if model.complexity is not None:
            terms = terms._replace(total=terms.total + model.complexity(at) / settings.n_rows)
        info = Terms(*(batch.weights @ term for term in terms))
        mean = config.reduction == "mean"
        value = weighted_mean(terms.total, batch.weights) if mean else info.total
        return value, (moved.statistics, info)

    (value, (statistics, info)), gradients = jax.value_and_grad(loss, has_aux=True)(parameters)
    # Optax mixes integer counts with floats, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        updates, optimiser = make_optimiser(config, model.decayed).update(
            gradients,
            state.optimiser,
            parameters,
            learning_rate=jnp.where(used, settings.learning_rate, 0.0),
            value=value,
            used=used,
        )
    variables = state.variables._replace(
        parameters=optax.apply_updates(parameters, updates),
        statistics=_select(used, statistics, state.variables.statistics),
    )
    nothing = jax.tree.map(jnp.zeros_like, info)
    moved = state._replace(variables=variables, optimiser=optimiser)
    return moved, _select(used, info, nothing)


def epoch(key: Key[Array, ""], state: TrainState, setup: Setup) -> tuple[TrainState, Losses]:
    """One pass over the training rows, then the validation objective and the choice of best epoch.

    `key` is the member's; the epoch's own keys are folded out of it. A member that is stopped,
    frozen or at its last epoch comes back unchanged.
    """
    moved, sums = _pass_over_rows(key, state, setup)
    key_validation = jax.random.fold_in(key, setup.config.epochs)
    validation = _validation_objective(key_validation, moved.variables, setup)
    running = is_running(state, setup)
    healthy = _all_finite((moved.variables.parameters, sums))
    moved = _keep_best(moved._replace(epoch=state.epoch + 1), validation, setup)
    state = _select(running & healthy, moved, state)._replace(ok=state.ok & (healthy | ~running))
    mean = setup.config.reduction == "mean"
    count = setup.n_rows if mean else jnp.asarray(setup.n_batches, jnp.float32)
    total, reconstruction, kl = (one / count for one in sums)
    return state, Losses(total, reconstruction, kl, validation)


def advance(
    key: Key[Array, ""], state: TrainState, setup: Setup, n_epochs: int
) -> tuple[TrainState, Losses]:
    """`n_epochs` epochs, of data that the member's window was not laid on yet; the losses have them
    as their leading axis."""
    setup = setup._replace(data=view(setup.data, setup.hyperparameters.window, setup.model))

    def body(state: TrainState, _: None) -> tuple[TrainState, Losses]:
        return epoch(key, state, setup)

    return jax.lax.scan(body, state, None, length=n_epochs)


def fit(
    key: Key[Array, ""],
    data: Data,
    hyperparameters: Hyperparameters,
    model: Model,
    config: TrainConfig,
) -> tuple[TrainState, Losses]:
    """A whole training run, a pure function: `jit`, `vmap` and differentiate around it.

    Args:
        key: every random number comes from it.
        data: training and validation rows.
        hyperparameters: what varies over members.
        model: what is trained.
        config: how it is trained.

    Returns:
        The state, whose `best` holds the variables to use; the losses, epochs first.
    """
    key_init, key_train = jax.random.split(key)
    state = init(key_init, data, hyperparameters, model, config)
    setup = Setup(data, hyperparameters, model, config)
    return advance(key_train, state, setup, config.epochs)


def is_running(state: TrainState, setup: Setup) -> Bool[Array, "*members"]:
    """Whether a member has epochs to go: healthy, not past its last epoch, patience not used up."""
    # A chunk of epochs may reach beyond the last one, where no schedule is defined.
    last_epoch = jnp.minimum(setup.hyperparameters.last_epoch, setup.config.epochs)
    running = state.ok & (state.epoch < last_epoch)
    if setup.config.patience is None:
        return running
    return running & (state.epoch - state.best_epoch < setup.config.patience)


def _pass_over_rows(
    key: Key[Array, ""], state: TrainState, setup: Setup
) -> tuple[TrainState, Terms]:
    """The state after a step on each batch, with the epoch's factors in its mask, and the weighted
    sums over all batches."""
    data, hyperparameters, model, config = setup
    key_shuffle, key_noise = jax.random.split(jax.random.fold_in(key, state.epoch))
    cut = blocks if model.facts.ordered else shuffle
    rows, weights = cut(key_shuffle, hyperparameters.row_weights, setup.batch_size)
    settings = _settings(state.epoch, setup)
    mask = _open_factors(state.epoch, hyperparameters.factor_mask, config)
    # Drawn for all steps at once: many small draws cost more than a large one.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key_noise, jnp.arange(len(rows)))
    noise = jax.vmap(lambda key: factor_noise(key, rows.shape[1], model, config))(keys)

    def body(index: Int[Array, ""], carry: tuple[TrainState, Terms]) -> tuple[TrainState, Terms]:
        state, sums = carry
        batch = take_rows(data.training, rows[index])
        batch = batch._replace(weights=batch.weights * weights[index])
        batch = unobserve(batch) if model.facts.ordered else batch
        state, info = step(keys[index], state, batch, settings, model, config, noise[index])
        return state, jax.tree.map(jnp.add, sums, info)

    start = state._replace(variables=state.variables._replace(factor_mask=mask))
    none = Terms(*jnp.zeros(3, jnp.float32))
    moved: tuple[TrainState, Terms]
    moved = jax.lax.fori_loop(0, setup.n_batches, body, (start, none))
    return moved


def _settings(epoch: Int[Array, ""], setup: Setup) -> EpochSettings:
    """β, learning rate and capacity of an epoch by their schedules, and how many rows there are."""
    config, done = setup.config, epoch.astype(jnp.float32)
    beta = setup.hyperparameters.beta
    if config.warmup_epochs:
        beta *= jnp.minimum(1.0, done / config.warmup_epochs)
    decay = 0.5 * (1.0 + jnp.cos(jnp.pi * done / config.epochs))
    capacity = None if config.capacity is None else jnp.float32(config.capacity)
    if capacity is not None and config.capacity_epochs:
        capacity *= jnp.minimum(1.0, done / config.capacity_epochs)
    return EpochSettings(beta, setup.hyperparameters.learning_rate * decay, capacity, setup.n_rows)


def _open_factors(
    epoch: Int[Array, ""], factor_mask: Float[Array, " factor"], config: TrainConfig
) -> Float[Array, " factor"]:
    """The factors of the mask that an epoch may use: one more after each equal part of the
    curriculum, all of them from its end on."""
    if config.curriculum_epochs == 0:
        return factor_mask
    order = jnp.cumsum(factor_mask).astype(jnp.int32)
    n_open = 1 + epoch * order[-1] // config.curriculum_epochs
    return jnp.where(order <= n_open, factor_mask, 0.0)


def _validation_objective(
    key: Key[Array, ""], variables: Variables, setup: Setup
) -> Float[Array, ""]:
    """The objective at the full β and capacity on the validation rows, with the same noise at every
    epoch."""
    data, hyperparameters, model, config = setup
    batch = take_rows(data.validation, slice(None))
    weights = batch.weights * hyperparameters.validation_weights
    batch = batch._replace(weights=weights)
    terms, _ = row_terms(key, variables, batch, hyperparameters.beta, model, config, training=False)
    return weighted_mean(terms.total, weights)


def _keep_best(state: TrainState, validation: Float[Array, ""], setup: Setup) -> TrainState:
    """Keep the variables of the best epoch; of the last where there is nothing to choose by, or β
    and the factors have not settled yet."""
    settled = state.epoch >= setup.config.settled_epochs
    if setup.config.patience is None:
        better = jnp.bool_(True)
    else:
        unjudged = jnp.sum(setup.hyperparameters.validation_weights) == 0.0
        better = ~settled | unjudged | (validation < state.best_validation)
    new = (state.variables, jnp.where(settled, validation, jnp.inf), state.epoch)
    old = (state.best, state.best_validation, state.best_epoch)
    best, best_validation, best_epoch = _select(better, new, old)
    return state._replace(best=best, best_validation=best_validation, best_epoch=best_epoch)


def _select(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
