"""The rule that keeps consensus factors, on noise and on planted factors."""

import numpy as np
import pytest

from jaxvae.analysis.consensus import align_members
from jaxvae.analysis.survival import chance_stability, presence, survives


def members_of(rng, strengths, n_members=8, n_dates=300):
    """Shared factors, each with so much of a member's own noise."""
    shared = rng.normal(size=(n_dates, len(strengths))) * strengths
    return shared + rng.normal(size=(n_members, n_dates, len(strengths)))


def judged(rng, members):
    active = np.ones(members.shape[::2], dtype=bool)
    consensus = align_members(members, active)
    chance = chance_stability(rng, members, active, np.ones(len(members)))
    return survives(presence(consensus, np.ones(len(members), bool)), consensus.stability, chance)


def test_members_with_nothing_in_common_keep_nothing_in_nineteen_cases_of_twenty():
    kept = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        kept.append(judged(rng, members_of(rng, [0, 0, 0])).any())
    assert np.mean(kept) <= 0.15


def test_shared_factors_survive_and_the_rest_does_not():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        np.testing.assert_array_equal(
            judged(rng, members_of(rng, [2.0, 1.0, 0.0])), [True, True, False]
        )


def test_no_draw_shifts_two_members_alike():
    """Three copies of one member, 210 dates: equal shifts would bring back a correlation of 1."""
    member = np.random.default_rng(0).normal(size=(1, 210, 4))
    copies, active = np.repeat(member, 3, axis=0), np.ones((3, 4), dtype=bool)
    levels = [
        chance_stability(np.random.default_rng(s), copies, active, np.ones(3)) for s in range(5)
    ]
    assert max(levels) < 0.4


def test_autocorrelation_within_members_raises_the_level():
    """Random walks look alike by accident; so they do when shifted in time."""
    rng = np.random.default_rng(0)
    active = np.ones((8, 2), dtype=bool)
    steps = rng.normal(size=(8, 300, 2))
    white = chance_stability(rng, steps, active, np.ones(8))
    walks = chance_stability(rng, np.cumsum(steps, axis=1), active, np.ones(8))
    assert white < 0.3 < walks


def test_a_factor_of_less_than_half_of_the_members_is_dropped():
    share, stability = np.array([1.0, 0.5, 0.49]), np.array([0.9, 0.9, 0.9])
    np.testing.assert_array_equal(survives(share, stability, 0.2), [True, True, False])
    np.testing.assert_array_equal(survives(share, stability - 0.8, 0.2), [False] * 3)


def test_one_member_is_judged_by_presence_alone():
    rng = np.random.default_rng(0)
    members, active = members_of(rng, [1.0, 1.0], n_members=1), np.array([[True, False]])
    consensus = align_members(members, active)
    chance = chance_stability(rng, members, active, np.ones(1))
    share = presence(consensus, np.array([True]))
    assert share == pytest.approx([1, 0])
    np.testing.assert_array_equal(survives(share, consensus.stability, chance), [True, False])
