"""The equal mixture of an ensemble's laws."""

import numpy as np
import pytest

from jaxvae.analysis.mixtures import mixture_log_density, mixture_moments


@pytest.fixture
def log_densities():
    return np.random.default_rng(0).normal(-3, 2, (5, 7))


@pytest.mark.parametrize("axis", [0, 1])
def test_its_density_is_the_mean_of_densities(log_densities, axis):
    found = mixture_log_density(log_densities, axis=axis)
    np.testing.assert_allclose(np.exp(found), np.exp(log_densities).mean(axis=axis))


def test_who_is_left_out_counts_nothing(log_densities):
    included = np.array([[True], [False], [True], [True], [False]])
    spoilt = np.where(included, log_densities, np.nan)
    found = mixture_log_density(spoilt, included)
    np.testing.assert_array_equal(found, mixture_log_density(log_densities[included[:, 0]]))
    assert np.isnan(mixture_log_density(spoilt)).all()
    assert np.isnan(mixture_log_density(log_densities, False)).all()


def test_its_moments_are_those_of_as_many_draws_of_each_member():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(3, 50, 2)) * rng.uniform(0.5, 2, (3, 1, 2)) + rng.normal(
        size=(3, 1, 2)
    )
    covariances = np.stack([np.cov(each, rowvar=False, bias=True) for each in draws])
    mean, covariance = mixture_moments(draws.mean(axis=1), covariances)
    pooled = draws.reshape(-1, 2)
    np.testing.assert_allclose(mean, pooled.mean(axis=0))
    np.testing.assert_allclose(covariance, np.cov(pooled, rowvar=False, bias=True))
