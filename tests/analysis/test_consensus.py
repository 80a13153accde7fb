"""Consensus against planted truth and invariants."""

from time import process_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from jaxvae.analysis.consensus import (
    align_members,
    aligned_factors,
    by_convention,
    consensus_factors,
    consensus_loadings,
    convention,
    keep,
    member_stability,
    member_units,
    stability,
    trimmed_mean,
)
from jaxvae.analysis.matching import agreement, match, mcc
from jaxvae.analysis.metrics import correlation


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def mixed(rng, reference, noise):
    """The reference in another order, sign and scale, with noise; and that order and sign."""
    n_factors = reference.shape[1]
    order, signs = rng.permutation(n_factors), rng.choice([-1.0, 1.0], n_factors)
    scales = rng.uniform(0.1, 10, n_factors)
    noisy = reference + noise * rng.normal(size=reference.shape)
    return 3 + noisy[:, order] * signs * scales, order, signs


def planted(rng, n_members=15, n_dates=400, n_factors=4, noise=0.7, turn=0.2):
    """Truth, and members that hold it slightly rotated, noisy, in any order, sign and scale."""
    truth = rng.normal(size=(n_dates, n_factors))
    members = []
    for _ in range(n_members):
        skew = turn * rng.normal(size=(n_factors, n_factors))
        rotation = np.linalg.qr(np.eye(n_factors) + skew - skew.T)[0]
        members.append(mixed(rng, truth @ rotation, noise)[0])
    return truth, np.stack(members)


def recovery(factors, truth):
    """Matched correlation out of sample: matched on the first half, scored on the second."""
    half = len(truth) // 2
    return mcc(match(factors[:half], truth[:half]), factors[half:], truth[half:])


@pytest.mark.parametrize("seed", range(4))
def test_consensus_recovers_the_truth_better_than_the_median_member(seed):
    truth, members = planted(np.random.default_rng(seed))
    consensus = align_members(members[:, :200])
    found = recovery(consensus_factors(consensus, members), truth)
    alone = [recovery(member, truth) for member in members]
    assert found > np.median(alone) + 0.1
    assert found > max(alone)


def test_runaway_dates_of_single_members_hardly_move_the_consensus():
    """Each member is wrong by some 15 standard deviations on its own 2 % of dates."""
    rng = np.random.default_rng(0)
    truth, members = planted(rng)
    wrong = 15 * rng.normal(size=members.shape) * (rng.random((15, 400, 1)) < 0.02)
    spoilt = members + wrong * members.std(axis=1, keepdims=True)
    consensus = align_members(spoilt[:, :200])
    found = recovery(consensus_factors(consensus, spoilt), truth)
    mean = recovery(consensus_factors(consensus._replace(trim=0.0), spoilt), truth)
    assert found > mean + 0.1
    assert found > np.median([recovery(member, truth) for member in spoilt]) + 0.3


def test_better_members_have_more_voice(rng):
    """Two parties of unequal quality, in axes turned by 45 degrees, which a mean would blend."""
    truth = rng.normal(size=(400, 2))
    turned = truth @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2)
    good = truth + 0.3 * rng.normal(size=(3, 400, 2))
    members = np.concatenate([turned + 0.3 * rng.normal(size=(6, 400, 2)), good])
    quality = np.array([0.05] * 6 + [1.0] * 3)
    found = {
        name: recovery(consensus_factors(align_members(members, quality=weights), members), truth)
        for name, weights in (("equal", None), ("by quality", quality))
    }
    assert found["equal"] < 0.85
    assert found["by quality"] > 0.95
    consensus = align_members(members, quality=quality)
    assert consensus.medoid >= 6
    again = align_members(members, quality=3 * quality)
    np.testing.assert_allclose(again.alignment.weights, consensus.alignment.weights)


def test_trimmed_mean_of_equal_weights_is_scipys(rng):
    columns, weights = rng.normal(size=(20, 30, 2)), np.full((20, 2), 1 / 20)
    for trim in (0.0, 0.1, 0.25, 0.45):
        expected = stats.trim_mean(columns, trim, axis=0)
        np.testing.assert_allclose(trimmed_mean(columns, weights, trim), expected)


def test_weights_of_the_trimmed_mean_are_repetitions(rng):
    columns, counts = rng.normal(size=(5, 30, 1)), np.array([1, 4, 2, 3, 2])
    repeated = np.repeat(columns, counts, axis=0)
    weights = (counts / counts.sum())[:, None]
    expected = trimmed_mean(repeated, np.full((12, 1), 1 / 12), 0.25)
    np.testing.assert_allclose(trimmed_mean(columns, weights, 0.25), expected)
    mean = np.einsum("mrf,mf->rf", columns, weights)
    np.testing.assert_allclose(trimmed_mean(columns, weights, 0.0), mean)
    assert not trimmed_mean(columns, 0 * weights, 0.25).any()


def test_a_quarter_of_the_weight_cannot_move_the_average(rng):
    columns, weights = rng.normal(size=(8, 50, 1)), np.full((8, 1), 1 / 8)
    columns[:2] = 1e9
    assert (np.abs(trimmed_mean(columns, weights, 0.25)) < 3).all()


def test_a_date_needs_no_other_dates(rng):
    _, members = planted(rng)
    consensus = align_members(members)
    alone = [consensus_factors(consensus, members[:, [date]])[0] for date in range(5)]
    np.testing.assert_allclose(alone, consensus_factors(consensus, members)[:5])


def test_kept_factors_are_the_same_factors(rng):
    _, members = planted(rng)
    consensus = align_members(members)
    some = keep(consensus, np.array([3, 1]))
    loadings = rng.normal(size=(15, 7, 4))
    for function, values in (
        (consensus_factors, members),
        (aligned_factors, members),
        (consensus_loadings, loadings),
        (member_stability, members),
    ):
        np.testing.assert_allclose(function(some, values), function(consensus, values)[..., [3, 1]])
    none = keep(consensus, np.zeros(0, int))
    assert consensus_factors(none, members).shape == (400, 0)


def test_members_are_realigned_until_they_match_the_consensus():
    """Of 160 noisy members, the medoid alone misplaces a dozen; the settled consensus hardly any.

    Weights move a little after assignments stand still, which may turn a near tie.
    """
    misplaced = 0
    for seed in range(4):
        _, members = planted(np.random.default_rng(seed), n_members=40, noise=2)
        consensus = align_members(members)
        factors = consensus_factors(consensus, members)
        found = [match(member, factors).learned for member in members]
        misplaced += (found != consensus.alignment.assignment).any(axis=1).sum()
    assert misplaced <= 3


def test_consensus_factors_are_standardised_where_they_were_learned(rng):
    _, members = planted(rng)
    consensus = align_members(members[:, :300])
    learned = consensus_factors(consensus, members[:, :300])
    np.testing.assert_allclose(learned.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(learned.std(0), 1)
    np.testing.assert_allclose(consensus_factors(consensus, members)[:300], learned)


def test_consensus_ignores_order_sign_and_scale_within_members(rng):
    _, members = planted(rng)
    disguised = np.stack([mixed(rng, member, noise=0)[0] for member in members])
    plain = consensus_factors(align_members(members), members)
    again = consensus_factors(align_members(disguised), disguised)
    matrix = correlation(plain, again)
    np.testing.assert_allclose(np.abs(matrix).max(axis=1), 1, atol=1e-9)


def test_consensus_ignores_the_order_of_members(rng):
    _, members = planted(rng)
    order = rng.permutation(len(members))
    plain = consensus_factors(align_members(members), members)
    again = consensus_factors(align_members(members[order]), members[order])
    np.testing.assert_allclose(plain, again, atol=1e-9)


def test_consensus_carries_the_medoids_signs(rng):
    _, members = planted(rng)
    consensus = align_members(members)
    assert (consensus.alignment.signs[consensus.medoid] == 1).all()
    assert (
        np.diag(
            correlation(
                aligned_factors(consensus, members)[consensus.medoid],
                consensus_factors(consensus, members),
            )
        )
        > 0.5
    ).all()


def test_exact_copies_agree_in_full(rng):
    _, members = planted(rng, noise=0, turn=0)
    consensus = align_members(members)
    np.testing.assert_allclose(consensus.stability, 1)
    np.testing.assert_allclose(consensus.alignment.weights, 1 / 15)
    np.testing.assert_allclose(pairwise(members), 1)


def test_factors_come_by_stability(rng):
    members = rng.normal(size=(500, 3)) + [0.6, 0.2, 1.2] * rng.normal(size=(8, 500, 3))
    found = align_members(members)
    np.testing.assert_array_equal(found.alignment.assignment[0], [1, 0, 2])
    assert (np.diff(found.stability) < 0).all()


columns = st.integers(1, 5).flatmap(
    lambda k: arrays(float, (7, k), elements=st.floats(-2, 2, width=16))
)


@given(columns, st.randoms(use_true_random=False))
def test_the_convention_forgets_the_order_and_signs_it_was_given(loadings, random):
    """Whatever order and signs the factors come in, the same loadings are reported."""
    scale = np.linspace(0.5, 2, 7)

    def reported(given_loadings):
        order, signs = convention(given_loadings, scale)
        assert sorted(order) == list(range(len(order)))
        return given_loadings[:, order] * signs

    order = random.sample(range(loadings.shape[1]), loadings.shape[1])
    signs = [random.choice([-1.0, 1.0]) for _ in order]
    found, explained = reported(loadings), (loadings**2).sum(axis=0)
    again = reported(loadings[:, order] * signs)
    assert ((found * scale[:, None]).mean(axis=0) >= -1e-4).all()
    assert (np.diff((found**2).sum(axis=0)) <= 0).all()
    if len(set(explained)) == len(explained):
        np.testing.assert_allclose(found, again, atol=1e-12)


def test_a_mean_loading_of_zero_leaves_the_sign_to_the_largest_loading():
    loadings = np.array([[1.0, 0.1], [-2.0, 0.1], [1.0 + 1e-9, 0.1], [0.0, -0.5]])
    order, signs = convention(loadings, np.ones(4))
    np.testing.assert_array_equal(order, [0, 1])
    np.testing.assert_array_equal(signs, [-1, -1])
    assert convention(np.zeros((4, 1)), np.ones(4))[1] == 1


def test_the_sign_is_of_loadings_in_the_units_of_returns():
    """The market that rises is the one that is traded: a volatile asset outweighs two calm ones."""
    loadings = np.array([[1.0], [1.0], [-1.0]])
    assert convention(loadings, np.array([1.0, 1.0, 1.0]))[1] == 1
    assert convention(loadings, np.array([1.0, 1.0, 3.0]))[1] == -1


def test_the_consensus_is_turned_whole(rng):
    """Factors and loadings turn together: what they rebuild does not change."""
    _, members = planted(rng, n_factors=3, noise=0.1, turn=0.05)
    loadings = rng.normal(size=(15, 6, 3))
    found = align_members(members)
    turned = by_convention(found, loadings, np.ones(6))
    rebuilt, again = (
        consensus_factors(c, members) @ consensus_loadings(c, loadings).T for c in (found, turned)
    )
    np.testing.assert_allclose(again, rebuilt, atol=1e-10)
    ours = consensus_loadings(turned, loadings)
    assert (ours.mean(axis=0) > 0).all()
    assert (np.diff((ours**2).sum(axis=0)) < 0).all()


def test_inactive_and_constant_factors_weigh_nothing(rng):
    _, members = planted(rng, turn=0.1, noise=0.2)
    active = np.ones((15, 4), dtype=bool)
    active[3, 1] = False
    members[5, :, 2] = 0.25
    consensus = align_members(members, active)
    assignment, signs, weights = consensus.alignment
    for member, factor in ((3, 1), (5, 2)):
        assert factor not in assignment[member]
        lost = assignment[member] == -1
        assert lost.sum() == 1
        assert not signs[member, lost].any()
        assert not weights[member, lost].any()
        assert not member_stability(consensus, members)[member, lost].any()
    np.testing.assert_allclose(weights.sum(0), 1)
    assert pairwise(members, active)[3, 3] == pytest.approx(1)


def test_a_factor_that_nobody_has_is_constant_and_last(rng):
    _, members = planted(rng, noise=0.2)
    active = np.tile([True, True, True, False], (15, 1))
    members[:, :, 3] = 1e-9 * members[:, :, 3]
    members = np.stack([member[:, rng.permutation(4)] for member in members])
    active = members.std(axis=1) > 1e-6
    consensus = align_members(members, active)
    assert consensus.stability[-1] == 0
    assert not consensus_factors(consensus, members)[:, -1].any()
    assert (consensus.stability[:-1] > 0.5).all()


def test_stability_of_pure_noise_is_about_zero(rng):
    members = rng.normal(size=(40, 600, 4))
    consensus = align_members(members)
    by_member = member_stability(consensus, members)
    assert abs(by_member.mean()) < 0.1  # the alignment was learned on these rows
    fresh = rng.normal(size=(40, 600, 4))
    assert abs(member_stability(consensus, fresh).mean()) < 0.02


def test_stability_leaves_the_member_out(rng):
    """Against the consensus rebuilt without the member."""
    _, members = planted(rng, n_members=6)
    consensus = align_members(members)
    aligned = aligned_factors(consensus, members)
    weights = consensus.alignment.weights
    for member in range(6):
        rest = np.delete(np.arange(6), member)
        others = np.einsum("mdf,mf->df", aligned[rest], weights[rest])
        expected = np.diag(correlation(aligned[member], others))
        np.testing.assert_allclose(member_stability(consensus, members)[member], expected)


def test_stability_by_group_tells_sound_from_noisy_members(rng):
    truth = rng.normal(size=(500, 3))
    sound = truth + 0.2 * rng.normal(size=(6, 500, 3))
    members = np.concatenate([sound, rng.normal(size=(4, 500, 3))])
    betas = np.array([0.5] * 6 + [4.0] * 4)
    labels, by_group = stability(align_members(members), members, betas)
    np.testing.assert_array_equal(labels, [0.5, 4.0])
    assert (by_group[0] > 0.95).all()
    assert (np.abs(by_group[1]) < 0.12).all()


def test_one_member_is_its_own_consensus_and_shows_no_stability(rng):
    members = 2 + 5 * rng.normal(size=(1, 100, 3))
    consensus = align_members(members)
    np.testing.assert_array_equal(consensus.stability, 0)
    expected = (members[0] - members[0].mean(0)) / members[0].std(0)
    np.testing.assert_allclose(consensus_factors(consensus, members), expected)


def test_loadings_are_per_unit_of_the_consensus_factor(rng):
    """Members that are the truth in disguise: loadings × factors give the same returns."""
    truth = rng.normal(size=(200, 3))
    truth = (truth - truth.mean(0)) / truth.std(0)
    true_loadings = rng.normal(size=(7, 3))
    members, loadings = [], []
    for _ in range(5):
        member, order, signs = mixed(rng, truth, noise=0)
        scales = member.std(0)
        members.append(member)
        loadings.append(true_loadings[:, order] * signs / scales)
    consensus = align_members(np.stack(members))
    found = consensus_loadings(consensus, np.stack(loadings))
    returns = consensus_factors(consensus, np.stack(members)) @ found.T
    np.testing.assert_allclose(returns, truth @ true_loadings.T, atol=1e-10)


def pairwise(factors, active=None):
    units = member_units(factors, active)
    return agreement(units, units)


def test_agreement_is_the_mean_match_of_each_pair(rng):
    _, members = planted(rng, n_members=5)
    found = pairwise(members)
    for i in range(5):
        for j in range(5):
            expected = match(members[i], members[j]).correlations.mean()
            assert found[i, j] == pytest.approx(expected)
    np.testing.assert_allclose(np.diag(found), 1)
    units = member_units(members, None)
    np.testing.assert_allclose(agreement(units, units[[3, 1]]), found[:, [3, 1]])


def test_members_that_use_the_same_few_factors_agree_wholly(rng):
    """Unused factors are nothing to disagree on; a factor that one alone uses is."""
    _, members = planted(rng, n_members=3, noise=0, turn=0)
    used = np.array([[1, 1, 0, 0]] * 2 + [[1, 1, 1, 0]], bool)
    same = np.stack([members[0]] * 3)
    np.testing.assert_allclose(pairwise(same, used)[:2, :2], 1)
    np.testing.assert_allclose(pairwise(same, used)[2], [2 / 3, 2 / 3, 1], atol=0.1)
    none = np.zeros_like(used)
    np.testing.assert_array_equal(pairwise(same, none), 0)


def test_hundreds_of_members_take_seconds(rng):
    truth, members = planted(rng, n_members=256, n_dates=1000, n_factors=5, noise=0.5, turn=0.1)
    start = process_time()
    consensus = align_members(members)
    assert process_time() - start < 30
    assert match(consensus_factors(consensus, members), truth).correlations.min() > 0.97
