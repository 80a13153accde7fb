"""Prices on the way to returns, and what becomes of missing cells."""

import numpy as np
import pandas as pd
import pytest
from example_tables import DATE, assert_same, make_holes, make_prices, make_returns, with_cell

from jaxvae.data import panel_from_frame
from jaxvae.data.panel import split_dates
from jaxvae.errors import DataError

# Prices


def test_prices_become_simple_returns():
    prices = make_prices()
    panel = panel_from_frame(prices, kind="prices")
    expected = prices.pct_change(fill_method=None).iloc[1:]
    np.testing.assert_allclose(panel.values, expected, rtol=1e-9, atol=1e-15)
    assert list(panel.dates) == list(prices.index[1:])
    assert "simple returns" in panel.notes[0]
    assert "first date was dropped" in panel.notes[0]


def test_a_return_is_over_the_assets_own_last_price():
    prices = with_cell(make_prices(), np.nan)
    with pytest.raises(DataError, match="1 cell missing, most in column 'MSFT'"):
        panel_from_frame(prices, kind="prices")
    panel = panel_from_frame(prices, kind="prices", missing="keep")
    row = prices.index.get_loc(DATE)
    assert np.isnan(panel.values[row - 1, 1])
    expected = prices.iloc[row + 1, 1] / prices.iloc[row - 1, 1] - 1
    assert panel.values[row, 1] == pytest.approx(expected)
    assert "1 return of 395 span" in panel.notes[1]


# Missing cells


def test_drop_dates_drops_every_date_with_a_hole():
    panel = panel_from_frame(make_holes(), missing="drop-dates")
    assert_same(panel, make_holes().dropna())
    assert panel.notes == ("Dropped 3 of 100 dates for a missing cell (missing: drop-dates).",)


def test_keep_leaves_holes_and_drops_empty_dates_where_models_are_fitted():
    holes = make_holes()
    panel = panel_from_frame(holes, missing="keep")
    np.testing.assert_array_equal(panel.values, holes)
    assert panel.notes == ()
    holes.iloc[[4, 60]] = np.nan
    panel = panel_from_frame(holes, missing="keep")
    np.testing.assert_array_equal(panel.values, holes.drop(index=holes.index[[4, 60]]))
    assert panel.notes[0].startswith("Dropped 2 of 100 dates without any value")
    new = panel_from_frame(holes.iloc[:5], missing="keep", for_fitting=False)
    assert new.n_dates == 5


def test_keep_refuses_an_asset_that_has_too_few_values_to_be_fitted():
    late = make_returns()
    late.iloc[:29, 1] = np.nan
    with pytest.raises(DataError, match=r"'MSFT' has 27 values .*, to 2020-.*: at least 28"):
        panel_from_frame(late, missing="keep")
    late.iloc[28] = make_returns().iloc[28]
    assert np.isnan(panel_from_frame(late, missing="keep").values).sum() == 28


def test_drop_assets_looks_at_fit_alone_and_then_drops_later_dates():
    panel = panel_from_frame(make_holes(), missing="drop-assets")
    assert_same(panel, make_returns().drop(columns="AAPL").drop(index=make_returns().index[90]))
    assert "Dropped 1 (AAPL) of 4 assets" in panel.notes[0]
    assert "then 1 of 100 dates" in panel.notes[0]


def test_mean_fills_with_the_mean_of_fit_and_does_not_look_ahead():
    panel = panel_from_frame(make_holes(), missing="mean")
    fit = split_dates(100).fit
    np.testing.assert_allclose(panel.values[3:5, 0], make_holes().iloc[fit, 0].mean(), rtol=1e-12)
    np.testing.assert_allclose(panel.values[90, 3], make_holes().iloc[fit, 3].mean(), rtol=1e-12)
    assert "3 missing cells of 2 assets" in panel.notes[0]
    later = make_holes()
    later.iloc[fit.stop :] *= 2
    np.testing.assert_array_equal(
        panel_from_frame(later, missing="mean").values[fit], panel.values[fit]
    )


@pytest.mark.parametrize("missing", [None, "drop-dates", "drop-assets", "mean", "keep"])
def test_policies_leave_a_complete_panel_alone(missing):
    panel = panel_from_frame(make_returns(), missing=missing)
    assert_same(panel, make_returns())
    assert panel.notes == ()


# Mixed calendars: stocks on business days beside a crypto asset on every day


def make_calendars():
    days = pd.date_range("2021-01-01", "2022-01-01", name="date")
    steps = np.random.default_rng(2).normal(0.0, 0.02, (len(days), 3))
    prices = pd.DataFrame(50 * (1 + steps).cumprod(axis=0), days, ["COIN", "A", "B"])
    prices.loc[days.day_of_week >= 5, ["A", "B"]] = np.nan
    return prices.iloc[:-1]


def own_returns(prices):
    """Each asset's returns over its own last price, asset by asset."""
    return pd.DataFrame({name: prices[name].dropna().pct_change() for name in prices}).iloc[1:]


def test_kept_prices_of_mixed_calendars_lose_no_monday():
    prices = make_calendars()
    panel = panel_from_frame(prices, kind="prices", missing="keep")
    np.testing.assert_allclose(panel.values, own_returns(prices), rtol=1e-9)
    mondays = panel.dates.day_of_week == 0
    assert mondays.sum() == 52
    assert np.isfinite(panel.values[mondays]).all()
    # A Monday of both stocks spans a weekend.
    assert f"{2 * 52:,} returns of {np.isfinite(panel.values).sum():,} span" in panel.notes[1]


def test_dates_of_mixed_calendars_are_dropped_before_returns_are_formed():
    prices = make_calendars()
    panel = panel_from_frame(prices, kind="prices", missing="drop-dates")
    whole = prices.dropna()
    np.testing.assert_allclose(panel.values, whole.pct_change().iloc[1:], rtol=1e-9)
    total = np.log1p(panel.values).sum(axis=0)
    np.testing.assert_allclose(total, np.log(whole.iloc[-1] / whole.iloc[0]), rtol=1e-9)
    assert "Dropped 104 of 365 dates" in panel.notes[1]
    assert "span them" in panel.notes[1]


def test_the_mean_fills_weekends_alone():
    prices = make_calendars()
    panel = panel_from_frame(prices, kind="prices", missing="mean")
    own = own_returns(prices)
    expected = own.fillna(own.iloc[split_dates(len(own)).fit].mean())
    np.testing.assert_allclose(panel.values, expected, rtol=1e-9, atol=1e-15)
    assert panel.values[panel.dates.day_of_week == 0].std() > 0
    assert "208 missing cells of 2 assets" in panel.notes[2]


def test_assets_of_mixed_calendars_are_dropped_before_returns_are_formed():
    prices = make_calendars().assign(DOGE=lambda x: x["COIN"] ** 1.1)
    panel = panel_from_frame(prices, kind="prices", missing="drop-assets")
    assert panel.assets == ("COIN", "DOGE")
    assert panel.n_dates == 364
    late = make_calendars().ffill()
    late.iloc[300, 1] = np.nan
    panel = panel_from_frame(late, kind="prices", missing="drop-assets")
    np.testing.assert_allclose(panel.values, late.dropna().pct_change().iloc[1:], rtol=1e-9)


def test_a_calendar_that_is_mixed_is_an_error_without_a_policy():
    with pytest.raises(DataError, match=r"208 cells missing, most in column 'A' \(104"):
        panel_from_frame(make_calendars(), kind="prices")


@pytest.mark.parametrize("missing", ["keep", "drop-dates", "mean", "drop-assets"])
def test_an_asset_that_is_listed_late_has_no_return_on_its_first_day(missing):
    prices = make_calendars().ffill()
    prices.iloc[:40, 1] = np.nan
    kept = panel_from_frame(prices, kind="prices", missing="keep")
    assert np.isnan(kept.values[:40, 1]).all()
    assert np.isfinite(kept.values[40, 1])
    panel = panel_from_frame(prices, kind="prices", missing=missing)
    assert panel.values.shape == {"drop-dates": (324, 3), "drop-assets": (364, 2)}.get(
        missing, (364, 3)
    )


@pytest.mark.parametrize("kind", ["returns", "prices"])
def test_new_dates_that_leave_no_return_are_an_error(kind):
    table = (make_prices(1) if kind == "prices" else make_returns(1)).assign(XOM=np.nan)
    with pytest.raises(DataError, match="no date with a return is left"):
        panel_from_frame(table, kind=kind, missing="drop-dates", for_fitting=False)
