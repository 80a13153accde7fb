"""Scores against their definitions, SciPy, scikit-learn and Monte-Carlo coverage."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import r2_score

from jaxvae.analysis.metrics import (
    active_units,
    column_r2,
    correlation,
    describe,
    r2,
    standardise_columns,
    upper_correlations,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def pooled(values, rebuilt, mean):
    """R² of what was rebuilt."""
    return r2(np.nansum((values - rebuilt) ** 2), values, mean)


def test_r2_pools_over_cells(rng):
    values = rng.normal(size=(50, 3)) * [1.0, 2.0, 5.0]
    rebuilt = values + 0.5 * rng.normal(size=(50, 3))
    centred = (values - values.mean(0)).ravel()
    expected = r2_score(centred, (rebuilt - values.mean(0)).ravel())
    assert pooled(values, rebuilt, values.mean(0)) == pytest.approx(expected)


def test_columns_count_alike_in_their_mean_r2(rng):
    values = rng.normal(size=(50, 3)) * [1.0, 100.0, 0.0]
    rebuilt = values + rng.normal(size=(50, 3))
    mean = values.mean(axis=0)
    columns = [slice(k, k + 1) for k in range(3)]
    each = [pooled(values[:, k], rebuilt[:, k], mean[k]) for k in columns]
    np.testing.assert_allclose(column_r2(values, values - rebuilt, mean), each)
    np.testing.assert_array_equal(
        column_r2(values, values - rebuilt), column_r2(values, values - rebuilt, np.zeros(3))
    )
    assert each[2] == 0


def test_r2_measures_against_the_training_mean(rng):
    """Rows that moved away from the training mean: rebuilding that mean explains nothing."""
    values = rng.normal(size=(40, 2)) + 3
    training_mean = np.zeros(2)
    assert pooled(values, np.zeros((40, 2)), training_mean) == 0
    assert pooled(values, np.broadcast_to(values.mean(0), (40, 2)), training_mean) > 0.8


def test_r2_without_variance_is_zero():
    values = np.ones((4, 2))
    assert pooled(values, values, np.ones(2)) == 0


def test_scores_skip_missing_cells(rng):
    values = rng.normal(size=(30, 2))
    rebuilt = 0.5 * values
    holed, mean = values.copy(), values.mean(0)
    holed[3:9, 0] = np.nan
    seen = ~np.isnan(holed)
    residual, total = (values - rebuilt)[seen], (values - mean)[seen]
    assert pooled(holed, rebuilt, mean) == pytest.approx(1 - (residual**2).sum() / (total**2).sum())
    assert describe(holed)["mean"] == pytest.approx(values[seen].mean())


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
    assert (moments["min"], moments["max"]) == cells.minmax
    expected = {
        "mean": cells.mean,
        "std": cells.variance**0.5,
        "min": cells.minmax[0],
        "max": cells.minmax[1],
        "skewness": cells.skewness,
        "excess_kurtosis": cells.kurtosis,
    }
    assert list(moments) == list(expected)
    assert moments == pytest.approx(expected)
