"""Divergences and bounds: arrays in, arrays out, no model in sight.

A row is a date (or whatever a model calls one); everything is in nats, in the units of the values.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Bound(NamedTuple):
    """A Monte-Carlo estimate of log p(x) for each row.

    value: log of the mean importance weight, in nats.
    standard_error: its Monte-Carlo standard error, by the delta method, in nats.
    effective_samples: (Σw)²/Σw², between 1 and the number of samples (Kong 1992).
    """

    value: Float[Array, " row"]
    standard_error: Float[Array, " row"]
    effective_samples: Float[Array, " row"]


def capacity_charge(
    kl: Float[Array, " row"], weights: Float[Array, " row"], capacity: Float[Array, ""]
) -> Float[Array, ""]:
    """|KL - C|, of the weighted mean KL of the rows, nats a row (Burgess et al. 2018)."""
    return jnp.abs(weighted_mean(kl, weights) - capacity)


def free_bits_charge(
    by_factor: Float[Array, "row factor"],
    mask: Float[Array, " factor"],
    weights: Float[Array, " row"],
    free: float,
) -> Float[Array, ""]:
    """Σ_k max(λ, KL_k) over the factors of the mask, of the weighted mean KL of the rows, nats
    a row.

    A factor below λ has no gradient (Kingma et al. 2016, "Improved variational inference with
    inverse autoregressive flow").
    """
    share = weights / jnp.maximum(jnp.sum(weights), jnp.finfo(weights.dtype).tiny)
    return jnp.sum(mask * jnp.maximum(share @ by_factor, free))


def importance_weighted_bound(log_weights: Float[Array, "sample row"]) -> Bound:
    """log (1/k) Σ w over k importance weights w = p(x, z)/q(z) (Burda et al. 2016).

    Its expectation does not fall with k and never lies above log p(x).
    """
    n_samples = log_weights.shape[0]
    top = jax.lax.stop_gradient(jnp.max(log_weights, axis=0))
    weights = jnp.exp(log_weights - top[None, :])
    mean = jnp.mean(weights, axis=0)
    squares = jnp.mean(weights * weights, axis=0)
    relative_variance = jnp.maximum(squares / (mean * mean) - 1.0, 0.0)
    return Bound(
        value=top + jnp.log(mean),
        standard_error=jnp.sqrt(relative_variance / n_samples),
        effective_samples=n_samples * mean * mean / squares,
    )


def weighted_mean(values: Float[Array, " row"], weights: Float[Array, " row"]) -> Float[Array, ""]:
    """Σwx/Σw; 0 where every weight is 0."""
    total = jnp.sum(weights)
    return jnp.sum(weights * values) / jnp.where(total > 0.0, total, 1.0)
