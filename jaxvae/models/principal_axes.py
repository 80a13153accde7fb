"""Axes by convention, where a likelihood leaves them free: principal axes.

    z ~ N(0, I) or t_ν(0, I),    E[x | z] = W z + b,    noise Ψ

say the same of x under every rotation R, W → W R with z → Rᵀz. Among them is one, up to signs,
under which Wᵀ Ψ⁻¹ W is diagonal and descending (Lawley & Maxwell 1971, whose condition it is for
maximum likelihood); there the exact posterior's factors are uncorrelated.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxvae.models.likelihoods import NOISE_FLOOR
from jaxvae.models.model import Variables


def make_principal(first: int) -> Callable[[Variables], Variables]:
    """A `Model.principal` of models that encode by heads beside each other and decode by one linear
    term a factor.

    Args:
        first: of the factors that move returns; those before it are left alone.

    The posterior's means are turned exactly. Its variances are its own axis by axis, which a
    rotation mixes: the logarithms are averaged by the squares of R, exact where factors only change
    their places.
    """

    def principal(variables: Variables) -> Variables:
        free: Any = jax.tree.map(np.asarray, variables.parameters)
        mask = np.array(variables.factor_mask)
        encoder, decoder = dict(free["encoder"]), dict(free["decoder"])
        terms = decoder["curves"]["terms"]["kernel"]
        turn = _rotation(terms, decoder.get("log_variance"), mask[..., first:])
        n_used = mask[..., first:].sum(axis=-1, keepdims=True)
        mask[..., first:] = np.arange(mask.shape[-1] - first) < n_used
        turned = (np.swapaxes(turn, -1, -2) @ terms).astype(terms.dtype)
        decoder["curves"] = {"terms": {"kernel": turned}}
        for name, by in (("mean", turn), ("skip", turn), ("log_variance", turn**2)):
            if name in encoder:
                encoder[name] = {
                    part: _turned(leaf, by, first) for part, leaf in encoder[name].items()
                }
        turned_mask: Any = mask
        parameters = {**free, "encoder": encoder, "decoder": decoder}
        return variables._replace(parameters=parameters, factor_mask=turned_mask)

    return principal


def _rotation(
    terms: Float[np.ndarray, "*members factor asset"],
    log_noise: Float[np.ndarray, "*members size"] | None,
    mask: Float[np.ndarray, "*members factor"],
) -> Float[np.ndarray, "*members factor factor"]:
    """R by the eigenvectors of Wᵀ Ψ⁻¹ W, the factors that are not in use last; each with the sign
    that makes its mean loading positive."""
    used, loadings = mask.astype(np.float64), terms.astype(np.float64)
    if log_noise is None:
        log_noise = np.zeros((*mask.shape[:-1], 1))
    root = np.exp(-0.5 * np.logaddexp(log_noise.astype(np.float64), np.log(NOISE_FLOOR)))
    scaled = loadings * root[..., None, :] * used[..., :, None]
    information = scaled @ np.swapaxes(scaled, -1, -2)
    # Factors not in use have zeros there; −1 is below every eigenvalue, so that they come last.
    information -= (1.0 - used)[..., None] * np.eye(mask.shape[-1])
    _, vectors = np.linalg.eigh(information)
    vectors = vectors[..., ::-1]
    means = np.einsum("...kj,...ka->...j", vectors, loadings)
    return vectors * np.where(means < 0.0, -1.0, 1.0)[..., None, :]


def _turned(leaf: np.ndarray, by: np.ndarray, first: int) -> np.ndarray:
    """A kernel (input × factor) or bias (factor) with the columns from `first` on turned."""
    rows = leaf[..., None, :] if leaf.ndim < by.ndim else leaf
    turned = np.concatenate([rows[..., :first], rows[..., first:] @ by], axis=-1)
    return turned.reshape(leaf.shape).astype(leaf.dtype)
