"""The door for panels: a file or a DataFrame in, a checked panel of returns out."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from jaxvae.data.checks import CELL_CHECKS, FITTING_CHECKS, check_none_missing, check_positive
from jaxvae.data.files import read_table
from jaxvae.data.knowledge import Covariates, Sectors, with_knowledge
from jaxvae.data.layout import read_layout, require_frame
from jaxvae.data.panel import Panel
from jaxvae.data.returns import MISSING_POLICIES, apply_missing_policy
from jaxvae.data.units import Columns, check_units, outlier_notes, unit_notes
from jaxvae.errors import OptionError, check_option, shown

KINDS = ("returns", "prices")


def as_panel(
    data: Panel | pd.DataFrame,
    *,
    for_fitting: bool = False,
    kind: str | None = None,
    missing: str | None = None,
    sectors: Sectors | None = None,
    covariates: Covariates | None = None,
) -> Panel:
    """A panel with what is known of it; a DataFrame as `panel_from_frame` reads it, which all
    arguments are of. Missing cells of dates that a fitted model is only applied to stay missing.

    Raises:
        OptionError: kind or missing is given for a panel, which has been read.
    """
    if isinstance(data, Panel):
        for name, value in (("kind", kind), ("missing", missing)):
            if value is not None:
                raise OptionError(
                    name,
                    f"{shown(value)} says how a table is read, and this is a panel; leave it"
                    " out, or give it to panel_from_frame",
                )
        return with_knowledge(data, sectors=sectors, covariates=covariates)
    return panel_from_frame(
        data,
        kind=kind or KINDS[0],
        missing=missing if for_fitting else missing or "keep",
        sectors=sectors,
        covariates=covariates,
        for_fitting=for_fitting,
    )


def read_panel(
    path: str | Path,
    *,
    kind: str = "returns",
    missing: str | None = None,
    sectors: Sectors | None = None,
    covariates: Covariates | None = None,
    name: str | None = None,
    n_factors: int = 1,
    for_fitting: bool = True,
) -> Panel:
    """Read a panel from a file: CSV, Excel or Parquet, wide or long.

    CSV has a header and is separated by commas, semicolons, tabs or bars; it may be gzipped, alone
    in a zip file, or a data file of Kenneth French's library, of which the first table is read.

    Args:
        path: of the file.
        name: what the report calls the panel; by default the file's name up to its first dot.
        kind, missing, sectors, covariates, n_factors, for_fitting: as in `panel_from_frame`.

    Returns:
        The panel, with a sentence in its notes for every change.

    Raises:
        DataError: the file is missing, unreadable, damaged or no table, or as `panel_from_frame`.
        MissingExtraError: openpyxl, which reads Excel files, is not installed.
        OptionError: as `panel_from_frame`.
    """
    frame, notes = read_table(path)
    panel = panel_from_frame(
        frame,
        kind=kind,
        missing=missing,
        sectors=sectors,
        covariates=covariates,
        name=name or Path(path).name.split(".")[0] or "panel",
        n_factors=n_factors,
        for_fitting=for_fitting,
    )
    return replace(panel, notes=notes + panel.notes)


def panel_from_frame(
    frame: object,
    *,
    kind: str = "returns",
    missing: str | None = None,
    sectors: Sectors | None = None,
    covariates: Covariates | None = None,
    name: str = "panel",
    n_factors: int = 1,
    for_fitting: bool = True,
) -> Panel:
    """Check a table and make it a panel.

    Returns that look like percent are noted, and warned of (UserWarning).

    Args:
        frame: a DataFrame, or a table of Polars, Arrow or another library with `to_pandas`; one of
            wide: dates as the index or the first column, then one column a ticker, perhaps under
            its sector as a second level; long: a row a date and ticker, in any order, with columns
            for date, ticker and value, and perhaps a fourth, called sector or industry, or a Series
            by date and ticker; or what `yfinance.download` returns, whose `Adj Close`, or else
            `Close`, is taken as prices.
        kind: "returns" as fractions, or "prices", which become simple returns p[t] / p[s] - 1 over
            each asset's own last price, p[s].
        missing: what becomes of missing cells. "drop-dates" drops every date that has one;
            "drop-assets" drops every asset that has one in the first 70 % of dates (`fit`), then
            the later dates that still have one; "mean" puts the asset's mean return over `fit`;
            "keep" drops the dates without any value, where models are to be fitted, and leaves the
            rest missing (NaN), to be fitted as they are. By default missing cells are an error.
            Dates and assets are dropped before returns are formed.
        sectors: a label for every asset, as a mapping, a Series, or a file of two columns (asset,
            sector); instead of the table's own.
        covariates: finite numbers for every date of the panel, as a wide table or a file of one.
        name: what the report calls the panel.
        n_factors: how many factors are to be found; the panel must have more assets.
        for_fitting: false for dates that a fitted model is only applied to: any number of them will
            do, and columns may be constant.

    Returns:
        The panel, with a sentence in its notes for every change and doubt.

    Raises:
        DataError: in one line, where the table is at fault: its layout, dates, tickers or cells;
            values that are no simple returns, or not in one unit.
        OptionError: kind, missing or n_factors is at fault.
    """
    check_option("kind", kind, str, choices=KINDS)
    check_option("missing", missing, str | None, choices=MISSING_POLICIES)
    n_factors = check_option("n_factors", n_factors, least=1)
    table = read_layout(require_frame(frame))
    prices = kind == "prices" or table.prices
    for check in CELL_CHECKS:
        check(table.values)
    if prices:
        check_positive(table.values)
    else:
        check_units(columns := Columns(table.values))
    returns, notes = apply_missing_policy(
        table.values, prices, missing, n_factors if for_fitting else None
    )
    if missing != "keep":
        policies = MISSING_POLICIES if for_fitting else ("drop-dates", "keep")
        check_none_missing(returns, policies)
    for check in FITTING_CHECKS if for_fitting else ():
        check(returns)
    units = () if prices else unit_notes(columns)
    outliers = outlier_notes(Columns(returns) if prices else columns)
    panel = Panel(
        values=np.array(returns, dtype=float, order="C"),
        dates=pd.DatetimeIndex(returns.index),
        assets=tuple(returns.columns),
        name=name,
        notes=(*table.notes, *notes, *units, *outliers),
    )
    sectors = table.sectors if sectors is None else sectors
    return with_knowledge(panel, sectors=sectors, covariates=covariates)
