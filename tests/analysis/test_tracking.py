"""Factors tracked over windows: planted orders and signs come back, chance is chance."""

import numpy as np
import pytest

from jaxvae.analysis import tracking

N_WINDOWS, N_DATES, STEP, K = 6, 60, 10, 4


def planted(seed=0):
    """Windows of one series of factors, each in an order and with signs of its own."""
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(N_DATES + STEP * (N_WINDOWS - 1), K))
    order = np.stack([rng.permutation(K) for _ in range(N_WINDOWS)])
    signs = rng.choice([-1.0, 1.0], size=(N_WINDOWS, K))
    windows = [series[w * STEP : w * STEP + N_DATES] for w in range(N_WINDOWS)]
    shuffled = [window[:, o] * s for window, o, s in zip(windows, order, signs, strict=True)]
    return np.stack(windows), np.stack(shuffled), order, signs


def tracked(factors, seed=0):
    return tracking.track_factors(np.random.default_rng(seed), factors, STEP)


def test_planted_orders_and_signs_come_back():
    windows, shuffled, order, signs = planted()
    found = tracked(shuffled)
    back = tracking.rearrange(shuffled, found)
    # The first window's own order and signs are the convention.
    expected = windows[:, :, order[0]] * signs[0]
    np.testing.assert_array_equal(back, expected)
    np.testing.assert_allclose(found.agreement[1:], 1.0)
    np.testing.assert_allclose(found.correlations[1:], 1.0)
    assert np.isnan(found.agreement[0])


def test_loadings_follow_their_factors():
    _, shuffled, order, signs = planted()
    loadings = np.random.default_rng(1).normal(size=(7, K))
    own = np.stack([loadings[:, o] * s for o, s in zip(order, signs, strict=True)])
    back = tracking.rearrange(own, tracked(shuffled))
    np.testing.assert_array_equal(back, np.broadcast_to(back[0], back.shape))
    congruence = tracking.congruence(back, lag=3)
    assert np.isnan(congruence[:3]).all()
    np.testing.assert_allclose(congruence[3:], 1.0)


def test_unrelated_windows_score_chance():
    """Five factors and 250 shared dates: .090 by chance, .113 its 95th percentile (`nulls`)."""
    factors = np.random.default_rng(0).normal(size=(30, 260, 5))
    found = tracked(factors)
    assert np.mean(found.agreement[1:]) == pytest.approx(0.090, abs=0.01)
    assert np.mean(found.chance[1:]) == pytest.approx(0.113, abs=0.01)
    assert (found.agreement[1:] > found.chance[1:]).mean() < 0.2


def test_a_factor_out_of_use_counts_nothing_and_what_returns_takes_its_place():
    windows, shuffled, order, _ = planted()
    silent = shuffled.copy()
    silent[2, :, order[2] == 0] = 0.0
    found = tracked(silent)
    back = tracking.rearrange(silent, found)
    place = int(np.flatnonzero(order[0] == 0)[0])
    assert not back[2][:, place].any()
    assert found.correlations[2, place] == found.correlations[3, place] == 0
    np.testing.assert_allclose(found.agreement[1:], [1, 0.75, 0.75, 1, 1])
    assert np.array_equal(np.abs(back[3]), np.abs(windows[3][:, order[0]]))
    assert all(sorted(row) == list(range(K)) for row in found.order.tolist())


def test_loadings_of_unrelated_factors_are_not_congruent():
    loadings = np.random.default_rng(0).normal(size=(40, 50, 3))
    congruence = tracking.congruence(loadings, 5)[5:]
    assert abs(congruence.mean()) < 4 / np.sqrt(congruence.size * 50)
    assert np.isnan(tracking.congruence(loadings[:4], 5)).all()
