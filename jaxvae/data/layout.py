"""Layouts of a table, wide, long or in two levels, brought to one: dates × tickers of numbers."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from jaxvae.data.cells import (
    check_names_differ,
    clean_name,
    is_missing,
    is_number,
    is_word,
    quote,
    row_number_error,
    to_matrix,
)
from jaxvae.data.dates import (
    DATE_NAMES,
    INTEGER,
    NOT_DATES,
    factorize,
    is_epoch,
    looks_like_date,
    parse_dates,
    put_in_order,
    row_name,
    text_of,
)
from jaxvae.errors import DataError

ASSET_NAMES = frozenset({"ticker", "tickers", "asset", "assets", "symbol", "permno", "stock"})
SECTOR_NAMES = frozenset({"sector", "sectors", "industry"})
ONE_STOCK = frozenset({"open", "high", "low", "close"})
WIDEST_LONG = 50
"""Columns of a long table, at most, where none is called an asset's."""


class WideTable(NamedTuple):
    """Numbers by date and ticker, and what else their layout says.

    values: dates × tickers, NaN where missing, oldest date first.
    sectors: a label by ticker, from a long table or a header row that has them.
    prices: whether they are prices for certain, from yfinance's table.
    notes: on how dates and numbers were read, and from which of yfinance's fields.
    """

    values: pd.DataFrame
    sectors: dict[str, str] | None = None
    prices: bool = False
    notes: tuple[str, ...] = ()


def require_frame(table: object) -> pd.DataFrame:
    """A DataFrame with rows and columns: the argument itself, or what it is in pandas.

    Args:
        table: a DataFrame; a Series by date and ticker; a table of Polars, Arrow or another library
            that has `to_pandas`.

    Raises:
        DataError: it is something else, or empty.
    """
    if not isinstance(table, pd.DataFrame | pd.Series) and hasattr(table, "to_pandas"):
        table = table.to_pandas()
    if isinstance(table, pd.Series) and table.index.nlevels == 2:
        table = table.to_frame("value" if table.name is None else table.name).reset_index()
    if not isinstance(table, pd.DataFrame):
        shape = f"{table.ndim}-dimensional " if hasattr(table, "ndim") else ""
        raise DataError(
            f"a {shape}{type(table).__name__} is not a panel: make a pandas DataFrame with dates "
            "as its index and one column a ticker"
        )
    if table.empty:
        raise DataError("the table is empty: a row a date and a column a ticker are needed")
    return table


def read_layout(frame: pd.DataFrame) -> WideTable:
    """Numbers by date and ticker from a table in any of the layouts.

    Raises:
        DataError: dates, tickers or cells cannot be read, or the layout is another.
    """
    if frame.columns.nlevels > 1:
        return _read_levels(frame)
    frame = index_to_columns(frame)
    long = _long_columns(frame)
    if long is not None:
        return _read_long(long)
    if ONE_STOCK.issubset(str(name).casefold() for name in frame.columns):
        raise DataError(
            "the columns open, high, low and close are one stock's: make one table of closing "
            "prices, a column a ticker"
        )
    return read_wide(frame)


def index_to_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with its index as first columns, unless that only numbers the rows."""
    whole = pd.api.types.is_integer_dtype(frame.index) and not _is_date(frame.index.name)
    drop = whole and (any(map(_is_date, frame.columns)) or not looks_like_date(frame.index[0]))
    return frame.reset_index(drop=drop, allow_duplicates=True)


def _is_date(name: object) -> bool:
    """Whether a column is called a date's."""
    return str(name).strip().casefold() in DATE_NAMES


# Wide tables


def read_wide(frame: pd.DataFrame, noun: str = "ticker") -> WideTable:
    """Numbers by date and ticker, from a table whose first column is dates."""
    _check_first_column(frame)
    dates = parse_dates(frame.iloc[:, 0])
    order, order_notes = put_in_order(dates.dates)
    labels = enumerate(frame.columns[1:], start=1)
    names = pd.Index([clean_name(label, place, noun) for place, label in labels])
    check_names_differ(names, noun)
    cells = frame.iloc[:, 1:].set_axis(names, axis=1).set_axis(dates.dates, axis=0)
    values, notes = to_matrix(cells)
    table = pd.DataFrame(values, dates.dates, names)[order]
    return WideTable(table, notes=dates.notes + order_notes + notes)


def _check_first_column(frame: pd.DataFrame) -> None:
    first, others = frame.iloc[:, 0], frame.columns[1:]
    if others.empty:
        raise DataError("the table has one column: dates and at least 2 tickers are needed")
    if looks_like_date(first.iloc[0]):
        return
    labels = [text_of(cell) for cell in first]
    for start in (0, 1):
        if labels == [str(number) for number in range(start, start + len(labels))]:
            raise row_number_error(frame.columns[0])
    if all(looks_like_date(label) for label in others[:5]):
        raise DataError(
            "the panel is transposed, with dates across and tickers down: turn it, with frame.T "
            "in pandas"
        )
    dates = _date_place(frame)
    if dates and (_is_date(frame.columns[dates]) or not is_number(frame.iloc[0, dates])):
        raise DataError(
            f"the dates are in column {dates + 1}, {quote(frame.columns[dates])}: make it the "
            "first, or the index"
        )
    if is_number(first.iloc[0]) and not INTEGER.fullmatch(labels[0]):
        raise DataError(
            f"there are no dates: the first column, {quote(frame.columns[0])}, holds numbers; "
            f"{NOT_DATES}"
        )


# Two levels of columns


def _read_levels(frame: pd.DataFrame) -> WideTable:
    """A table under fields and tickers, as yfinance has them, or under sectors and tickers."""
    names = frame.columns
    if names.nlevels != 2:
        raise DataError(f"there are {names.nlevels} header rows: leave one, the tickers")
    if not looks_like_date(frame.index[0]) and any(map(_is_date, names[0])):
        frame = frame.set_index(names[0]).rename_axis(None)
        names = frame.columns
    fields = [level for level in (0, 1) if "Close" in names.get_level_values(level)]
    if fields:
        return _read_fields(frame, fields[0])
    tickers = _ticker_level(names)
    labels = [str(label).strip() for label in names.get_level_values(1 - tickers)]
    table = read_wide(index_to_columns(frame.droplevel(1 - tickers, axis=1)))
    if len(set(labels)) == 1:
        return table
    return table._replace(sectors=dict(zip(table.values.columns, labels, strict=True)))


def _read_fields(frame: pd.DataFrame, level: int) -> WideTable:
    fields = frame.columns.get_level_values(level)
    close, adjusted = frame.loc[:, fields == "Close"], frame.loc[:, fields == "Adj Close"]
    # Where 'Close' is adjusted already, an 'Adj Close' comes with failed tickers alone.
    field, prices = ("Adj Close", adjusted) if adjusted.shape == close.shape else ("Close", close)
    table = read_wide(index_to_columns(prices.droplevel(level, axis=1)))
    note = f"The prices are yfinance's {field}."
    return table._replace(prices=True, notes=(*table.notes, note))


def _ticker_level(names: pd.Index) -> int:
    """The level that is called the assets', or the one whose labels differ while the other's
    repeat."""
    called = [str(name).strip().casefold() for name in names.names]
    for level in (0, 1):
        if called[level] in ASSET_NAMES or called[1 - level] in SECTOR_NAMES:
            return level
    differ = [names.get_level_values(level).is_unique for level in (0, 1)]
    if sum(differ) != 1:
        raise DataError(
            "there are two header rows, which are neither yfinance's prices and tickers nor "
            "sectors and tickers: leave one, the tickers"
        )
    return differ.index(True)


# Long tables


def _long_columns(frame: pd.DataFrame) -> pd.DataFrame | None:
    """A long table's columns of dates, assets, values and perhaps sectors; None where it is wide.

    In a long table a column of tickers holds words alone or is called so. One of them is enough
    where dates repeat, else it is both.
    """
    names = [str(label).strip().casefold() for label in frame.columns]
    places = range(len(names))
    assets = [place for place in places if names[place] in ASSET_NAMES][:1]
    date = _date_place(frame) if assets or len(names) <= WIDEST_LONG else None
    if date is None:
        return None
    repeated = frame.iloc[:, date].duplicated().any()
    if not repeated and not (assets and _holds_words(frame.iloc[:, assets[0]])):
        return None
    sectors = [place for place in places if names[place] in SECTOR_NAMES][:1]
    others = [place for place in places if place not in (date, *assets, *sectors)]
    assets = assets or [place for place in others if _holds_words(frame.iloc[:, place])][:1]
    if not assets:
        return None
    values = [place for place in others if place not in assets]
    if len(values) != 1:
        found = ", ".join(quote(name) for name in frame.columns[values]) or "none"
        raise DataError(
            "a long table has columns for date, ticker, one value and perhaps one called sector; "
            f"columns of values here: {found}: keep one"
        )
    return frame.iloc[:, [date, *assets, *values, *sectors]]


def _date_place(frame: pd.DataFrame) -> int | None:
    """The first column called a date's, else that looks like dates; integers since 1970 last."""
    places = range(frame.shape[1])
    looks = [place for place in places if looks_like_date(frame.iloc[0, place])]
    called = [place for place in places if _is_date(frame.columns[place])]
    looks.sort(key=lambda place: is_epoch(frame.iloc[0, place]))
    return next(iter([*called, *looks]), None)


def _holds_words(column: pd.Series) -> bool:
    present = [cell for cell in factorize(column)[1] if not is_missing(cell)]
    return bool(present) and all(map(is_word, present))


def _read_long(frame: pd.DataFrame) -> WideTable:
    dates = parse_dates(frame.iloc[:, 0])
    rows, days = pd.factorize(dates.dates, sort=True)
    codes, labels = factorize(frame.iloc[:, 1])
    places = np.unique(codes, return_index=True)[1] + 1
    cleaned = [clean_name(label, int(k)) for label, k in zip(labels, places, strict=True)]
    columns, tickers = pd.factorize(pd.Index(cleaned, dtype=object).take(codes))
    check_names_differ(tickers)
    repeated = pd.Index(rows * len(tickers) + columns).duplicated()
    if repeated.any():
        row = int(repeated.argmax())
        raise DataError(
            f"row {row + 1}: {quote(tickers[columns[row]])} comes more than once on "
            f"{row_name(days[rows[row]])}: keep one row"
        )
    values, notes = to_matrix(frame.iloc[:, [2]].set_axis(range(1, len(frame) + 1), axis=0))
    matrix = np.full((len(days), len(tickers)), np.nan)
    matrix[rows, columns] = values[:, 0]
    table = pd.DataFrame(matrix, days.rename("date"), list(tickers))
    sectors = None
    if frame.shape[1] > 3:
        codes, labels = factorize(frame.iloc[:, 3])
        pairs = pd.DataFrame({"ticker": columns, "sector": codes}).drop_duplicates()
        sectors = join_labels((tickers[k], labels[code]) for k, code in pairs.to_numpy())
    return WideTable(table, sectors, notes=dates.notes + notes)


def join_labels(pairs: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Sectors by ticker from pairs that may repeat; the text NA is a label.

    Raises:
        DataError: a ticker has two sectors, or a label could not be written into a CSV file.
    """
    labels: dict[str, str] = {}
    for place, (asset, label) in enumerate(pairs, start=1):
        ticker, text = " ".join(text_of(asset).split()), text_of(label)
        if is_missing(label) and text_of(label) != "NA":
            continue
        sector = clean_name(text, place, "sector")
        if labels.setdefault(ticker, sector) != sector:
            raise DataError(
                f"{quote(ticker)} has two sectors, {quote(labels[ticker])} and {quote(sector)}: "
                "keep one"
            )
    return labels
