"""Training one member: pure functions `init`, `step`, `epoch` and `fit`; `vmap` comes from outside.

`terms` says what is minimised. What may differ between members is an array in `Hyperparameters`;
what shapes the program is in `TrainConfig`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key

from jaxvae.models.model import Batch, Model, Variables, take_rows
from jaxvae.training.batches import blocks, shuffle, unobserve
from jaxvae.training.objective import weighted_mean
from jaxvae.training.state import Data, Hyperparameters, Losses, TrainConfig, TrainState, view
from jaxvae.training.terms import Noise, draw_noise, row_terms


def init(
    key: Key[Array, ""],
    data: Data,
    hyperparameters: Hyperparameters,
    model: Model,
    config: TrainConfig,
) -> TrainState:
    """An untrained member."""
    data = view(data, hyperparameters.window)
    variables = model.initialise(key, take_rows(data.training, slice(None)))
    variables = variables._replace(factor_mask=hyperparameters.factor_mask)
    return TrainState(
        variables=variables,
        optimiser=_optimiser(variables.parameters, config, True).init(
            ravel_pytree(variables.parameters)[0]
        ),
        best=variables,
        best_validation=jnp.float32(jnp.inf),
        best_epoch=jnp.int32(0),
        epoch=jnp.int32(0),
        ok=jnp.bool_(True),
    )


class Moving(NamedTuple):
    """What a step moves: the parameters as one flat vector, so that an update is a few large
    operations instead of a few for every layer; running statistics; the optimiser's state."""

    parameters: Float[Array, " parameter"]
    statistics: Any
    optimiser: Any


def step(
    noise: Noise,
    moving: Moving,
    batch: Batch,
    beta: Float[Array, ""],
    learning_rate: Float[Array, ""],
    variables: Variables,
    model: Model,
    config: TrainConfig,
    capacity: Float[Array, ""] | None = None,
    n_rows: Float[Array, ""] | float = math.inf,
) -> tuple[Moving, Float[Array, " 3"]]:
    """One step of Adam (Kingma & Ba 2015) on one batch; none where its weights are all 0.

    variables: the member's, for the shape of its parameters and its factor mask.
    capacity: of the epoch, as `row_terms` takes it.
    n_rows: the member's training rows by their weights, which share what a model's `complexity`
        says evenly; β does not weigh it.

    Returns what has moved, and the batch's sums of total, reconstruction and KL in nats.
    """
    unravel = ravel_pytree(variables.parameters)[1]
    now = variables._replace(statistics=moving.statistics)

    def loss(parameters: Any) -> tuple[Float[Array, ""], tuple[Any, Float[Array, " 3"]]]:
        at = now._replace(parameters=parameters)
        terms, moved = row_terms(noise, at, batch, beta, model, config, True, capacity)
        if model.complexity is not None:
            terms = terms._replace(total=terms.total + model.complexity(at) / n_rows)
        sums = jnp.stack([batch.weights @ term for term in terms])
        mean = config.reduction == "mean"
        value = weighted_mean(terms.total, batch.weights) if mean else sums[0]
        return value, (moved.statistics, sums)

    gradients, (statistics, sums) = jax.grad(loss, has_aux=True)(unravel(moving.parameters))
    used = jnp.any(batch.weights > 0.0)
    update = _optimiser(variables.parameters, config, used).update
    # Optax mixes integer counts with floats, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        direction, optimiser = update(
            ravel_pytree(gradients)[0], moving.optimiser, moving.parameters
        )
    change = jnp.where(used, learning_rate * direction, 0.0)
    statistics = _select(used, statistics, moving.statistics)
    return Moving(moving.parameters - change, statistics, optimiser), sums


def epoch(
    key: Key[Array, ""],
    state: TrainState,
    data: Data,
    hyperparameters: Hyperparameters,
    model: Model,
    config: TrainConfig,
) -> tuple[TrainState, Losses]:
    """One pass over the training rows, then the validation objective and the choice of best epoch.

    `key` is the member's; the epoch's own keys are folded out of it. A member that is stopped,
    frozen or at its last epoch comes back unchanged.
    """
    variables, optimiser, sums = _pass_over_rows(key, state, data, hyperparameters, model, config)
    key_validation = jax.random.fold_in(key, config.epochs)
    validation = _validation_objective(
        key_validation, variables, data, hyperparameters, model, config
    )
    running = is_running(state, hyperparameters, config)
    healthy = _all_finite((variables.parameters, sums))
    moved = state._replace(variables=variables, optimiser=optimiser, epoch=state.epoch + 1)
    moved = _keep_best(moved, validation, hyperparameters, config)
    state = _select(running & healthy, moved, state)._replace(ok=state.ok & (healthy | ~running))
    n_rows = jnp.sum(hyperparameters.row_weights * data.training.weights)
    count = n_rows if config.reduction == "mean" else data.n_batches.astype(jnp.float32)
    total, reconstruction, kl = sums / count
    return state, Losses(total, reconstruction, kl, validation)


def advance(
    key: Key[Array, ""],
    state: TrainState,
    data: Data,
    hyperparameters: Hyperparameters,
    model: Model,
    config: TrainConfig,
    n_epochs: int,
) -> tuple[TrainState, Losses]:
    """`n_epochs` epochs; the losses have them as their leading axis."""
    data = view(data, hyperparameters.window)

    def body(state: TrainState, _: None) -> tuple[TrainState, Losses]:
        return epoch(key, state, data, hyperparameters, model, config)

    return jax.lax.scan(body, state, None, length=n_epochs)


def fit(
    key: Key[Array, ""],
    data: Data,
    hyperparameters: Hyperparameters,
    model: Model,
    config: TrainConfig,
) -> tuple[TrainState, Losses]:
    """A whole training run, a pure function: `jit`, `vmap` and differentiate around it.

    The result's `best` holds the variables to use; the losses have the epochs as leading axis.
    """
    key_init, key_train = jax.random.split(key)
    state = init(key_init, data, hyperparameters, model, config)
    return advance(key_train, state, data, hyperparameters, model, config, config.epochs)


def is_running(
    state: TrainState, hyperparameters: Hyperparameters, config: TrainConfig
) -> Bool[Array, "*members"]:
    """Whether a member has epochs to go: healthy, not past its last epoch, patience not used up."""
    # A chunk of epochs may reach beyond the last one, where no schedule is defined.
    last_epoch = jnp.minimum(hyperparameters.last_epoch, config.epochs)
    running = state.ok & (state.epoch < last_epoch)
    if config.patience is None:
        return running
    return running & (state.epoch - state.best_epoch < config.patience)


def _optimiser(
    parameters: Any, config: TrainConfig, used: Bool[Array, ""] | bool
) -> optax.GradientTransformation:
    """Clipping, Adam's direction and weight decay, over a flat vector of parameters.

    Where a batch is not used the moments decay by 1 and take in nothing, which costs no pass over
    them; the direction is then undefined.
    """
    b1, b2 = jnp.where(used, 0.9, 1.0), jnp.where(used, 0.999, 1.0)
    parts = [optax.scale_by_adam(b1, b2)]
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.weight_decay:
        matrices = jax.tree.map(lambda leaf: jnp.full(leaf.shape, leaf.ndim > 1), parameters)
        decayed = jnp.where(ravel_pytree(matrices)[0], config.weight_decay, 0.0)
        parts.append(optax.stateless(lambda updates, flat: updates + decayed * flat))
    return optax.chain(*parts)


def _pass_over_rows(
    key: Key[Array, ""],
    state: TrainState,
    data: Data,
    hyperparameters: Hyperparameters,
    model: Model,
    config: TrainConfig,
) -> tuple[Variables, Any, Float[Array, " 3"]]:
    key_shuffle, key_noise = jax.random.split(jax.random.fold_in(key, state.epoch))
    cut = blocks if model.facts.ordered else shuffle
    rows, weights = cut(key_shuffle, hyperparameters.row_weights, config.batch_size)
    beta, learning_rate = _schedules(state.epoch, hyperparameters, config)
    capacity = _capacity(state.epoch, config)
    noise = _noise_by_batch(key_noise, len(rows), model, config)

    n_rows = jnp.sum(hyperparameters.row_weights * data.training.weights)
    mask = _open_factors(state.epoch, hyperparameters.factor_mask, config)
    variables = state.variables._replace(factor_mask=mask)

    def body(index: Int[Array, ""], carry: tuple[Moving, Array]) -> tuple[Moving, Array]:
        moving, sums = carry
        batch = take_rows(data.training, rows[index])
        batch = batch._replace(weights=batch.weights * weights[index])
        batch = unobserve(batch) if model.facts.ordered else batch
        drawn = jax.tree.map(lambda leaf: leaf[index], noise)
        moving, more = step(
            drawn,
            moving,
            batch,
            beta,
            learning_rate,
            variables,
            model,
            config,
            capacity,
            n_rows,
        )
        return moving, sums + more

    flat, unravel = ravel_pytree(variables.parameters)
    start = Moving(flat, variables.statistics, state.optimiser), jnp.zeros(3, jnp.float32)
    moving, sums = jax.lax.fori_loop(0, data.n_batches, body, start)
    variables = Variables(unravel(moving.parameters), moving.statistics, mask)
    return variables, moving.optimiser, sums


def _noise_by_batch(
    key: Key[Array, ""], n_batches: int, model: Model, config: TrainConfig
) -> Noise:
    """An epoch's noise, drawn at once: many small draws cost more than a large one."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n_batches))
    return jax.vmap(lambda key: draw_noise(key, config.batch_size, model, config))(keys)


def _schedules(
    epoch: Int[Array, ""], hyperparameters: Hyperparameters, config: TrainConfig
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """β and learning rate of an epoch."""
    done = epoch.astype(jnp.float32)
    beta = hyperparameters.beta
    if config.warmup_epochs:
        beta *= jnp.minimum(1.0, done / config.warmup_epochs)
    if config.schedule == "constant":
        return beta, hyperparameters.learning_rate
    decay = 0.5 * (1.0 + jnp.cos(jnp.pi * done / config.epochs))
    return beta, hyperparameters.learning_rate * decay


def _capacity(epoch: Int[Array, ""], config: TrainConfig) -> Float[Array, ""] | None:
    """C of an epoch; None where none is set."""
    if config.capacity is None:
        return None
    if config.capacity_epochs == 0:
        return jnp.float32(config.capacity)
    risen = epoch.astype(jnp.float32) / config.capacity_epochs
    return config.capacity * jnp.minimum(1.0, risen)


def _open_factors(
    epoch: Int[Array, ""], factor_mask: Float[Array, " factor"], config: TrainConfig
) -> Float[Array, " factor"]:
    """The factors of the mask that an epoch may use: one more after each equal part of the
    unfolding, all of them from its end on."""
    n_factors = factor_mask.shape[0]
    if config.unfold_epochs == 0:
        return factor_mask
    n_open = 1 + epoch * n_factors // config.unfold_epochs
    return jnp.where(jnp.arange(n_factors) < n_open, factor_mask, 0.0)


def _validation_objective(
    key: Key[Array, ""],
    variables: Variables,
    data: Data,
    hyperparameters: Hyperparameters,
    model: Model,
    config: TrainConfig,
) -> Float[Array, ""]:
    """The objective at the full β and capacity on the validation rows, with the same noise at every
    epoch."""
    beta = hyperparameters.beta
    batch = take_rows(data.validation, slice(None))
    weights = data.validation.weights * hyperparameters.validation_weights
    batch = batch._replace(weights=weights)
    noise = draw_noise(key, len(batch.values), model, config)
    terms, _ = row_terms(noise, variables, batch, beta, model, config, training=False)
    return weighted_mean(terms.total, weights)


def _keep_best(
    state: TrainState,
    validation: Float[Array, ""],
    hyperparameters: Hyperparameters,
    config: TrainConfig,
) -> TrainState:
    """Keep the variables of the best epoch; of the last where there is nothing to choose by, or β
    and the factors have not settled yet."""
    settled = state.epoch >= config.settled_epochs
    if config.patience is None:
        better = jnp.bool_(True)
    else:
        unjudged = jnp.sum(hyperparameters.validation_weights) == 0.0
        better = ~settled | unjudged | (validation < state.best_validation)
    new = (state.variables, jnp.where(settled, validation, jnp.inf), state.epoch)
    old = (state.best, state.best_validation, state.best_epoch)
    best, best_validation, best_epoch = _select(better, new, old)
    return state._replace(best=best, best_validation=best_validation, best_epoch=best_epoch)


def _select(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
