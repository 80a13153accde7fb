"""What importance samples of each row's p(z | x) are drawn from: the prior and normal components.

A proposal has components around the modes that were found, of the curvature there and twice as
wide, and a defensive one, the prior itself, which bounds the weights (Hesterberg 1995).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxvae.inference.joint import Joint
from jaxvae.inference.modes import Modes
from jaxvae.models.cholesky import inverse_lower
from jaxvae.models.distributions import LOG_2PI

# Of the draws, .15 from the prior, .3 from N(mode, C) of either mode, .125 from N(mode, 4C).
STRATA = (0.15, 0.3, 0.3, 0.125, 0.125)
SPREADS = (1.0, 2.0)


class Proposal(NamedTuple):
    """A mixture for each row, of the prior and normal components.

    mean, cholesky: of each normal component, by the factor L of its precision LLᵀ. root: L⁻¹.
    log_share: logarithm of the share of the draws that comes from each component, the prior first.
    """

    mean: Float[Array, "normal row factor"]
    cholesky: Float[Array, "normal row factor factor"]
    root: Float[Array, "normal row factor factor"]
    log_share: Float[Array, " component"]


def propose(modes: Modes, n_draws: int) -> Proposal:
    """The proposal around each row's modes, for draws from the components in `strata`."""
    mean = jnp.concatenate([modes.mean for _ in SPREADS])
    factor = jnp.concatenate([modes.cholesky / spread for spread in SPREADS])
    shares = log_shares(strata(n_draws), len(STRATA))
    return Proposal(mean, factor, inverse_lower(factor), shares)


def strata(n_draws: int) -> Int[np.ndarray, " draw"]:
    """The component of each draw, in whole numbers nearest to the shares (largest remainders)."""
    quotas = np.array(STRATA) * n_draws
    counts = np.floor(quotas).astype(int)
    # Rounded, so that rounding does not choose between remainders that are equal.
    order = np.argsort(-np.round(quotas - counts, 9), kind="stable")
    counts[order[: n_draws - counts.sum()]] += 1
    return np.repeat(np.arange(len(counts)), counts)


def log_shares(
    components: Int[np.ndarray, " draw"], n_components: int
) -> Float[Array, " component"]:
    """The shares that draws were really made in, not those that were wanted: -∞ for none."""
    counts = np.bincount(components, minlength=n_components)
    return jnp.log(jnp.asarray(counts / len(components), jnp.float32))


def draw(
    key: Key[Array, ""], joint: Joint, proposal: Proposal, component: Int[Array, ""]
) -> Float[Array, "row factor"]:
    """A draw of each row from one component; 0 for a factor that is not in use."""

    def from_the_prior() -> Float[Array, "row factor"]:
        return joint.prior(proposal.mean[0]).sample(key)

    def from_a_normal() -> Float[Array, "row factor"]:
        place = jnp.maximum(component - 1, 0)
        noise = jax.random.normal(key, proposal.mean.shape[1:], proposal.mean.dtype)
        # L⁻ᵀε has the covariance (LLᵀ)⁻¹.
        return proposal.mean[place] + jnp.einsum("rji,rj->ri", proposal.root[place], noise)

    factors = jax.lax.cond(component == 0, from_the_prior, from_a_normal)
    return factors * joint.used(factors)


def log_mixture(
    joint: Joint, proposal: Proposal, factors: Float[Array, "row factor"]
) -> Float[Array, " row"]:
    """log density of the whole mixture over the factors in use: a draw is weighed against it
    whichever component it came from (Veach & Guibas 1995)."""
    used = joint.used(factors)
    residual = used[None] * (factors[None] - proposal.mean)
    offset = jnp.sum(proposal.cholesky * residual[..., None], axis=-2)
    diagonal = jnp.diagonal(proposal.cholesky, axis1=-2, axis2=-1)
    # A factor that is not in use has a precision of its own, and no part in the density.
    terms = used[None] * (jnp.log(diagonal) - 0.5 * LOG_2PI)
    normal = jnp.sum(terms - 0.5 * offset * offset, axis=-1)
    log_prior = joint.prior(factors).log_prob(factors, used)
    parts = jnp.concatenate([log_prior[None], normal])
    return jax.nn.logsumexp(parts + proposal.log_share[:, None], axis=0)


def weighted_draw(
    key: Key[Array, ""], joint: Joint, proposal: Proposal, component: Int[Array, ""]
) -> tuple[Float[Array, "row factor"], Float[Array, " row"]]:
    """`draw`, and the log of p(x, z)/q(z) of each row, q the whole mixture."""
    factors = draw(key, joint, proposal, component)
    return factors, joint.log_prob(factors) - log_mixture(joint, proposal, factors)
