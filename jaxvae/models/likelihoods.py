"""How returns scatter around a decoder's mean, and the prior of factors that goes with it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxvae.models.distributions import Distribution, Gaussian
from jaxvae.models.model import Batch, Variables, standard_normal_prior
from jaxvae.models.student_t import IndependentT, StudentT

FIRST_DF = 10.0
FIRST_VOLATILITY = 0.5
NOISE_FLOOR = 1e-6  # of a variance that is learned, in standard units
# ν - 2, so that returns have a variance; at a million the density is a Gaussian's.
EXCESS_DF = (1e-2, 1e6)


class Likelihood(NamedTuple):
    """A choice of `likelihood` in a configuration.

    observe(decoder, factors, batch, training, n_used) -> p(x | z); `decoder` gives the mean by
        `location`, the noise by `log_noise` and parameters of its own by `param`.
    prior: as a `Model` has it.
    row_tails, asset_tails: as `Noise` has them.
    rows: what an encoder makes of rows that differ in scale: "alike", nothing; "divided" by their
        scale; the posterior "restored" to it beside.
    volatility_factor: as `Facts` has it.
    """

    observe: Callable[..., Distribution]
    prior: Callable[[Variables, Array, Batch], Distribution] = standard_normal_prior
    row_tails: bool = False
    asset_tails: bool = False
    rows: str = "alike"
    volatility_factor: int | None = None


def gaussian(decoder: Any, factors: Array, batch: Batch, training: bool, n_used: Array) -> Gaussian:
    """x = g(z) + Ψ^½ ε."""
    del n_used
    mean = decoder.location(factors, batch, training)
    return Gaussian(mean, jnp.broadcast_to(decoder.log_noise(batch), mean.shape))


def student(decoder: Any, factors: Array, batch: Batch, training: bool, n_used: Array) -> StudentT:
    """x = g(z) + √s Ψ^½ ε with z ~ N(0, s I), one s ~ InverseGamma(ν/2, ν/2) a row.

    Integrating s out leaves two multivariate Student-t's,

        z ~ t_ν(0, I),    x | z ~ t_{ν+K}(g(z), Ψ (ν + |z|²)/(ν + K)),

    so that with a linear g the returns are multivariate t with scale matrix W Wᵀ + Ψ.
    """
    mean = decoder.location(factors, batch, training)
    df = degrees_of_freedom(decoder.param("log_df", log_first_df, ()))
    reach = (df + jnp.sum(factors**2, axis=-1)) / (df + n_used)
    log_noise = jnp.broadcast_to(decoder.log_noise(batch), mean.shape)
    rows = jnp.broadcast_to(df + n_used, reach.shape)
    return StudentT(mean, log_noise + jnp.log(reach)[:, None], rows)


def volatility(
    decoder: Any, factors: Array, batch: Batch, training: bool, n_used: Array
) -> IndependentT:
    """x_a = exp(½ l_a z_1) [g_a(z_2, …) + Ψ_a^½ ε_a],  ε_a ~ t_{ν_a}.

    The first factor moves the volatility of every asset by its own loading l_a, as in stochastic
    volatility; shocks of single assets have tails of their own (Harvey, Ruiz & Shephard 1994).
    """
    del n_used
    sizes = (decoder.n_assets,)
    loadings = decoder.param("volatility", nn.initializers.constant(FIRST_VOLATILITY), sizes)
    moves = factors[:, :1] * loadings[None, :]
    mean = jnp.exp(0.5 * moves) * decoder.location(factors[:, 1:], batch, training)
    df = degrees_of_freedom(decoder.param("log_df", log_first_df, sizes))
    log_scale = decoder.log_noise(batch) + moves
    return IndependentT(mean, log_scale, jnp.broadcast_to(df[None, :], mean.shape))


def standard_t_prior(
    variables: Variables, factors: Float[Array, "row factor"], batch: Batch
) -> StudentT:
    """t_ν(0, I) for every row, with the member's ν."""
    del batch
    zeros = jnp.zeros_like(factors)
    return StudentT(zeros, zeros, jnp.broadcast_to(df_of(variables), factors.shape[:-1]))


LIKELIHOODS = {
    "gaussian": Likelihood(gaussian),
    "student": Likelihood(student, standard_t_prior, row_tails=True, rows="restored"),
    "volatility": Likelihood(volatility, asset_tails=True, rows="divided", volatility_factor=0),
}


def df_of(variables: Variables) -> Float[Array, "*sizes"]:
    """Degrees of freedom ν of a member: of its "student" likelihood, or one an asset of the noise
    of its "volatility" likelihood."""
    return degrees_of_freedom(variables.parameters["decoder"]["log_df"])


def degrees_of_freedom(log_excess: Float[Array, "*sizes"]) -> Float[Array, "*sizes"]:
    """ν = 2 + exp(parameter), within bounds."""
    low, high = EXCESS_DF
    return 2.0 + jnp.clip(jnp.exp(log_excess), low, high)


def log_first_df(key: Array, shape: tuple[int, ...]) -> Array:
    """An initialiser of a `degrees_of_freedom`'s parameter."""
    del key
    return jnp.full(shape, jnp.log(FIRST_DF - 2.0), jnp.float32)
