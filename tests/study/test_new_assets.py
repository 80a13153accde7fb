"""Stocks never seen: Bayesian regression around the sector, against its limits and closed forms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from told import HELD_OUT, N_FIT, OTHERS, TOLD, TRUTH, WHOLE

from jaxvae.errors import DataError, OptionError
from jaxvae.study.folder import load_study
from jaxvae.study.new_assets import (
    Design,
    Prior,
    _noise_prior,
    designs,
    newcomer,
    regress,
    sector_prior,
)

RNG = np.random.default_rng(0)
D = RNG.normal(size=(400, 3))
SURE = Prior(np.array([0.5, -0.5, 0.0]), np.array([0.2, 0.1, 0.3]), 1e9, 0.25)


def known(rows):
    """A design whose regressors are known exactly, on dates of like noise."""
    return Design(rows, np.zeros((*rows.shape, rows.shape[1])), np.ones(len(rows)))


def test_known_noise_is_bayesian_ridge_regression():
    returns = D[:7] @ [1.0, 0.0, 0.2] + 0.5 * RNG.normal(size=7)
    mean, covariance, noise = regress(known(D[:7]), returns, SURE)
    precision = np.diag(1 / SURE.variance) + D[:7].T @ D[:7] / 0.25
    np.testing.assert_allclose(covariance, np.linalg.inv(precision), rtol=1e-6)
    moment = SURE.mean / SURE.variance + D[:7].T @ returns / 0.25
    np.testing.assert_allclose(mean, np.linalg.solve(precision, moment), rtol=1e-6)
    assert noise == pytest.approx(0.25, rel=1e-6)


def test_no_history_is_the_sectors_mean_and_a_long_one_least_squares():
    loose = SURE._replace(freedom=2.0)
    mean, covariance, noise = regress(known(D[:0]), np.zeros(0), loose)
    np.testing.assert_array_equal(mean, SURE.mean)
    np.testing.assert_allclose(covariance, np.diag(SURE.variance))
    assert noise == pytest.approx(0.25, rel=0.5)
    returns = D @ [1.0, 0.0, 0.2] + 0.1 * RNG.normal(size=400)
    mean, _, noise = regress(known(D), returns, loose)
    alone, residual, *_ = np.linalg.lstsq(D, returns, rcond=None)
    np.testing.assert_allclose(mean, alone, atol=1e-3)
    assert noise == pytest.approx((2.0 * 0.25 + residual[0]) / 402, rel=0.02)


def blurred(n, blur):
    """A design whose factor is known up to an error of that variance, and returns at loading 2."""
    centre = RNG.normal(size=(n, 1)) * (1 - blur) ** 0.5
    factor = centre[:, 0] + blur**0.5 * RNG.normal(size=n)
    design = Design(centre, np.full((n, 1, 1), blur), np.ones(n))
    return design, 2.0 * factor + 0.5 * RNG.normal(size=n)


def test_uncertain_factors_add_noise():
    """The posterior mean against one summed over a grid."""
    design, returns = blurred(60, 0.1)
    prior = Prior(np.ones(1), np.full(1, 4.0), 1e9, 0.25)
    mean, covariance, _ = regress(design, returns, prior)
    grid = np.linspace(0.5, 4.0, 4001)
    scale = np.sqrt(0.25 + grid[:, None] ** 2 * 0.1)
    logs = stats.norm.logpdf(returns, grid[:, None] * design.mean[:, 0], scale).sum(axis=1)
    logs += stats.norm.logpdf(grid, 1.0, 2.0)
    weights = np.exp(logs - logs.max())
    exact = float(weights @ grid / weights.sum())
    deviation = float(np.sqrt(weights @ (grid - exact) ** 2 / weights.sum()))
    assert float(mean[0]) == pytest.approx(exact, abs=0.5 * deviation)
    assert float(covariance[0, 0]) ** 0.5 == pytest.approx(deviation, rel=0.2)


def test_uncertain_factors_do_not_shrink_loadings_and_their_noise_is_not_the_stocks():
    design, returns = blurred(6000, 0.5)
    mean, _, noise = regress(design, returns, Prior(np.zeros(1), np.full(1, 100.0), 2.0, 1.0))
    assert float(mean[0]) == pytest.approx(2.0, abs=0.1)
    assert noise == pytest.approx(0.25, abs=0.15)
    assert np.var(returns - design.mean @ mean) > 2.0


def test_the_noises_prior_has_the_scatter_of_the_assets():
    noises = stats.invgamma(6.0, scale=6.0 * 0.3).rvs(20_000, random_state=1)
    freedom, centre = _noise_prior(noises)
    assert freedom == pytest.approx(12.0, rel=0.05)
    assert centre == pytest.approx(0.3, rel=0.03)
    assert _noise_prior(np.full(5, 0.4))[1] == pytest.approx(0.4, rel=1e-3)


# On a study of planted sectors


@pytest.fixture(scope="module")
def study(told_folder):
    return load_study(told_folder)


@pytest.fixture(scope="module")
def design(study):
    return designs(study, TOLD)


def history(asset, n_dates):
    dates = slice(N_FIT - n_dates, N_FIT)
    values = WHOLE.values[dates, asset]
    return pd.Series(values, index=WHOLE.dates[dates], dtype=float)


def later_error(mean, design, asset):
    """Mean squared error, on later dates, of what the factors do to a stock."""
    moved = TRUTH.factors[N_FIT:] @ TRUTH.loadings[asset]
    return np.mean((moved - design.mean[N_FIT:] @ mean) ** 2)


@pytest.mark.parametrize("n_dates", [5, 150])
def test_a_history_helps_and_never_loses_to_the_sector_or_to_regression(study, design, n_dates):
    """Over the held-out stocks; factors as the study says they are."""
    errors = np.zeros((3, len(HELD_OUT)))
    for place, asset in enumerate(HELD_OUT):
        sector, past = WHOLE.sectors[asset], history(asset, n_dates)
        found = newcomer(study, TOLD, past, sector)
        assert found.n_dates == n_dates
        rows = design.mean[N_FIT - n_dates : N_FIT]
        alone = np.linalg.lstsq(rows, past.to_numpy(), rcond=None)[0]
        rivals = (found.mean, sector_prior(study, sector).mean, alone)
        errors[:, place] = [later_error(mean, design, asset) for mean in rivals]
    ours, of_sector, of_regression = errors.mean(axis=1)
    assert ours < 1.1 * min(of_sector, of_regression)
    assert ours < (0.5 * of_regression if n_dates == 5 else 0.9 * of_sector)


def test_uncertainty_falls_with_the_history_and_noise_is_the_planted(study):
    asset = HELD_OUT[0]
    spreads = []
    for n_dates in (0, 10, 200):
        found = newcomer(study, TOLD, history(asset, n_dates), WHOLE.sectors[asset])
        spreads.append(np.asarray(found.loadings.sd))
    assert (np.diff(spreads, axis=0) < 0).all()
    assert found.noise == pytest.approx(TRUTH.noise_scale[asset], rel=0.2)
    assert list(found.loadings.index) == ["factor 1", "factor 2", *TOLD.covariates, "constant"]


def test_a_sectors_prior_is_its_assets_mean(study):
    prior = sector_prior(study, "sector 1")
    scale = study.arrays["scaler_scale"]
    raw = study.arrays["mean_loadings"] * scale[:, None]
    here = np.array(OTHERS.sectors) == "sector 1"
    np.testing.assert_allclose(prior.mean[:2], raw[here].mean(axis=0), rtol=1e-3, atol=1e-5)
    assert (prior.variance > 0).all()


def test_dates_with_a_gap_or_unknown_to_the_panel_do_not_count(study):
    past = history(HELD_OUT[0], 10)
    gap = past.copy()
    gap.iloc[3] = np.nan
    gap[pd.Timestamp("1999-01-04")] = 0.5
    found = newcomer(study, TOLD, gap, "sector 0")
    same = newcomer(study, TOLD, past.drop(past.index[3]), "sector 0")
    assert found.n_dates == 9
    np.testing.assert_allclose(found.mean, same.mean, rtol=1e-9)
    with pytest.raises(DataError, match="1999-01-04 00:00:00 twice"):
        newcomer(study, TOLD, pd.concat([gap, gap.iloc[-1:]]), "sector 0")
    with pytest.raises(DataError, match="no date of the new stock's history"):
        newcomer(study, TOLD, pd.Series([0.1], [pd.Timestamp("1999-01-04")]), "sector 0")


def test_what_a_study_does_not_know_is_refused(study):
    with pytest.raises(OptionError, match="'sector 9' is not one of the study's: sector 0"):
        newcomer(study, TOLD, history(3, 5), "sector 9")
    plain = replace(study, config={**study.config, "model_config": {"sectors": []}})
    with pytest.raises(OptionError, match="fit one with model='conditional'"):
        newcomer(plain, TOLD, history(3, 5), "sector 0")
