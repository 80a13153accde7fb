"""Numbers that cannot be simple returns: prices and levels, mixed units, codes for missing.

Judged by column on the table as it was read. A column's size is the median of |x| over its cells
that are not zero.
"""

import warnings

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxvae.data.cells import quote
from jaxvae.data.checks import refuse_cells
from jaxvae.data.dates import row_name
from jaxvae.data.panel import CONSTANT_RANGE, Scaler
from jaxvae.errors import DataError, Option, counted

_ENOUGH, _FEW = 30, 5
"""Cells, not zero, by which a column is judged; the fewer do where all are above PRICE_LIKE."""

SELDOM = 0.02
"""The share of negative cells that returns exceed; a single one is as good as none."""

_LEVEL = 2.0
"""Times the size of the others, above which a column that is seldom negative holds levels. (A
riskless rate is smaller than what is risky.)"""

PRICE_LIKE = 0.5
"""Of a panel that is never negative: the median above which it holds prices or gross returns."""

PERCENT_LIKE, FALLING = 0.2, 0.1
"""A typical size above the first suggests percent: a typical day is 0.01, a typical year 0.15.
Above the second it does where some are below -1, which no fraction is."""

WILD, BALANCE = 2.0, 0.25
"""With returns above the first, large ones are fractions nevertheless, of crypto assets, say, where
those below -1 are not as many as this share of those above 1."""

MIXED = 20.0
"""Times by which sizes differ where units do."""

CODES = (-66.0, -77.0, -88.0, -99.0, -99.9, -99.99, -999.0, -999.99, -9999.0)
"""Usual codes for missing."""

OUTLYING, REPEATING, REPEATS = 50.0, 8.0, 3
"""Robust standard deviations that deserve a note; that do where a value repeats so often, and is
half of those so far out."""

ROBUST = 1.4826  # standard deviations of a Gaussian in its median size


class Columns:
    """A table of returns, dates × assets, and what its columns are like; codes for missing count
    for nothing in that.

    Args:
        frame: the table, its tickers text.

    frame, values: the table and its returns, NaN where missing.
    coded: whether a cell is a usual code for missing.
    low, high: the extremes.
    size: median of |x| over cells that are not zero or a code.
    enough: whether they are enough to judge by, and vary.
    signed: whether negative cells are as frequent as in returns.
    typical: the median size of signed columns, of all where none is.
    percent: whether the returns are likely in percent.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        values: Float[np.ndarray, "date asset"] = frame.to_numpy()
        low: Float[np.ndarray, " asset"] = np.fmin.reduce(values, axis=0)
        high: Float[np.ndarray, " asset"] = np.fmax.reduce(values, axis=0)
        coded: Bool[np.ndarray, "date asset"] = np.zeros_like(values, bool)
        if low.min() <= max(CODES):
            coded = np.isin(values, CODES)
        moved = np.where((values == 0) | coded, np.nan, np.abs(values))
        n_moved, n_cells = (np.count_nonzero(~np.isnan(x), axis=0) for x in (moved, values))
        enough = (n_moved >= _ENOUGH) | ((n_moved >= _FEW) & (low > PRICE_LIKE))
        n_negative = np.count_nonzero(values < 0, axis=0)
        self.frame, self.values, self.coded = frame, values, coded
        self.low, self.high = low, high
        self.size: Float[np.ndarray, " asset"] = _column_medians(moved)
        self.enough: Bool[np.ndarray, " asset"] = enough & (high > low)
        self.signed: Bool[np.ndarray, " asset"] = n_negative > np.maximum(1, SELDOM * n_cells)
        self.typical = _median(self.size[self.signed] if self.signed.any() else self.size)
        n_falls, n_rises = np.count_nonzero((values < -1) & ~coded), np.count_nonzero(values > 1)
        wild = bool(high.max() > WILD) and n_falls < BALANCE * n_rises
        self.percent = not wild and self.typical > (FALLING if n_falls else PERCENT_LIKE)


def check_units(columns: Columns) -> None:
    """Raise where values are no simple returns, or in different units by column.

    Raises:
        DataError: the panel or a column holds prices or levels; columns are in different units; a
            cell is below -1, or in percent below -100 or a usual code for missing.
    """
    _check_not_prices(columns)
    _check_no_levels(columns)
    _check_same_units(columns)
    _check_falls(columns)


def check_like_fit(returns: pd.DataFrame, scaler: Scaler) -> None:
    """Raise where new returns are in other units than those that a model was fitted on, and warn
    of cells far out.

    A column's size is the median of |x| over its cells that are not zero, in standard deviations of
    the dates fitted on; `_FEW` cells are enough to judge by.

    Args:
        returns: of new dates.
        scaler: of the dates fitted on, in the order of the columns.

    Raises:
        DataError: a column is more than MIXED times as large, or the typical one as much smaller.

    Cells more than OUTLYING standard deviations out are warned of (UserWarning).
    """
    values = returns.to_numpy()
    moved = np.where(values == 0, np.nan, np.abs(values)) / scaler.scale
    enough = np.count_nonzero(~np.isnan(moved), axis=0) >= _FEW
    sizes = np.where(enough, _column_medians(moved), np.nan)
    remedy = "write them as in the panel that the study was fitted on"
    if (large := sizes > MIXED).any():
        raise DataError(
            f"{_these(returns.columns[large])} in other units than the study's: "
            f"{np.nanmax(sizes):.3g} of its standard deviations in size: {remedy}"
        )
    if enough.any() and _median(sizes) < 1 / MIXED:
        raise DataError(
            f"the returns are in other units than the study's: {_median(sizes):.2g} of its "
            f"standard deviations in size: {remedy}"
        )
    warn_of_far(returns, scaler, "return")


def warn_of_far(table: pd.DataFrame, scaler: Scaler, what: str) -> None:
    """Warn (UserWarning) of cells more than OUTLYING standard deviations of the dates fitted on
    from their mean.

    Args:
        table: of new dates.
        scaler: of the dates fitted on, in the order of the columns.
        what: a cell is.
    """
    out = np.abs(scaler.standardise(table.to_numpy(np.float64)))
    if far := _farthest(table, out, "standard deviations of the study's", what):
        warnings.warn(f"{far}, and in the study's units?", UserWarning, stacklevel=2)


def unit_notes(columns: Columns) -> tuple[str, ...]:
    """Sentences of doubt about the units of returns that pass.

    Args:
        columns: of the table as it was read.

    Returns:
        One on columns that are never negative and small, one that suspects percent where the
        typical return is large, which is warned of too (UserWarning), or neither.
    """
    notes = []
    levels = columns.enough & ~columns.signed
    if levels.any():
        subject = _these(columns.frame.columns[levels])
        notes.append(
            f"{subject[0].upper()}{subject[1:]} never or hardly ever negative, "
            f"{columns.size[levels].max():.4g} in the median: prices, rates and volatilities are "
            "no returns; turn them into returns, or delete them."
        )
    if columns.percent:
        notes.append(
            f"The typical return is {columns.typical:.2g} in size, where 0.01 is one percent: if "
            "the panel is in percent, divide it by 100."
        )
        warnings.warn(notes[-1], UserWarning, stacklevel=3)
    return tuple(notes)


def outlier_notes(columns: Columns) -> tuple[str, ...]:
    """Sentences on cells far out, and on values far out that repeat."""
    unit = np.where(columns.enough, ROBUST * columns.size, np.inf)
    suspects = np.flatnonzero(np.maximum(-columns.low, columns.high) / unit > REPEATING)
    frame, values = columns.frame.iloc[:, suspects], columns.values[:, suspects]
    out = np.abs(values - _column_medians(values)) / unit[suspects]
    far = _farthest(frame, out, "robust standard deviations")
    notes, repeats = [f"{far}?"] if far else [], []
    for place in np.flatnonzero((out > REPEATING).sum(axis=0) >= REPEATS).tolist():
        found, times = np.unique(values[out[:, place] > REPEATING, place], return_counts=True)
        if times.max() >= max(REPEATS, times.sum() / 2):
            repeats.append((int(times.max()), float(found[times.argmax()]), frame.columns[place]))
    if repeats:
        n_times, value, name = max(repeats)
        notes.append(
            f"The value {value:.4g} of {name}, far out, comes {n_times:,} times "
            f"({counted(len(repeats), 'asset')} like this): is it a code or a limit?"
        )
    return tuple(notes)


def _farthest(
    returns: pd.DataFrame, out: Float[np.ndarray, "date asset"], unit: str, what: str = "return"
) -> str:
    """How many cells are more than OUTLYING units out, and which is farthest; nothing if none."""
    n_far = np.count_nonzero(out > OUTLYING)
    if not n_far:
        return ""
    row, place = divmod(int(np.nanargmax(out)), out.shape[1])
    return (
        f"{counted(n_far, what)} more than {OUTLYING:.0f} {unit} out, the farthest "
        f"{returns.iloc[row, place]:.4g} of {returns.columns[place]} on "
        f"{row_name(returns.index[row])}: is the data right there"
    )


def _column_medians(values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " asset"]:
    """Of the cells observed, NaN without any; quicker than `np.nanmedian`."""
    n_cells = np.count_nonzero(~np.isnan(values), axis=0)
    places = np.maximum([(n_cells - 1) // 2, n_cells // 2], 0)
    ordered = np.partition(values.T, np.unique(places), axis=1)  # NaN come last
    middle = np.take_along_axis(ordered, places.T, axis=1).mean(axis=1)
    return np.where(n_cells > 0, middle, np.nan)


def _median(values: Float[np.ndarray, " value"]) -> float:
    """The median of the values observed; 0 without any."""
    observed = values[~np.isnan(values)]
    return float(np.median(observed)) if len(observed) else 0.0


def _check_not_prices(columns: Columns) -> None:
    never = not (columns.values < 0).any() and _median(columns.values.ravel()) > PRICE_LIKE
    if never or (columns.enough.any() and not columns.signed.any()):
        raise DataError(
            "no return is negative, or hardly one, and their median is "
            f"{_median(columns.values.ravel()):.4g}: for prices pass ",
            Option("kind", "prices"),
            ", from gross returns subtract 1",
        )


def _check_no_levels(columns: Columns) -> None:
    levels = columns.enough & ~columns.signed & (columns.size > _LEVEL * columns.typical)
    if levels.any():
        raise DataError(
            f"{_these(columns.frame.columns[levels])} never or hardly ever negative, "
            f"{columns.size[levels].max():.4g} in the median where returns are "
            f"{columns.typical:.2g} in size: prices, levels, years and volumes are no returns; "
            "turn them into returns, or delete them"
        )


def _check_same_units(columns: Columns) -> None:
    judged = columns.enough & columns.signed
    size, typical = columns.size, _median(columns.size[judged])
    wild = (columns.high > WILD) & (columns.low >= -1)
    large = judged & (size > MIXED * typical) & (size > PERCENT_LIKE) & ~wild
    small = judged & (MIXED * size < typical) & (typical > PERCENT_LIKE)
    if (large | small).any():
        raise DataError(
            f"{_these(columns.frame.columns[large | small])} in other units than the rest: "
            f"{size[large | small].max():.2g} in size where the typical column has {typical:.2g}: "
            "write all as fractions (0.01 is one percent)"
        )


def _check_falls(columns: Columns) -> None:
    lowest = -100 if columns.percent else -1
    low = columns.values < lowest * (1 + CONSTANT_RANGE)
    if not (columns.percent or low.any()):
        return
    remedy = "empty codes for missing such as -99"
    if not columns.coded[low].all():
        remedy += ", divide percents by 100, turn log returns and price differences into returns"
    what = f"below {lowest}{', or a code for missing' if columns.percent else ''}"
    unfit = low | (columns.coded & columns.percent)
    refuse_cells(columns.frame, unfit, f"{what}: no simple return is", remedy)


def _these(names: pd.Index) -> str:
    """Some columns, by their names, as the subject of a sentence, with its verb."""
    first = quote(names[0])
    if len(names) == 1:
        return f"column {first} is"
    return f"{len(names):,} columns, {first} the first, are"
