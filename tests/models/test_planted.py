"""The oracle of synthetic panels: its likelihood, its mean and its posterior against the truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from planted import planted_model
from scipy import stats

from jaxvae.data.panel import fit_scaler
from jaxvae.data.synthetic import conditional_mean, linear_panel, nonlinear_panel
from jaxvae.inference.importance import log_likelihood
from jaxvae.models import make_batch

pytestmark = pytest.mark.slow

N_ROWS = 200
# Standard deviation of the stationary recursion f_t = .1 f_{t-1} + .95 v ε_t, in units of v.
SPREAD = 0.95 / np.sqrt(1 - 0.1**2)


def planted(draw):
    """Model, its variables, standardised returns, scaler and truth of a panel."""
    panel, truth = draw(42)
    scaler = fit_scaler(panel.values[:700])
    values = scaler.standardise(panel.values)
    model = planted_model(truth, scaler)
    return model, model.initialise(jax.random.key(0), make_batch(values)), values, scaler, truth


@pytest.fixture(scope="module")
def linear():
    return planted(linear_panel)


def gaussian(scaler, truth):
    """Location, loadings and noise variance of the linear panel, in standard units."""
    scale = scaler.scale[:, None]
    loadings = truth.loadings / scale * (SPREAD * truth.volatilities)
    return -scaler.mean / scaler.scale, loadings, (truth.noise_scale / scaler.scale) ** 2


def test_on_the_linear_panel_the_likelihood_is_the_exact_gaussian(linear):
    model, variables, values, scaler, truth = linear
    rows = values[-N_ROWS:]
    location, loadings, noise = gaussian(scaler, truth)
    covariance = loadings @ loadings.T + np.diag(noise)
    expected = stats.multivariate_normal.logpdf(rows, location, covariance)
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    estimate = run(jax.random.key(0), model, variables, make_batch(rows), n_samples=256)
    error = np.asarray(estimate.value) - expected
    assert (np.abs(error) < 5 * np.asarray(estimate.standard_error) + 1e-3).all()
    assert abs(error.mean()) < 0.01


def test_on_the_linear_panel_its_encoder_gives_the_exact_posterior_mean(linear):
    model, variables, values, scaler, truth = linear
    location, loadings, noise = gaussian(scaler, truth)
    weighted = loadings / noise[:, None]
    precision = np.eye(5) + weighted.T @ loadings
    expected = np.linalg.solve(precision, weighted.T @ (values - location).T).T
    posterior, _ = model.encode(variables, make_batch(values), False)
    np.testing.assert_allclose(posterior.mean, expected, atol=1e-3)


@pytest.mark.parametrize("draw", [linear_panel, nonlinear_panel])
def test_it_decodes_the_panels_own_mean_and_noise(draw):
    """Curves included: at z = f/(τ v) it says what the panel's E[r | f] is."""
    model, variables, values, scaler, truth = planted(draw)
    factors = jnp.asarray(truth.factors / (SPREAD * truth.volatilities), jnp.float32)
    said, _ = model.decode(variables, factors, make_batch(values), False)
    expected = scaler.standardise(conditional_mean(truth, truth.factors))
    np.testing.assert_allclose(said.mean, expected, atol=1e-3)
    noise = (truth.noise_scale / scaler.scale) ** 2
    np.testing.assert_allclose(np.exp(said.log_variance[0]), noise, rtol=1e-4)
