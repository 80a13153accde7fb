"""What a member says of all assets where the returns of some portfolios are known.

A portfolio is a row of weights over the assets: one asset, or the mean of a sector. Portfolios that
share no asset are, given the factors, as independent as assets are, so a model of assets is a model
of such portfolios too, and the importance sampler of `likelihood` serves as it stands.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.inference.importance import posterior_draws
from jaxvae.models.distributions import (
    Density,
    Gaussian,
    IndependentT,
    StudentT,
    UncertainGaussian,
    log_density,
    predictive,
)
from jaxvae.models.model import Batch, Model, Variables


class Given(NamedTuple):
    """Returns that are known, in standard units.

    weights: of each portfolio over the assets; no asset in two of them.
    returns: Σ weight · return of each portfolio.
    """

    weights: Float[Array, "portfolio asset"]
    returns: Float[Array, " portfolio"]


class WeightedRows(NamedTuple):
    """Draws of returns, each row as often as there are samples, with the log of their weights;
    weights compare over rows and members: their mean is the density of what was given."""

    values: Float[Array, "*members sample row asset"]
    log_weights: Float[Array, "*members sample row"]


def draw_given(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    given: Given,
    n_samples: int,
) -> WeightedRows:
    """Weighted draws from p(x | y), y = A x the returns of the portfolios, under each row's
    conditions (values are not looked at).

    z comes from importance samples of p(z | y), x from p(x | z, y). The latter is exact: once the
    mixing variables of heavy tails are known the noise is Gaussian, and a draw x̃ is moved onto
    what is given,

        x = x̃ + Ψ Aᵀ (A Ψ Aᵀ)⁻¹ (y - A x̃)

    (Matheron's rule; Hoffman & Ribak 1991). A row's one mixing variable is drawn given y; those of
    single assets are drawn from their prior, and weigh where several assets make a portfolio.
    """
    key_factors, key_noise = jax.random.split(key)
    n_rows = len(batch.values)
    shape = (n_rows, len(given.returns))
    known = jnp.broadcast_to(given.returns[None, :], shape)
    seen = batch._replace(values=known, observed=jnp.ones(shape, known.dtype))
    portfolios = _of_portfolios(model, batch, given.weights)
    factors, log_weights = posterior_draws(key_factors, portfolios, variables, seen, n_samples)

    def complete(
        draw: tuple[Key[Array, ""], Float[Array, "row factor"]],
    ) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
        key, factors = draw
        return _complete(key, _observation(model, variables, factors, batch), given)

    keys = jax.random.split(key_noise, n_samples)
    values, corrections = jax.lax.map(complete, (keys, factors))
    return WeightedRows(values, log_weights + corrections)


def _of_portfolios(model: Model, batch: Batch, weights: Float[Array, "portfolio asset"]) -> Model:
    """The model with portfolios in the place of assets; its encoder, where the search for the
    posterior's mode starts, says the prior's mean."""

    def encode(
        variables: Variables, seen: Batch, training: bool = False
    ) -> tuple[Gaussian, Variables]:
        zeros = jnp.zeros((len(seen.values), model.n_factors), seen.values.dtype)
        mean = model.prior(variables, zeros, seen).mean
        return Gaussian(mean, jnp.zeros_like(mean)), variables

    def decode(
        variables: Variables,
        factors: Float[Array, "row factor"],
        seen: Batch,
        training: bool = False,
    ) -> tuple[Density, Variables]:
        del seen
        observation = _observation(model, variables, factors, batch)
        return portfolio_density(observation, weights), variables

    alone = model.prior if model.marginal is None else model.marginal
    return model._replace(encode=encode, decode=decode, prior=alone, exact=None)


def _observation(
    model: Model, variables: Variables, factors: Float[Array, "row factor"], batch: Batch
) -> Gaussian | StudentT | IndependentT:
    """p(x | z), with what is not known of its mean integrated out."""
    observation = model.decode(variables, factors, batch, False)[0]
    return predictive(observation) if isinstance(observation, UncertainGaussian) else observation


def portfolio_density(
    density: Gaussian | StudentT | IndependentT, weights: Float[Array, "portfolio asset"]
) -> Gaussian | StudentT | IndependentT:
    """Density of portfolios that share no asset: mean A μ, squared scale A² σ².

    Exact for a Gaussian and a multivariate t, and for one asset alone. Several independent t's are
    stood in for by the heaviest of them, at the sum of their squared scales.
    """
    mean = density.mean @ weights.T
    log_scale = jnp.log(jnp.exp(density[1]) @ (weights**2).T)
    if isinstance(density, Gaussian):
        return Gaussian(mean, log_scale)
    if isinstance(density, StudentT):
        return StudentT(mean, log_scale, density.freedom)
    held = jnp.where(weights[None] != 0.0, density.freedom[:, None, :], jnp.inf)
    return IndependentT(mean, log_scale, jnp.min(held, axis=-1))


def _complete(
    key: Key[Array, ""], density: Gaussian | StudentT | IndependentT, given: Given
) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
    """A draw of x from p(x | z, y) in each row, and what it adds to the log weight of z."""
    key_noise, key_mixing = jax.random.split(key)
    weights, known = given.weights, given.returns[None, :]
    portfolios = portfolio_density(density, weights)
    noise = jax.random.normal(key_noise, density.mean.shape, density.mean.dtype)
    if isinstance(density, Gaussian):
        variances, correction = jnp.exp(density.log_variance), jnp.zeros(len(noise))
    elif isinstance(density, StudentT):
        variances, correction = _mixed_together(key_mixing, density, portfolios, known)
    else:
        variances, correction = _mixed_alone(key_mixing, density, portfolios, given)
    values = density.mean + jnp.sqrt(variances) * noise
    gap = (known - values @ weights.T) / (variances @ (weights**2).T)
    return values + variances * (gap @ weights), correction


def _mixed_together(
    key: Key[Array, ""], density: StudentT, portfolios: Density, known: Float[Array, "1 portfolio"]
) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
    """s | y ~ InverseGamma((ν+n)/2, (ν+δ)/2) scales the whole row; the weight is exact as it is."""
    distance = jnp.sum((known - portfolios.mean) ** 2 * jnp.exp(-portfolios[1]), axis=-1)
    shape = 0.5 * (density.freedom + known.shape[-1])
    mixing = 0.5 * (density.freedom + distance) / jax.random.gamma(key, shape)
    return mixing[:, None] * jnp.exp(density.log_scale), jnp.zeros_like(mixing)


def _mixed_alone(
    key: Key[Array, ""], density: IndependentT, portfolios: Density, given: Given
) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
    """A mixing variable an asset from its prior. A portfolio of several assets is Gaussian once
    they are known: that density takes the place of the stand-in's."""
    half = 0.5 * density.freedom
    variances = jnp.exp(density.log_scale) * half / jax.random.gamma(key, half)
    known = jnp.broadcast_to(given.returns[None, :], portfolios.mean.shape)
    several = jnp.sum(given.weights != 0.0, axis=-1) > 1
    used = jnp.broadcast_to(several[None, :].astype(known.dtype), known.shape)
    exact = Gaussian(portfolios.mean, jnp.log(variances @ (given.weights**2).T))
    return variances, log_density(exact, known, used) - log_density(portfolios, known, used)
