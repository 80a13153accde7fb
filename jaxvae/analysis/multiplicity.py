"""Several comparisons at once, and the best of many: what is left of a lead that was picked.

An interval that misses the truth once in twenty is wrong somewhere among twenty. All series here
are differences date by date, resampled together in blocks of dates, so that what they share stays.
"""

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.metrics import block_means


def simultaneous_intervals(
    rng: np.random.Generator,
    differences: Float[np.ndarray, "date comparison"],
    block_length: int,
    n_draws: int = 2000,
    level: float = 0.95,
) -> tuple[Float[np.ndarray, " comparison"], Float[np.ndarray, " comparison"]]:
    """Intervals for the means of several series that hold all of them at once.

        d̄_k ± c σ_k,   c the `level` quantile over draws of max_k |d̄*_k − d̄_k| / σ_k

    with d̄* the means of circular block resamples and σ_k the standard deviation over dates.
    Correlated comparisons, such as two models against one rival, widen them less than Bonferroni's
    correction would. A series that never varies takes no part and has no width.

    differences: such as one model's log-likelihood less another's (nats), a column a comparison.
    block_length: dates a block, as in `metrics.block_bootstrap_interval`.
    level: the probability that no interval misses, between 0 and 1.

    Returns the lower and the upper ends. Source: Romano and Wolf (2005), "Stepwise multiple testing
    as formalized data snooping"; this is its first step, which gives intervals. They divide by a
    standard error that allows for autocorrelation. From a few long blocks that is so uncertain that
    the maximum seeks out its errors: 18 blocks make 14 misses of 5 in 100, and σ_k 7.
    """
    mean, scale = differences.mean(axis=0), differences.std(axis=0)
    errors = block_means(rng, differences, block_length, n_draws) - mean
    largest = np.abs(_in_units(errors, scale)).max(axis=1)
    half = np.quantile(largest, level) * scale
    return mean - half, mean + half


def best_of_many_p_value(
    rng: np.random.Generator,
    leads: Float[np.ndarray, "date member"],
    block_length: int,
    n_draws: int = 2000,
) -> float:
    """p-value of "no member beats the rival", when the best of all members was picked.

        T = max_k (d̄_k / σ_k, 0),   p = share of draws in which T* = max_k (z*_k / σ_k, 0) ≥ T

    with σ_k as in `simultaneous_intervals`, for its reason, and z*_k = d̄*_k − d̄_k for members that
    hold their own against the rival. One far behind, d̄_k < −s_k √(2 ln ln n) with s_k the standard
    deviation of d̄*_k, cannot win by luck and keeps its deficit, z*_k = d̄*_k: hopeless members do
    not hide a good one. To test the best member alone, as if it had been the only one, understates
    p the more members there are.

    leads: each member's log-likelihood less the rival's, date by date (nats); three dates or more.

    Returns p, above 0 and at most 1: the data count as one of the draws. Source: White (2000), "A
    reality check for data snooping"; scaled and recentred after Hansen (2005), "A test for superior
    predictive ability".
    """
    mean, scale = leads.mean(axis=0), leads.std(axis=0)
    errors = block_means(rng, leads, block_length, n_draws) - mean
    behind = mean < -errors.std(axis=0) * np.sqrt(2 * np.log(np.log(len(leads))))
    drawn = _in_units(errors + np.where(behind, mean, 0.0), scale).max(axis=1)
    best = max(float(_in_units(mean, scale).max()), 0.0)
    return float((1 + (np.maximum(drawn, 0.0) >= best).sum()) / (1 + n_draws))


def _in_units(
    values: Float[np.ndarray, "*draw series"], scale: Float[np.ndarray, " series"]
) -> Float[np.ndarray, "*draw series"]:
    """Divided by the series' scales; 0 for one that never varies."""
    return np.where(scale > 0, values / np.where(scale > 0, scale, 1.0), 0.0)
