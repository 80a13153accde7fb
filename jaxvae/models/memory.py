"""What a temporal model knows of the past: a recursion over the returns before a date.

It has no parameters to train, so that it runs over a panel once, before training, and rows stay
dates: minibatches, members and importance samples need not know that there is a past. What is made
of the memory is learned. Averages at fixed speeds with a learned readout are a linear state space
with fixed poles, for volatility Corsi's (2009) heterogeneous autoregression in spirit; beside them
a factor analysis of the recent past follows drifting loadings.

A date's memory holds the dates before it and no other.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxvae.models.cholesky import inverse
from jaxvae.models.model import Recurrence

LEAST_SQUARE, LEAST_NOISE = 1e-3, 0.02
FIRST_COMMUNALITY = 0.25
EM_STEPS = 2


class Speeds(NamedTuple):
    """Dates after which a return weighs half, in each average of the memory.

    squares: of squares and means. base: the place among them of the average that scales returns
    before their products are averaged. products: of these products.
    """

    squares: tuple[float, ...]
    base: int
    products: float


class Memory(NamedTuple):
    """Exponentially weighted averages of returns in standard units, and a factor analysis of them.

    products: of y yᵀ, y the returns over the root of their average square at the base speed.
    loadings, noise: Λ and diag Ψ, with Λᵀ Λ + Ψ close to `products`.
    squares, means: of x² and x, asset by asset.
    """

    products: Float[Array, "*rows asset asset"]
    loadings: Float[Array, "*rows factor asset"]
    noise: Float[Array, "*rows asset"]
    squares: Float[Array, "*rows speed asset"]
    means: Float[Array, "*rows speed asset"]


class Past(NamedTuple):
    """What a row is told of the dates before it: the memory but for its products, and the last
    date's returns."""

    loadings: Float[Array, "*rows factor asset"]
    noise: Float[Array, "*rows asset"]
    squares: Float[Array, "*rows speed asset"]
    means: Float[Array, "*rows speed asset"]
    last: Float[Array, "*rows asset"]


def blank(speeds: Speeds, n_factors: int, n_assets: int) -> Memory:
    """The memory of a panel without a past: what standard units are on average, mean 0, square 1,
    no correlation. A quarter of each variance stands in loadings on cosines over the assets, the
    first of them level, which is where the factor analysis starts to search."""
    places = (np.arange(n_assets) + 0.5) / n_assets
    waves = np.cos(np.pi * np.arange(n_factors)[:, None] * places)
    waves *= np.sqrt(FIRST_COMMUNALITY / (waves**2).sum(axis=0))
    shape = (len(speeds.squares), n_assets)
    return Memory(
        products=jnp.eye(n_assets, dtype=jnp.float32),
        loadings=jnp.asarray(waves, jnp.float32),
        noise=jnp.full(n_assets, 1.0 - FIRST_COMMUNALITY, jnp.float32),
        squares=jnp.ones(shape, jnp.float32),
        means=jnp.zeros(shape, jnp.float32),
    )


def update(memory: Memory, returns: Float[Array, "*rows asset"], speeds: Speeds) -> Memory:
    """The memory once a date's returns are known.

    Averages move by m ← λ m + (1-λ) new, λ = 2^(-1/half-life). The factor analysis takes two steps
    of EM (Rubin & Thayer 1982) from where it stood towards the new products, so that factors keep
    their order and signs from date to date and their loadings drift. A missing return, NaN, leaves
    its asset's averages as they are, and the products with it.
    """
    decay = jnp.asarray(_decay(speeds.squares)[:, None], returns.dtype)
    slow = float(_decay((speeds.products,))[0])
    seen = jnp.isfinite(returns)
    columns, seen_columns = returns[..., None, :], seen[..., None, :]
    base = memory.squares[..., speeds.base, :]
    scaled = returns / jnp.sqrt(jnp.maximum(base, LEAST_SQUARE))
    moved = slow * memory.products
    moved += (1.0 - slow) * scaled[..., :, None] * scaled[..., None, :]
    products = jnp.where(seen[..., :, None] & seen_columns, moved, memory.products)
    loadings, noise = memory.loadings, memory.noise
    for _ in range(EM_STEPS):
        loadings, noise = _em_step(products, loadings, noise)
    return Memory(
        products,
        loadings,
        noise,
        jnp.where(seen_columns, _blend(decay, memory.squares, columns * columns), memory.squares),
        jnp.where(seen_columns, _blend(decay, memory.means, columns), memory.means),
    )


def recurrence(speeds: Speeds, n_factors: int, n_assets: int) -> Recurrence:
    """The memory as what a date is told of those before it: a `Past`, flatten."""

    def start() -> Memory:
        return blank(speeds, n_factors, n_assets)

    def moved(memory: Memory, returns: Float[Array, " asset"]) -> Memory:
        return update(memory, returns, speeds)

    return Recurrence(start, moved, flatten)


def recall(
    values: Float[np.ndarray, "date asset"], past: Recurrence
) -> Float[np.ndarray, "date condition"]:
    """What every date of a panel in standard units is told of the earlier ones, oldest first.

    The first date has a state without a past, and zeros for the last returns, as where one is
    missing.
    """
    return np.asarray(_recall(jnp.asarray(values, jnp.float32), past), np.float64)


@functools.partial(jax.jit, static_argnames="past")
def _recall(values: Float[Array, "date asset"], past: Recurrence) -> Float[Array, "date condition"]:
    def body(state: Any, last: Array) -> tuple[Any, Array]:
        state = past.advance(state, last)
        return state, past.conditions(state, jnp.where(jnp.isfinite(last), last, 0.0))

    first = past.start()
    _, later = jax.lax.scan(body, first, values[:-1])
    return jnp.concatenate([past.conditions(first, jnp.zeros_like(values[0]))[None], later])


def flatten(memory: Memory, last: Float[Array, "*rows asset"]) -> Float[Array, "*rows condition"]:
    """A row's conditions as one vector."""
    *rows, _ = last.shape
    parts = (memory.loadings, memory.noise, memory.squares, memory.means, last)
    return jnp.concatenate([part.reshape(*rows, -1) for part in parts], axis=-1)


def unflatten(
    conditions: Float[Array, "row condition"], speeds: Speeds, n_factors: int, n_assets: int
) -> Past:
    """What `flatten` has put together."""
    n_rows, n_speeds = conditions.shape[0], len(speeds.squares)
    counts = (n_factors, 1, n_speeds, n_speeds, 1)
    ends = np.cumsum(counts)[:-1] * n_assets
    parts = [
        part.reshape(n_rows, count, n_assets)
        for part, count in zip(jnp.split(conditions, ends, axis=-1), counts, strict=True)
    ]
    loadings, noise, squares, means, last = parts
    return Past(loadings, noise[:, 0], squares, means, last[:, 0])


def size(speeds: Speeds, n_factors: int, n_assets: int) -> int:
    """Numbers that `flatten` gives a row."""
    return (n_factors + 2 * len(speeds.squares) + 2) * n_assets


def _em_step(
    products: Float[Array, "*rows asset asset"],
    loadings: Float[Array, "*rows factor asset"],
    noise: Float[Array, "*rows asset"],
) -> tuple[Float[Array, "*rows factor asset"], Float[Array, "*rows asset"]]:
    """One step of EM for factor analysis of a second-moment matrix S:

        β = (I + Λ Ψ⁻¹ Λᵀ)⁻¹ Λ Ψ⁻¹,    E[z zᵀ] = I - β Λᵀ + β S βᵀ
        Λ ← E[z zᵀ]⁻¹ β S,    Ψ ← diag(S - Λᵀ β S)

    with Λ factor × asset. Noise is floored at .02 of a standard unit.
    """
    weighted = loadings / noise[..., None, :]
    information = jnp.einsum("...ka,...la->...kl", weighted, loadings)
    unit = jnp.eye(loadings.shape[-2], dtype=loadings.dtype)
    spread = inverse(information + jnp.broadcast_to(unit, information.shape))
    beta = jnp.einsum("...kl,...la->...ka", spread, weighted)
    cross = jnp.einsum("...ka,...ab->...kb", beta, products)
    moment = spread + jnp.einsum("...ka,...la->...kl", cross, beta)
    loadings = jnp.einsum("...kl,...la->...ka", inverse(moment), cross)
    explained = jnp.sum(loadings * cross, axis=-2)
    diagonal = jnp.diagonal(products, axis1=-2, axis2=-1)
    return loadings, jnp.maximum(diagonal - explained, LEAST_NOISE)


def _decay(half_lives: tuple[float, ...]) -> np.ndarray:
    return 0.5 ** (1.0 / np.asarray(half_lives))


def _blend(decay: Array, old: Array, new: Array) -> Array:
    weight = decay.reshape((1,) * (old.ndim - decay.ndim) + decay.shape)
    return weight * old + (1.0 - weight) * new
