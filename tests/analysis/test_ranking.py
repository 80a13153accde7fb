"""The simplest that is level with the best."""

import numpy as np

from jaxvae.analysis.ranking import simplest_within_error


def rank(scores, complexity):
    rng = np.random.default_rng(0)
    return simplest_within_error(rng, np.asarray(scores), np.asarray(complexity))


def alternating(mean, spread, n=100):
    """Scores around a mean whose standard error is of the spread over √n, a little below."""
    return mean + spread * np.random.default_rng(1).permutation(np.repeat([-1.0, 1.0], n // 2))


def test_the_simplest_within_one_standard_error_wins():
    best = np.zeros(100)
    level, behind = alternating(-0.05, 1.0), alternating(-0.3, 1.0)
    found = rank([best, level, behind], [2, 1, 0])
    assert found.chosen == 1
    np.testing.assert_allclose(found.difference, [0, -0.05, -0.3], atol=1e-12)
    assert found.difference_error[0] == 0
    assert 0.05 < found.difference_error[1] < 0.2


def test_errors_are_of_differences_paired_by_date():
    """What all candidates share, such as a wild date, makes no two of them level."""
    shared = alternating(0.0, 50.0)
    found = rank([shared, shared - 0.06], [1, 0])
    assert found.chosen == 0
    assert found.score_error[0] > 1
    assert found.difference_error[1] < 1e-9


def test_a_gain_that_does_not_matter_is_no_reason_for_a_richer_model():
    """However sure it is."""
    shared = alternating(0.0, 50.0)
    assert rank([shared, shared - 0.04], [1, 0]).chosen == 1
    assert rank([shared, shared - 0.06], [1, 0]).chosen == 0


def test_errors_know_that_dates_cluster():
    spells = np.repeat([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0], 25)
    mixed = np.random.default_rng(0).permutation(spells)
    errors = [
        rank([np.zeros(200), 0.1 * x - 1], [0, 1]).difference_error[1] for x in (spells, mixed)
    ]
    assert errors[0] > 1.5 * errors[1]


def test_of_equals_the_first_and_never_one_without_scores():
    scores = [np.full(50, np.nan), np.zeros(50), np.zeros(50)]
    found = rank(scores, [0, 1, 1])
    assert found.chosen == 1
    assert np.isnan(found.score[0])
    assert np.isnan(found.difference_error[0])
