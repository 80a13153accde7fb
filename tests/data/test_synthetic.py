"""Planted panels against the generator they come from, the classical baselines and the truth."""

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA, FactorAnalysis

from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.data.synthetic import (
    conditional_mean,
    linear_panel,
    nonlinear_panel,
    volatility_index_panel,
)
from jaxvae.errors import OptionError


def notebook_returns(n_stocks=100, n_days=1000, n_factors=5):
    """The notebook's generator, word for word, on NumPy's global legacy stream."""
    factor_vols = np.array([0.02, 0.015, 0.01, 0.008, 0.005])[:n_factors]
    factors = np.random.randn(n_days, n_factors) * factor_vols
    for i in range(1, n_days):
        factors[i] = 0.1 * factors[i - 1] + 0.95 * factors[i]
    n_sectors = 10
    sector_loadings = np.random.randn(n_sectors, n_factors)
    stock_sectors = np.random.choice(n_sectors, n_stocks)
    loadings = np.zeros((n_stocks, n_factors))
    for i in range(n_stocks):
        loadings[i] = sector_loadings[stock_sectors[i]] + np.random.randn(n_factors) * 0.3
    idiosyncratic_vol = np.random.uniform(0.01, 0.03, n_stocks)
    idiosyncratic = np.random.randn(n_days, n_stocks) * idiosyncratic_vol
    returns = factors @ loadings.T + idiosyncratic
    tickers = [f"STOCK_{i:03d}" for i in range(n_stocks)]
    dates = pd.date_range("2020-01-01", periods=n_days, freq="B")
    df = pd.DataFrame(returns, index=dates, columns=tickers)
    return df, factors, loadings, stock_sectors


@pytest.fixture(scope="module")
def linear():
    return linear_panel()


@pytest.fixture(scope="module")
def nonlinear():
    return nonlinear_panel()


def standardised_parts(panel):
    """`fit` and `test` in the units of `fit`."""
    split = split_dates(panel.n_dates)
    scaler = fit_scaler(panel.values[split.fit])
    values = scaler.standardise(panel.values)
    return values[split.fit], values[split.test]


def pca_r2(panel):
    fit, test = standardised_parts(panel)
    pca = PCA(5).fit(fit)
    residual = test - pca.inverse_transform(pca.transform(test))
    return 1 - (residual**2).sum() / (test**2).sum()


def factor_analysis_score(panel, n_factors):
    fit, test = standardised_parts(panel)
    return FactorAnalysis(n_factors, svd_method="lapack").fit(fit).score(test)


@pytest.mark.parametrize("sizes", [(100, 1000, 5), (7, 30, 3)])
def test_linear_is_the_notebook_number_for_number(sizes):
    n_assets, n_dates, n_factors = sizes
    np.random.seed(42)
    returns, factors, loadings, sectors = notebook_returns(n_assets, n_dates, n_factors)
    panel, truth = linear_panel(n_assets=n_assets, n_dates=n_dates, n_factors=n_factors)
    pd.testing.assert_frame_equal(panel.to_frame(), returns, check_exact=True, check_freq=False)
    np.testing.assert_array_equal(truth.factors, factors)
    np.testing.assert_array_equal(truth.loadings, loadings)
    np.testing.assert_array_equal(truth.sectors, sectors)
    assert truth.curvature is None


def test_nonlinear_adds_the_curve_after_the_same_draws():
    np.random.seed(42)
    returns, factors, _, sectors = notebook_returns()
    curvature = np.random.randn(10, 5)[sectors] + 0.3 * np.random.randn(100, 5)
    volatility = np.array([0.02, 0.015, 0.01, 0.008, 0.005])
    curve = volatility * ((factors / volatility) ** 2 - 1) / np.sqrt(2)
    panel, truth = nonlinear_panel()
    np.testing.assert_array_equal(truth.curvature, curvature)
    np.testing.assert_allclose(panel.values, returns.values + curve @ curvature.T, atol=1e-15)


def test_linear_spectrum(linear):
    values = linear[0].values
    ratios = PCA(6).fit(fit_scaler(values).standardise(values)).explained_variance_ratio_
    np.testing.assert_array_equal(ratios.round(4), [0.3233, 0.2596, 0.0661, 0.0546, 0.0110, 0.0081])
    assert round(ratios[:5].sum(), 4) == 0.7146


def test_linear_baselines_out_of_sample(linear):
    assert round(pca_r2(linear[0]), 3) == 0.706
    assert round(factor_analysis_score(linear[0], 5), 1) == -82.7


def test_nonlinear_baselines_out_of_sample(nonlinear):
    assert round(pca_r2(nonlinear[0]), 3) == 0.767
    assert round(factor_analysis_score(nonlinear[0], 5), 1) == -73.5
    assert round(factor_analysis_score(nonlinear[0], 10), 1) == -67.2


def test_linear_truth_is_the_model_of_the_returns(linear):
    """The exact log-likelihood under the truth's own parameters, in nats a date."""
    panel, truth = linear
    split = split_dates(panel.n_dates)
    scaler = fit_scaler(panel.values[split.fit])
    stationary = truth.volatilities**2 * 0.95**2 / (1 - 0.1**2)
    covariance = (truth.loadings * stationary) @ truth.loadings.T + np.diag(truth.noise_scale**2)
    test = panel.values[split.test]
    distance = (test @ np.linalg.inv(covariance) * test).sum(axis=1).mean()
    _, log_determinant = np.linalg.slogdet(2 * np.pi * covariance)
    assert round(-0.5 * (distance + log_determinant) + np.log(scaler.scale).sum(), 1) == -82.1


@pytest.mark.parametrize("maker", [linear_panel, nonlinear_panel])
def test_conditional_mean_leaves_the_noise(maker):
    panel, truth = maker(7, n_dates=4000, n_assets=12, n_factors=3)
    noise = panel.values - conditional_mean(truth, truth.factors)
    ratio = noise.std(axis=0) / truth.noise_scale
    assert np.abs(ratio - 1).max() < 6 / np.sqrt(2 * 4000)
    correlation = np.corrcoef(noise.T, truth.factors.T)[:12, 12:]
    assert np.abs(correlation).max() < 6 / np.sqrt(4000)


def test_conditional_mean_of_two_volatilities(nonlinear):
    _, truth = nonlinear
    mean = conditional_mean(truth, 2 * np.diag(truth.volatilities))
    rest = -truth.curvature @ truth.volatilities / np.sqrt(2)
    expected = truth.volatilities * (2 * truth.loadings + 4 / np.sqrt(2) * truth.curvature)
    np.testing.assert_allclose(mean, expected.T + rest, atol=1e-15)


def test_both_panels_share_factors_loadings_and_noise(linear, nonlinear):
    for ours, theirs in zip(linear[1], nonlinear[1]._replace(curvature=None), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("maker", [linear_panel, nonlinear_panel])
def test_any_sizes(maker):
    panel, truth = maker(0, n_dates=20, n_assets=1200, n_factors=8, n_sectors=3)
    assert panel.values.shape == (20, 1200)
    assert set(panel.sectors) == {"sector 0", "sector 1", "sector 2"}
    assert panel.assets[0] == "STOCK_000"
    assert len(set(panel.assets)) == 1200
    np.testing.assert_allclose(truth.volatilities[4:] / 0.005, 0.5 ** (np.arange(4) / 2))


def test_one_sector_one_factor_one_asset_two_dates():
    panel, truth = nonlinear_panel(n_dates=2, n_assets=1, n_factors=1, n_sectors=1)
    assert panel.values.shape == (2, 1)
    assert truth.volatilities.tolist() == [0.02]


def test_panel_carries_its_truth(nonlinear):
    panel, truth = nonlinear
    assert panel.name == "nonlinear"
    assert panel.reference.planted
    assert panel.reference.factors.index.equals(panel.dates)
    assert tuple(panel.reference.loadings.index) == panel.assets
    assert list(panel.reference.factors) == [f"factor {k}" for k in (1, 2, 3, 4, 5)]
    np.testing.assert_array_equal(panel.reference.factors.values, truth.factors)
    np.testing.assert_array_equal(panel.reference.loadings.values, truth.loadings)
    assert panel.sectors[3] == f"sector {truth.sectors[3]}"
    assert "synthetic" in panel.notes[0]


def test_seed_decides_the_draw(linear):
    again, _ = linear_panel(42)
    other, _ = linear_panel(43)
    np.testing.assert_array_equal(again.values, linear[0].values)
    assert not np.allclose(other.values, again.values)


def test_global_stream_is_left_alone():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    linear_panel(n_dates=5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed: -1 is too small; at least 0"),
        ({"seed": 2**32}, "seed: 4294967296 is too large; at most 4,294,967,295"),
        ({"n_dates": 1}, "n_dates: 1 is too small; at least 2"),
        ({"n_assets": 0}, "n_assets: 0 is too small; at least 1"),
        ({"n_factors": 0}, "n_factors: 0 is too small; at least 1"),
        ({"n_sectors": -2}, "n_sectors: -2 is too small; at least 1"),
        (
            {"n_assets": 3},
            "n_factors: 5 is too large; at most 3, as many as assets",
        ),
    ],
)
@pytest.mark.parametrize("maker", [linear_panel, nonlinear_panel, volatility_index_panel])
def test_arguments_out_of_range(maker, arguments, message):
    with pytest.raises(OptionError) as caught:
        maker(**arguments)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2
