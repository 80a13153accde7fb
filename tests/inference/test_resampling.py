"""Weighted draws."""

import numpy as np
import pytest

from jaxvae.inference.resampling import (
    effective_sample_size,
    normalised_weights,
    systematic_resample,
)

RNG = np.random.default_rng(0)


def test_weights_come_from_logarithms_of_any_size():
    logs = np.array([[1000.0, 1000.0 + np.log(3.0)], [-np.inf, 1000.0]])
    np.testing.assert_allclose(normalised_weights(logs), [0.2, 0.6, 0.0, 0.2])


def test_equal_weights_count_fully_and_one_alone_once():
    assert effective_sample_size(np.full(7, 1 / 7)) == pytest.approx(7)
    assert effective_sample_size(np.eye(7)[2]) == 1


def test_each_draw_is_picked_as_often_as_its_weight_says_rounded():
    weights = RNG.dirichlet(np.full(50, 0.3))
    counts = np.bincount(systematic_resample(RNG, weights, 200), minlength=50)
    assert counts.sum() == 200
    assert (np.abs(counts - 200 * weights) < 1).all()


def test_places_are_in_random_order():
    picked = systematic_resample(RNG, np.full(100, 0.01), 100)
    assert sorted(picked) == list(range(100))
    assert abs(np.corrcoef(picked, np.arange(100))[0, 1]) < 0.4
