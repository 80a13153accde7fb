"""Exponentially weighted averages against the recursion, distances against dense algebra."""

import numpy as np
import pytest

from jaxvae.baselines.averages import (
    CHUNK,
    average_after,
    averages_before,
    distances_of_dates,
)

ROWS = np.random.default_rng(0).normal(size=(2 * CHUNK + 5, 3))
FIRST = np.diag([1.0, 2.0, 3.0])


@pytest.mark.parametrize("decay", [0.97, 0.0, 1.0])
def test_averages_are_the_recursion(decay):
    found, expected = np.concatenate(list(averages_before(ROWS, decay, FIRST))), FIRST
    assert len(found) == len(ROWS)
    for average, row in zip(found, ROWS, strict=True):
        np.testing.assert_allclose(average, expected, atol=1e-12)
        expected = decay * expected + (1 - decay) * np.outer(row, row)
    np.testing.assert_allclose(average_after(ROWS, decay, FIRST), expected, atol=1e-12)


def test_distances_are_those_of_dense_algebra():
    chunks = list(averages_before(ROWS, 0.97, FIRST))
    gaps, log_determinants = distances_of_dates(chunks, ROWS)
    matrices = np.concatenate(chunks)
    expected = np.einsum("ta,tab,tb->t", ROWS, np.linalg.inv(matrices), ROWS)
    np.testing.assert_allclose(gaps, expected)
    np.testing.assert_allclose(log_determinants, np.linalg.slogdet(matrices)[1])
    with pytest.raises(np.linalg.LinAlgError):
        distances_of_dates([np.ones((1, 3, 3))], ROWS[:1])
