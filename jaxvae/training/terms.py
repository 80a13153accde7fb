"""The objective of a batch's rows, in nats: what `train` moves a member along.

-E_q log p(x | z) + β KL(q(z | x) ‖ p(z)) of each row, with one draw of z (Higgins et al. 2017); a
capacity or free bits charge otherwise for the KL.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.errors import OptionError
from jaxvae.models.distributions import Distribution, standard_normal
from jaxvae.models.model import Batch, Model, Variables, factors_used, take_rows
from jaxvae.training.objective import capacity_charge, free_bits_charge, importance_weighted_bound
from jaxvae.training.state import TrainConfig


class Noise(NamedTuple):
    """The random numbers of a pass over a batch.

    factors: standard normal, one a draw of z, the draws of a row a batch's length apart.
    key_factors: what z is drawn by where it is no map of these.
    key_dropout: what hides cells from the encoder.
    """

    factors: Float[Array, "draw factor"]
    key_factors: Key[Array, ""]
    key_dropout: Key[Array, ""]


def draw_noise(key: Key[Array, ""], n_rows: int, model: Model, config: TrainConfig) -> Noise:
    """The noise of a batch of so many rows."""
    key_factors, key_dropout = jax.random.split(key)
    shape = (n_rows * config.n_samples, model.n_factors)
    return Noise(standard_normal(key_factors, shape), key_factors, key_dropout)


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
    if model.objective is not None:
        return _expected_terms(variables, batch, beta, capacity, model, config), variables
    if training and config.hidden_cells > 0.0:
        batch = _mask_cells(noise.key_dropout, batch, config.hidden_cells)
    hidden = training and config.input_dropout > 0.0
    seen = _hide_cells(noise.key_dropout, batch, config.input_dropout) if hidden else batch
    posterior, variables = model.encode(variables, seen, training)
    if config.n_samples > 1:
        rows = jnp.tile(jnp.arange(batch.values.shape[0]), config.n_samples)
        batch = take_rows(batch, rows)
        posterior = jax.tree.map(lambda leaf: leaf[rows], posterior)
    factors = posterior.draw(noise.factors, noise.key_factors)
    observation, variables = model.decode(variables, factors, batch, training)
    reconstruction = -observation.log_prob(batch.values, batch.observed)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    if config.n_samples == 1:
        kl = posterior.kl(prior, factors, used)
        mask = variables.factor_mask
        known = _factor_kl(posterior, prior, used) if config.free_bits else None
        charge = _charge(kl, known, mask, batch.weights, capacity, config)
        return Terms(reconstruction + beta * charge, reconstruction, kl), variables
    ratio = posterior.log_prob(factors, used) - prior.log_prob(factors, used)
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
    if config.n_samples > 1 or config.input_dropout > 0.0:
        raise OptionError(
            "n_samples", "leave it at 1 and input_dropout at 0; this model draws no z"
        )
    said = model.objective(variables, batch)
    kl, mask = jnp.sum(said.kl, axis=-1), variables.factor_mask
    charge = _charge(kl, said.kl, mask, batch.weights, capacity, config)
    return Terms(said.reconstruction + beta * charge, said.reconstruction, kl)


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
