"""Portfolios: weights against an optimiser and a closed form, returns by hand, a known protocol."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from jaxvae.analysis import portfolios
from jaxvae.baselines.covariances import ESTIMATORS
from jaxvae.data.named import load_sp500
from jaxvae.errors import DataError

# Annualised volatility in % of minimum-variance portfolios on `sp500`, 252-date window, 21-date
# rebalance, whole steps only: computed independently of this package.
SP500 = {
    "equal": 18.86,
    "sample": 15.38,
    "ledoit_wolf": 15.10,
    "oas": 15.19,
    "shrunk_correlation": 14.82,
    "pca": 16.40,
}


def covariance(seed=0, n_assets=6):
    draws = np.random.default_rng(seed).normal(size=(40, n_assets))
    return np.cov(draws @ np.diag(np.linspace(0.5, 2.0, n_assets)), rowvar=False)


def test_weights_are_an_optimisers():
    sigma = covariance()
    budget = {"type": "eq", "fun": lambda w: w.sum() - 1}
    found = minimize(
        lambda w: w @ sigma @ w, np.full(6, 1 / 6), constraints=budget, options={"ftol": 1e-14}
    )
    np.testing.assert_allclose(portfolios.minimum_variance(sigma), found.x, atol=1e-5)


def test_least_variance_has_its_closed_form():
    sigma = np.stack([covariance(seed) for seed in range(3)])
    weights = portfolios.minimum_variance(sigma)
    variances = np.einsum("wa,wab,wb->w", weights, sigma, weights)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(variances, 1 / np.linalg.inv(sigma).sum(axis=(1, 2)))


def test_a_factor_covariance_inverts_by_woodbury():
    rng = np.random.default_rng(1)
    loadings, noise = rng.normal(size=(6, 2)), rng.uniform(0.5, 1.5, 6)
    precise = loadings / noise[:, None]
    inner = np.linalg.inv(np.eye(2) + loadings.T @ precise)
    inverse = np.diag(1 / noise) - precise @ inner @ precise.T
    weights = portfolios.minimum_variance(loadings @ loadings.T + np.diag(noise))
    np.testing.assert_allclose(weights, inverse.sum(axis=1) / inverse.sum())


def test_scale_does_not_matter():
    sigma = covariance()
    np.testing.assert_allclose(
        portfolios.minimum_variance(1e-6 * sigma), portfolios.minimum_variance(sigma)
    )


def test_a_singular_covariance_is_refused():
    sigma = np.ones((3, 3))
    with pytest.raises(DataError, match="singular"):
        portfolios.minimum_variance(sigma)


def test_returns_are_those_of_the_weights_held():
    weights = np.array([[1.0, 0.0], [0.5, 0.5]])
    returns = np.array([[[0.1, 0.9], [0.2, 0.9]], [[0.1, 0.3], [-0.2, 0.4]]])
    np.testing.assert_allclose(portfolios.hold(weights, returns), [0.1, 0.2, 0.2, 0.1])


def test_turnover_is_bought_and_sold():
    weights = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]])
    assert portfolios.turnover(weights) == 0.5
    assert np.isnan(portfolios.turnover(weights[:1]))


@pytest.mark.parametrize(
    ("dates", "per_year"),
    [
        (load_sp500().dates, 252),
        (pd.date_range("2000-01-01", periods=1000), 365),
        (pd.date_range("2000-01-07", periods=300, freq="W"), 52),
        (pd.date_range("2000-01-31", periods=60, freq="MS"), 12),
        (pd.date_range("2000-01-31", periods=25, freq="QS"), 4),
        (pd.date_range("2000-01-31", periods=30, freq="YS"), 1),
        (pd.bdate_range("2000-01-03", periods=1001), 365.25 * 5 / 7),
        (pd.date_range("2000-01-01", periods=1001, freq="h"), 365.25 * 24),
        (pd.date_range("2000-01-01", periods=1001, freq="5min"), 365.25 * 24 * 12),
    ],
    ids=["trading days", "7 days", "weeks", "months", "quarters", "years", "5 days", "h", "5 min"],
)
def test_dates_a_year_are_counted(dates, per_year):
    assert portfolios.dates_per_year(dates) == pytest.approx(per_year, rel=1e-9)


def test_a_single_date_has_no_year_and_no_variance():
    assert np.isnan(portfolios.dates_per_year(pd.DatetimeIndex(["2000-01-03"])))
    one = np.array([0.01])
    assert np.isnan(portfolios.annual_volatility(one, 252.0))
    gap = portfolios.variance_difference(np.random.default_rng(0), one, one)
    assert np.isnan(gap).all()


def test_a_portfolio_beside_itself_is_level():
    returns = np.random.default_rng(0).normal(size=200)
    gap = portfolios.variance_difference(np.random.default_rng(1), returns, returns.copy())
    assert gap == (0.0, 0.0, 0.0)


def test_the_interval_covers_the_difference_of_variances():
    """True difference 0.2² − 0; nine in ten or more of nominal 95 % intervals must hold it."""
    rng, held = np.random.default_rng(2), 0
    for _ in range(60):
        other = rng.normal(size=400)
        own = other + 0.2 * rng.normal(size=400)
        gap = portfolios.variance_difference(rng, own, other, n_draws=400)
        assert gap.mean == pytest.approx(own.var() - other.var())
        held += gap.low <= 0.04 <= gap.high
    assert held >= 54


def test_known_volatilities_on_sp500():
    values, per_year = load_sp500().values, 252.0
    stops = range(252, len(values) - 20, 21)
    held = np.stack([values[stop : stop + 21] for stop in stops])

    def volatility(weights):
        returns = portfolios.hold(weights, held)
        return 100 * portfolios.annual_volatility(returns, per_year)

    found = {"equal": volatility(np.full((len(stops), 20), 1 / 20))}
    for name in SP500.keys() - {"equal"}:
        estimate = ESTIMATORS[name]
        sigma = np.stack([estimate(values[stop - 252 : stop], 3) for stop in stops])
        found[name] = volatility(portfolios.minimum_variance(sigma))
    assert {name: round(value, 2) for name, value in found.items()} == SP500
