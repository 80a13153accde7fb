"""Factors of many small matrices against NumPy's, badly conditioned ones too."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.models.cholesky import cholesky, inverse_lower, solve


@pytest.fixture(scope="module", params=[1, 2, 5, 12])
def matrices(request):
    rng, size = np.random.default_rng(request.param), request.param
    maps = rng.normal(size=(2, 30, 40, size)) * rng.uniform(0.1, 10.0, size=(2, 30, 1, size))
    return np.swapaxes(maps, 2, 3) @ maps + np.eye(size)


def test_cholesky_is_numpys(matrices):
    found = cholesky(jnp.asarray(matrices, jnp.float32))
    np.testing.assert_allclose(found, np.linalg.cholesky(matrices), rtol=2e-3, atol=2e-3)


def test_the_inverse_is_one(matrices):
    lower = jnp.asarray(np.linalg.cholesky(matrices), jnp.float32)
    product = np.asarray(inverse_lower(lower) @ lower)
    expected = np.broadcast_to(np.eye(matrices.shape[-1]), product.shape)
    np.testing.assert_allclose(product, expected, atol=1e-3)


def test_solve_solves(matrices):
    vectors = np.random.default_rng(0).normal(size=matrices.shape[:-1])
    found = solve(jnp.asarray(matrices, jnp.float32), jnp.asarray(vectors, jnp.float32))
    expected = np.linalg.solve(matrices, vectors[..., None])[..., 0]
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-3)


def test_rounding_leaves_no_nan():
    """A matrix of rank one plus what float32 cannot see."""
    direction = jnp.ones((3, 4))
    nearly = 1e8 * direction[:, :, None] * direction[:, None, :] + jnp.eye(4)[None]
    assert np.isfinite(solve(nearly, direction)).all()
