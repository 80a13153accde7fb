"""The panel of regimes: its chain, and its filter against a sum over all paths of regimes."""

import itertools

import numpy as np
import pytest
from regimes_likelihood import regimes_log_likelihood
from scipy.stats import multivariate_normal

from jaxvae.baselines import fit_ewma_t
from jaxvae.data.named import load_named
from jaxvae.data.panel import Scaler, fit_scaler, split_dates
from jaxvae.data.regimes import SCALES, STAY, regimes_panel, stationary
from jaxvae.data.synthetic import linear_panel


def test_filter_is_the_sum_over_all_paths():
    panel, truth, regimes = regimes_panel(1, n_dates=6, n_assets=3, n_factors=1, n_sectors=2)
    unit = Scaler(np.zeros(3), np.ones(3))
    slopes = truth.loadings * truth.volatilities * np.sqrt(0.95**2 / 0.99)
    covariance = slopes @ slopes.T + np.diag(truth.noise_scale**2)
    laws = [multivariate_normal(np.zeros(3), c**2 * covariance) for c in SCALES]
    total = 0.0
    for path in itertools.product(range(2), repeat=6):
        chance = stationary(regimes.transitions)[path[0]]
        chance *= np.prod([regimes.transitions[a, b] for a, b in itertools.pairwise(path)])
        total += chance * np.prod([laws[s].pdf(r) for s, r in zip(path, panel.values, strict=True)])
    found = regimes_log_likelihood(panel, truth, regimes, unit)
    assert found.sum() == pytest.approx(np.log(total))
    scaler = fit_scaler(panel.values)
    shifted = regimes_log_likelihood(panel, truth, regimes, scaler) - found
    np.testing.assert_allclose(shifted, np.log(scaler.scale).sum())


def test_chain_keeps_its_regimes_as_long_as_it_says():
    _, _, regimes = regimes_panel(3, n_dates=20_000, n_assets=2, n_factors=1)
    law = stationary(regimes.transitions)
    np.testing.assert_allclose(law, np.array([0.05, 0.02]) / 0.07, rtol=1e-9)
    assert regimes.states.mean() == pytest.approx(law[1], abs=0.03)
    moves = regimes.states[1:] == regimes.states[:-1]
    for state, stays in enumerate(STAY):
        assert moves[regimes.states[:-1] == state].mean() == pytest.approx(stays, abs=0.01)


def test_panel_is_the_linear_one_scaled_by_regime():
    panel, truth, regimes = regimes_panel(5, n_dates=50, n_assets=4, n_factors=2)
    calm, same = linear_panel(5, n_dates=50, n_assets=4, n_factors=2, n_sectors=5)
    moves = np.array(SCALES)[regimes.states][:, None]
    np.testing.assert_array_equal(panel.values, calm.values * moves)
    np.testing.assert_array_equal(truth.loadings, same.loadings)
    np.testing.assert_array_equal(panel.reference.factors, calm.reference.factors * moves)


def test_no_classical_forecast_beats_the_true_model():
    panel, truth, regimes = regimes_panel()
    assert load_named("regimes").values.tobytes() == panel.values.tobytes()
    split = split_dates(panel.n_dates)
    scaler = fit_scaler(panel.values[split.fit])
    oracle = regimes_log_likelihood(panel, truth, regimes, scaler)[split.test].mean()
    values = scaler.standardise(panel.values)
    ewma = fit_ewma_t(values[split.fit], split.train.stop).log_likelihood(values)
    assert oracle > ewma[split.test].mean() + 0.5
