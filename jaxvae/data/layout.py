"""Layouts of a table, wide, long or yfinance's, brought to one: dates × tickers of numbers."""

from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from jaxvae.data.cells import (
    check_dates_increase,
    check_tickers_differ,
    clean_tickers,
    is_missing,
    is_word,
    looks_like_date,
    parse_dates,
    quote,
    row_name,
    row_number_error,
    to_numbers,
)
from jaxvae.errors import DataError

ASSET_NAMES = frozenset({"ticker", "tickers", "asset", "assets", "symbol", "permno", "stock"})
SECTOR_NAMES = frozenset({"sector", "sectors", "industry"})
ONE_STOCK = frozenset({"open", "high", "low", "close"})


class Table(NamedTuple):
    """Numbers by date and ticker, and what their layout told besides.

    values: dates × tickers, NaN where missing.
    sectors: a label by ticker, from a long table that has them.
    field: which of yfinance's fields the values are, from its table: prices for certain.
    """

    values: pd.DataFrame
    sectors: dict[str, str] | None = None
    field: str | None = None


def read_layout(frame: pd.DataFrame) -> Table:
    """Numbers by date and ticker from a table in any of the three layouts.

    Raises DataError where dates, tickers or cells cannot be read, or the layout is another.
    """
    if frame.columns.nlevels > 1:
        return _read_yfinance(frame)
    frame = index_to_columns(frame)
    roles = _long_roles(frame)
    if roles is not None:
        return _read_long(frame, roles)
    _check_not_one_stock(frame.columns)
    return Table(read_wide(frame))


def _check_not_one_stock(names: pd.Index) -> None:
    if ONE_STOCK.issubset(str(name).casefold() for name in names):
        raise DataError(
            "the columns open, high, low and close are one stock's: make one table of closing "
            "prices, a column a ticker"
        )


def _read_yfinance(frame: pd.DataFrame) -> Table:
    names = frame.columns
    levels = [level for level in range(names.nlevels) if "Close" in names.get_level_values(level)]
    if names.nlevels != 2 or not levels:
        raise DataError(
            f"the columns have {names.nlevels} levels, which are not yfinance's prices and "
            "tickers: leave one level, the tickers"
        )
    fields = names.get_level_values(levels[0])
    close, adjusted = frame.loc[:, fields == "Close"], frame.loc[:, fields == "Adj Close"]
    # Where 'Close' is adjusted already, an 'Adj Close' comes with failed tickers alone.
    field, prices = ("Adj Close", adjusted) if adjusted.shape == close.shape else ("Close", close)
    return Table(read_wide(index_to_columns(prices.droplevel(levels[0], axis=1))), field=field)


def index_to_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """The same table with its index as first columns, unless that only numbers the rows."""
    numbers = pd.api.types.is_integer_dtype(frame.index) and not looks_like_date(frame.index[0])
    return frame.reset_index(drop=numbers, allow_duplicates=True)


def read_wide(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers by date and ticker, from a table whose first column is dates."""
    _check_first_column(frame)
    dates = parse_dates(frame.iloc[:, 0])
    check_dates_increase(dates)
    tickers = clean_tickers(frame.columns[1:])
    check_tickers_differ(tickers)
    cells = frame.iloc[:, 1:].set_axis(tickers, axis=1).set_axis(dates, axis=0)
    return pd.DataFrame({ticker: to_numbers(column) for ticker, column in cells.items()}, dates)


def _check_first_column(frame: pd.DataFrame) -> None:
    first, others = frame.iloc[:, 0], frame.columns[1:]
    if others.empty:
        raise DataError("the table has one column: dates and at least 2 tickers are needed")
    if looks_like_date(first.iloc[0]):
        return
    if _counts_rows(first):
        raise row_number_error(frame.columns[0])
    if all(looks_like_date(label) for label in others[:5]):
        raise DataError(
            "the panel is transposed, with dates across and tickers down: turn it, with frame.T "
            "in pandas"
        )


def _counts_rows(column: pd.Series) -> bool:
    labels = [str(cell) for cell in column]
    return any(
        labels == [str(number) for number in range(start, start + len(labels))] for start in (0, 1)
    )


# Long tables


class Roles(NamedTuple):
    """Places of a long table's columns."""

    date: int
    asset: int
    value: int
    sector: int | None


def _long_roles(frame: pd.DataFrame) -> Roles | None:
    """Which column of a long table is what; None where the table is wide.

    In a long table dates repeat, and a column of tickers is called so or holds words alone.
    """
    names = [str(label).strip().casefold() for label in frame.columns]
    places = range(len(names))
    date = _first(place for place in places if looks_like_date(frame.iloc[0, place]))
    if date is None or not frame.iloc[:, date].duplicated().any():
        return None
    asset = _first(place for place in places if names[place] in ASSET_NAMES)
    sector = _first(place for place in places if names[place] in SECTOR_NAMES)
    others = [place for place in places if place not in (date, asset, sector)]
    if asset is None:
        asset = _first(place for place in others if _holds_words(frame.iloc[:, place]))
    if asset is None:
        return None
    values = [place for place in others if place != asset]
    _check_one_value(frame.columns[values])
    return Roles(date, asset, values[0], sector)


def _first(places: Iterable[int]) -> int | None:
    return next(iter(places), None)


def _holds_words(column: pd.Series) -> bool:
    present = (cell for cell in column if not is_missing(cell))
    first = next(present, None)
    return first is not None and is_word(first) and all(map(is_word, present))


def _check_one_value(names: pd.Index) -> None:
    if len(names) != 1:
        found = ", ".join(quote(name) for name in names) or "none"
        raise DataError(
            "a long table has columns for date, ticker, one value and perhaps one called sector; "
            f"columns of values here: {found}: keep one"
        )


def _read_long(frame: pd.DataFrame, roles: Roles) -> Table:
    dates = parse_dates(frame.iloc[:, roles.date])
    tickers = clean_tickers(frame.iloc[:, roles.asset])
    numbered = frame.set_axis(range(1, len(frame) + 1), axis=0)
    keys = pd.MultiIndex.from_arrays([dates, tickers])
    _check_pairs_differ(keys)
    assets = list(dict.fromkeys(tickers))
    check_tickers_differ(assets)
    values = pd.Series(to_numbers(numbered.iloc[:, roles.value]), index=keys)
    # No pair comes twice, so there is nothing for pivot_table to aggregate.
    wide = values.unstack()[assets]  # noqa: PD010
    if roles.sector is None:
        return Table(wide)
    return Table(wide, join_labels(zip(tickers, frame.iloc[:, roles.sector], strict=True)))


def _check_pairs_differ(keys: pd.MultiIndex) -> None:
    if keys.has_duplicates:
        row = int(keys.duplicated().argmax())
        date, ticker = keys[row]
        raise DataError(
            f"row {row + 1}: {quote(ticker)} comes more than once on {row_name(date)}: keep one row"
        )


def join_labels(pairs: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Sectors by ticker from pairs that may repeat; raises DataError where two of them differ."""
    labels: dict[str, str] = {}
    for asset, label in pairs:
        ticker, sector = str(asset).strip(), str(label).strip()
        if not is_missing(label) and labels.setdefault(ticker, sector) != sector:
            raise DataError(
                f"{quote(ticker)} has two sectors, {quote(labels[ticker])} and {quote(sector)}: "
                "keep one"
            )
    return labels
