"""Divergences and bounds against Monte Carlo and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.models.distributions import Gaussian
from jaxvae.models.student_t import StudentT
from jaxvae.training.objective import importance_weighted_bound, weighted_mean

RNG = np.random.default_rng(0)
MEAN, LOG_VARIANCE, VALUES = (jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32) for _ in range(3))


def test_kl_divergence_is_the_mean_log_ratio():
    posterior, prior = Gaussian(MEAN, LOG_VARIANCE), Gaussian(VALUES, 0.3 * MEAN)
    keys = jax.random.split(jax.random.key(0), 40_000)
    draws = jax.vmap(lambda key: posterior.sample(key))(keys)
    used = jnp.ones((4, 3))
    ratios = jax.vmap(lambda z: posterior.log_prob(z, used) - prior.log_prob(z, used))(draws)
    error = np.std(ratios, axis=0) / np.sqrt(len(keys))
    gap = np.abs(np.mean(ratios, axis=0) - posterior.factor_kl(prior, used).sum(axis=1))
    assert (gap < 5 * error).all()


def test_the_divergence_from_a_student_t_is_without_bias():
    """Its mean over draws is the mean log ratio, over the factors used."""
    posterior, prior = Gaussian(MEAN, LOG_VARIANCE), StudentT(VALUES, 0.3 * MEAN, jnp.full(4, 5.0))
    used = jnp.array([[1.0, 0.0, 1.0]] * 4)
    keys = jax.random.split(jax.random.key(0), 40_000)
    draws = jax.vmap(lambda key: posterior.sample(key))(keys)
    found = jax.vmap(lambda z: posterior.kl(prior, z, used))(draws)
    ratios = jax.vmap(lambda z: posterior.log_prob(z, used) - prior.log_prob(z, used))(draws)
    error = np.std(found - ratios, axis=0) / np.sqrt(len(keys))
    assert (np.abs(np.mean(found - ratios, axis=0)) < 5 * error).all()


def test_the_divergence_from_a_gaussian_is_the_sum_of_its_factors():
    posterior, prior = Gaussian(MEAN, LOG_VARIANCE), Gaussian(VALUES, 0.3 * MEAN)
    used = jnp.array([[1.0, 0.0, 1.0]] * 4)
    found = posterior.kl(prior, MEAN, used)
    by_factor = posterior.factor_kl(prior, used)
    np.testing.assert_allclose(found, by_factor.sum(axis=1), rtol=1e-5)
    assert not by_factor[:, 1].any()


def test_factor_divergences_from_a_student_t_are_not_negative_and_gaussian_in_the_limit():
    posterior, used = Gaussian(MEAN, LOG_VARIANCE), jnp.ones((4, 3))
    heavy = posterior.factor_kl(StudentT(VALUES, 0.3 * MEAN, jnp.full(4, 3.0)), used)
    assert (heavy >= 0).all()
    light = posterior.factor_kl(StudentT(VALUES, 0.3 * MEAN, jnp.full(4, 1e6)), used)
    expected = posterior.factor_kl(Gaussian(VALUES, 0.3 * MEAN), jnp.ones_like(posterior.mean))
    np.testing.assert_allclose(light, expected, rtol=1e-3, atol=1e-3)


def test_kl_divergence_of_equals_is_zero():
    same = Gaussian(MEAN, LOG_VARIANCE)
    np.testing.assert_allclose(same.factor_kl(same, jnp.ones_like(same.mean)), 0.0, atol=1e-6)


def test_bound_of_equal_weights_is_exact():
    bound = importance_weighted_bound(jnp.full((7, 2), -3.0))
    np.testing.assert_allclose(bound.value, -3.0, rtol=1e-6)
    np.testing.assert_allclose(bound.standard_error, 0.0, atol=1e-6)
    np.testing.assert_allclose(bound.effective_samples, 7.0, rtol=1e-6)


def test_bound_rises_with_samples_towards_the_truth():
    """Weights exp(N(-½s², s²)) have mean 1: log p(x) = 0, and every L_k lies below."""
    spread = 1.0
    logs = jnp.asarray(spread * RNG.normal(size=(64, 4000)) - 0.5 * spread**2, jnp.float32)
    values = [float(importance_weighted_bound(logs[:k]).value.mean()) for k in (1, 4, 16, 64)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(-0.5 * spread**2, abs=0.05)
    assert -0.05 < values[-1] < 0.01


def test_standard_error_is_that_of_repeated_estimates():
    logs = jnp.asarray(0.5 * RNG.normal(size=(400, 3000)), jnp.float32)
    bound = importance_weighted_bound(logs)
    assert float(bound.standard_error.mean()) == pytest.approx(float(bound.value.std()), rel=0.1)


def test_bound_survives_large_logs():
    bound = importance_weighted_bound(jnp.array([[1e4, -1e4], [1e4 - 1, -1e4]]))
    assert np.isfinite(bound.value).all()


def test_weighted_mean():
    assert float(weighted_mean(jnp.array([1.0, 5.0]), jnp.array([3.0, 1.0]))) == pytest.approx(2.0)
    assert float(weighted_mean(jnp.array([1.0, 5.0]), jnp.zeros(2))) == 0.0
