"""EWMA with t innovations: scipy's densities, known figures, the truth, its own past."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from jaxvae.baselines.ewma_t import HALF_LIVES, EwmaT, fit_ewma_t
from jaxvae.baselines.ewma_t_two_speeds import fit_ewma_t_two_speeds
from jaxvae.data.named import load_named
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.errors import OptionError

VALUES = np.random.default_rng(0).standard_t(5, size=(400, 3))
SPLIT = split_dates(len(VALUES))
FIT, N_TRAIN = VALUES[SPLIT.fit], SPLIT.train.stop
FITS = (fit_ewma_t, fit_ewma_t_two_speeds)
MOMENT = VALUES[:252].T @ VALUES[:252] / 252
LAW = EwmaT(
    (MOMENT, MOMENT), np.cov(FIT.T, ddof=0), (8.0, 40.0), (0.75, 0.25), shrinkage=0.2, scale=1.1
)


def every(law, values):
    return np.concatenate(list(law.covariances(values)))


def test_log_likelihood_is_scipys():
    for df in (5.0, np.inf):
        law, covariances = replace(LAW, df=df), every(LAW, VALUES[:20])
        if np.isinf(df):
            laws = [stats.multivariate_normal(np.zeros(3), c) for c in covariances]
        else:
            laws = [stats.multivariate_t(np.zeros(3), c * (df - 2) / df, df) for c in covariances]
        expected = [law.logpdf(row) for law, row in zip(laws, VALUES[:20], strict=True)]
        np.testing.assert_allclose(law.log_likelihood(VALUES[:20]), expected)
    with pytest.raises(OptionError, match="above 2"):
        replace(LAW, df=2.0).log_likelihood(VALUES)


def test_recursion_by_hand():
    found, (fast, slow), decays = every(LAW, VALUES), LAW.first, 0.5 ** (1 / np.array([8.0, 40.0]))
    for row in VALUES[:2]:
        fast, slow = (
            decay * moment + (1 - decay) * np.outer(row, row)
            for decay, moment in zip(decays, (fast, slow), strict=True)
        )
    deviations = np.sqrt(0.75 * np.diag(fast) + 0.25 * np.diag(slow))
    mixed = 0.25 * fast + 0.75 * slow
    root = np.sqrt(np.diag(mixed))
    own = mixed * np.outer(deviations / root, deviations / root)
    target = LAW.target * (deviations**2).sum() / np.trace(LAW.target)
    np.testing.assert_allclose(found[2], 1.1 * (0.8 * own + 0.2 * target))
    assert len(found) == len(VALUES)


def test_equal_half_lives_are_one_speed():
    one, other = (
        replace(LAW, half_lives=(20.0, 20.0), weights=weights)
        for weights in ((1.0, 1.0), (0.5, 0.0))
    )
    np.testing.assert_allclose(every(one, VALUES), every(other, VALUES))


@pytest.mark.parametrize("fit", FITS)
def test_a_forecast_does_not_see_its_date_or_later_ones(fit):
    law, changed = fit(FIT, N_TRAIN), VALUES.copy()
    changed[350:] *= 7.0
    before, after = (law.log_likelihood(values)[:350] for values in (VALUES, changed))
    np.testing.assert_array_equal(before, after)
    before, after = (every(law, values)[:351] for values in (VALUES, changed))
    np.testing.assert_allclose(before, after, rtol=1e-13)


def test_choices_are_the_likeliest_of_validation_and_see_no_more():
    """Where the target is the training rows' and the averages know what came before."""
    chosen, rows = fit_ewma_t(FIT, N_TRAIN), SPLIT.validation
    trained = replace(chosen, target=np.cov(FIT[:N_TRAIN].T, ddof=0))
    best = trained.log_likelihood(FIT)[rows].mean()
    for other in (
        {"half_lives": (HALF_LIVES[0],) * 2},
        {"shrinkage": 0.05},
        {"df": 50.0},
        {"scale": 0.5},
    ):
        assert replace(trained, **other).log_likelihood(FIT)[rows].mean() <= best + 1e-12


def test_two_speeds_are_never_less_likely_on_validation_and_are_found_where_they_are_true():
    """Returns whose variances change fast while their correlations stand."""
    rng = np.random.default_rng(3)
    log_variance = np.zeros(3)
    rows, mixing = np.empty((1000, 3)), np.linalg.cholesky(0.3 * np.eye(3) + 0.7)
    for row in rows:
        log_variance = 0.9 * log_variance + 0.5 * rng.normal(size=3)
        row[:] = np.exp(0.5 * log_variance) * (mixing @ rng.normal(size=3))
    n_train, scores = 600, []
    for fit in FITS:
        law = replace(fit(rows[:1000], n_train), target=np.cov(rows[:n_train].T, ddof=0))
        scores.append(law.log_likelihood(rows)[n_train:].mean())
    assert scores[1] > scores[0] + 0.02
    assert law.half_lives[0] < law.half_lives[1]
    assert law.weights[0] > law.weights[1]


def test_it_has_no_factors_and_rebuilds_nothing():
    assert LAW.factors(VALUES).shape == (len(VALUES), LAW.n_factors)
    assert not LAW.reconstruct(VALUES).any()


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("skfolio", "linearmodels")),
    reason="needs the extra 'data'",
)
@pytest.mark.parametrize(
    ("name", "gaussian", "student"), [("sp500", -17.68, -15.88), ("french", -24.22, -19.62)]
)
def test_known_figures(name, gaussian, student):
    """Of λ = .99 and a tenth of shrinkage; the best ν on the test part."""
    panel = load_named(name)
    split = split_dates(panel.n_dates)
    values = fit_scaler(panel.values[split.fit]).standardise(panel.values)
    moment = values[:252].T @ values[:252] / 252
    half_life = np.log(0.5) / np.log(0.99)
    law = EwmaT((moment, moment), np.cov(values[split.fit].T, ddof=0), (half_life, half_life))
    scores = [replace(law, df=df).log_likelihood(values)[split.test].mean() for df in (np.inf, 6.0)]
    np.testing.assert_allclose(scores, [gaussian, student], atol=0.01)


@pytest.mark.parametrize("fit", FITS)
def test_what_it_starts_from_knows_no_validation_row(fit):
    """On a short panel too, or the choice on validation rows would have seen them."""
    short, train = VALUES[:140], VALUES[:100]
    for moment in fit(short, len(train)).first:
        np.testing.assert_allclose(moment, train.T @ train / len(train))
