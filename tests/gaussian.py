"""The plainest law, which tests hold the others against: a Gaussian with the full covariance."""

from jaxvae.analysis.incomplete import expected_moments
from jaxvae.baselines.elliptical import full_rank_normal, maximise, refusing_singular


def fit_gaussian(values):
    """Of complete rows the sample's covariance, divisor n; DataError where it is singular."""
    with refusing_singular(values):
        return maximise(
            values, lambda given: full_rank_normal(expected_moments(given), len(values))
        )
