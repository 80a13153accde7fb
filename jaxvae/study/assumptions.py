"""What scenarios are drawn under: covariates as they were, or as they are assumed to be."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.data.covariates import exclusive_with
from jaxvae.data.panel import Scaler
from jaxvae.errors import OptionError, check_numbers, did_you_mean


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
