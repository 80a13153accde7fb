"""Factors of many small matrices against NumPy's, badly conditioned ones too."""

import jax
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


def test_what_stands_above_the_diagonal_is_not_looked_at():
    lower = jnp.asarray(np.tril(np.random.default_rng(0).normal(size=(3, 4, 4))) + 3 * np.eye(4))
    above = jnp.asarray(np.triu(np.full((4, 4), 1e6), 1))[None]
    np.testing.assert_array_equal(inverse_lower(lower + above), inverse_lower(lower))


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


def test_a_matrix_that_is_not_positive_definite_has_no_factor():
    """And those beside it have theirs."""
    last = np.diag([1.0, 2.0, -1e-3])
    indefinite = np.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    nothing, negative, absent = np.zeros((3, 3)), -np.eye(3), np.full((3, 3), np.nan)
    wrong = (last, indefinite, nothing, negative, absent)
    found = cholesky(jnp.asarray([*wrong, np.eye(3)], jnp.float32))
    assert np.isnan(found[:-1]).all()
    np.testing.assert_array_equal(found[-1], np.eye(3))


def test_in_double_precision_small_pivots_are_kept():
    """A condition number of 10¹⁰: what float32 would take for rounding."""
    with jax.enable_x64(True):
        matrix = jnp.asarray([[1.0, 1.0], [1.0, 1.0 + 1e-10]])
        np.testing.assert_allclose(cholesky(matrix)[1, 1], 1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_gradients_are_those_of_jaxs_own(size):
    rng = np.random.default_rng(size)
    with jax.enable_x64(True):
        matrix, weights = (jnp.asarray(part) for part in rng.normal(size=(2, size, size)))
        weights = jnp.tril(weights)

        def slope(factorise, invert):
            def value(matrix):
                lower = factorise(matrix @ matrix.T + jnp.eye(size))
                return jnp.sum(weights * lower) + jnp.sum(weights**2 * invert(lower))

            return jax.grad(value)(matrix)

        found = slope(cholesky, inverse_lower)
        expected = slope(jnp.linalg.cholesky, jnp.linalg.inv)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def inverted(matrices):
    return inverse_lower(cholesky(matrices))


def slopes(matrices):
    return jax.grad(lambda matrices: jnp.sum(inverted(matrices) ** 2))(matrices)


@pytest.mark.parametrize("function", [inverted, slopes])
def test_a_program_is_no_longer_for_more_columns(function):
    """What is compiled grows with it, to a minute and a half for 40 columns where loops were
    written out."""
    texts = [jax.jit(function).lower(jnp.ones((3, size, size))).as_text() for size in (12, 40)]
    assert len(texts[0].splitlines()) == len(texts[1].splitlines())


def compiled(function):
    """The program for two devices, as text."""
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("row",))
    rows = jax.sharding.PartitionSpec("row")
    mapped = jax.shard_map(function, mesh=mesh, in_specs=rows, out_specs=rows, check_vma=False)
    return jax.jit(mapped).lower(jnp.ones((4, 3, 3))).compile().as_text()


def test_no_library_is_called():
    """On two CPU devices LAPACK's batched calls can wait for each other for ever."""
    assert "custom_call_target" not in compiled(slopes)
    assert 'custom_call_target="lapack' in compiled(jnp.linalg.cholesky)
