"""Modes of each row's posterior p(z | x), and the curvature of its logarithm there."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxvae.inference.joint import Joint
from jaxvae.models.cholesky import cholesky, solve
from jaxvae.models.model import Batch, Model, Variables

N_MODES = 2
STEPS = 6
# Where each factor is tried for another mode: in standard deviations of its prior around its mean,
# further out where the mode found already lies far out.
PLACES = (-4.5, -2.8, -1.6, -0.6, 0.6, 1.6, 2.8, 4.5)
# So many of the best places get a step of their own before one of them is chosen.
SHORTLIST = 4
# What comes to lie within so many standard deviations of a mode has fallen back to it.
FLANK = 3.0
FIRST_DAMPING = 0.01
# The Hessian serves where no pivot of it falls below this share of the Gauss-Newton one's.
LEAST_PIVOT = 0.1


class Modes(NamedTuple):
    """A Gaussian around each of two modes of a row's posterior, by mean and the Cholesky factor L
    of its precision LLᵀ. The two may be the same."""

    mean: Float[Array, "mode row factor"]
    cholesky: Float[Array, "mode row factor factor"]


def posterior_modes(model: Model, variables: Variables, batch: Batch) -> Modes:
    """Two modes of log p(x, z) in each row, or the same one twice.

    The first is climbed to from the encoder's mean, the second from another basin, where
    `_another_basin` finds one.
    """

    def find(
        start: Float[Array, "row factor"], number: Int[Array, ""]
    ) -> tuple[Float[Array, "row factor"], Float[Array, "row factor"]]:
        mode, _ = climb(joint, start, STEPS)
        # In a loop, so that one program serves both climbs; nothing is looked for after the last.
        start = jax.lax.cond(
            number < N_MODES - 1,
            lambda: _another_basin(joint, mode),
            lambda: mode,
        )
        return start, mode

    joint = Joint(model, variables, batch)
    start = model.encode(variables, batch, False)[0].mean
    _, means = jax.lax.scan(find, start, jnp.arange(N_MODES))
    roots = jax.lax.map(lambda mean: curvature_root(joint, mean), means)
    return Modes(means, roots)


def climb(
    joint: Joint, start: Float[Array, "row factor"], n_steps: int
) -> tuple[Float[Array, "row factor"], Float[Array, " row"]]:
    """Levenberg-Marquardt steps on log p(x, z), and the height reached.

    Row by row, only a step that climbs is taken, and the damping, a share of the curvature's
    diagonal (Marquardt 1963), falls or rises by a factor of ten.
    """

    def ascend(
        carry: tuple[Array, Array, Array], _: None
    ) -> tuple[tuple[Array, Array, Array], None]:
        mean, height, damping = carry
        curvature = gauss_newton(joint, mean)
        ridge = damping[:, None] * jnp.diagonal(curvature, axis1=-2, axis2=-1)
        damped = curvature + ridge[..., None] * jnp.eye(mean.shape[-1], dtype=mean.dtype)[None]
        proposal = mean + solve(damped, joint.slope(mean))
        proposal_height = joint.log_prob(proposal)
        climbs = proposal_height > height
        mean = jnp.where(climbs[:, None], proposal, mean)
        height = jnp.where(climbs, proposal_height, height)
        return (mean, height, damping * jnp.where(climbs, 0.1, 10.0)), None

    height = joint.log_prob(start)
    damping = jnp.full_like(height, FIRST_DAMPING)
    (mean, height, _), _ = jax.lax.scan(ascend, (start, height, damping), None, length=n_steps)
    return mean, height


def _another_basin(joint: Joint, mode: Float[Array, "row factor"]) -> Float[Array, "row factor"]:
    """A point from which to climb to a mode other than the one found.

    A curve of one factor can pass near x twice, so each factor in turn is put in its other places
    while the others stay. A place that is higher than those beside it, the mode among them, lies in
    another basin. The highest few get one step, in which the other factors follow: in a narrow
    posterior only then does a good place stand out. The best of them is returned.
    """
    n_factors, n_places = joint.model.n_factors, len(PLACES)
    prior, used = joint.prior(mode), joint.used(mode)
    # The precision at the prior's own centre: heavy tails may have no variance.
    deviation = prior.precision(prior.mean, used) ** -0.5
    reach = used * jnp.maximum(deviation, 0.5 * jnp.abs(mode - prior.mean))
    which = jnp.repeat(jnp.eye(n_factors, dtype=mode.dtype), n_places, axis=0)
    places = jnp.tile(jnp.asarray(PLACES, mode.dtype), n_factors)

    def put(candidates: Int[Array, " one_or_row"]) -> Float[Array, "row factor"]:
        there = used * prior.mean + places[candidates][:, None] * reach
        return mode + which[candidates] * (there - mode)

    def look(candidate: Int[Array, ""]) -> tuple[Array, Array]:
        factors = put(candidate[None])
        return jnp.sum(factors - mode, axis=-1), joint.log_prob(factors)

    moves, heights = (
        part.reshape(n_factors, n_places, -1)
        for part in jax.lax.map(look, jnp.arange(n_factors * n_places))
    )
    edge = jnp.full((n_factors, 1, heights.shape[-1]), -jnp.inf)
    # Between neighbours on either side of the mode stands the mode, which is higher than both.
    apart = jnp.sign(moves[:, 1:]) * jnp.sign(moves[:, :-1]) <= 0.0
    before = jnp.where(apart, jnp.inf, heights[:, :-1])
    after = jnp.where(apart, jnp.inf, heights[:, 1:])
    before, after = jnp.concatenate([edge, before], 1), jnp.concatenate([after, edge], 1)
    listed = jnp.where((heights > before) & (heights > after), heights, -jnp.inf)
    # A single factor has `n_places` candidates, and `top_k` refuses to pick more than there are.
    _, best = jax.lax.top_k(listed.reshape(-1, heights.shape[-1]).T, min(SHORTLIST, n_places))
    moved, heights = jax.lax.map(lambda candidates: climb(joint, put(candidates), 1), best.T)
    gap = moved - mode[None]
    curvature = gauss_newton(joint, mode)
    fell_back = jnp.einsum("crk,rkl,crl->cr", gap, curvature, gap) < FLANK**2
    highest = jnp.argmax(jnp.where(fell_back, -jnp.inf, heights), axis=0)
    return jnp.take_along_axis(moved, highest[None, :, None], axis=0)[0]


def curvature_root(
    joint: Joint, factors: Float[Array, "row factor"]
) -> Float[Array, "row factor factor"]:
    """The Cholesky factor of -∇² log p(x, z) in each row at its own factors.

    Where that is not positive definite by a margin, as away from modes, it is that of the
    Gauss-Newton approximation, which always is.
    """
    approximate = cholesky(gauss_newton(joint, factors))
    exact = cholesky(hessian(joint, factors))
    ratio = jnp.diagonal(exact, axis1=-2, axis2=-1) / jnp.diagonal(approximate, axis1=-2, axis2=-1)
    # Not "any below": a factor of NaN must fail as well.
    serves = jnp.all(ratio > LEAST_PIVOT**0.5, axis=-1)
    return jnp.where(serves[:, None, None], exact, approximate)


def hessian(joint: Joint, factors: Float[Array, "row factor"]) -> Float[Array, "row factor factor"]:
    """-∇² log p(x, z) in z; 1 on the diagonal of a factor that is not in use."""

    def along(direction: Float[Array, " factor"]) -> Float[Array, "row factor"]:
        tangent = jnp.broadcast_to(direction[None, :], factors.shape)
        return jax.jvp(joint.slope, (factors,), (tangent,))[1]

    unit = jnp.eye(factors.shape[-1], dtype=factors.dtype)
    unused = 1.0 - joint.used(factors)
    return unused[..., None] * unit[None] - jnp.swapaxes(jax.vmap(along)(unit), 0, 1)


def gauss_newton(
    joint: Joint, factors: Float[Array, "row factor"]
) -> Float[Array, "row factor factor"]:
    """P + JᵀΨ⁻¹J, the curvature of -log p(x, z) with J, Ψ and P taken as constant around z; 1 on
    the diagonal of a factor that is not in use."""
    observation, batch = joint.observation(factors), joint.batch
    jacobian, scale_jacobian = decoder_jacobians(*joint, factors)
    weights = batch.observed * observation.precision(batch.values, batch.observed)
    prior, used = joint.prior(factors), joint.used(factors)
    diagonal = jnp.where(used > 0.0, prior.precision(factors, used), 1.0)
    curvature = jnp.einsum("kra,ra,lra->rkl", jacobian, weights, jacobian)
    information = batch.observed * observation.scale_information
    curvature += jnp.einsum("kra,ra,lra->rkl", scale_jacobian, information, scale_jacobian)
    return curvature + diagonal[..., None] * jnp.eye(factors.shape[-1], dtype=factors.dtype)[None]


def decoder_jacobians(
    model: Model,
    variables: Variables,
    batch: Batch,
    factors: Float[Array, "row factor"],
) -> tuple[Float[Array, "factor row asset"], Float[Array, "factor row asset"]]:
    """Derivatives in z of E[x | z] and of the log of its squared scale, of each row at its own
    factors."""

    def decode(factors: Float[Array, "row factor"]) -> tuple[Array, Array]:
        observation, _ = model.decode(variables, factors, batch, False)
        return observation.mean, observation.log_squared_scale

    def along(direction: Float[Array, " factor"]) -> tuple[Array, Array]:
        tangent = jnp.broadcast_to(direction[None, :], factors.shape)
        return jax.jvp(decode, (factors,), (tangent,))[1]

    return jax.vmap(along)(jnp.eye(factors.shape[-1], dtype=factors.dtype))
