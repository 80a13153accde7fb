"""Scores against their definitions, SciPy, scikit-learn and Monte-Carlo coverage."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from jaxvae.analysis.metrics import (
    active_units,
    block_bootstrap_interval,
    block_means,
    correlation,
    describe,
    mean_column_r2,
    mse,
    r2,
    standardise_columns,
    student_interval,
    upper_correlations,
)
from jaxvae.errors import OptionError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_r2_and_mse_pool_over_cells(rng):
    values = rng.normal(size=(50, 3)) * [1.0, 2.0, 5.0]
    rebuilt = values + 0.5 * rng.normal(size=(50, 3))
    centred = (values - values.mean(0)).ravel()
    expected = r2_score(centred, (rebuilt - values.mean(0)).ravel())
    assert r2(values, rebuilt, values.mean(0)) == pytest.approx(expected)
    assert mse(values, rebuilt) == pytest.approx(((values - rebuilt) ** 2).mean())


def test_columns_count_alike_in_their_mean_r2(rng):
    values = rng.normal(size=(50, 3)) * [1.0, 100.0, 0.0]
    rebuilt = values + rng.normal(size=(50, 3))
    mean = values.mean(axis=0)
    columns = [slice(k, k + 1) for k in range(3)]
    each = [r2(values[:, k], rebuilt[:, k], mean[k]) for k in columns]
    assert mean_column_r2(values, rebuilt, mean) == pytest.approx(np.mean(each))
    assert each[2] == 0


def test_r2_measures_against_the_training_mean(rng):
    """Rows that moved away from the training mean: rebuilding that mean explains nothing."""
    values = rng.normal(size=(40, 2)) + 3
    training_mean = np.zeros(2)
    assert r2(values, np.zeros((40, 2)), training_mean) == 0
    assert r2(values, np.broadcast_to(values.mean(0), (40, 2)), training_mean) > 0.8


def test_r2_without_variance_is_zero():
    values = np.ones((4, 2))
    assert r2(values, values, np.ones(2)) == 0


def test_scores_skip_missing_cells(rng):
    values = rng.normal(size=(30, 2))
    rebuilt = 0.5 * values
    holed, mean = values.copy(), values.mean(0)
    holed[3:9, 0] = np.nan
    seen = ~np.isnan(holed)
    residual, total = (values - rebuilt)[seen], (values - mean)[seen]
    assert r2(holed, rebuilt, mean) == pytest.approx(1 - (residual**2).sum() / (total**2).sum())
    assert mse(holed, rebuilt) == pytest.approx((residual**2).mean())
    assert describe(holed).mean == pytest.approx(values[seen].mean())


def test_correlation_is_numpys(rng):
    a, b = rng.normal(size=(60, 3)), rng.normal(size=(60, 4))
    expected = np.corrcoef(a.T, b.T)[:3, 3:]
    np.testing.assert_allclose(correlation(a, b), expected, atol=1e-12)


def test_constant_columns_correlate_with_nothing(rng):
    a = rng.normal(size=(60, 2))
    a[:, 1] = 0.1 + 1e-15 * a[:, 0]  # moves by rounding alone
    matrix = correlation(a, a)
    np.testing.assert_array_equal(matrix[1], 0)
    assert matrix[0, 0] == pytest.approx(1)


def test_standardising_takes_any_leading_axis(rng):
    columns = 3 + 2 * rng.normal(size=(4, 30, 2))
    units, location, scale = standardise_columns(columns)
    np.testing.assert_allclose(units[2], stats.zscore(columns[2]))
    np.testing.assert_allclose(units * scale[:, None] + location[:, None], columns)


def test_upper_correlations_are_the_triangle_above_the_diagonal(rng):
    values = rng.normal(size=(80, 5))
    expected = np.corrcoef(values.T)[np.triu_indices(5, 1)]
    np.testing.assert_allclose(upper_correlations(values), expected, atol=1e-12)


def test_active_units_move_by_more_than_a_hundredth(rng):
    noise = stats.zscore(rng.normal(size=(200, 3)))
    means = noise * [1.0, 0.11, 0.09] + 5
    np.testing.assert_array_equal(active_units(means), [True, True, False])
    np.testing.assert_array_equal(active_units(means[None]), [[True, True, False]])


def test_moments_are_scipys(rng):
    values = rng.standard_t(6, size=(400, 5))
    cells = stats.describe(values.ravel(), ddof=0)
    moments = describe(values)
    assert moments.std == pytest.approx(cells.variance**0.5)
    assert (moments.min, moments.max) == cells.minmax
    expected = (cells.mean, cells.skewness, cells.kurtosis)
    assert (moments.mean, moments.skew, moments.excess_kurtosis) == pytest.approx(expected)


def autoregression(rng, persistence, n_series, n_dates):
    """Stationary AR(1) series of mean 0, one a row."""
    shocks = rng.normal(size=(n_series, n_dates))
    shocks[:, 0] /= np.sqrt(1 - persistence**2)
    for date in range(1, n_dates):
        shocks[:, date] += persistence * shocks[:, date - 1]
    return shocks


def coverage(rng, block_length):
    """How often a nominal 95 % interval holds the mean 0 of 400 AR(1) series (ρ = .5, n = 400)."""
    intervals = [
        block_bootstrap_interval(rng, series, block_length, n_draws=400)
        for series in autoregression(rng, 0.5, 400, 400)
    ]
    return np.mean([interval.low <= 0 <= interval.high for interval in intervals])


def test_block_bootstrap_covers_autocorrelated_means(rng):
    """Blocks hold the mean about 91 times in 100; single dates ignore autocorrelation: 72."""
    assert 0.87 < coverage(rng, None) < 0.96
    assert coverage(rng, 1) < 0.80


def test_single_date_blocks_give_the_standard_error(rng):
    series = 2 + rng.normal(size=300)
    interval = block_bootstrap_interval(rng, series, block_length=1, n_draws=20_000)
    error = series.std() / np.sqrt(300)
    assert interval.mean == pytest.approx(series.mean())
    ends = series.mean() + error * stats.norm.ppf([0.025, 0.975])
    np.testing.assert_allclose([interval.low, interval.high], ends, atol=0.04 * error)


def test_blocks_as_long_as_the_series_always_give_its_mean(rng):
    series = rng.normal(size=50)
    interval = block_bootstrap_interval(rng, series, block_length=50)
    assert interval.low == pytest.approx(series.mean())
    assert interval.high == pytest.approx(series.mean())


def test_resamples_keep_the_number_of_dates(rng):
    """n = 10 in blocks of 4: 4 + 4 + 2, so each mean is a whole number of tenths."""
    series = np.zeros(10)
    series[0] = 1.0
    interval = block_bootstrap_interval(rng, series, block_length=4, n_draws=500, level=0.99)
    assert interval.high * 10 == pytest.approx(round(interval.high * 10))
    assert interval.low == 0


def test_wider_level_wider_interval(rng):
    series = rng.normal(size=200)
    wide, narrow = (
        block_bootstrap_interval(np.random.default_rng(1), series, level=level)
        for level in (0.99, 0.8)
    )
    assert wide.low < narrow.low < series.mean() < narrow.high < wide.high


@pytest.mark.parametrize("block_length", [0, 21])
def test_refuses_an_impossible_block(rng, block_length):
    with pytest.raises(OptionError, match="choose one from 1 to 20"):
        block_bootstrap_interval(rng, rng.normal(size=20), block_length)


def test_series_are_resampled_by_the_same_dates(rng):
    series = rng.normal(size=(60, 1)) * [1.0, -2.0]
    draws = block_means(rng, series, 7, 50)
    np.testing.assert_allclose(draws[:, 1], -2 * draws[:, 0])


def test_block_means_are_means_of_blocks_joined_in_a_circle():
    """Starts drawn again, and the resamples joined date by date."""
    series = np.random.default_rng(1).normal(size=(10, 2))
    starts = np.random.default_rng(0).integers(10, size=(6, 3))
    dates = [np.concatenate([s + np.arange(4) for s in row])[:10] % 10 for row in starts]
    expected = [series[chosen].mean(axis=0) for chosen in dates]
    np.testing.assert_allclose(block_means(np.random.default_rng(0), series, 4, 6), expected)


def test_interval_over_seeds_is_scipys(rng):
    scores = rng.normal(size=8)
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert student_interval(scores) == pytest.approx((scores.mean(), *expected))


def test_interval_over_seeds_covers_the_mean_over_all_seeds(rng):
    """Nineteen times in twenty, from five seeds, and even when scores are skewed about as often."""
    for draw, mean in ((rng.normal, 0.0), (lambda size: rng.beta(8, 2, size=size), 0.8)):
        intervals = [student_interval(draw(size=5)) for _ in range(1500)]
        assert np.mean([i.low <= mean <= i.high for i in intervals]) == pytest.approx(
            0.95, abs=0.025
        )


def test_one_seed_has_no_interval():
    with pytest.raises(OptionError, match="at least 2"):
        student_interval(np.ones(1))
