"""Dates however they are written; what cannot be dates ends in one line."""

import numpy as np
import pandas as pd
import pytest
from example_tables import make_long, make_returns, with_index

from jaxvae.data import panel_from_frame, read_panel
from jaxvae.data.dates import looks_like_date, parse_dates
from jaxvae.errors import DataError

DAYS = make_returns().index
QUARTERS = pd.period_range("1990Q1", periods=100, freq="Q")
YEARS = pd.period_range("1920", periods=100, freq="Y")
ZONED = DAYS.tz_localize("America/New_York")

FORMS = {
    "ISO with T": (DAYS.strftime("%Y-%m-%dT%H:%M:%S"), DAYS),
    "ISO with T and fractions": (
        DAYS.strftime("%Y-%m-%dT16:30:00.250"),
        DAYS + pd.Timedelta("16.5h250ms"),
    ),
    "ISO without seconds": (DAYS.strftime("%Y-%m-%d 16:30"), DAYS + pd.Timedelta("16.5h")),
    "slashes": (DAYS.strftime("%Y/%m/%d"), DAYS),
    "month as letters": (DAYS.strftime("%d%b%Y"), DAYS),
    "capitals": (DAYS.strftime("%d%b%Y").str.upper(), DAYS),
    "words": (DAYS.strftime("%B %d, %Y"), DAYS),
    "American with midnight": (DAYS.strftime("%m/%d/%Y 12:00:00 AM"), DAYS),
    "German with time": (DAYS.strftime("%d.%m.%Y 00:00"), DAYS),
    "compact text": (DAYS.strftime("%Y%m%d"), DAYS),
    "compact floats": (DAYS.strftime("%Y%m%d").astype(float), DAYS),
    "year and month": (QUARTERS.strftime("%Y-%m"), QUARTERS.asfreq("M").to_timestamp()),
    "quarters": (QUARTERS.astype(str), QUARTERS.to_timestamp()),
    "quarters with a dash": (QUARTERS.strftime("%Y-q%q"), QUARTERS.to_timestamp()),
    "periods": (QUARTERS, QUARTERS.to_timestamp()),
    "weeks": (DAYS[::5].to_period("W").repeat(1), DAYS[::5].to_period("W").start_time),
    "years": (YEARS.year, YEARS.to_timestamp()),
    "years as text": (YEARS.astype(str), YEARS.to_timestamp()),
    "years as floats": (YEARS.year.astype(float), YEARS.to_timestamp()),
    "seconds": (DAYS.astype("datetime64[s]").astype("int64"), DAYS),
    "seconds as text": (DAYS.astype("datetime64[s]").astype("int64").astype(str), DAYS),
    "seconds before 1970": (
        (DAYS - pd.Timedelta("22000D")).astype("datetime64[s]").astype("int64"),
        DAYS - pd.Timedelta("22000D"),
    ),
    "milliseconds": (DAYS.astype("datetime64[ms]").astype("int64"), DAYS),
}


@pytest.mark.parametrize("form", FORMS)
def test_dates_are_read_however_they_are_written(form, tmp_path):
    labels, expected = FORMS[form]
    returns = make_returns().iloc[: len(labels)]
    found = parse_dates(pd.Series(labels))
    assert list(found.dates) == list(expected)
    assert found.dates.dtype == "datetime64[ns]"
    assert found.notes == ()
    if len(labels) < 100:
        return
    frame = with_index(returns, pd.Index(labels))
    assert list(panel_from_frame(frame).dates) == list(expected)
    assert list(panel_from_frame(make_long(frame.rename_axis("date"))).dates) == list(expected)
    frame.to_csv(tmp_path / "panel.csv")
    assert list(read_panel(tmp_path / "panel.csv").dates) == list(expected)


ZONES = {
    "datetimes": ZONED,
    "UTC": DAYS.tz_localize("UTC"),
    "text": ZONED.astype(str),
    "Z": DAYS.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "UTC as text": DAYS.strftime("%Y-%m-%d %H:%M UTC"),
    "objects of two zones": [
        date.tz_localize(["Europe/Paris", "America/New_York"][date.day % 2]) for date in DAYS
    ],
}


@pytest.mark.parametrize("zone", ZONES)
def test_time_zones_are_dropped_with_a_note(zone):
    panel = panel_from_frame(with_index(make_returns(), ZONES[zone]))
    assert list(panel.dates) == list(DAYS)
    assert panel.notes == ("Time zones were dropped from the dates, which are those of the place.",)


def test_rows_that_are_newest_first_are_put_in_order_with_a_note(tmp_path):
    panel = panel_from_frame(make_returns()[::-1])
    np.testing.assert_array_equal(panel.values, make_returns())
    assert panel.notes == ("The rows, newest first, were put in order of date.",)
    make_returns()[::-1].to_csv(tmp_path / "panel.csv")
    assert read_panel(tmp_path / "panel.csv") == panel.__class__(**{**vars(panel), "name": "panel"})


def test_an_index_of_integers_gives_way_to_a_column_called_date():
    frame = make_returns().reset_index()
    assert list(panel_from_frame(with_index(frame, range(1950, 2050))).dates) == list(DAYS)


def test_the_column_called_date_is_it_though_another_comes_first():
    long = make_long(make_returns())
    codes = {name: 19870101 + k for k, name in enumerate(make_returns())}
    table = pd.DataFrame(
        {"permno": long["Ticker"].map(codes), "Date": long["Date"], "x": long["Return"]}
    )
    panel = panel_from_frame(table)
    assert panel.assets[0] == "19870101"
    assert list(panel.dates) == list(DAYS)
    volumes = long.assign(day=long["Date"], Return=200_000_000)[["Return", "Ticker", "day"]]
    with pytest.raises(DataError, match=r"median is 2e[+]08"):
        panel_from_frame(volumes)


NO_DATES = [
    *(1899, 2201, "1899", 190013, 189912, 20200230, 22010101, 18991231, 0, 99, 43831, 10001),
    *(5 * 10**8 * 10**9, 99_999_999_999, 1e-3, "0.5", "AAPL", "A1", "soon", "12:30", "", None),
    *("2020-13", "2020Q5", "1/2", "2020-01-01x", "1" * 5000, True),
]


@pytest.mark.parametrize("label", NO_DATES)
def test_labels_that_are_no_dates(label):
    assert not looks_like_date(label)
    with pytest.raises(DataError, match=r"^row 1: .* is not a date"):
        parse_dates(pd.Series([label], dtype=object))


@pytest.mark.parametrize(
    "label", [1900, 2200, 190001, 220012, 19000101, 22001231, 10**8, -(2 * 10**9)]
)
def test_integers_that_are_dates(label):
    assert looks_like_date(label)


@pytest.mark.parametrize("first", ["2020-01-01", "01JAN2020", "2020", "20200101", "1577836800"])
def test_a_date_that_is_not_written_like_the_first_is_named(first):
    labels = [first, "soon", first]
    with pytest.raises(DataError, match=r"^row 2: 'soon' is not a date in the format of row 1"):
        parse_dates(pd.Series(labels))


def test_seconds_beyond_all_dates_are_no_date():
    """2^64 - 1, a usual code for missing."""
    with pytest.raises(DataError, match=r"^row 2: '18446744073709551615' is not a date"):
        parse_dates(pd.Series(["1234567890", "18446744073709551615"]))
