"""The plainest law, which tests hold the others against: a Gaussian with the full covariance."""

from jaxvae.analysis.baselines.elliptical import fit_full, regular
from jaxvae.analysis.incomplete import expected_moments


def fit_gaussian(values):
    """Of complete rows the sample's covariance, divisor n; DataError where it is singular."""
    return fit_full(values, lambda given: regular(expected_moments(given), len(values)))
