"""Tests of coverage against values worked out by hand, and against their own null."""

import numpy as np
import pytest
from scipy.stats import chi2
from statsmodels.tsa.stattools import acf

from jaxvae.analysis.risk import (
    adaptive_quantiles,
    autocorrelation,
    coverage,
    filtered_quantiles,
)
from jaxvae.errors import OptionError


def breaches_at(places, n_dates):
    hits = np.zeros(n_dates, bool)
    hits[list(places)] = True
    return hits


def test_kupiec_by_hand():
    """7 breaches in 255 dates at 1 %: LR = -2 ln[.99^248 .01^7] + 2 ln[(248/255)^248 (7/255)^7]."""
    found = coverage(breaches_at(range(0, 70, 10), 255), 0.01)
    expected = 2 * (7 * np.log(7 / 255 / 0.01) + 248 * np.log(248 / 255 / 0.99))
    assert found.rate == pytest.approx(7 / 255)
    assert found.unconditional.statistic == pytest.approx(expected)
    assert found.unconditional.p_value == pytest.approx(chi2.sf(expected, 1))


@pytest.mark.parametrize(
    ("order", "accepted"), [(0.01, (0, 6)), (0.025, (2, 12)), (0.05, (6, 20)), (0.1, (16, 36))]
)
def test_kupiecs_regions(order, accepted):
    """His table of non-rejection regions at the 5 % level for T = 255: N < 7; 2 < N < 12;
    6 < N < 21; 16 < N < 36 (Kupiec 1995)."""
    p_values = [
        coverage(breaches_at(range(n), 255), order).unconditional.p_value for n in range(60)
    ]
    kept = [n for n, p in enumerate(p_values) if p > 0.05]
    low, high = accepted
    assert abs(kept[0] - low) <= 1
    assert abs(kept[-1] - high) <= 1


def test_independence_by_hand():
    """0 0 1 1 1 0 0 0 0 1: n00 = 4, n01 = 2, n10 = 1, n11 = 2 of nine moves."""
    found = coverage(breaches_at((2, 3, 4, 9), 10), 0.2)
    alone = 4 * np.log(4 / 6) + 2 * np.log(2 / 6) + np.log(1 / 3) + 2 * np.log(2 / 3)
    pooled = 5 * np.log(5 / 9) + 4 * np.log(4 / 9)
    assert found.independence.statistic == pytest.approx(2 * (alone - pooled))
    assert found.conditional.statistic == pytest.approx(
        found.unconditional.statistic + found.independence.statistic
    )
    assert found.conditional.p_value == pytest.approx(chi2.sf(found.conditional.statistic, 2))


def test_right_quantiles_are_rejected_as_often_as_the_level_says():
    rng = np.random.default_rng(0)
    draws = [coverage(rng.uniform(size=2000) < 0.05, 0.05) for _ in range(600)]
    for name in ("unconditional", "independence", "conditional"):
        p_values = np.array([getattr(draw, name).p_value for draw in draws])
        assert 0.025 < (p_values < 0.05).mean() < 0.085
        assert 0.15 < (p_values < 0.2).mean() < 0.25


def test_clusters_are_seen_by_independence_alone():
    """Volatility that doubles in blocks under a constant quantile of the right overall rate."""
    rng = np.random.default_rng(1)
    scale = np.where(np.arange(12_000) // 50 % 2, 2.0, 0.5)
    returns = scale * rng.normal(size=12_000)
    constant = np.full(12_000, np.quantile(returns, 0.05))
    clustered = coverage(returns < constant, 0.05)
    assert clustered.unconditional.p_value > 0.5
    assert clustered.independence.p_value < 1e-4
    assert coverage(returns < -1.6449 * scale, 0.05).conditional.p_value > 0.01


def test_no_breach_at_all_has_a_likelihood():
    found = coverage(np.zeros(100, bool), 0.01)
    assert found.unconditional.statistic == pytest.approx(-200 * np.log(0.99))
    assert found.independence == (0.0, 1.0)


def test_bad_arguments_are_named():
    with pytest.raises(OptionError, match=r"order: 1\.0"):
        coverage(np.zeros(10, bool), 1.0)
    with pytest.raises(OptionError, match="at least 2"):
        coverage(np.zeros(1, bool), 0.05)


def test_autocorrelation_is_statsmodels():
    series = np.cumsum(np.random.default_rng(2).normal(size=(200, 2)), axis=0)
    found = autocorrelation(np.column_stack([series, np.ones(200)]), 5)
    for column in range(2):
        np.testing.assert_allclose(found[:, column], acf(series[:, column], nlags=5)[1:])
    assert np.isnan(found[:, 2]).all()


# Quantiles that adapt, and filtered historical simulation


def normal_draws(std, number=1000, seed=5):
    return std * np.random.default_rng(seed).normal(size=(number, len(std)))


def test_adaptive_quantiles_by_hand():
    """ln α moves by γ (p - 1) at a breach, by γ p on other dates, not at all where nothing is
    known."""
    draws = np.tile(np.linspace(-1.0, 1.0, 201)[:, None], (1, 5))
    found = adaptive_quantiles(np.array([-0.95, 0.0, np.nan, -0.99]), draws, (0.05,), rate=0.5)[0]
    levels = 0.05 * np.exp(0.5 * np.cumsum([0.0, -0.95, 0.05, 0.0, -0.95]))
    np.testing.assert_allclose(found, -1.0 + 2.0 * levels)
    own = adaptive_quantiles(np.zeros(5), draws, (0.05, 0.01), rate=0.0)
    np.testing.assert_allclose(own, np.quantile(draws, (0.05, 0.01), axis=0))


def test_adaptive_quantiles_do_not_look_ahead():
    returns, _, std = clustered(1, 400)
    draws = normal_draws(std)
    before = adaptive_quantiles(returns, draws, (0.01, 0.05))
    later = np.where(np.arange(400) >= 300, -9.0, returns)
    after = adaptive_quantiles(later, draws, (0.01, 0.05))
    np.testing.assert_array_equal(before[:, :301], after[:, :301])
    assert (after[:, 302:] < before[:, 302:]).any()


@pytest.mark.parametrize("order", [0.01, 0.05])
@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_adaptive_quantiles_are_kept_whatever_the_level_of_the_forecasts(factor, order):
    """Of volatilities that are too low, right or too high; the forecasts' own quantiles are not."""
    std = clustered(2, 6000)[2]
    returns = std[:-1] * np.random.default_rng(3).normal(size=6000)
    draws = normal_draws(factor * std, 4000)
    hits = returns < adaptive_quantiles(returns, draws, (order,))[0, :-1]
    assert coverage(hits[1000:], order).unconditional.p_value > 0.05
    if factor != 1.0:
        own = returns < np.quantile(draws[:, :-1], order, axis=0)
        assert coverage(own[1000:], order).unconditional.p_value < 0.01


def clustered(seed, n_dates=3000):
    """Returns with Student-t shocks and a volatility that moves; their mean and volatility."""
    rng = np.random.default_rng(seed)
    std = np.exp(0.5 * np.sin(np.arange(n_dates + 1) / 30.0))
    shocks = rng.standard_t(4, n_dates) * np.sqrt(0.5)
    return 0.1 + std[:-1] * shocks, np.full(n_dates + 1, 0.1), std


def test_filtered_quantiles_are_those_of_scaled_past_returns():
    returns, mean, std = clustered(0, 400)
    found = filtered_quantiles(returns, mean, std, (0.05, 0.5), window=100, least=60)
    assert found.shape == (2, 401)
    assert np.isnan(found[:, :60]).all()
    for t in (60, 150, 400):
        past = ((returns - 0.1) / std[:-1])[max(0, t - 100) : t]
        np.testing.assert_allclose(found[:, t], 0.1 + std[t] * np.quantile(past, (0.05, 0.5)))


def test_filtered_quantiles_pass_over_unknown_returns():
    returns, mean, std = clustered(0, 400)
    known = np.arange(400) % 3 > 0
    holes = np.where(known, returns, np.nan)
    found = filtered_quantiles(holes, mean, std, (0.05,), window=100, least=60)[0]
    fewer = (part[:400][known] for part in (returns, mean, std))
    expected = filtered_quantiles(*fewer, (0.05,), window=100, least=60)[0]
    np.testing.assert_allclose(found[:400][known], expected)
    assert np.isfinite(found[-1])


def test_filtered_quantiles_do_not_look_ahead():
    returns, mean, std = clustered(1, 400)
    before = filtered_quantiles(returns, mean, std, (0.01,))
    later = np.where(np.arange(400) >= 300, -9.0, returns)
    after = filtered_quantiles(later, mean, std, (0.01,))
    np.testing.assert_array_equal(before[:, :301], after[:, :301])
    assert (after[:, 302:] < before[:, 302:]).any()


def test_filtered_quantiles_mend_a_level_that_is_wrong():
    """Half the volatility forecast: normal quantiles are breached far too often, these are not."""
    returns, mean, std = clustered(2)
    quantiles = filtered_quantiles(returns, mean, 0.5 * std, (0.05,))[0, :-1]
    known = np.isfinite(quantiles)
    assert coverage(returns[known] < quantiles[known], 0.05).conditional.p_value > 0.01
    assert coverage(returns < mean[:-1] - 1.645 * 0.5 * std[:-1], 0.05).rate > 0.12
