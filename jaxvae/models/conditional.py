"""The prior that depends on what is known of a date before its returns are."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.models.distributions import Gaussian
from jaxvae.models.model import Batch, Parameters, Variables

# A date far outside of what training saw must not make a variance overflow.
LARGEST_LOG_VARIANCE = 10.0


def first_prior(n_conditions: int, n_factors: int) -> Parameters:
    """The slopes of `conditional_prior`, all 0: N(0, I) on every date."""
    return {name: jnp.zeros((n_conditions, n_factors)) for name in ("mean", "log_variance")}


def conditional_prior(
    variables: Variables, factors: Float[Array, "row factor"], batch: Batch
) -> Gaussian:
    """p(z | c) = N(A c, diag exp(B c)) with learned slopes A and B.

    Without intercepts: conditions are centred, so a typical date has N(0, I), and what scale and
    place a factor has is in the decoder alone. Factors whose variances move differently with the
    conditions are identified up to order, sign and scale, where N(0, I) leaves any rotation free
    (Khemakhem et al. 2020; for linear decoders, as non-stationary variances in Matsuoka et al.
    1995).
    """
    slopes = variables.parameters["prior"]
    log_variance = batch.conditions @ slopes["log_variance"]
    bounded = jnp.clip(log_variance, -LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
    return Gaussian(batch.conditions @ slopes["mean"], bounded)
