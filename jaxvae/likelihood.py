"""Held-out log p(x) of a fitted model, by importance sampling.

An encoder is a poor proposal: trained at β its variance is about β times the posterior's, and below
β ≈ ½ the weights' variance is infinite. So the encoder's mean is only where a few damped
Gauss-Newton steps on log p(x, z) start. A decoder that bends can have a second mode, about where a
factor changes its sign: the best of these is climbed too. The proposal for z is a mixture around
the two modes, with the Gauss-Newton covariance C = (P + JᵀΨ⁻¹J)⁻¹ (J the decoder's Jacobian, Ψ its
noise, P the prior's precision), and a defensive part that is the prior itself, which bounds the
weights (Hesterberg 1995). With a linear decoder N(mode, C) is the exact posterior.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.cholesky import cholesky, inverse_lower, solve
from jaxvae.densities import LOG_2PI, log_density, precision, sample, scale_information
from jaxvae.models.base import Batch, Model, Variables, factors_used
from jaxvae.objective import Bound, importance_weighted_bound

NEWTON_STEPS = 6
# Share of the samples from N(mode, C), from N(mode, 4C), half from either mode, and from the prior.
SHARES = (0.6, 0.25, 0.15)
SPREADS = (1.0, 2.0)
MODES = 2


class Modes(NamedTuple):
    """A Gaussian around each of two modes of a row's posterior, by mean and the Cholesky factor L
    of its precision, LLᵀ = P + JᵀΨ⁻¹J. The two may be the same."""

    mean: Float[Array, "mode row factor"]
    cholesky: Float[Array, "mode row factor factor"]


class Draws(NamedTuple):
    """Importance samples of a posterior: factors, and the log of p(x, z)/q(z) of each, nats."""

    factors: Float[Array, "sample row factor"]
    log_weights: Float[Array, "sample row"]


def log_likelihood(
    key: Key[Array, ""], model: Model, variables: Variables, batch: Batch, n_samples: int
) -> Bound:
    """Each row's log p(x) over its observed cells, in nats, from `n_samples` importance samples.

    The mixture is stratified: every component gives its share of the samples, and every sample is
    weighed against the whole mixture. The standard error ignores the strata and so errs upward.
    Samples are drawn and weighed one at a time, so that memory does not grow with their number but
    for one weight a row and sample. Of a model that knows its likelihood no sample is drawn: the
    error is 0, every sample effective.
    """
    if model.exact is not None:
        value = model.exact(variables, batch).log_likelihood
        return Bound(value, jnp.zeros_like(value), jnp.full_like(value, n_samples))
    each = _each_sample(key, model, variables, batch, n_samples)
    return importance_weighted_bound(each(lambda factors, log_weight: log_weight))


def posterior_draws(
    key: Key[Array, ""], model: Model, variables: Variables, batch: Batch, n_samples: int
) -> Draws:
    """The samples of `log_likelihood`, kept: weighted draws from each row's p(z | x)."""
    return _each_sample(key, model, variables, batch, n_samples)(Draws)


def _each_sample(
    key: Key[Array, ""], model: Model, variables: Variables, batch: Batch, n_samples: int
) -> Callable[[Callable[[Array, Array], Any]], Any]:
    """A function that maps another one over the samples, one (factors, log weight) at a time."""
    modes = posterior_modes(model, variables, batch)
    roots = inverse_lower(modes.cholesky)
    prior = model.prior(variables, modes.mean[0], batch)
    of_mode, spreads, n_prior = _strata(n_samples)
    keys = jax.random.split(key, n_samples)
    near = (keys[n_prior:], jnp.asarray(of_mode), jnp.asarray(spreads, jnp.float32))

    def each(keep: Callable[[Array, Array], Any]) -> Any:
        def weighed(factors: Float[Array, "row factor"]) -> Any:
            factors = factors * factors_used(variables, factors)
            joint = _log_joint(model, variables, batch, factors)
            mixture = _log_mixture(modes, factors, model, variables, batch, n_samples)
            return keep(factors, joint - mixture)

        def around_a_mode(draw: tuple[Key[Array, ""], Array, Array]) -> Any:
            key, mode, spread = draw
            noise = jax.random.normal(key, modes.mean.shape[1:])
            moved = jnp.einsum("rji,rj->ri", roots[mode], noise)
            return weighed(modes.mean[mode] + spread * moved)

        def from_the_prior(key: Key[Array, ""]) -> Any:
            return weighed(sample(key, prior))

        parts = (jax.lax.map(around_a_mode, near), jax.lax.map(from_the_prior, keys[:n_prior]))
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)

    return each


def posterior_modes(model: Model, variables: Variables, batch: Batch) -> Modes:
    """Two modes of log p(x, z) in each row, or the same one twice.

    The first is climbed to from the encoder's mean, the second from the first's best mirror image.
    """

    def climb_and_mirror(
        start: Float[Array, "row factor"], _: None
    ) -> tuple[Float[Array, "row factor"], Float[Array, "row factor"]]:
        mode, _height = _climb(model, variables, batch, start, NEWTON_STEPS)
        return _best_mirror(model, variables, batch, mode), mode

    start = model.encode(variables, batch, False)[0].mean
    _, modes = jax.lax.scan(climb_and_mirror, start, None, length=MODES)
    precisions = jax.lax.map(lambda mode: _gauss_newton(model, variables, batch, mode), modes)
    return Modes(modes, cholesky(precisions))


def _best_mirror(
    model: Model, variables: Variables, batch: Batch, mode: Float[Array, "row factor"]
) -> Float[Array, "row factor"]:
    """Each factor in turn changes its sign and the others get one step to adjust; the highest."""
    signs = 1.0 - 2.0 * jnp.eye(model.n_factors, dtype=mode.dtype)

    def adjusted(sign: Float[Array, " factor"]) -> tuple[Array, Array]:
        return _climb(model, variables, batch, mode * sign[None, :], 1)

    mirrored, heights = jax.lax.map(adjusted, signs)
    highest = jnp.argmax(heights, axis=0)
    return jnp.take_along_axis(mirrored, highest[None, :, None], axis=0)[0]


def _climb(
    model: Model,
    variables: Variables,
    batch: Batch,
    start: Float[Array, "row factor"],
    n_steps: int,
) -> tuple[Float[Array, "row factor"], Float[Array, " row"]]:
    """Levenberg-Marquardt steps on log p(x, z), and the height reached; row by row, only a step
    that climbs is taken, and the damping falls or rises by a factor of ten."""

    def slope(factors: Float[Array, "row factor"]) -> Float[Array, "row factor"]:
        return jax.grad(lambda at: jnp.sum(_log_joint(model, variables, batch, at)))(factors)

    def ascend(
        carry: tuple[Array, Array, Array], _: None
    ) -> tuple[tuple[Array, Array, Array], None]:
        mean, height, damping = carry
        curvature = _gauss_newton(model, variables, batch, mean)
        damped = curvature + damping[:, None, None] * jnp.eye(mean.shape[-1])[None]
        proposal = mean + solve(damped, slope(mean))
        proposal_height = _log_joint(model, variables, batch, proposal)
        climbs = proposal_height > height
        mean = jnp.where(climbs[:, None], proposal, mean)
        height = jnp.where(climbs, proposal_height, height)
        return (mean, height, damping * jnp.where(climbs, 0.1, 10.0)), None

    height = _log_joint(model, variables, batch, start)
    damping = jnp.full_like(height, 0.01)
    (mean, height, _), _ = jax.lax.scan(ascend, (start, height, damping), None, length=n_steps)
    return mean, height


def decoder_jacobians(
    model: Model, variables: Variables, batch: Batch, factors: Float[Array, "row factor"]
) -> tuple[Float[Array, "factor row asset"], Float[Array, "factor row asset"]]:
    """Derivatives in z of E[x | z] and of the log of its squared scale, of each row at its own
    factors."""

    def decode(factors: Float[Array, "row factor"]) -> tuple[Array, Array]:
        mean, log_scale, *_ = model.decode(variables, factors, batch, False)[0]
        return mean, log_scale

    def along(direction: Float[Array, " factor"]) -> tuple[Array, Array]:
        tangent = jnp.broadcast_to(direction[None, :], factors.shape)
        return jax.jvp(decode, (factors,), (tangent,))[1]

    return jax.vmap(along)(jnp.eye(factors.shape[-1], dtype=factors.dtype))


def _gauss_newton(
    model: Model, variables: Variables, batch: Batch, factors: Float[Array, "row factor"]
) -> Float[Array, "row factor factor"]:
    """P + JᵀΨ⁻¹J, the curvature of -log p(x, z) with J, Ψ and P taken as constant around z; 1 on
    the diagonal of a factor that is not in use."""
    observation, _ = model.decode(variables, factors, batch, False)
    jacobian, scale_jacobian = decoder_jacobians(model, variables, batch, factors)
    weights = batch.observed * precision(observation, batch.values, batch.observed)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    diagonal = jnp.where(used > 0.0, precision(prior, factors, used), 1.0)
    curvature = jnp.einsum("kra,ra,lra->rkl", jacobian, weights, jacobian)
    information = batch.observed * scale_information(observation)
    curvature += jnp.einsum("kra,ra,lra->rkl", scale_jacobian, information, scale_jacobian)
    return curvature + diagonal[..., None] * jnp.eye(factors.shape[-1])[None]


def _log_joint(
    model: Model, variables: Variables, batch: Batch, factors: Float[Array, "row factor"]
) -> Float[Array, " row"]:
    """log p(x, z) over the factors in use."""
    observation, _ = model.decode(variables, factors, batch, False)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    log_prior = log_density(prior, factors, used)
    return log_prior + log_density(observation, batch.values, batch.observed)


def _strata(n_samples: int) -> tuple[list[int], list[float], int]:
    """Mode and spread of each sample that is drawn around one, and how many come from the prior."""
    counts = _stratum_sizes(n_samples)
    parts = [(mode, spread) for spread in SPREADS for mode in range(MODES)]
    of_mode = [mode for (mode, _), n in zip(parts, counts, strict=False) for _ in range(n)]
    spreads = [spread for (_, spread), n in zip(parts, counts, strict=False) for _ in range(n)]
    return of_mode, spreads, counts[-1]


def _stratum_sizes(n_samples: int) -> tuple[int, ...]:
    """Whole numbers of samples: by spread and mode, then the prior's; at least one each, the first
    taking what rounding leaves."""
    shares = [share / MODES for share in SHARES[:-1] for _ in range(MODES)] + [SHARES[-1]]
    rest = [max(1, round(share * n_samples)) for share in shares[1:]]
    return (n_samples - sum(rest), *rest)


def _log_mixture(
    modes: Modes,
    factors: Float[Array, "row factor"],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
) -> Float[Array, " row"]:
    """log density, over the factors in use, of the mixture in the shares that the samples were
    really drawn in."""
    used = factors_used(variables, factors)
    n_used = jnp.sum(used, axis=-1)[None]
    offset = jnp.einsum("mrji,mrj->mri", modes.cholesky, used[None] * (factors[None] - modes.mean))
    distance = jnp.sum(offset * offset, axis=-1)
    log_root = jnp.sum(jnp.log(jnp.diagonal(modes.cholesky, axis1=-2, axis2=-1)), axis=-1)
    log_prior = log_density(model.prior(variables, factors, batch), factors, used)
    parts = [
        log_root - 0.5 * (n_used * LOG_2PI + distance / spread**2) - n_used * jnp.log(spread)
        for spread in SPREADS
    ]
    shares = jnp.log(jnp.asarray(_stratum_sizes(n_samples)) / n_samples)[:, None]
    return jax.nn.logsumexp(jnp.concatenate([*parts, log_prior[None]]) + shares, axis=0)
