"""Loadings, covariance and scenarios of a linear decoder, where all are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import DATA, N_ASSETS, linear_gaussian

from jaxvae.inference.evaluation import evaluate, reconstruct
from jaxvae.inference.scenarios import implied_covariance, sample_scenarios
from jaxvae.models import make_batch

EVALUATE = jax.jit(evaluate, static_argnames=("model", "n_samples"))
ROWS = make_batch(np.zeros((40_000, N_ASSETS)))


@pytest.fixture(scope="module")
def linear():
    return linear_gaussian()


def test_loadings_are_the_decoders_matrix(linear):
    model, variables, loadings, bias, variance = linear
    said, _ = EVALUATE(jax.random.key(0), model, variables, DATA.training, n_samples=8)
    np.testing.assert_allclose(said.loadings, loadings, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(said.unit_loadings, loadings + bias[:, None], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(said.noise_variance, variance, rtol=1e-4)


def test_squared_error_is_that_of_the_reconstruction(linear):
    model, variables, *_ = linear
    batch = DATA.training
    said, _ = EVALUATE(jax.random.key(0), model, variables, batch, n_samples=8)
    error = (batch.values - reconstruct(model, variables, batch)) ** 2
    np.testing.assert_allclose(said.squared_error, error.sum(axis=1), rtol=1e-4)


def test_implied_covariance_is_factors_plus_noise(linear):
    model, variables, loadings, bias, variance = linear
    mean, covariance = implied_covariance(jax.random.key(0), model, variables, ROWS)
    np.testing.assert_allclose(mean, bias, atol=0.05)
    expected = loadings @ loadings.T + np.diag(variance)
    np.testing.assert_allclose(covariance, expected, atol=0.05 * np.abs(expected).max())


def test_scenarios_have_the_models_moments(linear):
    model, variables, loadings, bias, variance = linear
    draws = np.asarray(sample_scenarios(jax.random.key(0), model, variables, ROWS))
    expected = loadings @ loadings.T + np.diag(variance)
    np.testing.assert_allclose(draws.mean(axis=0), bias, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.05 * np.abs(expected).max())


def test_a_masked_factor_has_no_loadings(linear):
    model, variables, *_ = linear
    variables = variables._replace(factor_mask=jnp.array([1.0, 0.0]))
    said, _ = EVALUATE(jax.random.key(0), model, variables, DATA.training, n_samples=8)
    assert not said.loadings[:, 1].any()
    assert not said.factors[:, 1].any()
    assert said.kl[:, 1].max() == 0.0
