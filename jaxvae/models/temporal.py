"""The temporal VAE: the prior of a date's factors, and how its returns are made of them, depend on
the dates before.

What a row knows of the past is a recurrent state without parameters (`memory`), its `Batch.past`.
So the joint density of a panel is the product of one-step-ahead densities p(x_t | x_1 … x_{t-1}),
each that of a VAE (a recurrent VAE, Chung et al. 2015), and what is said of a date's likelihood is
said one step ahead. The future depends on z_t through x_t alone, so that filtering is smoothing:
p(z_t | x_1 … x_T) = p(z_t | x_1 … x_t), and one encoder serves analysis and forecasts.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.errors import check_options, option
from jaxvae.models.distributions import Gaussian
from jaxvae.models.likelihoods import FIRST_DF, FIRST_VOLATILITY, degrees_of_freedom
from jaxvae.models.memory import (
    LEAST_SQUARE,
    REACTION,
    Estimates,
    MemorySettings,
    Past,
    recurrence,
    with_level,
)
from jaxvae.models.model import Batch, Facts, Family, Model, Variables, factors_used, in_use
from jaxvae.models.student_t import IndependentT

# How far a parameter is expected to go from its start: one of the recursion of variances, another
# that all assets share, one an asset, one an asset (or speed) and factor.
RECURSION, SHARED, BY_ASSET, MATRIX = 4.0, 1.0, 0.3, 0.1
FIRST_TRUST = 0.3
HIDDEN = 16
GRADIENT_STEPS = 3
LEAST_NOISE = 1e-4
_SMALL = 0.05


class Context(NamedTuple):
    """The law of a row's factors and returns, and the features of its encoder, from the dates
    before it (`Batch.past`) under a member's parameters.

    Attributes:
        loadings, noise: W and diag Ψ of its scaled returns.
        log_scale: ln s, of each asset.
        log_variance, expected: of the prior of each factor.
        features: of the panel's volatility.
    """

    loadings: Float[Array, "row factor asset"]
    noise: Float[Array, "row asset"]
    log_scale: Float[Array, "row asset"]
    log_variance: Float[Array, "row factor"]
    features: Float[Array, "row feature"]
    expected: Float[Array, "row factor"]


@dataclass(frozen=True)
class Start:
    """Start and scale of a parameter that the optimiser moves as a deviation.

    parameter = start + reach · deviation, and weight decay draws some deviations to zero: loadings
    that the data say little of stay at their start, and so does what an asset has beside what all
    share.

    Attributes:
        value: the start.
        reach: how far the parameter is expected to go from there, its unit of deviation.
        decays: whether weight decay draws its deviation to zero.
    """

    value: np.ndarray
    reach: float
    decays: bool = False


@dataclass(frozen=True)
class TemporalConfig(Family):
    """The temporal VAE.

        x_a = [s_a exp(l_a z_1 - ½ l_a²)]^½ [Σ_k W_ka z_k + Ψ_a^½ ε_a] + b_a,    ε_a ~ t_{ν_a}
        z_1 ~ N(0, 1),    z_k ~ N(φ_k m_k, (1 - φ_k²) σ_k²),    k = 2 … K

    with m the encoder's mean of the last date's factors, |φ_k| < 1, ε of unit variance, and
    Σ_k W_ka² σ_k² + Ψ_a = 1, so that s_a is the variance of x_a - b_a where φ = 0, and

        s_a    1 - κ + κ Σ_h w_ah v_ah
        w_a    softmax over speeds, and the level v = 1, of  u_h + u_ah + τ (score of h)
        v_ah   (1 - η_h) (x_a - c_h)²_h / (1 + c_h²) + η_h (x_a²)_H q_h / q_H
        ln σ²  a linear readout of the panel's mean of ln (x²)_h and x_h
        W      g_k Λ_k + V_k
        ln Ψ   r ln Ψ' + n_a,    Ψ' the memory's noise and the loadings of factors not in use

    but for the divisor that makes variances 1. (·)_h is the memory's average at speed h, H the last
    of them, q the size of whole dates; Λ and Ψ' are its factor analysis, scores how well each speed
    has forecast lately, and every other letter is learned. Positive c_h let losses raise volatility
    more than gains, as in Engle & Ng's (1993) asymmetric GARCH; η_h is the say of all assets. Each
    variance returns to its level, 1 in standard units, and generated paths stay there: where x² is
    1 on average v is, so that no weight moves the level, but for what scores move. At τ = η = c = 0
    and one speed it is a GARCH(1,1), ω + α x² + β σ² with κ = α/(1-β) and β the decay of that
    speed; at g = r = 1, with one speed of products in a memory whose scores have no weight, and
    factors and steps enough, correlations are those of Engle's (2002) DCC, with ρ/2 = a/(1-b) and b
    the decay of that speed. The model starts at κ = .7, τ = .3, η = ½ and the memory's
    correlations, from which weight decay lets loadings and what is an asset's own go where the data
    insist; κ = τ = g = r = 0 makes it static.

    The first factor is the surprise in volatility, as in the likelihood "volatility". The encoder's
    return factors are the posterior mean under Gaussian noise, by steps of conjugate gradients.

    Args:
        n_factors: K.
        half_lives: dates after which a return weighs half, in each of the memory's averages of
            squares, means and sizes; the last is what sizes are relative to.
        products: the same, in its averages of products of returns, beside one over all dates.

    Raises:
        OptionError: a setting of another type or beyond its limits.
    """

    n_factors: int = option(5, "", least=2)
    half_lives: tuple[float, ...] = option((0.3, 1.5, 5.0, 20.0, 60.0, 250.0), "", above=0.0)
    products: tuple[float, ...] = option((10.0, 30.0, 100.0), "", above=0.0)

    def __post_init__(self) -> None:
        check_options(self)

    def new_model(self, n_assets: int) -> Model:
        settings = MemorySettings(self.half_lives, self.products)
        starts = _starts(self, n_assets)

        def initialise(key: Key[Array, ""], batch: Batch) -> Variables:
            parameters = jax.tree.map(
                lambda start: jnp.zeros(start.value.shape, jnp.float32), starts
            )
            # No deviation from the start, but in the perceptron, which would else never move.
            hidden = parameters["encoder"]["hidden"]
            first = jax.random.normal(key, hidden.shape, hidden.dtype) * hidden.shape[0] ** -0.5
            parameters["encoder"]["hidden"] = first
            variables = Variables(parameters, {}, jnp.ones(self.n_factors, jnp.float32))
            return jax.tree.map(lambda leaf: leaf.astype(batch.values.dtype), variables)

        def read_past(variables: Variables, batch: Batch) -> tuple[Variables, Context]:
            """The parameters themselves, and the context of the rows."""
            values = variables._replace(parameters=_values_of(variables.parameters, starts))
            known: Past | Context = batch.past
            return values, known if isinstance(known, Context) else _context(values, known)

        def informed(variables: Variables, batch: Batch) -> Batch:
            return batch._replace(past=read_past(variables, batch)[1])

        def encode(
            variables: Variables, batch: Batch, training: bool = False
        ) -> tuple[Gaussian, Variables]:
            del training
            values, context = read_past(variables, batch)
            posterior = _posterior(values, batch.values, batch.observed, context)
            return in_use(variables, posterior), variables

        def decode(
            variables: Variables,
            factors: Float[Array, "row factor"],
            batch: Batch,
            training: bool = False,
        ) -> tuple[IndependentT, Variables]:
            del training
            values, context = read_past(variables, batch)
            return _observation(values, factors, context), variables

        def prior(
            variables: Variables, factors: Float[Array, "row factor"], batch: Batch
        ) -> Gaussian:
            del factors
            _, context = read_past(variables, batch)
            return Gaussian(context.expected, context.log_variance)

        return Model(
            self.n_factors,
            initialise,
            encode,
            decode,
            prior,
            Facts(volatility_factor=0),
            informed=informed,
            decayed=lambda _: jax.tree.map(lambda start: start.decays, starts),
            recurrence=recurrence(settings, self.n_factors - 1, n_assets),
        )


def _context(variables: Variables, past: Past) -> Context:
    parameters, decoder = variables.parameters, variables.parameters["decoder"]
    estimates, features = past.estimates, _features(past.estimates)
    used = variables.factor_mask[None, 1:, None]
    kept = decoder["gain"][None, :, None] * estimates.loadings + decoder["loadings"][None]
    unused = jnp.sum((1.0 - used) * estimates.loadings**2, axis=1)
    log_noise = decoder["noise_slope"] * jnp.log(estimates.noise + unused)
    noise = jnp.exp(log_noise + decoder["own_log_noise"][None, :]) + LEAST_NOISE
    moved = features @ parameters["prior"]["log_variance"]
    loadings, variances = used * kept, jnp.exp(moved)
    # What they make the variance of an asset, Σ_k W_k² σ_k² + Ψ, which is to be 1.
    total = jnp.einsum("rka,rk->ra", loadings**2, variances) + noise
    loadings, noise = loadings * jax.lax.rsqrt(total)[:, None, :], noise / total
    persistence = jnp.pad(jnp.tanh(parameters["prior"]["persistence"]), (1, 0))
    # ln [(1 - φ²) σ²]: a factor that remembers varies no more than one that does not.
    left = jnp.log1p(-(persistence**2))
    context = Context(
        loadings=loadings,
        noise=noise,
        log_scale=jnp.log(_variances(parameters["scale"], estimates)),
        log_variance=left[None, :] + jnp.pad(moved, ((0, 0), (1, 0))),
        features=features,
        expected=jnp.zeros((len(features), len(variables.factor_mask)), features.dtype),
    )
    last = _posterior(variables, past.last, past.last_seen, context).mean
    return context._replace(expected=persistence[None, :] * factors_used(variables, last) * last)


def _features(estimates: Estimates) -> Float[Array, "row feature"]:
    """The panel's logarithmic volatility and mean at each speed."""
    squares = jnp.mean(jnp.log(estimates.squares + LEAST_SQUARE), axis=-1)
    return jnp.concatenate([squares, jnp.mean(estimates.means, axis=-1)], axis=-1)


def _variances(parameters: Any, estimates: Estimates) -> Float[Array, "row asset"]:
    """1 - κ + κ Σ_h w_ah v_ah."""
    bias = parameters["weight"][:, None] + parameters["own_weight"]
    trust = parameters["trust"] * estimates.scores
    weights = jax.nn.softmax(trust[..., None] + bias[None], axis=1)
    reaction = jax.nn.sigmoid(parameters["reaction"])
    blend = jnp.sum(weights * with_level(_averages(parameters, estimates)), axis=1)
    return jnp.maximum(1.0 - reaction + reaction * blend, LEAST_SQUARE)


def _averages(parameters: Any, estimates: Estimates) -> Float[Array, "row speed asset"]:
    """v_ah of each speed, of mean 1 where x² and q are."""
    shift = parameters["leverage"][None, :, None]
    own = (estimates.squares - 2.0 * shift * estimates.means + shift**2) / (1.0 + shift**2)
    relative = (estimates.sizes + LEAST_SQUARE) / (estimates.sizes[:, -1:] + LEAST_SQUARE)
    common = estimates.squares[:, -1:] * relative[..., None]
    share = jax.nn.sigmoid(parameters["pooling"])[None, :, None]
    return (1.0 - share) * own + share * common


def _posterior(
    variables: Variables,
    returns: Float[Array, "row asset"],
    seen: Float[Array, "row asset"],
    context: Context,
) -> Gaussian:
    """q(z | x, the past): the surprise in volatility from a small perceptron on how large factors
    and residuals are, the return factors from a least-squares fit of the scaled returns; both of
    the cells that are seen."""
    parameters = variables.parameters["encoder"]
    scaled = returns * jnp.exp(-0.5 * context.log_scale)
    mean, information = _least_squares(scaled, seen, context)
    residual = scaled - jnp.einsum("rk,rka->ra", mean, context.loadings)
    share = seen / jnp.maximum(jnp.sum(seen, axis=-1, keepdims=True), 1.0)
    sizes = [
        jnp.sum(share * residual**2 / context.noise, axis=-1),
        jnp.sum(share * jnp.abs(residual) / jnp.sqrt(context.noise), axis=-1) ** 2,
        jnp.mean(mean**2, axis=-1),
    ]
    inputs = jnp.concatenate(
        [jnp.log(jnp.stack(sizes, axis=-1) + _SMALL), context.features], axis=-1
    )
    hidden = jnp.tanh(inputs @ parameters["hidden"] + parameters["hidden_bias"][None, :])
    surprise = inputs @ parameters["skip"] + hidden @ parameters["out"]
    surprise += parameters["out_bias"][None, :]
    decoder = variables.parameters["decoder"]
    mean_volatility = decoder["volatility"] + jnp.mean(decoder["own_volatility"])
    moved = mean_volatility * (surprise[:, :1] - 0.5 * mean_volatility)
    shrunk = mean * jnp.exp(-0.5 * moved) * jax.nn.sigmoid(parameters["shrinkage"])[None, :]
    spread = parameters["log_variance"][None, :] - jnp.log(information)
    return Gaussian(
        jnp.concatenate([surprise[:, :1], shrunk], axis=-1),
        jnp.concatenate([surprise[:, 1:], spread], axis=-1),
    )


def _least_squares(
    scaled: Float[Array, "row asset"], seen: Float[Array, "row asset"], context: Context
) -> tuple[Float[Array, "row factor"], Float[Array, "row factor"]]:
    """(P + W Ψ⁻¹ Wᵀ)⁻¹ W Ψ⁻¹ y with P the prior's precision, and the matrix's diagonal.

    By conjugate gradients scaled by that diagonal (Hestenes & Stiefel 1952), a few steps: near
    orthogonal loadings need few, and no matrix of a row is formed.
    """
    weighted = context.loadings * (seen / context.noise)[:, None, :]
    precision = jnp.exp(-context.log_variance[:, 1:])
    diagonal = precision + jnp.sum(weighted * context.loadings, axis=-1)

    def curvature(factors: Float[Array, "row factor"]) -> Float[Array, "row factor"]:
        fitted = jnp.einsum("rk,rka->ra", factors, context.loadings)
        return precision * factors + jnp.einsum("rka,ra->rk", weighted, fitted)

    residual = jnp.einsum("rka,ra->rk", weighted, scaled)
    found = jnp.zeros_like(residual)
    direction = residual / diagonal
    gain = jnp.sum(residual * direction, axis=-1, keepdims=True)
    # Of a row that is fitted already, or has no cells, gains are 0: then 0/0 is to be 0, not NaN.
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
    volatility = (parameters["volatility"] + parameters["own_volatility"])[None, :]
    log_scale = context.log_scale + volatility * (factors[:, :1] - 0.5 * volatility)
    mean = jnp.einsum("rk,rka->ra", factors[:, 1:], context.loadings)
    mean = jnp.exp(0.5 * log_scale) * mean + parameters["bias"][None, :]
    df = degrees_of_freedom(parameters["log_df"] + parameters["own_log_df"])[None, :]
    log_noise = jnp.log(context.noise) - jnp.log(df / (df - 2.0))
    return IndependentT(mean, log_scale + log_noise, df)


def _starts(config: TemporalConfig, n_assets: int) -> Any:
    """Where training starts, by the names of the parameters: volatility at the base speed, the
    memory's factor analysis, factors without a memory of their own, and an encoder that is right
    where noise is Gaussian and all assets alike."""
    n_speeds, n_returns = len(config.half_lives), config.n_factors - 1
    n_features, n_inputs = 2 * n_speeds, 3 + 2 * n_speeds
    # Fisher information of n residuals on the first factor, and what their fit leaves of them.
    information = 0.5 * n_assets * FIRST_VOLATILITY**2
    slope = information / (1.0 + information) / FIRST_VOLATILITY
    left = max(n_assets - n_returns, 1) / n_assets
    of_asset = Start(np.zeros(n_assets), BY_ASSET, decays=True)
    surprise = np.zeros((n_inputs, 2))
    surprise[0, 0] = slope
    level = np.log(left) - 0.5 * FIRST_VOLATILITY**2
    bias = np.array([-slope * level, -np.log(1.0 + information)])
    return {
        "scale": {
            "reaction": Start(np.full((), np.log(REACTION / (1.0 - REACTION))), RECURSION),
            "trust": Start(np.full((), FIRST_TRUST), SHARED),
            "weight": Start(np.zeros(n_speeds + 1), RECURSION),
            "own_weight": Start(np.zeros((n_speeds + 1, n_assets)), BY_ASSET, decays=True),
            "pooling": Start(np.zeros(n_speeds), RECURSION),
            "leverage": Start(np.zeros(n_speeds), RECURSION),
        },
        "prior": {
            "persistence": Start(np.zeros(n_returns), SHARED),
            "log_variance": Start(np.zeros((n_features, n_returns)), MATRIX, decays=True),
        },
        "decoder": {
            "gain": Start(np.ones(n_returns), BY_ASSET),
            "loadings": Start(np.zeros((n_returns, n_assets)), MATRIX, decays=True),
            "noise_slope": Start(np.ones(()), SHARED),
            "volatility": Start(np.full((), FIRST_VOLATILITY), SHARED),
            "log_df": Start(np.full((), np.log(FIRST_DF - 2.0)), SHARED),
            "own_log_noise": of_asset,
            "own_volatility": of_asset,
            "own_log_df": of_asset,
            "bias": of_asset,
        },
        "encoder": {
            "hidden": Start(np.zeros((n_inputs, HIDDEN)), SHARED, decays=True),
            "hidden_bias": Start(np.zeros(HIDDEN), SHARED),
            "out": Start(np.zeros((HIDDEN, 2)), SHARED, decays=True),
            "out_bias": Start(bias, SHARED),
            "skip": Start(surprise, SHARED, decays=True),
            "shrinkage": Start(np.full(n_returns, 3.0), SHARED),
            "log_variance": Start(np.zeros(n_returns), SHARED),
        },
    }


def _values_of(parameters: Any, starts: Any) -> Any:
    """The parameters themselves, start + reach · deviation."""

    def value(deviation: Array, start: Start) -> Array:
        return jnp.asarray(start.value, deviation.dtype) + start.reach * deviation

    return jax.tree.map(value, parameters, starts)
