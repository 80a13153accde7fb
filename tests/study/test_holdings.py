"""What a study says of assets, pairs, sectors and portfolios."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jaxvae.analysis.linear_gaussian import covariance
from jaxvae.data.frames import panel_from_frame
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.prepare import prepare
from jaxvae.models.model import Model, Recurrence, remember
from jaxvae.scoring.value_at_risk import (
    ValueAtRisk,
    risk_rows,
)
from jaxvae.study import holdings as holding

RNG = np.random.default_rng(0)
LOADINGS = 0.01 * RNG.normal(size=(6, 2))
FACTORS = RNG.normal(size=(200, 2))
NOISE = np.full(6, 1e-4)
RETURNS = pd.DataFrame(
    FACTORS @ LOADINGS.T + 0.01 * RNG.normal(size=(200, 6)),
    index=pd.bdate_range("2020-01-01", periods=200),
    columns=list("ABCDEF"),
)
NO_RISK = ValueAtRisk({}, {}, pd.DataFrame())


@pytest.fixture(scope="module")
def held():
    panel = panel_from_frame(RETURNS, sectors=dict(zip("ABCDEF", "xxyyyz", strict=True)))
    prepared = prepare(panel, StudyConfig(model="linear", n_factors=2))
    table = pd.DataFrame(LOADINGS, index=RETURNS.columns, columns=["factor 1", "factor 2"])
    rebuilt = prepared.scaler.standardise(FACTORS @ LOADINGS.T)
    residual = prepared.values - rebuilt
    sigma = pd.DataFrame(covariance(LOADINGS, NOISE))
    return holding.HoldingsInput(prepared, table, [], NOISE, sigma, residual)


@pytest.fixture(scope="module")
def found(held):
    return holding.holdings(held, FACTORS, NO_RISK, None)


def test_an_asset_s_row_has_the_notebook_s_statistics_and_its_risk(found):
    table = found[0]["assets"]
    expected = RETURNS.describe().T
    pd.testing.assert_frame_equal(
        table.loc[list("ABCDEF"), list(expected)], expected, check_names=False
    )
    shares = table[["factor 1", "factor 2", "specific", "rest"]]
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(table.specific_risk[:6], 0.01)
    np.testing.assert_allclose(table.volatility[:6], np.sqrt((LOADINGS**2).sum(axis=1) + 1e-4))
    test = slice(140, 200)
    centred = RETURNS[test] - RETURNS[:140].mean()
    r2 = 1 - ((RETURNS - FACTORS @ LOADINGS.T)[test] ** 2).sum() / (centred**2).sum()
    np.testing.assert_allclose(table.r2[:6], r2, atol=0.03)  # the residual's mean is left in
    equal = RETURNS.mean(axis=1)
    assert table.loc[holding.EQUAL, "std"] == pytest.approx(equal.std())
    assert table.loc[holding.EQUAL, "specific_risk"] == pytest.approx(0.01 / np.sqrt(6))


def test_factor_portfolios_hold_one_and_follow_their_factor(found):
    tables, arrays = found
    weights = tables["portfolios"].to_numpy()
    np.testing.assert_allclose(np.abs(weights).sum(axis=0), 1.0)
    exposures = LOADINGS.T @ weights
    np.testing.assert_allclose(exposures, np.diag(arrays["portfolio_exposure"]), atol=1e-12)
    variance = (weights.T @ covariance(LOADINGS, NOISE) * weights.T).sum(axis=1)
    np.testing.assert_allclose(arrays["portfolio_volatility"] ** 2, variance)
    noise = (weights**2).sum(axis=0) * 1e-4
    np.testing.assert_allclose(arrays["portfolio_specific"], noise / variance)
    r = np.corrcoef((RETURNS.to_numpy() @ weights)[140:, 0], FACTORS[140:, 0])[0, 1]
    assert arrays["portfolio_correlation"][0] == pytest.approx(r)


def test_a_factor_that_moves_volatilities_cannot_be_held(held):
    tables, arrays = holding.holdings(held._replace(volatility=[1]), FACTORS, NO_RISK, None)
    assert (tables["portfolios"]["factor 2"] == 0).all()
    assert (tables["assets"]["factor 2"] == 0).all()
    assert arrays["portfolio_exposure"][1] == arrays["portfolio_correlation"][1] == 0
    np.testing.assert_array_equal(held.loadings.to_numpy(), LOADINGS)


def test_pairs_are_told_before_and_after_the_factors(found, held):
    tables, arrays = found
    pairs = tables["pairs"]
    assert list(pairs.by) == ["correlation"] * 10 + ["residual_fit"] * 10
    assert pairs.correlation[:10].abs().is_monotonic_decreasing
    assert pairs.residual_fit[10:].abs().is_monotonic_decreasing
    first = pairs.iloc[0]
    assert first.test == pytest.approx(RETURNS[140:][[first.asset, first.other]].corr().iloc[0, 1])
    assert arrays["pairs_before"].sum() == arrays["pairs_after"].sum() == 15
    left = np.corrcoef(held.residual[140:].T)[np.triu_indices(6, 1)]
    assert arrays["mean_pair_after"] == pytest.approx(np.abs(left).mean())


def test_sectors_have_the_mean_exposure_of_their_assets(found):
    table = found[0]["exposures"]
    assert list(table.index) == ["x", "y", "z"]
    assert list(table.assets) == [2, 3, 1]
    np.testing.assert_allclose(table.loc["y", "factor 2"], LOADINGS[2:5, 1].mean())


def test_without_a_date_that_has_every_asset_nothing_is_judged():
    assert risk_rows(NO_RISK) == []


def test_paths_go_on_where_the_panel_ends():
    """What the first date ahead is told is what a blank row after the panel would be."""
    past = Recurrence(
        start=lambda: jnp.zeros(2),
        advance=lambda state, x: 0.5 * state + jnp.where(jnp.isfinite(x), x, 0.0),
        tell=lambda state, last: jnp.concatenate([state, last]),
    )
    values = RNG.normal(size=(9, 2))
    values[4, 1] = np.nan
    model = Model(1, None, None, None, None, recurrence=past)
    told, _ = remember(model, np.concatenate([values, np.full((1, 2), np.nan)]))
    _, end = remember(model, values)
    np.testing.assert_allclose(past.tell(*end), told[-1], rtol=1e-6)
