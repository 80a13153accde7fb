"""Nulls against known levels and a full simulation."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from jaxvae.analysis.disentanglement import sap
from jaxvae.analysis.factor_scores import (
    ROTATION_INVARIANT,
    AxisScores,
    MatchedScores,
    axis_scores,
    matched_scores,
)
from jaxvae.analysis.matching import compare_on, match
from jaxvae.analysis.nulls import (
    null_of,
    random_shifts,
    rotated_scores,
    rotation_null,
    shifted_scores,
)
from jaxvae.errors import DataError

ALL = slice(None)


def mcc(compared):
    return matched_scores(compared).mcc


def in_sample(rng, learned, reference, n_draws=500):
    """Chance level of the mean matched correlation, matched and scored on all dates."""
    return null_of(shifted_scores(rng, mcc, learned, reference, ALL, ALL, n_draws))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("n_factors", "n_dates", "mean", "percentile"),
    [(5, 250, 0.090, 0.113), (5, 1000, 0.045, 0.058), (10, 250, 0.108, 0.124)],
)
def test_chance_level_of_independent_series(rng, n_factors, n_dates, mean, percentile):
    nulls = [
        in_sample(rng, *rng.normal(size=(2, n_dates, n_factors)), n_draws=100) for _ in range(10)
    ]
    found = np.mean(nulls, axis=0)
    np.testing.assert_allclose(found, [mean, percentile], atol=0.003)


def test_chance_level_keeps_autocorrelation(rng):
    """Two random walks correlate by chance; a level for independent dates would not know."""
    walks = rng.normal(size=(2, 500, 3)).cumsum(axis=1)
    assert in_sample(rng, *walks).mean > 0.3


def test_chance_level_is_blind_to_the_true_link(rng):
    factors = rng.normal(size=(1000, 5))
    assert in_sample(rng, factors, factors).mean == pytest.approx(0.045, abs=0.004)


def test_chance_level_refuses_too_few_dates(rng):
    with pytest.raises(DataError, match="give at least 9"):
        random_shifts(rng, 8, 1)


@pytest.mark.parametrize(
    ("n_factors", "level", "percentile"), [(3, 0.827, None), (5, 0.728, 0.83), (10, 0.591, None)]
)
def test_rotation_null_of_uncorrelated_factors(rng, n_factors, level, percentile):
    reference = np.linalg.qr(rng.normal(size=(300, n_factors + 1)))[0]
    reference = np.linalg.qr(reference - reference.mean(0))[0][:, :n_factors]
    null = rotation_null(rng, reference, 2000)
    assert null.mean == pytest.approx(level, abs=0.006)
    assert percentile is None or null.percentile_95 == pytest.approx(percentile, abs=0.006)


def test_rotation_null_is_that_of_rotated_white_factors(rng):
    """Correlated factors: whiten, rotate and match in full."""
    reference = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 3))
    centred = reference - reference.mean(0)
    white = np.linalg.qr(centred)[0]
    rotations = ortho_group.rvs(3, size=1500, random_state=2)
    scores = [match(white @ rotation, reference).correlations.mean() for rotation in rotations]
    null = rotation_null(rng, reference, 1500)
    assert null.mean == pytest.approx(np.mean(scores), abs=0.012)
    assert null.percentile_95 == pytest.approx(np.quantile(scores, 0.95), abs=0.012)


def test_one_factor_cannot_be_rotated_away(rng):
    assert rotation_null(rng, rng.normal(size=(50, 1)), 10).mean == pytest.approx(1)


def test_a_shift_leaves_no_date_near_its_own(rng):
    shifts = random_shifts(rng, 100, 2000)
    assert (shifts.min(), shifts.max()) == (10, 90)


SCORES = {
    "matched correlation": mcc,
    "subspace": lambda compared: matched_scores(compared).subspace_r2,
    "sap": sap,
}


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_chance_of_a_held_out_score_is_that_of_independent_references(rng, score):
    """Learned on 200 dates, scored on the next 100; autocorrelated, so that shifts must keep it."""
    fit, later = slice(0, 200), slice(200, 300)

    def smooth(n_draws):
        return autoregression(rng, 0.8, (n_draws, 4), 300)

    learned = smooth(1)[0]
    drawn = [score(compare_on(learned, other, fit, later)) for other in smooth(300)]
    shifted = np.concatenate(
        [shifted_scores(rng, score, learned, other, fit, later, 30) for other in smooth(12)]
    )
    error = np.std(drawn) / np.sqrt(300)
    assert shifted.mean() == pytest.approx(np.mean(drawn), abs=5 * error)
    assert np.quantile(shifted, 0.95) == pytest.approx(
        np.quantile(drawn, 0.95), abs=0.4 * np.std(drawn)
    )


def autoregression(rng, persistence, shape, n_dates):
    """Stationary AR(1) factors, dates before the last axis."""
    series = rng.normal(size=(shape[0], n_dates, shape[1]))
    series[:, 0] /= np.sqrt(1 - persistence**2)
    for date in range(1, n_dates):
        series[:, date] += persistence * series[:, date - 1]
    return series


def test_what_is_matched_on_fit_scores_less_on_later_dates(rng):
    fit, later = slice(0, 200), slice(200, 300)
    learned, reference = rng.normal(size=(2, 300, 4))
    inside, outside = (
        shifted_scores(rng, mcc, learned, reference, fit, rows, 300).mean() for rows in (fit, later)
    )
    assert inside > outside + 0.03
    assert outside == pytest.approx(0, abs=0.02)


def test_rotation_null_in_closed_form_is_that_of_full_rotations(rng):
    reference = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4))
    full = null_of(rotated_scores(rng, mcc, reference, ALL, ALL, 800))
    np.testing.assert_allclose(rotation_null(rng, reference, 800), full, atol=0.02)


def test_rotations_are_of_the_reference_whitened_on_fit(rng):
    reference = 3 + rng.normal(size=(300, 3)) @ rng.normal(size=(3, 3))
    seen = []

    def spy(compared):
        seen.append(compared)
        return 0.0

    rotated_scores(rng, spy, reference, slice(0, 200), slice(200, 300), 2)
    for compared in seen:
        fit_codes, fit_factors, _, factors = compared
        np.testing.assert_allclose(np.cov(fit_codes.T, ddof=0), np.eye(3), atol=1e-9)
        np.testing.assert_array_equal(np.vstack([fit_factors, factors]), reference)
        assert matched_scores(compared).subspace_r2 > 1 - 1e-9
    assert not np.allclose(seen[0][0], seen[1][0])


def test_rotation_moves_axis_scores_and_no_score_of_the_space(rng):
    reference = rng.normal(size=(600, 4))
    fit, later = slice(0, 400), slice(400, 600)

    def both(compared):
        return [*matched_scores(compared), *axis_scores(compared)]

    upright = both(compare_on(reference, reference, fit, later))
    turned = rotated_scores(rng, both, reference, fit, later, 20)
    names = (*MatchedScores._fields, *AxisScores._fields)
    for name, straight, rotated in zip(names, upright, turned.T, strict=True):
        if name in ROTATION_INVARIANT:
            np.testing.assert_allclose(rotated, straight, atol=2e-3)
        else:
            assert rotated.mean() < straight - 0.1, name
