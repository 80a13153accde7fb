"""Scores by split, whoever made the numbers."""

import numpy as np
import pytest

from jaxvae.panel import split_dates
from jaxvae.tables import Context, Scored, comparisons_table, metrics_table

RNG = np.random.default_rng(0)
N = 100
SPLIT = split_dates(N)
# The mean drifts, so that it matters whose mean a reconstruction is held against.
VALUES = RNG.normal(size=(N, 4)) + np.linspace(0, 3, N)[:, None]
FACTORS = RNG.normal(size=(N, 2))
CONTEXT = Context(VALUES, SPLIT, FACTORS @ [[0.0, -1.0], [1.0, 0.0]])


def value(table, metric, split):
    (found,) = table[(table.metric == metric) & (table.split == split)].value
    return found


@pytest.mark.parametrize("fitted_on", ["train", "fit"])
def test_r2_is_held_against_the_mean_of_what_was_fitted_on(fitted_on):
    error = RNG.uniform(size=N)
    scored = Scored("model", 2, fitted_on, ("test",), squared_error=error)
    table = metrics_table([scored], CONTEXT, 0)
    mean = VALUES[getattr(SPLIT, fitted_on)].mean(axis=0)
    total = ((VALUES[SPLIT.test] - mean) ** 2).sum()
    assert value(table, "r2", "test") == pytest.approx(1 - error[SPLIT.test].sum() / total)
    assert value(table, "mse", "test") == pytest.approx(error[SPLIT.test].mean() / 4)


def test_factors_are_matched_on_fit_and_scored_on_the_split():
    broken = FACTORS.copy()
    broken[SPLIT.test] = RNG.normal(size=broken[SPLIT.test].shape)
    table = metrics_table([Scored("m", 2, "fit", ("fit", "test"), factors=broken)], CONTEXT, 0)
    assert value(table, "mcc", "fit") == pytest.approx(1.0)
    assert value(table, "subspace_r2", "fit") == pytest.approx(1.0)
    assert abs(value(table, "mcc", "test")) < 0.5
    assert value(table, "mcc_chance_mean", "fit") < value(table, "mcc_rotation_floor", "fit") < 1


def test_standard_error_is_that_of_the_mean():
    scored = Scored("m", 2, "fit", ("test",), np.zeros(N), standard_error=np.full(N, 0.3))
    table = metrics_table([scored], CONTEXT, 0)
    assert value(table, "log_likelihood_se", "test") == pytest.approx(0.3 / 30**0.5)


def test_comparisons_are_paired_by_date():
    swings = 100 * RNG.normal(size=N)
    ours = Scored("ours", 2, "fit", ("test",), swings + 1.0)
    theirs = Scored("theirs", None, "fit", ("test",), swings)
    (row,) = comparisons_table([ours], [theirs], SPLIT, 0).itertuples(index=False)
    assert (row.model, row.baseline, row.split) == ("ours", "theirs", "test")
    assert row.difference == pytest.approx(1.0)
    assert row.low == pytest.approx(1.0)
    assert row.high == pytest.approx(1.0)
