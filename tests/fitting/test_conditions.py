"""Conditions of a row: a trained linear model against regression and probabilistic PCA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import best_elbo, elbo, linear_model, log_density, solution, train
from scipy import stats

from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.scenarios import sample_scenarios
from jaxvae.models import make_batch

pytestmark = pytest.mark.slow

N_ROWS, N_ASSETS, N_FACTORS, N_CONDITIONS = 400, 6, 2, 3
MODEL = linear_model(N_FACTORS, N_ASSETS, "scalar")


def panel():
    """Returns moved by two conditions, which come with an empty third column."""
    rng = np.random.default_rng(2)
    conditions = rng.normal(size=(N_ROWS, 2))
    values = rng.normal(size=(N_ROWS, N_FACTORS)) @ rng.normal(size=(N_FACTORS, N_ASSETS))
    values += conditions @ rng.normal(size=(2, N_ASSETS)) + 0.3
    values += 0.5 * rng.normal(size=(N_ROWS, N_ASSETS))
    return values, np.column_stack([conditions, np.zeros(N_ROWS)])


VALUES, CONDITIONS = panel()
ONE = np.array([0.0, 0.0, 1.0])
# Coefficients of the conditions in use and of the constant, and what they leave over.
DESIGN = np.column_stack([CONDITIONS[:, :2], np.ones(N_ROWS)])
COEFFICIENTS = np.linalg.lstsq(DESIGN, VALUES, rcond=None)[0]
RESIDUALS = VALUES - DESIGN @ COEFFICIENTS


def trained(conditions, model=MODEL):
    """A member's variables and solution."""
    variables, _ = train(model, VALUES, conditions=conditions, tile_width=1)
    return variables[0], solution(model, variables[0], make_batch(VALUES, conditions))


@pytest.fixture(scope="module")
def conditional():
    return trained(CONDITIONS)


def test_elbo_is_probabilistic_pcas_on_the_residuals_of_the_regression(conditional):
    best = best_elbo(np.cov(RESIDUALS.T, ddof=0), N_FACTORS)
    found = elbo(conditional[1], VALUES)
    assert found == pytest.approx(best, rel=1e-4)
    assert found <= best + 1e-6 * abs(best)


def test_the_decoders_condition_matrix_is_the_regressions(conditional):
    kernel = conditional[0].parameters["decoder"]["mean"]["kernel"]
    np.testing.assert_allclose(kernel[N_FACTORS:][:2], COEFFICIENTS[:2], atol=0.01)
    np.testing.assert_allclose(conditional[1].bias, DESIGN @ COEFFICIENTS, atol=0.03)


def test_factors_do_not_carry_the_conditions(conditional):
    """The encoder takes them out: posterior means are those of the residuals."""
    cross = np.corrcoef(conditional[1].mean.T, CONDITIONS[:, :2].T)[:N_FACTORS, N_FACTORS:]
    assert np.abs(cross).max() < 0.02


def test_a_condition_that_is_constant_over_dates_changes_nothing(conditional):
    """Beside others, and alone: then the best ELBO is that of no condition at all."""
    constant = CONDITIONS + ONE
    beside = elbo(trained(constant)[1], VALUES)
    assert beside == pytest.approx(elbo(conditional[1], VALUES), rel=1e-4)
    alone = elbo(trained(constant * ONE)[1], VALUES)
    assert alone == pytest.approx(best_elbo(np.cov(VALUES.T, ddof=0), N_FACTORS), rel=1e-4)


def test_a_prior_that_sees_the_conditions_gains_no_more_than_chance():
    """Variances do not move here: what its slopes gain in sample is a likelihood ratio's, ½ χ² with
    a degree of freedom a slope of the log-variance (means are the decoder's to move already)."""
    parts = ("encoder", "decoder", "prior")
    model = linear_model(N_FACTORS, N_ASSETS, "scalar", n_conditions=2, conditioned=parts)
    variables, found = trained(CONDITIONS[:, :2], model)
    batch = make_batch(VALUES, CONDITIONS[:, :2])
    prior = model.prior(variables, jnp.zeros((N_ROWS, N_FACTORS)), batch)
    centre, spread = np.asarray(prior.mean, float), np.exp(np.asarray(prior.log_variance, float))
    exact = [
        stats.multivariate_normal.logpdf(
            row, bias + found.loadings @ mean, found.loadings * var @ found.loadings.T + noise
        )
        for row, bias, mean, var, noise in zip(
            VALUES, found.bias, centre, spread, [np.diag(found.noise)] * N_ROWS, strict=True
        )
    ]
    best = best_elbo(np.cov(RESIDUALS.T, ddof=0), N_FACTORS)
    chance = stats.chi2(2 * N_FACTORS).ppf(0.999) / (2 * N_ROWS)
    assert -1e-4 * abs(best) < np.mean(exact) - best < chance
    means = centre @ found.loadings.T + found.bias
    np.testing.assert_allclose(means, DESIGN @ COEFFICIENTS, atol=0.1)


def test_likelihood_is_given_the_conditions(conditional):
    variables, found = conditional
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    batch = make_batch(VALUES, CONDITIONS)
    estimate = run(jax.random.key(0), MODEL, variables, batch, n_samples=256)
    assert abs(np.mean(estimate.value - log_density(found, VALUES))) < 0.01


def test_scenarios_are_drawn_under_the_conditions(conditional):
    """Their mean moves with the conditions of their row."""
    variables, _ = conditional
    where = np.array([1.0, -2.0, 0.0])
    batch = make_batch(np.zeros((20_000, N_ASSETS)), np.tile(where, (20_000, 1)))
    draws = sample_scenarios(jax.random.key(0), MODEL, variables, batch)
    expected = where[:2] @ COEFFICIENTS[:2] + COEFFICIENTS[2]
    np.testing.assert_allclose(jnp.mean(draws, axis=0), expected, atol=0.06)
