"""What each member's KL is made of (`analysis.decomposition`), for the tables of a study."""

import numpy as np

from jaxvae.analysis.decomposition import Codes, chance_correlation, decompose
from jaxvae.fitting.fit import Trained
from jaxvae.fitting.prepare import Prepared
from jaxvae.scoring.tables import MetricRow, metric_rows
from jaxvae.training.streams import Stream

CHANCE = "total_correlation_chance_mean"
KL_TERMS = ("index_code_information", "total_correlation", CHANCE, "dimension_kl")


def kl_rows(prepared: Prepared, grid: Trained) -> list[MetricRow]:
    """Rows of the metrics table: of each member the fields of `Decomposition`, and the total
    correlation of its factors shifted in time; nats a date, on `fit`.

    No rows where the prior of a date is not N(0, I), whatever the others are. On one BLAS thread:
    on many small matrices several cost far more than they give.
    """
    rows: list[MetricRow] = []
    if not prepared.model.has_standard_prior:
        return rows
    outputs, fit, n_factors = grid.evaluation, prepared.split.fit, prepared.model.n_factors
    for member in range(len(grid.ensemble.ok)):
        rng = Stream.RESAMPLING.generator(prepared.config.root_seed)
        arrays = (outputs.factors[member], outputs.log_variance[member])
        codes = Codes(*(np.asarray(array, np.float64)[fit] for array in arrays))
        parts = {**decompose(rng, codes)._asdict(), CHANCE: chance_correlation(rng, codes)}
        rows += metric_rows("vae", "fit", parts, member, n_factors)
    return rows
