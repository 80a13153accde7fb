"""Eigenpairs of scaled second moments against dense decompositions, whichever side is longer."""

import numpy as np
import pytest

from jaxvae.analysis import second_moments
from jaxvae.analysis.second_moments import SecondMoments

K = 4


@pytest.mark.parametrize("large", [10_000, 20], ids=["all at once", "one by one"])
@pytest.mark.parametrize("shape", [(60, 90), (90, 60)], ids=["fewer dates", "fewer assets"])
def test_eigenpairs_are_those_of_the_scaled_covariance(monkeypatch, shape, large):
    monkeypatch.setattr(second_moments, "_LARGE", large)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    values += 1 + rng.normal(size=shape)
    noise = rng.uniform(0.5, 1.5, shape[1])
    scaled = np.cov(values.T, bias=True) / np.sqrt(np.outer(noise, noise))
    expected = np.linalg.eigvalsh(scaled)[::-1]
    sample = SecondMoments.of(values)
    found, vectors = sample.leading(noise, K)
    np.testing.assert_allclose(found, expected[:K], rtol=1e-9)
    np.testing.assert_allclose(scaled @ vectors, vectors * found, atol=1e-9)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(K), atol=1e-9)
    np.testing.assert_allclose(sample.eigenvalues(noise), expected, atol=1e-9)
    np.testing.assert_allclose(sample.eigenvalues(noise, K)[:K], expected[:K], rtol=1e-9)
    np.testing.assert_allclose(sample.variances, values.var(axis=0))
