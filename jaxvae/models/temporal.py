"""The temporal VAE: the prior of a date's factors, and how its returns are made of them, depend on
the dates before.

What a row knows of the past is a recurrent state without parameters (`memory`), in its conditions.
So the joint density of a panel is the product of one-step-ahead densities p(x_t | x_1 … x_{t-1}),
each that of a VAE (a recurrent VAE, Chung et al. 2015), and what is said of a date's likelihood is
said one step ahead. The future depends on z_t through x_t alone, so that filtering is smoothing:
p(z_t | x_1 … x_T) = p(z_t | x_1 … x_t), and one encoder serves analysis and forecasts.
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.errors import OptionError, check_options, option
from jaxvae.models.distributions import Gaussian
from jaxvae.models.likelihoods import FIRST_DF, FIRST_VOLATILITY, degrees_of_freedom
from jaxvae.models.memory import LEAST_SQUARE, Past, Speeds, recurrence, size, unflatten
from jaxvae.models.model import Batch, Facts, Family, Model, Variables, factors_used, in_use
from jaxvae.models.student_t import IndependentT

# How far a parameter is expected to go from its start: shared by all assets, one an asset, one an
# asset (or speed) and factor.
SHARED, BY_ASSET, MATRIX = 1.0, 0.3, 0.1
HIDDEN = 16
GRADIENT_STEPS = 3
LEAST_NOISE = 1e-4
SMALL = 0.05


class Context(NamedTuple):
    """What the dates before a row's say of it.

    loadings, noise: W and diag Ψ of its scaled returns. log_scale: s, of each asset.
    log_variance: of the prior of each return factor. features: of the panel's volatility.
    expected: the mean of the prior.
    """

    loadings: Float[Array, "row factor asset"]
    noise: Float[Array, "row asset"]
    log_scale: Float[Array, "row asset"]
    log_variance: Float[Array, "row factor"]
    features: Float[Array, "row feature"]
    expected: Float[Array, "row factor"]


class Start(NamedTuple):
    """Where a parameter starts, and how far it is expected to go from there.

    The optimiser moves deviations, parameter = start + reach · deviation, and weight decay draws
    them to zero: a parameter that the data say little of stays at its start. Each deviation has one
    axis more, first, so that decay takes it for a matrix.
    """

    value: np.ndarray
    reach: float


@dataclass(frozen=True)
class TemporalConfig(Family):
    """The temporal VAE.

        x_a = exp(½ (s_a + l_a z_1)) [Σ_k W_ka z_k + Ψ_a^½ ε_a] + b_a,    ε_a ~ t_{ν_a}
        z_k ~ N(φ_k m_k, σ_k²),    k = 2 … K;    z_1 ~ N(φ_1 m_1, 1)

    with m the encoder's mean of the last date's factors, |φ_k| < 1, and

        s_a    level + Σ_h [a_h (ln v_ah - ln v_h) + b_h ln v_h + c_h (e_ah - e_h) + d_h e_h]
        ln σ²  a linear readout of ln v_h and e_h
        W      g_k Λ_k + V_k
        ln Ψ   r ln Ψ' + n_a,    Ψ' the memory's noise and the loadings of factors not in use

    where v_ah and e_ah are the memory's average squares and means at speed h (without a: averaged
    over assets), Λ and Ψ' its factor analysis, and every other letter is learned. Negative d_h let
    losses raise volatility more than gains. The model starts as a volatility that is the base
    speed's average and a factor analysis of the recent past, from which weight decay lets it go
    where the data insist; g = r = a = b = c = d = 0 makes it static.

    The first factor is the surprise in volatility, as in the likelihood "volatility". The encoder's
    return factors are the posterior mean under Gaussian noise, by steps of conjugate gradients.

    Args:
        n_factors: K.
        half_lives: dates after which a return weighs half, in each of the memory's averages of
            squares and means.
        base: the place among them of the average that scales returns before their products are
            averaged.
        products: half-life of the average of these products.

    Raises:
        OptionError: a setting of another type or beyond its limits.
    """

    n_factors: int = option(5, "", least=2)
    half_lives: tuple[float, ...] = option((1.0, 5.0, 20.0, 60.0, 250.0), "", above=0.0)
    base: int = option(3, "", least=0)
    products: float = option(70.0, "", above=0.0)

    def __post_init__(self) -> None:
        check_options(self)
        if self.base >= len(self.half_lives):
            raise OptionError("base", f"{self.base} is no place in {self.half_lives}")

    @property
    def speeds(self) -> Speeds:
        return Speeds(self.half_lives, self.base, self.products)

    def build(self, n_assets: int) -> Model:
        return _temporal_vae(self, n_assets)


@functools.cache
def _temporal_vae(config: TemporalConfig, n_assets: int) -> Model:
    speeds, n_returns = config.speeds, config.n_factors - 1
    starts = _starts(config, n_assets)

    def initialise(key: Key[Array, ""], batch: Batch) -> Variables:
        dtype = batch.values.dtype
        variables = Variables(
            _first_parameters(key, starts), {}, jnp.ones(config.n_factors, jnp.float32)
        )
        return jax.tree.map(lambda leaf: leaf.astype(dtype), variables)

    def settled(variables: Variables) -> Variables:
        return variables._replace(parameters=values_of(variables.parameters, starts))

    def read_context(variables: Variables, batch: Batch) -> Context:
        if isinstance(batch.conditions, Context):
            return batch.conditions
        conditions = batch.conditions[:, -size(speeds, n_returns, n_assets) :]
        return _context(variables, unflatten(conditions, speeds, n_returns, n_assets))

    def informed(variables: Variables, batch: Batch) -> Batch:
        return batch._replace(conditions=read_context(settled(variables), batch))

    def encode(
        variables: Variables, batch: Batch, training: bool = False
    ) -> tuple[Gaussian, Variables]:
        del training
        values = settled(variables)
        posterior = _posterior(values, batch.values, read_context(values, batch))
        return in_use(variables, posterior), variables

    def decode(
        variables: Variables,
        factors: Float[Array, "row factor"],
        batch: Batch,
        training: bool = False,
    ) -> tuple[IndependentT, Variables]:
        del training
        values = settled(variables)
        return _observation(values, factors, read_context(values, batch)), variables

    def prior(variables: Variables, factors: Float[Array, "row factor"], batch: Batch) -> Gaussian:
        del factors
        values = settled(variables)
        context = read_context(values, batch)
        unit = jnp.zeros_like(context.log_variance[:, :1])
        log_variance = jnp.concatenate([unit, context.log_variance], axis=-1)
        return Gaussian(context.expected, log_variance)

    return Model(
        config.n_factors,
        initialise,
        encode,
        decode,
        prior,
        Facts(volatility_factor=0),
        informed=informed,
        recurrence=recurrence(speeds, n_returns, n_assets),
    )


def _context(variables: Variables, past: Past) -> Context:
    parameters, decoder = variables.parameters, variables.parameters["decoder"]
    features, log_scale = _log_scale(parameters["scale"], past)
    used = variables.factor_mask[None, 1:, None]
    kept = decoder["gain"][None, :, None] * past.loadings + decoder["loadings"][None]
    unused = jnp.sum((1.0 - used) * past.loadings**2, axis=1)
    log_noise = decoder["noise_slope"] * jnp.log(past.noise + unused)
    context = Context(
        loadings=used * kept,
        noise=jnp.exp(log_noise + decoder["log_noise"][None, :]) + LEAST_NOISE,
        log_scale=log_scale,
        log_variance=features @ parameters["prior"]["log_variance"],
        features=features,
        expected=jnp.zeros((len(features), len(variables.factor_mask)), features.dtype),
    )
    last = _posterior(variables, past.last, context).mean
    persistence = jnp.tanh(parameters["prior"]["persistence"])
    return context._replace(expected=persistence[None, :] * factors_used(variables, last) * last)


def _log_scale(
    parameters: Any, past: Past
) -> tuple[Float[Array, "row feature"], Float[Array, "row asset"]]:
    """The panel's logarithmic volatility and mean at each speed, and s of each asset."""
    squares = jnp.log(past.squares + LEAST_SQUARE)
    common = jnp.mean(squares, axis=-1), jnp.mean(past.means, axis=-1)
    own = squares - common[0][..., None], past.means - common[1][..., None]
    features = jnp.concatenate(common, axis=-1)
    scale = parameters["level"] + features @ parameters["common"]
    own_scale = jnp.einsum("rha,h->ra", jnp.concatenate(own, axis=1), parameters["own"])
    return features, own_scale + scale[:, None]


def _posterior(
    variables: Variables, returns: Float[Array, "row asset"], context: Context
) -> Gaussian:
    """q(z | x, the past): the surprise in volatility from a small perceptron on how large factors
    and residuals are, the return factors from a least-squares fit of the scaled returns."""
    parameters = variables.parameters["encoder"]
    scaled = returns * jnp.exp(-0.5 * context.log_scale)
    mean, information = _least_squares(scaled, context)
    residual = scaled - jnp.einsum("rk,rka->ra", mean, context.loadings)
    sizes = [
        jnp.mean(residual**2 / context.noise, axis=-1),
        jnp.mean(jnp.abs(residual) / jnp.sqrt(context.noise), axis=-1) ** 2,
        jnp.mean(mean**2, axis=-1),
    ]
    inputs = jnp.concatenate(
        [jnp.log(jnp.stack(sizes, axis=-1) + SMALL), context.features], axis=-1
    )
    hidden = jnp.tanh(inputs @ parameters["hidden"] + parameters["hidden_bias"][None, :])
    surprise = inputs @ parameters["skip"] + hidden @ parameters["out"]
    surprise += parameters["out_bias"][None, :]
    moved = jnp.mean(variables.parameters["decoder"]["volatility"]) * surprise[:, :1]
    shrunk = mean * jnp.exp(-0.5 * moved) * jax.nn.sigmoid(parameters["shrinkage"])[None, :]
    spread = parameters["log_variance"][None, :] - jnp.log(information)
    return Gaussian(
        jnp.concatenate([surprise[:, :1], shrunk], axis=-1),
        jnp.concatenate([surprise[:, 1:], spread], axis=-1),
    )


def _least_squares(
    scaled: Float[Array, "row asset"], context: Context
) -> tuple[Float[Array, "row factor"], Float[Array, "row factor"]]:
    """(P + W Ψ⁻¹ Wᵀ)⁻¹ W Ψ⁻¹ y with P the prior's precision, and the matrix's diagonal.

    By conjugate gradients scaled by that diagonal (Hestenes & Stiefel 1952), a few steps: near
    orthogonal loadings need few, and no matrix of a row is formed.
    """
    weighted = context.loadings / context.noise[:, None, :]
    precision = jnp.exp(-context.log_variance)
    diagonal = precision + jnp.sum(weighted * context.loadings, axis=-1)

    def curvature(factors: Float[Array, "row factor"]) -> Float[Array, "row factor"]:
        fitted = jnp.einsum("rk,rka->ra", factors, context.loadings)
        return precision * factors + jnp.einsum("rka,ra->rk", weighted, fitted)

    residual = jnp.einsum("rka,ra->rk", weighted, scaled)
    found = jnp.zeros_like(residual)
    direction = residual / diagonal
    gain = jnp.sum(residual * direction, axis=-1, keepdims=True)
    for _ in range(GRADIENT_STEPS):
        curved = curvature(direction)
        slope = jnp.sum(direction * curved, axis=-1, keepdims=True)
        step = gain / jnp.maximum(slope, 1e-12)
        found, residual = found + step * direction, residual - step * curved
        scaled_residual = residual / diagonal
        new_gain = jnp.sum(residual * scaled_residual, axis=-1, keepdims=True)
        direction = scaled_residual + new_gain / jnp.maximum(gain, 1e-12) * direction
        gain = new_gain
    return found, diagonal


def _observation(
    variables: Variables, factors: Float[Array, "row factor"], context: Context
) -> IndependentT:
    parameters = variables.parameters["decoder"]
    factors = factors * variables.factor_mask[None, :]
    log_scale = context.log_scale + factors[:, :1] * parameters["volatility"][None, :]
    mean = jnp.einsum("rk,rka->ra", factors[:, 1:], context.loadings)
    mean = jnp.exp(0.5 * log_scale) * mean + parameters["bias"][None, :]
    df = degrees_of_freedom(parameters["log_df"])[None, :]
    return IndependentT(mean, log_scale + jnp.log(context.noise), df)


def _starts(config: TemporalConfig, n_assets: int) -> Any:
    """Where training starts, by the names of the parameters: volatility at the base speed, the
    memory's factor analysis, factors without a memory of their own, and an encoder that is right
    where noise is Gaussian and all assets alike."""
    speeds, n_returns = config.speeds, config.n_factors - 1
    n_speeds = len(speeds.squares)
    n_features, n_inputs = 2 * n_speeds, 3 + 2 * n_speeds
    base = np.eye(n_features)[speeds.base]
    # Fisher information of n residuals on the first factor, and what their fit leaves of them.
    information = 0.5 * n_assets * FIRST_VOLATILITY**2
    slope = information / (1.0 + information) / FIRST_VOLATILITY
    left = max(n_assets - n_returns, 1) / n_assets
    surprise = np.zeros((n_inputs, 2))
    surprise[0, 0] = slope
    bias = np.array([-slope * np.log(left), -np.log(1.0 + information)])
    return {
        "scale": {
            "level": Start(np.zeros(()), SHARED),
            "common": Start(base, SHARED),
            "own": Start(base, SHARED),
        },
        "prior": {
            "persistence": Start(np.zeros(config.n_factors), SHARED),
            "log_variance": Start(np.zeros((n_features, n_returns)), MATRIX),
        },
        "decoder": {
            "gain": Start(np.ones(n_returns), BY_ASSET),
            "loadings": Start(np.zeros((n_returns, n_assets)), MATRIX),
            "noise_slope": Start(np.ones(()), SHARED),
            "log_noise": Start(np.zeros(n_assets), BY_ASSET),
            "volatility": Start(np.full(n_assets, FIRST_VOLATILITY), BY_ASSET),
            "log_df": Start(np.full(n_assets, np.log(FIRST_DF - 2.0)), SHARED),
            "bias": Start(np.zeros(n_assets), BY_ASSET),
        },
        "encoder": {
            "hidden": Start(np.zeros((n_inputs, HIDDEN)), SHARED),
            "hidden_bias": Start(np.zeros(HIDDEN), SHARED),
            "out": Start(np.zeros((HIDDEN, 2)), SHARED),
            "out_bias": Start(bias, SHARED),
            "skip": Start(surprise, SHARED),
            "shrinkage": Start(np.full(n_returns, 3.0), SHARED),
            "log_variance": Start(np.zeros(n_returns), SHARED),
        },
    }


def _first_parameters(key: Key[Array, ""], starts: Any) -> Any:
    """No deviation from the start, but in the encoder's perceptron, which would else never move."""
    parameters = jax.tree.map(
        lambda start: jnp.zeros((1, *start.value.shape), jnp.float32),
        starts,
        is_leaf=lambda leaf: isinstance(leaf, Start),
    )
    encoder, hidden = parameters["encoder"], parameters["encoder"]["hidden"]
    first = jax.random.normal(key, hidden.shape, hidden.dtype) * hidden.shape[1] ** -0.5
    return {**parameters, "encoder": {**encoder, "hidden": first}}


def values_of(parameters: Any, starts: Any) -> Any:
    """The parameters themselves, start + reach · deviation."""

    def value(deviation: Array, start: Start) -> Array:
        return jnp.asarray(start.value, deviation.dtype) + start.reach * deviation[0]

    return jax.tree.map(value, parameters, starts)
