"""A Gaussian with the covariance of Ledoit and Wolf."""

import numpy as np
from jaxtyping import Float
from sklearn.covariance import LedoitWolf

from jaxvae.analysis.incomplete import Conditional
from jaxvae.baselines.elliptical import Elliptical, maximise, refusing_singular


def fit_ledoit_wolf(values: Float[np.ndarray, "date asset"]) -> Elliptical:
    """A Gaussian whose covariance is the sample's shrunk to a multiple of I.

    With missing cells each round of EM estimates the shrinkage from the filled rows and shrinks the
    expected covariance: a fixed point, where Ledoit and Wolf know complete rows only.

    Args:
        values: returns; NaN marks a missing cell.

    Raises:
        DataError: a covariance on the way is singular given the cells observed.

    Source: Ledoit and Wolf (2004), "A well-conditioned estimator for large-dimensional covariance
    matrices", as scikit-learn has it.
    """

    def refit(given: Conditional) -> Elliptical:
        model = LedoitWolf(store_precision=False).fit(given.values)
        spread, n_assets = given.spread / len(values), values.shape[1]
        level = model.shrinkage_ * np.trace(spread) / n_assets
        shrunk = (1 - model.shrinkage_) * spread + level * np.eye(n_assets)
        return Elliptical.without_factors(model.location_, model.covariance_ + shrunk)

    with refusing_singular(values):
        return maximise(values, refit)
