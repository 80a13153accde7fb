"""The lasso's path against scikit-learn's iterations, its own optimality and closed forms."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import Lasso, LassoCV

from jaxvae.analysis.lasso import cross_validated_lasso, lasso_path


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def regression(rng, n_dates, n_regressors, n_targets, noise=1.0):
    """Standardised; the regressors correlate, so that coefficients leave the path and return."""
    mixed = rng.normal(size=(n_dates, n_regressors)) @ rng.normal(size=(n_regressors,) * 2)
    targets = mixed @ rng.normal(size=(n_regressors, n_targets))
    targets += noise * targets.std() * rng.normal(size=targets.shape)
    return stats.zscore(mixed), stats.zscore(targets)


def moments(x, y):
    n_targets = y.shape[1]
    return np.tile(x.T @ x / len(x), (n_targets, 1, 1)), y.T @ x / len(x)


@pytest.mark.parametrize("n_regressors", [1, 3, 8])
@pytest.mark.parametrize("noise", [0.1, 1.0, 30.0])
def test_coefficients_are_scikit_learns(rng, n_regressors, noise):
    x, y = regression(rng, 203, n_regressors, 3, noise)
    models = [LassoCV(cv=5, tol=1e-12, max_iter=1_000_000).fit(x, target) for target in y.T]
    expected = np.stack([model.coef_ for model in models], axis=1)
    np.testing.assert_allclose(cross_validated_lasso(x, y), expected, atol=1e-7)


def test_path_is_scikit_learns_at_any_penalty(rng):
    x, y = regression(rng, 150, 6, 1)
    penalties = np.array([[0.3, 1e-3, 0.02, 5.0, 0.1]])
    found = lasso_path(*moments(x, y), penalties)[0]
    for penalty, coefficients in zip(penalties[0], found, strict=True):
        model = Lasso(penalty, tol=1e-12, max_iter=1_000_000, fit_intercept=False).fit(x, y[:, 0])
        np.testing.assert_allclose(coefficients, model.coef_, atol=1e-7)


def test_path_meets_the_conditions_of_an_optimum(rng):
    """Repeated, summed and constant regressors too, where several optima exist."""
    x, y = regression(rng, 300, 4, 5)
    x = np.column_stack([x, -x[:, 0], stats.zscore(x[:, 0] + x[:, 1]), np.zeros(300), x[:, 2]])
    gram, cross = moments(x, y)
    penalties = np.abs(cross).max(axis=1)[:, None] * np.geomspace(1, 1e-3, 40)
    path = lasso_path(gram, cross, penalties)
    slope = cross[:, None] - path @ gram[0]
    assert (np.abs(slope) <= penalties[:, :, None] + 1e-9).all()
    used = np.abs(path) > 1e-12
    tight = np.where(used, slope - penalties[:, :, None] * np.sign(path), 0.0)
    np.testing.assert_allclose(tight, 0, atol=1e-9)
    assert used[:, -1].sum(axis=1).max() <= 4
    assert not used[:, :, 6].any()


def test_uncorrelated_regressors_are_soft_thresholded(rng):
    cross = np.array([[0.9, -0.4, 0.05]])
    found = lasso_path(np.eye(3)[None], cross, np.array([[0.1, 0.5]]))
    np.testing.assert_allclose(found, [[[0.8, -0.3, 0.0], [0.4, 0.0, 0.0]]], atol=1e-12)


def test_nothing_to_explain_has_no_coefficients():
    found = cross_validated_lasso(np.zeros((20, 2)), np.zeros((20, 3)))
    np.testing.assert_array_equal(found, np.zeros((2, 3)))
