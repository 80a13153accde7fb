"""Dates of a table, from datetimes, periods, text or integers."""

import re
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Int
from pandas.api import types

from jaxvae.errors import DataError, shown

DATE_NAMES = frozenset({"date", "dates", "datetime", "timestamp"})
DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y"),
    *("%d.%m.%Y", "%d-%b-%Y", "%d %b %Y", "%d%b%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
    *("%Y-%m", "%Y/%m", "%b %Y", "%b-%Y", "%B %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
ISO = re.compile(
    r"(1[7-9]|2[0-2])\d\d-(0[1-9]|1[0-2])(-[0-3]\d([T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?)?"
)
EARLIEST, LATEST = pd.Timestamp(1700, 1, 1), pd.Timestamp(2201, 1, 1)
# Integers: the earliest date; formats, and units since 1970, by number of digits.
EARLIEST_INTEGER = pd.Timestamp(1900, 1, 1)
_CALENDARS = {4: "%Y", 6: "%Y%m", 8: "%Y%m%d"}
EPOCHS: dict[int, Literal["s", "ms"]] = {9: "s", 10: "s", 12: "ms", 13: "ms"}
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
INTEGER = re.compile(r"(-?\d+)(\.0)?")
QUARTER = re.compile(r"(\d{4})[- ]?[Qq]([1-4])")
MIDNIGHT = re.compile(r"[T ](00:00(:00(\.0+)?)?|12:00(:00)? ?AM)$")
TIME_ZONE = re.compile(r"(\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(Z|[A-Z]{3,4}|[+-]\d\d(?::?\d\d)?)$")
NOT_DATES = (
    "put dates in the index or the first column, written as YYYY-MM-DD; whole numbers are dates as "
    "years from 1900 to 2200, as YYYYMM or YYYYMMDD, or as seconds or milliseconds since 1970"
)

WORD = re.compile(r"\w+")
FORMATS: dict[str, list[str]] = {}
"""By the marks between a format's words, an x each."""
for form in map("".join, product(DAYS, TIMES)):
    FORMATS.setdefault(WORD.sub("x", form.replace("%", "")), []).append(form)


class Dates(NamedTuple):
    """Dates in nanoseconds without a time zone, named `date`, and notes on how they were read."""

    dates: pd.DatetimeIndex
    notes: tuple[str, ...] = ()


def row_name(label: object) -> str:
    """How a message names a row: its date, or its number."""
    return str(label).removesuffix(" 00:00:00")


def text_of(cell: object) -> str:
    """A cell as text; Python prints no whole number of more than 4,300 digits."""
    try:
        return str(cell).strip()
    except ValueError:
        return type(cell).__name__


def looks_like_date(label: object) -> bool:
    """Whether this one label could be read as a date, with or without a time zone."""
    text, _ = _plain(label)
    return bool(ISO.fullmatch(text) or _readings(pd.Index([text], dtype=object)))


def is_epoch(label: object) -> bool:
    """Whether a label could be seconds or milliseconds since 1970, as many an integer could."""
    whole = INTEGER.fullmatch(text_of(label))
    return whole is not None and len(whole[1].lstrip("-")) not in _CALENDARS


def factorize(labels: pd.Series) -> tuple[Int[np.ndarray, " row"], list[object]]:
    """The place of each label among the different ones, and these in order of appearance."""
    try:
        codes, unique = pd.factorize(labels, use_na_sentinel=False)
    except TypeError:  # unhashable cells
        codes, unique = pd.factorize(labels.map(text_of), use_na_sentinel=False)
    return codes, list(unique)


def parse_dates(labels: pd.Series) -> Dates:
    """A column of dates: datetimes, periods, or text or integers that are all written alike.

    Text is ISO 8601, a quarter such as 2020Q1, or has one of DAYS and TIMES; integers are years,
    YYYYMM, YYYYMMDD, or seconds or milliseconds since 1970. Periods become their first day. A time
    zone is dropped: the date is that of the place.

    Raises:
        DataError: a date is missing, unreadable or in another format than the first, or day and
            month cannot be told apart.
    """
    if isinstance(labels.dtype, pd.PeriodDtype):
        labels = labels.dt.start_time
    if types.is_datetime64_any_dtype(labels.dtype):
        dates = pd.DatetimeIndex(labels)
        zoned = dates.tz is not None
        readings = [_in_range(dates.tz_localize(None))]
        text = pd.Index(labels)
        codes = np.arange(len(labels))
    else:
        codes, unique = factorize(labels)
        pairs = [_plain(label) for label in unique]
        zoned = any(zone for _, zone in pairs)
        text = pd.Index([label for label, _ in pairs], dtype=object)
        readings = _readings(text)
    dates = _one_reading(readings, text, codes)
    note = "Time zones were dropped from the dates, which are those of the place."
    return Dates(dates.take(codes).as_unit("ns").rename("date"), (note,) if zoned else ())


def put_in_order(dates: pd.DatetimeIndex) -> tuple[slice, tuple[str, ...]]:
    """The rows oldest first, and the note where they were newest first.

    Raises:
        DataError: a date comes twice, or the rows are in no order.
    """
    if dates.has_duplicates:
        date = dates[dates.duplicated()][0]
        raise DataError(f"the date {row_name(date)} comes more than once: keep one row a date")
    if dates.is_monotonic_increasing:
        return slice(None), ()
    if dates.is_monotonic_decreasing:
        return slice(None, None, -1), ("The rows, newest first, were put in order of date.",)
    row = int((np.diff(dates.asi8) < 0).argmax()) + 1
    raise DataError(
        f"row {row + 1}: the date {row_name(dates[row])} comes after a later one: sort the rows, "
        "oldest first"
    )


def _plain(label: object) -> tuple[str, str]:
    """A label as text, and apart from it its time zone.

    Midnight goes, a whole float becomes an integer, a quarter its first month.
    """
    text, place = text_of(label), ""
    if _DAY.fullmatch(text):
        return text, ""
    if zone := TIME_ZONE.search(text):
        text, place = text[: zone.end(1)], zone[2]
    text = MIDNIGHT.sub("", text)
    if quarter := QUARTER.fullmatch(text):
        text = f"{quarter[1]}-{3 * int(quarter[2]) - 2:02d}"
    elif whole := INTEGER.fullmatch(text):
        text = whole[1]
    return text, place


def _readings(text: pd.Index) -> list[pd.DatetimeIndex]:
    """All that the labels could mean, NaT where one does not fit, in formats that fit the first."""
    if not any(map(str.isdigit, text[0])):
        return []
    if INTEGER.fullmatch(text[0]):
        readings = [_integers(text)]
    else:
        forms = ["ISO8601"] if ISO.fullmatch(text[0]) else FORMATS.get(WORD.sub("x", text[0]), [])
        fitting = [form for form in forms if not _parse(text[:1], form).hasnans]
        readings = [_parse(text, form) for form in fitting]
    return [dates for dates in readings if not pd.isna(dates[0])]


def _parse(text: pd.Index, form: str) -> pd.DatetimeIndex:
    return _in_range(pd.to_datetime(text, format=form, errors="coerce"))


def _integers(text: pd.Index) -> pd.DatetimeIndex:
    """Integers as dates, by the number of digits of the first."""
    n_digits = len(text[0].lstrip("-"))
    if n_digits in EPOCHS:
        whole = text.where(text.str.fullmatch(INTEGER.pattern)).to_numpy()
        numbers = pd.to_numeric(whole, errors="coerce").astype(float)
        dates = pd.to_datetime(numbers, unit=EPOCHS[n_digits], errors="coerce")
    else:
        alike = text.where(text.str.fullmatch(rf"\d{{{n_digits}}}"))
        dates = pd.to_datetime(alike, format=_CALENDARS.get(n_digits, ""), errors="coerce")
    return _in_range(dates, EARLIEST_INTEGER)


def _in_range(dates: pd.DatetimeIndex, earliest: pd.Timestamp = EARLIEST) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(dates.where((dates >= earliest) & (dates < LATEST)))


def _one_reading(
    readings: list[pd.DatetimeIndex], text: pd.Index, codes: Int[np.ndarray, " row"]
) -> pd.DatetimeIndex:
    whole = [dates for dates in readings if not dates.hasnans]
    if not whole:
        bad = max((int(dates.isna().argmax()) for dates in readings), default=0)
        row, label = int((codes == bad).argmax()) + 1, shown(str(text[bad]))
        if not readings or len(text) == 1:
            raise DataError(f"row {row}: {label} is not a date: {NOT_DATES}")
        raise DataError(
            f"row {row}: {label} is not a date in the format of row 1, {shown(str(text[0]))}: "
            "correct or delete the row, or write every date as YYYY-MM-DD"
        )
    if any(not dates.equals(whole[0]) for dates in whole[1:]):
        raise DataError(
            f"dates such as {shown(str(text[0]))} may begin with the day or the month: write every "
            "date as YYYY-MM-DD"
        )
    return whole[0]
