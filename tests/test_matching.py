"""Matching against brute force, nulls against known levels, consensus against planted truth."""

from itertools import permutations
from time import perf_counter

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from jaxvae.analysis.consensus import (
    agreement,
    align_members,
    aligned_factors,
    consensus_factors,
    consensus_loadings,
    member_stability,
    stability,
)
from jaxvae.analysis.matching import assign, match, matched_correlations, mcc, subspace_r2
from jaxvae.analysis.metrics import correlation
from jaxvae.analysis.nulls import chance_level, rotation_floor
from jaxvae.errors import DataError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def best_total(strength):
    """The largest total over one-to-one assignments of the columns, by trying them all."""
    wide = strength if strength.shape[0] >= strength.shape[1] else strength.T
    columns = range(wide.shape[1])
    orders = permutations(range(wide.shape[0]), wide.shape[1])
    return max(sum(wide[row, j] for row, j in zip(order, columns, strict=True)) for order in orders)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (5, 5), (5, 3), (3, 5), (1, 4)])
def test_assignment_is_the_best_of_all(rng, shape):
    strength = rng.uniform(size=(20, *shape))
    for matrix, chosen in zip(strength, assign(strength), strict=True):
        matched = np.flatnonzero(chosen >= 0)
        assert len(matched) == min(shape)
        assert len(set(chosen[matched])) == len(matched)
        assert matrix[chosen[matched], matched].sum() == pytest.approx(best_total(matrix))


def test_best_matches_are_not_greedy(rng):
    """Factor 0 is the best match of both references; one of them must do with factor 1."""
    strength = np.array([[[0.9, 0.8], [0.7, 0.1]]])
    np.testing.assert_array_equal(assign(strength), [[1, 0]])


def mixed(rng, reference, noise):
    """The reference in another order, sign and scale, with noise; and that order and sign."""
    n_factors = reference.shape[1]
    order, signs = rng.permutation(n_factors), rng.choice([-1.0, 1.0], n_factors)
    scales = rng.uniform(0.1, 10, n_factors)
    noisy = reference + noise * rng.normal(size=reference.shape)
    return 3 + noisy[:, order] * signs * scales, order, signs


def test_matching_undoes_order_sign_and_scale(rng):
    reference = rng.normal(size=(400, 5))
    learned, order, signs = mixed(rng, reference, noise=0.3)
    matching = match(learned, reference)
    np.testing.assert_array_equal(order[matching.learned], np.arange(5))
    np.testing.assert_array_equal(matching.signs, signs[matching.learned])
    np.testing.assert_allclose(matching.correlations, 1 / np.sqrt(1.09), atol=0.02)
    assert mcc(matching, learned, reference) == pytest.approx(matching.correlations.mean())


def test_fewer_learned_factors_leave_references_that_count_zero(rng):
    reference = rng.normal(size=(300, 4))
    matching = match(reference[:, [2, 0]], reference)
    np.testing.assert_array_equal(matching.learned, [1, -1, 0, -1])
    np.testing.assert_array_equal(matching.signs, [1, 0, 1, 0])
    assert mcc(matching, reference[:, [2, 0]], reference) == pytest.approx(0.5)


def test_more_learned_factors_leave_the_useless_out(rng):
    reference = rng.normal(size=(300, 2))
    learned = np.column_stack([rng.normal(size=(300, 2)), -reference])
    np.testing.assert_array_equal(match(learned, reference).learned, [2, 3])
    np.testing.assert_array_equal(match(learned, reference).signs, [-1, -1])


def test_constant_factor_matches_nothing(rng):
    reference = rng.normal(size=(300, 2))
    learned = np.column_stack([np.full(300, 0.1), reference[:, 0]])
    matching = match(learned, reference)
    np.testing.assert_array_equal(matching.learned, [1, -1])
    assert mcc(matching, learned, reference) == pytest.approx(0.5)


def test_signs_and_assignment_are_not_learned_again_out_of_sample(rng):
    reference = rng.normal(size=(300, 2))
    matching = match(reference, reference)
    assert mcc(matching, -reference, reference) == pytest.approx(-1)
    swapped = reference[:, ::-1]
    expected = np.diag(correlation(swapped, reference))
    np.testing.assert_allclose(matched_correlations(matching, swapped, reference), expected)


def test_subspace_r2_is_regression_on_fit_scored_later(rng):
    learned, later = rng.normal(size=(200, 3)), rng.normal(size=(100, 3))
    weights = rng.normal(size=(3, 2))
    reference = 1 + learned @ weights + rng.normal(size=(200, 2))
    unseen = 1 + later @ weights + rng.normal(size=(100, 2))
    model = LinearRegression().fit(learned, reference)
    residual = ((unseen - model.predict(later)) ** 2).sum(0)
    expected = 1 - residual / ((unseen - reference.mean(0)) ** 2).sum(0)
    assert subspace_r2(learned, reference, later, unseen) == pytest.approx(expected.mean())
    in_sample = r2_score(reference, model.predict(learned))
    assert subspace_r2(learned, reference, learned, reference) == pytest.approx(in_sample)


def test_rotation_moves_mcc_and_not_subspace_r2(rng):
    reference = rng.normal(size=(500, 4))
    learned = 1e-3 * reference @ ortho_group.rvs(4, random_state=1)
    assert match(learned, reference).correlations.mean() < 0.9
    assert subspace_r2(learned, reference, learned, reference) == pytest.approx(1)


def test_subspace_r2_bears_collapsed_and_repeated_factors(rng):
    reference = rng.normal(size=(200, 2))
    learned = np.column_stack([reference, reference[:, 0], np.full(200, 0.3)])
    later = learned + np.array([0, 0, 0, 5])
    assert subspace_r2(learned, reference, later, reference) == pytest.approx(1)


@pytest.mark.parametrize(
    ("n_factors", "n_dates", "mean", "percentile"),
    [(5, 250, 0.090, 0.113), (5, 1000, 0.045, 0.058), (10, 250, 0.108, 0.124)],
)
def test_chance_level_of_independent_series(rng, n_factors, n_dates, mean, percentile):
    nulls = [
        chance_level(rng, *rng.normal(size=(2, n_dates, n_factors)), n_draws=100) for _ in range(10)
    ]
    found = np.mean(nulls, axis=0)
    np.testing.assert_allclose(found, [mean, percentile], atol=0.003)


def test_chance_level_keeps_autocorrelation(rng):
    """Two random walks correlate by chance; a level for independent dates would not know."""
    walks = rng.normal(size=(2, 500, 3)).cumsum(axis=1)
    assert chance_level(rng, *walks).mean > 0.3


def test_chance_level_is_blind_to_the_true_link(rng):
    factors = rng.normal(size=(1000, 5))
    assert chance_level(rng, factors, factors).mean == pytest.approx(0.045, abs=0.004)


def test_chance_level_refuses_too_few_dates(rng):
    with pytest.raises(DataError, match="give at least 9"):
        chance_level(rng, np.ones((8, 1)), np.ones((8, 1)))


@pytest.mark.parametrize(("n_factors", "level"), [(3, 0.827), (5, 0.728), (10, 0.591)])
def test_rotation_floor_of_uncorrelated_factors(rng, n_factors, level):
    reference = np.linalg.qr(rng.normal(size=(300, n_factors + 1)))[0]
    reference = np.linalg.qr(reference - reference.mean(0))[0][:, :n_factors]
    assert rotation_floor(rng, reference, 2000).mean == pytest.approx(level, abs=0.006)


def test_rotation_floor_is_that_of_rotated_white_factors(rng):
    """Correlated factors: whiten, rotate and match in full."""
    reference = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3))
    centred = reference - reference.mean(0)
    white = np.linalg.qr(centred)[0]
    rotations = ortho_group.rvs(3, size=1500, random_state=2)
    scores = [match(white @ rotation, reference).correlations.mean() for rotation in rotations]
    null = rotation_floor(rng, reference, 1500)
    assert null.mean == pytest.approx(np.mean(scores), abs=0.012)
    assert null.percentile_95 == pytest.approx(np.quantile(scores, 0.95), abs=0.012)


def test_one_factor_cannot_be_rotated_away(rng):
    assert rotation_floor(rng, rng.normal(size=(50, 1)), 10).mean == pytest.approx(1)


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
    np.testing.assert_allclose(agreement(members), 1)


def test_order_is_by_stability_or_importance(rng):
    """Member factors noisier from left to right; importance says the opposite order."""
    truth = rng.normal(size=(500, 3))
    members = truth + [0.2, 0.6, 1.2] * rng.normal(size=(8, 500, 3))
    by_stability = align_members(members)
    assert (np.diff(by_stability.stability) < 0).all()
    importance = np.tile([1.0, 2.0, 3.0], (8, 1))
    by_importance = align_members(members, importance=importance)
    np.testing.assert_array_equal(by_importance.alignment.assignment[0], [2, 1, 0])
    np.testing.assert_allclose(by_importance.stability, by_stability.stability[::-1])


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
    assert agreement(members, active)[3, 3] == pytest.approx(0.75)


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


def test_agreement_is_the_mean_match_of_each_pair(rng):
    _, members = planted(rng, n_members=5)
    found = agreement(members)
    for i in range(5):
        for j in range(5):
            expected = match(members[i], members[j]).correlations.mean()
            assert found[i, j] == pytest.approx(expected)
    np.testing.assert_allclose(np.diag(found), 1)


def test_hundreds_of_members_take_seconds(rng):
    truth, members = planted(rng, n_members=256, n_dates=1000, n_factors=5, noise=0.5, turn=0.1)
    start = perf_counter()
    consensus = align_members(members)
    assert perf_counter() - start < 10
    assert match(consensus_factors(consensus, members), truth).correlations.min() > 0.97
