"""The static VAE: dates independent given the factors; the prior standard normal or Student-t."""

import functools
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jaxvae.errors import OptionError
from jaxvae.models.conditional import LARGEST_LOG_VARIANCE, conditional_prior, first_prior
from jaxvae.models.config import ModelConfig
from jaxvae.models.distributions import (
    Distribution,
    Gaussian,
    IndependentT,
    StudentT,
    UncertainGaussian,
)
from jaxvae.models.layers import (
    Affine,
    Curves,
    Perceptron,
    dense,
    drawn,
    hermite_terms,
    together,
)
from jaxvae.models.model import Batch, Model, Variables, in_use, standard_normal_prior
from jaxvae.models.sectors import SectorLoadings, loadings_divergence

NOISE_FLOOR = 1e-6
FIRST_DF = 10.0
FIRST_VOLATILITY = 0.5
# ν - 2, so that returns have a variance; at a million the density is a Gaussian's.
EXCESS_DF = (1e-2, 1e6)


class Encoder(nn.Module):
    """q(z | x): posterior mean and log-variance of each row's factors.

    Where rows differ in scale (any likelihood but the Gaussian), the row is divided by its own
    scale c, c² = (1 + Σ x²)/(1 + D), and ln c given beside it, so that a wild row looks like any
    other. Under "student" the posterior is multiplied by c again: in the linear model its mean is
    linear in x and its variance proportional to the row's scale.
    """

    config: ModelConfig

    @nn.compact
    def __call__(self, inputs: Float[Array, "row input"], batch: Batch, training: bool) -> Gaussian:
        config = self.config
        scale = _row_scale(batch)
        if config.likelihood != "gaussian":
            inputs = jnp.concatenate([inputs / scale, jnp.log(scale)], axis=-1)
        if config.masked:
            inputs = jnp.concatenate([inputs, batch.observed], axis=-1)
        inputs = jnp.concatenate([inputs, seen_by("encoder", config, batch)], axis=-1)
        hidden = Perceptron(config.widths, config.normalisation, name="hidden")(
            inputs, batch.weights, training
        )
        heads = [
            Affine(config.n_factors, name=name)(hidden.shape[-1])
            for name in ("mean", "log_variance")
        ]
        mean, log_variance = together(hidden, heads)
        if config.skip:
            mean += dense(config.n_factors, inputs.shape[-1], "skip", use_bias=False)(inputs)
        if config.likelihood != "student":
            return Gaussian(mean, log_variance)
        return Gaussian(scale * mean, log_variance + 2.0 * jnp.log(scale))


class Decoder(nn.Module):
    """p(x | z): where each row's returns lie and how they scatter, in standard units.

    The noise variance Ψ is floored at 1e-6, so that noiseless data end there and not in a NaN.

    "gaussian":  x = g(z) + Ψ^½ ε. Where loadings are drawn around their sector's, training is told
    their mean and variance (an `UncertainGaussian`), and everybody else the predictive density.

    "student":  x = g(z) + √s Ψ^½ ε with z ~ N(0, s I), one s ~ InverseGamma(ν/2, ν/2) a row.
    Integrating s out leaves two multivariate Student-t's,

        z ~ t_ν(0, I),    x | z ~ t_{ν+K}(g(z), Ψ (ν + |z|²)/(ν + K)),

    so that with a linear g the returns are multivariate t with scale matrix W Wᵀ + Ψ.

    "volatility":  x_a = exp(½ l_a z_1) [g_a(z_2, …) + Ψ_a^½ ε_a],  ε_a ~ t_{ν_a}. The first factor
    moves the volatility of every asset by its own loading l_a, as in stochastic volatility; shocks
    of single assets have tails of their own (Harvey, Ruiz & Shephard 1994).
    """

    config: ModelConfig
    n_assets: int

    @nn.compact
    def __call__(
        self,
        factors: Float[Array, "row factor"],
        batch: Batch,
        training: bool,
        n_used: Float[Array, ""],
    ) -> Distribution:
        if self.config.likelihood == "volatility":
            return self._with_volatility(factors, batch, training)
        mean, spread = self._mean(factors, batch, training)
        log_noise = jnp.broadcast_to(self._log_noise(batch), mean.shape)
        if spread is not None:
            uncertain = UncertainGaussian(mean, log_noise, spread)
            return uncertain if training else uncertain.predictive
        if self.config.likelihood == "gaussian":
            return Gaussian(mean, log_noise)
        df = degrees_of_freedom(self.param("log_df", _log_first_df, ()))
        reach = (df + jnp.sum(factors**2, axis=-1)) / (df + n_used)
        rows = jnp.broadcast_to(df + n_used, reach.shape)
        return StudentT(mean, log_noise + jnp.log(reach)[:, None], rows)

    def _with_volatility(
        self, factors: Float[Array, "row factor"], batch: Batch, training: bool
    ) -> IndependentT:
        loadings = self.param(
            "volatility", nn.initializers.constant(FIRST_VOLATILITY), (self.n_assets,)
        )
        moves = factors[:, :1] * loadings[None, :]
        mean = jnp.exp(0.5 * moves) * self._mean(factors[:, 1:], batch, training)[0]
        df = degrees_of_freedom(self.param("log_df", _log_first_df, (self.n_assets,)))
        log_scale = self._log_noise(batch) + moves
        return IndependentT(mean, log_scale, jnp.broadcast_to(df[None, :], mean.shape))

    def _mean(
        self, factors: Float[Array, "row factor"], batch: Batch, training: bool
    ) -> tuple[Float[Array, "row asset"], Float[Array, "row asset"] | None]:
        """g(z), and its variance where loadings are uncertain."""
        config, spread = self.config, None
        conditions = seen_by("decoder", config, batch)
        inputs = jnp.concatenate([factors, conditions], axis=-1)
        if config.decoder == "additive":
            if config.sectors:
                loadings = SectorLoadings(config.sectors, factors.shape[-1], name="curves")
                mean, spread = loadings(hermite_terms(factors, config.degree))
            else:
                mean = Curves(config.degree, self.n_assets, name="curves")(factors)
            return mean + dense(self.n_assets, inputs.shape[-1], "mean")(conditions), spread
        hidden = Perceptron(
            config.widths[::-1], config.normalisation, first_normalised=False, name="hidden"
        )(inputs, batch.weights, training)
        mean = dense(self.n_assets, hidden.shape[-1], "mean")(hidden)
        if config.skip:
            mean += dense(self.n_assets, inputs.shape[-1], "skip", use_bias=False)(inputs)
        return mean, None

    def _log_noise(self, batch: Batch) -> Float[Array, "rows size"]:
        """One row for all where the conditions do not move it, one column where assets share it."""
        start = jnp.log(jnp.float32(self.config.noise_variance))
        if self.config.noise == "fixed":
            return start[None, None]
        size = self.n_assets if self.config.noise == "asset" else 1
        raw = self.param("log_variance", nn.initializers.constant(start), (size,))[None, :]
        conditions = seen_by("noise", self.config, batch)
        if n_conditions := conditions.shape[-1]:
            slopes = self.param("noise_slopes", nn.initializers.zeros, (n_conditions, size))
            raw += jnp.clip(conditions @ slopes, -LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        return jnp.logaddexp(raw, jnp.log(jnp.float32(NOISE_FLOOR)))


def df_of(variables: Variables) -> Float[Array, "*sizes"]:
    """Degrees of freedom ν of a member: of its "student" likelihood, or one an asset of the noise
    of its "volatility" likelihood."""
    return degrees_of_freedom(variables.parameters["decoder"]["log_df"])


@functools.cache
def static_vae(config: ModelConfig, n_assets: int) -> Model:
    """The VAE of a configuration for a number of assets.

    Equal arguments give the same object, so that what was compiled for it is found again.
    """
    if config.sectors and len(config.sectors) != n_assets:
        raise OptionError("sectors", f"{len(config.sectors)} for {n_assets} assets; one for each")
    encoder, decoder = Encoder(config), Decoder(config, n_assets)
    in_prior = "prior" in config.conditioned and config.n_conditions > 0

    def initialise(key: Key[Array, ""], batch: Batch) -> Variables:
        mask = jnp.ones(config.n_factors, batch.values.dtype)
        factors = jnp.zeros((batch.values.shape[0], config.n_factors), batch.values.dtype)
        first = encoder.init(key, batch.values, batch, True)
        second = decoder.init(key, factors, batch, True, jnp.sum(mask))
        parts = {"encoder": first, "decoder": second}
        parameters = drawn(key, {name: part["params"] for name, part in parts.items()})
        if in_prior:
            parameters["prior"] = first_prior(config.n_conditions, config.n_factors)
        return Variables(
            parameters,
            {name: part.get("statistics", {}) for name, part in parts.items()},
            mask,
        )

    def encode(
        variables: Variables, batch: Batch, training: bool = False
    ) -> tuple[Gaussian, Variables]:
        posterior, variables = apply_module(
            encoder, "encoder", variables, batch.values, batch, training=training
        )
        return in_use(variables, posterior), variables

    def decode(
        variables: Variables,
        factors: Float[Array, "row factor"],
        batch: Batch,
        training: bool = False,
    ) -> tuple[Distribution, Variables]:
        mask = variables.factor_mask
        inputs, n_used = factors * mask[None, :], jnp.sum(mask)
        return apply_module(decoder, "decoder", variables, inputs, batch, n_used, training=training)

    def complexity(variables: Variables) -> Float[Array, ""]:
        return loadings_divergence(variables.parameters["decoder"]["curves"], config.sectors)

    prior = standard_t_prior if config.likelihood == "student" else standard_normal_prior
    prior = conditional_prior if in_prior else prior
    cost = complexity if config.sectors else None
    return Model(config.n_factors, initialise, encode, decode, prior, cost)


def seen_by(part: str, config: ModelConfig, batch: Batch) -> Float[Array, "row condition"]:
    """The conditions that a part of the model sees: all of them or none."""
    return batch.conditions if part in config.conditioned else batch.conditions[:, :0]


def standard_t_prior(
    variables: Variables, factors: Float[Array, "row factor"], batch: Batch
) -> StudentT:
    """t_ν(0, I) for every row, with the member's ν."""
    del batch
    zeros = jnp.zeros_like(factors)
    df = jnp.broadcast_to(df_of(variables), factors.shape[:-1])
    return StudentT(zeros, zeros, df)


def apply_module(
    module: nn.Module,
    name: str,
    variables: Variables,
    inputs: Array,
    batch: Batch,
    *others: Array,
    training: bool,
) -> tuple[Any, Variables]:
    """Run a module on its own part of the variables; in training, move its statistics."""
    collections = {
        "params": variables.parameters[name],
        "statistics": variables.statistics[name],
    }
    moved: Any
    output: Any
    if not training:
        output = module.apply(collections, inputs, batch, False, *others)
        return output, variables
    output, moved = module.apply(collections, inputs, batch, True, *others, mutable=["statistics"])
    statistics = {**variables.statistics, name: moved.get("statistics", {})}
    return output, variables._replace(statistics=statistics)


def _row_scale(batch: Batch) -> Float[Array, "row 1"]:
    """Root mean square of each row's observed returns, with one cell of 1 added."""
    squares = 1.0 + jnp.sum(batch.observed * batch.values**2, axis=-1, keepdims=True)
    return jnp.sqrt(squares / (1.0 + jnp.sum(batch.observed, axis=-1, keepdims=True)))


def degrees_of_freedom(log_excess: Float[Array, "*sizes"]) -> Float[Array, "*sizes"]:
    """ν = 2 + exp(parameter), within bounds."""
    low, high = EXCESS_DF
    return 2.0 + jnp.clip(jnp.exp(log_excess), low, high)


def _log_first_df(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    del key
    return jnp.full(shape, jnp.log(FIRST_DF - 2.0), dtype)
