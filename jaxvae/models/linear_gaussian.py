"""Normal factors and linear returns: what the returns say of the factors.

    z ~ N(m, LLᵀ),    x | z ~ N(W z + b, Ψ),    Ψ diagonal

All that is inverted is K × K, I + LᵀΛL with Λ = WᵀΨ⁻¹W: the unit matrix plus a square, so that
float32 loses nothing (Kailath, Sayed & Hassibi 2000, chapter 12).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.models.cholesky import cholesky, inverse_lower


class Update(NamedTuple):
    """Factors once returns are known, z | x ~ N(m + La, root rootᵀ).

    step: a, in units of L, so that |a|² is what the factors add to the returns' misfit.
    root: LN⁻ᵀ with NNᵀ = I + LᵀΛL.
    log_determinant: ln|I + LᵀΛL|, by which ln|WLLᵀWᵀ + Ψ| exceeds ln|Ψ|.
    """

    step: Float[Array, "*rows factor"]
    root: Float[Array, "*rows factor factor"]
    log_determinant: Float[Array, "*rows"]


def information(
    loadings: Float[Array, "asset factor"], precision: Float[Array, "*rows asset"]
) -> Float[Array, "*rows factor factor"]:
    """Λ = WᵀΨ⁻¹W of each row.

    Args:
        loadings: W.
        precision: the diagonal of Ψ⁻¹; 0 where a cell is missing.
    """
    return jnp.einsum("...a,ak,al->...kl", precision, loadings, loadings)


def condition(
    root: Float[Array, "*rows factor factor"],
    information: Float[Array, "*rows factor factor"],
    score: Float[Array, "*rows factor"],
) -> Update:
    """Bayes' rule for each row: a = (I + LᵀΛL)⁻¹Lᵀh.

    Args:
        root: L, of the factors' covariance before.
        information: Λ.
        score: h = WᵀΨ⁻¹(x - b - Wm), the slope of ln p(x | z) in z at m.
    """
    inner = jnp.einsum("...ki,...kl,...lj->...ij", root, information, root)
    unit = jnp.eye(inner.shape[-1], dtype=inner.dtype)
    factor = cholesky(inner + jnp.broadcast_to(unit, inner.shape))
    inverse = inverse_lower(factor)
    scaled = jnp.einsum("...ij,...kj,...k->...i", inverse, root, score)
    return Update(
        step=jnp.einsum("...ji,...j->...i", inverse, scaled),
        root=jnp.einsum("...ki,...ji->...kj", root, inverse),
        log_determinant=2.0 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1),
    )
