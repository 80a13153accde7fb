"""What a member says of all assets where the returns of some portfolios are known.

A portfolio is a row of weights over the assets: one asset, or the mean of a sector. Portfolios that
share no asset are, given the factors, as independent as assets are, so a model of assets is a model
of such portfolios too, and the importance sampler of `importance` serves as it stands.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from jaxvae.inference.joint import Joint
from jaxvae.inference.modes import posterior_modes
from jaxvae.inference.proposal import propose, strata, weighted_draw
from jaxvae.models.distributions import Distribution, Gaussian
from jaxvae.models.model import Batch, Model, Variables, prior_of_rows


class Given(NamedTuple):
    """Returns that are known, in standard units.

    weights: of each portfolio over the assets; no asset in two of them.
    returns: Σ weight · return of each portfolio.
    """

    weights: Float[Array, "portfolio asset"]
    returns: Float[Array, " portfolio"]


class DrawsGiven(NamedTuple):
    """Draws of each row's returns given some of them.

    log_density: of what was given, in nats and standard units. effective_samples: of the importance
        samples that the draws were picked from.
    """

    values: Float[Array, "row draw asset"]
    log_density: Float[Array, " row"]
    effective_samples: Float[Array, " row"]


class WeightedRows(NamedTuple):
    """Draws of returns, each row as often as there are samples, with the log of their weights;
    weights compare over rows and members: their mean is the density of what was given."""

    values: Float[Array, "*members sample row asset"]
    log_weights: Float[Array, "*members sample row"]


def draw_given(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    given: Given,
    n_samples: int,
) -> WeightedRows:
    """Weighted draws from p(x | y), y = A x the returns of the portfolios, under each row's
    conditions (values are not looked at).

    z comes from importance samples of p(z | y), x from p(x | z, y) by `Distribution.complete`: for
    Gaussian noise a draw x̃ moved onto what is given,

        x = x̃ + Ψ Aᵀ (A Ψ Aᵀ)⁻¹ (y - A x̃)

    (Matheron's rule; Hoffman & Ribak 1991), and for heavy tails the same once their mixing
    variables are drawn.
    """
    key_factors, key_noise = jax.random.split(key)
    n_rows = len(batch.values)
    shape = (n_rows, len(given.returns))
    known = jnp.broadcast_to(given.returns[None, :], shape)
    seen = batch._replace(values=known, observed=jnp.ones(shape, known.dtype))
    joint = Joint(_of_portfolios(model, batch, given.weights), variables, seen)
    proposal = propose(posterior_modes(*joint), n_samples)

    def weigh(draw: tuple[Key[Array, ""], Int[Array, ""]]) -> tuple[Array, Array]:
        key, component = draw
        return weighted_draw(key, joint, proposal, component)

    def complete(
        draw: tuple[Key[Array, ""], Float[Array, "row factor"]],
    ) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
        key, factors = draw
        observation, _ = model.decode(variables, factors, batch, False)
        return observation.complete(key, given.weights, given.returns)

    keys, components = jax.random.split(key_factors, n_samples), jnp.asarray(strata(n_samples))
    factors, log_weights = jax.lax.map(weigh, (keys, components))
    keys_noise = jax.random.split(key_noise, n_samples)
    values, corrections = jax.lax.map(complete, (keys_noise, factors))
    return WeightedRows(values, log_weights + corrections)


def draw_row_given(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    weights: Float[Array, "portfolio asset"],
    returns: Float[Array, "row portfolio"],
    number: Int[Array, " row"],
    n_samples: int,
    n_draws: int,
) -> DrawsGiven:
    """Draws from p(x | y) of a row alone in its batch, given its own returns y: picked from
    weighted ones by their weights (sampling importance resampling, Rubin 1988).

    weights: of each portfolio, as in `Given`. returns: of each, standard units. number: of the row,
        which tells its draws from others'. n_samples: weighted draws, of which n_draws are picked.
    """
    (place,) = number
    key_samples, key_picks = jax.random.split(jax.random.fold_in(key, place))
    given = Given(weights, returns[0])
    values, log_weights = draw_given(key_samples, model, variables, batch, given, n_samples)
    shape = (n_draws, len(returns))
    picked = jax.random.categorical(key_picks, log_weights, axis=0, shape=shape)
    drawn = jnp.take_along_axis(values, picked[:, :, None], axis=0)
    total, squares = (jax.nn.logsumexp(power * log_weights, axis=0) for power in (1.0, 2.0))
    effective = jnp.exp(2.0 * total - squares)
    return DrawsGiven(jnp.swapaxes(drawn, 0, 1), total - jnp.log(n_samples), effective)


def _of_portfolios(model: Model, batch: Batch, weights: Float[Array, "portfolio asset"]) -> Model:
    """The model with portfolios in the place of assets; its encoder, where the search for the
    posterior's mode starts, says the prior's mean."""

    def encode(
        variables: Variables, seen: Batch, training: bool = False
    ) -> tuple[Gaussian, Variables]:
        mean = prior_of_rows(model, variables, seen).mean
        return Gaussian(mean, jnp.zeros_like(mean)), variables

    def decode(
        variables: Variables,
        factors: Float[Array, "row factor"],
        seen: Batch,
        training: bool = False,
    ) -> tuple[Distribution, Variables]:
        del seen
        observation, _ = model.decode(variables, factors, batch, False)
        return observation.portfolios(weights), variables

    alone = model.marginal or model.prior
    return Model(model.n_factors, model.initialise, encode, decode, alone)
