"""Small tables for the tests of reading, and how a panel or an error is compared."""

import numpy as np
import pandas as pd

TICKERS = ["AAPL", "MSFT", "BRK.B", "XOM"]
SECTORS = {"AAPL": "Tech", "MSFT": "Tech", "BRK.B": "Finance", "XOM": "Energy"}
DATE = pd.Timestamp("2020-01-14")  # the tenth row


def make_returns(n_dates=100):
    values = np.random.default_rng(0).normal(0.0005, 0.02, (n_dates, len(TICKERS)))
    dates = pd.bdate_range("2020-01-01", periods=n_dates, name="Date")
    return pd.DataFrame(values, dates, TICKERS)


def make_prices(n_dates=100):
    return 100 * (1 + make_returns(n_dates)).cumprod()


def make_long(returns):
    return returns.melt(ignore_index=False, var_name="Ticker", value_name="Return").reset_index()


def make_yfinance(prices, fields=("Close", "High", "Volume")):
    frame = pd.concat({field: prices * (1 + k) for k, field in enumerate(fields)}, axis=1)
    return frame.rename_axis(columns=["Price", "Ticker"])


def with_cell(frame, value, *, row=DATE, column="MSFT"):
    changed = frame.astype(object) if isinstance(value, str) else frame.copy()
    changed.loc[row, column] = value
    return changed


def with_index(frame, index):
    return frame.set_axis(index, axis=0)


def make_holes():
    """Holes in AAPL (fit: rows 3 and 4), and XOM (test: row 90)."""
    returns = make_returns()
    returns.iloc[3:5, 0] = np.nan
    returns.iloc[90, 3] = np.nan
    return returns


def assert_same(panel, returns):
    np.testing.assert_array_equal(panel.values, returns.to_numpy())
    assert list(panel.dates) == list(returns.index)
    assert panel.dates.dtype == "datetime64[ns]"
    assert panel.assets == tuple(returns.columns)


def assert_one_line(error, words, exit_code=1):
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert error.value.exit_code == exit_code
