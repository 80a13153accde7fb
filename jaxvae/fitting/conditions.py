"""Covariates of the dates, which a model is given beside returns, in standard units.

A model that takes none gets an array without columns, so that nothing else asks what it takes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.data.panel import Panel, Scaler, fit_scaler
from jaxvae.errors import DataError, Option, OptionError
from jaxvae.models import Facts


def require_knowledge(panel: Panel, model: str) -> None:
    """OptionError unless the panel has covariates or sectors."""
    if panel.covariates is None and panel.sectors is None:
        raise OptionError(
            "model",
            f"{model} needs to know something of dates or assets: give ",
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
