"""What a table must be to become a panel: each check raises one line with the fault and its remedy.

A check is a function of a frame, dates × tickers, that returns nothing.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxvae.data.cells import quote, row_name, row_number_error
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.errors import DataError, Option, OptionError

MINIMUM_CELLS = 30
"""The fewest observed cells of an asset among the training dates; half of these where they are
fewer than 60."""

MINIMUM_DATES = 50
"""The smallest panel: its parts (28, 7 and 15 dates) still give each a mean, a spread, a score."""

PRICE_LIKE = 0.5
"""Values that are never negative and have a median above this are prices or gross returns."""

PERCENT_LIKE = 0.2
"""A median size above this suggests percent: a typical day is 0.01, a typical year 0.15."""

ROUNDING = 1e-9
"""Constant: a range below this share of the largest value, as steadily growing prices have."""

SMALLEST_SCALE, LARGEST_SCALE = 1e-30, 1e30
LARGEST_VALUE = float(np.finfo(np.float32).max)
# The loss squares standardised values in float32.
LARGEST_STANDARDISED = LARGEST_VALUE**0.5


def count(number: int | np.integer, noun: str) -> str:
    """A number with its noun: 1 date, 1,000 dates."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def require_frame(frame: object) -> pd.DataFrame:
    """The argument itself, a DataFrame with rows and columns; raises DataError otherwise."""
    if not isinstance(frame, pd.DataFrame):
        shape = f"{frame.ndim}-dimensional " if hasattr(frame, "ndim") else ""
        raise DataError(
            f"a {shape}{type(frame).__name__} is not a panel: make a pandas DataFrame with dates "
            "as its index and one column a ticker"
        )
    if frame.empty:
        raise DataError("the table is empty: a row a date and a column a ticker are needed")
    return frame


def refuse_cells(
    frame: pd.DataFrame, mask: Bool[np.ndarray, "date asset"], fault: str, *remedy: str | Option
) -> None:
    """Raise if any cell of the mask holds: how many, the column with most, its first row."""
    if not mask.any():
        return
    asset = int(mask.sum(axis=0).argmax())
    rows = np.flatnonzero(mask[:, asset])
    raise DataError(
        f"{count(np.count_nonzero(mask), 'cell')} {fault}, most in column "
        f"{quote(frame.columns[asset])} ({len(rows):,}, the first in row "
        f"{row_name(frame.index[rows[0]])}): ",
        *remedy,
    )


def check_infinite(frame: pd.DataFrame) -> None:
    """Raise where a cell is infinite; a policy for missing cells does not cover these."""
    remedy = "correct them, or empty them to have them taken as missing"
    refuse_cells(frame, np.isinf(frame.to_numpy()), "infinite", remedy)


def check_overflow(frame: pd.DataFrame) -> None:
    """Raise where a cell is too large for float32."""
    large = np.abs(frame.to_numpy()) > LARGEST_VALUE
    refuse_cells(frame, large, "too large for float32", "correct the units or the cells")


def check_no_row_numbers(frame: pd.DataFrame) -> None:
    """Raise where a column only counts the rows: an index that was written along."""
    values = frame.to_numpy()
    counting = (np.diff(values, axis=0) == 1).all(axis=0) & np.isin(values[0], (0, 1))
    if counting.any() and len(frame) > 1:
        raise row_number_error(frame.columns[int(counting.argmax())])


def check_positive(prices: pd.DataFrame) -> None:
    """Raise where a price is zero or negative."""
    remedy = "correct or empty these prices; if they are returns, pass ", Option("kind", "returns")
    refuse_cells(prices, prices.to_numpy() <= 0, "at or below zero", *remedy)


def check_not_prices(returns: pd.DataFrame) -> None:
    """Raise where returns are never negative and typically large: prices, or gross returns."""
    values = returns.to_numpy()
    median = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
    if median > PRICE_LIKE and np.nanmin(values) >= 0:
        raise DataError(
            f"no return is negative and their median is {median:.4g}: for prices pass ",
            Option("kind", "prices"),
            ", from gross returns subtract 1",
        )


def percent_note(returns: pd.DataFrame) -> str | None:
    """A sentence that suspects percent where the typical return is large, else None."""
    size = float(np.nanmedian(np.abs(returns.to_numpy())))
    if size <= PERCENT_LIKE:
        return None
    return (
        f"The typical return is {size:.2g} in size, where 0.01 is one percent: if the panel is in "
        "percent, divide it by 100."
    )


def check_size(returns: pd.DataFrame, n_factors: int, *cause: str | Option) -> None:
    """Raise where there are fewer than MINIMUM_DATES dates, 2 assets, or n_factors + 1 assets.

    With as many factors as assets, factor analysis and PCA leave no noise to estimate; that is an
    OptionError, the rest are DataErrors.
    """
    n_dates, n_assets = returns.shape
    if n_dates < MINIMUM_DATES:
        raise DataError(
            f"the panel has {count(n_dates, 'date')}",
            *cause,
            f": at least {MINIMUM_DATES} are needed",
        )
    if n_assets < 2:
        size = f"the panel has {count(n_assets, 'asset')}"
        raise DataError(size, *cause, ": at least 2 are needed")
    if n_assets <= n_factors:
        raise OptionError(
            "n_factors",
            f"{n_factors} is too large for a panel of {count(n_assets, 'asset')}",
            *cause,
            f"; at most {n_assets - 1}",
        )


def check_observed(returns: pd.DataFrame) -> None:
    """Raise where an asset has no value among the training dates."""
    train = returns.iloc[split_dates(len(returns)).train]
    empty = train.isna().all()
    if empty.any():
        raise DataError(
            f"column {quote(empty.idxmax())} has no value in the first 56 % of dates, the "
            "training part: delete it, or pass ",
            Option("missing", "drop-assets"),
        )


def check_enough(returns: pd.DataFrame) -> None:
    """Raise where an asset has too few values among the training dates to be fitted."""
    train = returns.iloc[split_dates(len(returns)).train]
    least, found = min(MINIMUM_CELLS, len(train) // 2), train.notna().sum()
    if (found < least).any():
        fewest = int(found.to_numpy().argmin())
        raise DataError(
            f"column {quote(found.index[fewest])} has {count(found.iloc[fewest], 'value')} in the "
            f"first 56 % of dates, the training part, to {row_name(train.index[-1])}: at least "
            f"{least} are needed; delete it, or start the panel later"
        )


def check_none_missing(returns: pd.DataFrame, for_fitting: bool = True) -> None:
    """Raise where a cell is missing."""
    others = ("drop-assets", "mean") if for_fitting else ()
    remedy = "fill them, or pass ", Option("missing", "drop-dates", *others, "keep")
    refuse_cells(returns, returns.isna().to_numpy(), "missing", *remedy)


def check_varies(returns: pd.DataFrame) -> None:
    """Raise where an asset is constant, up to rounding, over the training dates."""
    train = returns.iloc[split_dates(len(returns)).train]
    constant = train.max() - train.min() <= ROUNDING * train.abs().max()
    if constant.any():
        ticker = constant.idxmax()
        raise DataError(
            f"column {quote(ticker)} is constant ({train[ticker].iloc[0]:.4g}) in the first 56 % "
            "of dates, the training part: delete it"
        )


def check_scale(returns: pd.DataFrame) -> None:
    """Raise where standardised values, or their squares, do not fit float32.

    Judged with the scalers of both `train` and `fit`, since training may use either.
    """
    split = split_dates(len(returns))
    for part in (split.train, split.fit):
        scaler = fit_scaler(returns.iloc[part].to_numpy())
        _check_spread(returns, scaler.scale)
        large = np.abs(scaler.standardise(returns.to_numpy())) > LARGEST_STANDARDISED
        refuse_cells(returns, large, "too large for float32 once standardised", "correct them")


def _check_spread(returns: pd.DataFrame, scale: Float[np.ndarray, " asset"]) -> None:
    unfit = (scale < SMALLEST_SCALE) | (scale > LARGEST_SCALE)
    if unfit.any():
        asset = int(unfit.argmax())
        raise DataError(
            f"column {quote(returns.columns[asset])} has a standard deviation of "
            f"{scale[asset]:.3g}, beyond what float32 can hold: correct its units"
        )


Check = Callable[[pd.DataFrame], None]

CELL_CHECKS: tuple[Check, ...] = (check_infinite, check_overflow, check_no_row_numbers)
"""On every table as it was read, prices or returns."""

FITTING_CHECKS: tuple[Check, ...] = (check_enough, check_varies, check_scale)
"""On returns that models are to be fitted on."""


def check_panel(returns: pd.DataFrame, n_factors: int) -> None:
    """Raise unless models can be fitted on the returns: size, cells enough, columns that vary."""
    check_size(returns, n_factors)
    for check in (check_infinite, *FITTING_CHECKS):
        check(returns)
