"""Factors tracked over consecutive windows, so that factor k is the same one over time.

Each window finds its factors in its own order and signs. Neighbours share dates, on which the
factors of one are matched one-to-one with those of the other (Hungarian method).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.matching import agreement, match
from jaxvae.analysis.metrics import standardise_columns
from jaxvae.analysis.nulls import null_of, random_shifts

CHANCE_DRAWS = 100


class Tracking(NamedTuple):
    """How each window's own factors map to the tracked ones, the second axis.

    Attributes:
        order: the window's own factor for each tracked one, a permutation.
        signs: −1 or 1.
        correlations: |correlation| with the window before on the dates that both have; 0 where
            either does not use the factor. NaN in the first window.
        agreement: `matching.agreement` of a window with the one before; NaN in the first.
        chance: 95th percentile of the same where the earlier factors are shifted in time.
    """

    order: Int[np.ndarray, "window factor"]
    signs: Float[np.ndarray, "window factor"]
    correlations: Float[np.ndarray, "window factor"]
    agreement: Float[np.ndarray, " window"]
    chance: Float[np.ndarray, " window"]


def track_factors(
    rng: np.random.Generator, factors: Float[np.ndarray, "window date factor"], step: int
) -> Tracking:
    """Line the windows up, each with the one before; the first keeps its order and signs.

    A factor that falls out of use loses its identity: what appears later, in any of the places that
    are free, is another one.

    Args:
        rng: source of the shifts behind `Tracking.chance`.
        factors: of the dates of each window, which begins `step` dates after the one before;
            constant where a factor is not in use.
        step: at least 9 dates must be shared.

    Returns:
        The windows' orders and signs, and how well each agrees with the one before.

    Raises:
        DataError: windows share too few dates.
    """
    n_windows, n_dates, n_factors = factors.shape
    order = np.tile(np.arange(n_factors), (n_windows, 1))
    signs, correlations = np.ones((n_windows, n_factors)), np.full((n_windows, n_factors), np.nan)
    agreed, chance = np.full(n_windows, np.nan), np.full(n_windows, np.nan)
    for w in range(1, n_windows):
        before = factors[w - 1][step:, order[w - 1]] * signs[w - 1]
        now = factors[w][: n_dates - step]
        found = match(now, before)
        order[w], correlations[w] = found.learned, found.correlations
        # What matches nothing fills the free places in its own order.
        order[w, found.learned < 0] = np.setdiff1d(np.arange(n_factors), found.learned)
        signs[w] = np.where(found.signs < 0, -1.0, 1.0)
        (units, _, _), (own, _, _) = standardise_columns(before), standardise_columns(now)
        shifts = np.concatenate([[0], random_shifts(rng, len(now), CHANCE_DRAWS)])
        rows = (np.arange(len(now)) - shifts[:, None]) % len(now)
        by_shift = agreement(units[rows], own[None])[:, 0]
        agreed[w], chance[w] = by_shift[0], null_of(by_shift[1:]).percentile_95
    return Tracking(order, signs, correlations, agreed, chance)


def rearrange(
    columns: Float[np.ndarray, "window row factor"], tracking: Tracking
) -> Float[np.ndarray, "window row factor"]:
    """Each window's columns, of factors or loadings, in tracked order, times their signs.

    Args:
        columns: of each window's own factors.
        tracking: from `track_factors`.
    """
    chosen = np.take_along_axis(columns, tracking.order[:, None], axis=2)
    return chosen * tracking.signs[:, None]


def congruence(
    loadings: Float[np.ndarray, "window asset factor"], lag: int
) -> Float[np.ndarray, "window factor"]:
    """Tucker's congruence of each tracked factor's loadings with its own `lag` windows earlier.

        Σ_a b_a b'_a / √(Σ_a b_a² Σ_a b'_a²)

    A factor that has lost its identity scores about 0 unless loadings share a sign.

    Args:
        loadings: of tracked factors.
        lag: windows; of window / step or more, the two share no date.

    Returns:
        −1 to 1; NaN in the first `lag` windows, 0 where a factor is not in use.

    Source: Tucker (1951), "A method for synthesis of factor analysis studies".
    """
    cosines = np.full((loadings.shape[0], loadings.shape[2]), np.nan)
    now, before = loadings[lag:], loadings[: max(len(loadings) - lag, 0)]
    size = np.linalg.norm(now, axis=1) * np.linalg.norm(before, axis=1)
    cosines[lag:] = np.einsum("waf,waf->wf", now, before) / np.where(size > 0, size, 1.0)
    return cosines
