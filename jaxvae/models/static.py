"""The static VAE: dates are independent given the factors, the prior is N(0, I)."""

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jaxvae.errors import OptionError
from jaxvae.models.base import Batch, Model, Variables, standard_normal_prior
from jaxvae.models.layers import Perceptron, dense
from jaxvae.objective import Gaussian

NOISE_FLOOR = 1e-6
NORMALISATIONS = ("batch", "layer", "none")
NOISES = ("asset", "scalar", "fixed")


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a VAE.

    n_factors: latent factors.
    widths: the encoder's hidden layers, input side first; the decoder mirrors them. Empty: linear.
    normalisation: "batch", "layer" or "none"; as in the notebook, the decoder's first hidden layer
        goes without.
    skip: add a linear map beside the perceptron, x to the posterior mean and z to the decoder mean,
        so that the linear factor model is contained.
    noise: observation variance: "asset" (learned, one an asset), "scalar" (learned, shared) or
        "fixed".
    noise_variance: the fixed variance, or where learning starts, in standard units.
    """

    n_factors: int = 5
    widths: tuple[int, ...] = (64, 32)
    normalisation: str = "batch"
    skip: bool = False
    noise: str = "asset"
    noise_variance: float = 0.5

    def __post_init__(self) -> None:
        if self.n_factors < 1:
            raise OptionError(f"factors: {self.n_factors} is too few; ask for at least 1")
        if any(width < 1 for width in self.widths):
            raise OptionError(f"widths: {self.widths} holds a width below 1")
        _require_one_of("normalisation", self.normalisation, NORMALISATIONS)
        _require_one_of("noise", self.noise, NOISES)
        if not self.noise_variance > 0:
            raise OptionError(f"noise_variance: {self.noise_variance} is not above 0")


def _require_one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{option}: {value!r} is not one of {', '.join(choices)}")


class Encoder(nn.Module):
    """q(z | x): posterior mean and log-variance of each row's factors."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self, values: Float[Array, "row asset"], weights: Float[Array, " row"], training: bool
    ) -> Gaussian:
        config = self.config
        hidden = Perceptron(config.widths, config.normalisation, name="hidden")(
            values, weights, training
        )
        mean = dense(config.n_factors, hidden.shape[-1], "mean")(hidden)
        if config.skip:
            mean += dense(config.n_factors, values.shape[-1], "skip", use_bias=False)(values)
        log_variance = dense(config.n_factors, hidden.shape[-1], "log_variance")(hidden)
        return Gaussian(mean, log_variance)


class Decoder(nn.Module):
    """p(x | z): mean and log-variance of each row's returns, in standard units.

    The variance is floored at 1e-6, so that noiseless data end there and not in a NaN.
    """

    config: ModelConfig
    n_assets: int

    @nn.compact
    def __call__(
        self, factors: Float[Array, "row factor"], weights: Float[Array, " row"], training: bool
    ) -> Gaussian:
        config = self.config
        widths = config.widths[::-1]
        hidden = Perceptron(widths, config.normalisation, first_normalised=False, name="hidden")(
            factors, weights, training
        )
        mean = dense(self.n_assets, hidden.shape[-1], "mean")(hidden)
        if config.skip:
            mean += dense(self.n_assets, factors.shape[-1], "skip", use_bias=False)(factors)
        return Gaussian(mean, jnp.broadcast_to(self._log_variance()[None, :], mean.shape))

    def _log_variance(self) -> Float[Array, " size"]:
        start = jnp.log(jnp.float32(self.config.noise_variance))
        if self.config.noise == "fixed":
            return start[None]
        size = self.n_assets if self.config.noise == "asset" else 1
        raw = self.param("log_variance", nn.initializers.constant(start), (size,))
        return jnp.logaddexp(raw, jnp.log(jnp.float32(NOISE_FLOOR)))


def _apply(
    module: nn.Module, name: str, variables: Variables, inputs: Array, batch: Batch, training: bool
) -> tuple[Gaussian, Variables]:
    """Run a module on its own part of the variables; in training, move its statistics."""
    collections = {
        "params": variables.parameters[name],
        "statistics": variables.statistics[name],
    }
    moved: Any
    output: Any
    if not training:
        output = module.apply(collections, inputs, batch.weights, False)
        return output, variables
    output, moved = module.apply(collections, inputs, batch.weights, True, mutable=["statistics"])
    statistics = {**variables.statistics, name: moved.get("statistics", {})}
    return output, variables._replace(statistics=statistics)


@functools.cache
def static_vae(config: ModelConfig, n_assets: int) -> Model:
    """The VAE of a configuration for a number of assets.

    Equal arguments give the same object, so that what was compiled for it is found again.
    """
    encoder, decoder = Encoder(config), Decoder(config, n_assets)

    def initialise(key: Key[Array, ""], batch: Batch) -> Variables:
        key_encoder, key_decoder = jax.random.split(key)
        factors = jnp.zeros((batch.values.shape[0], config.n_factors), batch.values.dtype)
        first = encoder.init(key_encoder, batch.values, batch.weights, True)
        second = decoder.init(key_decoder, factors, batch.weights, True)
        parts = {"encoder": first, "decoder": second}
        return Variables(
            {name: part["params"] for name, part in parts.items()},
            {name: part.get("statistics", {}) for name, part in parts.items()},
        )

    def encode(
        variables: Variables, batch: Batch, training: bool = False
    ) -> tuple[Gaussian, Variables]:
        return _apply(encoder, "encoder", variables, batch.values, batch, training)

    def decode(
        variables: Variables,
        factors: Float[Array, "row factor"],
        batch: Batch,
        training: bool = False,
    ) -> tuple[Gaussian, Variables]:
        return _apply(decoder, "decoder", variables, factors, batch, training)

    return Model(config.n_factors, initialise, encode, decode, standard_normal_prior)
