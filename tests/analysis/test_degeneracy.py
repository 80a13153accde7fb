"""Faults planted in a panel: their causes are named, and likelihoods that ride on them found."""

import numpy as np
import pytest

from jaxvae.analysis.degeneracy import cost_of_jitter, find_causes, is_degenerate, jittered
from jaxvae.baselines import BASELINES, Development
from jaxvae.errors import DataError

N_DATES, N_ASSETS, N_FIT, N_TRAIN = 300, 12, 210, 168
RNG = np.random.default_rng(0)
SOUND = RNG.normal(size=(N_DATES, 3)) @ RNG.normal(size=(3, N_ASSETS))
SOUND += RNG.uniform(0.7, 1.5, N_ASSETS) * RNG.normal(size=SOUND.shape)
HEAVY = SOUND * np.sqrt(4 / RNG.chisquare(4, size=(N_DATES, 1)))


def changed(asset, column):
    values = SOUND.copy()
    values[:, asset] = column
    return values


def stale(share, together=False):
    size = (N_DATES, 1) if together else SOUND.shape
    return np.where(np.random.default_rng(1).random(size) < share, 0.0, SOUND)


NOISE = np.random.default_rng(2).normal(size=N_DATES)
SPIKE = np.where(np.arange(N_DATES) == 50, 0.3, 0.001)
FEW = changed(4, np.round(SOUND[:, 4] / SOUND[:, 4].std()))
CAUSES = {
    "stale prices": (stale(0.85), [(a, "repeated") for a in range(N_ASSETS)]),
    "one stale price": (changed(4, stale(0.85)[:, 4]), [(4, "repeated")]),
    "constant but for a spike": (changed(4, SPIKE), [(4, "repeated")]),
    "almost so": (changed(4, SPIKE + 1e-7 * NOISE), [(4, "still")]),
    "constant": (changed(4, np.full(N_DATES, 0.1)), [(4, "repeated")]),
    "rounded to few values": (FEW, [(4, "few values")]),
    "a copy": (changed(4, SOUND[:, 1]), [(4, "copy")]),
    "a copy turned, scaled and moved": (changed(4, 3 - 0.01 * SOUND[:, 1]), [(4, "copy")]),
    "a copy with a little noise": (changed(4, SOUND[:, 1] + 1e-3 * NOISE), [(4, "copy")]),
    "a sum": (
        changed(4, SOUND[:, 1] + SOUND[:, 2]),
        [(1, "combination"), (2, "combination"), (4, "combination")],
    ),
    "close relatives": (changed(4, SOUND[:, 1] + 0.1 * NOISE), []),
    "rounded prices": (np.round(SOUND, 1), []),
    "sound": (SOUND, []),
    "heavy tails": (HEAVY, []),
    "a third of zeros": (stale(0.33), []),
}


@pytest.mark.parametrize(("values", "expected"), CAUSES.values(), ids=CAUSES)
def test_causes_are_named(values, expected):
    found = find_causes(values)
    assert [(cause.asset, cause.kind) for cause in found] == expected
    assert all((cause.other == 1) == (cause.kind == "copy") for cause in found)


def test_causes_are_found_among_the_cells_observed():
    gaps = np.random.default_rng(3).random(SOUND.shape) < 0.2
    for name in ("one stale price", "almost so", "a copy"):
        values, expected = CAUSES[name]
        found = find_causes(np.where(gaps, np.nan, values))
        assert [(cause.asset, cause.kind) for cause in found] == expected
    assert find_causes(np.where(gaps, np.nan, SOUND)) == []
    assert find_causes(np.full((60, 2), np.nan)) == []


def test_fewer_dates_than_assets_make_no_combinations():
    assert find_causes(np.random.default_rng(4).normal(size=(15, 12))) == []


def cost(name, values):
    """Of a baseline's likelihood on the last dates, in units of the first; None where it is not
    fitted."""
    fit = values[:N_FIT]
    units = (values - fit.mean(axis=0)) / fit.std(axis=0)
    try:
        law = BASELINES[name].fit(Development(units[:N_FIT], N_TRAIN, 3))
    except DataError:
        return None
    both = (law.log_likelihood(part) for part in (units, jittered(np.random.default_rng(5), units)))
    return cost_of_jitter(*(part[N_FIT:] for part in both))


EXPLODES = {
    "stale prices": {"multivariate_t", "multivariate_t_shrunk"},
    "stale on the same dates": {"multivariate_t_shrunk"},
    "constant but for a spike": {"multivariate_t"},
    "almost so": {"multivariate_t"},
    "a copy": {"factor_analysis", "factor_analysis_best"},
    "a copy with a little noise": {"factor_analysis", "factor_analysis_best", "multivariate_t"},
    "sound": set(),
    "heavy tails": set(),
    "close relatives": set(),
    "rounded prices": set(),
    "rounded to few values": set(),
    "a third of zeros": set(),
}
QUICK = ("a copy", "sound")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in EXPLODES],
)
def test_likelihoods_that_explode_are_found_and_no_others(name):
    values = stale(0.6, together=True) if "same dates" in name else CAUSES[name][0]
    costs = {one: cost(one, values) for one in BASELINES if not BASELINES[one].temporal}
    found = {
        one for one, lost in costs.items() if lost is not None and is_degenerate(lost, N_ASSETS)
    }
    assert found == EXPLODES[name]


def test_the_cost_of_a_gaussian_is_its_closed_form():
    """½ Σ_a (.01 / s_a)² with 1 / s_a² the diagonal of the precision."""
    fit = (SOUND - SOUND.mean(axis=0)) / SOUND.std(axis=0)
    law = BASELINES["ledoit_wolf"].fit(Development(fit, N_TRAIN, 3))
    expected = 0.5 * 1e-4 * np.diag(np.linalg.inv(law.scatter)).sum()
    rng = np.random.default_rng(6)
    draws = [
        cost_of_jitter(law.log_likelihood(fit), law.log_likelihood(jittered(rng, fit)))
        for _ in range(400)
    ]
    assert np.mean(draws) == pytest.approx(expected, abs=4 * np.std(draws) / 20)
    assert is_degenerate(float("nan"), 5)
