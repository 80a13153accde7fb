"""One member: schedules, row weights, early stopping, divergence, models of the user's own."""

import functools
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats
from small import (
    CONFIG,
    DATA,
    FIT,
    HYPERPARAMETERS,
    MODEL,
    N_ASSETS,
    N_TRAIN,
    ROOT,
    VALUES,
    leaves,
    linear_gaussian,
    same_bits,
)

from jaxvae.errors import OptionError
from jaxvae.models import Model, Variables, make_batch, standard_normal_prior
from jaxvae.models.distributions import Gaussian
from jaxvae.study.presets import PRESETS
from jaxvae.training import batches, member, terms
from jaxvae.training.state import TrainConfig, make_data, make_hyperparameters


@pytest.fixture(scope="module")
def fitted():
    return FIT(ROOT, DATA, HYPERPARAMETERS)


def test_training_learns(fitted):
    state, losses = fitted
    assert state.ok
    assert losses.total[-1] < losses.total[0] - 1.0
    assert state.best_validation < losses.validation[0] - 1.0


def test_the_best_epoch_is_the_lowest_validation(fitted):
    state, losses = fitted
    done = int(state.epoch)
    assert int(state.best_epoch) == int(np.argmin(losses.validation[:done])) + 1
    assert float(state.best_validation) == float(np.min(losses.validation[:done]))


def test_early_stopping_waits_for_its_patience(fitted):
    state, _ = fitted
    stopped = int(state.epoch) - int(state.best_epoch) == CONFIG.patience
    assert stopped or int(state.epoch) == CONFIG.epochs


def test_a_refit_to_the_best_epoch_ends_where_the_best_was(fitted):
    state, _ = fitted
    again, _ = FIT(ROOT, DATA, HYPERPARAMETERS._replace(last_epoch=state.best_epoch))
    assert same_bits(again.variables, state.best)


def test_without_validation_rows_the_last_epoch_is_kept():
    unjudged = HYPERPARAMETERS._replace(
        validation_weights=jnp.zeros_like(HYPERPARAMETERS.validation_weights),
        last_epoch=jnp.int32(3),
    )
    state, _ = FIT(ROOT, DATA, unjudged)
    assert int(state.best_epoch) == int(state.epoch) == 3
    assert same_bits(state.best, state.variables)


def test_the_same_key_gives_the_same_bits_and_another_does_not(fitted):
    assert same_bits(FIT(ROOT, DATA, HYPERPARAMETERS)[0], fitted[0])
    assert not same_bits(FIT(jax.random.key(8), DATA, HYPERPARAMETERS)[0], fitted[0])


@pytest.mark.parametrize("left_over", [0, 1, 2, 15])
def test_rows_of_weight_zero_are_never_seen(fitted, left_over):
    """Whatever is left over for the last batch, even one row, which has no variance."""
    used = 2 * CONFIG.batch_size + left_over
    weights = HYPERPARAMETERS.row_weights.at[used:].set(0.0)
    fewer = HYPERPARAMETERS._replace(row_weights=weights)
    altered = VALUES[:N_TRAIN].copy()
    altered[used:] += 1e6
    other = DATA._replace(training=make_batch(altered))
    one, other = FIT(ROOT, DATA, fewer)[0], FIT(ROOT, other, fewer)[0]
    assert one.ok
    assert same_bits(one, other)
    assert not same_bits(one, fitted[0])


def test_a_masked_factor_carries_nothing():
    mask = jnp.array([1.0, 0.0])
    state, _ = FIT(ROOT, DATA, HYPERPARAMETERS._replace(factor_mask=mask))
    start, _ = FIT(ROOT, DATA, HYPERPARAMETERS._replace(last_epoch=jnp.int32(0)))
    moved = state.variables.parameters["decoder"]["skip"]["kernel"]
    first = start.variables.parameters["decoder"]["skip"]["kernel"]
    assert not np.allclose(moved[0], first[0])
    np.testing.assert_array_equal(moved[1], first[1])


def test_factors_unfold_one_at_a_time():
    config = replace(CONFIG, unfold_epochs=20)
    mask = jnp.ones(4)
    open_ones = [int(member._open_factors(jnp.int32(e), mask, config).sum()) for e in range(25)]
    assert open_ones == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 10


def test_a_factor_that_is_not_open_yet_does_not_move():
    config = replace(CONFIG, unfold_epochs=40, epochs=40)
    hyperparameters = HYPERPARAMETERS._replace(last_epoch=jnp.int32(5))
    fit = jax.jit(functools.partial(member.fit, model=MODEL, config=config))
    state, _ = fit(ROOT, DATA, hyperparameters)
    start, _ = fit(ROOT, DATA, HYPERPARAMETERS._replace(last_epoch=jnp.int32(0)))
    moved, first = (one.variables.parameters["decoder"]["skip"]["kernel"] for one in (state, start))
    assert not np.allclose(moved[0], first[0])
    np.testing.assert_array_equal(moved[1], first[1])


def test_no_epoch_before_the_schedules_have_settled_is_chosen():
    """Validation losses of the warm-up are of another objective, however small."""
    state = member.init(ROOT, DATA, HYPERPARAMETERS, MODEL, CONFIG)
    kept = []
    for epoch, loss in ((9, 1.0), (10, 3.0), (11, 2.0), (12, 2.5)):
        state = state._replace(epoch=jnp.int32(epoch))
        state = member._keep_best(state, jnp.float32(loss), HYPERPARAMETERS, CONFIG)
        kept.append(int(state.best_epoch))
    assert kept == [9, 10, 11, 11]
    assert CONFIG.warmup_epochs == 10


def test_more_samples_give_a_tighter_bound(fitted):
    """And at one sample the importance-weighted form is the plain one on average."""
    state, _ = fitted
    totals = {}
    for n_samples in (1, 2, 50):
        config = replace(CONFIG, n_samples=n_samples)
        n_rows = len(DATA.validation.values)
        said = jax.jit(
            lambda key, config=config, n_rows=n_rows: terms.row_terms(
                terms.draw_noise(key, n_rows, MODEL, config),
                state.best,
                DATA.validation,
                jnp.float32(1.0),
                MODEL,
                config,
                False,
            )[0]
        )
        keys = jax.random.split(jax.random.key(3), 40)
        totals[n_samples] = float(np.mean([np.mean(said(key).total) for key in keys]))
    assert totals[50] < totals[2] < totals[1]


def test_a_diverging_member_is_frozen_at_its_last_good_epoch():
    state, _ = FIT(ROOT, DATA, HYPERPARAMETERS._replace(learning_rate=jnp.float32(1e30)))
    assert not state.ok
    assert int(state.epoch) < CONFIG.epochs
    assert all(np.isfinite(leaf).all() for leaf in leaves((state.variables, state.best)))


def test_schedules_are_the_notebooks():
    hyperparameters = HYPERPARAMETERS._replace(
        beta=jnp.float32(0.1), learning_rate=jnp.float32(1e-3)
    )
    for epoch in (0, 10, 49, 50, 199):
        beta, rate = member._schedules(jnp.int32(epoch), hyperparameters, PRESETS["notebook"].train)
        assert float(beta) == pytest.approx(min(0.1, 0.1 * epoch / 50), rel=1e-6)
        expected = 1e-3 * (1 + np.cos(np.pi * epoch / 200)) / 2
        assert float(rate) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_every_row_is_visited_once_and_the_last_batch_is_short():
    weights = jnp.ones(50).at[jnp.array([3, 9])].set(0.0)
    rows, in_use = batches.shuffle(jax.random.key(0), weights, 16)
    assert rows.shape == (4, 16)
    np.testing.assert_array_equal(in_use.sum(axis=1), [16, 16, 16, 0])
    seen = np.asarray(rows)[np.asarray(in_use) > 0]
    assert sorted(seen) == sorted(set(range(50)) - {3, 9})


def orders(n_rows, n_draws, used=None):
    """Rows in random order, many times."""
    used = jnp.ones(n_rows, bool) if used is None else used
    keys = jax.random.split(jax.random.key(3), n_draws)
    return np.asarray(jax.jit(jax.vmap(batches._random_order, (0, None)))(keys, used))


def test_every_order_is_as_likely_as_any_other():
    found, counts = np.unique(orders(4, 24_000), axis=0, return_counts=True)
    assert found.shape == (24, 4)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_many_rows_are_in_no_order_either():
    """Neighbours rise as often as they fall, in 60,000 rows, whose number fills half of the bits
    that are sorted. The number of rises has variance (n + 1)/12 (Bóna 2012)."""
    (order,) = orders(60_000, 1)
    assert sorted(order) == list(range(60_000))
    rises = (np.diff(order) > 0).sum()
    assert abs(rises - 59_999 / 2) < 4 * np.sqrt(60_001 / 12)


def test_rows_in_use_come_first_in_random_order():
    used = jnp.array([False, True, False, True, True])
    found, counts = np.unique(orders(5, 6_000, used)[:, :3], axis=0, return_counts=True)
    assert sorted(map(tuple, found)) == list(itertools.permutations((1, 3, 4)))
    assert stats.chisquare(counts).pvalue > 1e-3


def test_one_step_is_the_notebooks_in_torch():
    """Loss, clipped gradient, Adam and running statistics against PyTorch's own."""
    torch = pytest.importorskip("torch")
    from torch_notebook import one_step

    model = PRESETS["notebook"].model.build(100)
    values = np.random.default_rng(0).normal(size=(40, 100))
    batch = make_batch(values)
    variables = model.initialise(jax.random.key(0), batch)
    # Draws without noise, so that both programs see the same factors.
    head = variables.parameters["encoder"]["log_variance"]
    head["kernel"], head["bias"] = jnp.zeros_like(head["kernel"]), jnp.full(5, -40.0)
    flat, unravel = ravel_pytree(variables.parameters)
    optimiser = member._optimiser(variables.parameters, PRESETS["notebook"].train, True).init(flat)
    moving = member.Moving(flat, variables.statistics, optimiser)
    step = jax.jit(member.step, static_argnames=("model", "config"))
    noise = terms.draw_noise(ROOT, 40, model, PRESETS["notebook"].train)
    rates = (jnp.float32(0.1), jnp.float32(1e-3))
    after, sums = step(
        noise, moving, batch, *rates, variables, model=model, config=PRESETS["notebook"].train
    )
    moved = Variables(unravel(after.parameters), after.statistics, variables.factor_mask)
    expected, losses = one_step(torch, variables, values, beta=0.1)
    constant = 40 * 50 * np.log(np.pi)
    np.testing.assert_allclose(np.array(sums) - [constant, constant, 0], losses, rtol=2e-4)
    # A bias that only shifts what a batch norm centres has no gradient but rounding, which Adam
    # blows up to a full step.
    for side, layer in (("encoder", 0), ("encoder", 1), ("decoder", 0), ("decoder", 1)):
        for tree in (moved, expected):
            tree.parameters[side]["hidden"][f"dense_{layer}"].pop("bias")
    for one, other in zip(leaves(moved), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def own_model():
    """A model of a user's own, in plain JAX: a linear decoder with unit noise."""

    def initialise(key, batch):
        shape = (batch.values.shape[1], 2)
        parameters = {"w": 0.1 * jax.random.normal(key, shape), "v": jnp.zeros(shape)}
        return Variables(parameters, {}, jnp.ones(2))

    def encode(variables, batch, training):
        mean = batch.values @ variables.parameters["v"]
        return Gaussian(mean, jnp.zeros_like(mean)), variables

    def decode(variables, factors, batch, training):
        mean = factors @ variables.parameters["w"].T
        return Gaussian(mean, jnp.zeros_like(mean)), variables

    return Model(2, initialise, encode, decode, standard_normal_prior)


def test_a_model_of_the_users_own_trains_the_same_way():
    model = own_model()
    hyperparameters = make_hyperparameters(DATA, model, CONFIG, learning_rate=1e-2)
    state, losses = member.fit(ROOT, DATA, hyperparameters, model, CONFIG)
    assert state.ok
    assert losses.reconstruction[-1] < losses.reconstruction[0]


def test_noiseless_data_reach_the_floor_and_no_nan():
    """Rank two, no noise: the learned variance falls, nothing overflows (Dai & Wipf 2019)."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N_TRAIN, 2)) @ rng.normal(size=(2, N_ASSETS))
    model = linear_gaussian()[0]
    data = make_data(make_batch(values), make_batch(values[:10]), CONFIG.batch_size)
    config = TrainConfig(epochs=300, batch_size=16, warmup_epochs=0, patience=None)
    hyperparameters = make_hyperparameters(data, model, config, learning_rate=3e-2)
    state, losses = jax.jit(member.fit, static_argnames=("model", "config"))(
        ROOT, data, hyperparameters, model=model, config=config
    )
    assert state.ok
    assert np.isfinite(losses.total).all()
    variance = jnp.exp(state.best.parameters["decoder"]["log_variance"])
    assert float(jnp.median(variance)) < 0.02


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"epochs": 0}, "epochs: 0"),
        ({"batch_size": 1}, "batch_size: 1"),
        ({"schedule": "step"}, "schedule: 'step'"),
        ({"reduction": "max"}, "reduction: 'max'"),
        ({"patience": 0}, "patience: 0"),
        ({"n_samples": 0}, "n_samples: 0"),
        ({"unfold_epochs": 900}, "unfold_epochs: 900"),
        ({"input_dropout": 1.0}, "input_dropout: 1.0"),
    ],
)
def test_wrong_configurations_are_refused(wrong, words):
    with pytest.raises(OptionError, match=words):
        TrainConfig(**wrong)
