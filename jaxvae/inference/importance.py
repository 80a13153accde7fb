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

from jaxvae.models.cholesky import cholesky, inverse_lower, solve
from jaxvae.models.distributions import LOG_2PI
from jaxvae.models.model import Batch, Model, Variables, factors_used
from jaxvae.training.objective import LikelihoodEstimate, importance_weighted_bound

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
) -> LikelihoodEstimate:
    """Each row's log p(x) over its observed cells, in nats, from `n_samples` importance samples.

    The mixture is stratified: every component gives its share of the samples, and every sample is
    weighed against the whole mixture. The standard error ignores the strata and so errs upward.
    Samples are drawn and weighed one at a time, so that memory does not grow with their number but
    for one weight a row and sample. Of a model that knows its likelihood no sample is drawn: the
    error is 0, every sample effective.

    Args:
        key: Of the draws.
        model: With `variables`, one member.
        variables: Of the member.
        batch: Rows in standard units.
        n_samples: Importance samples a row.
    """
    if model.log_likelihood is not None:
        value = model.log_likelihood(variables, batch)
        return LikelihoodEstimate(value, jnp.zeros_like(value), jnp.full_like(value, n_samples))
    weights = _each_draw(key, model, variables, batch, n_samples, lambda factors, weight: weight)
    return importance_weighted_bound(weights)


def posterior_draws(
    key: Key[Array, ""], model: Model, variables: Variables, batch: Batch, n_samples: int
) -> Draws:
    """The draws of `log_likelihood`, kept: weighted ones from each row's p(z | x)."""
    return _each_draw(key, model, variables, batch, n_samples, Draws)


def _each_draw(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
    keep: Callable[[Array, Array], Any],
) -> Any:
    """What `keep` makes of every draw and its log weight, one at a time, stacked."""
    proposal = _propose(model, variables, batch, n_samples)
    of_mode, spreads, n_prior = _strata(n_samples)
    keys = jax.random.split(key, n_samples)
    near = (keys[n_prior:], jnp.asarray(of_mode), jnp.asarray(spreads, jnp.float32))

    def kept(factors: Float[Array, "row factor"]) -> Any:
        return keep(factors, proposal.log_weight(factors))

    parts = (
        jax.lax.map(lambda draw: kept(proposal.around_a_mode(*draw)), near),
        jax.lax.map(lambda key: kept(proposal.from_the_prior(key)), keys[:n_prior]),
    )
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def posterior_mean_of_returns(
    key: Key[Array, ""], model: Model, variables: Variables, batch: Batch, n_samples: int
) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
    """E[E[x | z] | x_o] of each row, z given its observed cells, and its log p(x_o), nats.

    Self-normalised importance sampling with the draws of `log_likelihood`, made one after the
    other: Σ w g(z)/Σ w. With a decoder whose cells are uncorrelated given z this is E[x | x_o] for
    the cells that are missing.
    """
    proposal = _propose(model, variables, batch, n_samples)
    of_mode, spreads, n_prior = _strata(n_samples)
    keys = jax.random.split(key, n_samples)
    near = (keys[n_prior:], jnp.asarray(of_mode), jnp.asarray(spreads, jnp.float32))

    def add(carry: tuple[Array, Array, Array], factors: Array) -> tuple[Array, Array, Array]:
        top, total, sums = carry
        log_weight = proposal.log_weight(factors)
        highest = jnp.maximum(top, log_weight)
        old, new = jnp.exp(top - highest), jnp.exp(log_weight - highest)
        mean = model.decode(variables, factors, batch, False)[0].mean
        return highest, old * total + new, old[:, None] * sums + new[:, None] * mean

    n_rows = batch.values.shape[0]
    carry = (jnp.full(n_rows, -jnp.inf), jnp.zeros(n_rows), jnp.zeros_like(batch.values))
    carry, _ = jax.lax.scan(
        lambda carry, draw: (add(carry, proposal.around_a_mode(*draw)), None), carry, near
    )
    carry, _ = jax.lax.scan(
        lambda carry, key: (add(carry, proposal.from_the_prior(key)), None), carry, keys[:n_prior]
    )
    top, total, sums = carry
    return sums / total[:, None], top + jnp.log(total / n_samples)


class _Proposal(NamedTuple):
    """The draws of z, and the importance weight of one: log p(x, z) less the mixture's density."""

    around_a_mode: Callable[[Key[Array, ""], Array, Array], Float[Array, "row factor"]]
    from_the_prior: Callable[[Key[Array, ""]], Float[Array, "row factor"]]
    log_weight: Callable[[Float[Array, "row factor"]], Float[Array, " row"]]


def _propose(model: Model, variables: Variables, batch: Batch, n_samples: int) -> _Proposal:
    modes = posterior_modes(model, variables, batch)
    roots = inverse_lower(modes.cholesky)
    prior = model.prior(variables, modes.mean[0], batch)

    def in_use(factors: Float[Array, "row factor"]) -> Float[Array, "row factor"]:
        return factors * factors_used(variables, factors)

    def log_weight(factors: Float[Array, "row factor"]) -> Float[Array, " row"]:
        joint = _log_joint(model, variables, batch, factors)
        return joint - _log_mixture(modes, factors, model, variables, batch, n_samples)

    def around_a_mode(key: Key[Array, ""], mode: Array, spread: Array) -> Array:
        noise = jax.random.normal(key, modes.mean.shape[1:], modes.mean.dtype)
        moved = spread * jnp.einsum("rji,rj->ri", roots[mode], noise)
        return in_use(modes.mean[mode] + moved)

    def from_the_prior(key: Key[Array, ""]) -> Array:
        return in_use(prior.sample(key))

    return _Proposal(around_a_mode, from_the_prior, log_weight)


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
        damped = (
            curvature + damping[:, None, None] * jnp.eye(mean.shape[-1], dtype=mean.dtype)[None]
        )
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
        observation = model.decode(variables, factors, batch, False)[0]
        return observation.mean, observation.log_squared_scale

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
    weights = batch.observed * observation.precision(batch.values, batch.observed)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    diagonal = jnp.where(used > 0.0, prior.precision(factors, used), 1.0)
    curvature = jnp.einsum("kra,ra,lra->rkl", jacobian, weights, jacobian)
    information = batch.observed * observation.scale_information
    curvature += jnp.einsum("kra,ra,lra->rkl", scale_jacobian, information, scale_jacobian)
    return curvature + diagonal[..., None] * jnp.eye(factors.shape[-1], dtype=factors.dtype)[None]


def _log_joint(
    model: Model, variables: Variables, batch: Batch, factors: Float[Array, "row factor"]
) -> Float[Array, " row"]:
    """log p(x, z) over the factors in use."""
    observation, _ = model.decode(variables, factors, batch, False)
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    log_prior = prior.log_prob(factors, used)
    return log_prior + observation.log_prob(batch.values, batch.observed)


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
    log_prior = model.prior(variables, factors, batch).log_prob(factors, used)
    parts = [
        log_root - 0.5 * (n_used * LOG_2PI + distance / spread**2) - n_used * jnp.log(spread)
        for spread in SPREADS
    ]
    shares = jnp.log(jnp.asarray(_stratum_sizes(n_samples)) / n_samples)[:, None]
    return jax.nn.logsumexp(jnp.concatenate([*parts, log_prior[None]]) + shares, axis=0)
