"""The true model of a synthetic panel as a member of the family: the oracle of experiments."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.analysis.linear_gaussian import posterior_weights
from jaxvae.data.panel import Scaler
from jaxvae.data.synthetic import INNOVATION, PERSISTENCE, Truth
from jaxvae.models.distributions import Gaussian
from jaxvae.models.model import Batch, Model, Variables, standard_normal_prior


def planted_model(truth: Truth, scaler: Scaler) -> Model:
    """The model that drew a panel, with its true parameters, in the scaler's standard units.

        z ~ N(0, I),   f = τ v z,   x | z ~ N((E[r | f] - m)/s, diag(w/s)²)

    with v and w the truth's volatilities and noise, m and s the scaler's, and τ² = .95²/(1 - .1²)
    the variance of the stationary recursion; dates are taken as independent, which leaves out an
    autocorrelation of .1. Its log-likelihood is what no model of the panel can beat but by luck.
    `initialise` gives its variables; nothing is trained.
    """
    n_factors = truth.factors.shape[1]
    spread = INNOVATION / np.sqrt(1 - PERSISTENCE**2)
    volatilities = jnp.asarray(truth.volatilities, jnp.float32)
    linear = jnp.asarray(truth.loadings / scaler.scale[:, None], jnp.float32)
    curved = truth.curvature if truth.curvature is not None else np.zeros_like(truth.loadings)
    bends = jnp.asarray(curved / scaler.scale[:, None] / np.sqrt(2.0), jnp.float32)
    location = jnp.asarray(scaler.mean / scaler.scale, jnp.float32)
    log_noise = jnp.asarray(2.0 * np.log(truth.noise_scale / scaler.scale), jnp.float32)

    slopes = truth.loadings * truth.volatilities * spread
    projection = jnp.asarray(
        scaler.scale[:, None] * posterior_weights(slopes, truth.noise_scale**2),
        jnp.float32,
    )

    def initialise(key: Key[Array, ""], batch: Batch) -> Variables:
        del key, batch
        return Variables({}, {}, jnp.ones(n_factors, jnp.float32))

    def encode(
        variables: Variables, batch: Batch, training: bool = False
    ) -> tuple[Gaussian, Variables]:
        """The linear part's exact posterior mean: where the search for the mode starts."""
        del training
        centred = (batch.values + location[None, :]) * batch.observed
        mean = centred @ projection
        return Gaussian(mean, jnp.zeros_like(mean)), variables

    def decode(
        variables: Variables,
        factors: Float[Array, "row factor"],
        batch: Batch,
        training: bool = False,
    ) -> tuple[Gaussian, Variables]:
        del batch, training
        u = spread * factors * variables.factor_mask[None, :]
        curve = volatilities[None, :] * (u * u - 1.0)
        mean = (volatilities[None, :] * u) @ linear.T + curve @ bends.T - location[None, :]
        return Gaussian(mean, jnp.broadcast_to(log_noise[None, :], mean.shape)), variables

    return Model(n_factors, initialise, encode, decode, standard_normal_prior)
