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

from jaxvae.models.base import Batch, Model, Variables, factors_used
from jaxvae.objective import (
    LOG_2PI,
    Bound,
    importance_weighted_bound,
    log_density,
    precision,
    sample,
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
    n_samples: int,
) -> Bound:
    """Each row's log p(x) over its observed cells, in nats, from `n_samples` importance samples.

    The mixture is stratified: every component gives its share of the samples, and every sample is
    weighed against the whole mixture. The standard error ignores the strata and so errs upward.
    """
    mode = posterior_mode(model, variables, batch)
    draws = _draw(key, mode, model, variables, batch, n_samples)

    def log_weight(factors: Float[Array, "row factor"]) -> Float[Array, " row"]:
        joint = _log_joint(model, variables, batch, factors)
        return joint - _log_mixture(mode, factors, model, variables, batch, n_samples)

    return importance_weighted_bound(jax.lax.map(log_weight, draws))


def posterior_mode(model: Model, variables: Variables, batch: Batch) -> Mode:
    """Levenberg-Marquardt steps on log p(x, z) from the encoder's mean; row by row, only a step
    that climbs is taken, and the damping falls or rises by a factor of ten."""
    start = model.encode(variables, batch, False)[0].mean

    def climb(factors: Float[Array, "row factor"]) -> Float[Array, "row factor"]:
        return jax.grad(lambda at: jnp.sum(_log_joint(model, variables, batch, at)))(factors)

    def ascend(
        carry: tuple[Array, Array, Array], _: None
    ) -> tuple[tuple[Array, Array, Array], None]:
        mean, height, damping = carry
        curvature = _gauss_newton(model, variables, batch, mean)
        damped = curvature + damping[:, None, None] * jnp.eye(mean.shape[-1])[None]
        gradient = climb(mean)
        proposal = mean + jnp.linalg.solve(damped, gradient[..., None])[..., 0]
        proposal_height = _log_joint(model, variables, batch, proposal)
        climbs = proposal_height > height
        mean = jnp.where(climbs[:, None], proposal, mean)
        height = jnp.where(climbs, proposal_height, height)
        return (mean, height, damping * jnp.where(climbs, 0.1, 10.0)), None

    height = _log_joint(model, variables, batch, start)
    damping = jnp.full_like(height, 0.01)
    (mean, _, _), _ = jax.lax.scan(ascend, (start, height, damping), None, length=NEWTON_STEPS)
    return Mode(mean, jnp.linalg.cholesky(_gauss_newton(model, variables, batch, mean)))


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
    model: Model, variables: Variables, batch: Batch, factors: Float[Array, "row factor"]
) -> Float[Array, "row factor factor"]:
    """P + JᵀΨ⁻¹J, the curvature of -log p(x, z) with J, Ψ and P taken as constant around z; 1 on
    the diagonal of a factor that is not in use."""
    observation, _ = model.decode(variables, factors, batch, False)
    jacobian = decoder_jacobian(model, variables, batch, factors)
    weights = batch.observed * precision(observation, batch.values, batch.observed)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    diagonal = jnp.where(used > 0.0, precision(prior, factors, used), 1.0)
    curvature = jnp.einsum("kra,ra,lra->rkl", jacobian, weights, jacobian)
    return curvature + diagonal[..., None] * jnp.eye(factors.shape[-1])[None]


def _log_joint(
    model: Model, variables: Variables, batch: Batch, factors: Float[Array, "row factor"]
) -> Float[Array, " row"]:
    """log p(x, z) over the factors in use."""
    observation, _ = model.decode(variables, factors, batch, False)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    log_prior = log_density(prior, factors, used)
    return log_prior + log_density(observation, batch.values, batch.observed)


def _draw(
    key: Key[Array, ""],
    mode: Mode,
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
) -> Float[Array, "sample row factor"]:
    """Draws from the mixture, component after component; 0 for a factor that is not in use."""
    counts = _stratum_sizes(n_samples)
    key_mode, key_prior = jax.random.split(key)
    noise = jax.random.normal(key_mode, (n_samples - counts[-1], *mode.mean.shape))
    identity = jnp.broadcast_to(jnp.eye(mode.mean.shape[-1]), mode.cholesky.shape)
    root = jax.scipy.linalg.solve_triangular(mode.cholesky, identity, lower=True)
    whitened = jnp.einsum("rji,srj->sri", root, noise)
    spreads = jnp.repeat(
        jnp.asarray(SPREADS), jnp.asarray(counts[:-1]), total_repeat_length=len(noise)
    )
    around = mode.mean[None] + spreads[:, None, None] * whitened
    prior = model.prior(variables, mode.mean, batch)
    keys = jax.random.split(key_prior, counts[-1])
    draws = jnp.concatenate([around, jax.vmap(lambda key: sample(key, prior))(keys)])
    return draws * factors_used(variables, draws)


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
    """log density, over the factors in use, of the mixture in the shares that the samples were
    really drawn in."""
    used = factors_used(variables, factors)
    n_used = jnp.sum(used, axis=-1)
    offset = jnp.einsum("rji,rj->ri", mode.cholesky, used * (factors - mode.mean))
    distance = jnp.sum(offset * offset, axis=-1)
    log_root = jnp.sum(jnp.log(jnp.diagonal(mode.cholesky, axis1=-2, axis2=-1)), axis=-1)
    log_prior = log_density(model.prior(variables, factors, batch), factors, used)
    parts = [
        log_root - 0.5 * (n_used * LOG_2PI + distance / spread**2) - n_used * jnp.log(spread)
        for spread in SPREADS
    ]
    shares = jnp.log(jnp.asarray(_stratum_sizes(n_samples)) / n_samples)[:, None]
    return jax.nn.logsumexp(jnp.stack([*parts, log_prior]) + shares, axis=0)
