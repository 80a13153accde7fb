"""One member: schedules, row weights, early stopping, divergence, models of the user's own."""

import functools
import inspect
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
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
    grid,
    leaves,
    linear_gaussian,
    same_bits,
)

from jaxvae.errors import OptionError
from jaxvae.fitting.presets import PRESETS, make_preset
from jaxvae.models import Model, Variables, make_batch, standard_normal_prior
from jaxvae.models.distributions import Gaussian
from jaxvae.training import batches, member
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import train_ensemble
from jaxvae.training.objective import row_terms
from jaxvae.training.optimiser import scale_by_given_rate
from jaxvae.training.state import Data, make_hyperparameters


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
    config = replace(CONFIG, curriculum_epochs=20)
    mask = jnp.ones(4)
    open_ones = [int(member._open_factors(jnp.int32(e), mask, config).sum()) for e in range(25)]
    assert open_ones == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 10


def test_a_factor_that_is_not_open_yet_does_not_move():
    config = replace(CONFIG, curriculum_epochs=40, epochs=40)
    hyperparameters = HYPERPARAMETERS._replace(last_epoch=jnp.int32(5))
    fit = jax.jit(functools.partial(member.fit, model=MODEL, config=config))
    state, _ = fit(ROOT, DATA, hyperparameters)
    start, _ = fit(ROOT, DATA, HYPERPARAMETERS._replace(last_epoch=jnp.int32(0)))
    moved, first = (one.variables.parameters["decoder"]["skip"]["kernel"] for one in (state, start))
    assert not np.allclose(moved[0], first[0])
    np.testing.assert_array_equal(moved[1], first[1])


def test_no_epoch_before_the_schedules_have_settled_is_chosen():
    """Validation losses of the warm-up are of another objective, however small."""
    setup = member.Setup(DATA, HYPERPARAMETERS, MODEL, CONFIG)
    state, kept = member.init(ROOT, *setup), []
    for epoch, loss in ((9, 1.0), (10, 3.0), (11, 2.0), (12, 2.5)):
        state = state._replace(epoch=jnp.int32(epoch))
        state = member._keep_best(state, jnp.float32(loss), setup)
        kept.append(int(state.best_epoch))
    assert kept == [9, 10, 11, 11]
    assert CONFIG.warmup_epochs == 10


def test_more_samples_give_a_tighter_bound(fitted):
    """And at one sample the importance-weighted form is the plain one on average."""
    state, _ = fitted
    totals = {}
    for n_samples in (1, 2, 50):
        config = replace(CONFIG, n_samples=n_samples)
        said = jax.jit(
            lambda key, config=config: row_terms(
                key,
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
    setup = member.Setup(DATA, hyperparameters, MODEL, PRESETS["notebook"].train)
    for epoch in (0, 10, 49, 50, 199):
        beta, rate, *_ = member._settings(jnp.int32(epoch), setup)
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


@pytest.mark.parametrize("optimiser", [None, optax.adam(1e-2)])
def test_a_batch_without_weight_moves_nothing(optimiser):
    """Neither parameters nor the optimiser's means and count, and it sums to nothing."""
    config = replace(CONFIG, optimiser=optimiser)
    state = member.init(ROOT, DATA, HYPERPARAMETERS, MODEL, config)
    settings = member.EpochSettings(jnp.float32(1.0), jnp.float32(1e-2))
    step = jax.jit(functools.partial(member.step, model=MODEL, config=config))
    state, _ = step(ROOT, state, DATA.training, settings)
    batch = DATA.training._replace(weights=jnp.zeros(N_TRAIN))
    after, info = step(ROOT, state, batch, settings)
    assert same_bits(after, state)
    assert np.array(info).tolist() == [0.0, 0.0, 0.0]


def test_a_member_beside_a_longer_one_has_the_bits_it_has_alone():
    """Of 50 rows one member uses 16, a batch of four: in parameters, Adam's moments and its count,
    which numbers its own batches."""
    config = replace(CONFIG, patience=None, epochs=16)
    every = HYPERPARAMETERS.row_weights
    short, long = (HYPERPARAMETERS._replace(row_weights=w) for w in (every.at[16:].set(0.0), every))
    fit = jax.jit(
        jax.vmap(functools.partial(member.fit, model=MODEL, config=config), (None, None, 0))
    )

    def fitted(*members):
        found = fit(ROOT, DATA, jax.tree.map(lambda *leaves: jnp.stack(leaves), *members))
        return jax.tree.map(lambda leaf: leaf[0], found)

    (alone, _), (beside, _) = fitted(short, short), fitted(short, long)
    assert same_bits(beside, alone)
    (count,) = {int(leaf) for leaf in leaves(beside.optimiser) if leaf.dtype == np.int32}
    assert count == 16


def test_an_optimiser_of_the_users_own_is_added_as_it_is():
    """Plain descent at a rate of its own, on what the model has for parameters."""
    config = replace(CONFIG, optimiser=optax.sgd(0.05))
    state = member.init(ROOT, DATA, HYPERPARAMETERS, MODEL, config)
    settings = member.EpochSettings(jnp.float32(0.5), jnp.float32(1e-2))
    after, _ = member.step(ROOT, state, DATA.training, settings, MODEL, config)

    def objective(parameters):
        at = state.variables._replace(parameters=parameters)
        terms, _ = row_terms(ROOT, at, DATA.training, settings.beta, MODEL, config, True)
        return jnp.mean(terms.total)

    slopes = jax.grad(objective)(state.variables.parameters)
    expected = jax.tree.map(lambda p, g: p - 0.05 * g, state.variables.parameters, slopes)
    for one, other in zip(leaves(after.variables.parameters), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_default_chain_is_optaxs_own_leaf_by_leaf():
    """Clipping, Adam and decay of matrices at the epoch's rate, handed in as a chain of one's own
    and trained by tiles; a model that lets nothing decay is trained without."""
    config = replace(CONFIG, weight_decay=0.5, patience=None, epochs=6)
    matrices = functools.partial(jax.tree.map, lambda leaf: leaf.ndim > 1)
    chain = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(),
        optax.add_decayed_weights(0.5, mask=matrices),
        scale_by_given_rate(),
    )
    own = replace(config, optimiser=chain, weight_decay=0.0, clip_norm=None)
    still = MODEL._replace(decayed=functools.partial(jax.tree.map, lambda _: False))
    runs = (
        (MODEL, config),
        (MODEL, own),
        (MODEL, replace(config, weight_decay=0.0)),
        (still, config),
    )
    one, other, undecayed, unmoved = (
        train_ensemble(ROOT, DATA, grid(seeds=(0,)), *run).history.total for run in runs
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)
    np.testing.assert_allclose(unmoved, undecayed, rtol=1e-5)
    assert np.abs(one - undecayed).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("rows", [N_TRAIN, 20])
def test_training_can_be_differentiated(rows):
    """In β and the learning rate, against differences; of 20 rows two batches of four have none."""
    config = replace(CONFIG, epochs=3, patience=None, warmup_epochs=0)
    weights = HYPERPARAMETERS.row_weights.at[rows:].set(0.0)

    @jax.jit
    def final(rates):
        beta, learning_rate = rates
        changed = HYPERPARAMETERS._replace(
            beta=beta, learning_rate=learning_rate, row_weights=weights
        )
        state, losses = member.fit(ROOT, DATA, changed, MODEL, config)
        return losses.total[-1] + 1e-3 * jnp.sum(state.best_validation)

    at = jnp.array([0.5, 1e-2])
    found = jax.grad(final)(at)
    step = jnp.array([1e-2, 1e-3])
    for index, size in enumerate(step):
        moved = jnp.zeros(2).at[index].set(size)
        slope = (final(at + moved) - final(at - moved)) / (2 * size)
        assert float(found[index]) == pytest.approx(float(slope), rel=2e-2)


@pytest.mark.slow
def test_training_of_the_default_shape_can_be_differentiated():
    """Adam's root has no derivative where a parameter's gradient is 0."""
    preset = make_preset("static", n_factors=5, epochs=2)
    model = preset.model.build(N_ASSETS)
    given = make_hyperparameters(DATA, model, preset.train, learning_rate=1e-2)

    @jax.jit
    @jax.grad
    def slope(rate):
        state, _ = member.fit(ROOT, DATA, given._replace(learning_rate=rate), model, preset.train)
        return state.best_validation

    assert np.isfinite(slope(jnp.float32(1e-2)))


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
    data, config = Data(batch, make_batch(values[:0])), PRESETS["notebook"].train
    given = make_hyperparameters(data, model, config)
    state = member.init(ROOT, data, given, model, config)._replace(variables=variables)
    step = jax.jit(member.step, static_argnames=("model", "config"))
    settings = member.EpochSettings(jnp.float32(0.1), jnp.float32(1e-3))
    state, info = step(ROOT, state, batch, settings, model=model, config=config)
    moved = state.variables
    expected, losses = one_step(torch, variables, values, beta=0.1)
    constant = 40 * 50 * np.log(np.pi)
    np.testing.assert_allclose(np.array(info) - [constant, constant, 0], losses, rtol=2e-4)
    # A bias that only shifts what a batch norm centres has no gradient but rounding, which Adam
    # blows up to a full step.
    for side, layer in (("encoder", 0), ("encoder", 1), ("decoder", 0), ("decoder", 1)):
        for tree in (moved, expected):
            tree.parameters[side]["hidden"][f"dense_{layer}"].pop("bias")
    pairs = list(zip(leaves(moved), leaves(expected), strict=True))
    gaps = np.concatenate([np.abs(np.ravel(one - other)) for one, other in pairs])
    # Where a gradient is all but 0, so too a few weights: they move by less than two steps.
    assert (gaps > 2e-5).mean() < 1e-3
    assert gaps.max() < 2e-3


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
    data = Data(make_batch(values), make_batch(values[:10]))
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
        ({"reduction": "max"}, "reduction: 'max'"),
        ({"patience": 0}, "patience: 0"),
        ({"n_samples": 0}, "n_samples: 0"),
        ({"curriculum_epochs": 900}, "curriculum_epochs: 900"),
        ({"curriculum_epochs": 201}, "curriculum_epochs: 201 exceeds the 200 of epochs"),
        ({"capacity_epochs": 201}, "capacity_epochs: 201 exceeds the 200 of epochs"),
        ({"hidden_cells": 1.0}, "hidden_cells: 1.0"),
        ({"weight_decay": -1.0}, "weight_decay: -1.0"),
        ({"weight_decay": float("nan")}, "weight_decay: nan"),
        ({"clip_norm": 0.0}, "clip_norm: 0.0"),
        ({"epochs": 2**31}, "epochs: 2147483648"),
        ({"epochs": 10.0}, "epochs: 10.0 is not a whole number"),
        ({"epochs": True}, "epochs: True is not a whole number"),
        ({"patience": False}, "patience: False is not a whole number"),
        ({"batch_size": "64"}, "batch_size: '64' is not a whole number"),
        ({"optimiser": "adam"}, "optimiser: 'adam' is not"),
    ],
)
def test_wrong_configurations_are_refused(wrong, words):
    """Without the tests' own check of types."""
    with pytest.raises(OptionError, match=words):
        inspect.unwrap(TrainConfig.__init__)(object.__new__(TrainConfig), **wrong)
