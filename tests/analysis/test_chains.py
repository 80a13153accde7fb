"""Factors chained over windows: planted orders and signs come back, chance is chance."""

import numpy as np
import pytest

from jaxvae.analysis import chains

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


def chained(factors, seed=0):
    return chains.chain_windows(np.random.default_rng(seed), factors, STEP)


def test_planted_orders_and_signs_come_back():
    windows, shuffled, order, signs = planted()
    chain = chained(shuffled)
    back = chains.rearranged(shuffled, chain)
    # The first window's own order and signs are the convention.
    expected = windows[:, :, order[0]] * signs[0]
    np.testing.assert_array_equal(back, expected)
    np.testing.assert_allclose(chain.stability[1:], 1.0)
    np.testing.assert_allclose(chain.correlations[1:], 1.0)
    assert np.isnan(chain.stability[0])


def test_loadings_follow_their_factors():
    _, shuffled, order, signs = planted()
    loadings = np.random.default_rng(1).normal(size=(7, K))
    own = np.stack([loadings[:, o] * s for o, s in zip(order, signs, strict=True)])
    back = chains.rearranged(own, chained(shuffled))
    np.testing.assert_array_equal(back, np.broadcast_to(back[0], back.shape))
    persistence = chains.persistence(back, lag=3)
    assert np.isnan(persistence[:3]).all()
    np.testing.assert_allclose(persistence[3:], 1.0)


def test_unrelated_windows_score_chance():
    """Five factors and 250 shared dates: .090 by chance (see `nulls`)."""
    factors = np.random.default_rng(0).normal(size=(30, 260, 5))
    chain = chained(factors)
    assert np.mean(chain.stability[1:]) == pytest.approx(0.090, abs=0.01)
    assert np.mean(chain.chance[1:]) == pytest.approx(0.090, abs=0.01)


def test_a_factor_out_of_use_counts_nothing_and_what_returns_takes_its_place():
    windows, shuffled, order, _ = planted()
    silent = shuffled.copy()
    silent[2, :, order[2] == 0] = 0.0
    chain = chained(silent)
    back = chains.rearranged(silent, chain)
    place = int(np.flatnonzero(order[0] == 0)[0])
    assert not back[2][:, place].any()
    assert chain.correlations[2, place] == chain.correlations[3, place] == 0
    np.testing.assert_allclose(chain.stability[1:], [1, 0.75, 0.75, 1, 1])
    assert np.array_equal(np.abs(back[3]), np.abs(windows[3][:, order[0]]))
    assert all(sorted(row) == list(range(K)) for row in chain.order.tolist())


def test_loadings_of_unrelated_factors_do_not_persist():
    loadings = np.random.default_rng(0).normal(size=(40, 50, 3))
    persistence = chains.persistence(loadings, 5)[5:]
    assert abs(persistence.mean()) < 4 / np.sqrt(persistence.size * 50)
    assert np.isnan(chains.persistence(loadings[:4], 5)).all()
