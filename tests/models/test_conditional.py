"""Priors and noise that see the conditions: closed forms, identifiability, and where they start."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import kernel_of, linear_model, sampled, train
from scipy import stats

from jaxvae.analysis.matching import match
from jaxvae.errors import OptionError
from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.scenarios import implied_covariance, sample_scenarios
from jaxvae.models import ConditionalConfig, factors_used, make_batch
from jaxvae.models.static import LARGEST_LOG_VARIANCE
from jaxvae.training.config import TrainConfig
from jaxvae.training.objective import row_terms

pytestmark = pytest.mark.slow

N_ASSETS, N_FACTORS, N_CONDITIONS = 5, 2, 2
PARTS = ("encoder", "decoder", "prior", "noise")
MODEL = linear_model(N_FACTORS, N_ASSETS, n_conditions=N_CONDITIONS, conditioned=PARTS)
RNG = np.random.default_rng(4)
CONDITIONS = RNG.normal(size=(30, N_CONDITIONS))
BATCH = make_batch(RNG.normal(size=(30, N_ASSETS)), CONDITIONS)
SLOPES = {
    "mean": np.array([[0.5, -0.2], [0.0, 0.4]]),
    "log_variance": np.array([[0.8, -0.6], [0.3, 0.1]]),
}
NOISE_SLOPES = RNG.normal(scale=0.4, size=(N_CONDITIONS, N_ASSETS))


def moved(model=MODEL):
    """An untrained member with slopes of prior and noise that are not 0."""
    variables = model.initialise(jax.random.key(1), BATCH)
    single = {name: jnp.asarray(part, jnp.float32) for name, part in SLOPES.items()}
    if "prior" in variables.parameters:
        variables.parameters["prior"] = single
    if "noise_slopes" in variables.parameters["decoder"]:
        variables.parameters["decoder"]["noise_slopes"] = jnp.asarray(NOISE_SLOPES, jnp.float32)
    return variables


def closed_form(variables, conditions):
    """Mean and covariance of x given c: W μ(c) + B c + b and W diag σ²(c) Wᵀ + Ψ(c)."""
    decoder = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables.parameters["decoder"])
    kernel = kernel_of(decoder)
    loadings = kernel[:N_FACTORS].T
    mean = conditions @ SLOPES["mean"] @ loadings.T
    mean += conditions @ kernel[N_FACTORS:] + decoder["mean"]["bias"]
    variances = np.exp(conditions @ SLOPES["log_variance"])
    noises = (np.exp(decoder["log_variance"]) + 1e-6) * np.exp(conditions @ NOISE_SLOPES)
    pairs = zip(variances, noises, strict=True)
    return mean, np.stack([loadings * v @ loadings.T + np.diag(n) for v, n in pairs])


def test_the_first_prior_is_standard_normal_and_the_noise_unmoved():
    variables = MODEL.initialise(jax.random.key(0), BATCH)
    zeros = jnp.zeros((30, N_FACTORS))
    prior = MODEL.prior(variables, zeros, BATCH)
    assert not np.any(prior.mean)
    assert not np.any(prior.log_variance)
    noise = MODEL.decode(variables, zeros, BATCH, False)[0].log_variance
    np.testing.assert_array_equal(noise, np.tile(noise[:1], (30, 1)))


def said(model, conditions):
    """By part: what the model says under conditions, all else equal."""
    variables, factors = moved(model), jnp.ones((30, N_FACTORS))
    batch = make_batch(np.asarray(BATCH.values), conditions)
    observation, _ = model.decode(variables, factors, batch, False)
    return {
        "encoder": model.encode(variables, batch, False)[0].mean,
        "decoder": observation.mean,
        "noise": observation.log_variance,
        "prior": model.prior(variables, factors, batch).log_variance,
    }


@pytest.mark.parametrize("seeing", [(), *((part,) for part in PARTS), ("encoder", "prior"), PARTS])
def test_only_what_is_named_sees_the_conditions(seeing):
    model = linear_model(N_FACTORS, N_ASSETS, n_conditions=N_CONDITIONS, conditioned=seeing)
    one, other = said(model, CONDITIONS), said(model, CONDITIONS + 1.0)
    changed = {part for part in PARTS if not np.array_equal(one[part], other[part])}
    assert changed == set(seeing)


def test_likelihood_is_that_of_the_closed_form():
    variables = moved()
    means, covariances = closed_form(variables, CONDITIONS)
    rows = zip(np.asarray(BATCH.values, float), means, covariances, strict=True)
    exact = [stats.multivariate_normal.logpdf(*row) for row in rows]
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    known = run(jax.random.key(0), MODEL, variables, BATCH, n_samples=8).value
    np.testing.assert_allclose(known, exact, rtol=1e-4)
    estimate = run(jax.random.key(0), sampled(MODEL), variables, BATCH, n_samples=512)
    error = np.asarray(estimate.value) - exact
    assert (np.abs(error) < 5 * np.asarray(estimate.standard_error) + 1e-4).all()
    assert np.abs(error.mean()) < 0.01


def test_scenarios_and_covariance_are_those_of_the_closed_form():
    variables, n = moved(), 40_000
    where = np.array([[1.5, -1.0]])
    (mean,), (covariance,) = closed_form(variables, where)
    under = make_batch(np.zeros((n, N_ASSETS)), np.tile(where, (n, 1)))
    draws = np.asarray(sample_scenarios(jax.random.key(0), MODEL, variables, under), float)
    error = 5 * np.sqrt(np.diag(covariance) / n)
    assert (np.abs(draws.mean(axis=0) - mean) < error).all()
    spread = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)) / n)
    assert (np.abs(np.cov(draws.T) - covariance) < 7 * spread).all()
    known = implied_covariance(jax.random.key(1), MODEL, variables, under)
    np.testing.assert_allclose(known[0], mean, rtol=1e-4)
    np.testing.assert_allclose(known[1], covariance, rtol=1e-4)
    implied = implied_covariance(jax.random.key(1), sampled(MODEL), variables, under)
    assert (np.abs(np.asarray(implied[1]) - covariance) < 7 * spread).all()


def test_kl_is_to_the_prior_of_the_row():
    """Against a Monte-Carlo mean of log q - log p."""
    variables, config = moved(), TrainConfig()
    key = jax.random.key(0)
    terms, _ = row_terms(key, variables, BATCH, jnp.float32(1.0), MODEL, config, False)
    posterior, _ = MODEL.encode(variables, BATCH, False)

    def ratio(key):
        factors = posterior.sample(key)
        used = factors_used(variables, factors)
        prior = MODEL.prior(variables, factors, BATCH)
        return posterior.log_prob(factors, used) - prior.log_prob(factors, used)

    ratios = np.asarray(jax.vmap(ratio)(jax.random.split(jax.random.key(2), 4000)))
    error = ratios.std(axis=0) / 4000**0.5
    assert (np.abs(ratios.mean(axis=0) - np.asarray(terms.kl)) < 5 * error).all()


def test_a_date_far_from_all_others_does_not_overflow():
    batch = make_batch(np.zeros((1, N_ASSETS)), np.full((1, N_CONDITIONS), 1e6))
    prior = MODEL.prior(moved(), jnp.zeros((1, N_FACTORS)), batch)
    assert np.abs(prior.log_variance).max() == LARGEST_LOG_VARIANCE
    assert np.isfinite(MODEL.decode(moved(), prior.mean, batch, False)[0].log_variance).all()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"conditioned": ("weather",)}, "conditioned: 'weather'"),
        ({"conditioned": ("noise",), "noise": "fixed"}, "does not go with noise fixed"),
        ({"sectors": (0, -1)}, "sectors: -1 is too small"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong, words):
    with pytest.raises(OptionError, match=words):
        ConditionalConfig(**wrong)


def test_a_sector_for_each_asset():
    with pytest.raises(OptionError, match="2 for 3 assets"):
        ConditionalConfig(sectors=(0, 1)).build(3)


# Identifiability: variances that move with a known index tell the axes


N_ROWS = 1200
INDEX = np.repeat([-1.0, 1.0], N_ROWS // 2)[:, None]
TURN = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2.0)


def turned_panel(slope):
    """Two factors of equal variance over all rows, exp(±slope) in either half, through loadings
    whose principal directions are not the factors'."""
    rng = np.random.default_rng(8)
    scale = np.exp(0.5 * slope * INDEX * np.array([1.0, -1.0])) / np.cosh(slope) ** 0.5
    factors = rng.normal(size=(N_ROWS, 2)) * scale
    directions = np.linalg.qr(rng.normal(size=(4, 2)))[0] * [2.0, 1.2]
    values = factors @ (directions @ TURN).T + 0.3 * rng.normal(size=(N_ROWS, 4))
    return values, factors


def matched(values, factors, conditioned):
    """Matched correlation of a trained member's factors with the planted ones."""
    model = linear_model(2, 4, "scalar", n_conditions=1, conditioned=conditioned)
    variables, _ = train(model, values, conditions=INDEX, tile_width=1)
    learned = model.encode(variables[0], make_batch(values, INDEX), False)[0]
    correlations = match(np.asarray(learned.mean, float), factors).correlations
    return np.abs(correlations).mean(), variables[0], learned, model


@pytest.fixture(scope="module")
def identified():
    values, factors = turned_panel(1.2)
    return matched(values, factors, ("encoder", "prior"))


def test_a_prior_that_sees_the_index_finds_the_axes(identified):
    """Where N(0, I) takes the principal axes, an eighth of a turn away (Khemakhem et al. 2020)."""
    values, factors = turned_panel(1.2)
    blind = matched(values, factors, ("encoder",))[0]
    assert identified[0] > 0.95
    assert blind < 0.85


def test_the_priors_slopes_are_the_planted_ones(identified):
    slopes = np.sort(np.asarray(identified[1].parameters["prior"]["log_variance"][0]))
    np.testing.assert_allclose(slopes, [-1.2, 1.2], atol=0.2)


def test_without_variances_that_move_nothing_is_gained():
    values, factors = turned_panel(0.0)
    assert matched(values, factors, ("encoder", "prior"))[0] < 0.85


def test_the_trained_priors_kl_is_what_training_reports(identified):
    _, variables, posterior, model = identified
    values, _ = turned_panel(1.2)
    batch, config = make_batch(values, INDEX), TrainConfig()
    key = jax.random.key(0)
    terms, _ = row_terms(key, variables, batch, jnp.float32(1.0), model, config, False)
    prior = model.prior(variables, posterior.mean, batch)
    expected = np.asarray(posterior.factor_kl(prior, jnp.ones_like(posterior.mean))).sum(axis=1)
    np.testing.assert_allclose(terms.kl, expected, rtol=1e-4, atol=1e-5)
