"""Proposals that are adapted to rows for which the plain one is poor."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxvae.inference.joint import Joint
from jaxvae.inference.modes import climb, curvature_root
from jaxvae.inference.proposal import (
    STRATA,
    Proposal,
    draw,
    log_mixture,
    log_shares,
    strata,
)
from jaxvae.models.cholesky import inverse_lower

# In each round two components are added; so many draws are made in each, and before the first.
_ROUNDS, _ADDED = 6, 2
PER_ROUND = 256
N_COMPONENTS = len(STRATA) + _ROUNDS * _ADDED
STEPS = 2


class _Drawn(NamedTuple):
    """The draws of each round, and log p(x, z) of each; -∞ for a round that is still to come."""

    factors: Float[Array, "round draw row factor"]
    heights: Float[Array, "round draw row"]


def adapted_strata() -> Int[np.ndarray, " draw"]:
    """The component of each draw from a proposal that was `adapted`."""
    added = len(STRATA) + np.arange(_ROUNDS * _ADDED)
    return np.concatenate([strata(PER_ROUND), np.repeat(added, PER_ROUND // _ADDED)])


def adapted(key: Key[Array, ""], joint: Joint, begun: Proposal) -> Proposal:
    """Incremental mixture importance sampling (Raftery & Bao 2010).

    In each round the draw that weighs most, where the mixture is thinnest for what lies there,
    gets a component around it, and the mode above it gets another: the one follows a bent
    posterior along, the other finds a mode that was missed. New draws come from these two, and all
    draws are weighed anew.

    Args:
        key: of the draws.
        joint: of the rows.
        begun: their plain proposal.
    """
    key_first, key_rounds = jax.random.split(key)
    proposal = _with_room(begun)
    fresh = _draw_all(key_first, joint, proposal, strata(PER_ROUND))
    drawn = jax.tree.map(
        lambda leaf: jnp.full((_ROUNDS + 1, *leaf.shape), -jnp.inf, leaf.dtype).at[0].set(leaf),
        fresh,
    )

    def add(
        carry: tuple[Proposal, _Drawn], step: tuple[Key[Array, ""], Int[Array, ""]]
    ) -> tuple[tuple[Proposal, _Drawn], None]:
        (proposal, drawn), (key, number) = carry, step
        first = len(STRATA) + _ADDED * number
        # The components so far; their shares need not add up, since weights only compare.
        there = jnp.arange(N_COMPONENTS) < first
        known = proposal._replace(log_share=jnp.where(there, proposal.log_share, -jnp.inf))
        point = _heaviest(joint, known, drawn)
        proposal = _placed(joint, proposal, point, first)
        components = first + np.repeat(np.arange(_ADDED), PER_ROUND // _ADDED)
        fresh = _draw_all(key, joint, proposal, components)
        drawn = jax.tree.map(lambda leaf, new: leaf.at[number + 1].set(new), drawn, fresh)
        return (proposal, drawn), None

    steps = jax.random.split(key_rounds, _ROUNDS), jnp.arange(_ROUNDS)
    (proposal, _), _ = jax.lax.scan(add, (proposal, drawn), steps)
    return proposal


def _with_room(begun: Proposal) -> Proposal:
    """The proposal with places for the components to come, and the shares that it ends with."""
    _, n_rows, n_factors = begun.mean.shape
    unit = jnp.eye(n_factors, dtype=begun.mean.dtype)
    empty = jnp.broadcast_to(unit, (_ROUNDS * _ADDED, n_rows, n_factors, n_factors))
    return Proposal(
        jnp.concatenate([begun.mean, jnp.zeros_like(empty[..., 0])]),
        jnp.concatenate([begun.cholesky, empty]),
        jnp.concatenate([begun.root, empty]),
        log_shares(adapted_strata(), N_COMPONENTS),
    )


def _heaviest(joint: Joint, proposal: Proposal, drawn: _Drawn) -> Float[Array, "row factor"]:
    """The draw of each row whose weight is largest."""

    def density(factors: Float[Array, "row factor"]) -> Float[Array, " row"]:
        return log_mixture(joint, proposal, factors)

    known = jnp.isfinite(drawn.heights)
    factors = jnp.where(known[..., None], drawn.factors, 0.0)
    densities = jax.lax.map(jax.vmap(density), factors)
    weights = jnp.where(known, drawn.heights - densities, -jnp.inf)
    heaviest = jnp.argmax(weights.reshape(-1, weights.shape[-1]), axis=0)
    flat = factors.reshape(-1, *factors.shape[2:])
    return jnp.take_along_axis(flat, heaviest[None, :, None], axis=0)[0]


def _placed(
    joint: Joint, proposal: Proposal, point: Float[Array, "row factor"], first: Int[Array, ""]
) -> Proposal:
    """The proposal with two more components, around a point and the mode above it, each with the
    curvature there."""
    mode, _ = climb(joint, point, STEPS)
    means = jnp.stack([point, mode])
    factors = jax.lax.map(lambda at: curvature_root(joint, at), means)

    def put(old: Array, new: Array) -> Array:
        # The prior has a share and no mean.
        return jax.lax.dynamic_update_slice_in_dim(old, new, first - 1, 0)

    return proposal._replace(
        mean=put(proposal.mean, means),
        cholesky=put(proposal.cholesky, factors),
        root=put(proposal.root, inverse_lower(factors)),
    )


def _draw_all(
    key: Key[Array, ""],
    joint: Joint,
    proposal: Proposal,
    components: Int[np.ndarray, " draw"] | Int[Array, " draw"],
) -> _Drawn:
    """A round's draws, all at once: rows are few."""

    def one(key: Key[Array, ""], component: Int[Array, ""]) -> tuple[Array, Array]:
        factors = draw(key, joint, proposal, component)
        return factors, joint.log_prob(factors)

    keys = jax.random.split(key, len(components))
    return _Drawn(*jax.vmap(one)(keys, jnp.asarray(components)))
