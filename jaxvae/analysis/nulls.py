"""What a score is worth: the levels that chance and rotation reach without merit.

A score is any function of what is `Compared`: it learns what it learns on the first two parts and
says one or several numbers of the last two. Codes are what a model learned, factors the reference.
"""

from collections.abc import Callable, Sequence
from math import isqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.matching import Compared, compare_on, matched_total
from jaxvae.analysis.metrics import correlation, standardise_columns, whitening
from jaxvae.errors import DataError

Score = Callable[[Compared], float | Sequence[float]]


class Null(NamedTuple):
    """The level of a score where there is nothing to find.

    Attributes:
        mean: over draws.
        percentile_95: of the draws: a score is evidence above it.
    """

    mean: float
    percentile_95: float


def null_of(draws: Float[np.ndarray, " draw"]) -> Null:
    """Mean and 95th percentile of a score's draws.

    Args:
        draws: of a score, such as `shifted_scores`.
    """
    return Null(float(draws.mean()), float(np.quantile(draws, 0.95)))


def shifted_scores(
    rng: np.random.Generator,
    score: Score,
    learned: Float[np.ndarray, "date factor"],
    reference: Float[np.ndarray, "date reference"],
    fit: slice,
    rows: slice,
    n_draws: int,
) -> Float[np.ndarray, "draw *score"]:
    """A score's chance level: draws of it against the reference shifted in time.

    A circular shift breaks the link in time and keeps what else inflates scores: both sides'
    autocorrelation, cross-correlation and tails. All reference factors shift together, over all
    dates; each draw is learned on `fit` and scored on `rows`, as the score itself is.

    Args:
        rng: source of the shifts.
        score: what is computed of a `Compared`.
        learned: the learned factors, of all dates.
        reference: what they are compared with, of the same dates.
        fit: the dates to learn from.
        rows: the dates to score.
        n_draws: number of draws.

    Raises:
        DataError: there are fewer than 9 dates.

    Source: the circular-shift surrogates of time-series analysis (Lancaster et al. 2018).
    """
    shifts = random_shifts(rng, len(reference), n_draws)
    shifted = (np.roll(reference, shift, axis=0) for shift in shifts)
    return np.array([score(compare_on(learned, other, fit, rows)) for other in shifted])


def rotated_scores(
    rng: np.random.Generator,
    score: Score,
    reference: Float[np.ndarray, "date reference"],
    fit: slice,
    rows: slice,
    n_draws: int,
) -> Float[np.ndarray, "draw *score"]:
    """A score's rotation null: draws of it for random rotations of the reference itself.

    Whitened on `fit`, then rotated: a learner that finds the right space and nothing of its axes.
    A score that no rotation changes has no such null.

    Args:
        rng: source of the rotations.
        score: what is computed of a `Compared`.
        reference: of all dates.
        fit: the dates to learn from.
        rows: the dates to score.
        n_draws: number of draws.
    """
    _, location, scale = standardise_columns(reference[fit])
    units = (reference - location) / scale
    white = units @ whitening(units[fit])
    rotated = (white @ rotation for rotation in random_rotations(rng, white.shape[1], n_draws))
    return np.array([score(compare_on(other, reference, fit, rows)) for other in rotated])


def rotation_null(
    rng: np.random.Generator, reference: Float[np.ndarray, "date reference"], n_draws: int = 500
) -> Null:
    """`rotated_scores` of the mean matched |correlation|, matched and scored on the same rows.

    With R the correlation matrix of the reference, white factors are Z = X R^(−½), and the rotation
    Z Q correlates with X as Qᵀ R^½: for uncorrelated factors the entries of Q alone.

    Args:
        rng: source of the rotations.
        reference: on any rows.
        n_draws: number of rotations.
    """
    values, vectors = np.linalg.eigh(correlation(reference, reference))
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    rotations = random_rotations(rng, len(root), n_draws)
    return null_of(matched_total(np.minimum(np.abs(rotations @ root), 1.0)) / len(root))


def random_shifts(rng: np.random.Generator, n_dates: int, n_draws: int) -> Int[np.ndarray, " draw"]:
    """Circular shifts of at least √n of the n dates either way, drawn uniformly.

    Args:
        rng: source of the shifts.
        n_dates: n, on the circle.
        n_draws: how many.

    Raises:
        DataError: there are fewer than 9 dates.
    """
    if n_dates < 9:
        raise DataError(f"{n_dates} dates are too few for circular shifts: give at least 9")
    nearest = isqrt(n_dates)
    return rng.integers(nearest, n_dates - nearest, size=n_draws, endpoint=True)


def random_rotations(
    rng: np.random.Generator, size: int, n_draws: int
) -> Float[np.ndarray, "draw factor factor"]:
    """Orthogonal matrices, drawn uniformly, by QR with the signs of R put right (Mezzadri 2007).

    Args:
        rng: source of the matrices.
        size: rows and columns.
        n_draws: how many.
    """
    q, r = np.linalg.qr(rng.standard_normal((n_draws, size, size)))
    return q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None, :]
