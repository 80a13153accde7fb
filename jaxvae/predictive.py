"""What fitted members say of a date before its returns are known, and paths that they generate.

Everything here asks a model for its prior and its decoder under a row's conditions, which hold the
past where a model has one; a model without gives every date the same forecast.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.apply import Fitted
from jaxvae.densities import sample, variance
from jaxvae.generate import implied_covariance
from jaxvae.memory import Memory, Speeds, advance, blank, flat
from jaxvae.models.base import Batch, Model, Variables, make_batch, take_rows
from jaxvae.tiles import Function, map_members


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
    """Forecasts of the equal mixture of the members for every row, under the row's conditions; the
    values are not looked at. The members share the draws evenly, `n_draws` or a few more."""
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
    zeros = jnp.zeros((batch.values.shape[0], model.n_factors), batch.values.dtype)
    prior = model.prior(variables, zeros, batch)

    def draw(key: Key[Array, ""]) -> tuple[Array, Array, Array]:
        key_factors, key_noise = jax.random.split(key)
        density, _ = model.decode(variables, sample(key_factors, prior), batch, False)
        returns = sample(key_noise, density)
        return density.mean @ weights, variance(density) @ weights**2, returns @ weights

    means, noise, draws = jax.lax.map(draw, jax.random.split(key, n_draws))
    return jnp.mean(means, axis=0), jnp.var(means, axis=0) + jnp.mean(noise, axis=0), draws


def forecast_moments(
    key: Key[Array, ""], model: Model, fitted: Fitted, row: Batch, n_draws: int
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    """Mean and covariance of all returns under the conditions of one row, of the equal mixture."""
    batch = take_rows(row, jnp.zeros(n_draws, jnp.int32))
    function = _moments(model)
    means, covariances = (
        np.asarray(part, np.float64) for part in map_members(function, fitted, (key, batch))
    )
    between = means - means.mean(axis=0)
    return means.mean(axis=0), covariances.mean(axis=0) + between.T @ between / len(between)


def generate_paths(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    speeds: Speeds | None,
    n_assets: int,
    n_dates: int,
    number: int,
) -> Float[np.ndarray, "path date asset"]:
    """Paths of returns, each date drawn under the memory of those drawn before it; members take
    turns. They start from the blank memory. Without `speeds` dates are independent."""
    each = -(-number // len(fitted.seed))
    function = _pather(model, speeds, n_assets, n_dates, each)
    drawn = np.asarray(map_members(function, fitted, key), np.float64)
    return drawn.transpose(2, 0, 1, 3).reshape(-1, n_dates, n_assets)[:number]


def sample_paths(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    speeds: Speeds | None,
    n_assets: int,
    n_dates: int,
    number: int,
) -> Float[Array, "date path asset"]:
    """Returns of one member, a date at a time: z from its prior given the memory, x given z, and
    the memory moved on by x."""
    n_returns = model.n_factors - 1
    start, zeros = None, jnp.zeros((number, n_assets))
    if speeds is not None:
        first = blank(speeds, n_returns, n_assets)
        start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), first)
    nothing = make_batch(np.zeros((number, n_assets)))

    def step(
        carry: tuple[Memory | None, Array], key: Key[Array, ""]
    ) -> tuple[tuple[Memory | None, Array], Array]:
        memory, last = carry
        known = nothing
        if memory is not None:
            known = nothing._replace(conditions=flat(memory, last))
        key_factors, key_noise = jax.random.split(key)
        prior = model.prior(variables, jnp.zeros((number, model.n_factors)), known)
        density, _ = model.decode(variables, sample(key_factors, prior), known, False)
        returns = sample(key_noise, density)
        moved = None if memory is None else advance(memory, returns, speeds)  # type: ignore[arg-type]
        return (moved, returns), returns

    _, drawn = jax.lax.scan(step, (start, zeros), jax.random.split(key, n_dates))
    return drawn


@functools.cache
def _forecaster(model: Model, n_draws: int) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch, Array]) -> Any:
        key, batch, weights = shared
        key = jax.random.fold_in(key, member.seed)
        return sample_portfolio(key, model, member.variables, batch, weights, n_draws)

    return run


@functools.cache
def _moments(model: Model) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch]) -> Any:
        key, batch = shared
        return implied_covariance(key, model, member.variables, batch)

    return run


@functools.cache
def _pather(
    model: Model, speeds: Speeds | None, n_assets: int, n_dates: int, number: int
) -> Function:
    def run(member: Fitted, key: Key[Array, ""]) -> Any:
        key = jax.random.fold_in(key, member.seed)
        return sample_paths(key, model, member.variables, speeds, n_assets, n_dates, number)

    return run
