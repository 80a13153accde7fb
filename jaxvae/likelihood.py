"""Held-out log p(x) of a fitted model, by importance sampling.

An encoder is a poor proposal: trained at β its variance is about β times the posterior's, and below
β ≈ ½ the weights' variance is infinite. So the encoder's mean is only where a few damped
Gauss-Newton steps on log p(x, z) start; the proposal for z is a mixture around the mode that they
reach, with the Gauss-Newton covariance C = (P + JᵀΨ⁻¹J)⁻¹ (J the decoder's Jacobian, Ψ its noise, P
the prior's precision), and a defensive part that is the prior itself, which bounds the weights
(Hesterberg 1995). With a linear decoder N(mode, C) is the exact posterior.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.models.base import Batch, Model, Variables
from jaxvae.objective import (
    LOG_2PI,
    Bound,
    importance_weighted_bound,
    log_density,
    observed_log_density,
)

NEWTON_STEPS = 6
# Share of the samples from N(mode, C), from N(mode, 4C), and from the prior.
SHARES = (0.6, 0.25, 0.15)
SPREADS = (1.0, 2.0)


class Mode(NamedTuple):
    """A Gaussian around each row's posterior mode, by mean and the Cholesky factor L of its
    precision, LLᵀ = P + JᵀΨ⁻¹J."""

    mean: Float[Array, "row factor"]
    cholesky: Float[Array, "row factor factor"]


def log_likelihood(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    factor_mask: Float[Array, " factor"],
    n_samples: int,
) -> Bound:
    """Each row's log p(x) over its observed cells, in nats, from `n_samples` importance samples.

    The mixture is stratified: every component gives its share of the samples, and every sample is
    weighed against the whole mixture. The standard error ignores the strata and so errs upward.
    """
    mode = posterior_mode(model, variables, batch, factor_mask)
    draws = _draw(key, mode, model, variables, batch, n_samples)

    def log_weight(factors: Float[Array, "row factor"]) -> Float[Array, " row"]:
        joint = _log_joint(model, variables, batch, factors, factor_mask)
        return joint - _log_mixture(mode, factors, model, variables, batch, n_samples)

    return importance_weighted_bound(jax.lax.map(log_weight, draws))


def posterior_mode(
    model: Model, variables: Variables, batch: Batch, factor_mask: Float[Array, " factor"]
) -> Mode:
    """Levenberg-Marquardt steps on log p(x, z) from the encoder's mean; row by row, only a step
    that climbs is taken, and the damping falls or rises by a factor of ten."""
    start = model.encode(variables, batch, False)[0].mean * factor_mask[None, :]

    def ascend(
        carry: tuple[Array, Array, Array], _: None
    ) -> tuple[tuple[Array, Array, Array], None]:
        mean, height, damping = carry
        precision, gradient = _gauss_newton(model, variables, batch, mean, factor_mask)
        damped = precision + damping[:, None, None] * jnp.eye(mean.shape[-1])[None]
        proposal = mean + jnp.linalg.solve(damped, gradient[..., None])[..., 0]
        proposal_height = _log_joint(model, variables, batch, proposal, factor_mask)
        climbs = proposal_height > height
        mean = jnp.where(climbs[:, None], proposal, mean)
        height = jnp.where(climbs, proposal_height, height)
        return (mean, height, damping * jnp.where(climbs, 0.1, 10.0)), None

    height = _log_joint(model, variables, batch, start, factor_mask)
    damping = jnp.full_like(height, 0.01)
    (mean, _, _), _ = jax.lax.scan(ascend, (start, height, damping), None, length=NEWTON_STEPS)
    precision, _ = _gauss_newton(model, variables, batch, mean, factor_mask)
    return Mode(mean, jnp.linalg.cholesky(precision))


def decoder_jacobian(
    model: Model, variables: Variables, batch: Batch, factors: Float[Array, "row factor"]
) -> Float[Array, "factor row asset"]:
    """∂E[x | z]/∂z of each row at its own factors."""

    def mean(factors: Float[Array, "row factor"]) -> Float[Array, "row asset"]:
        return model.decode(variables, factors, batch, False)[0].mean

    def along(direction: Float[Array, " factor"]) -> Float[Array, "row asset"]:
        tangent = jnp.broadcast_to(direction[None, :], factors.shape)
        return jax.jvp(mean, (factors,), (tangent,))[1]

    return jax.vmap(along)(jnp.eye(factors.shape[-1], dtype=factors.dtype))


def _gauss_newton(
    model: Model,
    variables: Variables,
    batch: Batch,
    factors: Float[Array, "row factor"],
    factor_mask: Float[Array, " factor"],
) -> tuple[Float[Array, "row factor factor"], Float[Array, "row factor"]]:
    """P + JᵀΨ⁻¹J and the gradient of log p(x, z), with J and Ψ taken as constant around z."""
    masked = factors * factor_mask[None, :]
    observation, _ = model.decode(variables, masked, batch, False)
    prior = model.prior(variables, masked, batch)
    jacobian = decoder_jacobian(model, variables, batch, masked) * factor_mask[:, None, None]
    weights = batch.observed * jnp.exp(-observation.log_variance)
    prior_precision = jnp.exp(-prior.log_variance)
    curvature = jnp.einsum("kra,ra,lra->rkl", jacobian, weights, jacobian)
    precision = curvature + prior_precision[..., None] * jnp.eye(factors.shape[-1])[None]
    slope = jnp.einsum("kra,ra->rk", jacobian, weights * (batch.values - observation.mean))
    return precision, slope - prior_precision * (factors - prior.mean)


def _log_joint(
    model: Model,
    variables: Variables,
    batch: Batch,
    factors: Float[Array, "row factor"],
    factor_mask: Float[Array, " factor"],
) -> Float[Array, " row"]:
    masked = factors * factor_mask[None, :]
    observation, _ = model.decode(variables, masked, batch, False)
    log_prior = jnp.sum(log_density(model.prior(variables, masked, batch), factors), axis=-1)
    return log_prior + observed_log_density(observation, batch.values, batch.observed)


def _draw(
    key: Key[Array, ""],
    mode: Mode,
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
) -> Float[Array, "sample row factor"]:
    counts = _stratum_sizes(n_samples)
    noise = jax.random.normal(key, (n_samples, *mode.mean.shape))
    whitened = jax.scipy.linalg.solve_triangular(
        jnp.broadcast_to(mode.cholesky[None], (n_samples, *mode.cholesky.shape)),
        noise[..., None],
        trans=1,
        lower=True,
    )[..., 0]
    prior = model.prior(variables, mode.mean, batch)
    around = [mode.mean[None] + spread * whitened for spread in SPREADS]
    components = [*around, prior.mean[None] + jnp.exp(0.5 * prior.log_variance)[None] * noise]
    ends = [sum(counts[: index + 1]) for index in range(len(counts))]
    strata = [c[e - n : e] for c, e, n in zip(components, ends, counts, strict=True)]
    return jnp.concatenate(strata)


def _stratum_sizes(n_samples: int) -> tuple[int, ...]:
    """Whole numbers of samples by component, the first taking what rounding leaves."""
    rest = [max(1, round(share * n_samples)) for share in SHARES[1:]]
    return (n_samples - sum(rest), *rest)


def _log_mixture(
    mode: Mode,
    factors: Float[Array, "row factor"],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
) -> Float[Array, " row"]:
    """log density of the mixture in the shares that the samples were really drawn in."""
    n_factors = factors.shape[-1]
    offset = jnp.einsum("rji,rj->ri", mode.cholesky, factors - mode.mean)
    distance = jnp.sum(offset * offset, axis=-1)
    log_root = jnp.sum(jnp.log(jnp.diagonal(mode.cholesky, axis1=-2, axis2=-1)), axis=-1)
    log_prior = jnp.sum(log_density(model.prior(variables, factors, batch), factors), axis=-1)
    parts = [
        log_root - 0.5 * (n_factors * LOG_2PI + distance / spread**2) - n_factors * jnp.log(spread)
        for spread in SPREADS
    ]
    shares = jnp.log(jnp.asarray(_stratum_sizes(n_samples)) / n_samples)[:, None]
    return jax.nn.logsumexp(jnp.stack([*parts, log_prior]) + shares, axis=0)
