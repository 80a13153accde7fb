"""Factors of consecutive windows lined up, so that factor k is the same one over time.

Each window finds its factors in its own order and signs. Neighbours share dates, on which the
factors of one are matched one-to-one with those of the other (Hungarian method).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.matching import match
from jaxvae.analysis.metrics import standardise_columns
from jaxvae.analysis.nulls import random_shifts

DRAWS = 20


class Chain(NamedTuple):
    """How each window's own factors map to the chained ones, the second axis.

    order: the window's own factor for each chained one, a permutation.
    signs: −1 or 1.
    correlations: |correlation| with the window before on the dates that both have; 0 where either
        does not use the factor. NaN in the first window.
    stability: Σ correlations / the larger number of factors in use; NaN in the first window.
    chance: mean of the same number where the earlier factors are shifted in time.
    """

    order: Int[np.ndarray, "window factor"]
    signs: Float[np.ndarray, "window factor"]
    correlations: Float[np.ndarray, "window factor"]
    stability: Float[np.ndarray, " window"]
    chance: Float[np.ndarray, " window"]


def chain_windows(
    rng: np.random.Generator, factors: Float[np.ndarray, "window date factor"], step: int
) -> Chain:
    """Line the windows up, each with the one before; the first keeps its order and signs.

    factors: of the dates of each window, which begins `step` dates after the one before; constant
        where a factor is not in use. A factor that falls out of use loses its identity: what
        appears later, in any of the places that are free, is another one.
    step: at least 9 dates must be shared (DataError otherwise, as in `nulls.random_shifts`).
    """
    n_windows, n_dates, n_factors = factors.shape
    order = np.tile(np.arange(n_factors), (n_windows, 1))
    signs, correlations = np.ones((n_windows, n_factors)), np.full((n_windows, n_factors), np.nan)
    stability, chance = np.full(n_windows, np.nan), np.full(n_windows, np.nan)
    for w in range(1, n_windows):
        before = factors[w - 1][step:, order[w - 1]] * signs[w - 1]
        now = factors[w][: n_dates - step]
        order[w], signs[w], correlations[w] = _follow(before, now)
        stability[w] = _steadiness(before, now)
        shifts = random_shifts(rng, len(now), DRAWS)
        chance[w] = np.mean([_steadiness(np.roll(before, shift, axis=0), now) for shift in shifts])
    return Chain(order, signs, correlations, stability, chance)


def rearranged(
    columns: Float[np.ndarray, "window row factor"], chain: Chain
) -> Float[np.ndarray, "window row factor"]:
    """Each window's columns (of factors or loadings) in the chain's order, times their signs."""
    return np.take_along_axis(columns, chain.order[:, None], axis=2) * chain.signs[:, None]


def persistence(
    loadings: Float[np.ndarray, "window asset factor"], lag: int
) -> Float[np.ndarray, "window factor"]:
    """Cosine of each chained factor's loadings with its own `lag` windows earlier; NaN before.

    With a lag of window/step or more the two share no date. Signs are the chain's, so that a factor
    that has lost its identity scores about 0 unless loadings share a sign; 0 where not in use.
    """
    cosines = np.full((loadings.shape[0], loadings.shape[2]), np.nan)
    now, before = loadings[lag:], loadings[: max(len(loadings) - lag, 0)]
    size = np.linalg.norm(now, axis=1) * np.linalg.norm(before, axis=1)
    cosines[lag:] = np.einsum("waf,waf->wf", now, before) / np.where(size > 0, size, 1.0)
    return cosines


def _follow(
    before: Float[np.ndarray, "date factor"], now: Float[np.ndarray, "date factor"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Order, signs and |correlations| that line `now` up with `before`; what matches nothing fills
    the free places in its own order."""
    found = match(now, before)
    order = found.learned.copy()
    left = np.setdiff1d(np.arange(now.shape[1]), order)
    order[order < 0] = left
    return order, np.where(found.signs < 0, -1.0, 1.0), found.correlations


def _steadiness(
    before: Float[np.ndarray, "date factor"], now: Float[np.ndarray, "date factor"]
) -> float:
    in_use = max(_in_use(before), _in_use(now))
    return float(match(now, before).correlations.sum() / in_use) if in_use else 0.0


def _in_use(factors: Float[np.ndarray, "date factor"]) -> int:
    units, _, _ = standardise_columns(factors)
    return int(units.any(axis=0).sum())
