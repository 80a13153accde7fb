"""Flax modules that families share: dense layers, weighted batch norm, perceptrons."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

NEGATIVE_SLOPE = 0.2
MANY_INPUTS = 128  # of a layer; beyond them its steps are held
BATCH_NORM_MOMENTUM = 0.1
EPSILON = 1e-5


def draw_uniform(key: Key[Array, ""], parameters: Any) -> Any:
    """Kernels and biases drawn from their uniform laws, U(-w, w) with w = 1/√fan_in, the law of the
    notebook's linear layers.

    Until then they hold w (a normalisation's bias holds 0): one draw for all compiles and runs in a
    fraction of the time of one for each.
    """
    # Flax's constants have JAX's default dtype, which JAX_ENABLE_X64 makes double.
    parameters = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), parameters)
    flat, unravel = ravel_pytree(parameters)
    draws = unravel(jax.random.uniform(key, flat.shape, flat.dtype, minval=-1.0, maxval=1.0))

    def scaled(path: tuple[Any, ...], bound: Array, draw: Array) -> Array:
        return bound * draw if path[-1].key in ("kernel", "bias") else bound

    return jax.tree_util.tree_map_with_path(scaled, parameters, draws)


def uniform_bound(fan_in: int) -> Any:
    """An initialiser of 1/√fan_in, from which `draw_uniform` draws kernels and biases."""
    return nn.initializers.constant(fan_in**-0.5)


def fan_in_share(fan_in: int) -> float:
    """What a kernel of many inputs is multiplied with: (128/fan_in)^1.5, at most 1.

    Adam moves each weight by the learning rate, whatever the gradient's size, and all weights of a
    feature may move the same way: its steps grow with the number of inputs, while the posterior
    that it is to meet narrows with their root. On some hundreds of assets training diverges.
    Kernels kept in units of this share, and started as much larger, move as those of 128 inputs do
    (Yang and Hu 2021, "Tensor programs IV", whose maximal update has the power 1).
    """
    return min(1.0, (MANY_INPUTS / max(fan_in, 1)) ** 1.5)


def dense(features: int, fan_in: int, name: str, use_bias: bool = True) -> nn.Dense:
    """A dense layer whose kernel and bias start uniform on ±1/√fan_in (see `draw_uniform`), the
    kernel in units of `fan_in_share`."""
    share = fan_in_share(fan_in)

    def product(inputs: Array, kernel: Array, *how: Any, **precision: Any) -> Array:
        return jax.lax.dot_general(inputs, share * kernel, *how, **precision)

    return nn.Dense(
        features,
        use_bias=use_bias,
        kernel_init=nn.initializers.constant(fan_in**-0.5 / share),
        bias_init=uniform_bound(fan_in),
        dot_general=None if share == 1.0 else product,
        name=name,
    )


class Affine(nn.Module):
    """Kernel and bias of a dense layer, to be applied together with others'; as `dense` starts and
    holds them."""

    features: int

    @nn.compact
    def __call__(self, fan_in: int) -> tuple[Float[Array, "input feature"], Array]:
        share = fan_in_share(fan_in)
        first = nn.initializers.constant(fan_in**-0.5 / share)
        kernel = jnp.asarray(self.param("kernel", first, (fan_in, self.features)))
        bias = jnp.asarray(self.param("bias", uniform_bound(fan_in), (self.features,)))
        return kernel if share == 1.0 else share * kernel, bias


def side_by_side(
    inputs: Float[Array, "row input"], layers: list[tuple[Array, Array]]
) -> list[Float[Array, "row feature"]]:
    """Dense layers of the same inputs and size as one matrix product, which is faster."""
    kernel, bias = (jnp.concatenate(parts, axis=-1) for parts in zip(*layers, strict=True))
    return jnp.split(inputs @ kernel + bias[None, :], len(layers), axis=-1)


class BatchNorm(nn.Module):
    """Batch normalisation over rows that count by their weights (Ioffe & Szegedy 2015).

    In training each feature is centred and scaled by the weighted mean and variance (divisor Σw) of
    the batch; the running statistics move by a tenth towards the batch's, the variance with divisor
    Σw - 1. Otherwise the running statistics serve. Flax's own layer knows masks, not weights, and
    keeps the biased variance.
    """

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "row feature"], weights: Float[Array, " row"], training: bool
    ) -> Float[Array, "row feature"]:
        size = inputs.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (size,))
        bias = self.param("bias", nn.initializers.zeros, (size,))
        running_mean = self.variable("statistics", "mean", jnp.zeros, size, jnp.float32)
        running_variance = self.variable("statistics", "variance", jnp.ones, size, jnp.float32)
        mean, variance = running_mean.value, running_variance.value
        if training:
            # Sums over rows, not products with the weights: XLA fuses them on a CPU.
            total = jnp.maximum(jnp.sum(weights), 1.0)
            shares = (weights / total)[:, None]
            mean = jnp.sum(shares * inputs, axis=0)
            variance = jnp.sum(shares * (inputs - mean[None, :]) ** 2, axis=0)
        if training and not self.is_initializing():
            # One row has no variance to learn from.
            unbiased = jnp.where(
                total > 1.0,
                variance * total / jnp.maximum(total - 1.0, 1.0),
                running_variance.value,
            )
            running_mean.value += BATCH_NORM_MOMENTUM * (mean - running_mean.value)
            running_variance.value += BATCH_NORM_MOMENTUM * (unbiased - running_variance.value)
        factor = scale * jax.lax.rsqrt(variance + EPSILON)
        return (inputs - mean[None, :]) * factor[None, :] + bias[None, :]


class Perceptron(nn.Module):
    """Hidden layers: dense, normalisation, LeakyReLU(0.2).

    widths: one hidden layer each.
    normalisation: "batch", "layer" or "none".
    first_normalised: whether the first hidden layer is normalised too.
    """

    widths: tuple[int, ...]
    normalisation: str
    first_normalised: bool = True

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "row feature"], weights: Float[Array, " row"], training: bool
    ) -> Float[Array, "row hidden"]:
        hidden = inputs
        for index, width in enumerate(self.widths):
            hidden = dense(width, hidden.shape[-1], f"dense_{index}")(hidden)
            if self.normalisation == "batch" and (index or self.first_normalised):
                hidden = BatchNorm(name=f"norm_{index}")(hidden, weights, training)
            elif self.normalisation == "layer" and (index or self.first_normalised):
                hidden = nn.LayerNorm(epsilon=EPSILON, name=f"norm_{index}")(hidden)
            hidden = nn.leaky_relu(hidden, NEGATIVE_SLOPE)
        return hidden


class Curves(nn.Module):
    """The sum of one polynomial curve a factor.

        Σ_k Σ_{d ≤ degree} C_kd He_d(z_k)/√d!

    in Hermite polynomials, orthonormal under z ~ N(0, 1): |C_kd|² is the variance that degree d of
    factor k explains. No term sees two factors, so turning them would change what can be said: up
    to order, sign and a map of each factor alone, factors are identified where curves are rich
    enough (Lachapelle et al. 2023, additive decoders). All degrees start alike.
    """

    degree: int
    size: int

    @nn.compact
    def __call__(self, factors: Float[Array, "row factor"]) -> Float[Array, "row size"]:
        n_factors = factors.shape[-1]
        columns = hermite_terms(factors, self.degree)
        return dense(self.size, n_factors, "terms", use_bias=False)(columns)


def hermite_terms(factors: Float[Array, "row factor"], degree: int) -> Float[Array, "row column"]:
    """He_d(z_k)/√d! for d = 1 … degree, all factors of one degree side by side."""
    terms = [jnp.ones_like(factors), factors]
    for d in range(2, degree + 1):
        # √d h_d = z h_{d-1} - √(d-1) h_{d-2}, the three-term recurrence of He_d/√d!.
        last = factors * terms[-1] - (d - 1) ** 0.5 * terms[-2]
        terms.append(last * d**-0.5)
    return jnp.concatenate(terms[1:], axis=-1)
