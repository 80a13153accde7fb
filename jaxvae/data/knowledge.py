"""What is known beside the returns: sectors of the assets, covariates of the dates."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from jaxvae.data.cells import quote
from jaxvae.data.checks import refuse_cells
from jaxvae.data.dates import row_name
from jaxvae.data.files import load_table, read_table
from jaxvae.data.layout import WideTable, index_to_columns, join_labels, read_wide, require_frame
from jaxvae.data.panel import Panel
from jaxvae.errors import DataError, OptionError, counted, shown

Sectors = Mapping | pd.Series | str | Path
Covariates = pd.DataFrame | str | Path


def with_knowledge(
    panel: Panel, *, sectors: Sectors | None = None, covariates: Covariates | None = None
) -> Panel:
    """The panel with sectors or covariates as `panel_from_frame` takes them, instead of its own.

    Args:
        panel: any.
        sectors: None leaves the panel's own.
        covariates: None leaves the panel's own.

    Raises:
        DataError: an asset has no sector or two, a date no covariates, or their table is at fault.
    """
    if sectors is not None:
        panel = replace(panel, sectors=_sectors_of(panel.assets, sectors))
    if covariates is None:
        return panel
    table = read_covariates(covariates)
    with _naming("covariates"):
        chosen = _at_dates(table.values, panel.dates)
    return replace(panel, covariates=chosen).with_notes(*(f"Covariates: {x}" for x in table.notes))


def read_covariates(covariates: Covariates) -> WideTable:
    """A wide table of covariates, dates × covariates, from a DataFrame or a file."""
    with _naming("covariates"):
        raw = load_table(covariates)
        table = read_wide(index_to_columns(raw.frame), "covariate")
        return table._replace(notes=raw.notes + table.notes)


def _at_dates(table: pd.DataFrame, dates: pd.DatetimeIndex) -> pd.DataFrame:
    absent = dates[~dates.isin(table.index)]
    if len(absent):
        raise DataError(
            f"no row for {counted(len(absent), 'date')} of the panel, the first "
            f"{row_name(absent[0])}: add a row for each"
        )
    chosen = table.loc[dates]
    refuse_cells(chosen, ~np.isfinite(chosen.to_numpy()), "missing or infinite", "write numbers")
    return chosen


def _sectors_of(assets: tuple[str, ...], sectors: Sectors) -> tuple[str, ...]:
    if not isinstance(sectors, str | Path) and not hasattr(sectors, "items"):
        raise OptionError("sectors", f"{shown(sectors)} is no file, mapping or Series of labels")
    with _naming("sectors"):
        pairs = _sector_pairs(sectors) if isinstance(sectors, str | Path) else sectors.items()
        labels = join_labels(pairs)
        unlabelled = [asset for asset in assets if asset not in labels]
        if unlabelled:
            raise DataError(
                f"{counted(len(unlabelled), 'asset')} without a label, the first "
                f"{quote(unlabelled[0])}: give every asset one"
            )
    return tuple(labels[asset] for asset in assets)


def _sector_pairs(path: str | Path) -> Iterator[tuple[object, object]]:
    table = index_to_columns(require_frame(read_table(path, labels=True).frame))
    if table.shape[1] != 2:
        raise DataError(f"{path} has {table.shape[1]} columns: keep two, asset and sector")
    return zip(table.iloc[:, 0], table.iloc[:, 1], strict=True)


@contextmanager
def _naming(part: str) -> Iterator[None]:
    """Errors inside say which part of the input they are about."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{part}: ", *error.parts) from error


def sector_numbers(panel: Panel) -> tuple[int, ...]:
    """Each asset's sector, counted from 0 in alphabetical order; none where they are not known."""
    sectors = panel.sectors or ()
    labels = sector_labels(sectors)
    return tuple(labels.index(sector) for sector in sectors)


def sector_labels(sectors: Sequence[str]) -> list[str]:
    """The sectors in the order in which `sector_numbers` counts them."""
    return sorted(set(sectors))
