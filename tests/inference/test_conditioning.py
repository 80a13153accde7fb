"""Draws given the returns of some portfolios, against the laws that are known in closed form."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import linear_model
from scipy import stats

from jaxvae.inference.conditioning import Given, draw_given
from jaxvae.models import df_of, make_batch

N_ASSETS, N_FACTORS, TAILS = 5, 2, 3.0
DRAW = jax.jit(draw_given, static_argnames=("model", "n_samples"))
# The first asset alone, and the mean of the second and third.
WEIGHTS = np.array([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0, 0.0]])
RETURNS = np.array([-1.5, 0.8])
GIVEN = Given(jnp.asarray(WEIGHTS, jnp.float32), jnp.asarray(RETURNS, jnp.float32))
N_SAMPLES, N_ROWS = 64, 1000


def member(likelihood, factor=0.8):
    """A model with a linear decoder of known parameters, its variables, and (W, b, Ψ)."""
    rng = np.random.default_rng(5)
    model = linear_model(N_FACTORS, N_ASSETS, likelihood=likelihood)
    variables = model.initialise(jax.random.key(0), make_batch(np.zeros((2, N_ASSETS))))
    rows = N_FACTORS - (likelihood == "volatility")
    kernel, bias = factor * rng.normal(size=(rows, N_ASSETS)), 0.1 * rng.normal(size=N_ASSETS)
    noise = rng.uniform(0.2, 0.6, N_ASSETS)
    decoder = variables.parameters["decoder"] | {
        "mean": {
            "kernel": jnp.asarray(kernel, jnp.float32),
            "bias": jnp.asarray(bias, jnp.float32),
        },
        "log_variance": jnp.asarray(np.log(noise), jnp.float32),
    }
    if likelihood == "student":
        decoder["log_df"] = jnp.float32(np.log(4.0))
    if likelihood == "volatility":
        decoder["log_df"] = jnp.full(N_ASSETS, np.log(TAILS - 2.0), jnp.float32)
        decoder["volatility"] = jnp.full(N_ASSETS, factor, jnp.float32)
    return (
        model,
        variables._replace(parameters=variables.parameters | {"decoder": decoder}),
        (
            kernel.T,
            bias,
            noise,
        ),
    )


@functools.cache
def drawn(likelihood):
    """Draws as `pooled` gives them, and the member."""
    model, variables, known = member(likelihood)
    batch = make_batch(np.zeros((N_ROWS, N_ASSETS)))
    found = DRAW(jax.random.key(1), model, variables, batch, GIVEN, n_samples=N_SAMPLES)
    return pooled(found), variables, known


def pooled(found):
    """All draws, their weights, and the log density of what is given."""
    log_weights = np.asarray(found.log_weights, np.float64).ravel()
    weights = np.exp(log_weights - log_weights.max())
    values = np.asarray(found.values, np.float64).reshape(-1, N_ASSETS)
    return values, weights / weights.sum(), np.log(np.mean(np.exp(log_weights)))


def conditional(mean, covariance):
    """Mean and covariance of a Gaussian given y = A x, and the distance of y from its own mean."""
    within = WEIGHTS @ covariance @ WEIGHTS.T
    gain = np.linalg.solve(within, WEIGHTS @ covariance).T
    gap = RETURNS - WEIGHTS @ mean
    left = covariance - gain @ WEIGHTS @ covariance
    return mean + gain @ gap, left, gap @ np.linalg.solve(within, gap), within


def assert_moments(values, weights, mean, covariance, size=6.0):
    """Within so many Monte-Carlo standard errors of what is known."""
    draws = 1.0 / np.sum(weights**2)
    error = np.sqrt(np.diag(covariance) / draws) + 1e-5
    assert (np.abs(weights @ values - mean) < size * error).all()
    centred = values - mean
    found = (weights[:, None] * centred).T @ centred
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) * 8.0 / draws) + 1e-5
    assert (np.abs(found - covariance) < size * scale).all()


def test_linear_gaussian_draws_have_the_gaussian_conditional():
    (values, weights, log_density_given), _, (loadings, bias, noise) = drawn("gaussian")
    mean, covariance, distance, within = conditional(bias, loadings @ loadings.T + np.diag(noise))
    assert_moments(values, weights, mean, covariance)
    expected = -0.5 * (2 * np.log(2 * np.pi) + np.linalg.slogdet(within)[1] + distance)
    assert log_density_given == pytest.approx(expected, abs=0.02)
    assert 1.0 / np.sum(weights**2) > 0.5 * len(weights)


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", ["gaussian", "student", "volatility"])
def test_what_is_given_is_met_by_every_draw(likelihood):
    (values, *_), *_ = drawn(likelihood)
    np.testing.assert_allclose(
        values @ WEIGHTS.T, np.broadcast_to(RETURNS, (len(values), 2)), atol=1e-3
    )


@pytest.mark.slow
def test_linear_student_draws_have_the_multivariate_t_conditional():
    """Given n returns: t_{ν+n} with the Gaussian's mean and (ν+δ)/(ν+n) times its covariance."""
    (values, weights, _), variables, (loadings, bias, noise) = drawn("student")
    freedom = float(df_of(variables))
    mean, left, distance, _ = conditional(bias, loadings @ loadings.T + np.diag(noise))
    more = freedom + len(RETURNS)
    assert_moments(values, weights, mean, left * (freedom + distance) / more * more / (more - 2.0))
    last = values[:, -1]
    spread = np.sqrt(left[-1, -1] * (freedom + distance) / more)
    for level in (0.01, 0.5, 0.99):
        edge = mean[-1] + spread * stats.t.ppf(level, more)
        assert weights @ (last < edge) == pytest.approx(level, abs=0.01)


@pytest.mark.slow
def test_a_sector_of_independent_tails_is_moved_by_one_asset_or_the_other():
    """Without factors p(x | mean of x and x' = y) ∝ t(x) t(2y - x), which has two modes."""
    model, variables, (_, bias, noise) = member("volatility", factor=0.0)
    where, scale, mean = bias[1:3], np.sqrt(noise[1:3]), 5.0
    given = GIVEN._replace(returns=jnp.asarray([0.0, mean], jnp.float32))
    # Weights differ widely: of 64 draws a row some six tenths of one are effective.
    batch = make_batch(np.zeros((6 * N_ROWS, N_ASSETS)))
    values, weights, log_density_given = pooled(
        DRAW(jax.random.key(1), model, variables, batch, given, n_samples=N_SAMPLES)
    )
    grid = np.linspace(-60.0, 70.0, 200_001)
    joint = stats.t.pdf(grid, TAILS, where[0], scale[0])
    joint *= stats.t.pdf(2 * mean - grid, TAILS, where[1], scale[1])
    below = np.cumsum(joint) / joint.sum()
    for level in (0.1, 0.3, 0.5, 0.7, 0.9):
        edge = grid[np.searchsorted(below, level)]
        assert weights @ (values[:, 1] < edge) == pytest.approx(level, abs=0.03)
    of_mean = 2.0 * np.trapezoid(joint, grid)
    alone = stats.t.pdf(0.0, TAILS, bias[0], np.sqrt(noise[0]))
    assert log_density_given == pytest.approx(np.log(of_mean * alone), abs=0.1)


def test_one_asset_alone_is_its_own_density():
    model, variables, _ = member("volatility")
    batch = make_batch(np.zeros((3, N_ASSETS)))
    factors = jax.random.normal(jax.random.key(3), (3, N_FACTORS))
    density = model.decode(variables, factors, batch)[0]
    values = jax.random.normal(jax.random.key(4), (3, N_ASSETS))
    each = density.portfolios(jnp.eye(N_ASSETS))
    ones = jnp.ones_like(values)
    np.testing.assert_allclose(
        each.log_prob(values, ones), density.log_prob(values, ones), rtol=1e-5
    )
