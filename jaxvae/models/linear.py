"""Exact answers of models whose returns are linear in the factors.

    z ~ N(m, P),    x | z ~ N(W z + b, Ψ),    P and Ψ diagonal

where m, P, b and Ψ may differ between rows; or the same with one mixing variable that scales P and
Ψ of a row, so that returns are multivariate Student-t. All that is inverted is K × K.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.models.distributions import LOG_2PI, CorrelatedGaussian
from jaxvae.models.linear_gaussian import condition, information
from jaxvae.models.model import Batch, Model, Variables, factors_used, take_rows
from jaxvae.models.student_t import CorrelatedT, StudentT, log_student_t


class Rows(NamedTuple):
    """The letters of the module's docstring; df: degrees of freedom ν, infinite for a Gaussian."""

    loadings: Float[Array, "factor asset"]
    bias: Float[Array, "row asset"]
    noise: Float[Array, "row asset"]
    prior_mean: Float[Array, "row factor"]
    prior_variance: Float[Array, "row factor"]
    df: Float[Array, " row"] | None


class PosteriorTerms(NamedTuple):
    """What the observed cells o of each row, n of them, say.

    mean, root: of z given them, of covariance root rootᵀ under Gaussian noise.
    distance, log_determinant: (x-μ)ᵀΣ⁻¹(x-μ) and ln|Σ| over o, with μ = W m + b, Σ = W P Wᵀ + Ψ.
    """

    mean: Float[Array, "row factor"]
    root: Float[Array, "row factor factor"]
    distance: Float[Array, " row"]
    log_determinant: Float[Array, " row"]
    n_seen: Float[Array, " row"]


def with_exact_answers(model: Model) -> Model:
    """The model, whose returns are linear in the factors, with likelihood, posterior, moments."""

    def log_likelihood(variables: Variables, batch: Batch) -> Float[Array, " row"]:
        rows = _read(model, variables, batch)
        found = _condition(rows, batch)
        if rows.df is None:
            return -0.5 * (found.n_seen * LOG_2PI + found.log_determinant + found.distance)
        return log_student_t(rows.df, found.n_seen, found.log_determinant, found.distance)

    def posterior(variables: Variables, batch: Batch) -> CorrelatedGaussian | CorrelatedT:
        rows = _read(model, variables, batch)
        found = _condition(rows, batch)
        if rows.df is None:
            return CorrelatedGaussian(found.mean, found.root)
        df = rows.df + found.n_seen
        scale = jnp.sqrt((rows.df + found.distance) / df)
        return CorrelatedT(found.mean, scale[:, None, None] * found.root, df)

    def moments(
        variables: Variables, batch: Batch
    ) -> tuple[Float[Array, " asset"], Float[Array, "asset asset"]]:
        rows = _read(model, variables, batch)
        means = rows.bias + rows.prior_mean @ rows.loadings
        mean = jnp.mean(means, axis=0)
        centred, variance = means - mean[None, :], jnp.mean(rows.prior_variance, axis=0)
        within = rows.loadings.T @ (variance[:, None] * rows.loadings)
        within += jnp.diag(jnp.mean(rows.noise, axis=0))
        if rows.df is not None:
            within *= rows.df[0] / (rows.df[0] - 2.0)
        return mean, centred.T @ centred / len(means) + within

    return model._replace(log_likelihood=log_likelihood, posterior=posterior, moments=moments)


def _read(model: Model, variables: Variables, batch: Batch) -> Rows:
    """The rows' parameters, from what decoder and prior give at z = 0."""
    origin = jnp.zeros((len(batch.values), model.n_factors), batch.values.dtype)
    observation, _ = model.decode(variables, origin, batch, False)
    prior, used = model.prior(variables, origin, batch), factors_used(variables, origin)
    unit = jnp.eye(model.n_factors, dtype=origin.dtype)
    first = take_rows(batch, jnp.zeros(model.n_factors, jnp.int32))

    def mean(factors: Float[Array, "factor factor"]) -> Float[Array, "factor asset"]:
        return model.decode(variables, factors, first, False)[0].mean

    _, loadings = jax.jvp(mean, (jnp.zeros_like(unit),), (unit,))
    log_noise, df = observation.log_squared_scale, None
    if isinstance(observation, StudentT):
        # There the density of x given z has ν + K, and at z = 0 the squared scale Ψ ν/(ν + K).
        df = observation.df - jnp.sum(used, axis=-1)
        log_noise += jnp.log(observation.df / df)[:, None]
    variance = jnp.exp(used * prior.log_squared_scale)
    noise = jnp.broadcast_to(jnp.exp(log_noise), batch.values.shape)
    return Rows(loadings, observation.mean, noise, used * prior.mean, variance, df)


def _condition(rows: Rows, batch: Batch) -> PosteriorTerms:
    """With S = P^½ and M = I + S Wᵀ Ψ⁻¹ W S over the cells observed,

    a = M⁻¹ S Wᵀ Ψ⁻¹ (x - W m - b),   z | x ~ N(m + S a, S M⁻¹ S)
    ln|Σ| = Σ ln Ψ + ln|M|,   distance = rᵀ Ψ⁻¹ r + aᵀa,   r = x - W (m + S a) - b
    """
    loadings, deviation = rows.loadings, jnp.sqrt(rows.prior_variance)
    precision = batch.observed / rows.noise
    residual = batch.values - rows.bias - rows.prior_mean @ loadings
    root = deviation[:, :, None] * jnp.eye(len(loadings), dtype=deviation.dtype)[None]
    score = (precision * residual) @ loadings.T
    found = condition(root, information(loadings.T, precision), score)
    left = residual - (deviation * found.step) @ loadings
    log_noise = jnp.sum(batch.observed * jnp.log(rows.noise), axis=-1)
    return PosteriorTerms(
        mean=rows.prior_mean + deviation * found.step,
        root=found.root,
        distance=jnp.sum(precision * left * left, axis=-1) + jnp.sum(found.step**2, axis=-1),
        log_determinant=log_noise + found.log_determinant,
        n_seen=jnp.sum(batch.observed, axis=-1),
    )
