"""What returns say of normal factors, against dense linear algebra in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.models.linear_gaussian import condition, information

N_ASSETS, N_FACTORS = 7, 3


@pytest.fixture(params=[(), (4,), (2, 5)], ids=str)
def problem(request):
    """W, Ψ⁻¹ over the cells observed, L and h of rows of any shape."""
    rng, rows = np.random.default_rng(len(request.param)), request.param
    loadings = rng.normal(size=(N_ASSETS, N_FACTORS))
    precision = rng.uniform(0.5, 20.0, (*rows, N_ASSETS))
    precision *= rng.random((*rows, N_ASSETS)) < 0.7
    root = np.tril(rng.normal(size=(*rows, N_FACTORS, N_FACTORS)))
    return loadings, precision, root, rng.normal(size=(*rows, N_FACTORS))


def test_conditioning_is_bayes_rule(problem):
    loadings, precision, root, score = problem
    with jax.enable_x64(True):
        known = information(jnp.asarray(loadings), jnp.asarray(precision))
        found = condition(jnp.asarray(root), known, jnp.asarray(score))
        known, found = jax.tree.map(np.asarray, (known, found))
    dense = loadings.T @ (precision[..., :, None] * loadings)
    np.testing.assert_allclose(known, dense, rtol=1e-12, atol=1e-12)
    covariance = np.linalg.inv(np.linalg.inv(root @ np.swapaxes(root, -1, -2)) + dense)
    spread = found.root @ np.swapaxes(found.root, -1, -2)
    np.testing.assert_allclose(spread, covariance, rtol=1e-7, atol=1e-9)
    shift = np.einsum("...ij,...j->...i", root, found.step)
    expected = np.einsum("...ij,...j->...i", covariance, score)
    np.testing.assert_allclose(shift, expected, rtol=1e-7, atol=1e-9)
    inner = np.eye(N_FACTORS) + np.swapaxes(root, -1, -2) @ dense @ root
    expected = np.linalg.slogdet(inner)[1]
    np.testing.assert_allclose(found.log_determinant, expected, rtol=1e-10, atol=1e-12)


def test_single_precision_keeps_small_variances():
    """Returns that leave 1e-8 of a factor's variance: nothing cancels."""
    loadings, precision = jnp.full((1, 1), 1e4), jnp.ones(1)
    found = condition(jnp.eye(1), information(loadings, precision), jnp.zeros(1))
    np.testing.assert_allclose(found.root[0, 0] ** 2, 1e-8, rtol=1e-5)
