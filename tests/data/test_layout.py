"""Frames of any layout and type give the same panel."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
from example_tables import (
    TICKERS,
    assert_same,
    make_long,
    make_prices,
    make_returns,
    make_yfinance,
    with_index,
)

from jaxvae.data import panel_from_frame
from jaxvae.errors import DataError


def as_sparse(returns):
    return returns.astype(pd.SparseDtype(float))


FRAMES = {
    "dates as index": lambda returns: returns,
    "dates as first column": lambda returns: returns.reset_index(),
    "row numbers that do not begin at 0": lambda returns: with_index(
        returns.reset_index(), range(7, 107)
    ),
    "text as dates": lambda returns: with_index(returns, returns.index.strftime("%Y-%m-%d")),
    "date objects": lambda returns: with_index(returns, returns.index.date),
    "numbers as dates": lambda returns: with_index(
        returns, returns.index.strftime("%Y%m%d").astype(int)
    ),
    "daily periods": lambda returns: returns.to_period("D"),
    "seconds": lambda returns: with_index(returns, returns.index.as_unit("s")),
    "nullable": lambda returns: returns.astype("Float64"),
    "object": lambda returns: returns.astype(object),
    "text": lambda returns: returns.map(repr),
    "decimals": lambda returns: returns.map(Decimal),
    "categories": lambda returns: returns.astype("category"),
    "sparse": as_sparse,
    "long": make_long,
    "long, columns in another order": lambda returns: make_long(returns)[
        ["Return", "Ticker", "Date"]
    ],
    "long, other names": lambda returns: make_long(returns).set_axis(["day", "id", "x"], axis=1),
    "long, by date": lambda returns: make_long(returns).sort_values("Date", kind="stable"),
    "long, dates as index": lambda returns: make_long(returns).set_index("Date"),
    "a series by date and ticker": lambda returns: returns.stack(),  # noqa: PD013
    "a series by ticker and date": lambda returns: returns.T.stack(),  # noqa: PD013
    "a series without names": lambda returns: returns.rename_axis(None).stack(),  # noqa: PD013
    "one level of fields": lambda returns: pd.concat({"Return": returns}, axis=1),
    "Polars": lambda returns: polars.from_pandas(returns.reset_index()),
    "Polars, long": lambda returns: polars.from_pandas(make_long(returns)),
    "Arrow": pa.Table.from_pandas,
    "Arrow, long": lambda returns: pa.Table.from_pandas(make_long(returns)),
    "text of another engine": lambda returns: make_long(returns).astype(
        {"Ticker": "string[pyarrow]"}
    ),
    "long, index of two levels": lambda returns: make_long(returns).set_index(["Date", "Ticker"]),
}


@pytest.mark.parametrize("layout", FRAMES)
def test_frames_of_any_layout_and_type_give_the_same_panel(layout):
    returns = make_returns()
    before = returns.copy()
    assert_same(panel_from_frame(FRAMES[layout](returns)), before)
    pd.testing.assert_frame_equal(returns, before)


def test_float32_and_integers_become_float64():
    percents = (100 * make_returns()).assign(AAPL=lambda x: x["AAPL"].round().astype(int))
    with pytest.warns(UserWarning, match="percent"):
        panel = panel_from_frame(percents.astype({"MSFT": np.float32}))
    assert panel.values.dtype == np.float64
    np.testing.assert_array_equal(panel.values[:, 0], percents["AAPL"])


def test_monthly_dates_are_the_first_of_the_month():
    months = pd.period_range("2010-01", periods=100, freq="M").strftime("%Y%m").astype(int)
    assert panel_from_frame(with_index(make_returns(), months)).dates[1] == pd.Timestamp("2010-02")


def test_odd_tickers_stay_text():
    odd = ["<script>alert(1)</script>", "cmd|' /C calc'!A0", "NA", "TRUE"]
    wide = make_returns().set_axis(odd, axis=1)
    assert panel_from_frame(wide).assets == tuple(odd)
    assert panel_from_frame(make_long(wide)[["Date", "Ticker", "Return"]]).assets == tuple(odd)


def test_tickers_that_are_numbers_become_text():
    assert panel_from_frame(make_returns().set_axis([1, 2, 3, 4], axis=1)).assets[0] == "1"
    long = make_long(make_returns().set_axis([10001, 10002, 10003, 10004], axis=1))
    named = long.rename(columns={"Ticker": "permno"}).astype({"permno": int})
    assert panel_from_frame(named).assets == ("10001", "10002", "10003", "10004")


SECTORS_ABOVE = [["Tech", "Tech", "Finance", "Energy"], TICKERS]


@pytest.mark.parametrize("names", [None, ["sector", "ticker"], ["ticker", "sector"]])
@pytest.mark.parametrize("dates", ["index", "column"])
def test_sectors_over_or_under_tickers_come_along(names, dates):
    levels = SECTORS_ABOVE if names is None or names[0] == "sector" else SECTORS_ABOVE[::-1]
    columns = pd.MultiIndex.from_arrays(levels, names=names)
    frame = make_returns().set_axis(columns, axis=1)
    panel = panel_from_frame(frame.reset_index() if dates == "column" else frame)
    assert_same(panel, make_returns())
    assert panel.sectors == ("Tech", "Tech", "Finance", "Energy")


def test_sectors_that_all_differ_need_a_name():
    levels = [["Tech", "Software", "Finance", "Energy"], TICKERS]
    frame = make_returns().set_axis(levels, axis=1)
    with pytest.raises(DataError, match="two header rows"):
        panel_from_frame(frame)
    assert panel_from_frame(frame.rename_axis(columns=["industry", None])).sectors[1] == "Software"


def test_a_sector_of_a_long_table_may_be_a_list():
    long = make_long(make_returns()).assign(sector=lambda x: [["Tech", 1]] * len(x))
    assert panel_from_frame(long).sectors == ("['Tech', 1]",) * 4


def test_a_lazy_frame_is_no_table():
    with pytest.raises(DataError, match="a LazyFrame is not a panel"):
        panel_from_frame(polars.from_pandas(make_returns()).lazy())


def test_yfinance_frames_are_unwrapped_as_prices():
    prices = make_prices()
    panel = panel_from_frame(make_yfinance(prices))
    expected = panel_from_frame(prices, kind="prices")
    np.testing.assert_array_equal(panel.values, expected.values)
    assert panel.assets == expected.assets
    assert panel.notes[0] == "The prices are yfinance's Close."


def test_yfinance_frames_grouped_by_ticker_are_unwrapped():
    grouped = make_yfinance(make_prices()).swaplevel(axis=1)
    np.testing.assert_array_equal(
        panel_from_frame(grouped).values, panel_from_frame(make_prices(), kind="prices").values
    )


def test_yfinance_adjusted_prices_are_preferred_where_every_ticker_has_them():
    adjusted = make_prices() ** 0.9
    frame = pd.concat(
        [make_yfinance(make_prices()), make_yfinance(adjusted, ["Adj Close"])], axis=1
    )
    panel = panel_from_frame(frame)
    expected = panel_from_frame(adjusted, kind="prices")
    np.testing.assert_array_equal(panel.values, expected.values)
    assert "Adj Close" in panel.notes[0]


def test_a_failed_yfinance_tickers_adjusted_prices_are_not_taken():
    frame = make_yfinance(make_prices())
    frame["Adj Close", "GONE"] = np.nan
    frame["Close", "GONE"] = np.nan
    with pytest.raises(DataError, match="column 'GONE' has no value"):
        panel_from_frame(frame)
    assert panel_from_frame(frame, missing="drop-assets").assets == tuple(TICKERS)
