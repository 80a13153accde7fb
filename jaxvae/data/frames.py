"""The door for panels: a file or a DataFrame in, a checked panel of returns out."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from jaxvae.data.cells import quote, row_name
from jaxvae.data.checks import (
    CELL_CHECKS,
    FITTING_CHECKS,
    check_none_missing,
    check_not_prices,
    check_observed,
    check_overflow,
    check_positive,
    check_size,
    count,
    percent_note,
    refuse_cells,
    require_frame,
)
from jaxvae.data.files import read_table
from jaxvae.data.layout import Table, index_to_columns, join_labels, read_layout, read_wide
from jaxvae.data.panel import Panel, split_dates
from jaxvae.errors import DataError, Option, check_choice, check_option

KINDS = ("returns", "prices")


def as_panel(data: Panel | pd.DataFrame, *, for_fitting: bool = False) -> Panel:
    """A panel as it is; a DataFrame of returns as `panel_from_frame` reads it. Missing cells of
    dates that a fitted model is only applied to stay missing."""
    if isinstance(data, Panel):
        return data
    missing = None if for_fitting else "keep"
    return panel_from_frame(data, missing=missing, for_fitting=for_fitting)


def read_panel(
    path: str | Path,
    *,
    kind: str = "returns",
    missing: str | None = None,
    sectors: Mapping | pd.Series | str | Path | None = None,
    covariates: pd.DataFrame | str | Path | None = None,
    name: str | None = None,
    n_factors: int = 1,
    for_fitting: bool = True,
) -> Panel:
    """Read a panel from a file: CSV or Parquet, wide or long.

    CSV is UTF-8 with a header, separated by commas, semicolons, tabs or bars, plain or gzipped.
    The table in it, the other arguments and the errors are those of `panel_from_frame`.

    name: what the report calls the panel; by default the file's name up to its first dot.

    Raises DataError also where the file is missing, unreadable, damaged or not UTF-8.
    """
    return panel_from_frame(
        read_table(path),
        kind=kind,
        missing=missing,
        sectors=sectors,
        covariates=covariates,
        name=name or Path(path).name.split(".")[0],
        n_factors=n_factors,
        for_fitting=for_fitting,
    )


def panel_from_frame(
    frame: object,
    *,
    kind: str = "returns",
    missing: str | None = None,
    sectors: Mapping | pd.Series | str | Path | None = None,
    covariates: pd.DataFrame | str | Path | None = None,
    name: str = "panel",
    n_factors: int = 1,
    for_fitting: bool = True,
) -> Panel:
    """Check a DataFrame and make it a panel.

    frame: one of
        wide: dates as the index or the first column, then one column a ticker;
        long: a row a date and ticker, in any order, with columns for date, ticker and value, and
            perhaps a fourth, called sector or industry;
        what `yfinance.download` returns: its `Adj Close`, or else its `Close`, taken as prices.
    kind: "returns" as fractions, or "prices", which become simple returns p[t] / p[t-1] - 1; no
        gap is filled, so a missing price leaves two returns missing.
    missing: what becomes of missing cells. "drop-dates" drops every date that has one;
        "drop-assets" drops every asset that has one in the first 70 % of dates (`fit`), then the
        later dates that still have one; "mean" puts the asset's mean over `fit`; "keep" drops the
        dates without any value, where models are to be fitted, and leaves the rest missing (NaN),
        to be fitted as they are. By default missing cells are an error.
    sectors: a label for every asset, as a mapping, a Series, or a file of two columns (asset,
        sector); instead of the long table's own.
    covariates: finite numbers for every date of the panel, as a wide table or a file of one.
    name: what the report calls the panel.
    n_factors: how many factors are to be found; the panel must have more assets.
    for_fitting: false for dates that a fitted model is only applied to: any number of them will do,
        and columns may be constant.

    Every change is a sentence in the panel's notes. Returns that look like percent are noted and
    warned of (UserWarning). Raises DataError, in one line, where the table is at fault, and
    OptionError where kind, missing or n_factors is.
    """
    check_choice("kind", kind, KINDS)
    if missing is not None:
        check_choice("missing", missing, MISSING_POLICIES)
    check_option("n_factors", n_factors, least=1)
    table = read_layout(require_frame(frame))
    for check in CELL_CHECKS:
        check(table.values)
    returns, notes = _to_returns(table, kind)
    if for_fitting:
        check_size(returns, n_factors)
    check_not_prices(returns)
    returns, missing_notes = _settle_missing(returns, missing, n_factors if for_fitting else None)
    if missing != "keep":
        check_none_missing(returns, for_fitting)
    for check in FITTING_CHECKS if for_fitting else ():
        check(returns)
    return Panel(
        values=np.array(returns, dtype=float, order="C"),
        dates=pd.DatetimeIndex(returns.index),
        assets=tuple(returns.columns),
        sectors=_sectors_of(returns.columns, table.sectors if sectors is None else sectors),
        covariates=_covariates_of(returns.index, covariates),
        name=name,
        notes=(*notes, *missing_notes, *_suspect_percent(returns)),
    )


def _to_returns(table: Table, kind: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Returns, and the notes on how they came to be."""
    if kind == "returns" and table.field is None:
        return table.values, ()
    check_positive(table.values)
    prices = table.values.to_numpy()
    with np.errstate(over="ignore"):
        values = prices[1:] / prices[:-1] - 1
    returns = pd.DataFrame(values, table.values.index[1:], table.values.columns)
    check_overflow(returns)
    field = f" (yfinance's {table.field})" if table.field else ""
    note = f"Prices{field} were turned into simple returns, so the first date was dropped."
    return returns, (note,)


def _suspect_percent(returns: pd.DataFrame) -> tuple[str, ...]:
    note = percent_note(returns)
    if note is None:
        return ()
    warnings.warn(note, UserWarning, stacklevel=3)
    return (note,)


# Missing cells


def _settle_missing(
    returns: pd.DataFrame, policy: str | None, n_factors: int | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Returns under the policy, and the note on what it did; any size will do without n_factors."""
    if policy not in ("drop-assets", "keep") and n_factors is not None:
        check_observed(returns)
    if policy is None or not returns.isna().any(axis=None):
        return returns, ()
    if policy == "keep" and n_factors is None:
        return returns, ()
    settled, note = MISSING_POLICIES[policy](returns)
    if n_factors is not None:
        check_size(settled, n_factors, " after ", Option("missing", policy))
    if policy == "keep" and len(settled) == len(returns):
        return settled, ()
    return settled, (f"{note} (missing: {policy}).",)


def _drop_dates(returns: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    kept = returns.dropna()
    dropped = len(returns) - len(kept)
    return kept, f"Dropped {dropped:,} of {count(len(returns), 'date')} for a missing cell"


def _drop_assets(returns: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    whole = returns.iloc[split_dates(len(returns)).fit].notna().all()
    kept = returns.loc[:, whole].dropna()
    return kept, (
        f"Dropped {_some(whole.index[~whole])} of {count(len(whole), 'asset')} for a missing cell "
        f"in the first 70 % of dates, then {len(returns) - len(kept):,} of "
        f"{count(len(returns), 'date')}, all later, for one that was left"
    )


def _some(tickers: pd.Index) -> str:
    """How many tickers, and the first of them: 7 (A, B, C, D, E …)."""
    names = ", ".join(tickers[:5]) + (" …" if len(tickers) > 5 else "")
    return f"{len(tickers):,} ({names})" if names else "0"


def _fill_mean(returns: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    means = returns.iloc[split_dates(len(returns)).fit].mean()
    missing = returns.isna()
    return returns.fillna(means), (
        "Put the asset's mean over the first 70 % of dates in "
        f"{count(np.count_nonzero(missing), 'missing cell')} of "
        f"{count(np.count_nonzero(missing.any()), 'asset')}"
    )


def _keep(returns: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    kept = returns.dropna(how="all")
    dropped = len(returns) - len(kept)
    of = f"{dropped:,} of {count(len(returns), 'date')}"
    return kept, f"Dropped {of} without any value; other missing cells stay missing"


MISSING_POLICIES = {
    "drop-dates": _drop_dates,
    "drop-assets": _drop_assets,
    "mean": _fill_mean,
    "keep": _keep,
}


# What comes along


@contextmanager
def _naming(part: str) -> Iterator[None]:
    """Errors inside say which part of the input they are about."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{part}: ", *error.parts) from error


def _sectors_of(
    assets: pd.Index, sectors: Mapping | pd.Series | str | Path | None
) -> tuple[str, ...] | None:
    if sectors is None:
        return None
    with _naming("sectors"):
        pairs = _sector_pairs(sectors) if isinstance(sectors, str | Path) else sectors.items()
        labels = join_labels(pairs)
        unlabelled = [asset for asset in assets if asset not in labels]
        if unlabelled:
            raise DataError(
                f"{count(len(unlabelled), 'asset')} without a label, the first "
                f"{quote(unlabelled[0])}: give every asset one"
            )
    return tuple(labels[asset] for asset in assets)


def _sector_pairs(path: str | Path) -> Iterator[tuple[object, object]]:
    table = index_to_columns(require_frame(read_table(path)))
    if table.shape[1] != 2:
        raise DataError(f"{path} has {table.shape[1]} columns: keep two, asset and sector")
    return zip(table.iloc[:, 0], table.iloc[:, 1], strict=True)


def with_knowledge(
    panel: Panel,
    *,
    sectors: Mapping | pd.Series | str | Path | None = None,
    covariates: pd.DataFrame | str | Path | None = None,
) -> Panel:
    """The panel with sectors or covariates as `panel_from_frame` takes them, instead of its own;
    None leaves its own. Raises DataError where they are at fault."""
    assets, dates = pd.Index(panel.assets), panel.dates
    return replace(
        panel,
        sectors=panel.sectors if sectors is None else _sectors_of(assets, sectors),
        covariates=panel.covariates if covariates is None else _covariates_of(dates, covariates),
    )


def read_covariates(covariates: pd.DataFrame | str | Path) -> pd.DataFrame:
    """A wide table of covariates, dates × covariates, from a DataFrame or a file."""
    frame = read_table(covariates) if isinstance(covariates, str | Path) else covariates
    return read_wide(index_to_columns(require_frame(frame)))


def _covariates_of(
    dates: pd.Index, covariates: pd.DataFrame | str | Path | None
) -> pd.DataFrame | None:
    if covariates is None:
        return None
    with _naming("covariates"):
        table = read_covariates(covariates)
        absent = dates.difference(table.index)
        if len(absent):
            raise DataError(
                f"no row for {count(len(absent), 'date')} of the panel, the first "
                f"{row_name(absent[0])}: add a row for each"
            )
        chosen = table.loc[dates]
        refuse_cells(
            chosen, ~np.isfinite(chosen.to_numpy()), "missing or infinite", "write numbers"
        )
    return chosen
