"""Bounds and posteriors of a linear decoder at given parameters, where both are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import elbo, encoder_weights, linear_model, log_density, solution, with_exact_encoder

from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.modes import posterior_modes
from jaxvae.models import make_batch
from jaxvae.training.config import TrainConfig
from jaxvae.training.objective import importance_weighted_bound, row_terms

N_ROWS, N_ASSETS, N_FACTORS = 60, 6, 2
MODEL = linear_model(N_FACTORS, N_ASSETS)
RNG = np.random.default_rng(4)
NOISE, BIAS = RNG.uniform(0.3, 0.9, N_ASSETS), RNG.normal(size=N_ASSETS)
# Loadings that are orthogonal in units of the noise: the posterior is diagonal.
LOADINGS = (
    np.sqrt(NOISE)[:, None] * np.linalg.qr(RNG.normal(size=(N_ASSETS, N_FACTORS)))[0] * [2, 1]
)
VALUES = BIAS + RNG.normal(size=(N_ROWS, N_FACTORS)) @ LOADINGS.T
VALUES = VALUES + np.sqrt(NOISE) * RNG.normal(size=VALUES.shape)
BATCH = make_batch(VALUES)
SIZES = (1, 4, 16, 64, 256)


@pytest.fixture(scope="module")
def exact():
    variables = MODEL.initialise(jax.random.key(0), BATCH)
    return with_exact_encoder(variables, LOADINGS, BIAS, NOISE)


@pytest.fixture(scope="module")
def poor(exact):
    """Half a unit off in both factors, with twice the posterior's variance."""
    encoder = jax.tree.map(jnp.copy, exact.parameters["encoder"])
    encoder["mean"]["bias"] += 0.5
    encoder["log_variance"]["bias"] += jnp.log(2.0)
    return exact._replace(parameters={**exact.parameters, "encoder": encoder})


def bounds(variables):
    """L_k for each k, from the same draws in groups of k: group × row."""
    draws = encoder_weights(jax.random.key(1), MODEL, variables, BATCH, 4096)
    for size in SIZES:
        groups = draws.reshape(-1, size, N_ROWS)
        yield np.asarray(jax.vmap(importance_weighted_bound)(groups).value, float)


def test_every_bound_of_the_exact_posterior_is_the_likelihood(exact):
    expected = log_density(solution(MODEL, exact, BATCH), VALUES)
    for bound in bounds(exact):
        np.testing.assert_allclose(bound, np.broadcast_to(expected, bound.shape), atol=2e-4)


def test_bounds_of_a_poor_encoder_rise_to_the_likelihood(poor):
    """From the ELBO at k = 1, never above log p(x) but by chance (Burda et al. 2016)."""
    found = solution(MODEL, poor, BATCH)
    expected = log_density(found, VALUES).mean()
    by_group = [bound.mean(axis=1) for bound in bounds(poor)]
    means = np.array([groups.mean() for groups in by_group])
    errors = np.array([groups.std() / np.sqrt(len(groups)) for groups in by_group])
    assert means[0] == pytest.approx(elbo(found, VALUES), abs=4 * errors[0])
    assert means[0] < expected - 0.3
    assert (np.diff(means) > 0).all()
    assert (means < expected + 4 * errors).all()
    assert means[-1] == pytest.approx(expected, abs=0.01)


def test_the_training_objective_of_many_samples_is_the_bound(poor):
    config = TrainConfig(n_samples=64)
    key, beta = jax.random.key(2), jnp.float32(1.0)
    terms, _ = row_terms(key, poor, BATCH, beta, MODEL, config, False)
    found = solution(MODEL, poor, BATCH)
    expected = log_density(found, VALUES).mean()
    assert elbo(found, VALUES) + 0.3 < -np.mean(terms.total) < expected + 0.02


@pytest.fixture(scope="module")
def incomplete():
    """A third of the cells missing, and one row with none at all; factors that overlap."""
    values = np.where(RNG.random(VALUES.shape) < 0.3, np.nan, VALUES)
    values[7] = np.nan
    loadings = LOADINGS @ np.array([[1.0, 0.4], [0.3, 1.0]])
    variables = MODEL.initialise(jax.random.key(0), BATCH)
    return values, loadings, with_exact_encoder(variables, loadings, BIAS, NOISE)


def test_posteriors_of_rows_with_missing_cells_are_exact(incomplete):
    """N(P_o⁻¹ W_oᵀ Ψ_o⁻¹ (x_o - b_o), P_o⁻¹),  P_o = I + W_oᵀ Ψ_o⁻¹ W_o, o the cells observed."""
    values, loadings, variables = incomplete
    modes = jax.jit(posterior_modes, static_argnames="model")(MODEL, variables, make_batch(values))
    for row, mean, cholesky in zip(values, modes.mean[0], modes.cholesky[0], strict=True):
        seen = np.isfinite(row)
        weighted = loadings[seen] / NOISE[seen, None]
        covariance = np.linalg.inv(np.eye(N_FACTORS) + weighted.T @ loadings[seen])
        expected = covariance @ weighted.T @ (row - BIAS)[seen]
        root = np.linalg.inv(np.asarray(cholesky, float))
        np.testing.assert_allclose(mean, expected, atol=1e-3)
        np.testing.assert_allclose(root.T @ root, covariance, atol=1e-4)


def test_the_likelihood_of_observed_cells_is_exact(incomplete):
    """And 0 where nothing was observed."""
    values, _, variables = incomplete
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    estimate = run(jax.random.key(0), MODEL, variables, make_batch(values), n_samples=512)
    some = np.isfinite(values).any(axis=1)
    expected = np.zeros(N_ROWS)
    whole = solution(MODEL, variables, BATCH)
    whole = whole._replace(bias=whole.bias[some])
    expected[some] = log_density(whole, values[some])
    error = np.abs(np.asarray(estimate.value) - expected)
    assert (error < 5 * np.asarray(estimate.standard_error) + 1e-3).all()
    assert error.mean() < 0.02
    assert np.min(estimate.effective_samples) > 200
