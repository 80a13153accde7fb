"""Cholesky factors of many small matrices at once, in operations that every device runs in place.

XLA gives batched factorisations and triangular solves on a CPU to LAPACK, in tasks of one pool of
threads whose callers wait in that pool: with two CPU devices all threads come to wait, for ever
(seen with jaxlib 0.10.2 on two cores: `jnp.linalg.cholesky` of 1,400 matrices of 10 × 10 a device
under `shard_map`). Here all rows take each step of the elimination together, and no LAPACK is
called. Made for matrices as small as the number of factors.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Of the diagonal entry that a pivot came from, in units of its rounding: below lies rounding.
SMALLEST_PIVOT = 8.0
# Columns in a row without a loop around them: as fast as straight code, and short to compile.
UNROLLED = 4


@jax.custom_jvp
def cholesky(matrices: Float[Array, "*rows size size"]) -> Float[Array, "*rows size size"]:
    """The lower triangular L with L Lᵀ = A.

    Column by column, A less the outer product of the columns found (Golub & Van Loan 2013, 4.2.5).

    Args:
        matrices: A, symmetric and positive definite. A pivot that rounding has eaten is kept at
            eight units of rounding of its diagonal entry.

    Returns:
        L; NaN for a matrix that is not positive definite by more than rounding.
    """
    size, dtype = matrices.shape[-1], matrices.dtype
    places = jnp.arange(size)
    diagonal = jnp.diagonal(matrices, axis1=-2, axis2=-1)
    least = SMALLEST_PIVOT * jnp.finfo(dtype).eps * diagonal

    def eliminate(j: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, lower = found
        column, floor = rest[..., :, j], least[..., j]
        positive = (column[..., j] > -floor) & (floor > 0.0)
        pivot = jnp.sqrt(jnp.where(positive, jnp.maximum(column[..., j], floor), jnp.nan))
        column = jnp.where(places > j, column / pivot[..., None], 0.0).at[..., j].set(pivot)
        rest = rest - column[..., :, None] * column[..., None, :]
        return rest, lower.at[..., :, j].set(column)

    start = (matrices, jnp.zeros_like(matrices))
    _, lower = jax.lax.fori_loop(0, size, eliminate, start, unroll=min(size, UNROLLED))
    # A pivot that is not a number has made all later ones so.
    return jnp.where(jnp.isnan(lower[..., -1:, -1:]), jnp.nan, lower)


@cholesky.defjvp
def _cholesky_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """dL = L Φ(L⁻¹ dA L⁻ᵀ), Φ the lower triangle with half the diagonal (Murray 2016): products of
    matrices, where the loop's own derivative is many times the program."""
    lower = cholesky(primals[0])
    inverse = inverse_lower(lower)
    inner = inverse @ tangents[0] @ jnp.swapaxes(inverse, -1, -2)
    size = lower.shape[-1]
    half = jnp.tril(jnp.ones((size, size), lower.dtype)) - 0.5 * jnp.eye(size, dtype=lower.dtype)
    return lower, lower @ (inner * half.reshape((1,) * (inner.ndim - 2) + half.shape))


@jax.custom_jvp
def inverse_lower(lower: Float[Array, "*rows size size"]) -> Float[Array, "*rows size size"]:
    """The inverse of lower triangular matrices, by forward substitution.

    Args:
        lower: L; what stands above its diagonal is not looked at.

    Returns:
        L⁻¹, lower triangular.
    """
    size = lower.shape[-1]
    places = jnp.arange(size)

    def substitute(j: Array, rows: Array) -> Array:
        column = lower[..., :, j]
        row = rows[..., j, :] / column[..., j, None]
        below = jnp.where(places > j, column, 0.0)
        return (rows - below[..., :, None] * row[..., None, :]).at[..., j, :].set(row)

    unit = jnp.broadcast_to(jnp.eye(size, dtype=lower.dtype), lower.shape)
    return jax.lax.fori_loop(0, size, substitute, unit, unroll=min(size, UNROLLED))


@inverse_lower.defjvp
def _inverse_lower_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """d(L⁻¹) = -L⁻¹ dL L⁻¹."""
    inverse = inverse_lower(primals[0])
    return inverse, -inverse @ tangents[0] @ inverse


def solve(
    matrices: Float[Array, "*rows size size"], vectors: Float[Array, "*rows size"]
) -> Float[Array, "*rows size"]:
    """x with A x = b, of symmetric positive definite A."""
    inverse = inverse_lower(cholesky(matrices))
    forward = jnp.einsum("...ij,...j->...i", inverse, vectors)
    return jnp.einsum("...ji,...j->...i", inverse, forward)


def inverse(
    matrices: Float[Array, "*rows size size"],
) -> Float[Array, "*rows size size"]:
    """A⁻¹ of symmetric positive definite A."""
    root = inverse_lower(cholesky(matrices))
    return jnp.einsum("...ki,...kj->...ij", root, root)
