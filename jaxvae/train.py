"""Training one member: pure functions `init`, `step`, `epoch` and `fit`; `vmap` comes from outside.

The objective of a row, in nats, is  -E_q log p(x | z) + β KL(q(z | x) ‖ p(z))  with one draw of z
(Higgins et al. 2017); a capacity or free bits charge otherwise for the KL. What may differ between
members is an array in `Hyperparameters`; what shapes the program is in `TrainConfig`.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key

from jaxvae.densities import Density, Gaussian, log_density, move, standard_normal
from jaxvae.errors import OptionError
from jaxvae.models.base import Batch, Model, Variables, factors_used, take_rows
from jaxvae.objective import (
    capacity_charge,
    divergence,
    free_bits_charge,
    importance_weighted_bound,
    kl_divergence,
    weighted_mean,
)
from jaxvae.state import Data, Hyperparameters, Losses, TrainConfig, TrainState, view


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


class Noise(NamedTuple):
    """The random numbers of a pass over a batch.

    factors: standard normal, one a draw of z, the draws of a row a batch's length apart.
    key_dropout: what hides cells from the encoder.
    """

    factors: Float[Array, "draw factor"]
    key_dropout: Key[Array, ""]


def draw_noise(key: Key[Array, ""], n_rows: int, model: Model, config: TrainConfig) -> Noise:
    """The noise of a batch of so many rows."""
    key_factors, key_dropout = jax.random.split(key)
    shape = (n_rows * config.n_samples, model.n_factors)
    return Noise(standard_normal(key_factors, shape), key_dropout)


class Terms(NamedTuple):
    """The objective of each row and its parts, in nats."""

    total: Float[Array, " row"]
    reconstruction: Float[Array, " row"]
    kl: Float[Array, " row"]


def row_terms(
    noise: Noise,
    variables: Variables,
    batch: Batch,
    beta: Float[Array, ""],
    model: Model,
    config: TrainConfig,
    training: bool,
    capacity: Float[Array, ""] | None = None,
) -> tuple[Terms, Variables]:
    """The objective of each row, and the variables, moved where `training` is true.

    With one sample the total is -log p(x | z) + β KL, or with β times what `TrainConfig.capacity`
    or `free_bits` charge for the rows' mean KL in its place, the same for every row; `capacity` is
    that of the epoch, by default the full one. With k samples it is the importance-weighted bound
    -log (1/k) Σ exp[log p(x | z) + β (log p(z) - log q(z | x))] (Burda et al. 2016, tempered by β),
    and reconstruction and KL are means over the samples. A model that knows its expectation takes
    that, and no sample.
    """
    if model.exact is not None:
        return _expected_terms(variables, batch, beta, capacity, model, config), variables
    if training and config.hidden_cells > 0.0:
        batch = _mask_cells(noise.key_dropout, batch, config.hidden_cells)
    hidden = training and config.input_dropout > 0.0
    seen = _hide_cells(noise.key_dropout, batch, config.input_dropout) if hidden else batch
    posterior, variables = model.encode(variables, seen, training)
    assert isinstance(posterior, Gaussian)
    if config.n_samples > 1:
        rows = jnp.tile(jnp.arange(batch.values.shape[0]), config.n_samples)
        batch, posterior = take_rows(batch, rows), Gaussian(*(part[rows] for part in posterior))
    factors = move(noise.factors, posterior)
    observation, variables = model.decode(variables, factors, batch, training)
    reconstruction = -log_density(observation, batch.values, batch.observed)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    if config.n_samples == 1:
        kl = divergence(posterior, prior, factors, used)
        mask = variables.factor_mask
        known = _factor_divergence(posterior, prior) if config.free_bits else None
        charge = _charge(kl, known, mask, batch.weights, capacity, config)
        return Terms(reconstruction + beta * charge, reconstruction, kl), variables
    ratio = log_density(posterior, factors, used) - log_density(prior, factors, used)
    by_sample = jnp.stack([reconstruction + beta * ratio, reconstruction, ratio])
    total, reconstruction, kl = by_sample.reshape(3, config.n_samples, -1)
    bound = importance_weighted_bound(-total)
    return Terms(-bound.value, jnp.mean(reconstruction, 0), jnp.mean(kl, 0)), variables


def _charge(
    kl: Float[Array, " row"],
    by_factor: Float[Array, "row factor"] | None,
    mask: Float[Array, " factor"],
    weights: Float[Array, " row"],
    capacity: Float[Array, ""] | None,
    config: TrainConfig,
) -> Float[Array, " row"]:
    """What β multiplies in each row's objective: its KL, or what the settings make of the mean."""
    if config.capacity is not None:
        full = jnp.float32(config.capacity)
        held = capacity_charge(kl, weights, full if capacity is None else capacity)
        return jnp.broadcast_to(held, kl.shape)
    if by_factor is None or config.free_bits == 0.0:
        return kl
    held = free_bits_charge(mask[None, :] * by_factor, mask, weights, config.free_bits)
    return jnp.broadcast_to(held, kl.shape)


def _factor_divergence(posterior: Gaussian, prior: Density) -> Float[Array, "row factor"]:
    if not isinstance(prior, Gaussian):
        raise OptionError("free_bits: the model's prior is not Gaussian, so factors have no KL")
    return kl_divergence(posterior, prior)


def _expected_terms(
    variables: Variables,
    batch: Batch,
    beta: Float[Array, ""],
    capacity: Float[Array, ""] | None,
    model: Model,
    config: TrainConfig,
) -> Terms:
    """The objective's expectation over z, from a model that knows it."""
    assert model.exact is not None
    if config.n_samples > 1 or config.input_dropout > 0.0:
        raise OptionError("n_samples, input_dropout: leave them at 1 and 0; this model draws no z")
    said = model.exact(variables, batch)
    kl, mask = jnp.sum(said.kl, axis=-1), variables.factor_mask
    charge = _charge(kl, said.kl, mask, batch.weights, capacity, config)
    return Terms(said.reconstruction + beta * charge, said.reconstruction, kl)


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
    running = state.ok & (state.epoch < hyperparameters.last_epoch)
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
    cut = _blocks if model.ordered else _shuffle
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
        batch = _unobserve(batch) if model.ordered else batch
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


def _shuffle(
    key: Key[Array, ""], row_weights: Float[Array, " row"], batch_size: int
) -> tuple[Int[Array, "batch slot"], Float[Array, "batch slot"]]:
    """Rows in random order, those in use first, cut into batches.

    A short batch is filled with its first row at weight 0, so that nothing in it is a row that is
    not in use, nor one that batch norm has not seen; an empty one with the first of all.
    """
    n_rows = row_weights.shape[0]
    n_batches = math.ceil(n_rows / batch_size)
    order = _random_order(key, row_weights > 0.0)
    padding = (0, n_batches * batch_size - n_rows)
    rows = jnp.pad(order, padding).reshape(n_batches, batch_size)
    weights = jnp.pad(row_weights[order], padding).reshape(n_batches, batch_size)
    filling = jnp.where(weights[:, :1] > 0.0, rows[:, :1], order[0])
    return jnp.where(weights > 0.0, rows, filling), weights


def _blocks(
    key: Key[Array, ""], row_weights: Float[Array, " row"], batch_size: int
) -> tuple[Int[Array, "batch slot"], Float[Array, "batch slot"]]:
    """Blocks of consecutive rows from the first in use on, in random order, those with rows in use
    first. Rows of weight 0 keep their place in time.

    The likelihood of blocks that are taken as independent is a composite likelihood: each block has
    its own exact law, so that its optimum is the right one (Varin, Reid & Firth 2011).
    """
    n_rows = row_weights.shape[0]
    n_batches = math.ceil(n_rows / batch_size)
    places = jnp.argmax(row_weights > 0.0) + jnp.arange(n_batches * batch_size)
    rows = jnp.minimum(places, n_rows - 1)
    weights = jnp.where(places < n_rows, row_weights[rows], 0.0).reshape(n_batches, batch_size)
    order = _random_order(key, jnp.any(weights > 0.0, axis=1))
    return rows.reshape(n_batches, batch_size)[order], weights[order]


def _unobserve(batch: Batch) -> Batch:
    """Rows of weight 0 tell those in use nothing."""
    in_use = jnp.where(batch.weights > 0.0, 1.0, 0.0)[:, None]
    return batch._replace(values=in_use * batch.values, observed=in_use * batch.observed)


def _random_order(key: Key[Array, ""], used: Bool[Array, " row"]) -> Int[Array, " row"]:
    """Row indices, those in use first and in random order.

    A row's index stands in the low bits of its random number, so that numbers are sorted alone,
    which is many times faster than sorting pairs; the bits above decide, ties are in order.
    """
    n_rows = used.shape[0]
    low = jnp.uint32((1 << max(1, (n_rows - 1).bit_length())) - 1)
    drawn = jax.random.bits(key, (n_rows,)) >> 1 & ~low
    unused = jnp.uint32(1 << 31)
    rank = jnp.where(used, drawn, unused) | jnp.arange(n_rows, dtype=jnp.uint32)
    return (jnp.sort(rank) & low).astype(jnp.int32)


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


def _hide_cells(key: Key[Array, ""], batch: Batch, rate: float) -> Batch:
    keep = jax.random.bernoulli(key, 1.0 - rate, batch.values.shape)
    return batch._replace(values=jnp.where(keep, batch.values / (1.0 - rate), 0.0))


def _mask_cells(key: Key[Array, ""], batch: Batch, most: float) -> Batch:
    """Rows with further cells missing, a share of each drawn from U(0, most)."""
    key_share, key_cells = jax.random.split(key)
    shares = jax.random.uniform(key_share, (batch.values.shape[0], 1), maxval=most)
    drawn = jax.random.uniform(key_cells, batch.values.shape)
    keep = (drawn >= shares).astype(batch.values.dtype)
    return batch._replace(values=keep * batch.values, observed=keep * batch.observed)


def _select(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _all_finite(tree: Any) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))
