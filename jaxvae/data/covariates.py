"""Covariates that a panel brings along: its calendar, and how volatile it has just been.

Each is known before the date's returns are.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from jaxvae.data.panel import Panel, fit_scaler, split_dates
from jaxvae.errors import DataError, check_option

MONTHS = ("February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December")  # fmt: skip
WEEKDAYS = ("Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
VOLATILITY = "log volatility"
VOLATILITY_DECAY = 0.94  # of RiskMetrics (J. P. Morgan 1996)
DAILY = 4  # days between dates, at most, for weekdays to mean something
BUILT_IN = ("calendar", "volatility")


def calendar(dates: pd.DatetimeIndex) -> pd.DataFrame:
    """1 in the column of each date's month, and of its weekday, else 0.

    January and Monday have no column: the others are measured against them.

    Args:
        dates: of a panel.

    Returns:
        Dates × months and weekdays.
    """
    months = {name: dates.month == number for number, name in enumerate(MONTHS, 2)}
    days = {name: dates.day_of_week == number for number, name in enumerate(WEEKDAYS, 1)}
    return pd.DataFrame({**months, **days}, index=dates).astype(float)


def exclusive_with(name: str) -> tuple[str, ...]:
    """The other months of a month, the other weekdays of a weekday, nothing else."""
    kind = next((kind for kind in (MONTHS, WEEKDAYS) if name in kind), ())
    return tuple(other for other in kind if other != name)


def trailing_volatility(panel: Panel) -> pd.DataFrame:
    """Log of the panel's recent volatility as it was known before each date.

        v_t = .94 v_{t-1} + .06 m_{t-1},   m the mean over assets of squared returns

    and the column holds ½ ln v_t. v_0, of which nothing is known, is the mean of m over the first
    70 % of dates: a constant that is gone after some 50 dates. Missing cells count in no mean, and
    a date without any leaves v as it is.

    Args:
        panel: of returns.

    Returns:
        Dates × the one column.

    Raises:
        DataError: the first 70 % of dates have no return but 0.
    """
    observed = panel.to_frame() ** 2
    squares = observed.mean(axis=1)
    start = squares.iloc[: max(1, split_dates(panel.n_dates).fit.stop)].mean()
    known = pd.concat([pd.Series([start]), squares.iloc[:-1]])
    level = known.ewm(alpha=1.0 - VOLATILITY_DECAY, adjust=False, ignore_na=True).mean()
    if not (level > 0).all():
        raise DataError("no volatility can be told: the first dates have no return but 0")
    return pd.DataFrame({VOLATILITY: 0.5 * np.log(level.to_numpy())}, index=panel.dates)


def with_covariates(panel: Panel, named: Sequence[str], *, for_fitting: bool = True) -> Panel:
    """The panel with built-in covariates, `calendar` or `volatility`, beside those it has.

    Args:
        panel: of returns.
        named: which ones.
        for_fitting: leave out columns that do not vary in the first 56 % of dates, and weekdays of
            panels that are not daily; else all come along, for a fitted model to pick from.

    Returns:
        A panel with the further columns after its own.

    Raises:
        OptionError: another name.
        DataError: a name is there already.
    """
    tables = [] if panel.covariates is None else [panel.covariates]
    for name in named:
        check_option("covariates", name, str, choices=BUILT_IN)
        table = calendar(panel.dates) if name == "calendar" else trailing_volatility(panel)
        tables.append(_varying(table, panel) if for_fitting else table)
    joined = pd.concat(tables, axis=1) if tables else None
    if joined is not None and joined.columns.has_duplicates:
        twice = joined.columns[joined.columns.duplicated()][0]
        raise DataError(f"covariates: {twice!r} is there twice; rename or leave out one")
    return replace(panel, covariates=joined)


def _varying(table: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    train = table.iloc[: max(1, split_dates(panel.n_dates).train.stop)]
    kept = table.loc[:, fit_scaler(train.to_numpy()).scale > 0]
    gaps = np.diff(panel.dates.values) / np.timedelta64(1, "D")
    if len(gaps) and np.median(gaps) > DAILY:
        kept = kept.drop(columns=[name for name in WEEKDAYS if name in kept])
    return kept
