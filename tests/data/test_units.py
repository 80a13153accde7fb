"""Values that are no simple returns are refused or noted; panels that are legal pass."""

import warnings

import numpy as np
import pandas as pd
import pytest
from example_tables import DATE, assert_one_line, make_prices, make_returns, with_cell

from jaxvae.data import as_panel, panel_from_frame
from jaxvae.data.named import load_french, load_sp500
from jaxvae.data.panel import Scaler, fit_scaler
from jaxvae.data.units import check_like_fit, warn_of_far
from jaxvae.errors import DataError

RANDOM = np.random.default_rng(11)
DAYS = pd.bdate_range("2015-01-01", periods=250, name="date")


def draw(scale, n_dates=250, n_assets=6, df=4):
    """Returns with fat tails, of a volatility, moved by a market."""
    random = np.random.default_rng(7)
    market = random.standard_t(df, (n_dates, 1))
    values = (0.6 * market + 0.8 * random.standard_t(df, (n_dates, n_assets))) / np.sqrt(2)
    names = [f"A{number}" for number in range(n_assets)]
    return pd.DataFrame(np.maximum(scale * values + scale / 20, -0.95), DAYS[:n_dates], names)


def level(start, step=0.01, n_dates=250, seed=3):
    """A price, an index, a rate: a random walk of its logarithm."""
    steps = np.random.default_rng(seed).normal(0.0, step, n_dates)
    return start * np.exp(np.cumsum(steps))


def with_level(values, scale=0.01):
    return draw(scale).assign(X=values)


def sparse(frame, share):
    return frame.where(np.random.default_rng(1).random(frame.shape) > share, 0.0)


# What is refused, how to make it, and words of the message.
REFUSED = {
    **{
        f"code {code}": (
            lambda code=code: with_cell(make_returns(), code),
            ["1 cell below -1", "'MSFT'", "2020-01-14", f"{code:g}", "codes for missing"],
        )
        for code in (-99.0, -66.0, -9999.0, -99.99, -999.0)
    },
    "codes in half of the cells": (
        lambda: draw(0.01).mask(RANDOM.random((250, 6)) < 0.45, -99.0),
        ["below -1", "codes for missing such as -99"],
    ),
    "a fall below -1": (
        lambda: with_cell(make_returns(), -1.0001),
        ["1 cell below -1", "'MSFT'", "-1.0001", "log returns"],
    ),
    "code in percent": (
        lambda: with_cell(100 * make_returns(), -99.99),
        ["below -100, or a code for missing", "'MSFT'", "-99.99"],
    ),
    "codes in percent": (
        lambda: (100 * draw(0.01)).mask(RANDOM.random((250, 6)) < 0.3, -66.0),
        ["code for missing", "-66"],
    ),
    "a wild year of crypto with a fall below -1": (
        lambda: with_cell(np.expm1(2.5 * draw(0.35)), -1.2, row=DAYS[9], column="A1"),
        ["1 cell below -1", "'A1'", "-1.2"],
    ),
    "percent below -100": (lambda: with_cell(100 * make_returns(), -101.0), ["below -100"]),
    "prices": (make_prices, ["no return is negative", "median", "kind='prices'", "subtract 1"]),
    "gross returns": (lambda: 1 + make_returns(), ["no return is negative", "subtract 1"]),
    "prices with one negative": (
        lambda: with_cell(make_prices(), -37.63),
        ["no return is negative, or hardly one", "kind='prices'"],
    ),
    "penny prices": (
        lambda: pd.DataFrame({name: level(0.06, seed=k) for k, name in enumerate("ABCD")}, DAYS),
        ["no return is negative", "kind='prices'"],
    ),
    "exchange rates": (
        lambda: pd.DataFrame(
            {"JPY": level(0.0067), "EUR": level(1.1, seed=4), "MXN": level(0.05, seed=5)}, DAYS
        ),
        ["no return is negative", "kind='prices'"],
    ),
    "cents with one code": (
        lambda: pd.DataFrame({k: level(0.06, seed=k) for k in range(4)}, DAYS).replace(
            {0: {}}
        ).pipe(lambda x: x.mask((x.index == DAYS[9])[:, None] & (x.columns == 1)[None], -0.06)),
        ["no return is negative, or hardly one"],
    ),
    "a column of prices": (lambda: with_level(level(100)), ["column 'X' is", "prices, levels"]),
    "a column of penny prices": (lambda: with_level(level(0.06)), ["column 'X' is", "levels"]),
    "a column of levels": (lambda: with_level(level(4000)), ["column 'X' is", "median"]),
    "a column of years": (
        lambda: with_level(2000.0 + np.arange(250) // 10),
        ["column 'X' is", "years"],
    ),
    "a column of volumes": (
        lambda: with_level(np.exp(RANDOM.normal(14, 1, 250)).round()),
        ["column 'X' is", "volumes"],
    ),
    "volumes with zeros": (
        lambda: with_level(np.exp(RANDOM.normal(14, 1, 250)) * (RANDOM.random(250) < 0.3)),
        ["column 'X' is"],
    ),
    "a volatility index": (lambda: with_level(level(18.0, 0.05)), ["column 'X' is"]),
    "a price with one negative": (
        lambda: with_level(np.where(np.arange(250) == 80, -37.63, level(50))),
        ["column 'X' is never or hardly ever negative"],
    ),
    "a few prices": (
        lambda: with_level(level(30)).assign(Y=level(7, seed=8), Z=level(0.5, seed=9)),
        ["3 columns, 'X' the first, are"],
    ),
    "prices of five new dates": (
        lambda: with_level(level(100)).iloc[:5],
        ["column 'X' is never or hardly ever negative"],
    ),
    "a dummy": (lambda: with_level(1.0 * (DAYS.day_of_week == 0)), ["column 'X' is"]),
    "a column in percent": (
        lambda: draw(0.01).assign(A2=lambda x: 100 * x["A2"]),
        ["column 'A2' is in other units", "write all as fractions"],
    ),
    "a calm column in percent": (
        lambda: draw(0.01).assign(A2=lambda x: 60 * x["A2"].clip(-0.015, 0.015)),
        ["column 'A2' is in other units"],
    ),
    "a column in basis points": (
        lambda: draw(0.01).assign(A2=lambda x: 1e4 * x["A2"]),
        ["column 'A2' is in other units"],
    ),
    "a column of fractions among percents": (
        lambda: (100 * draw(0.01)).assign(A2=lambda x: x["A2"] / 100),
        ["column 'A2' is in other units"],
    ),
    "half of the columns in percent": (
        lambda: draw(0.01) * [1, 100, 1, 100, 1, 100],
        ["columns", "in other units"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("new_dates", [False, True])
@pytest.mark.parametrize("fault", REFUSED)
def test_values_that_are_no_simple_returns_are_refused(fault, new_dates):
    make, words = REFUSED[fault]
    with pytest.raises(DataError) as error:
        panel_from_frame(make(), for_fitting=not new_dates)
    assert_one_line(error, words)
    if new_dates:
        with pytest.raises(DataError):
            as_panel(make())


LEGAL = {
    "daily": lambda: draw(0.01),
    "monthly": lambda: draw(0.05),
    "yearly": lambda: draw(0.2, n_dates=60, df=30),
    "crypto": lambda: with_cell(draw(0.05), 3.0, row=DAYS[100], column="A3"),
    "monthly crypto": lambda: np.expm1(draw(0.35)),
    "yearly crypto": lambda: np.expm1(2.5 * draw(0.35, n_dates=60)),
    "crypto among bonds": lambda: draw(0.001).assign(BTC=draw(0.03)["A1"]),
    "a stablecoin among crypto": lambda: draw(0.05).assign(USDT=draw(0.0003)["A1"]),
    "total loss": lambda: with_cell(draw(0.02), -1.0, row=DAYS[200], column="A3"),
    "stale": lambda: sparse(draw(0.02), 0.85),
    "daily riskless rate": lambda: with_level(level(0.0001, 0.02)),
    "monthly riskless rate": lambda: with_level(level(0.003, 0.05), scale=0.05),
    "riskless rate that was zero": lambda: with_level(
        np.where(np.arange(250) > 100, level(0.003, 0.05), 0.0), scale=0.05
    ),
    "yearly riskless rate": lambda: draw(0.2, 60, df=30).assign(RF=level(0.04, 0.1, 60)),
    "yearly yield among monthly returns": lambda: with_level(level(0.03, 0.02), scale=0.05),
    "private credit among funds": lambda: with_level(
        np.abs(RANDOM.normal(0.006, 0.002, 250)), scale=0.01
    ),
    "listed late": lambda: with_level(np.where(np.arange(250) > 120, draw(0.01)["A0"], np.nan)),
    "a rising week": lambda: draw(0.01).abs().iloc[:5],
    "one date": lambda: draw(0.01).iloc[:1],
    "one date, all up": lambda: draw(0.01).abs().iloc[:1],
    "one wild date": lambda: draw(0.01).iloc[:1].assign(A0=0.9),
}


@pytest.mark.parametrize("panel", LEGAL)
def test_legal_panels_pass_without_doubt_about_their_units(panel):
    frame = LEGAL[panel]()
    for_fitting = len(frame) > 50 and panel != "listed late"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        missing = "keep" if frame.isna().any(axis=None) else None
        found = panel_from_frame(frame, missing=missing, for_fitting=for_fitting)
    np.testing.assert_array_equal(found.values, frame)
    assert not [note for note in found.notes if "percent" in note]


PERCENTS = {
    "daily": lambda: 100 * draw(0.01),
    "calm": lambda: 100 * draw(0.003),
    "monthly with a riskless rate": lambda: 100 * with_level(level(0.003, 0.05), scale=0.05),
    "daily with a riskless rate": lambda: 100 * with_level(level(0.0001, 0.05)),
    "60 % zeros": lambda: sparse(100 * draw(0.01), 0.6),
    "stocks and bonds": lambda: 100 * draw(0.01).assign(A1=lambda x: x["A1"] / 8),
    "rounded": lambda: (100 * draw(0.01)).round(),
    "five dates": lambda: 100 * draw(0.01).iloc[:5],
    "factors": lambda: 100 * draw(0.0023).mul([2.0, 1.1, 1.0, 0.8, 0.7, 0.7]),
}


@pytest.mark.parametrize("panel", PERCENTS)
def test_percents_that_are_consistent_are_warned_of_and_noted(panel):
    frame = PERCENTS[panel]()
    with pytest.warns(UserWarning, match="divide it by 100") as warned:
        found = panel_from_frame(frame, for_fitting=len(frame) > 50)
    assert str(warned[0].message) in found.notes
    np.testing.assert_array_equal(found.values, frame)


def test_the_packages_own_panels_have_no_doubts():
    for load in (load_sp500, load_french):
        assert not [note for note in load().notes if "robust" in note or "far out" in note]


NOTED = {
    "6,000 %": (
        lambda: with_cell(make_returns(), 60.0),
        ["1 return more than 50", "60 of MSFT on 2020-01-14"],
    ),
    "50 deviations": (lambda: with_cell(make_returns(), 1.2), ["1 return more", "1.2 of MSFT"]),
    "two cells": (
        lambda: with_cell(with_cell(make_returns(), 5.0), 7.0, column="XOM"),
        ["2 returns more than 50", "7 of XOM on 2020-01-14"],
    ),
    "a bad tick": (
        lambda: with_level(np.where(np.arange(250) == 40, 2.0, draw(0.01)["A0"])),
        ["1 return more", "2 of X"],
    ),
    "a stale asset that jumps": (
        lambda: sparse(draw(0.02), 0.7).mask(RANDOM.random((250, 6)) < 0.0005, 4.0),
        ["more than 50"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("doubt", NOTED)
def test_cells_far_out_are_noted(doubt):
    make, words = NOTED[doubt]
    (note,) = panel_from_frame(make()).notes
    assert all(word in note for word in words), note


@pytest.mark.parametrize(
    "panel", ["daily riskless rate", "yearly yield among monthly returns", "an exchange rate"]
)
def test_columns_that_are_never_negative_and_small_are_noted(panel):
    frame = {**LEGAL, "an exchange rate": lambda: with_level(level(0.0067))}[panel]()
    column = frame.columns[-1]
    (note,) = panel_from_frame(frame).notes
    assert note.startswith(f"Column '{column}' is never or hardly ever negative, ")


UNITS_OF_FIT = {
    "one date in percent": (lambda: 100 * draw(0.01).iloc[:1], None),
    "five dates in percent": (lambda: 100 * draw(0.01).iloc[:5], "6 columns, 'A0' the first, are"),
    "a column in percent": (
        lambda: draw(0.01).iloc[:9] * [1, 1, 100, 1, 1, 1],
        "column 'A2' is in other units than the study's: .* of its standard deviations",
    ),
    "basis points of fractions": (lambda: draw(0.01) / 100, "the returns are in other units"),
    "a price": (lambda: draw(0.01).iloc[:3].assign(A5=99.0), None),
    "a bad tick": (lambda: with_cell(draw(0.01), 9.0, row=DAYS[40], column="A3"), None),
}


@pytest.mark.parametrize("fault", UNITS_OF_FIT)
def test_new_returns_are_in_the_units_that_were_fitted(fault):
    make, words = UNITS_OF_FIT[fault]
    scaler = fit_scaler(draw(0.01).to_numpy())
    if words is None:
        with pytest.warns(UserWarning, match="more than 50 standard deviations of the study's"):
            check_like_fit(make(), scaler)
    else:
        with pytest.raises(DataError, match=words):
            check_like_fit(make(), scaler)


def test_new_returns_may_be_wild_calm_stale_or_few():
    scaler = fit_scaler(draw(0.01).to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for frame in (
            draw(0.06),
            draw(0.001),
            sparse(draw(0.01), 0.95),
            draw(0.01).iloc[:1],
            draw(0.01).iloc[:20].assign(A1=np.nan),
            draw(0.01).assign(A1=lambda x: x["A1"] / 1000),
            0 * draw(0.01),
        ):
            check_like_fit(frame, scaler)


def test_prices_with_a_bad_tick_are_noted():
    notes = panel_from_frame(with_cell(make_prices(), 1e4), kind="prices").notes
    assert "of MSFT on 2020-01-14" in notes[1]


@pytest.mark.parametrize("value", [0.25, -0.3, 9.99])
def test_repeats_of_one_extreme_value_are_noted(value):
    returns = make_returns()
    returns.iloc[[5, 40, 77], 1] = value
    notes = panel_from_frame(returns).notes
    assert f"The value {value:.4g} of MSFT, far out, comes 3 times (1 asset" in notes[-1]
    returns.iloc[77, 1] = 0.0
    assert not [note for note in panel_from_frame(returns).notes if "far out, comes" in note]


def test_a_row_of_the_error_is_the_tables_own():
    with pytest.raises(DataError, match=r"'MSFT' \(1, the first in row 2020-01-14, -99\)"):
        panel_from_frame(with_cell(make_returns(), -99.0, row=DATE))


def test_covariates_far_from_those_fitted_on_are_warned_of():
    """By the name of what they are, the farthest first."""
    dates = pd.date_range("2024-01-01", periods=3)
    table = pd.DataFrame({"vix": [18.0, 19_000.0, 20.0], "rate": [0.01, 0.02, 0.03]}, index=dates)
    scaler = Scaler(np.array([19.0, 0.02]), np.array([2.0, 0.01]))
    with pytest.warns(
        UserWarning, match="1 covariate more than 50 .* 1.9e\\+04 of vix on 2024-01-02"
    ):
        warn_of_far(table, scaler, "covariate")
    warn_of_far(table.iloc[[0, 2]], scaler, "covariate")
