"""Every table that is no panel ends in one line that names the fault and the remedy."""

import re

import numpy as np
import pandas as pd
import pytest
from example_tables import (
    DATE,
    TICKERS,
    assert_one_line,
    make_holes,
    make_long,
    make_prices,
    make_returns,
    with_cell,
    with_index,
)

from jaxvae.data import panel_from_frame
from jaxvae.data.checks import MINIMUM_DATES, check_panel
from jaxvae.errors import DataError


def shuffled(returns):
    return returns.iloc[[*range(20), 21, 20, *range(22, 100)]]


def transposed_with_tickers(returns):
    return returns.T.rename_axis("ticker").reset_index()


def with_text_dates(returns, row, text):
    labels = list(returns.index.strftime("%Y-%m-%d"))
    labels[row] = text
    return with_index(returns, labels)


def first_days_of_months(returns):
    dates = pd.date_range("2000-01-01", periods=100, freq="MS")
    return with_index(returns, dates.strftime("%d/%m/%Y"))


def with_offsets(returns, zone="America/New_York"):
    return with_index(returns, returns.index.tz_localize(zone).astype(str))


# What is wrong, how to make it, and words of the message.
BAD_FRAMES = {
    # missing and infinite cells
    "missing": (
        make_holes,
        ["3 cells missing", "'AAPL' (2", "2020-01-06", "missing='drop-dates', 'drop-assets'"],
    ),
    "infinite": (
        lambda: with_cell(make_returns(), np.inf),
        ["1 cell infinite", "'MSFT'", "2020-01-14", "empty them"],
    ),
    "infinite as text": (lambda: with_cell(make_returns(), "-inf"), ["infinite", "'MSFT'"]),
    "all missing": (
        lambda: make_returns().assign(MSFT=np.nan),
        ["'MSFT' has no value in the first 56 %", "drop-assets"],
    ),
    "all missing in training": (
        lambda: make_returns().assign(XOM=lambda x: x["XOM"].where(x.index >= x.index[56])),
        ["'XOM' has no value in the first 56 %"],
    ),
    # constant columns
    "constant": (
        lambda: make_returns().assign(XOM=0.25),
        ["'XOM' is constant (0.25)", "56 %", "delete"],
    ),
    "constant up to rounding": (
        lambda: make_returns().assign(XOM=0.01 + 1e-16 * np.arange(100)),
        ["'XOM' is constant (0.01)"],
    ),
    "constant in training": (
        lambda: make_returns().assign(XOM=lambda x: x["XOM"].where(x.index >= x.index[60], 0.0)),
        ["'XOM' is constant (0)", "training"],
    ),
    # tickers
    "duplicate tickers": (
        lambda: make_returns().set_axis(["A", "B", "A", "C"], axis=1),
        ["ticker 'A' comes more than once"],
    ),
    "duplicate but for blanks": (
        lambda: make_returns().set_axis(["A", "B", " A", "C"], axis=1),
        ["ticker 'A' comes more than once"],
    ),
    "missing ticker": (
        lambda: make_returns().set_axis(["A", "B", "C", np.nan], axis=1),
        ["ticker in place 4 is empty", "NA", "keep_default_na=False"],
    ),
    "long ticker": (
        lambda: make_returns().set_axis(["A", "B", "C", "X" * 100_000], axis=1),
        ["in place 4 has 100,000 letters"],
    ),
    "long ticker of dots": (
        lambda: (
            make_returns()
            .set_axis(["A", "B", "C", "X." * 99], axis=1)
            .rename(columns=lambda x: x * 9)
        ),
        ["in place 4 has 1,782 letters"],
    ),
    "invisible letter": (
        lambda: make_returns().set_axis(["A", "B", "C", "D\u202e"], axis=1),
        ["in place 4 holds a control character"],
    ),
    "renamed by read_csv": (
        lambda: make_returns().set_axis(["A", "B", "A.1", "C"], axis=1),
        ["'A.1'", "second 'A'", "read_csv"],
    ),
    "empty ticker": (
        lambda: make_returns().set_axis(["A", " ", "B", "C"], axis=1),
        ["ticker in place 2 is empty"],
    ),
    "ticker unnamed by read_csv": (
        lambda: make_returns().set_axis(["A", "B", "C", "Unnamed: 4"], axis=1),
        ["ticker in place 4 is empty"],
    ),
    # dates
    "duplicate dates": (
        lambda: pd.concat([make_returns(), make_returns().tail(1)]),
        ["the date 2020-05-19 comes more than once"],
    ),
    "unsorted dates": (
        lambda: shuffled(make_returns()),
        ["row 22", "2020-01-29", "sort", "oldest first"],
    ),
    "mixed formats": (
        lambda: with_text_dates(make_returns(), 57, "03/31/2020"),
        ["row 58", "'03/31/2020'", "format of row 1", "YYYY-MM-DD"],
    ),
    "unreadable date": (
        lambda: with_text_dates(make_returns(), 7, "soon"),
        ["row 8", "'soon' is not a date"],
    ),
    "no such date": (
        lambda: with_text_dates(make_returns(), 7, "2020-02-30"),
        ["row 8", "'2020-02-30'"],
    ),
    "missing date": (
        lambda: with_index(make_returns(), make_returns().index.where(range(100) != np.int64(5))),
        ["row 6", "NaT"],
    ),
    "day or month first": (
        lambda: first_days_of_months(make_returns()),
        ["'01/01/2000'", "day or the month", "YYYY-MM-DD"],
    ),
    "dates out of range": (
        lambda: with_index(make_returns(), pd.date_range("1600", periods=100, unit="s")),
        ["row 1", "1600"],
    ),
    "no dates": (
        lambda: make_returns().reset_index(drop=True),
        [
            "there are no dates: the first column, 'AAPL', holds numbers",
            "index or the first column",
        ],
    ),
    "dates in another column": (
        lambda: make_returns().reset_index().iloc[:, [1, 0, 2, 3, 4]],
        ["the dates are in column 2, 'Date': make it the first"],
    ),
    "dates at the end under another name": (
        lambda: make_returns().assign(when="2020-01-01").reset_index(drop=True),
        ["the dates are in column 5, 'when'"],
    ),
    "integers that count": (
        lambda: with_index(make_returns(), range(5000, 5100)),
        ["there are no dates", "years from 1900 to 2200", "YYYYMMDD", "milliseconds"],
    ),
    "an index called date that counts": (
        lambda: with_index(make_returns(), pd.RangeIndex(100, name="date")),
        ["column 'date' only counts the rows"],
    ),
    "two rows a date without their zones": (
        lambda: pd.concat(
            [with_offsets(make_returns()), with_offsets(make_returns(1), "Asia/Tokyo")]
        ),
        ["the date 2020-01-01 comes more than once"],
    ),
    "date column left": (
        lambda: make_returns().assign(Date=range(20200101, 20200201)),
        ["column 'Date' holds dates among the returns"],
    ),
    "datetimes left": (
        lambda: make_returns().assign(when=make_returns().index),
        ["column 'when' holds dates among the returns"],
    ),
    "dates as text left": (
        lambda: make_returns().assign(when=make_returns().index.strftime("%d %b %Y")),
        ["column 'when' holds dates among the returns"],
    ),
    "index left": (
        lambda: make_returns().reset_index().reset_index(names="Unnamed: 0"),
        ["column 'Unnamed: 0' only counts the rows", "index=False"],
    ),
    "row numbers left": (
        lambda: make_returns().assign(number=range(1, 101)),
        ["column 'number' only counts the rows"],
    ),
    "transposed": (lambda: make_returns().T, ["transposed", "frame.T"]),
    "transposed, tickers in a column": (
        lambda: transposed_with_tickers(make_returns()),
        ["transposed"],
    ),
    # kinds
    "prices as returns": (
        make_prices,
        ["no return is negative", "median", "kind='prices'", "subtract 1"],
    ),
    "gross returns": (lambda: 1 + make_returns(), ["gross returns", "subtract 1"]),
    "one stock": (
        lambda: make_returns().set_axis(["Open", "High", "Low", "Close"], axis=1),
        ["open, high, low and close", "one stock"],
    ),
    "two levels of names": (
        lambda: make_returns().set_axis(
            [["Apple", "Microsoft", "Berkshire", "Exxon"], TICKERS], axis=1
        ),
        ["two header rows", "leave one, the tickers"],
    ),
    "three levels": (
        lambda: make_returns().set_axis([TICKERS, TICKERS, TICKERS], axis=1),
        ["3 header rows"],
    ),
    # cells
    "text": (
        lambda: with_cell(make_returns(), "n.m."),
        ["'MSFT'", "2020-01-14", "'n.m.' is not a number"],
    ),
    "percent sign": (
        lambda: with_cell(make_returns(), "1.2%"),
        ["'1.2%' has a percent sign", "write all numbers alike"],
    ),
    "decimal comma": (lambda: with_cell(make_returns(), "0,01"), ["'0,01'", "decimal point"]),
    "long text over lines": (
        lambda: with_cell(make_returns(), "x\n" * 100),
        ["x\\nx", "x' is not a number"],
    ),
    "object": (
        lambda: with_cell(make_returns().astype(object), [(1, 2)], row=[DATE]),
        ["'MSFT'", "(1, 2)"],
    ),
    "booleans": (
        lambda: make_returns().assign(XOM=lambda x: x["XOM"] > 0),
        ["column 'XOM' holds bool", "real numbers"],
    ),
    "nullable booleans": (
        lambda: make_returns().assign(XOM=lambda x: (x["XOM"] > 0).astype("boolean")),
        ["column 'XOM' holds boolean"],
    ),
    "an integer too large for a float": (
        lambda: with_cell(make_returns().astype(object), 10**400),
        ["1 cell infinite", "'MSFT'"],
    ),
    "an integer too long to print": (
        lambda: with_cell(make_returns().astype(object), 10**5000),
        ["'MSFT'", "'int' is not a number"],
    ),
    "a boolean object": (
        lambda: with_cell(make_returns().astype(object), True),
        ["'MSFT'", "'True' is not a number"],
    ),
    "complex": (lambda: make_returns() * (1 + 1j), ["column 'AAPL' holds complex128"]),
    "a complex object": (
        lambda: with_cell(make_returns().astype(object), 1 + 2j),
        ["'(1+2j)' is not a number"],
    ),
    "sparse booleans": (
        lambda: (make_returns() > 0).astype(pd.SparseDtype(bool)),
        ["'AAPL' holds Sparse[bool"],
    ),
    "durations": (
        lambda: make_returns().assign(XOM=pd.to_timedelta(range(100), unit="D")),
        ["column 'XOM'", "is not a number"],
    ),
    # scale
    "too large": (
        lambda: with_cell(make_returns(), 1e39),
        ["1 cell too large for float32", "'MSFT'", "2020-01-14"],
    ),
    "too large to square": (
        lambda: with_cell(make_returns(), 1e20, row=make_returns().index[-1]),
        ["1 cell", "float32", "standardised", "'MSFT'", "2020-05-19"],
    ),
    "tiny scale": (
        lambda: make_returns().assign(XOM=lambda x: x["XOM"] * 1e-35),
        ["'XOM'", "standard deviation", "float32"],
    ),
    "tiny scale in training": (
        lambda: make_returns().assign(
            XOM=lambda x: x["XOM"].where(x.index >= x.index[60], x["XOM"] * 1e-35)
        ),
        ["'XOM'", "standard deviation"],
    ),
    # size
    "NumPy array": (
        lambda: make_returns().to_numpy(),
        ["2-dimensional ndarray", "DataFrame", "dates"],
    ),
    "1-D array": (lambda: np.zeros(100), ["1-dimensional ndarray"]),
    "series": (lambda: make_returns()["XOM"], ["1-dimensional Series", "DataFrame"]),
    "list": (lambda: [[0.1]], ["list", "DataFrame"]),
    "empty": (pd.DataFrame, ["empty"]),
    "no rows": (lambda: make_returns().iloc[:0], ["empty"]),
    "no columns": (lambda: make_returns()[[]], ["empty"]),
    "dates alone": (lambda: make_returns()[[]].reset_index(), ["one column", "tickers"]),
    "one row": (lambda: make_returns(1), ["1 date", str(MINIMUM_DATES)]),
    "too few dates": (lambda: make_returns(49), ["49 dates", str(MINIMUM_DATES)]),
    "one asset": (lambda: make_returns()[["XOM"]], ["1 asset", "at least 2"]),
    # long tables
    "long, duplicate pair": (
        lambda: make_long(pd.concat([make_returns(), make_returns().tail(1)])),
        ["row 101", "'AAPL' comes more than once on 2020-05-19"],
    ),
    "long, text": (
        lambda: with_cell(make_long(make_returns()), "bad", row=204, column="Return"),
        ["column 'Return', row 205", "'bad' is not a number"],
    ),
    "long, two values": (
        lambda: make_long(make_returns()).assign(volume=5),
        ["one value", "'Return', 'volume'"],
    ),
    "long, names beside tickers": (
        lambda: make_long(make_returns()).assign(name=lambda x: x["Ticker"] + " Inc"),
        ["one value", "'Return', 'name'"],
    ),
    "long, no value": (
        lambda: make_long(make_returns())[["Date", "Ticker"]],
        ["one value", "none"],
    ),
    "long, empty ticker": (
        lambda: with_cell(make_long(make_returns()), "", row=3, column="Ticker"),
        ["ticker in place 4 is empty"],
    ),
    "long, two sectors": (
        lambda: make_long(make_returns()).assign(
            sector=lambda x: np.where(x["Date"] > DATE, "new", "old")
        ),
        ["'AAPL' has two sectors, 'old' and 'new'"],
    ),
    "long, ticker taken for missing": (
        lambda: make_long(make_returns()).replace({"Ticker": {"XOM": np.nan}}),
        ["ticker in place 301 is empty", "keep_default_na=False"],
    ),
    "long, one ticker": (
        lambda: make_long(make_returns()[["XOM"]]),
        ["1 asset", "at least 2"],
    ),
    "long, another date beside the one called so": (
        lambda: make_long(make_returns())[["Ticker", "Date"]].assign(listed=DATE, x=0.1),
        ["one value", "'listed', 'x'"],
    ),
    "long, renamed by read_csv": (
        lambda: make_long(make_returns().set_axis(["A", "B", "A.1", "C"], axis=1)),
        ["'A.1'", "read_csv"],
    ),
}


@pytest.mark.parametrize("fault", BAD_FRAMES)
def test_bad_frames_end_in_one_line(fault):
    make, words = BAD_FRAMES[fault]
    with pytest.raises(DataError) as error:
        panel_from_frame(make())
    assert_one_line(error, words)


@pytest.mark.parametrize("mark", ["=", "+", "-", "@", "\t=", "\r-"])
def test_names_that_a_spreadsheet_takes_for_formulas_are_refused(mark):
    frame = make_returns().set_axis(["A", "B", "C", f"{mark}USD"], axis=1)
    for table in (frame, make_long(frame)):
        with pytest.raises(DataError) as error:
            panel_from_frame(table)
        assert_one_line(error, [f"begins with {mark[-1]}", "spreadsheet", "rename it"])


def test_a_ticker_of_many_dots_takes_no_time():
    names = ["A", "B", "C", "." * 199]
    assert panel_from_frame(make_returns().set_axis(names, axis=1)).assets[3] == "." * 199


@pytest.mark.parametrize(("factor", "words"), [(1e33, "standard deviation"), (0.0, "constant (0)")])
def test_panels_made_by_hand_are_checked_for_what_fitting_needs(factor, words):
    returns = make_returns().assign(XOM=lambda x: factor * x["XOM"])
    with pytest.raises(DataError, match=re.escape(words)):
        check_panel(returns, 1)
