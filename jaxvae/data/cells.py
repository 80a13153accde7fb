"""Labels and cells of a table as text or objects, converted to dates, tickers and numbers.

Each conversion raises DataError, in one line, at the first label or cell that it cannot read.
"""

import datetime
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from pandas.api import types

from jaxvae.errors import DataError

DATE_NAMES = frozenset({"date", "dates", "datetime", "timestamp"})
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%Y-%m",
    "%Y/%m/%d",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d.%m.%Y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%b %d, %Y",
)
EARLIEST_YEAR, LATEST_YEAR = 1700, 2200
COMPACT_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)?")
TIME_ZONE = re.compile(r"\d:\d\d(:\d\d(\.\d+)?)? ?(Z|UTC|[+-]\d\d:?\d\d)$")
RENAMED_TICKER = re.compile(r"(.*[A-Za-z].*)\.\d+")
MISSING_WORDS = frozenset({"", "-", ".", "na", "n/a", "#n/a", "nan", "<na>", "nat", "null", "none"})


def quote(text: object) -> str:
    """Text from a file for a message: on one line, quoted and not too long."""
    shown = str(text)
    return repr(shown if len(shown) <= 60 else shown[:57] + "...")


def row_name(label: object) -> str:
    """How a message names a row: its date, or its number."""
    return str(label).removesuffix(" 00:00:00")


# Dates


def looks_like_date(label: object) -> bool:
    """Whether this one label could be read as a date, with or without a time zone."""
    if isinstance(label, (datetime.date, np.datetime64)):
        return True
    text = _date_text(label)
    return bool(TIME_ZONE.search(text)) or bool(_formats_of(text))


def parse_dates(labels: pd.Series) -> pd.DatetimeIndex:
    """Datetimes, or text in any one of DATE_FORMATS, as an index in nanoseconds named `date`.

    Raises DataError where a date is missing, unreadable, in another format than the first, with
    a time zone, or where day and month cannot be told apart.
    """
    if types.is_datetime64_any_dtype(labels.dtype):
        return _check_datetimes(pd.DatetimeIndex(labels)).as_unit("ns").rename("date")
    text = pd.Index([_date_text(label) for label in labels], dtype=object)
    _check_no_time_zone(text)
    formats = _formats_of(text[0])
    if not formats:
        raise DataError(
            f"row 1: {quote(text[0])} is not a date: put dates in the index or the first column, "
            "written as YYYY-MM-DD"
        )
    dates = _one_reading([_parse(text, style) for style in formats], text)
    return dates.as_unit("ns").rename("date")


def _check_datetimes(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    if dates.tz is not None:
        raise _time_zone_error(0, dates[0])
    unfit = _in_range(dates).isna()
    if unfit.any():
        row = int(unfit.argmax())
        raise DataError(f"row {row + 1}: the date is {dates[row]}: correct or delete the row")
    return dates


def _in_range(dates: pd.DatetimeIndex) -> pd.DatetimeIndex:
    fits = (dates.year >= EARLIEST_YEAR) & (dates.year <= LATEST_YEAR)
    return pd.DatetimeIndex(dates.where(fits))


def _date_text(label: object) -> str:
    text = str(label).strip().removesuffix(" 00:00:00")
    compact = COMPACT_DATE.fullmatch(text)
    return "-".join(part for part in compact.groups() if part) if compact else text


def _formats_of(text: str) -> list[str]:
    return [style for style in DATE_FORMATS if _fits(text, style)]


def _fits(text: str, style: str) -> bool:
    try:
        return EARLIEST_YEAR <= datetime.datetime.strptime(text, style).year <= LATEST_YEAR
    except ValueError:
        return False


def _parse(text: pd.Index, style: str) -> pd.DatetimeIndex:
    return _in_range(pd.to_datetime(text, format=style, errors="coerce"))


def _one_reading(readings: list[pd.DatetimeIndex], text: pd.Index) -> pd.DatetimeIndex:
    whole = [dates for dates in readings if not dates.hasnans]
    if not whole:
        row = max(int(dates.isna().argmax()) for dates in readings)
        raise DataError(
            f"row {row + 1}: {quote(text[row])} is not a date in the format of row 1, "
            f"{quote(text[0])}: write every date as YYYY-MM-DD"
        )
    if any(not dates.equals(whole[0]) for dates in whole[1:]):
        raise DataError(
            f"dates such as {quote(text[0])} may begin with the day or the month: write every "
            "date as YYYY-MM-DD"
        )
    return whole[0]


def _check_no_time_zone(text: pd.Index) -> None:
    for row, label in enumerate(text):
        if TIME_ZONE.search(label):
            raise _time_zone_error(row, label)


def _time_zone_error(row: int, date: object) -> DataError:
    return DataError(
        f"row {row + 1}: the date {quote(date)} carries a time zone: remove it, with "
        "tz_localize(None) in pandas"
    )


def check_dates_increase(dates: pd.DatetimeIndex) -> None:
    """Raise where a date comes twice or before the one above it."""
    if dates.has_duplicates:
        date = dates[dates.duplicated()][0]
        raise DataError(f"the date {row_name(date)} comes more than once: keep one row a date")
    if not dates.is_monotonic_increasing:
        row = int((np.diff(dates.asi8) < 0).argmax()) + 1
        raise DataError(
            f"row {row + 1}: the date {row_name(dates[row])} comes after a later one: sort the "
            "rows, oldest first"
        )


# Tickers


def clean_tickers(labels: Iterable[object]) -> list[str]:
    """Tickers as text without outer blanks; raises DataError where one is empty."""
    tickers = [str(label).strip() for label in labels]
    for number, ticker in enumerate(tickers, start=1):
        if ticker in ("", "nan", "None", "<NA>") or re.fullmatch(r"Unnamed: \d+", ticker):
            raise DataError(f"the ticker in place {number} is empty: name it, or delete its cells")
    return tickers


def check_tickers_differ(tickers: list[str]) -> None:
    """Raise where a ticker comes twice, or was renamed by `read_csv` because it came twice."""
    seen: set[str] = set()
    for ticker in tickers:
        if ticker in seen:
            raise DataError(f"the ticker {quote(ticker)} comes more than once: keep one column")
        seen.add(ticker)
    for ticker in tickers:
        renamed = RENAMED_TICKER.fullmatch(ticker)
        if renamed and renamed[1] in seen:
            raise DataError(
                f"the ticker {quote(ticker)} is a second {quote(renamed[1])} that read_csv "
                "renamed: keep one column, or give it a name of its own"
            )


# Cells


def to_numbers(column: pd.Series) -> Float[np.ndarray, " row"]:
    """A column's cells as floats, NaN where missing; sparse and nullable columns too.

    Text is converted where it is a number. Raises DataError for any other text, and for dates,
    booleans and complex numbers.
    """
    check_not_dates(column)
    if types.is_bool_dtype(column.dtype) or types.is_complex_dtype(column.dtype):
        raise DataError(
            f"column {quote(column.name)} holds {column.dtype} values: give it real numbers, or "
            "delete it"
        )
    if types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=float, na_value=np.nan)
    return np.array([_to_number(cell, row, column.name) for row, cell in column.items()])


def check_not_dates(column: pd.Series) -> None:
    """Raise where dates were left among the columns of numbers."""
    if str(column.name).casefold() in DATE_NAMES or types.is_datetime64_any_dtype(column.dtype):
        raise _date_column_error(column.name)


def _date_column_error(name: object) -> DataError:
    return DataError(
        f"column {quote(name)} holds dates among the returns: make it the index or the first "
        "column, and keep one column of dates"
    )


def row_number_error(name: object) -> DataError:
    """The error for a column that only counts the rows."""
    return DataError(
        f"column {quote(name)} only counts the rows: delete it, or write the file with index=False"
    )


def is_missing(cell: object) -> bool:
    """Whether a cell is empty or a word for missing."""
    return str(cell).strip().casefold() in MISSING_WORDS


def is_word(cell: object) -> bool:
    """Whether a cell is text with a letter in it that stands for no number."""
    return isinstance(cell, str) and any(map(str.isalpha, cell)) and _float_or_none(cell) is None


def _to_number(cell: object, row: object, name: object) -> float:
    if is_missing(cell):
        return np.nan
    number = _float_or_none(cell)
    if number is None:
        raise _date_column_error(name) if looks_like_date(cell) else _text_error(cell, row, name)
    return number


def _text_error(cell: object, row: object, name: object) -> DataError:
    return DataError(
        f"column {quote(name)}, row {row_name(row)}: {quote(cell)} is not a number: write numbers "
        "with a decimal point and leave missing cells empty"
    )


def _float_or_none(cell: Any) -> float | None:
    if isinstance(cell, bool | np.bool_ | complex | np.complexfloating):
        return None
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
