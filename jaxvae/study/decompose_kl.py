"""What each member's KL is made of (`analysis.decomposition`), for the tables of a study."""

import numpy as np
import pandas as pd

from jaxvae.analysis.decomposition import Codes, Decomposition, chance_correlation, decompose
from jaxvae.study.config import StudyConfig
from jaxvae.study.fit import Prepared, Trained
from jaxvae.study.tables import metric_rows
from jaxvae.training.streams import Stream

CHANCE = "total_correlation_chance_mean"
KL_TERMS = ("index_code_information", "total_correlation", CHANCE, "dimension_kl")


def kl_parts(prepared: Prepared, config: StudyConfig, grid: Trained) -> pd.DataFrame:
    """A row a member: the fields of `Decomposition`, and the total correlation of its factors
    shifted in time; nats a date, on `fit`.

    Without columns where the prior of a date is not N(0, I), whatever the others are. On one BLAS
    thread: on many small matrices several cost far more than they give.
    """
    members = range(len(grid.ensemble.ok))
    if not prepared.model.has_standard_prior:
        return pd.DataFrame(index=members)
    fit = prepared.split.fit
    rows = [_of_member(grid, member, fit, config.root_seed) for member in members]
    return pd.DataFrame(rows, columns=[*Decomposition._fields, CHANCE])


def kl_rows(parts: pd.DataFrame, n_factors: int) -> pd.DataFrame:
    """The same numbers as rows of the metrics table."""
    names = [str(name) for name in parts]
    tables = [
        metric_rows("vae", "fit", dict(zip(names, row, strict=True)), member, n_factors)
        for member, row in enumerate(parts.to_numpy(np.float64).tolist())
    ]
    return pd.concat([metric_rows("vae", "fit", {}), *tables], ignore_index=True)


def _of_member(grid: Trained, member: int, fit: slice, root_seed: int) -> tuple[float, ...]:
    outputs, rng = grid.evaluation, Stream.RESAMPLING.generator(root_seed)
    arrays = (outputs.factors[member], outputs.log_variance[member])
    codes = Codes(*(np.asarray(array, np.float64)[fit] for array in arrays))
    return (*decompose(rng, codes), chance_correlation(rng, codes))
