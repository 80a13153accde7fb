"""The objective that a member's parameters are moved along, in nats.

-E_q log p(x | z) + β KL(q(z | x) ‖ p(z)) of each row, with one draw of z (Higgins et al. 2017); a
capacity or free bits charge otherwise for the KL. A row is a date, or whatever a model calls one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.errors import OptionError
from jaxvae.models.distributions import Distribution, standard_normal
from jaxvae.models.model import Batch, Model, Variables, factors_used, inform, take_rows
from jaxvae.training.config import TrainConfig


class Terms(NamedTuple):
    """The objective of each row and its parts, in nats: total, -E_q log p(x | z), KL without β; or
    their weighted sums over a batch's rows."""

    total: Float[Array, "*rows"]
    reconstruction: Float[Array, "*rows"]
    kl: Float[Array, "*rows"]


class LikelihoodEstimate(NamedTuple):
    """A Monte-Carlo estimate of log p(x) for each row.

    Attributes:
        value: log of the mean importance weight, in nats.
        standard_error: its Monte-Carlo standard error, by the delta method, in nats.
        effective_samples: (Σw)²/Σw², between 1 and the number of samples (Kong 1992).
    """

    value: Float[Array, " row"]
    standard_error: Float[Array, " row"]
    effective_samples: Float[Array, " row"]


def row_terms(
    key: Key[Array, ""],
    variables: Variables,
    batch: Batch,
    beta: Float[Array, ""],
    model: Model,
    config: TrainConfig,
    training: bool,
    capacity: Float[Array, ""] | None = None,
    noise: Float[Array, "draw factor"] | None = None,
) -> tuple[Terms, Variables]:
    """The objective of each row.

    With one sample the total is -log p(x | z) + β KL, or with β times what `TrainConfig.capacity`
    or `free_bits` charge for the rows' mean KL in its place, the same for every row. With k samples
    it is the importance-weighted bound -log (1/k) Σ exp[log p(x | z) + β (log p(z) - log q(z | x))]
    (Burda et al. 2016, tempered by β), and reconstruction and KL are means over the samples. A
    model that knows its expectation takes that, and no sample.

    Args:
        key: of the draws of z, and of the cells hidden.
        variables: of the member.
        batch: the rows; their weights matter to a mean KL alone.
        beta: weight of the KL term.
        model, config: as the member is trained with.
        training: whether running statistics move and cells are hidden.
        capacity: nats a row, of the epoch; by default the configuration's.
        noise: what `factor_noise` makes of the key, which it does here where it is not given.

    Returns:
        The terms, and the variables, their statistics moved where `training` is true.

    Raises:
        OptionError: settings that do not go with the model.
    """
    if model.objective is not None:
        return _expected_terms(variables, batch, beta, capacity, model, config), variables
    n_rows, n_samples = batch.values.shape[0], config.n_samples
    noise = factor_noise(key, n_rows, model, config) if noise is None else noise
    key_factors, key_cells = jax.random.split(key)
    if training and config.hidden_cells > 0.0:
        batch = _hide_cells(key_cells, batch, config.hidden_cells)
    batch = inform(model, variables, batch)
    posterior, variables = model.encode(variables, batch, training)
    if n_samples > 1:
        # The draws of a row stand a batch's length apart.
        rows = jnp.tile(jnp.arange(n_rows), n_samples)
        batch = take_rows(batch, rows)
        posterior = jax.tree.map(lambda leaf: leaf[rows], posterior)
    factors = posterior.draw(noise, key_factors)
    observation, variables = model.decode(variables, factors, batch, training)
    reconstruction = -observation.log_prob(batch.values, batch.observed)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    if n_samples == 1:
        kl = posterior.kl(prior, factors, used)
        by_factor = _factor_kl(posterior, prior, used) if config.free_bits else None
        charge = _charge(kl, by_factor, variables, batch, capacity, config)
        return Terms(reconstruction + beta * charge, reconstruction, kl), variables
    ratio = posterior.log_prob(factors, used) - prior.log_prob(factors, used)
    by_sample = jnp.stack([reconstruction + beta * ratio, reconstruction, ratio])
    total, reconstruction, kl = by_sample.reshape(3, n_samples, -1)
    bound = importance_weighted_bound(-total)
    return Terms(-bound.value, jnp.mean(reconstruction, 0), jnp.mean(kl, 0)), variables


def factor_noise(
    key: Key[Array, ""], n_rows: int, model: Model, config: TrainConfig
) -> Float[Array, "draw factor"]:
    """The standard normal noise that `row_terms` moves factors by, a row's draws a batch apart."""
    key_factors, _ = jax.random.split(key)
    n_draws = 0 if model.objective is not None else n_rows * config.n_samples
    return standard_normal(key_factors, (n_draws, model.n_factors))


def capacity_charge(
    kl: Float[Array, " row"], weights: Float[Array, " row"], capacity: Float[Array, ""]
) -> Float[Array, ""]:
    """|KL - C|, of the weighted mean KL of the rows, nats a row (Burgess et al. 2018)."""
    return jnp.abs(weighted_mean(kl, weights) - capacity)


def free_bits_charge(
    by_factor: Float[Array, "row factor"],
    mask: Float[Array, " factor"],
    weights: Float[Array, " row"],
    free: float,
) -> Float[Array, ""]:
    """Σ_k max(λ, KL_k) over the factors of the mask, of the weighted mean KL of the rows, nats
    a row.

    A factor below λ has no gradient (Kingma et al. 2016, "Improved variational inference with
    inverse autoregressive flow").
    """
    share = weights / jnp.maximum(jnp.sum(weights), jnp.finfo(weights.dtype).tiny)
    return jnp.sum(mask * jnp.maximum(share @ by_factor, free))


def importance_weighted_bound(log_weights: Float[Array, "sample row"]) -> LikelihoodEstimate:
    """log (1/k) Σ w over k importance weights w = p(x, z)/q(z) (Burda et al. 2016).

    Its expectation does not fall with k and never lies above log p(x).
    """
    n_samples = log_weights.shape[0]
    top = jax.lax.stop_gradient(jnp.max(log_weights, axis=0))
    weights = jnp.exp(log_weights - top[None, :])
    mean = jnp.mean(weights, axis=0)
    squares = jnp.mean(weights * weights, axis=0)
    relative_variance = jnp.maximum(squares / (mean * mean) - 1.0, 0.0)
    return LikelihoodEstimate(
        value=top + jnp.log(mean),
        standard_error=jnp.sqrt(relative_variance / n_samples),
        effective_samples=n_samples * mean * mean / squares,
    )


def weighted_mean(values: Float[Array, " row"], weights: Float[Array, " row"]) -> Float[Array, ""]:
    """Σwx/Σw; 0 where every weight is 0."""
    total = jnp.sum(weights)
    return jnp.sum(weights * values) / jnp.where(total > 0.0, total, 1.0)


def _charge(
    kl: Float[Array, " row"],
    by_factor: Float[Array, "row factor"] | None,
    variables: Variables,
    batch: Batch,
    capacity: Float[Array, ""] | None,
    config: TrainConfig,
) -> Float[Array, " row"]:
    """What β multiplies in each row's objective: its KL, or what the settings make of the mean."""
    if config.capacity is not None:
        full = jnp.float32(config.capacity)
        held = capacity_charge(kl, batch.weights, full if capacity is None else capacity)
    elif by_factor is not None and config.free_bits:
        mask = variables.factor_mask
        masked = mask[None, :] * by_factor
        held = free_bits_charge(masked, mask, batch.weights, config.free_bits)
    else:
        return kl
    return jnp.broadcast_to(held, kl.shape)


def _factor_kl(
    posterior: Distribution, prior: Distribution, used: Float[Array, "row factor"]
) -> Float[Array, "row factor"]:
    if not prior.kl_by_factor:
        raise OptionError("free_bits", "the model's prior is not Gaussian, so factors have no KL")
    return posterior.factor_kl(prior, used)


def _expected_terms(
    variables: Variables,
    batch: Batch,
    beta: Float[Array, ""],
    capacity: Float[Array, ""] | None,
    model: Model,
    config: TrainConfig,
) -> Terms:
    """The objective's expectation over z, from a model that knows it."""
    assert model.objective is not None
    if config.n_samples > 1:
        raise OptionError("n_samples", "leave it at 1: this model draws no factors")
    expected = model.objective(variables, batch)
    kl = jnp.sum(expected.kl, axis=-1)
    charge = _charge(kl, expected.kl, variables, batch, capacity, config)
    return Terms(expected.reconstruction + beta * charge, expected.reconstruction, kl)


def _hide_cells(key: Key[Array, ""], batch: Batch, most: float) -> Batch:
    """Rows with further cells missing, a share of each drawn from U(0, most)."""
    key_share, key_cells = jax.random.split(key)
    dtype = batch.values.dtype
    shares = jax.random.uniform(key_share, (batch.values.shape[0], 1), dtype, maxval=most)
    drawn = jax.random.uniform(key_cells, batch.values.shape, dtype)
    keep = (drawn >= shares).astype(dtype)
    return batch._replace(values=keep * batch.values, observed=keep * batch.observed)
