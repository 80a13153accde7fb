"""Likelihoods, divergences and bounds: arrays in, arrays out, no model in sight.

A row is a date (or whatever a model calls one); everything is in nats, in the units of the values.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

LOG_2PI = math.log(2.0 * math.pi)


class Gaussian(NamedTuple):
    """Independent normal variables, by mean and log-variance of the same shape."""

    mean: Float[Array, "*rows size"]
    log_variance: Float[Array, "*rows size"]


class Bound(NamedTuple):
    """A Monte-Carlo estimate of log p(x) for each row.

    value: log of the mean importance weight, in nats.
    standard_error: its Monte-Carlo standard error, by the delta method, in nats.
    effective_samples: (Σw)²/Σw², between 1 and the number of samples (Kong 1992).
    """

    value: Float[Array, " row"]
    standard_error: Float[Array, " row"]
    effective_samples: Float[Array, " row"]


def sample(key: Key[Array, ""], gaussian: Gaussian) -> Float[Array, "*rows size"]:
    """A draw by the reparameterisation z = μ + σε, ε ~ N(0, I) (Kingma & Welling 2014)."""
    noise = jax.random.normal(key, gaussian.mean.shape, gaussian.mean.dtype)
    return gaussian.mean + jnp.exp(0.5 * gaussian.log_variance) * noise


def log_density(
    gaussian: Gaussian, values: Float[Array, "*rows size"]
) -> Float[Array, "*rows size"]:
    """log N(x; μ, σ²), cell by cell, in nats."""
    residual = values - gaussian.mean
    scaled = residual * residual * jnp.exp(-gaussian.log_variance)
    return -0.5 * (LOG_2PI + gaussian.log_variance + scaled)


def observed_log_density(
    gaussian: Gaussian, values: Float[Array, "*rows size"], observed: Float[Array, "*rows size"]
) -> Float[Array, "*rows"]:
    """log density of each row's observed cells (`observed` is 1 where seen, else 0), in nats."""
    return jnp.sum(observed * log_density(gaussian, values), axis=-1)


def kl_divergence(posterior: Gaussian, prior: Gaussian) -> Float[Array, "*rows size"]:
    """KL(q ‖ p) of each factor, in nats.

    ½ [log σ_p² - log σ_q² + (σ_q² + (μ_q - μ_p)²)/σ_p² - 1]
    """
    gap = posterior.mean - prior.mean
    spread = jnp.exp(posterior.log_variance - prior.log_variance)
    shift = gap * gap * jnp.exp(-prior.log_variance)
    return 0.5 * (prior.log_variance - posterior.log_variance + spread + shift - 1.0)


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
