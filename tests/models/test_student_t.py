"""The Student-t likelihood with a linear decoder, which is a multivariate t, against closed forms.

z ~ t_ν(0, I),   x | z ~ t_{ν+K}(W z + b, Ψ (ν + |z|²)/(ν + K)):   x ~ t_ν(b, W Wᵀ + Ψ)
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gaussian import fit_gaussian
from linear import linear_model, solution, train
from scipy import stats

from jaxvae.baselines import fit_multivariate_t
from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.scenarios import sample_scenarios
from jaxvae.models import df_of, make_batch
from jaxvae.training.config import TrainConfig

pytestmark = pytest.mark.slow

N_ROWS, N_ASSETS, N_FACTORS, FREEDOM = 1000, 6, 2, 5.0
MODEL = linear_model(N_FACTORS, N_ASSETS, likelihood="student")
SETTINGS = {"epochs": 300, "batch_size": 250, "warmup_epochs": 0, "patience": None}
CONFIG = TrainConfig(**SETTINGS)
MANY_SAMPLES = TrainConfig(**SETTINGS, n_samples=8)


def returns(freedom):
    """Two factors and noise, multivariate t; Gaussian where ν is infinite."""
    rng = np.random.default_rng(3)
    loadings, noise = rng.normal(size=(N_ASSETS, N_FACTORS)), rng.uniform(0.5, 0.9, N_ASSETS)
    values = rng.normal(size=(N_ROWS, N_FACTORS)) @ loadings.T
    values += noise * rng.normal(size=(N_ROWS, N_ASSETS))
    if np.isfinite(freedom):
        values *= np.sqrt(freedom / rng.chisquare(freedom, size=(N_ROWS, 1)))
    return values / values.std(axis=0)


HEAVY, GAUSSIAN = returns(FREEDOM), returns(np.inf)


def multivariate_t(variables):
    """Location, scale matrix and ν of the returns at a member's parameters."""
    found = solution(MODEL, variables, make_batch(np.zeros((1, N_ASSETS))))
    freedom = float(df_of(variables))
    # The decoder's own scale at z = 0 is Ψ ν/(ν + K).
    noise = found.noise * (freedom + float(variables.factor_mask.sum())) / freedom
    return found.bias[0], found.loadings @ found.loadings.T + np.diag(noise), freedom


def exact(variables, values):
    """SciPy's log density of each row over its observed cells, at a member's parameters."""
    location, scale, freedom = multivariate_t(variables)
    seen = [np.flatnonzero(np.isfinite(row)) for row in values]
    density = stats.multivariate_t.logpdf
    return np.array(
        [
            density(row[o], location[o], scale[np.ix_(o, o)], df=freedom)
            for row, o in zip(values, seen, strict=True)
        ]
    )


def fitted(values, config):
    """A member's variables and the objective it ended at, nats a row."""
    variables, ensemble = train(MODEL, values, config=config, tile_width=1)
    return variables[0], -ensemble.history.total[0, -5:].mean()


@pytest.fixture(scope="module")
def heavy():
    return fitted(HEAVY, CONFIG)


@pytest.fixture(scope="module")
def gaussian():
    return fitted(GAUSSIAN, CONFIG)


@pytest.mark.parametrize("mask", [[1.0, 1.0], [1.0, 0.0]])
def test_log_likelihood_is_scipys_multivariate_t(heavy, mask):
    """A fifth of the cells missing; a factor that is not in use is integrated out."""
    values = np.where(np.random.default_rng(0).random((200, N_ASSETS)) < 0.2, np.nan, HEAVY[:200])
    values = values[np.isfinite(values).any(axis=1)]
    variables = heavy[0]._replace(factor_mask=jnp.array(mask))
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    estimate = run(jax.random.key(0), MODEL, variables, make_batch(values), n_samples=1024)
    error = np.asarray(estimate.value) - exact(variables, values)
    assert (np.abs(error) < 5 * np.asarray(estimate.standard_error) + 1e-3).all()
    assert abs(error.mean()) < 0.01
    assert np.min(estimate.effective_samples) > 128


def test_trained_on_a_multivariate_t_it_is_its_maximum_likelihood(heavy):
    reference = fit_multivariate_t(HEAVY)
    best = reference.log_likelihood(HEAVY).mean()
    assert best - 0.03 < exact(heavy[0], HEAVY).mean() < best
    assert fit_gaussian(HEAVY).log_likelihood(HEAVY).mean() < best - 0.3
    assert float(df_of(heavy[0])) == pytest.approx(FREEDOM, abs=1.0)


def test_trained_on_a_gaussian_nothing_is_lost(gaussian):
    best = fit_gaussian(GAUSSIAN).log_likelihood(GAUSSIAN).mean()
    assert best - 0.03 < exact(gaussian[0], GAUSSIAN).mean() < best
    assert float(df_of(gaussian[0])) > 50


def test_more_samples_give_a_tighter_bound(heavy):
    """No Gaussian encoder is the posterior of a t, so one sample leaves a gap."""
    variables, bound = fitted(HEAVY, MANY_SAMPLES)
    likelihood = exact(variables, HEAVY).mean()
    assert heavy[1] < bound < likelihood
    gap = exact(heavy[0], HEAVY).mean() - heavy[1]
    assert likelihood - bound < 0.7 * gap
    assert float(df_of(variables)) == pytest.approx(FREEDOM, abs=0.5)


def test_scenarios_are_a_multivariate_t(heavy):
    """Of covariance ν/(ν-2) (W Wᵀ + Ψ), here at ν = 12; Mahalanobis distances over D follow F."""
    decoder = {**heavy[0].parameters["decoder"], "log_df": jnp.log(10.0)}
    variables = heavy[0]._replace(parameters={**heavy[0].parameters, "decoder": decoder})
    location, scale, freedom = multivariate_t(variables)
    rows = make_batch(np.zeros((60_000, N_ASSETS)))
    run = jax.jit(sample_scenarios, static_argnames="model")
    draws = np.asarray(run(jax.random.key(0), MODEL, variables, rows), float)
    expected = freedom / (freedom - 2) * scale
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.04 * expected.max())
    white = np.linalg.solve(np.linalg.cholesky(scale), (draws - location).T)
    distances = (white**2).mean(axis=0)
    assert stats.kstest(distances, stats.f(N_ASSETS, freedom).cdf).pvalue > 0.01
