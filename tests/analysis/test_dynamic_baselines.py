"""EWMA with t innovations: against scipy's densities, the known figures, and its own past."""

import importlib.util

import numpy as np
import pytest
from scipy import stats

from jaxvae.analysis.dynamic_baselines import (
    FREEDOMS,
    Forecast,
    ewma_covariances,
    fit_ewma_t,
    forecast_log_likelihood,
)
from jaxvae.data.named import load_named
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.errors import OptionError

VALUES = np.random.default_rng(0).standard_t(5, size=(400, 3))
SPLIT = split_dates(len(VALUES))


def test_log_likelihood_is_scipys():
    covariances = ewma_covariances(VALUES, SPLIT.fit)[:20]
    for freedom in (5.0, np.inf):
        found = forecast_log_likelihood(Forecast(covariances, freedom), VALUES[:20])
        if np.isinf(freedom):
            laws = [stats.multivariate_normal(np.zeros(3), c) for c in covariances]
        else:
            scales = covariances * (freedom - 2) / freedom
            laws = [stats.multivariate_t(np.zeros(3), c, freedom) for c in scales]
        expected = [law.logpdf(row) for law, row in zip(laws, VALUES[:20], strict=True)]
        np.testing.assert_allclose(found, expected)


def test_recursion_by_hand():
    found = ewma_covariances(VALUES, SPLIT.fit)
    target = np.cov(VALUES[SPLIT.fit].T, ddof=0)
    moment = VALUES[:252].T @ VALUES[:252] / 252
    for row in VALUES[:2]:
        moment = 0.99 * moment + 0.01 * np.outer(row, row)
    expected = 0.9 * moment + 0.1 * target * np.trace(moment) / np.trace(target)
    np.testing.assert_allclose(found[2], expected)


def test_a_forecast_does_not_see_its_date_or_later_ones():
    changed = VALUES.copy()
    changed[350:] *= 7.0
    before, after = (ewma_covariances(v, SPLIT.fit)[:351] for v in (VALUES, changed))
    np.testing.assert_array_equal(before, after)


def test_freedom_is_chosen_on_validation():
    chosen = fit_ewma_t(VALUES, SPLIT.fit, SPLIT.validation)
    rows = SPLIT.validation
    scores = [
        forecast_log_likelihood(Forecast(chosen.covariance[rows], nu), VALUES[rows]).mean()
        for nu in FREEDOMS
    ]
    assert chosen.degrees_of_freedom == FREEDOMS[int(np.argmax(scores))]
    changed = VALUES.copy()
    changed[SPLIT.test] = 0.01
    again = fit_ewma_t(changed, SPLIT.fit, SPLIT.validation)
    assert again.degrees_of_freedom == chosen.degrees_of_freedom
    with pytest.raises(OptionError, match="above 2"):
        fit_ewma_t(VALUES, SPLIT.fit, SPLIT.validation, (2.0,))


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("skfolio", "linearmodels")),
    reason="needs the extra 'data'",
)
@pytest.mark.parametrize(
    ("name", "gaussian", "student"), [("sp500", -17.68, -15.88), ("french", -24.22, -19.62)]
)
def test_known_figures(name, gaussian, student):
    """The best of the degrees of freedom on the test part, which favours the baseline."""
    panel = load_named(name)
    split = split_dates(panel.n_dates)
    values = fit_scaler(panel.values[split.fit]).standardise(panel.values)
    covariances, test = ewma_covariances(values, split.fit)[split.test], values[split.test]
    scores = [
        forecast_log_likelihood(Forecast(covariances, nu), test).mean() for nu in (np.inf, 6.0)
    ]
    np.testing.assert_allclose(scores, [gaussian, student], atol=0.01)
