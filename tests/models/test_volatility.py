"""The volatility likelihood with a linear decoder against quadrature and closed moments.

x_a = exp(½ l_a z_1) [w_a z_2 + b_a + Ψ_a^½ ε_a],   z ~ N(0, I),  ε_a ~ t_{ν_a}
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import linear_model
from scipy import stats

from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.scenarios import sample_scenarios
from jaxvae.models import make_batch

pytestmark = pytest.mark.slow

N_ROWS, N_ASSETS, N_DRAWS = 40, 3, 100_000
MODEL = linear_model(2, N_ASSETS, likelihood="volatility")
MOVES, FREEDOM = np.array([0.3, 0.6, 0.9]), np.array([6.0, 12.0, 30.0])
LOADINGS, BIAS = np.array([1.0, -0.5, 0.7]), np.array([0.1, 0.0, -0.3])
NOISE = np.array([0.3, 0.5, 0.4])


def member(loadings=LOADINGS, bias=BIAS):
    """An untrained encoder, and a decoder of known parameters."""
    variables = MODEL.initialise(jax.random.key(0), make_batch(np.zeros((1, N_ASSETS))))
    decoder = {
        "mean": {"kernel": loadings[None], "bias": bias},
        "volatility": MOVES,
        "log_df": np.log(FREEDOM - 2),
        "log_variance": np.log(NOISE),
    }
    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), decoder)
    return variables._replace(parameters={**variables.parameters, "decoder": single})


@pytest.fixture(scope="module")
def scenarios():
    return drawn(member())


def drawn(variables):
    rows = make_batch(np.zeros((N_DRAWS, N_ASSETS)))
    sampler = jax.jit(sample_scenarios, static_argnames="model")
    return np.asarray(sampler(jax.random.key(0), MODEL, variables, rows), float)


def by_quadrature(values):
    """ln ∫∫ p(x | z) p(z) dz on a grid."""
    points = np.linspace(-7, 7, 281)
    volatility, factor = (part.reshape(-1, 1) for part in np.meshgrid(points, points))
    scale = np.exp(0.5 * MOVES * volatility)
    mean, spread = scale * (factor * LOADINGS + BIAS), scale * np.sqrt(NOISE)
    prior = stats.norm.logpdf(volatility) + stats.norm.logpdf(factor)
    step = np.log(points[1] - points[0])
    joint = [stats.t.logpdf(row, FREEDOM, mean, spread).sum(axis=1) for row in values]
    return np.array([np.logaddexp.reduce(one + prior[:, 0]) for one in joint]) + 2 * step


def test_log_likelihood_agrees_with_quadrature(scenarios):
    """On draws of the model, the first of them three times as large."""
    values = scenarios[:N_ROWS] * np.where(np.arange(N_ROWS) < 5, 3.0, 1.0)[:, None]
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    estimate = run(jax.random.key(1), MODEL, member(), make_batch(values), n_samples=4000)
    error = np.asarray(estimate.value) - by_quadrature(values)
    assert (np.abs(error) < 5 * np.asarray(estimate.standard_error) + 1e-3).all()
    assert np.abs(error).mean() < 0.02
    assert np.min(estimate.effective_samples) > 500


def test_scenarios_have_the_models_moments(scenarios):
    """E x_a = e^{l_a²/8} b_a;  E x_a x_b = e^{(l_a+l_b)²/8} (w_a w_b + b_a b_b), and on the
    diagonal Ψ ν/(ν-2) more in the brackets."""
    mean = np.exp(MOVES**2 / 8) * BIAS
    inner = np.outer(LOADINGS, LOADINGS) + np.outer(BIAS, BIAS)
    inner += np.diag(NOISE * FREEDOM / (FREEDOM - 2))
    expected = np.exp((MOVES[:, None] + MOVES) ** 2 / 8) * inner - np.outer(mean, mean)
    np.testing.assert_allclose(scenarios.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(scenarios.T), expected, atol=0.03 * expected.max())


def test_volatility_gives_heavy_tails_and_is_shared():
    """Without loadings and bias, Cov(ln |x_a|, ln |x_b|) = ¼ l_a l_b, and the kurtosis is

    E x⁴/(E x²)² = e^{l_a²} 3 (ν_a-2)/(ν_a-4)
    """
    draws = drawn(member(np.zeros(N_ASSETS), np.zeros(N_ASSETS)))
    kurtosis = 3 + stats.kurtosis(draws)
    expected = 3 * np.exp(MOVES**2) * (FREEDOM - 2) / (FREEDOM - 4)
    np.testing.assert_allclose(kurtosis[1:], expected[1:], rtol=0.1)
    shared = np.cov(np.log(np.abs(draws)).T)
    apart = ~np.eye(N_ASSETS, dtype=bool)
    np.testing.assert_allclose(shared[apart], np.outer(MOVES, MOVES)[apart] / 4, atol=0.02)
    correlations = np.corrcoef(draws.T)[apart]
    assert np.abs(correlations).max() < 0.02
