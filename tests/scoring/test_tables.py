"""Scores by split, whoever made the numbers."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxvae.analysis.factor_scores import ROTATION_INVARIANT, AxisScores
from jaxvae.analysis.nulls import random_rotations
from jaxvae.data.panel import split_dates
from jaxvae.fitting.fit import Trained
from jaxvae.fitting.prepare import Prepared
from jaxvae.scoring.score import members_table
from jaxvae.scoring.tables import (
    Scored,
    ScoringData,
    _rotation_nulls,
    comparisons_table,
    metric_rows,
    metrics_table,
    score_rows,
    score_values,
)

RNG = np.random.default_rng(0)
N = 100
SPLIT = split_dates(N)
# The mean drifts, so that it matters whose mean a reconstruction is held against.
VALUES = RNG.normal(size=(N, 4)) + np.linspace(0, 3, N)[:, None]
FACTORS = RNG.normal(size=(N, 2))
CONTEXT = ScoringData(VALUES, SPLIT, FACTORS @ [[0.0, -1.0], [1.0, 0.0]])


def value(table, metric, split):
    (found,) = table[(table.metric == metric) & (table.split == split)].value
    return found


@pytest.mark.parametrize("fitted_on", ["train", "fit"])
def test_r2_is_held_against_the_mean_of_what_was_fitted_on(fitted_on):
    error = RNG.uniform(size=N)
    scored = Scored("model", 2, fitted_on, ("test",), squared_error=error)
    table = metrics_table(score_rows([scored], CONTEXT, 0))
    mean = VALUES[getattr(SPLIT, fitted_on)].mean(axis=0)
    total = ((VALUES[SPLIT.test] - mean) ** 2).sum()
    assert value(table, "r2", "test") == pytest.approx(1 - error[SPLIT.test].sum() / total)
    assert value(table, "mse", "test") == pytest.approx(error[SPLIT.test].mean() / 4)


def test_factors_are_matched_on_fit_and_scored_on_the_split():
    broken = FACTORS.copy()
    broken[SPLIT.test] = RNG.normal(size=broken[SPLIT.test].shape)
    table = metrics_table(
        score_rows([Scored("m", 2, "fit", ("fit", "test"), factors=broken)], CONTEXT, 0)
    )
    assert value(table, "mcc", "fit") == pytest.approx(1.0)
    assert value(table, "subspace_r2", "fit") == pytest.approx(1.0)
    assert abs(value(table, "mcc", "test")) < 0.5
    assert value(table, "mcc_chance_mean", "fit") < value(table, "mcc_rotation_mean", "fit")
    assert value(table, "mcc_rotation_mean", "fit") < value(table, "mcc_rotation_95", "fit") < 1


@pytest.mark.slow
def test_nulls_stand_beside_the_scores_of_a_split():
    """Axis scores on the test part of the models compared by them; a member has no nulls."""
    models = [
        Scored("consensus", 2, "fit", ("fit", "test"), factors=FACTORS),
        Scored("pca_best", 2, "fit", ("test",), factors=FACTORS),
        Scored("vae", 2, "train", ("test",), factors=FACTORS, member=3),
    ]
    table = metrics_table(score_rows(models, CONTEXT, 0))
    names = {
        (model, split): set(rows.metric)
        for (model, split), rows in table.groupby(["model", "split"])
    }
    matched = {"mcc", "subspace_r2"}
    chance = {f"{name}_{level}" for name in matched for level in ("chance_mean", "chance_95")}
    assert names["vae", "test"] == matched | {"active_units"}
    assert names["pca_best", "test"] == matched | chance | {"mcc_rotation_mean", "mcc_rotation_95"}
    assert names["consensus", "fit"] == names["pca_best", "test"]
    found = names["consensus", "test"]
    for name in AxisScores._fields:
        assert {name, f"{name}_chance_mean", f"{name}_chance_95"} <= found
        rotated = {f"{name}_rotation_mean", f"{name}_rotation_95"} & found
        assert len(rotated) == (0 if name in ROTATION_INVARIANT else 2)


@pytest.mark.slow
def test_pure_rotations_of_the_truth_are_no_evidence():
    """One in twenty exceeds the 95th percentile by chance; half of them exceed the mean."""
    rng, beyond = np.random.default_rng(4), {"mean": [], "95": []}
    reference = rng.normal(size=(N, 5))
    context = CONTEXT._replace(reference=reference)
    levels = _rotation_nulls("test", context, 0)["mcc"]
    for rotation in random_rotations(rng, 5, 300):
        scored = Scored("pca", 5, "fit", ("test",), factors=reference @ rotation)
        mcc = score_values(scored, "test", context)["mcc"]
        beyond["mean"].append(mcc > levels.mean)
        beyond["95"].append(mcc > levels.percentile_95)
    assert np.mean(beyond["mean"]) > 0.2
    assert np.mean(beyond["95"]) < 0.07


def test_without_known_factors_there_is_nothing_to_match():
    scored = Scored("vae_best", 2, "fit", ("test",), factors=FACTORS)
    table = metrics_table(score_rows([scored], CONTEXT._replace(reference=None), 0))
    assert table.metric.tolist() == ["active_units"]


def test_standard_error_is_that_of_the_mean():
    scored = Scored("m", 2, "fit", ("test",), np.zeros(N), standard_error=np.full(N, 0.3))
    table = metrics_table(score_rows([scored], CONTEXT, 0))
    assert value(table, "log_likelihood_se", "test") == pytest.approx(0.3 / 30**0.5)


@pytest.mark.parametrize(("poor", "unreliable"), [(0, 0.0), (1, 1.0)])
def test_few_effective_samples_are_told_of(poor, unreliable):
    effective, error = np.full(N, 90.0), np.full(N, 0.05)
    effective[-1], error[-1] = (1.2, 0.9) if poor else (20.0, 0.2)
    effective[0] = 1.0  # of another split
    scored = Scored("m", 2, "fit", ("test",), np.zeros(N), error, effective)
    table = metrics_table(score_rows([scored], CONTEXT, 0))
    assert value(table, "effective_samples_min", "test") == effective[-1]
    assert value(table, "unreliable", "test") == unreliable


def test_comparisons_are_paired_by_date():
    swings = 100 * RNG.normal(size=N)
    ours = Scored("ours", 2, "fit", ("test",), swings + 1.0)
    theirs = Scored("theirs", None, "fit", ("test",), swings)
    (row,) = comparisons_table([ours], [theirs], SPLIT, 0, {}).itertuples(index=False)
    assert (row.model, row.baseline, row.split) == ("ours", "theirs", "test")
    assert row.difference == pytest.approx(1.0)
    assert row.low == pytest.approx(1.0)
    assert row.high == pytest.approx(1.0)


def test_joint_intervals_hold_all_baselines_at_once():
    """Wider than each alone, by what ten baselines with noise of their own cost."""
    ours = Scored("ours", 2, "fit", ("test",), RNG.normal(size=N))
    baselines = [Scored(str(k), None, "fit", ("test",), RNG.normal(size=N)) for k in range(10)]
    table = comparisons_table([ours], baselines, SPLIT, 0, {})
    assert table.baseline.tolist() == [str(k) for k in range(10)]
    ratio = (table.high_joint - table.low_joint) / (table.high - table.low)
    assert 1.0 < ratio.mean() < 1.8
    middle = (table.low_joint + table.high_joint) / 2
    np.testing.assert_allclose(middle, table.difference, atol=1e-12)


def test_the_widest_interval_is_kept_whichever_it_is():
    """Over seeds it is of the ensemble alone, and as wide for each baseline."""
    names = ("vae_ensemble", "vae_best", *map(str, range(5)))
    ours, alone, *baselines = (
        Scored(name, None, "fit", ("test",), RNG.normal(size=N)) for name in names
    )
    for half in (0.001, 5.0):
        table = comparisons_table([ours, alone], baselines, SPLIT, 0, {"vae_ensemble": half})
        of_seeds = table.model == "vae_ensemble"
        assert table.low_seeds[~of_seeds].isna().all()
        np.testing.assert_allclose((table.high_seeds - table.low_seeds)[of_seeds], 2 * half)
        kinds = ("", "_joint", "_seeds")
        widths = np.stack([table[f"high{kind}"] - table[f"low{kind}"] for kind in kinds])
        widest = table.high_widest - table.low_widest
        np.testing.assert_array_equal(widest, np.nanmax(widths, axis=0))
        assert ((table.low_widest == table.low_seeds) == (of_seeds & (half > 1))).all()


def test_members_carry_their_udr_and_none_where_there_is_none():
    rows = metric_rows("vae", "fit", {"udr": 0.5}, member=1)
    for member in range(2):
        for split in ("train", "validation", "test"):
            rows += metric_rows("vae", split, {"log_likelihood": -1.0, "r2": float(member)}, member)
    preset = SimpleNamespace(betas=(1.0,), seeds=2)
    prepared = Prepared(*[None] * len(Prepared._fields))._replace(split=SPLIT, preset=preset)
    members = SimpleNamespace(seed=np.arange(2))
    outputs = SimpleNamespace(
        kl=np.ones((2, N, 3)), factors=np.zeros((2, N, 3)), noise_variance=np.ones((2, 4))
    )
    ensemble = SimpleNamespace(members=members, ok=np.ones(2, bool), best_epoch=np.ones(2, int))
    grid = Trained(ensemble, outputs)
    table = members_table(prepared, grid, metrics_table(rows))
    np.testing.assert_array_equal(table.udr, [np.nan, 0.5])
    np.testing.assert_array_equal(table.r2_test, [0.0, 1.0])
    assert list(table.columns)[-5:] == ["udr", "kl", "active_units", "noise_variance", "beta_noise"]
    assert members_table(prepared, grid, metrics_table(rows[1:])).udr.isna().all()
