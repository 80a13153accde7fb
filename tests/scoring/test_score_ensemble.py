"""Rows that only an ensemble has, against the functions they rest on."""

import numpy as np
import pytest

from jaxvae.analysis.bootstrap import student_interval
from jaxvae.analysis.udr import udr
from jaxvae.data.panel import split_dates
from jaxvae.scoring.score_ensemble import best_seed_rows, seed_rows, udr_rows
from jaxvae.scoring.tables import SEED_MODEL, Scored, ScoringData, metrics_table, score_values

N = 200
SPLIT = split_dates(N)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def by_metric(rows, model):
    table = metrics_table(rows)
    return table[table.model == model].set_index("metric").value


def seeds(rng, reference, number=6):
    return [
        Scored(
            SEED_MODEL, 2, "fit", ("test",), rng.normal(size=N), squared_error=rng.uniform(size=N),
            factors=reference + rng.normal(size=reference.shape), member=k,
        )
        for k in range(number)
    ]  # fmt: skip


def test_intervals_over_seeds_are_of_each_seeds_own_score(rng):
    context = ScoringData(rng.normal(size=(N, 4)), SPLIT, rng.normal(size=(N, 2)))
    scored = seeds(rng, context.reference)
    rows = seed_rows(scored, context)
    table = metrics_table(rows)
    assert set(table.split) == {"test"}
    assert set(table.factors) == {2}
    found = by_metric(rows, "vae_ensemble")
    likelihoods = np.array([seed.log_likelihood[SPLIT.test].mean() for seed in scored])
    ends = [found[f"log_likelihood_seeds_{end}"] for end in ("mean", "low", "high")]
    assert ends == pytest.approx(student_interval(likelihoods))
    matched = [score_values(seed, "test", context)["mcc"] for seed in scored]
    assert found["mcc_seeds_mean"] == pytest.approx(np.mean(matched))
    assert {"r2_seeds_low", "subspace_r2_seeds_high", "dci_completeness_seeds_low"} <= set(
        found.index
    )
    assert not any(name.startswith(("mse", "log_likelihood_se_")) for name in found.index)


def test_one_seed_has_no_interval_and_no_udr(rng):
    context = ScoringData(rng.normal(size=(N, 4)), SPLIT, rng.normal(size=(N, 2)))
    assert not len(seed_rows(seeds(rng, context.reference, 1), context))
    means = rng.normal(size=(1, 140, 2))
    assert not len(udr_rows(np.full(1, np.nan), means, np.ones((1, 2)), 0, 0))


def test_udr_of_members_refits_and_the_best(rng):
    means = rng.normal(size=(140, 3)) + 0.3 * rng.normal(size=(4, 140, 3))
    kl, members = np.ones((4, 3)), np.array([0.4, np.nan, 0.6])
    rows = udr_rows(members, means, kl, 2, 0)
    table = metrics_table(rows)
    assert table[table.model == "vae"].member.tolist() == [0, 2]
    found = by_metric(rows, "vae_ensemble")
    assert found["udr"] == pytest.approx(udr(means, kl).mean())
    assert by_metric(rows, "vae_best")["udr"] == udr(means, kl)[2]
    assert found["udr_chance_mean"] < found["udr_chance_95"] < found["udr_rotation_mean"]
    assert found["udr_rotation_mean"] < found["udr_rotation_95"] < found["udr"]


def test_collapsed_refits_have_no_rotation_null(rng):
    rows = udr_rows(np.zeros(2), np.zeros((2, 140, 3)), np.zeros((2, 3)), 0, 0)
    assert by_metric(rows, "vae_ensemble")["udr"] == 0
    assert not metrics_table(rows).metric.str.startswith("udr_rotation").any()


def lone(name, values, member=None):
    return Scored(name, None, "fit", ("test",), values, member=member)


def test_the_best_seed_meets_the_strongest_baseline_on_the_test_dates(rng):
    """The baseline of highest mean there, whatever it was on `fit`."""
    base = rng.normal(size=N)
    strong, weak = base.copy(), base - 5.0
    weak[SPLIT.fit] += 100.0
    seeds = [lone("vae_seed", base + lead + 0.1 * rng.normal(size=N), k)
             for k, lead in enumerate([-1.0, 0.5])]  # fmt: skip
    baselines = [lone("weak", weak), lone("strong", strong)]
    found = by_metric(best_seed_rows(seeds, baselines, SPLIT, 0), "vae_ensemble")
    assert found["best_seed_lead"] == pytest.approx(0.5, abs=0.05)
    assert found["best_seed_p_value"] == pytest.approx(1 / 2001)
    behind = by_metric(best_seed_rows(seeds[:1], baselines, SPLIT, 0), "vae_ensemble")
    assert behind["best_seed_p_value"] == 1
