"""Cholesky factors of many small matrices at once, in operations that every device runs in place.

XLA gives batched factorisations on a CPU to LAPACK, row by row, from a pool of threads in which
calls can wait for each other for ever; here all rows take each step of the elimination together.
Made for matrices as small as the number of factors: the loops over columns are unrolled.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SMALLEST_PIVOT = 1e-6  # of the diagonal entry it came from: below lies rounding


@jax.custom_jvp
def cholesky(matrices: Float[Array, "*rows size size"]) -> Float[Array, "*rows size size"]:
    """The lower triangular L with L Lᵀ = A, of symmetric positive definite A.

    Column by column, A less the outer product of the columns found (Golub & Van Loan 2013, 4.2.5).
    A pivot that rounding has eaten is kept at 1e-6 of its diagonal entry.
    """
    size, rest, columns = matrices.shape[-1], matrices, []
    for j in range(size):
        pivot = jnp.maximum(rest[..., j, j], SMALLEST_PIVOT * matrices[..., j, j])
        below = jnp.arange(size) >= j
        column = jnp.where(below, rest[..., :, j] / jnp.sqrt(pivot)[..., None], 0.0)
        column = column.at[..., j].set(jnp.sqrt(pivot))
        rest = rest - column[..., :, None] * column[..., None, :]
        columns.append(column)
    return jnp.stack(columns, axis=-1)


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
    """The inverse of lower triangular matrices, by forward substitution."""
    size, found = lower.shape[-1], list[Array]()
    unit = jnp.eye(size, dtype=lower.dtype)
    for i in range(size):
        row = jnp.broadcast_to(unit[i], lower.shape[:-1])
        for j, above in enumerate(found):
            row = row - lower[..., i, j, None] * above
        found.append(row / lower[..., i, i, None])
    return jnp.stack(found, axis=-2)


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
