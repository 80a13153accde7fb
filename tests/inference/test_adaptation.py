"""Rows for which the plain proposal is poor: importance sampling against quadrature."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from small import same_bits

from jaxvae.data.synthetic import nonlinear_panel
from jaxvae.inference import importance
from jaxvae.inference.evaluation import estimate_members, evaluate_members
from jaxvae.inference.importance import log_likelihood, posterior_mean_of_returns
from jaxvae.inference.members import Fitted
from jaxvae.models import (
    AdditiveConfig,
    Model,
    PerceptronConfig,
    Variables,
    make_batch,
    standard_normal_prior,
)
from jaxvae.models.distributions import Gaussian
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.state import Data

pytestmark = pytest.mark.slow

RUN = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
LARGEST_BIAS = 0.03
SHARED = {"widths": (16,), "normalisation": "none"}
FAMILIES = {
    "additive, one factor": AdditiveConfig(n_factors=1, degree=3, **SHARED),
    "additive, two factors": AdditiveConfig(n_factors=2, degree=3, **SHARED),
    "perceptron, two factors": PerceptronConfig(n_factors=2, **SHARED),
}


def quadrature(model, variables, values, reach, n_points):
    """log p(x) of each row on a grid, under a standard normal prior and Gaussian noise."""
    line = np.linspace(-reach, reach, n_points)
    grid = np.stack(np.meshgrid(*[line] * model.n_factors, indexing="ij"), -1)
    grid = grid.reshape(-1, model.n_factors)

    @jax.jit
    def decode(factors, batch):
        density, _ = model.decode(variables, factors, batch, False)
        return density.mean, density.log_squared_scale

    total = np.full(len(values), -np.inf)
    for part in np.array_split(grid, max(1, len(grid) // 50_000)):
        batch = make_batch(np.zeros((len(part), values.shape[1])))
        mean, log_variance = (
            np.broadcast_to(np.asarray(leaf, np.float64), (len(part), values.shape[1]))
            for leaf in decode(jnp.asarray(part, jnp.float32), batch)
        )
        precision = np.exp(-log_variance)
        distance = values**2 @ precision.T - 2 * values @ (mean * precision).T
        constant = (mean**2 * precision + log_variance + np.log(2 * np.pi)).sum(axis=1)
        prior = -0.5 * ((part**2).sum(axis=1) + model.n_factors * np.log(2 * np.pi))
        heights = -0.5 * (distance + constant) + prior
        total = np.logaddexp(total, logsumexp(heights, axis=1))
    return total + model.n_factors * np.log(line[1] - line[0])


@pytest.fixture(scope="module", params=FAMILIES.values(), ids=FAMILIES.keys())
def fitted(request):
    """A model trained for a few epochs at a small β, where posteriors are far from the encoder;
    typical rows and far ones; and their log p(x)."""
    model = request.param.build(8)
    panel = nonlinear_panel(4, n_dates=260, n_assets=8, n_factors=model.n_factors)[0]
    values = (panel.values - panel.values.mean(axis=0)) / panel.values.std(axis=0)
    data = Data(make_batch(values[:180]), make_batch(values[180:220]))
    config = TrainConfig(epochs=60, batch_size=32)
    members = member_grid((0,), (0.3,), data, model, 1e-2, config.epochs)
    ensemble = train_ensemble(jax.random.key(0), data, members, model, config)
    variables = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), ensemble.variables)
    typical, rng = values[220:], np.random.default_rng(0)
    far = np.concatenate([4 * typical[:20], 3 * rng.normal(size=(20, 8))])
    rows = np.concatenate([typical, far])
    n_points = 6001 if model.n_factors == 1 else 1201
    return model, variables, rows, quadrature(model, variables, rows, 15.0, n_points)


def test_trained_models_agree_with_quadrature(fitted):
    """Rows like those that were learned, and rows far from them, by 128 samples a row or, where
    these do not do, by 1,792."""
    model, variables, rows, truth = fitted
    errors = []
    for seed in range(3):
        bound = RUN(jax.random.key(seed), model, variables, make_batch(rows), n_samples=128)
        assert (np.asarray(bound.standard_error) < importance.LARGEST_ERROR).mean() > 0.98
        errors.append(np.asarray(bound.value, np.float64) - truth)
    errors = np.mean(errors, axis=0)
    assert abs(errors[:40].mean()) < LARGEST_BIAS
    assert abs(errors[40:].mean()) < LARGEST_BIAS


def bent(noise, curve):
    """The sum of one factor and a curve of the other is seen well, and little else: an untrained
    model whose posterior lies along a curve."""

    def encode(variables, batch, training):
        first = jnp.sqrt(jnp.maximum(batch.values[:, 0], 0.0))
        mean = jnp.stack([first, jnp.zeros_like(first)], axis=-1)
        return Gaussian(mean, jnp.zeros_like(mean)), variables

    def decode(variables, factors, batch, training):
        first, second = factors[:, 0], factors[:, 1]
        mean = jnp.stack([second + curve(first), 0.2 * first], axis=-1)
        log_variance = jnp.log(jnp.array([noise, 1.0]))
        return Gaussian(mean, jnp.broadcast_to(log_variance, mean.shape)), variables

    def initialise(key, batch):
        return Variables({}, {}, jnp.ones(2))

    return Model(2, initialise, encode, decode, standard_normal_prior)


BENT = bent(0.01, lambda z: 0.5 * z**2)
TWO_MODES = bent(0.1, lambda z: z**2)
NOTHING = Variables({}, {}, jnp.ones(2))
BENT_ROWS = np.stack([np.linspace(-2.0, 6.0, 24), np.tile([0.5, -1.0, 0.0], 8)], axis=1)


def test_both_modes_of_a_posterior_count():
    truth, batch = quadrature(TWO_MODES, NOTHING, BENT_ROWS, 8.0, 1601), make_batch(BENT_ROWS)
    bounds = [
        RUN(jax.random.key(seed), TWO_MODES, NOTHING, batch, n_samples=128) for seed in (0, 1, 2)
    ]
    errors = np.mean([np.asarray(bound.value) - truth for bound in bounds], axis=0)
    assert abs(errors.mean()) < LARGEST_BIAS
    assert np.abs(errors).max() < 0.3


def test_hard_rows_are_drawn_again_and_no_others(monkeypatch):
    key, batch = jax.random.key(1), make_batch(BENT_ROWS)
    bound = RUN(key, BENT, NOTHING, batch, n_samples=128)
    monkeypatch.setattr(importance, "EFFECTIVE_SHARE", 0.0)
    plain = jax.jit(functools.partial(log_likelihood, model=BENT, n_samples=128))
    once = plain(key, variables=NOTHING, batch=batch)
    hard = np.asarray(once.effective_samples) < 32
    assert 0.1 < hard.mean() < 0.9
    # Two programs: a narrow posterior amplifies how they round.
    np.testing.assert_allclose(once.value[~hard], bound.value[~hard], atol=1e-3)
    assert np.max(once.standard_error) > importance.LARGEST_ERROR
    assert np.max(bound.standard_error) < importance.LARGEST_ERROR


def test_members_together_say_what_one_says_alone():
    """Hard rows are drawn again pair by pair there, with the draws that they have here."""
    key, batch = jax.random.key(1), make_batch(BENT_ROWS)
    bound = RUN(key, BENT, NOTHING, batch, n_samples=128)
    two = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), NOTHING)
    members = Fitted(two, np.zeros(2, np.uint32))
    for found in (
        estimate_members(key, BENT, members, batch, 128),
        evaluate_members(key, BENT, members, batch, 128).likelihood,
    ):
        for leaf, alone in zip(found, bound, strict=True):
            np.testing.assert_array_equal(leaf[0], leaf[1])
            # Two programs: a narrow posterior amplifies how they round.
            np.testing.assert_allclose(leaf[0], alone, rtol=2e-2, atol=2e-3)


def test_a_member_for_which_most_rows_are_hard_may_be_left_as_it_is():
    """By the rows that weigh something alone: what a choice must not see has no say."""
    key, batch = jax.random.key(1), make_batch(BENT_ROWS)
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[None], NOTHING)
    members = Fitted(one, np.zeros(1, np.uint32))
    (all_again,) = evaluate_members(key, BENT, members, batch, 128).likelihood.effective_samples
    (left,) = evaluate_members(
        key, BENT, members, batch, 128, most_hard=0.0
    ).likelihood.effective_samples
    hard = left < 32
    assert 0.1 < hard.mean() < 0.9
    assert (left != all_again).tolist() == hard.tolist()
    easy_weighs = batch._replace(weights=jnp.asarray(~hard, jnp.float32))
    (found,) = evaluate_members(
        key, BENT, members, easy_weighs, 128, most_hard=0.0
    ).likelihood.effective_samples
    np.testing.assert_array_equal(found, all_again)


def test_likelihoods_of_some_rows_are_those_that_all_together_have(monkeypatch):
    """Bit for bit, by the same program; blocks with none of them are left out."""
    monkeypatch.setattr(importance, "ROWS_AT_ONCE", {"cpu": 6})
    key, batch = jax.random.key(1), make_batch(BENT_ROWS)
    members = Fitted(jax.tree.map(lambda leaf: np.asarray(leaf)[None], NOTHING), np.zeros(1, "u4"))
    every = evaluate_members(key, BENT, members, batch, 96)
    some = evaluate_members(key, BENT, members, batch, 96, asked=slice(8, 13))
    drawn_again = np.asarray(every.likelihood.effective_samples) > 96
    assert drawn_again[:, 8:13].any()
    assert not drawn_again.all()
    for found, expected in zip(some.likelihood, every.likelihood, strict=True):
        np.testing.assert_array_equal(found[:, 8:13], expected[:, 8:13])
        assert np.isnan(found).all(axis=0).tolist() == [True] * 6 + [False] * 12 + [True] * 6
    np.testing.assert_array_equal(some.factors, every.factors)


def test_draws_are_a_row_s_own_and_the_same_for_the_same_key():
    """Whether other rows are hard changes nothing: a choice on validation dates must not see the
    test part by the draws."""
    key, batch = jax.random.key(1), make_batch(BENT_ROWS)
    bound = RUN(key, BENT, NOTHING, batch, n_samples=128)
    assert same_bits(bound, RUN(key, BENT, NOTHING, batch, n_samples=128))
    others = BENT_ROWS.copy()
    others[12:] = 0.1
    found = RUN(key, BENT, NOTHING, make_batch(others), n_samples=128)
    assert same_bits([leaf[:12] for leaf in found], [leaf[:12] for leaf in bound])


def test_means_under_the_posterior_of_hard_rows_agree_with_quadrature():
    rows = np.stack([np.full(6, np.nan), np.linspace(-1.0, 1.0, 6)], axis=1)
    rows = np.concatenate([rows, BENT_ROWS[-6:]])
    found, _ = jax.jit(posterior_mean_of_returns, static_argnums=(1, 4))(
        jax.random.key(0), TWO_MODES, NOTHING, make_batch(rows), 128
    )
    line = np.linspace(-8, 8, 1601)
    first, second = np.meshgrid(line, line, indexing="ij")
    mean = second + first**2
    for row, said in zip(rows[-6:], np.asarray(found)[-6:], strict=True):
        height = -0.5 * ((row[0] - mean) ** 2 / 0.1 + (row[1] - 0.2 * first) ** 2)
        weight = np.exp(height - 0.5 * (first**2 + second**2))
        expected = [(weight * part).sum() / weight.sum() for part in (mean, 0.2 * first)]
        np.testing.assert_allclose(said, expected, atol=0.1)
