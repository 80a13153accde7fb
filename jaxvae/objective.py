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


class StudentT(NamedTuple):
    """A multivariate Student-t in each row: uncorrelated variables that share one mixing variable.

        x = mean + √s · scale · ε,    ε ~ N(0, I),    s ~ InverseGamma(ν/2, ν/2)

    mean, log_scale: location and the logarithm of the squared scale. freedom: ν of each row, > 0.
    """

    mean: Float[Array, "*rows size"]
    log_scale: Float[Array, "*rows size"]
    freedom: Float[Array, "*rows"]


Density = Gaussian | StudentT


class Bound(NamedTuple):
    """A Monte-Carlo estimate of log p(x) for each row.

    value: log of the mean importance weight, in nats.
    standard_error: its Monte-Carlo standard error, by the delta method, in nats.
    effective_samples: (Σw)²/Σw², between 1 and the number of samples (Kong 1992).
    """

    value: Float[Array, " row"]
    standard_error: Float[Array, " row"]
    effective_samples: Float[Array, " row"]


def sample(key: Key[Array, ""], density: Density) -> Float[Array, "*rows size"]:
    """A draw by the reparameterisation z = μ + σε, ε ~ N(0, I) (Kingma & Welling 2014).

    A Student-t's mixing variable is drawn as (ν/2)/Gamma(ν/2), through which gradients pass too.
    """
    if isinstance(density, Gaussian):
        noise = jax.random.normal(key, density.mean.shape, density.mean.dtype)
        return density.mean + jnp.exp(0.5 * density.log_variance) * noise
    key_noise, key_mixing = jax.random.split(key)
    half = 0.5 * density.freedom
    mixing = half / jax.random.gamma(key_mixing, half, dtype=density.mean.dtype)
    noise = jax.random.normal(key_noise, density.mean.shape, density.mean.dtype)
    return density.mean + jnp.exp(0.5 * density.log_scale) * noise * jnp.sqrt(mixing)[..., None]


def log_density(
    density: Density, values: Float[Array, "*rows size"], used: Float[Array, "*rows size"]
) -> Float[Array, "*rows"]:
    """Joint log density of the values of each row that are used (`used` is 1 there, else 0), nats.

    Gaussian:   -½ Σ [ln 2πσ² + (x-μ)²/σ²]
    Student-t:  ln Γ((ν+n)/2) - ln Γ(ν/2) - ½ [n ln νπ + Σ ln σ² + (ν+n) ln(1 + δ/ν)]

    over the n values used, δ = Σ (x-μ)²/σ². The marginal of a multivariate t keeps its ν, so what
    is not used is integrated out in both (Kotz & Nadarajah 2004).
    """
    if isinstance(density, Gaussian):
        residual = values - density.mean
        scaled = residual * residual * jnp.exp(-density.log_variance)
        return -0.5 * jnp.sum(used * (LOG_2PI + density.log_variance + scaled), axis=-1)
    freedom, count = density.freedom, jnp.sum(used, axis=-1)
    distance = _distance(density, values, used)
    spread = count * jnp.log(freedom * jnp.pi) + jnp.sum(used * density.log_scale, axis=-1)
    tail = (freedom + count) * jnp.log1p(distance / freedom)
    return _log_gamma_ratio(freedom, count) - 0.5 * (spread + tail)


def variance(density: Density) -> Float[Array, "*rows size"]:
    """Variance of each variable; σ² ν/(ν-2) for a Student-t, infinite where ν ≤ 2."""
    if isinstance(density, Gaussian):
        return jnp.exp(density.log_variance)
    excess = density.freedom - 2.0
    ratio = jnp.where(excess > 0.0, density.freedom / jnp.where(excess > 0.0, excess, 1.0), jnp.inf)
    return jnp.exp(density.log_scale) * ratio[..., None]


def precision(
    density: Density, values: Float[Array, "*rows size"], used: Float[Array, "*rows size"]
) -> Float[Array, "*rows size"]:
    """Curvature of -log density in each value, its mixing variable held at what the values say.

    1/σ² for a Gaussian. A Student-t weighs a row by (ν+n)/(ν+δ): the weights of iteratively
    reweighted least squares (Lange, Little & Taylor 1989).
    """
    if isinstance(density, Gaussian):
        return jnp.exp(-density.log_variance)
    weight = density.freedom + jnp.sum(used, axis=-1)
    weight = weight / (density.freedom + _distance(density, values, used))
    return jnp.exp(-density.log_scale) * weight[..., None]


def kl_divergence(posterior: Gaussian, prior: Gaussian) -> Float[Array, "*rows size"]:
    """KL(q ‖ p) of each factor, in nats.

    ½ [log σ_p² - log σ_q² + (σ_q² + (μ_q - μ_p)²)/σ_p² - 1]
    """
    gap = posterior.mean - prior.mean
    spread = jnp.exp(posterior.log_variance - prior.log_variance)
    shift = gap * gap * jnp.exp(-prior.log_variance)
    return 0.5 * (prior.log_variance - posterior.log_variance + spread + shift - 1.0)


def divergence(
    posterior: Gaussian,
    prior: Density,
    factors: Float[Array, "*rows size"],
    used: Float[Array, "*rows size"],
) -> Float[Array, "*rows"]:
    """KL(q ‖ p) of each row over the factors used, in nats.

    In closed form for a Gaussian prior. Else E_q log q in closed form less log p at `factors`, a
    draw from q: without bias, and not above zero for certain.
    """
    if isinstance(prior, Gaussian):
        return jnp.sum(used * kl_divergence(posterior, prior), axis=-1)
    entropy = 0.5 * jnp.sum(used * (LOG_2PI + 1.0 + posterior.log_variance), axis=-1)
    return -entropy - log_density(prior, factors, used)


def factor_divergence(
    posterior: Gaussian, prior: Density, used: Float[Array, "*rows size"]
) -> Float[Array, "*rows size"]:
    """KL(q ‖ p) factor by factor, in nats; 0 for a factor that is not used.

    A Student-t prior stands as the Gaussian that it is once its mixing variable is known, at the
    expected precision (ν+n)/(ν+E_q δ): the terms of the variational bound, which are not negative.
    """
    if isinstance(prior, StudentT):
        reach = posterior.mean - prior.mean
        spread = jnp.exp(0.5 * posterior.log_variance)
        at_reach = prior.mean + jnp.sqrt(reach * reach + spread * spread)
        prior = Gaussian(prior.mean, -jnp.log(precision(prior, at_reach, used)))
    return used * kl_divergence(posterior, prior)


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


def _distance(
    density: StudentT, values: Float[Array, "*rows size"], used: Float[Array, "*rows size"]
) -> Float[Array, "*rows"]:
    """δ = Σ (x-μ)²/σ² over what is used."""
    residual = values - density.mean
    return jnp.sum(used * residual * residual * jnp.exp(-density.log_scale), axis=-1)


def _log_gamma_ratio(
    freedom: Float[Array, "*rows"], count: Float[Array, "*rows"]
) -> Float[Array, "*rows"]:
    """ln Γ((ν+n)/2) - ln Γ(ν/2), through the beta function: at a large ν the difference of two
    large numbers would be lost in float32. 0 where n is 0."""
    half = 0.5 * jnp.maximum(count, 1.0)
    ratio = jax.scipy.special.gammaln(half) - jax.scipy.special.betaln(0.5 * freedom, half)
    return jnp.where(count > 0.0, ratio, 0.0)
