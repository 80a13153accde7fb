"""Nulls against known levels and a full simulation."""

import numpy as np
import pytest
from scipy.stats import ortho_group

from jaxvae.analysis.matching import match, mcc
from jaxvae.analysis.nulls import chance_level, held_out_chance_level, rotation_floor
from jaxvae.errors import DataError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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


def test_held_out_chance_is_that_of_scores_matched_on_earlier_dates(rng):
    """Against independent references: matched on 200 dates, scored with signs on the next 100."""
    fit, later = slice(0, 200), slice(200, 300)
    learned = rng.normal(size=(300, 4))
    scores = []
    for _ in range(400):
        other = rng.normal(size=(300, 4))
        scores.append(mcc(match(learned[fit], other[fit]), learned[later], other[later]))
    null = held_out_chance_level(rng, learned, rng.normal(size=(300, 4)), fit, later)
    assert null.mean == pytest.approx(np.mean(scores), abs=0.015)
    assert null.percentile_95 == pytest.approx(np.quantile(scores, 0.95), abs=0.02)
    inside = held_out_chance_level(rng, learned, rng.normal(size=(300, 4)), fit, fit)
    assert inside.mean > null.mean + 0.03
