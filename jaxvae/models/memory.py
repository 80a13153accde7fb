"""What a temporal model knows of the past: a recursion over the returns before a date.

It has no parameters to train, so that it runs over a panel once, before training, and rows stay
dates: minibatches, members and importance samples need not know that there is a past. What is made
of the memory is learned. Averages at fixed speeds with a learned readout are a linear state space
with fixed poles, for volatility Corsi's (2009) heterogeneous autoregression in spirit; beside them
a factor analysis of the recent past follows drifting loadings.

A date's memory holds the dates before it and no other.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxvae.models.cholesky import cholesky, inverse, inverse_lower
from jaxvae.models.model import Recurrence
from jaxvae.models.student_t import log_student_t

LEAST_SQUARE, LEAST_NOISE = 1e-3, 0.02
FIRST_COMMUNALITY = 0.25
FORGETTING = 0.96  # of scores, a date
SCORED_DF = 6.0
REACTION = 0.7  # of variances to their averages, κ


class MemorySettings(NamedTuple):
    """Settings of a memory: its half-lives, and the weights between its averages.

    Attributes:
        squares, products: half-lives, the dates after which a return weighs half, of the averages
            of squares and means, and of those of products of scaled returns.
        recent: ρ, the share of recent products in correlations; the rest is their level.
        trust: τ, what scores count in the memory's own weights.
        blank_dates: that the blank start is worth in averages of products.
        em_steps: of the factor analysis, a date.
    """

    squares: tuple[float, ...]
    products: tuple[float, ...]
    recent: float = 0.5
    trust: float = 1.0
    blank_dates: float = 20.0
    em_steps: int = 2


class Estimates(NamedTuple):
    """What a memory makes of the dates so far, and rows are told.

    loadings, noise: Λ and diag Ψ, with Λᵀ Λ + Ψ close to the correlations that the scores favour.
    squares, means: of x² and x, asset by asset.
    scores: as of `Memory.products`, of squares at each speed and, last, of the level, which is 1.
    sizes: of q, how large a date's returns are as one, at the speeds of squares.
    """

    loadings: Float[Array, "*rows factor asset"]
    noise: Float[Array, "*rows asset"]
    squares: Float[Array, "*rows speed asset"]
    means: Float[Array, "*rows speed asset"]
    scores: Float[Array, "*rows score"]
    sizes: Float[Array, "*rows speed"]


class Memory(NamedTuple):
    """Averages of returns in standard units, and a factor analysis of them.

    dates: how many there have been.
    products: of y yᵀ at each speed and, last, over all dates, y the returns over their scale.
    products_scores: of each speed, how well it has forecast lately.
    estimates: what rows are told of it.
    """

    dates: Float[Array, "*rows"]
    products: Float[Array, "*rows product_speed asset asset"]
    products_scores: Float[Array, "*rows product_speed"]
    estimates: Estimates


class Past(NamedTuple):
    """What a row is told of the dates before it: of their memory, and the last date's returns with
    which of them were seen."""

    estimates: Estimates
    last: Float[Array, "*rows asset"]
    last_seen: Float[Array, "*rows asset"]


def blank(settings: MemorySettings, n_factors: int, n_assets: int) -> Memory:
    """The memory of a panel without a past: what standard units are on average, mean 0, square 1,
    no correlation. A quarter of each variance stands in loadings on cosines over the assets, the
    first of them level, which is where the factor analysis starts to search."""
    places = (np.arange(n_assets) + 0.5) / n_assets
    waves = np.cos(np.pi * np.arange(n_factors)[:, None] * places)
    waves *= np.sqrt(FIRST_COMMUNALITY / (waves**2).sum(axis=0))
    shape = (len(settings.squares), n_assets)
    estimates = Estimates(
        loadings=jnp.asarray(waves, jnp.float32),
        noise=jnp.full(n_assets, 1.0 - FIRST_COMMUNALITY, jnp.float32),
        squares=jnp.ones(shape, jnp.float32),
        means=jnp.zeros(shape, jnp.float32),
        scores=jnp.zeros(len(settings.squares) + 1, jnp.float32),
        sizes=jnp.ones(len(settings.squares), jnp.float32),
    )
    n_products = len(settings.products) + 1
    products = jnp.tile(jnp.eye(n_assets, dtype=jnp.float32), (n_products, 1, 1))
    return Memory(jnp.float32(0.0), products, jnp.zeros(n_products, jnp.float32), estimates)


def update(memory: Memory, returns: Float[Array, " asset"], settings: MemorySettings) -> Memory:
    """The memory once a date's returns are known.

    Averages move by m ← λ m + (1-λ) new, λ = 2^(-1/half-life), or by the number of dates, the
    blank start worth some of them. Variances and correlations have a level that they return to,
    1 and the average over all dates P∞:

        v = 1 - κ + κ Σ_h w_h v_h,    S = Σ_h u_h [ρ P_h + (1-ρ) P∞],    y = x / √v

    where S's diagonal, which is how y² have been, is drawn to 1 as v is. The size of a date as one
    is that of its n uncorrelated returns e_h = P_h^-½ y, times the assets' geometric mean of v:

        q = v̄ Σ_h u_h [1/n Σ_a |e_ha|]² / [2/π + (1 - 2/π)/n]

    which is 1 on average where returns are normal: n returns say more of it together than each of
    its own variance, and one far out says little.

    Weights w and u are the softmax of τ c, scores c ← δ c + ln p(x), p a Student-t of six degrees
    of freedom with what the speed alone says: at τ = 1 Bayes' rule with a forgetting factor
    (Raftery, Kárný & Ettler 2010). The factor analysis takes steps of EM (Rubin & Thayer 1982)
    from where it stood towards S, and one of orthogonal iteration towards principal axes, so that
    factors keep their order and signs from date to date, their loadings drift, and their posterior
    is close to diagonal. A missing return, NaN, leaves its asset's averages as they are, and the
    products with it, and counts in no score. Where gaps have left products without a density, a
    date counts in no score of theirs, and where they have no factor analysis, the last one stays.
    """
    estimates, seen = memory.estimates, jnp.isfinite(returns)
    known = jnp.where(seen, returns, 0.0)
    variances = with_level(estimates.squares) + LEAST_SQUARE
    blend = (
        1.0 - REACTION + REACTION * jax.nn.softmax(settings.trust * estimates.scores) @ variances
    )
    scaled = known * jax.lax.rsqrt(blend)
    decay = jnp.asarray(_decay(settings.squares)[:, None], returns.dtype)
    slow = jnp.asarray([*_decay(settings.products), 1.0], returns.dtype)
    slow = jnp.minimum(slow, 1.0 - 1.0 / (settings.blank_dates + memory.dates + 1.0))[:, None, None]
    both = seen[:, None] & seen[None, :]
    products = _blend(slow, memory.products, (scaled[:, None] * scaled[None, :])[None])
    products = jnp.where(both[None], products, memory.products)
    residual, log_determinant = _whitened(
        _towards_level(memory.products, settings.recent), scaled, seen
    )
    latest = _joint_score(residual, log_determinant, seen)
    products_scores = _moved(memory.products_scores, latest)
    weights = jax.nn.softmax(settings.trust * products_scores)
    correlations = _with_unit_level(
        jnp.einsum("h,hab->ab", weights, _towards_level(products, settings.recent))
    )
    start = (estimates.loadings, estimates.noise)
    loadings, noise = jax.lax.fori_loop(
        0, settings.em_steps, lambda _, at: _em_step(correlations, *at), start, unroll=2
    )
    loadings = _towards_principal_axes(loadings, noise)
    # Gaps may leave products that are no covariance, of which there is no factor analysis.
    analysed = jnp.all(jnp.isfinite(loadings)) & jnp.all(jnp.isfinite(noise))
    squares = _blend(decay, estimates.squares, (known * known)[None])
    size = _size(residual, jax.nn.softmax(settings.trust * memory.products_scores), blend, seen)
    early = jnp.minimum(decay[:, 0], 1.0 - 1.0 / (settings.blank_dates + memory.dates + 1.0))
    sizes = _blend(early, estimates.sizes, size)
    means = _blend(decay, estimates.means, known[None])
    estimates = Estimates(
        jnp.where(analysed, loadings, estimates.loadings),
        jnp.where(analysed, noise, estimates.noise),
        jnp.where(seen[None], squares, estimates.squares),
        jnp.where(seen[None], means, estimates.means),
        _moved(estimates.scores, _score(variances, known, seen)),
        jnp.where(jnp.isfinite(size) & jnp.any(seen), sizes, estimates.sizes),
    )
    return Memory(memory.dates + 1.0, products, products_scores, estimates)


def with_level(squares: Float[Array, "*rows speed asset"]) -> Float[Array, "*rows score asset"]:
    """Average squares at each speed and, last, 1: what standard units are on average."""
    return jnp.concatenate([squares, jnp.ones_like(squares[..., :1, :])], axis=-2)


def _with_unit_level(products: Float[Array, "asset asset"]) -> Float[Array, "asset asset"]:
    """The same correlations with variances 1 - κ + κ d, d the diagonal."""
    diagonal = jnp.diagonal(products)
    scale = jnp.sqrt((1.0 - REACTION + REACTION * diagonal) / diagonal)
    return scale[:, None] * products * scale[None, :]


def _towards_level(
    products: Float[Array, "score asset asset"], recent: float
) -> Float[Array, "score asset asset"]:
    """ρ P_h + (1-ρ) P∞."""
    return recent * products + (1.0 - recent) * products[-1:]


def _moved(
    scores: Float[Array, " score"], latest: Float[Array, " score"]
) -> Float[Array, " score"]:
    known = jnp.where(jnp.all(jnp.isfinite(latest)), latest, 0.0)
    return FORGETTING * scores + known - jnp.mean(known)


def _score(
    variances: Float[Array, "score asset"], returns: Float[Array, " asset"], seen: Array
) -> Float[Array, " score"]:
    """Log density of a date under each speed's variances, summed over the assets seen."""
    scales = variances * (SCORED_DF - 2.0) / SCORED_DF
    df = jnp.full_like(scales, SCORED_DF)
    cells = log_student_t(df, jnp.ones_like(df), jnp.log(scales), returns[None] ** 2 / scales)
    return jnp.sum(jnp.where(seen[None], cells, 0.0), axis=-1)


def _whitened(
    products: Float[Array, "score asset asset"], scaled: Float[Array, " asset"], seen: Array
) -> tuple[Float[Array, "score asset"], Float[Array, " score"]]:
    """Uncorrelated, of unit variance under each speed's products, and ln of their determinants; an
    asset that is not seen counts as one apart, of variance 1, at its mean."""
    unit = jnp.eye(len(seen), dtype=scaled.dtype)[None]
    both = seen[:, None] & seen[None, :]
    root = cholesky(jnp.where(both[None], products, unit))
    residual = jnp.einsum("hab,b->ha", inverse_lower(root), scaled)
    return residual, 2.0 * jnp.sum(jnp.log(jnp.diagonal(root, axis1=-2, axis2=-1)), axis=-1)


def _joint_score(
    residual: Float[Array, "score asset"], log_determinant: Float[Array, " score"], seen: Array
) -> Float[Array, " score"]:
    """Log density of a date under each speed's correlations."""
    n_seen = jnp.sum(seen).astype(residual.dtype)
    df = jnp.full(len(residual), SCORED_DF, residual.dtype)
    log_scales = log_determinant + n_seen * np.log((SCORED_DF - 2.0) / SCORED_DF)
    distance = jnp.sum(residual**2, axis=-1) * SCORED_DF / (SCORED_DF - 2.0)
    return log_student_t(df, n_seen[None], log_scales, distance)


def _size(
    residual: Float[Array, "score asset"],
    weights: Float[Array, " score"],
    variances: Float[Array, " asset"],
    seen: Array,
) -> Float[Array, ""]:
    """q, infinite or NaN where products have no density."""
    n_seen = jnp.maximum(jnp.sum(seen), 1).astype(residual.dtype)
    absolute = jnp.sum(jnp.abs(residual), axis=1) / n_seen
    # E [1/n Σ |e_a|]² of n standard normals.
    level = 2.0 / np.pi + (1.0 - 2.0 / np.pi) / n_seen
    return jnp.exp(jnp.mean(jnp.log(variances))) / level * (weights @ absolute**2)


def recurrence(settings: MemorySettings, n_factors: int, n_assets: int) -> Recurrence:
    """The memory as what a date is told of those before it, a `Past`."""

    def start() -> Memory:
        return blank(settings, n_factors, n_assets)

    def moved(memory: Memory, returns: Float[Array, " asset"]) -> Memory:
        return update(memory, returns, settings)

    def tell(memory: Memory, last: Float[Array, " asset"]) -> Past:
        seen = jnp.isfinite(last)
        return Past(memory.estimates, jnp.where(seen, last, 0.0), seen.astype(last.dtype))

    return Recurrence(start, moved, tell)


def _em_step(
    products: Float[Array, "asset asset"],
    loadings: Float[Array, "factor asset"],
    noise: Float[Array, " asset"],
) -> tuple[Float[Array, "factor asset"], Float[Array, " asset"]]:
    """One step of EM for factor analysis of a second-moment matrix S:

        β = (I + Λ Ψ⁻¹ Λᵀ)⁻¹ Λ Ψ⁻¹,    E[z zᵀ] = I - β Λᵀ + β S βᵀ
        Λ ← E[z zᵀ]⁻¹ β S,    Ψ ← diag(S - Λᵀ β S)

    with Λ factor × asset. Noise is floored at .02 of a standard unit.
    """
    spread = inverse(_precision(loadings, noise))
    beta = spread @ (loadings / noise[None, :])
    cross = beta @ products
    loadings = inverse(spread + cross @ beta.T) @ cross
    explained = jnp.sum(loadings * cross, axis=0)
    return loadings, jnp.maximum(jnp.diagonal(products) - explained, LEAST_NOISE)


def _towards_principal_axes(
    loadings: Float[Array, "factor asset"], noise: Float[Array, " asset"]
) -> Float[Array, "factor asset"]:
    """Qᵀ Λ with Q R = I + Λ Ψ⁻¹ Λᵀ, by CholeskyQR: a step of orthogonal iteration (Golub & Van Loan
    2013, 8.2.4), which ends where that matrix, the posterior precision of factors, is diagonal."""
    precision = _precision(loadings, noise)
    rotation = precision @ inverse_lower(cholesky(precision @ precision)).T
    return rotation.T @ loadings


def _precision(
    loadings: Float[Array, "factor asset"], noise: Float[Array, " asset"]
) -> Float[Array, "factor factor"]:
    """I + Λ Ψ⁻¹ Λᵀ."""
    return jnp.eye(len(loadings), dtype=loadings.dtype) + (loadings / noise[None, :]) @ loadings.T


def _decay(half_lives: tuple[float, ...]) -> np.ndarray:
    return 0.5 ** (1.0 / np.asarray(half_lives))


def _blend(decay: Array, old: Array, new: Array) -> Array:
    return decay * old + (1.0 - decay) * new
