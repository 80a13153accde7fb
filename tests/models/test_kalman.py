"""Filter, smoother, ELBO and forecasts against statsmodels and against one large normal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import state_space
from kalman_bounds import expected_elbo, mean_field
from scipy import stats
from statsmodels.tsa.statespace.kalman_smoother import KalmanSmoother

from jaxvae.models import kalman
from jaxvae.models.kalman import Chain, covariances

N_ROWS, N_ASSETS, PERSISTENCE = 14, 5, (0.9, -0.4, 0.0)
N_FACTORS = len(PERSISTENCE)
VALUES, PARAMETERS = state_space.planted(0, PERSISTENCE, N_ROWS, N_ASSETS)


def incomplete(values):
    """A fifth of the cells missing, and one row with none at all."""
    holes = np.random.default_rng(1).random(values.shape) < 0.2
    values = np.where(holes, np.nan, values)
    values[3] = np.nan
    return values


LINKED = np.ones(N_ROWS)
FILTER, SMOOTHER = jax.jit(kalman.kalman_filter), jax.jit(kalman.smoother)
ELBO, DIVERGENCE = jax.jit(expected_elbo), jax.jit(kalman.expected_divergence)
COVARIANCES = jax.jit(covariances)
PANELS = {"whole": VALUES, "incomplete": incomplete(VALUES)}


@pytest.fixture(params=PANELS)
def panel(request):
    return PANELS[request.param]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def arrays(parameters, dtype=jnp.float64):
    return kalman.StateSpace(*(jnp.asarray(part, dtype) for part in parameters))


def cells(values, dtype=jnp.float64):
    """Values with nonsense in the missing cells, and which are observed."""
    observed = np.isfinite(values)
    return jnp.asarray(np.where(observed, values, 1e6), dtype), jnp.asarray(observed, dtype)


def filtered_of(values, parameters=PARAMETERS, dtype=jnp.float64):
    return FILTER(arrays(parameters, dtype), *cells(values, dtype))


def smoothed_of(values, linked=LINKED):
    return SMOOTHER(arrays(PARAMETERS), filtered_of(values), jnp.asarray(linked))


def elbo_of(values, posterior):
    return float(jnp.sum(ELBO(arrays(PARAMETERS), *cells(values), posterior)))


def joint_covariance(chain):
    """Of all rows of a chain: Cov(z_t, z_s) = gain_t Cov(z_{t+1}, z_s) for t < s."""
    marginal, gain = np.asarray(COVARIANCES(chain)), np.asarray(chain.gain)
    joint = np.zeros((N_ROWS, N_FACTORS, N_ROWS, N_FACTORS))
    for later in range(N_ROWS):
        joint[later, :, later] = part = marginal[later]
        for row in range(later - 1, -1, -1):
            part = gain[row] @ part
            joint[row, :, later], joint[later, :, row] = part, part.T
    return joint.reshape(N_ROWS * N_FACTORS, -1)


def divergence_of(chain):
    return DIVERGENCE(arrays(PARAMETERS), chain, COVARIANCES(chain))


def statsmodels(values, parameters=PARAMETERS, n_ahead=0):
    loadings, bias, noise, phi = parameters
    model = KalmanSmoother(N_ASSETS, N_FACTORS)
    model.bind(np.concatenate([values, np.full((n_ahead, N_ASSETS), np.nan)]).copy())
    model["design"], model["obs_intercept"] = loadings, bias[:, None]
    model["obs_cov"], model["transition"] = np.diag(noise), np.diag(phi)
    model["selection"], model["state_cov"] = np.eye(N_FACTORS), np.diag(1 - phi**2)
    model.initialize_known(np.zeros(N_FACTORS), np.eye(N_FACTORS))
    return model.smooth()


def squared(roots):
    return np.einsum("rik,rjk->rij", roots, roots)


def test_filter_is_statsmodels(panel):
    found, expected = filtered_of(panel), statsmodels(panel)
    np.testing.assert_allclose(found.log_likelihood, expected.llf_obs, atol=1e-9)
    np.testing.assert_allclose(found.filtered_means, expected.filtered_state.T, atol=1e-9)
    spread = expected.filtered_state_cov.transpose(2, 0, 1)
    np.testing.assert_allclose(squared(found.filtered_roots), spread, atol=1e-9)
    predicted = expected.predicted_state.T[:-1], expected.predicted_state_cov.transpose(2, 0, 1)
    np.testing.assert_allclose(found.predicted_means, predicted[0], atol=1e-9)
    np.testing.assert_allclose(squared(found.predicted_roots), predicted[1][:-1], atol=1e-9)


def test_smoother_is_statsmodels(panel):
    found, expected = smoothed_of(panel), statsmodels(panel)
    np.testing.assert_allclose(found.mean, expected.smoothed_state.T, atol=1e-9)
    spread = expected.smoothed_state_cov.transpose(2, 0, 1)
    np.testing.assert_allclose(COVARIANCES(found), spread, atol=1e-9)


def test_likelihood_is_that_of_one_large_normal(panel):
    total = float(jnp.sum(filtered_of(panel).log_likelihood))
    assert total == pytest.approx(state_space.log_density(PARAMETERS, panel), abs=1e-9)


def test_smoother_is_the_posterior_of_all_rows_together(panel):
    chain = smoothed_of(panel)
    np.testing.assert_allclose(chain.mean, state_space.posterior_mean(PARAMETERS, panel), atol=1e-9)
    expected = np.linalg.inv(state_space.precision(PARAMETERS, np.isfinite(panel)))
    np.testing.assert_allclose(joint_covariance(chain), expected, atol=1e-9)


def test_rows_that_are_not_linked_do_not_look_ahead():
    linked = np.where(np.arange(N_ROWS) == 8, 0.0, LINKED)
    whole, part = smoothed_of(VALUES, linked), statsmodels(VALUES[:9])
    np.testing.assert_allclose(whole.mean[:9], part.smoothed_state.T, atol=1e-9)
    spread = part.smoothed_state_cov.transpose(2, 0, 1)
    np.testing.assert_allclose(COVARIANCES(whole)[:9], spread, atol=1e-9)


def test_without_persistence_it_is_factor_analysis():
    loadings, bias, noise, phi = PARAMETERS
    covariance = loadings @ loadings.T + np.diag(noise)
    expected = stats.multivariate_normal.logpdf(VALUES, bias, covariance)
    found = filtered_of(VALUES, (loadings, bias, noise, 0 * phi))
    np.testing.assert_allclose(found.log_likelihood, expected, atol=1e-9)


def test_elbo_of_the_smoother_is_the_likelihood(panel):
    total = float(jnp.sum(filtered_of(panel).log_likelihood))
    assert elbo_of(panel, smoothed_of(panel)) == pytest.approx(total, abs=1e-9)


def random_chain(seed, like, size):
    """The smoother's chain with everything moved by about `size`."""
    rng = np.random.default_rng(seed)
    mean, gain, root = (part + size * rng.normal(size=part.shape) for part in jax.tree.leaves(like))
    eye = np.eye(N_FACTORS)
    root = np.tril(root, -1) + eye * np.abs(root)
    return Chain(mean, jnp.asarray(gain).at[-1].set(0.0), jnp.asarray(root))


@pytest.mark.parametrize("size", [1e-3, 0.1, 1.0])
def test_elbo_of_any_chain_is_the_dense_one_and_below_the_likelihood(panel, size):
    total = float(jnp.sum(filtered_of(panel).log_likelihood))
    for seed in range(3):
        chain = random_chain(seed, smoothed_of(panel), size)
        moments = np.asarray(chain.mean), joint_covariance(chain)
        found = elbo_of(panel, chain)
        assert found == pytest.approx(state_space.elbo(PARAMETERS, panel, *moments), rel=1e-10)
        assert found < total


def test_elbo_of_the_filter_is_below_the_likelihood(panel):
    filtered = filtered_of(panel)
    posterior = kalman.filter_posterior(filtered)
    np.testing.assert_allclose(COVARIANCES(posterior), squared(filtered.filtered_roots), atol=1e-12)
    assert elbo_of(panel, posterior) < float(jnp.sum(filtered.log_likelihood)) - 0.1


def test_the_best_mean_field_posterior_keeps_a_known_gap(panel):
    """½ [Σ ln J_ii - ln|J|] for the joint precision J, and no other independent one is better."""
    chain, observed = smoothed_of(panel), cells(panel)[1]
    best = mean_field(arrays(PARAMETERS), chain, observed)
    joint = state_space.precision(PARAMETERS, np.isfinite(panel))
    gap = 0.5 * (np.log(np.diag(joint)).sum() - np.linalg.slogdet(joint)[1])
    total = float(jnp.sum(filtered_of(panel).log_likelihood))
    reached = elbo_of(panel, kalman.independent_rows(best))
    assert total - reached == pytest.approx(gap, abs=1e-9)
    rng = np.random.default_rng(0)
    for size in (1e-2, 0.3):
        moved = best.replace(log_variance=best.log_variance + size * rng.normal(size=(N_ROWS, 3)))
        assert elbo_of(panel, kalman.independent_rows(moved)) < reached


def test_rows_that_are_not_linked_are_two_panels(panel):
    """Their ELBO is the sum of both likelihoods, and so are their best independent rows."""
    half = N_ROWS // 2
    linked = jnp.asarray(np.where(np.arange(N_ROWS) == half - 1, 0.0, LINKED))
    known, parts = arrays(PARAMETERS), np.split(panel, 2)
    filtered = [filtered_of(part) for part in parts]
    chains = [SMOOTHER(known, part, jnp.ones(half)) for part in filtered]
    both = jax.tree.map(lambda *parts: jnp.concatenate(parts), *chains)
    found = ELBO(known, *cells(panel), both, linked)
    total = sum(float(jnp.sum(part.log_likelihood)) for part in filtered)
    assert float(jnp.sum(found)) == pytest.approx(total, abs=1e-9)
    best = mean_field(known, both, cells(panel)[1], linked)
    each = [
        mean_field(known, chain, cells(part)[1]).log_variance
        for chain, part in zip(chains, parts, strict=True)
    ]
    np.testing.assert_allclose(best.log_variance, jnp.concatenate(each), atol=1e-12)


def test_divergences_are_not_negative_and_0_at_the_prior():
    nothing = np.full((N_ROWS, N_ASSETS), np.nan)
    at_prior = divergence_of(smoothed_of(nothing))
    np.testing.assert_allclose(at_prior, 0.0, atol=1e-12)
    chain = random_chain(0, smoothed_of(VALUES), 0.5)
    assert (divergence_of(chain) > 0.0).all()


def test_forecasts_from_the_last_row_are_statsmodels():
    filtered = filtered_of(VALUES)
    last = np.asarray(filtered.filtered_means[-1]), squared(filtered.filtered_roots)[-1]
    mean, covariance = state_space.forecast(PARAMETERS, *last, 4)
    expected = statsmodels(VALUES, n_ahead=4)
    np.testing.assert_allclose(mean, expected.forecasts.T[-4:], atol=1e-9)
    spread = expected.forecasts_error_cov.transpose(2, 0, 1)[-4:]
    np.testing.assert_allclose(covariance, spread, atol=1e-9)


@pytest.mark.parametrize("strength", [0.01, 1.0, 30.0])
def test_single_precision_is_enough(strength):
    """Persistence near one, from no signal to one with 3,000 times the noise's variance. Where φ is
    .999 rounding grows by 1/(1 - φ²), five hundred times: half a percent of a variance is what
    single precision leaves of it."""
    phi = (0.999, 0.99, 0.0)
    values, parameters = state_space.planted(2, phi, 300, N_ASSETS, strength)
    double = filtered_of(values, parameters)
    single = filtered_of(values, parameters, jnp.float32)
    scale = np.abs(double.log_likelihood).mean()
    np.testing.assert_allclose(
        single.log_likelihood, double.log_likelihood, atol=3e-5 * max(scale, 1.0), rtol=3e-5
    )
    chains = [SMOOTHER(arrays(parameters, one[0].dtype), one) for one in (single, double)]
    np.testing.assert_allclose(chains[0].mean, chains[1].mean, atol=2e-3)
    spread = [np.asarray(COVARIANCES(chain), float) for chain in chains]
    np.testing.assert_allclose(*spread, atol=5e-3 * np.abs(spread[1]).max())
