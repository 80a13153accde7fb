"""Scores of reconstructions, factors and paired differences, whatever model they come from."""

from math import ceil
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import stats

from jaxvae.errors import OptionError

ACTIVE_VARIANCE = 0.01
LEAST_SHARED = 10  # dates that a correlation of two assets rests on
CONSTANT_SHARE = 1e-9  # a column that moves less than this share of its size counts as constant
ROUNDING = 1e-9  # variances (standardised) and correlations below it are rounding


class Moments(NamedTuple):
    """Moments pooled over all observed cells; `excess_kurtosis` is 0 for a Gaussian."""

    mean: float
    std: float
    min: float
    max: float
    skew: float
    excess_kurtosis: float


class Interval(NamedTuple):
    """A mean and the two ends of its interval, in the units of what was averaged."""

    mean: float
    low: float
    high: float


def mse(
    values: Float[np.ndarray, "date asset"], reconstruction: Float[np.ndarray, "date asset"]
) -> float:
    """Mean squared error, pooled over the observed cells (NaN marks a missing one)."""
    return float(np.nanmean((values - reconstruction) ** 2))


def r2(
    values: Float[np.ndarray, "date asset"],
    reconstruction: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
) -> float:
    """Share of variance explained, pooled over the observed cells.

        R² = 1 − Σ (x − x̂)² / Σ (x − mean)²

    mean: of the *training* rows, so that out of sample the rival is what was known then. R² may
        be negative there.

    Returns 0 where no cell differs from the mean.
    """
    return r2_of_residual(float(np.nansum((values - reconstruction) ** 2)), values, mean)


def mean_column_r2(
    values: Float[np.ndarray, "date column"],
    predicted: Float[np.ndarray, "date column"],
    mean: Float[np.ndarray, " column"],
) -> float:
    """Mean over columns of each one's own `r2`, so that every column counts alike."""
    residual = np.nansum((values - predicted) ** 2, axis=0)
    return float(_explained(residual, np.nansum((values - mean) ** 2, axis=0)).mean())


def r2_of_residual(
    residual: float, values: Float[np.ndarray, "date asset"], mean: Float[np.ndarray, " asset"]
) -> float:
    """`r2` where only the summed squared error Σ (x − x̂)² is at hand."""
    return float(_explained(np.array(residual), np.nansum((values - mean) ** 2)))


def _explained(
    residual: Float[np.ndarray, "*column"], total: Float[np.ndarray, "*column"] | np.float64
) -> Float[np.ndarray, "*column"]:
    """1 − residual / total; 0 where nothing varies."""
    varies = total > 0
    return np.where(varies, 1 - residual / np.where(varies, total, 1.0), 0.0)


def standardise_columns(
    columns: Float[np.ndarray, "*member date factor"],
) -> tuple[
    Float[np.ndarray, "*member date factor"],
    Float[np.ndarray, "*member factor"],
    Float[np.ndarray, "*member factor"],
]:
    """(x − location) / scale by column, with mean and standard deviation (divisor n) over dates.

    A constant column becomes zeros, its scale 1.

    Returns the standardised columns, locations and scales.
    """
    location = columns.mean(axis=-2)
    centred = columns - location[..., None, :]
    scale = np.sqrt((centred**2).mean(axis=-2))
    moves = scale > CONSTANT_SHARE * np.abs(columns).max(axis=-2)
    scale = np.where(moves, scale, 1.0)
    return centred * (moves / scale)[..., None, :], location, scale


def correlation(
    a: Float[np.ndarray, "date factor"], b: Float[np.ndarray, "date other"]
) -> Float[np.ndarray, "factor other"]:
    """Pearson correlation of each column of `a` with each of `b`; 0 where one is constant."""
    (a_units, _, _), (b_units, _, _) = standardise_columns(a), standardise_columns(b)
    return np.clip(a_units.T @ b_units / len(a), -1.0, 1.0)


def whitening(units: Float[np.ndarray, "date factor"]) -> Float[np.ndarray, "factor factor"]:
    """The map from standardised columns to uncorrelated ones of variance 1.

    Directions without variance map to 0.
    """
    values, vectors = np.linalg.eigh(units.T @ units / len(units))
    kept = values > ROUNDING
    return vectors * np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)


def upper_correlations(values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " pair"]:
    """Correlations of the asset pairs i < j, row by row: the triangle above the diagonal.

    Where cells are missing, of the dates that both have; NaN with fewer than 10 of these.
    """
    first, second = np.triu_indices(values.shape[1], k=1)
    if np.isfinite(values).all():
        return correlation(values, values)[first, second]
    table = pd.DataFrame(values).corr(min_periods=LEAST_SHARED)
    return table.to_numpy()[first, second]


def active_units(
    means: Float[np.ndarray, "*member date factor"],
) -> Bool[np.ndarray, "*member factor"]:
    """Which factors a model uses: Var_x(E_q[z]) > 0.01 (Burda et al. 2016, arXiv:1509.00519).

    means: posterior means of the factors, in units of the prior's standard deviation.
    """
    return means.var(axis=-2) > ACTIVE_VARIANCE


def describe(values: Float[np.ndarray, "date asset"]) -> Moments:
    """Mean, standard deviation (divisor n), extremes, skew and excess kurtosis of all cells."""
    cells = values[~np.isnan(values)]
    return Moments(
        mean=float(cells.mean()),
        std=float(cells.std()),
        min=float(cells.min()),
        max=float(cells.max()),
        skew=float(stats.skew(cells)),
        excess_kurtosis=float(stats.kurtosis(cells)),
    )


def block_bootstrap_interval(
    rng: np.random.Generator,
    differences: Float[np.ndarray, " date"],
    block_length: int | None = None,
    n_draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Mean of a series and its percentile interval by the circular block bootstrap.

    Each draw joins blocks of consecutive dates, started anywhere on the circle of dates, until
    all n dates are replaced (the last block is cut), and takes the mean.

    differences: usually the log-likelihood of one model less another's, date by date (nats).
    block_length: dates a block, 1 to n. By default n^(1/3), rounded up: the rate at which blocks
        must grow to minimise the mean squared error of the bootstrap's variance (Künsch 1989). Its
        constant depends on the autocorrelation, so the interval is somewhat short where that is
        strong: a heavy-tailed model's lead over a Gaussian one comes in clusters of volatile
        dates. Give longer blocks there and see whether the conclusion holds.
    level: the interval's nominal coverage, between 0 and 1.

    Raises OptionError where the block length is out of range. Source: Politis and Romano (1992),
    "A circular block-resampling procedure for stationary data"; compare their stationary
    bootstrap (1994), whose variance at one mean block length is larger.
    """
    length = default_block(len(differences)) if block_length is None else block_length
    draws = block_means(rng, differences[:, None], length, n_draws)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(differences.mean()), float(low), float(high))


def default_block(n_dates: int) -> int:
    """n^(1/3) dates, rounded up."""
    return ceil(n_dates ** (1 / 3))


def block_means(
    rng: np.random.Generator,
    series: Float[np.ndarray, "date series"],
    length: int,
    n_draws: int,
) -> Float[np.ndarray, "draw series"]:
    """Means of circular block resamples, all series from the same dates in each draw.

    Differences of cumulative sums give them without a resample being made. Arguments, errors and
    source are those of `block_bootstrap_interval`.
    """
    n_dates = len(series)
    if not 1 <= length <= n_dates:
        raise OptionError(f"block_length is {length}: choose one from 1 to {n_dates}")
    n_blocks = ceil(n_dates / length)
    lengths = np.full(n_blocks, length)
    lengths[-1] = n_dates - (n_blocks - 1) * length
    centred = series - series.mean(axis=0)
    sums = np.cumsum(np.concatenate([0 * centred[:1], centred, centred]), axis=0)
    starts = rng.integers(n_dates, size=(n_draws, n_blocks))
    totals = np.zeros((n_draws, series.shape[1]))
    for start, dates in zip(starts.T, lengths, strict=True):
        totals += sums[start + dates] - sums[start]
    return series.mean(axis=0) + totals / n_dates


def student_interval(values: Float[np.ndarray, " seed"], level: float = 0.95) -> Interval:
    """Mean over seeds and Student's interval for it, m̄ ± t s / √n, s with divisor n − 1.

    It covers the mean over all seeds that might have been drawn, on these data: how far the average
    score hangs on which seeds were run. It does not cover a single new seed's score, which varies
    √n times as much, nor other dates.

    Raises OptionError with fewer than two seeds. Source: Student (1908).
    """
    if len(values) < 2:
        raise OptionError(f"an interval over seeds needs at least 2, and there is {len(values)}")
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half)
