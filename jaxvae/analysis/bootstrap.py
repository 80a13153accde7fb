"""Intervals for means: over dates by the block bootstrap, one or several at once; over seeds.

Series are differences date by date, such as one model's log-likelihood less another's. All series
of one call are resampled by the same blocks of dates, so that what they share stays.
"""

from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.special import logsumexp

from jaxvae.errors import OptionError

CONFIDENCE = 0.95  # the coverage of an interval


class Interval(NamedTuple):
    """A mean and the two ends of its interval, in the units of what was averaged.

    Attributes:
        mean: of what was averaged.
        low, high: the ends.
    """

    mean: float
    low: float
    high: float


def block_means(
    rng: np.random.Generator,
    series: Float[np.ndarray, "date series"],
    block_length: int | None = None,
    n_draws: int = 2000,
) -> Float[np.ndarray, "draw series"]:
    """Means of circular block resamples.

    Each draw joins blocks of consecutive dates, started anywhere on the circle of dates, until all
    n dates are replaced; the last block is cut. Differences of cumulative sums give the means
    without a resample being made.

    Args:
        rng: source of the blocks' starts.
        series: resampled by the same dates in each draw.
        block_length: dates a block, 1 to n; by default √n, rounded up. That is longer than the n^⅓
            that minimises the error of the bootstrap's variance (Künsch 1989): leads over Gaussian
            models, and squared returns, cluster with volatility.
        n_draws: number of resamples.

    Returns:
        The mean of each series in each resample.

    Raises:
        OptionError: the block length is out of range.

    Source: Politis and Romano (1992), "A circular block-resampling procedure for stationary data".
    """
    n_dates = len(series)
    length = ceil(n_dates**0.5) if block_length is None else block_length
    if not 1 <= length <= n_dates:
        raise OptionError("block_length", f"{length} must lie between 1 and {n_dates}")
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


def block_bootstrap_interval(
    rng: np.random.Generator,
    differences: Float[np.ndarray, " date"],
    block_length: int | None = None,
    n_draws: int = 2000,
) -> Interval:
    """Mean of a series and its percentile interval by the circular block bootstrap.

    Somewhat short where a series is strongly autocorrelated and dates are few: of AR(1) series
    with coefficient .9, nominal .95 covers .75 at 246 dates and .92 at 2,494.

    Args:
        rng: source of the blocks' starts.
        differences: the series.
        block_length: as in `block_means`.
        n_draws: number of resamples.

    Returns:
        Mean, lower and upper end.

    Raises:
        OptionError: the block length is out of range.
    """
    draws = block_means(rng, differences[:, None], block_length, n_draws)
    return percentile_interval(float(differences.mean()), draws)


def percentile_interval(mean: float, draws: Float[np.ndarray, "..."]) -> Interval:
    """A mean between the quantiles of its bootstrap draws that hold 95 % of them.

    Args:
        mean: of the data themselves.
        draws: the mean in each resample.
    """
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(mean, float(low), float(high))


def simultaneous_intervals(
    rng: np.random.Generator,
    differences: Float[np.ndarray, "date comparison"],
    block_length: int | None = None,
    n_draws: int = 2000,
) -> tuple[Float[np.ndarray, " comparison"], Float[np.ndarray, " comparison"]]:
    """Intervals for the means of several series that hold all of them at once.

        d̄_k ± c σ_k,   c the 95 % quantile over draws of max_k |d̄*_k − d̄_k| / σ_k

    with d̄* the means of block resamples and σ_k the standard deviation over dates. Correlated
    comparisons, such as two models against one baseline, widen them less than Bonferroni's
    correction would. A series that never varies takes no part and has no width.

    Args:
        rng: source of the blocks' starts.
        differences: a column a comparison.
        block_length: as in `block_means`.
        n_draws: number of resamples.

    Returns:
        The lower and the upper ends.

    Raises:
        OptionError: the block length is out of range.

    Source: Romano and Wolf (2005), "Stepwise multiple testing as formalized data snooping"; this is
    its first step, which gives intervals. They divide by a standard error that allows for
    autocorrelation. From a few long blocks that is so uncertain that the maximum seeks out its
    errors: 18 blocks make 14 misses of 5 in 100, and σ_k 7.
    """
    mean, scale = differences.mean(axis=0), differences.std(axis=0)
    errors = block_means(rng, differences, block_length, n_draws) - mean
    largest = np.abs(_in_units(errors, scale)).max(axis=1)
    half = np.quantile(largest, CONFIDENCE) * scale
    return mean - half, mean + half


def best_of_many_p_value(
    rng: np.random.Generator,
    leads: Float[np.ndarray, "date member"],
    block_length: int | None = None,
    n_draws: int = 2000,
) -> float:
    """p-value of "no member beats the baseline", when the best of all members was picked.

        T = max_k (d̄_k / σ_k, 0),   p = share of draws in which T* = max_k (z*_k / σ_k, 0) ≥ T

    with σ_k as in `simultaneous_intervals`, for its reason, and z*_k = d̄*_k − d̄_k for members that
    hold their own against the baseline. One far behind, d̄_k < −s_k √(2 ln ln n) with s_k the
    standard deviation of d̄*_k, cannot win by luck and keeps its deficit, z*_k = d̄*_k: hopeless
    members do not hide a good one. To test the best member alone, as if it had been the only one,
    understates p the more members there are.

    Args:
        rng: source of the blocks' starts.
        leads: each member's log-likelihood less the baseline's (nats); three dates or more.
        block_length: as in `block_means`.
        n_draws: number of resamples.

    Returns:
        p, above 0 and at most 1: the data count as one of the draws.

    Raises:
        OptionError: the block length is out of range.

    Source: White (2000), "A reality check for data snooping"; scaled and recentred after Hansen
    (2005), "A test for superior predictive ability".
    """
    mean, scale = leads.mean(axis=0), leads.std(axis=0)
    errors = block_means(rng, leads, block_length, n_draws) - mean
    behind = mean < -errors.std(axis=0) * np.sqrt(2 * np.log(np.log(len(leads))))
    resampled = _in_units(errors + np.where(behind, mean, 0.0), scale).max(axis=1)
    best = max(float(_in_units(mean, scale).max()), 0.0)
    return float((1 + (np.maximum(resampled, 0.0) >= best).sum()) / (1 + n_draws))


def student_interval(values: Float[np.ndarray, " seed"]) -> Interval:
    """Mean over seeds and Student's interval for it, m̄ ± t s / √n, s with divisor n − 1.

    It covers the mean over all seeds that might have been drawn, on these data: how far the average
    score hangs on which seeds were run. It does not cover a single new seed's score, which varies
    √n times as much, nor other dates.

    Args:
        values: one score a seed, two or more.

    Returns:
        Mean, lower and upper end.

    Raises:
        OptionError: there are fewer than two seeds.

    Source: Student (1908), "The probable error of a mean".
    """
    if len(values) < 2:
        raise OptionError("values", f"{len(values)} seed gives no interval; at least 2")
    mean, error = float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def jackknife_margin(log_densities: Float[np.ndarray, "seed date"]) -> float:
    """How far an equal mixture's mean log-density hangs on which seeds were run, by the jackknife.

        L_i = mean over dates of ln 1/(n − 1) Σ_{j≠i} p_j,   h = t √((n − 1)/n Σ_i (L_i − L̄)²)

    A seed that the others make up for counts little, however bad it is alone.

    Args:
        log_densities: ln p_i of each seed's own model.

    Returns:
        The margin of error, half the width of a 95 % interval, nats per date; NaN for fewer than
        two seeds.

    Source: Efron and Stein (1981), "The jackknife estimate of variance", with Student's t.
    """
    n = len(log_densities)
    if n < 2:
        return float("nan")
    without = [logsumexp(np.delete(log_densities, i, axis=0), axis=0).mean() for i in range(n)]
    error = np.sqrt((n - 1) * np.var(without))
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * error)


def _in_units(
    values: Float[np.ndarray, "*draw series"], scale: Float[np.ndarray, " series"]
) -> Float[np.ndarray, "*draw series"]:
    """Divided by the series' scales; 0 for one that never varies."""
    return np.where(scale > 0, values / np.where(scale > 0, scale, 1.0), 0.0)
