"""Densities as values: what a decoder says of returns and a prior of factors.

A density is a tuple of arrays whose last axis holds the variables of a row; the functions below
serve every kind. Log densities are in nats.
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


class IndependentT(NamedTuple):
    """Independent Student-t variables, each with its own mixing variable.

    mean, log_scale: location and the logarithm of the squared scale. freedom: ν of each, > 0; one
    row where all rows have the same, for which the gamma functions are then computed once.
    """

    mean: Float[Array, "*rows size"]
    log_scale: Float[Array, "*rows size"]
    freedom: Float[Array, "*rows size"]


class UncertainGaussian(NamedTuple):
    """Independent normal variables whose means are not known but as N(mean, spread) themselves.

    Its log density is the expectation over them, which a variational bound asks for: no density of
    the values, but a bound on the log of the one that integrates the means out, `predictive`.

    mean, log_variance: as of a `Gaussian`. spread: variance of the mean, not a logarithm.
    """

    mean: Float[Array, "*rows size"]
    log_variance: Float[Array, "*rows size"]
    spread: Float[Array, "*rows size"]


Density = Gaussian | StudentT | IndependentT | UncertainGaussian


def predictive(density: UncertainGaussian) -> Gaussian:
    """The Gaussian with the means integrated out: N(mean, σ² + spread)."""
    total = jnp.exp(density.log_variance) + density.spread
    return Gaussian(density.mean, jnp.log(total))


def sample(key: Key[Array, ""], density: Density) -> Float[Array, "*rows size"]:
    """A draw by the reparameterisation z = μ + σε, ε ~ N(0, I) (Kingma & Welling 2014).

    A Student-t's mixing variable is drawn as (ν/2)/Gamma(ν/2), through which gradients pass too.
    """
    if isinstance(density, UncertainGaussian):
        density = predictive(density)
    if isinstance(density, Gaussian):
        return move(jax.random.normal(key, density.mean.shape, density.mean.dtype), density)
    key_noise, key_mixing = jax.random.split(key)
    half = 0.5 * density.freedom
    shape = half.shape if isinstance(density, StudentT) else density.mean.shape
    mixing = half / jax.random.gamma(key_mixing, half, shape, dtype=density.mean.dtype)
    noise = jax.random.normal(key_noise, density.mean.shape, density.mean.dtype)
    return density.mean + jnp.exp(0.5 * density.log_scale) * noise * jnp.sqrt(
        _by_variable(density, mixing)
    )


def standard_normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Independent draws from N(0, 1), by pairs √(-2 ln u) (cos 2πv, sin 2πv) of uniform u and v
    (Box & Muller 1958): on a CPU in half the time of JAX's own, which invert the error function."""
    half = -(-math.prod(shape) // 2)
    uniform = jax.random.uniform(key, (2, half), jnp.float32)
    # 1 - u lies in (0, 1].
    radius, angle = jnp.sqrt(-2.0 * jnp.log1p(-uniform[0])), 2.0 * jnp.pi * uniform[1]
    pairs = jnp.concatenate([radius * jnp.cos(angle), radius * jnp.sin(angle)])
    return pairs[: math.prod(shape)].reshape(shape)


def move(noise: Float[Array, "*rows size"], density: Gaussian) -> Float[Array, "*rows size"]:
    """μ + σε: standard normal noise moved to a Gaussian."""
    return density.mean + jnp.exp(0.5 * density.log_variance) * noise


def log_density(
    density: Density, values: Float[Array, "*rows size"], used: Float[Array, "*rows size"]
) -> Float[Array, "*rows"]:
    """Joint log density of the values of each row that are used (`used` is 1 there, else 0), nats.

    Gaussian:   -½ Σ [ln 2πσ² + (x-μ)²/σ²], (x-μ)² + spread where μ is uncertain
    Student-t:  ln Γ((ν+n)/2) - ln Γ(ν/2) - ½ [n ln νπ + Σ ln σ² + (ν+n) ln(1 + δ/ν)]

    over the n values used, δ = Σ (x-μ)²/σ². The marginal of a multivariate t keeps its ν, so what
    is not used is integrated out (Kotz & Nadarajah 2004). Independent t's are a sum over n = 1.
    """
    if isinstance(density, Gaussian):
        scaled = _squares(density.mean, density.log_variance, values)
        return -0.5 * jnp.sum(used * (LOG_2PI + density.log_variance + scaled), axis=-1)
    if isinstance(density, UncertainGaussian):
        known = log_density(Gaussian(density.mean, density.log_variance), values, used)
        blur = density.spread * jnp.exp(-density.log_variance)
        return known - 0.5 * jnp.sum(used * blur, axis=-1)
    squares = _squares(density.mean, density.log_scale, values)
    if isinstance(density, IndependentT):
        ones = jnp.ones_like(density.freedom)
        cells = _log_t(density.freedom, ones, density.log_scale, squares)
        return jnp.sum(used * cells, axis=-1)
    count, log_scales = jnp.sum(used, axis=-1), jnp.sum(used * density.log_scale, axis=-1)
    return _log_t(density.freedom, count, log_scales, jnp.sum(used * squares, axis=-1))


def variance(density: Density) -> Float[Array, "*rows size"]:
    """Variance of each variable; σ² ν/(ν-2) for a Student-t, infinite where ν ≤ 2."""
    if isinstance(density, UncertainGaussian):
        density = predictive(density)
    if isinstance(density, Gaussian):
        return jnp.exp(density.log_variance)
    excess = density.freedom - 2.0
    ratio = jnp.where(excess > 0.0, density.freedom / jnp.where(excess > 0.0, excess, 1.0), jnp.inf)
    return jnp.exp(density.log_scale) * _by_variable(density, ratio)


def precision(
    density: Density, values: Float[Array, "*rows size"], used: Float[Array, "*rows size"]
) -> Float[Array, "*rows size"]:
    """Curvature of -log density in each value, its mixing variable held at what the values say.

    1/σ² for a Gaussian. A Student-t over n values is weighed by (ν+n)/(ν+δ): the weights of
    iteratively reweighted least squares (Lange, Little & Taylor 1989).
    """
    if isinstance(density, Gaussian | UncertainGaussian):
        return jnp.exp(-density.log_variance)
    squares = _squares(density.mean, density.log_scale, values)
    if isinstance(density, IndependentT):
        weight = (density.freedom + 1.0) / (density.freedom + squares)
    else:
        weight = density.freedom + jnp.sum(used, axis=-1)
        weight = weight / (density.freedom + jnp.sum(used * squares, axis=-1))
    return jnp.exp(-density.log_scale) * _by_variable(density, weight)


def scale_information(density: Density) -> Float[Array, "*rows size"]:
    """Fisher information of each variable's log squared scale: ½ for a Gaussian, ½ ν/(ν+3) for
    independent t's. 0 for a multivariate t, whose shared scale its `precision` already follows."""
    if isinstance(density, Gaussian | UncertainGaussian):
        return jnp.full_like(density.mean, 0.5)
    if isinstance(density, StudentT):
        return jnp.zeros_like(density.mean)
    return 0.5 * density.freedom / (density.freedom + 3.0)


def _squares(
    mean: Float[Array, "*rows size"],
    log_scale: Float[Array, "*rows size"],
    values: Float[Array, "*rows size"],
) -> Float[Array, "*rows size"]:
    """(x-μ)²/σ²."""
    residual = values - mean
    return residual * residual * jnp.exp(-log_scale)


def _by_variable(density: StudentT | IndependentT, numbers: Array) -> Array:
    """What is a number a row in a multivariate t, a number a variable in independent ones."""
    return numbers[..., None] if isinstance(density, StudentT) else numbers


def _log_t(freedom: Array, count: Array, log_scales: Array, distance: Array) -> Array:
    """log density of a Student-t over `count` values whose log squared scales sum to `log_scales`
    and whose scaled squares sum to `distance`.

    ln Γ((ν+n)/2) - ln Γ(ν/2) goes through the beta function: at a large ν the difference of two
    large numbers would be lost in float32. 0 where n is 0.
    """
    half = 0.5 * jnp.maximum(count, 1.0)
    ratio = jax.scipy.special.gammaln(half) - jax.scipy.special.betaln(0.5 * freedom, half)
    spread = count * jnp.log(freedom * jnp.pi) + log_scales
    log_density = ratio - 0.5 * (spread + (freedom + count) * jnp.log1p(distance / freedom))
    return jnp.where(count > 0.0, log_density, 0.0)


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
    if not isinstance(prior, Gaussian):
        reach = posterior.mean - prior.mean
        spread = jnp.exp(0.5 * posterior.log_variance)
        at_reach = prior.mean + jnp.sqrt(reach * reach + spread * spread)
        prior = Gaussian(prior.mean, -jnp.log(precision(prior, at_reach, used)))
    return used * kl_divergence(posterior, prior)
