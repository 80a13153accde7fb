"""What a matched correlation is worth: the levels that chance and rotation reach without merit."""

from math import isqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.matching import assign, mean_matched, pick
from jaxvae.analysis.metrics import correlation, standardise_columns
from jaxvae.errors import DataError


class Null(NamedTuple):
    """Mean and 95th percentile of a score, 0 to 1, where there is nothing to find."""

    mean: float
    percentile_95: float


def chance_level(
    rng: np.random.Generator,
    learned: Float[np.ndarray, "date factor"],
    reference: Float[np.ndarray, "date reference"],
    n_draws: int = 500,
) -> Null:
    """Mean matched |correlation| of the learned factors with a reference shifted in time.

    A circular shift breaks the link in time and keeps what else inflates correlations: both sides'
    autocorrelation, cross-correlation and tails. All reference factors shift together, by at least
    √n of the n dates either way, drawn uniformly.

    Raises DataError with fewer than 9 dates. Source: the circular-shift surrogates of time-series
    analysis (Lancaster et al. 2018).
    """
    n_dates = len(reference)
    if n_dates < 9:
        raise DataError(f"{n_dates} dates are too few for circular shifts: give at least 9")
    nearest = isqrt(n_dates)
    shifts = rng.integers(nearest, n_dates - nearest, size=n_draws, endpoint=True)
    left, right = standardise_columns(learned)[0], standardise_columns(reference)[0]
    correlations = np.stack([left.T @ np.roll(right, shift, axis=0) for shift in shifts])
    return _null(np.abs(correlations) / n_dates)


def held_out_chance_level(
    rng: np.random.Generator,
    learned: Float[np.ndarray, "date factor"],
    reference: Float[np.ndarray, "date reference"],
    fit: slice,
    rows: slice,
    n_draws: int = 500,
) -> Null:
    """`chance_level` of a score that is matched with signs on `fit` and taken on `rows`.

    The reference is shifted over all its dates; each draw is matched on `fit` and scored by its
    signed correlations on `rows`, as `matching.mcc` does. Chance scores about 0 on later rows.
    """
    nearest = isqrt(len(reference))
    shifts = rng.integers(nearest, len(reference) - nearest, size=n_draws, endpoint=True)
    shifted = [np.roll(reference, shift, axis=0) for shift in shifts]
    inside = np.stack([correlation(learned[fit], other[fit]) for other in shifted])
    outside = np.stack([correlation(learned[rows], other[rows]) for other in shifted])
    chosen = assign(np.abs(inside))
    scores = (np.sign(pick(inside, chosen)) * pick(outside, chosen)).mean(axis=1)
    return Null(float(scores.mean()), float(np.quantile(scores, 0.95)))


def rotation_floor(
    rng: np.random.Generator, reference: Float[np.ndarray, "date reference"], n_draws: int = 500
) -> Null:
    """Mean matched |correlation| of the reference with random rotations of itself, whitened.

    A learner that finds the right space and nothing of its axes scores this. With R the
    correlation matrix of the reference, white factors are Z = X R^(−½), and the rotation Z Q
    correlates with X as Qᵀ R^½: for uncorrelated factors the entries of Q alone.

    Q is uniform over the orthogonal matrices (Mezzadri 2007).
    """
    values, vectors = np.linalg.eigh(correlation(reference, reference))
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    rotations = _random_rotations(rng, len(root), n_draws)
    return _null(np.abs(rotations @ root))


def _random_rotations(
    rng: np.random.Generator, size: int, n_draws: int
) -> Float[np.ndarray, "draw factor factor"]:
    q, r = np.linalg.qr(rng.standard_normal((n_draws, size, size)))
    return q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]


def _null(strength: Float[np.ndarray, "draw factor other"]) -> Null:
    scores = mean_matched(np.minimum(strength, 1.0))
    return Null(float(scores.mean()), float(np.quantile(scores, 0.95)))
