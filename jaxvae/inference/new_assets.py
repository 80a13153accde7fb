"""What a model with sectors knows of its assets' loadings and of each date's factors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxvae.analysis.new_assets import Design
from jaxvae.inference.modes import posterior_modes
from jaxvae.models.model import Batch, Model, Variables, make_batch


def regressors(model: Model, variables: Variables, batch: Batch) -> Design:
    """The factors of each row as the rows' returns say they were, the conditions that the decoder's
    mean sees, and a constant.

    Factors are normal around the posterior's mode with its Gauss-Newton covariance: exact where the
    decoder is linear and the noise Gaussian.
    """
    modes = jax.jit(posterior_modes, static_argnames="model")(model, variables, batch)
    inverse = np.linalg.inv(np.asarray(modes.cholesky[0], np.float64))
    factors = np.asarray(modes.mean[0], np.float64)
    n_seen = len(variables.parameters["decoder"]["mean"]["kernel"])
    conditions = np.asarray(batch.conditions[:, :n_seen], np.float64)
    mean = np.column_stack([factors, conditions, np.ones(len(factors))])
    k, n_columns = model.n_factors, mean.shape[1]
    covariance = np.zeros((len(mean), n_columns, n_columns))
    covariance[:, :k, :k] = np.einsum("tji,tjk->tik", inverse, inverse)
    return Design(mean, covariance, _relative_noise(variables, batch))


def asset_coefficients(
    model: Model,
    variables: Variables,
    location: Float[np.ndarray, " asset"],
    scale: Float[np.ndarray, " asset"],
) -> tuple[
    Float[np.ndarray, "asset column"],
    Float[np.ndarray, "asset column"],
    Float[np.ndarray, " asset"],
]:
    """Coefficients of the model's assets on (factors, conditions, 1), their posterior variances
    (none are known but the loadings'), and noise variances where the conditions are 0, in the units
    that location and scale take returns from."""
    decoder: Any = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64), variables.parameters["decoder"]
    )
    loadings, conditions, constant = (
        decoder["curves"]["kernel"],
        decoder["mean"]["kernel"],
        decoder["mean"]["bias"],
    )
    coefficients = scale[:, None] * np.concatenate([loadings, conditions, constant[None]]).T
    coefficients[:, -1] += location
    variances = np.zeros_like(coefficients)
    spread = np.exp(decoder["curves"]["log_variance"]).T
    variances[:, : len(loadings)] = scale[:, None] ** 2 * spread
    at_zero = make_batch(np.zeros((1, len(scale))), np.zeros((1, len(conditions))))
    no_factors = jnp.zeros((1, len(loadings)))
    observation, _ = model.decode(variables, no_factors, at_zero, False)
    return coefficients, variances, scale**2 * np.asarray(observation.variance[0], np.float64)


def _relative_noise(variables: Variables, batch: Batch) -> Float[np.ndarray, " row"]:
    """The noise of each row over an average one's, the same for all assets: their mean slopes."""
    slopes = variables.parameters["decoder"].get("noise_slopes")
    if slopes is None:
        return np.ones(len(batch.values))
    return np.asarray(jnp.exp(batch.conditions @ jnp.mean(slopes, axis=1)), np.float64)
