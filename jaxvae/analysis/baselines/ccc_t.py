"""GARCH an asset, joined by a Student-t copula of constant correlations: one step ahead."""

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.baselines.garch import Margins
from jaxvae.analysis.baselines.garch_copula import GarchCopula, fit_garch_copula


def fit_ccc_t(
    values: Float[np.ndarray, "date asset"], n_train: int, margins: Margins | None = None
) -> GarchCopula:
    """`fit_garch_copula` with a = b = 0, after Bollerslev (1990), "Modelling the coherence in
    short-run nominal exchange rates".

    Args:
        values: Complete returns of training and validation, in this order.
        n_train: How many of the rows are for training.
        margins: Of the same rows, by default fitted here.

    Raises:
        MissingExtraError: `arch` is not installed.
        DataError: Correlations are singular, or a margin's likelihood has no maximum.
    """
    return fit_garch_copula(values, n_train, False, margins)
