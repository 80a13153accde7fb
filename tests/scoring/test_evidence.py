"""Number of factors, spectrum and rankings of whole studies: on noise, and on planted factors."""

import logging
from dataclasses import replace

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from jaxvae.analysis.n_factors import held_out_gains
from jaxvae.analysis.ranking import LEAST_GAIN
from jaxvae.data.synthetic import linear_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.fit import Choice, choose, train_grid
from jaxvae.fitting.prepare import prepare
from jaxvae.scoring.align import align
from jaxvae.scoring.evidence import rankings_table, spectrum_table, tabulate_n_factors
from jaxvae.selection import count_factors
from jaxvae.selection.count_factors import Sweep, sizes_tried, sweep_factors

pytestmark = pytest.mark.slow

CONFIG = StudyConfig(
    seeds=3,
    betas=(0.5, 30.0),
    n_factors=4,
    model="static",
    epochs=60,
    likelihood_samples=32,
    root_seed=1,
)
PANEL, _ = linear_panel(3, n_dates=400, n_assets=30, n_factors=2, n_sectors=4)


def fitted(panel, config=CONFIG):
    prepared = prepare(panel, config)
    grid = train_grid(prepared, lambda progress: None)
    chosen = choose(grid, prepared)
    sweep = sweep_factors(prepared, grid, chosen, lambda progress: None)
    return prepared, grid, chosen, sweep


@pytest.fixture(scope="module")
def planted():
    return fitted(PANEL)


@pytest.fixture(scope="module")
def exact():
    """As many factors as there are: with more, factor analysis copies single assets."""
    config = replace(CONFIG, n_factors=2)
    prepared = prepare(PANEL, config)
    return prepared, train_grid(prepared, lambda progress: None), config


def noise(seed):
    values = 0.02 * np.random.default_rng(seed).normal(size=PANEL.values.shape)
    return replace(PANEL, values=values, reference=None)


@pytest.fixture(
    scope="module", params=[0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def unplanted(request):
    return fitted(noise(request.param))


def number(table, name):
    return int(table[table.name == name].factors.iloc[0])


def test_pure_noise_has_no_factors(unplanted):
    """Neither by the verdict nor by a gain in held-out likelihood beyond its error."""
    prepared, _, _, sweep = unplanted
    table = tabulate_n_factors(prepared, sweep)
    assert number(table, "verdict") == 0
    assert number(table, "held_out") == 0
    sizes = table[table.kind == "size"].iloc[1:]
    assert ((sizes.low <= 0) | sizes.low.isna()).all()
    assert (sizes.low.isna() == (sizes.active_units <= 0.5)).all()


def test_planted_factors_are_counted(planted):
    prepared, _, _, sweep = planted
    table = tabulate_n_factors(prepared, sweep)
    assert number(table, "verdict") == 2
    # The highest mean score may fall to a third factor, but by no more than its error and what
    # matters.
    gain = held_out_gains(np.random.default_rng(0), sweep.log_likelihood.mean(axis=1)[[2, 3]])[1]
    assert number(table, "held_out") == (2 if gain.mean < 0 else 3)
    assert gain.low < LEAST_GAIN
    sizes = table[table.kind == "size"].set_index("factors")
    assert sizes.index.tolist() == [0, 1, 2, 3, 4]
    assert sizes.low[2] > 0
    np.testing.assert_allclose(sizes.gain, sizes.log_likelihood - sizes.log_likelihood[0])
    assert (sizes.active_units <= sizes.index).all()
    assert sizes.active_units[:2].tolist() == [0, 1]


def test_members_of_all_factors_are_the_grids(planted):
    prepared, grid, chosen, sweep = planted
    own = np.asarray(grid.evaluation.likelihood.value)[chosen.seeds][:3]
    np.testing.assert_array_equal(sweep.log_likelihood[4], own[:, prepared.split.validation])


def test_members_without_factors_are_the_best_constant(planted):
    """Independent Gaussians by asset, of the training rows."""
    prepared, _, _, sweep = planted
    train = prepared.values[prepared.split.train]
    later = (prepared.values[prepared.split.validation] - train.mean(0)) / train.std(0)
    expected = -0.5 * (later**2 + np.log(2 * np.pi)).sum(axis=1) - np.log(train.std(0)).sum()
    np.testing.assert_allclose(sweep.log_likelihood[0], np.tile(expected, (3, 1)))


def test_noise_of_every_likelihood_has_a_constant_of_its_kind():
    """Student-t: the tails of a date are shared; "volatility": every asset has its own."""
    rng = np.random.default_rng(0)
    scores = {}
    for name, values in (
        ("shared", rng.normal(size=(400, 30)) / np.sqrt(rng.chisquare(4, size=(400, 1)))),
        ("own", rng.standard_t(3, size=(400, 30))),
    ):
        prepared = prepare(replace(PANEL, values=0.01 * values), CONFIG)
        train, later = (prepared.values[rows] for rows in prepared.split[:2])
        for likelihood in ("gaussian", "student", "volatility"):
            model = replace(prepared.preset.model, likelihood=likelihood).build(30)
            found = count_factors.without_factors(model.facts.noise, train, later)
            scores[name, likelihood] = found.mean()
        if name == "own":
            fits = [stats.t.fit(column) for column in train.T]
            expected = sum(stats.t.logpdf(x, *fit) for x, fit in zip(later.T, fits, strict=True))
            assert scores[name, "volatility"] == pytest.approx(expected.mean(), abs=0.01)
    assert scores["shared", "student"] > scores["shared", "volatility"] + 1
    assert scores["own", "volatility"] > scores["own", "gaussian"] + 1
    assert scores["own", "volatility"] > scores["own", "student"]


def test_the_sweep_compiles_nothing(planted, caplog):
    prepared, grid, chosen, sweep = planted
    with jax.log_compiles(), caplog.at_level(logging.WARNING, "jax"):
        again = sweep_factors(prepared, grid, chosen, lambda progress: None)
        assert "Compiling" not in caplog.text
        jax.jit(lambda x: x + 1)(1.0)
        assert "Compiling" in caplog.text
    np.testing.assert_array_equal(again.log_likelihood, sweep.log_likelihood)


def test_a_size_whose_members_diverged_is_left_out(planted):
    prepared, _, _, sweep = planted
    likelihood, active = sweep.log_likelihood.copy(), sweep.active.copy()
    likelihood[1], active[1] = np.nan, np.nan
    likelihood[2, 0], active[2, 0] = np.nan, np.nan
    table = tabulate_n_factors(prepared, Sweep(np.arange(len(active)), likelihood, active))
    assert table[table.kind == "size"].factors.tolist() == [0, 2, 3, 4]
    assert number(table, "held_out") in (2, 3)
    assert np.isfinite(table[table.kind == "size"].gain).all()


def test_members_that_use_no_factor_are_members_without_factors(planted):
    prepared, _, _, sweep = planted
    likelihood, active = sweep.log_likelihood.copy(), sweep.active.copy()
    active[1] = 0
    table = tabulate_n_factors(prepared, Sweep(np.arange(len(active)), likelihood, active))
    none = table[table.kind == "size"].iloc[0]
    assert none.log_likelihood == pytest.approx(likelihood[:2].mean())
    assert table[table.kind == "size"].gain.isna().tolist() == [False, True, False, False, False]


def test_a_few_assets_are_judged_by_held_out_likelihood_alone():
    """Three assets: no estimator has eigenvalues enough."""
    panel = replace(PANEL, values=PANEL.values[:, :3], assets=PANEL.assets[:3], sectors=None)
    config = replace(CONFIG, seeds=1, betas=(1.0,), n_factors=1)
    prepared, _, _, sweep = fitted(panel, config)
    table = tabulate_n_factors(prepared, sweep)
    assert table.kind.tolist() == ["estimate", "verdict", "size", "size"]
    assert number(table, "verdict") == number(table, "held_out")


def test_the_spectrum_tells_what_each_beta_loses(exact):
    table = spectrum_table(*exact[:2])
    assert table.beta.tolist() == [0.5] * 2 + [30.0] * 2
    assert table.factor.tolist() == [1, 2] * 2
    np.testing.assert_array_equal(table.linear, table.signal_to_noise > table.beta)
    assert table.linear.tolist() == [True, True, False, False]
    assert table.members.tolist() == [1, 1, 0, 0]


def test_a_factor_that_no_member_carries_is_lost(exact):
    """Members of noise: their active factors carry nothing of the linear ones."""
    prepared, grid, _ = exact
    shuffled = np.random.default_rng(0).permuted(np.asarray(grid.evaluation.factors), axis=1)
    noisy = grid._replace(evaluation=grid.evaluation._replace(factors=shuffled))
    assert (spectrum_table(prepared, noisy).members == 0).all()


def members(**columns):
    n_members = len(columns["log_likelihood_validation"])
    first = {"member": range(n_members), "ok": [True] * n_members}
    return pd.DataFrame({**first, **columns})


def test_rankings_correlate_with_the_truth():
    table = members(
        log_likelihood_validation=[1.0, 2.0, 3.0, 4.0],
        udr=[0.4, 0.3, 0.2, np.nan],
        mcc_test=[0.1, 0.5, 0.6, 0.9],
    )
    by_likelihood, by_udr = rankings_table(table).itertuples(index=False)
    assert by_likelihood == ("log_likelihood_validation", 4, 3, 1.0, 0.9, 0.55)
    assert by_udr == ("udr", 3, 0, -1.0, 0.1, 0.5)


def test_rankings_leave_out_diverged_members_and_need_no_truth():
    table = members(log_likelihood_validation=[1.0, 9.0, 3.0], mcc_test=[0.1, 0.9, 0.2])
    table.loc[1, "ok"] = False
    assert rankings_table(table).best_member.tolist() == [2]
    unknown = rankings_table(table.drop(columns="mcc_test"))
    assert unknown.best_member.tolist() == [2]
    assert unknown[["correlation", "best_score", "median_score"]].isna().all(axis=None)
    alike = rankings_table(members(log_likelihood_validation=[1.0, 1.0], mcc_test=[0.1, 0.9]))
    assert np.isnan(alike.correlation[0])


def test_weak_consensus_factors_are_dropped():
    """Four factors asked for, two there: at large β the others are dead in most members."""
    config = replace(CONFIG, betas=(8.0,))
    prepared = prepare(PANEL, config)
    grid = train_grid(prepared, lambda progress: None)
    aligned = align(prepared, grid, Choice(0, 0, config.seeds))
    survives = aligned.verdict.survives
    assert survives[0]
    assert not survives[-1]
    assert aligned.factors.shape == (400, survives.sum())
    assert (aligned.at_chosen > aligned.verdict.chance).all()
    assert (aligned.presence > 0.5).all()


def test_where_no_factor_survives_the_most_stable_is_kept(planted):
    prepared, grid, chosen, _ = planted
    shuffled = np.random.default_rng(0).permuted(np.asarray(grid.evaluation.factors), axis=1)
    rolled = np.stack([np.roll(member, 50 * k, axis=0) for k, member in enumerate(shuffled)])
    noisy = grid._replace(evaluation=grid.evaluation._replace(factors=rolled))
    aligned = align(prepared, noisy, chosen)
    assert not aligned.verdict.survives.any()
    assert aligned.factors.shape == (400, 1)
    assert aligned.at_chosen[0] == aligned.verdict.stability.max()


def test_few_sizes_are_all_tried_and_many_at_even_ratios():
    np.testing.assert_array_equal(sizes_tried(4), [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(sizes_tried(12), [0, 1, 2, 3, 4, 7, 12])
    assert sizes_tried(1).tolist() == [0, 1]
