"""Context, which a model is given beside returns: covariates of the dates, sectors of the assets.

A model that takes none gets an array without columns, so that nothing else asks what it takes.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.data.covariates import exclusive_with
from jaxvae.data.panel import Panel, Scaler, fit_scaler
from jaxvae.errors import DataError, Option, OptionError, check_numbers, did_you_mean
from jaxvae.models import Facts


def require_knowledge(panel: Panel, model: str) -> None:
    """DataError unless the panel has covariates or sectors."""
    if panel.covariates is None and panel.sectors is None:
        raise DataError(
            Option("model", model),
            " needs to know something of dates or assets: give ",
            Option("covariates"),
            ", ",
            Option("sectors"),
            " or both",
        )


def fit_conditions(panel: Panel, fit: slice, facts: Facts) -> tuple[list[str], Scaler]:
    """Names of the covariates that a model takes, and their scaler by the dates of `fit`.

    Raises DataError where a covariate does not vary in `fit`.
    """
    if not facts.conditioned or panel.covariates is None:
        return [], Scaler(np.zeros(0), np.zeros(0))
    scaler = fit_scaler(panel.covariates.to_numpy(np.float64)[fit])
    if (flat := scaler.scale == 0.0).any():
        name = panel.covariates.columns[int(np.argmax(flat))]
        raise DataError(
            f"covariate {name!r} does not vary in the first 70 % of dates: leave it out"
        )
    return [str(name) for name in panel.covariates.columns], scaler


def row_conditions(
    panel: Panel, names: Sequence[str], scaler: Scaler
) -> Float[np.ndarray, "date condition"]:
    """The named covariates of a panel's dates in standard units; others are left out.

    Raises DataError where the panel lacks one.
    """
    if not names:
        return np.zeros((panel.n_dates, 0))
    known = panel.covariates if panel.covariates is not None else pd.DataFrame()
    if absent := [name for name in names if name not in known.columns]:
        raise DataError(
            Option("covariates"),
            f": {len(absent)} of the study's {len(names)} are missing, {absent[0]!r} first; give "
            "every date all that the study was fitted with",
        )
    return scaler.standardise(known[list(names)].to_numpy(np.float64))


def sector_numbers(panel: Panel) -> tuple[int, ...]:
    """Each asset's sector, counted from 0 in alphabetical order; none where they are not known."""
    sectors = panel.sectors or ()
    labels = sector_labels(sectors)
    return tuple(labels.index(sector) for sector in sectors)


def sector_labels(sectors: Sequence[str]) -> list[str]:
    """The sectors in the order in which `sector_numbers` counts them."""
    return sorted(set(sectors))


def assumed_conditions(
    conditions: Float[np.ndarray, "date condition"],
    names: Sequence[str],
    scaler: Scaler,
    assumed: Mapping[str, float] | pd.DataFrame,
) -> Float[np.ndarray, "row condition"]:
    """Conditions, in standard units, to draw scenarios under.

    conditions: of the dates of `fit`. assumed: values of some covariates in their own units, the
    others staying as they were on those dates, of which all count alike; or a table with a column
    for each covariate, whose rows count alike. A month or weekday that is set to 1 sets the others
    of its kind to 0.

    Raises OptionError on a covariate that the study does not know, or that is missing in a table.
    """
    if isinstance(assumed, pd.DataFrame):
        _require_known(map(str, assumed), names)
        return scaler.standardise(_table_of(names, assumed))
    known = check_numbers("covariates", assumed, "a covariate's value")
    _require_known(known, names)
    values = pd.DataFrame(scaler.restore(conditions), columns=list(names))
    for name, value in known.items():
        if value == 1.0:
            values[[other for other in exclusive_with(name) if other in names]] = 0.0
        values[name] = value
    return scaler.standardise(values.to_numpy(np.float64))


def _require_known(assumed: Iterable[str], names: Sequence[str]) -> None:
    for name in assumed:
        if name not in names:
            known = f"it knows {', '.join(names)}" if names else "it was fitted without any"
            hint = did_you_mean(name, names)
            raise OptionError("covariates", f"{name!r} is not one of the study's; {known}{hint}")


def _table_of(names: Sequence[str], assumed: pd.DataFrame) -> Float[np.ndarray, "row condition"]:
    """The columns of the names, as numbers."""
    if absent := [name for name in names if name not in assumed]:
        raise OptionError("covariates", f"no column {absent[0]!r}; give every covariate one")
    rows = assumed[list(names)].apply(pd.to_numeric, errors="coerce")
    if len(bad := np.argwhere(~np.isfinite(rows.to_numpy(np.float64)))):
        row, column = bad[0]
        raise OptionError(
            "covariates", f"row {rows.index[row]}, column {names[column]!r} holds no finite number"
        )
    return rows.to_numpy(np.float64)
