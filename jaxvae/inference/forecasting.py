"""What fitted members say of a date before its returns are known, and paths that they generate.

Everything here asks a model for its prior and its decoder under a row's conditions, which hold the
past where a model is told of it, or for what it knows ahead of a row (`Model.ahead`); a model
without either gives every date the same forecast.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.inference.evaluation import moments_over_draws
from jaxvae.inference.members import Fitted
from jaxvae.models.distributions import Distribution
from jaxvae.models.model import Batch, Model, Recurrence, Variables, make_batch, take_rows
from jaxvae.training.tiles import Function, map_members

WITHOUT_PAST = Recurrence(
    start=tuple,
    advance=lambda state, returns: state,
    conditions=lambda state, returns: returns[:0],
)


class Portfolio(NamedTuple):
    """One-step forecasts of a portfolio's return, in the units that its weights give it.

    mean, variance: of each date. draws: of its return on each date, observation noise included.
    """

    mean: Float[np.ndarray, " row"]
    variance: Float[np.ndarray, " row"]
    draws: Float[np.ndarray, "draw row"]


def forecast_portfolio(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    batch: Batch,
    weights: Float[np.ndarray, " asset"],
    n_draws: int,
) -> Portfolio:
    """Forecasts of the equal mixture of the members for every row, under the row's conditions and,
    where the model looks at them, the values of the rows before. The members share the draws
    evenly, `n_draws` or a few more."""
    each = -(-n_draws // len(fitted.seed))
    function = _forecaster(model, each)
    shared = (key, batch, jnp.asarray(weights, jnp.float32))
    means, variances, draws = (
        np.asarray(part, np.float64) for part in map_members(function, fitted, shared)
    )
    mean = means.mean(axis=0)
    between = ((means - mean) ** 2).mean(axis=0)
    pooled = draws.reshape(-1, draws.shape[-1])
    return Portfolio(mean, variances.mean(axis=0) + between, pooled)


def sample_portfolio(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    weights: Float[Array, " asset"],
    n_draws: int,
) -> tuple[Float[Array, " row"], Float[Array, " row"], Float[Array, "draw row"]]:
    """Mean and variance of wᵀx on each row, and draws of it; the moments by the draws of z alone,

    Var wᵀx = Var_z wᵀ E[x | z] + E_z Σ_a w_a² Var(x_a | z)
    """
    beforehand = _beforehand(model, variables, batch)

    def draw(key: Key[Array, ""]) -> tuple[Array, Array, Array]:
        key_factors, key_noise = jax.random.split(key)
        density, _ = model.decode(variables, beforehand.sample(key_factors), batch, False)
        returns = density.sample(key_noise)
        return density.mean @ weights, density.variance @ weights**2, returns @ weights

    means, noise, draws = jax.lax.map(draw, jax.random.split(key, n_draws))
    return jnp.mean(means, axis=0), jnp.var(means, axis=0) + jnp.mean(noise, axis=0), draws


def _beforehand(model: Model, variables: Variables, batch: Batch) -> Distribution:
    """What is known of each row's factors before its returns are."""
    if model.ahead is not None:
        return model.ahead(variables, batch)
    zeros = jnp.zeros((batch.values.shape[0], model.n_factors), batch.values.dtype)
    return model.prior(variables, zeros, batch)


def forecast_moments(
    key: Key[Array, ""], model: Model, fitted: Fitted, batch: Batch, n_draws: int
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    """Mean and covariance of all returns of the last row before they are known, of the equal
    mixture: Cov_z E[x | z] + E_z Var(x | z) by draws of z."""
    function = _moments(model, n_draws)
    means, covariances = (
        np.asarray(part, np.float64) for part in map_members(function, fitted, (key, batch))
    )
    between = means - means.mean(axis=0)
    return means.mean(axis=0), covariances.mean(axis=0) + between.T @ between / len(between)


def generate_paths(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    n_assets: int,
    n_dates: int,
    number: int,
) -> Float[np.ndarray, "path date asset"]:
    """Paths of returns, each date drawn given those drawn before it; members take turns. They start
    without a past."""
    each = -(-number // len(fitted.seed))
    function = _pather(model, n_assets, n_dates, each)
    drawn = np.asarray(map_members(function, fitted, key), np.float64)
    return drawn.transpose(2, 0, 1, 3).reshape(-1, n_dates, n_assets)[:number]


def sample_paths(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    n_assets: int,
    n_dates: int,
    number: int,
) -> Float[Array, "date path asset"]:
    """Returns of one member, a date at a time: z from its prior given what the date is told of the
    ones before, or the last date's z; x given z; and the state moved on by x."""
    recurrence, zeros = model.recurrence or WITHOUT_PAST, jnp.zeros((number, n_assets))
    start = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), recurrence.start()
    )
    nothing = make_batch(np.zeros((number, n_assets)))
    key_start, key_dates = jax.random.split(key)
    origin = jax.random.normal(key_start, (number, model.n_factors))

    def step(
        carry: tuple[Any, Array, Array], key: Key[Array, ""]
    ) -> tuple[tuple[Any, Array, Array], Array]:
        state, last, past = carry
        known = nothing._replace(conditions=jax.vmap(recurrence.conditions)(state, last))
        key_factors, key_noise = jax.random.split(key)
        law = _following(model, variables, known, past)
        factors = law.sample(key_factors)
        density, _ = model.decode(variables, factors, known, False)
        returns = density.sample(key_noise)
        return (jax.vmap(recurrence.advance)(state, returns), returns, factors), returns

    _, drawn = jax.lax.scan(step, (start, zeros, origin), jax.random.split(key_dates, n_dates))
    return drawn


def _following(
    model: Model, variables: Variables, rows: Batch, past: Float[Array, "row factor"]
) -> Distribution:
    """p(z) of paths' next date, where `past` were the factors of the last.

    Rows of an ordered model are tied by a stationary Gaussian chain, which is reversible: what its
    prior says of a row given the next, it says of a row given the last.
    """
    if not model.facts.ordered:
        return model.prior(variables, jnp.zeros_like(past), rows)
    pair = take_rows(rows, jnp.zeros(2, jnp.int32))

    def of_one(factors: Float[Array, " factor"]) -> Distribution:
        law = model.prior(variables, jnp.stack([jnp.zeros_like(factors), factors]), pair)
        return jax.tree.map(lambda leaf: leaf[0], law)

    return jax.vmap(of_one)(past)


@functools.cache
def _forecaster(model: Model, n_draws: int) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch, Array]) -> Any:
        key, batch, weights = shared
        key = jax.random.fold_in(key, member.seed)
        return sample_portfolio(key, model, member.variables, batch, weights, n_draws)

    return run


@functools.cache
def _moments(model: Model, n_draws: int) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch]) -> Any:
        key, batch = shared
        rows = jnp.full(n_draws, len(batch.values) - 1)
        law = _beforehand(model, member.variables, batch)
        factors = jax.tree.map(lambda leaf: leaf[rows], law).sample(key)
        observation, _ = model.decode(member.variables, factors, take_rows(batch, rows), False)
        return moments_over_draws(observation)

    return run


@functools.cache
def _pather(model: Model, n_assets: int, n_dates: int, number: int) -> Function:
    def run(member: Fitted, key: Key[Array, ""]) -> Any:
        key = jax.random.fold_in(key, member.seed)
        return sample_paths(key, model, member.variables, n_assets, n_dates, number)

    return run
