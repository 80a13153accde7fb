"""The plainest law, which tests hold the others against: a Gaussian with the full covariance."""

from jaxvae.analysis.incomplete import expected_moments
from jaxvae.baselines.elliptical import maximise, regular, regularly


def fit_gaussian(values):
    """Of complete rows the sample's covariance, divisor n; DataError where it is singular."""
    with regularly(values):
        return maximise(values, lambda given: regular(expected_moments(given), len(values)))
