"""log p(x) against closed forms and quadrature, whatever the encoder is worth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import sampled
from scipy import stats
from small import DATA, VALUES, linear_gaussian

from jaxvae.inference import importance
from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.modes import posterior_modes
from jaxvae.models import Model, Variables, make_batch, standard_normal_prior
from jaxvae.models.distributions import Gaussian

RUN = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
ALL = jnp.ones(1)


@pytest.fixture(scope="module")
def linear():
    model, *known = linear_gaussian()
    return sampled(model), *known


def exact(linear, values):
    """Each row's Gaussian log density over its observed cells."""
    _, _, loadings, bias, variance = linear
    covariance = loadings @ loadings.T + np.diag(variance)
    seen = [np.flatnonzero(np.isfinite(row)) for row in values]
    return np.array(
        [
            stats.multivariate_normal.logpdf(row[o], bias[o], covariance[np.ix_(o, o)])
            for row, o in zip(values, seen, strict=True)
        ]
    )


def test_linear_decoder_gives_the_gaussian_likelihood(linear):
    model, variables, *_ = linear
    estimate = RUN(jax.random.key(0), model, variables, make_batch(VALUES), n_samples=512)
    error = np.asarray(estimate.value) - exact(linear, VALUES)
    assert abs(error.mean()) < 0.01
    assert (np.abs(error) < 6 * np.asarray(estimate.standard_error) + 0.01).all()
    assert np.min(estimate.effective_samples) > 200


def test_blocks_of_rows_are_scored_alike_and_see_no_other(linear, monkeypatch):
    """Rows in a last block that is not full, and those of a block that others follow."""
    monkeypatch.setitem(importance.ROWS_AT_ONCE, "cpu", 16)
    model, variables, *_ = linear
    run = jax.jit(lambda batch: log_likelihood(jax.random.key(0), model, variables, batch, 256))
    values = VALUES[: 2 * 16 + 5]
    found = run(make_batch(values))
    error = np.asarray(found.value) - exact(linear, values)
    assert error.shape == (37,)
    assert (np.abs(error) < 6 * np.asarray(found.standard_error) + 0.01).all()
    others = values.copy()
    others[16:] *= -1.0
    again = run(make_batch(others))
    np.testing.assert_array_equal(found.value[:16], again.value[:16])
    assert (found.value[16:] != again.value[16:]).any()


def test_missing_cells_are_integrated_out(linear):
    model, variables, *_ = linear
    values = VALUES.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.3] = np.nan
    values = values[np.isfinite(values).any(axis=1)]
    estimate = RUN(jax.random.key(0), model, variables, make_batch(values), n_samples=512)
    assert abs(np.mean(estimate.value - exact(linear, values))) < 0.01


def test_a_masked_factor_is_gone(linear):
    model, variables, loadings, bias, variance = linear
    one = (model, variables, loadings * [1.0, 0.0], bias, variance)
    variables = variables._replace(factor_mask=jnp.array([1.0, 0.0]))
    estimate = RUN(jax.random.key(0), model, variables, make_batch(VALUES), n_samples=512)
    assert abs(np.mean(estimate.value - exact(one, VALUES))) < 0.01


def test_both_modes_are_the_exact_posterior(linear):
    model, variables, loadings, bias, variance = linear
    find = jax.jit(posterior_modes, static_argnames="model")
    modes = find(model, variables, DATA.training)
    precision = np.eye(2) + (loadings / variance[:, None]).T @ loadings
    values = np.asarray(DATA.training.values)
    mean = np.linalg.solve(precision, (loadings / variance[:, None]).T @ (values - bias).T).T
    found = modes.cholesky @ jnp.swapaxes(modes.cholesky, 2, 3)
    np.testing.assert_allclose(modes.mean, np.stack([mean, mean]), atol=2e-3)
    np.testing.assert_allclose(found, np.broadcast_to(precision, found.shape), rtol=1e-4, atol=1e-4)


def curved_model():
    """One factor whose square moves half the assets: a posterior that is far from normal."""

    def encode(variables, batch, training):
        zeros = jnp.zeros((batch.values.shape[0], 1))
        return Gaussian(zeros, zeros), variables

    def decode(variables, factors, batch, training):
        mean = jnp.concatenate([factors + 0.3, 0.7 * factors**2 - 0.7, factors**3], axis=-1)
        return Gaussian(mean, jnp.full_like(mean, jnp.log(0.3))), variables

    def initialise(key, batch):
        return Variables({}, {}, ALL)

    return Model(1, initialise, encode, decode, standard_normal_prior)


def test_a_nonlinear_decoder_agrees_with_quadrature():
    model, rng = curved_model(), np.random.default_rng(0)
    z = rng.normal(size=(40, 1))
    means = np.concatenate([z + 0.3, 0.7 * z**2 - 0.7, z**3], axis=1)
    values = means + np.sqrt(0.3) * rng.normal(size=means.shape)
    points = np.linspace(-8, 8, 8001)[:, None]
    curve = np.concatenate([points + 0.3, 0.7 * points**2 - 0.7, points**3], axis=1)
    density = stats.norm.logpdf(values[:, None, :], curve[None], np.sqrt(0.3)).sum(axis=2)
    density = density + stats.norm.logpdf(points[:, 0])
    truth = np.log(np.exp(density).sum(axis=1) * (points[1, 0] - points[0, 0]))
    variables = Variables({}, {}, ALL)
    estimate = RUN(jax.random.key(0), model, variables, make_batch(values), n_samples=4000)
    gap = np.abs(np.asarray(estimate.value) - truth)
    assert (gap < 5 * np.asarray(estimate.standard_error) + 1e-3).all()
    assert np.median(gap) < 0.05


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples():
    """But for one weight a row and sample, here twice: as they come and put together."""
    model, variables, *_ = linear_gaussian()
    model = sampled(model)
    batch = make_batch(np.tile(VALUES, (20, 1)))
    key = jax.random.key(0)
    sizes = {}
    for n_samples in (32, 1024):
        program = RUN.lower(key, model, variables, batch, n_samples=n_samples).compile()
        sizes[n_samples] = program.memory_analysis().temp_size_in_bytes
    weights = 4 * (1024 - 32) * len(batch.values)
    assert sizes[1024] - sizes[32] < 3.5 * weights


@pytest.mark.parametrize("n_samples", [1, 2, 3, 7])
def test_few_samples_are_as_many_as_asked_for(n_samples):
    """Fewer than the proposal has components: each gets its share or none."""
    key, variables = jax.random.key(0), Variables({}, {}, ALL)
    bound = RUN(key, curved_model(), variables, make_batch(VALUES[:4, :3]), n_samples=n_samples)
    assert bound.value.shape == (4,)
    assert np.isfinite(bound.value).all()
    assert (np.asarray(bound.effective_samples) <= 1792).all()
