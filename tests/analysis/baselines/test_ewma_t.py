"""EWMA with t innovations: against scipy's densities, the known figures, and its own past."""

import importlib.util

import numpy as np
import pytest
from scipy import stats

from jaxvae.analysis.baselines.ewma_t import DFS, fit_ewma_t
from jaxvae.data.named import load_named
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.errors import OptionError

VALUES = np.random.default_rng(0).standard_t(5, size=(400, 3))
SPLIT = split_dates(len(VALUES))


FIT, N_TRAIN = VALUES[SPLIT.fit], SPLIT.train.stop


def test_log_likelihood_is_scipys():
    for df in (5.0, np.inf):
        law = fit_ewma_t(FIT, N_TRAIN)._replace(df=df)
        covariances = list(law.covariances(VALUES[:20]))
        if np.isinf(df):
            laws = [stats.multivariate_normal(np.zeros(3), c) for c in covariances]
        else:
            laws = [stats.multivariate_t(np.zeros(3), c * (df - 2) / df, df) for c in covariances]
        expected = [law.logpdf(row) for law, row in zip(laws, VALUES[:20], strict=True)]
        np.testing.assert_allclose(law.log_likelihood(VALUES[:20]), expected)


def test_recursion_by_hand():
    found = list(fit_ewma_t(FIT, N_TRAIN).covariances(VALUES))
    target = np.cov(FIT.T, ddof=0)
    moment = VALUES[:252].T @ VALUES[:252] / 252
    for row in VALUES[:2]:
        moment = 0.99 * moment + 0.01 * np.outer(row, row)
    expected = 0.9 * moment + 0.1 * target * np.trace(moment) / np.trace(target)
    np.testing.assert_allclose(found[2], expected)
    assert len(found) == len(VALUES)


def test_a_forecast_does_not_see_its_date_or_later_ones():
    changed = VALUES.copy()
    changed[350:] *= 7.0
    law = fit_ewma_t(FIT, N_TRAIN)
    before, after = (list(law.covariances(values))[:351] for values in (VALUES, changed))
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(
        law.log_likelihood(VALUES)[:350], law.log_likelihood(changed)[:350]
    )


def test_df_is_chosen_on_validation():
    chosen, rows = fit_ewma_t(FIT, N_TRAIN), SPLIT.validation
    scores = [chosen._replace(df=df).log_likelihood(FIT)[rows].mean() for df in DFS]
    assert chosen.df == DFS[int(np.argmax(scores))]
    with pytest.raises(OptionError, match="above 2"):
        fit_ewma_t(FIT, N_TRAIN, (2.0,))


def test_it_has_no_factors_and_rebuilds_nothing():
    law = fit_ewma_t(FIT, N_TRAIN)
    assert law.factors(VALUES).shape == (len(VALUES), law.n_factors)
    assert not law.reconstruct(VALUES).any()


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
    law = fit_ewma_t(values[split.fit], split.train.stop)
    scores = [law._replace(df=df).log_likelihood(values)[split.test].mean() for df in (np.inf, 6.0)]
    np.testing.assert_allclose(scores, [gaussian, student], atol=0.01)
