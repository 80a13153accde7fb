"""Assets that share nothing: what a VAE is without factors."""

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.incomplete import Conditional, expected_moments
from jaxvae.baselines.elliptical import Elliptical, maximise
from jaxvae.baselines.multivariate_t import fit_t_from


def fit_independent(
    values: Float[np.ndarray, "date asset"], noise: str, noise_variance: float, student: bool
) -> Elliptical:
    """Constant means, and noise that assets do not share, by maximum likelihood.

    Args:
        values: returns; NaN marks a missing cell.
        noise: variances "asset" by asset, one for all ("scalar"), or "fixed" at `noise_variance`.
        noise_variance: of each cell, where it is fixed.
        student: a date's noise shares one mixing variable, as in `fit_multivariate_t`; else
            Gaussian.
    """

    def diagonal(scatter: Float[np.ndarray, "asset asset"]) -> Float[np.ndarray, "asset asset"]:
        variances = np.diag(scatter)
        if noise != "asset":
            variances = np.full_like(variances, variances.mean())
        return np.diag(variances) if noise != "fixed" else noise_variance * np.eye(len(scatter))

    def refit(given: Conditional) -> Elliptical:
        mean, covariance = expected_moments(given)
        return Elliptical.of_factors(mean, np.zeros((len(mean), 0)), np.diag(diagonal(covariance)))

    gaussian = maximise(values, refit)
    return fit_t_from(gaussian, values, diagonal) if student else gaussian
