"""The door for panels: a file or a DataFrame in, a checked panel of returns out."""

from pathlib import Path

import numpy as np
import pandas as pd

from jaxvae.data.checks import CELL_CHECKS, FITTING_CHECKS, check_none_missing, check_positive
from jaxvae.data.files import load_table
from jaxvae.data.knowledge import Covariates, Sectors, with_knowledge
from jaxvae.data.layout import read_layout
from jaxvae.data.panel import Panel
from jaxvae.data.returns import MISSING_POLICIES, apply_missing_policy
from jaxvae.data.units import Columns, check_units, outlier_notes, unit_notes
from jaxvae.errors import OptionError, check_option, shown

KINDS = ("returns", "prices")


def as_panel(
    data: Panel | pd.DataFrame | str | Path,
    *,
    for_fitting: bool = False,
    kind: str | None = None,
    missing: str | None = None,
    sectors: Sectors | None = None,
    covariates: Covariates | None = None,
) -> Panel:
    """A panel with what is known of it; a DataFrame or a file as `read_panel` reads it, which all
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
                    " out, or give it to read_panel",
                )
        return with_knowledge(data, sectors=sectors, covariates=covariates)
    return read_panel(
        data,
        kind=kind,
        missing=missing if for_fitting else missing or "keep",
        sectors=sectors,
        covariates=covariates,
        for_fitting=for_fitting,
    )


def read_panel(
    data: object,
    *,
    kind: str | None = None,
    missing: str | None = None,
    sectors: Sectors | None = None,
    covariates: Covariates | None = None,
    name: str | None = None,
    n_factors: int = 1,
    for_fitting: bool = True,
) -> Panel:
    """Check a table, of a file or in memory, and make it a panel.

    A file is CSV, Excel or Parquet. CSV has a header and is separated by commas, semicolons, tabs
    or bars; it may be gzipped, alone in a zip file, or a data file of Kenneth French's library, of
    which the first table is read.

    Returns that look like percent are noted, and warned of (UserWarning).

    Args:
        data: a file's path; a DataFrame, or a table of Polars, Arrow or another library with
            `to_pandas`. Each holds one of
            wide: dates as the index or the first column, then one column a ticker, perhaps under
            its sector as a second level; long: a row a date and ticker, in any order, with columns
            for date, ticker and value, and perhaps a fourth, called sector or industry, or a Series
            by date and ticker; or what `yfinance.download` returns, whose `Adj Close`, or else
            `Close`, is taken as prices.
        kind: "returns" as fractions, the default, or "prices", which become simple returns
            p[t] / p[s] - 1 over each asset's own last price, p[s].
        missing: what becomes of missing cells. "drop-dates" drops every date that has one;
            "drop-assets" drops every asset that has one in the first 70 % of dates (`fit`), then
            the later dates that still have one; "mean" puts the asset's mean return over `fit`;
            "keep" drops the dates without any value, where models are to be fitted, and leaves the
            rest missing (NaN), to be fitted as they are. By default missing cells are an error.
            Dates and assets are dropped before returns are formed.
        sectors: a label for every asset, as a mapping, a Series, or a file of two columns (asset,
            sector); instead of the table's own.
        covariates: finite numbers for every date of the panel, as a wide table or a file of one.
        name: what the report calls the panel; by default a file's name up to its first dot.
        n_factors: how many factors are to be found; the panel must have more assets.
        for_fitting: false for dates that a fitted model is only applied to: any number of them will
            do, and columns may be constant.

    Returns:
        The panel, with a sentence in its notes for every change and doubt.

    Raises:
        DataError: in one line, where the file is missing, unreadable, damaged or no table, or the
            table is at fault: its layout, dates, tickers or cells; values that are no simple
            returns, or not in one unit.
        MissingExtraError: openpyxl, which reads Excel files, is not installed.
        OptionError: kind, missing or n_factors is at fault.
    """
    check_option("kind", kind, str | None, choices=KINDS)
    check_option("missing", missing, str | None, choices=MISSING_POLICIES)
    n_factors = check_option("n_factors", n_factors, least=1)
    raw = load_table(data)
    table = read_layout(raw.frame)
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
        name=raw.name if name is None else name,
        notes=(*raw.notes, *table.notes, *notes, *units, *outliers),
    )
    sectors = table.sectors if sectors is None else sectors
    return with_knowledge(panel, sectors=sectors, covariates=covariates)


panel_from_frame = read_panel
"""The same, of a table in memory."""
