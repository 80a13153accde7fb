"""What a model is told of each date before its returns are: the conditions of the rows.

A model that takes none gets an array without columns, so that nothing else asks what it takes.
"""

import numpy as np
from jaxtyping import Float

from jaxvae.errors import DataError
from jaxvae.memory import recall
from jaxvae.models import ModelConfig
from jaxvae.panel import Panel, fit_scaler
from jaxvae.presets import CONDITIONAL


def row_conditions(panel: Panel, fit: slice, model: str) -> Float[np.ndarray, "date condition"]:
    """The panel's covariates for a model that takes them, standardised by the dates of `fit`.

    Raises DataError where the model needs covariates and the panel has none, or one that does not
    vary in `fit`.
    """
    if model not in CONDITIONAL:
        return np.zeros((panel.n_dates, 0))
    if panel.covariates is None:
        raise DataError(f"--model {model} needs covariates: give the panel some")
    values = panel.covariates.to_numpy(np.float64)
    scaler = fit_scaler(values[fit])
    if (flat := scaler.scale == 0.0).any():
        name = panel.covariates.columns[int(np.argmax(flat))]
        raise DataError(
            f"covariate {name!r} does not vary in the first 70 % of dates: leave it out"
        )
    return scaler.standardise(values)


def with_memory(
    conditions: Float[np.ndarray, "date condition"],
    values: Float[np.ndarray, "date asset"],
    shape: ModelConfig,
) -> Float[np.ndarray, "date more_conditions"]:
    """The conditions, and after them what a temporal model remembers on each date of those before.

    values: returns in standard units, in order of dates and from the first one on: the memory
    starts blank.
    """
    if shape.memory is None:
        return conditions
    remembered = recall(values, shape.memory, shape.n_factors - 1)
    return np.concatenate([conditions, remembered], axis=1)
