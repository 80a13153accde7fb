"""UDR against golden values, a plain loop and the invariances of its definition."""

from time import process_time

import numpy as np
import pytest
from scipy.stats import ortho_group, rankdata, spearmanr

from jaxvae.analysis.nulls import random_shifts
from jaxvae.analysis.udr import pair_scores, rotated_udr, shifted_udr, udr, udr_by_group
from jaxvae.errors import OptionError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def uncorrelated(rng, n_dates, n_factors):
    """Factors of rank correlation 0 exactly: every combination of three levels, shuffled."""
    levels = np.stack(np.meshgrid(*[[0.0, 1.0, 2.0]] * n_factors), axis=-1).reshape(-1, n_factors)
    return rng.permutation(np.tile(levels, (n_dates // len(levels), 1)))


def ensemble(rng, n_members=9, n_dates=120, n_factors=4):
    """Members that hold the same factors with noise of their own, and KLs on both sides of .01."""
    truth = rng.normal(size=(n_dates, n_factors))
    means = truth + rng.normal(size=(n_members, n_dates, n_factors))
    return means, rng.choice([0.004, 0.02, 1.0], size=(n_members, n_factors))


def relative_strength(matrix):
    """Mean over columns of max² / sum, column by column."""
    return np.mean([max(column) ** 2 / sum(column) for column in matrix.T])


def loop_pair_score(means, other_means, kl, other_kl):
    matrix = np.array(
        [
            [abs(spearmanr(a, b).statistic) for b in other_means.T[other_kl > 0.01]]
            for a in means.T[kl > 0.01]
        ]
    )
    return (relative_strength(matrix) + relative_strength(matrix.T)) / 2 if matrix.size else 0.0


def test_scores_are_the_plain_loops(rng):
    means, kl = ensemble(rng)
    kl[2] = 0.01
    pairs = [
        [loop_pair_score(means[i], means[j], kl[i], kl[j]) for j in range(9)] for i in range(9)
    ]
    np.testing.assert_allclose(pair_scores(means, kl), pairs, atol=1e-12)
    medians = [np.median([pairs[i][j] for j in range(9) if j != i]) for i in range(9)]
    np.testing.assert_allclose(udr(means, kl), medians, atol=1e-12)
    assert udr(means, kl)[2] == 0


def test_more_members_than_a_tile_change_nothing(rng):
    means, kl = ensemble(rng, n_members=70)
    np.testing.assert_allclose(
        pair_scores(means, kl)[60:, 60:], pair_scores(means[60:], kl[60:]), atol=1e-12
    )


def test_identity_scores_one(rng):
    """Golden value: the same uncorrelated factors, in any order, sign and monotone shape."""
    factors = uncorrelated(rng, 162, 4)
    means = np.stack([factors, -factors[:, [2, 0, 3, 1]], np.exp(3 * factors)])
    np.testing.assert_allclose(udr(means, np.ones((3, 4))), 1)


def test_equal_correlations_score_r_over_d(rng):
    """Golden value: a d × d matrix that is r everywhere."""
    one, two = rng.normal(size=(2, 300))
    means = np.stack([np.tile(series[:, None], (1, 3)) for series in (one, one + two)])
    r = np.corrcoef(rankdata(one), rankdata(one + two))[0, 1]
    np.testing.assert_allclose(udr(means, np.ones((2, 3))), r / 3)


def test_factors_without_information_do_not_count(rng):
    means = np.tile(uncorrelated(rng, 162, 4), (3, 1, 1))
    means[:, :, 3] = rng.normal(size=(3, 162))
    kl = np.ones((3, 4))
    assert udr(means, kl)[0] < 0.9
    kl[:, 3] = 0.01
    np.testing.assert_allclose(udr(means, kl), 1)


def test_a_constant_factor_scores_nothing(rng):
    """Held informative by its KL, it takes its share of the mean and correlates with nothing."""
    means = np.tile(uncorrelated(rng, 162, 4), (2, 1, 1))
    means[:, :, 3] = 0.1 + 1e-15 * rng.normal(size=162)
    np.testing.assert_allclose(udr(means, np.ones((2, 4))), 0.75)


def test_members_turned_at_random_score_below_those_that_agree(rng):
    truth = uncorrelated(rng, 162, 4)
    turned = [truth @ np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(6)]
    scores = udr(np.stack(turned + [truth] * 10), np.ones((16, 4)))
    assert scores[:6].max() < 0.6
    np.testing.assert_allclose(scores[6:], 1)


def test_the_score_is_a_median_over_the_others(rng):
    """Four members agree and one does not: the median of three ones and a low score is 1."""
    means = np.tile(uncorrelated(rng, 162, 4), (5, 1, 1))
    means[4] = rng.normal(size=(162, 4))
    scores = udr(means, np.ones((5, 4)))
    np.testing.assert_allclose(scores[:4], 1)
    assert scores[4] < 0.2


def test_refuses_a_single_member(rng):
    with pytest.raises(OptionError, match="at least 2"):
        udr(rng.normal(size=(1, 50, 3)), np.ones((1, 3)))


def test_hundreds_of_members_take_seconds(rng):
    """256 members × 5 factors × 700 dates: .3 s on one core; a plain loop needs a minute or two."""
    means = rng.normal(size=(256, 700, 5))
    start = process_time()
    scores = udr(means, np.ones((256, 5)))
    assert process_time() - start < 10
    assert scores.max() < 0.1


def test_members_are_ranked_within_their_group_alone(rng):
    means, kl = ensemble(rng)
    groups, usable = np.array([2.0, 0.5, 2.0, 0.5, 2.0, 2.0, 4.0, 0.5, 9.0]), np.ones(9, dtype=bool)
    usable[[4, 7]] = False
    means[4] = np.nan
    found = udr_by_group(means, kl, groups, usable)
    np.testing.assert_array_equal(found[[0, 2, 5]], udr(means[[0, 2, 5]], kl[[0, 2, 5]]))
    np.testing.assert_array_equal(found[[1, 3]], udr(means[[1, 3]], kl[[1, 3]]))
    assert np.isnan(found[[4, 6, 7, 8]]).all()


def test_chance_is_the_score_of_members_that_share_nothing(rng):
    """Shifted members that agree score as independent ones do, autocorrelation and all."""

    def walk(shape):
        series = rng.normal(size=shape)
        for date in range(1, shape[-2]):
            series[..., date, :] += 0.8 * series[..., date - 1, :]
        return series

    kl = np.ones((5, 3))
    independent = [udr(walk((5, 300, 3)), kl)[0] for _ in range(200)]
    shifted = [
        shifted_udr(rng, np.tile(walk((300, 3)), (5, 1, 1)), kl, 4).mean() for _ in range(60)
    ]
    error = np.hypot(np.std(independent) / np.sqrt(200), np.std(shifted) / np.sqrt(60))
    assert np.mean(shifted) == pytest.approx(np.mean(independent), abs=4 * error)
    assert np.mean(independent) < 0.5


def test_the_chance_level_is_that_of_whole_tables(rng):
    """Shifts drawn again, all members rolled and all pairs scored."""
    means, kl = ensemble(rng, n_members=6)
    found, again = shifted_udr(np.random.default_rng(3), means, kl, 5), np.random.default_rng(3)
    for one in found:
        judged = again.integers(6)
        shifts = random_shifts(again, 120, 6)
        shifts[judged] = 0
        rolled = [np.roll(mean, shift, axis=0) for mean, shift in zip(means, shifts, strict=True)]
        assert one == pytest.approx(udr(np.stack(rolled), kl)[judged])


def test_rotation_null_is_that_of_members_turned_at_random(rng):
    truth = rng.normal(size=(400, 4))
    kl = np.array([1.0, 1.0, 0.001, 1.0])
    mixed = truth.copy()
    mixed[:, kl > 0.01] = truth[:, kl > 0.01] @ [[5.0, 1.0, 1.0], [4.0, 1.0, 0.9], [0.5, 0.0, 0.1]]
    found = rotated_udr(rng, mixed, kl, 200)
    white = np.linalg.qr(truth[:, kl > 0.01] - truth[:, kl > 0.01].mean(axis=0))[0]
    turned = white @ ortho_group.rvs(3, size=200, random_state=1)
    assert found.mean() == pytest.approx(udr(turned, np.ones((200, 3))).mean(), abs=0.01)
    assert found.max() < 1


def test_without_informative_factors_nothing_can_be_rotated(rng):
    assert rotated_udr(rng, rng.normal(size=(50, 2)), np.zeros(2), 10).size == 0
