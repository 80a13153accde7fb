"""What a table must be to become a panel: each check raises one line with the fault and its remedy.

A check is a function of a frame, dates × tickers, that returns nothing.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxvae.data.cells import quote, row_number_error
from jaxvae.data.dates import row_name
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.errors import DataError, Option, OptionError, counted

MINIMUM_CELLS = 30
"""The fewest observed cells of an asset among the training dates; half of these where they are
fewer than 60."""

MINIMUM_DATES = 50
"""The smallest panel: its parts (28, 7 and 15 dates) still give each a mean, a spread, a score."""

SMALLEST_SCALE, LARGEST_SCALE = 1e-30, 1e30
LARGEST_VALUE = float(np.finfo(np.float32).max)
# The loss squares standardised values in float32.
LARGEST_STANDARDISED = LARGEST_VALUE**0.5


def refuse_cells(
    frame: pd.DataFrame, mask: Bool[np.ndarray, "date asset"], fault: str, *remedy: str | Option
) -> None:
    """Raise if any cell of the mask holds: how many, the column with most, its first row."""
    if not mask.any():
        return
    asset = int(mask.sum(axis=0).argmax())
    rows = np.flatnonzero(mask[:, asset])
    value = frame.iloc[rows[0], asset]
    raise DataError(
        f"{counted(np.count_nonzero(mask), 'cell')} {fault}, most in column "
        f"{quote(frame.columns[asset])} ({len(rows):,}, the first in row "
        f"{row_name(frame.index[rows[0]])}{f', {value:.6g}' if np.isfinite(value) else ''}): ",
        *remedy,
    )


def check_finite(frame: pd.DataFrame) -> None:
    """Raise where a cell is infinite, or too large for float32."""
    values = frame.to_numpy()
    if (_largest(values) <= LARGEST_VALUE).all():
        return
    # A policy for missing cells does not cover infinite ones.
    remedy = "correct them, or empty them to have them taken as missing"
    refuse_cells(frame, np.isinf(values), "infinite", remedy)
    large = np.abs(values) > LARGEST_VALUE
    refuse_cells(frame, large, "too large for float32", "correct the units or the cells")


def check_no_row_numbers(frame: pd.DataFrame) -> None:
    """Raise where a column only counts the rows: an index that was written along."""
    values = frame.to_numpy()
    for column in np.flatnonzero(np.isin(values[0], (0, 1))):
        if len(frame) > 1 and (np.diff(values[:, column]) == 1).all():
            raise row_number_error(frame.columns[int(column)])


def check_positive(prices: pd.DataFrame) -> None:
    """Raise where a price is zero or negative."""
    remedy = (
        "correct or empty these prices; if they are returns, pass ",
        Option("kind", "returns"),
    )
    refuse_cells(prices, prices.to_numpy() <= 0, "at or below zero", *remedy)


def check_size(returns: pd.DataFrame, n_factors: int, *cause: str | Option) -> None:
    """Raise where there are fewer than MINIMUM_DATES dates, 2 assets, or n_factors + 1 assets.

    With as many factors as assets, factor analysis and PCA leave no noise to estimate; that is an
    OptionError, the rest are DataErrors.
    """
    n_dates, n_assets = returns.shape
    for number, least, noun in ((n_dates, MINIMUM_DATES, "date"), (n_assets, 2, "asset")):
        if number < least:
            what = f"the panel has {counted(number, noun)}"
            raise DataError(what, *cause, f": at least {least} are needed")
    if n_assets <= n_factors:
        raise OptionError(
            "n_factors",
            f"{n_factors:,} is too large for {counted(n_assets, 'asset')}",
            *cause,
            f": pass {n_assets - 1:,} or less, or add assets",
        )


def check_observed(returns: pd.DataFrame) -> None:
    """Raise where an asset has no value among the training dates."""
    train = returns.iloc[split_dates(len(returns)).train]
    empty = train.isna().all()
    if empty.any():
        raise DataError(
            f"column {quote(empty.idxmax())} has no value in the first 56 % of dates, the "
            "training part: delete it, or read the panel with ",
            Option("missing", "drop-assets"),
        )


def check_enough(returns: pd.DataFrame) -> None:
    """Raise where an asset has too few values among the training dates to be fitted."""
    train = returns.iloc[split_dates(len(returns)).train]
    least, found = min(MINIMUM_CELLS, len(train) // 2), train.notna().sum()
    if (found < least).any():
        fewest = int(found.to_numpy().argmin())
        raise DataError(
            f"column {quote(found.index[fewest])} has {counted(found.iloc[fewest], 'value')} in "
            f"the first 56 % of dates, the training part, to {row_name(train.index[-1])}: at "
            f"least {least} are needed; delete it, or start the panel later"
        )


def check_none_missing(returns: pd.DataFrame, policies: Sequence[str]) -> None:
    """Raise where a cell is missing. policies: what else could be done about it."""
    remedy = ("fill them, or read the panel with ", Option("missing", *policies))
    refuse_cells(returns, returns.isna().to_numpy(), "missing", *remedy)


def check_spread(returns: pd.DataFrame) -> None:
    """Raise where an asset is constant, or standardised values or their squares do not fit float32.

    Judged with the scalers of both `train` and `fit`, since training may use either.
    """
    split, values = split_dates(len(returns)), returns.to_numpy()
    largest = _largest(values)
    parts = {"56 % of dates, the training part": split.train, "70 % of dates": split.fit}
    for name, part in parts.items():
        mean, scale = fit_scaler(values[part])
        if (constant := scale == 0).any():
            asset = int(constant.argmax())
            raise DataError(
                f"column {quote(returns.columns[asset])} is constant ({mean[asset]:.4g}) in the "
                f"first {name}: delete it"
            )
        if (unfit := (scale < SMALLEST_SCALE) | (scale > LARGEST_SCALE)).any():
            asset = int(unfit.argmax())
            raise DataError(
                f"column {quote(returns.columns[asset])} has a standard deviation of "
                f"{scale[asset]:.3g}, beyond what float32 can hold: correct its units"
            )
        if (largest > LARGEST_STANDARDISED * scale / 2).any():
            large = np.abs(values - mean) > LARGEST_STANDARDISED * scale
            refuse_cells(returns, large, "too large for float32 once standardised", "correct them")


def _largest(values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " asset"]:
    """The largest size in each column, 0 where nothing is observed."""
    low, high = (f.reduce(values, axis=0, initial=0.0) for f in (np.fmin, np.fmax))
    return np.maximum(-low, high)


Check = Callable[[pd.DataFrame], None]

CELL_CHECKS: tuple[Check, ...] = (check_finite, check_no_row_numbers)
"""On every table as it was read, prices or returns."""

FITTING_CHECKS: tuple[Check, ...] = (check_enough, check_spread)
"""On returns that models are to be fitted on."""


def check_panel(returns: pd.DataFrame, n_factors: int) -> None:
    """Raise unless models can be fitted on the returns: size, cells enough, columns that vary."""
    check_size(returns, n_factors)
    for check in (check_finite, *FITTING_CHECKS):
        check(returns)
