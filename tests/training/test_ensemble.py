"""Many members: the same bits wherever a member stands, one compiled program, refusals."""

import inspect
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from launch import ended, launch, train_small
from small import CONFIG, DATA, FIT, HYPERPARAMETERS, MODEL, ROOT, grid, same_bits, trained

from jaxvae.errors import OptionError
from jaxvae.runs.checkpoint import load_tree, restore
from jaxvae.training import ensemble
from jaxvae.training.ensemble import Ensemble, member_grid, member_key, train_ensemble
from jaxvae.training.tiles import tile_program


@pytest.fixture(scope="module")
def four():
    return trained(grid())


def member(result, index):
    """All that an ensemble holds of one member."""
    return jax.tree.map(lambda leaf: leaf[index], result)


def test_a_member_alone_has_the_bits_it_has_in_a_grid(four):
    alone = trained(grid(seeds=(1,), betas=(1.0,)))
    assert same_bits(member(alone, 0), member(four, 3))


def test_a_member_has_its_bits_in_any_slot(four):
    turned = trained(grid(seeds=(5, 1, 0), betas=(2.0, 1.0, 0.5)))
    for seed, beta, before, after in ((0, 0.5, 0, 8), (1, 0.5, 1, 7), (1, 1.0, 3, 4)):
        hyperparameters = four.members.hyperparameters
        assert (four.members.seed[before], hyperparameters.beta[before]) == (seed, beta)
        assert same_bits(member(turned, after), member(four, before))


def test_members_differ(four):
    assert not same_bits(member(four.variables, 0), member(four.variables, 1))
    assert not same_bits(member(four.variables, 0), member(four.variables, 2))


def test_a_run_twice_is_the_same_run(four):
    assert same_bits(trained(grid()), four)


def assert_close(one, other):
    """Rounding apart, which grows as training goes on."""
    np.testing.assert_allclose(one.history.total[:, :5], other.history.total[:, :5], rtol=1e-5)
    np.testing.assert_allclose(one.history.total, other.history.total, rtol=1e-3)
    assert (one.best_epoch == other.best_epoch).all()


@pytest.mark.slow
def test_one_device_agrees_with_two(four):
    assert len(jax.local_devices()) == 2
    assert_close(trained(grid(), devices=(jax.local_devices()[0],)), four)


@pytest.mark.slow
def test_another_tile_width_agrees_closely(four):
    assert_close(trained(grid(), tile_width=2), four)


@pytest.mark.slow
@pytest.mark.usefixtures("compilation_cache")
def test_four_devices_give_the_bits_of_two_and_the_cache_changes_nothing(four, tmp_path):
    """The first process compiles and fills the cache, the second finds all in it."""
    cache, sizes = tmp_path / "programs", []
    for name in ("cold", "warm"):
        assert ended(launch(train_small, 4, tmp_path / name, cache)) == 0
        assert same_bits(restore(Ensemble, load_tree(tmp_path / name).tree), four)
        sizes.append(len(list(cache.glob("jit__advance-*-cache"))))
    assert sizes[0] == sizes[1] > 0


def test_a_member_is_the_pure_function_of_its_key(four):
    key = member_key(ROOT, jnp.uint32(1), HYPERPARAMETERS.beta)
    state, losses = FIT(key, DATA, HYPERPARAMETERS)
    np.testing.assert_allclose(four.history.total[3, :5], losses.total[:5], rtol=1e-4)
    assert abs(int(state.best_epoch) - int(four.best_epoch[3])) <= CONFIG.epochs


def test_a_diverging_member_leaves_the_others_alone(four):
    rates = np.array([1e-2, 1e30, 1e-2, 1e-2], np.float32)
    mixed = trained(grid(learning_rate=rates))
    assert mixed.ok.tolist() == [True, False, True, True]
    for index in (0, 2, 3):
        assert same_bits(member(mixed.variables, index), member(four.variables, index))


def test_one_program_serves_every_grid(four):
    """What varies over members is data: other grids, rows and rates do not compile again."""
    program = tile_program(ensemble._advance, tuple(jax.local_devices()), MODEL, CONFIG)
    before = len(program.compiled)
    weights = np.ones((2, DATA.training.values.shape[0]), np.float32)
    weights[:, 30:] = 0.0
    trained(grid(seeds=(3, 4), betas=(0.25,), row_weights=weights))
    assert len(program.compiled) == before


def test_history_ends_where_a_member_stopped(four):
    for index, epochs in enumerate(four.epochs):
        assert np.isfinite(four.history.total[index, :epochs]).all()
        assert np.isnan(four.history.total[index, epochs:]).all()


def test_progress_reaches_every_member():
    seen = []
    trained(grid(seeds=range(9), betas=(1.0,)), tile_width=4, on_progress=seen.append)
    where = [(p.done, p.in_work, p.members) for p in seen]
    assert list(dict.fromkeys(where)) == [(0, 8, 9), (8, 0, 9), (8, 1, 9), (9, 0, 9)]
    for place, edge in enumerate(seen):
        # Trained and about to be finished, at the last edge before a tile is done.
        assert edge.is_finishing == (edge.in_work > 0 and seen[place + 1].in_work == 0)


def test_what_progress_raises_ends_the_run():
    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(grid(), on_progress=stop)


def test_other_kinds_of_keys_are_refused():
    for root in (jax.random.key(0, impl="rbg"), jax.random.PRNGKey(0)):
        with pytest.raises(OptionError, match="threefry"):
            train_ensemble(root, DATA, grid(), MODEL, CONFIG)


def test_a_members_key_is_its_own():
    keys = {
        jax.random.key_data(member_key(ROOT, jnp.uint32(seed), jnp.float32(beta))).tobytes()
        for seed in range(20)
        for beta in (0.0, 0.1, 0.5, 1.0, 1.0000001, 4.0)
    }
    assert len(keys) == 120


@pytest.mark.parametrize(
    ("seeds", "betas", "words"),
    [
        ((), (1.0,), "seeds: none is given"),
        ((0,), (), "betas: none is given"),
        ((-1,), (1.0,), "seeds: -1 is too small"),
        ((2**32,), (1.0,), "seeds: 4294967296 is too large"),
        ((0.0,), (1.0,), "seeds: 0.0 is not a whole number"),
        ((True,), (1.0,), "seeds: True is not a whole number"),
        (range(2**32 + 1), (1.0,), "seeds: too many"),
        (range(10**30), (1.0,), "seeds: too many"),
        ((0, 0), (1.0,), "seeds: .* names one twice"),
        ((0,), (float("nan"),), "betas: nan is not finite"),
        ((0,), (-1.0,), "betas: -1.0 is too small"),
        ((0,), (1e39,), r"betas: 1e\+39 is too large"),
        ((0,), (1e-46,), r"betas: 1e-46 is 0 in float32"),
        ((0,), (True,), "betas: True is not a number"),
        ((0,), (1.0, 1.0 + 1e-12), "betas: .* names one twice"),
    ],
)
def test_wrong_grids_are_refused(seeds, betas, words):
    with pytest.raises(OptionError, match=words):
        inspect.unwrap(ensemble.check_grid)(seeds, betas)


def test_seeds_that_float32_cannot_tell_apart_are_two():
    members = member_grid((16777216, 16777217, 2**32 - 1), (1.0,), DATA, MODEL, 1e-3, 10)
    assert members.seed.tolist() == [16777216, 16777217, 2**32 - 1]


@pytest.mark.parametrize("wrong", [{"epochs": 2**31}, {"epochs": 1.5}, {"learning_rate": -1.0}])
def test_wrong_settings_of_a_grid_are_refused(wrong):
    (name,), settings = wrong, {"learning_rate": 1e-3, "epochs": 10, **wrong}
    with pytest.raises(OptionError, match=f"^{name}: "):
        inspect.unwrap(member_grid)((0,), (1.0,), DATA, MODEL, **settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": np.array([0.0, 1.0])}, "seeds: an array of float64"),
        ({"seed": np.array([0, 2**32])}, "seeds: an array of int64"),
        ({"beta": np.array([1.0, 1e39])}, "betas: .* must be finite"),
        ({"beta": np.array([1.0, -1.0], np.float32)}, "betas: .* not negative"),
    ],
)
def test_wrong_tables_are_refused(changes, words):
    members = member_grid((0, 1), (1.0,), DATA, MODEL, 1e-3, 10)
    if "beta" in changes:
        changes = {"hyperparameters": members.hyperparameters._replace(**changes)}
    with pytest.raises(OptionError, match=words):
        train_ensemble(ROOT, DATA, members._replace(**changes), MODEL, CONFIG)


def test_no_member_runs_beyond_the_epochs_asked_for():
    """Though a chunk reaches beyond them: 30 epochs are a chunk and a half, and the learning rate,
    which has come to 0, would rise again."""
    config = replace(CONFIG, epochs=30, patience=None)
    members = grid(seeds=(0,), betas=(1.0,), last_epoch=np.array([1000], np.int32))
    long = train_ensemble(ROOT, DATA, members, MODEL, config)
    asked = grid(seeds=(0,), betas=(1.0,), last_epoch=np.array([30], np.int32))
    assert long.epochs.tolist() == [30]
    assert long.history.total.shape == (1, 30)
    assert same_bits(long[1:], train_ensemble(ROOT, DATA, asked, MODEL, config)[1:])
