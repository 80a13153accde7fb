"""Matching against brute force, regression and permuted references."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import ortho_group
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from jaxvae.analysis.matching import Compared, assign, match, mcc, subspace_r2
from jaxvae.analysis.metrics import correlation


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


def test_matching_undoes_order_sign_and_scale(rng):
    reference = rng.normal(size=(400, 5))
    order, signs = rng.permutation(5), rng.choice([-1.0, 1.0], 5)
    noisy = reference + 0.3 * rng.normal(size=(400, 5))
    learned = 3 + noisy[:, order] * signs * rng.uniform(0.1, 10, 5)
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
    assert mcc(matching, swapped, reference) == pytest.approx(expected.mean())
    for k, one in enumerate(expected):
        # Of the same matching, with the other learned factor constant, which counts 0.
        alone = np.where(np.arange(2) == k, swapped, 0.0)
        assert mcc(matching, alone, reference) == pytest.approx(one / 2)


def test_subspace_r2_is_regression_on_fit_scored_later(rng):
    learned, later = rng.normal(size=(200, 3)), rng.normal(size=(100, 3))
    weights = rng.normal(size=(3, 2))
    reference = 1 + learned @ weights + rng.normal(size=(200, 2))
    unseen = 1 + later @ weights + rng.normal(size=(100, 2))
    model = LinearRegression().fit(learned, reference)
    residual = ((unseen - model.predict(later)) ** 2).sum(0)
    expected = 1 - residual / ((unseen - reference.mean(0)) ** 2).sum(0)
    assert subspace_r2(Compared(learned, reference, later, unseen)) == pytest.approx(
        expected.mean()
    )
    in_sample = r2_score(reference, model.predict(learned))
    assert subspace_r2(Compared(learned, reference, learned, reference)) == pytest.approx(in_sample)


def test_rotation_moves_mcc_and_not_subspace_r2(rng):
    reference = rng.normal(size=(500, 4))
    learned = 1e-3 * reference @ ortho_group.rvs(4, random_state=1)
    assert match(learned, reference).correlations.mean() < 0.9
    assert subspace_r2(Compared(learned, reference, learned, reference)) == pytest.approx(1)


def test_subspace_r2_bears_collapsed_and_repeated_factors(rng):
    reference = rng.normal(size=(200, 2))
    learned = np.column_stack([reference, reference[:, 0], np.full(200, 0.3)])
    later = learned + np.array([0, 0, 0, 5])
    assert subspace_r2(Compared(learned, reference, later, reference)) == pytest.approx(1)
