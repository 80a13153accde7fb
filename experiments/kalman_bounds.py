"""What approximate posteriors of the linear-Gaussian state-space model reach, in closed form."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.models.distributions import Gaussian
from jaxvae.models.kalman import (
    Chain,
    StateSpace,
    covariances,
    expected_divergence,
    expected_log_density,
    persistence_by_row,
)


def mean_field(
    parameters: StateSpace,
    smoothed: Chain,
    observed: Float[Array, "row asset"],
    linked: Float[Array, " row"] | None = None,
) -> Gaussian:
    """The best posterior with all factors of all rows independent: the smoothed means, and for each
    variance the inverse of the joint precision's diagonal (Bishop 2006, 10.1.2)."""
    phi = persistence_by_row(parameters, smoothed.mean, linked)
    strength = phi * phi / (1.0 - phi * phi)
    earlier = jnp.concatenate([jnp.zeros_like(strength[:1]), strength[:-1]])
    own = (observed / parameters.noise[None, :]) @ parameters.loadings**2
    return Gaussian(smoothed.mean, -jnp.log(own + 1.0 + strength + earlier))


def expected_elbo(
    parameters: StateSpace,
    values: Float[Array, "row asset"],
    observed: Float[Array, "row asset"],
    posterior: Chain,
    linked: Float[Array, " row"] | None = None,
) -> Float[Array, " row"]:
    """E_q ln p(x_t | z_t) - KL of each row, the expectation in closed form, in nats.

    Summed over rows it never lies above the filter's log-likelihood, and reaches it where the
    posterior is the smoother's. Row by row the two are not comparable: the filter's is given the
    rows before, the divergence given the row after.
    """
    spread = covariances(posterior)
    fit = expected_log_density(parameters, values, observed, posterior.mean, spread)
    kl = expected_divergence(parameters, posterior, spread, linked)
    return fit - jnp.sum(kl, axis=-1)
