"""Forecasts of a date before its returns are known, and paths that fitted members generate.

Everything here asks a model for its prior and its decoder under a row's conditions and past, or for
what it knows ahead of a row (`Model.ahead`); a model with neither gives every date the same
forecast.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxvae.analysis.mixtures import mixture_moments
from jaxvae.inference.members import Fitted, ask
from jaxvae.inference.scenarios import moments_over_draws
from jaxvae.models.distributions import Distribution
from jaxvae.models.model import (
    Batch,
    Model,
    Recurrence,
    Variables,
    inform,
    make_batch,
    prior_of_rows,
    take_rows,
)

WITHOUT_PAST = Recurrence(
    start=tuple,
    advance=lambda state, returns: state,
    tell=lambda state, returns: (),
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
    where the model looks at them, the values of the rows before.

    The members share the draws evenly, `n_draws` or a few more. Rows of which the model knows the
    same have the same draws, so that they do not seem to differ.
    """
    each = -(-n_draws // len(fitted.seed))
    rows, place = _distinct_rows(model, batch)
    shared = {
        "key": key,
        "batch": take_rows(batch, jnp.asarray(rows)),
        "weights": jnp.asarray(weights, jnp.float32),
    }
    found = ask(sample_portfolio, fitted, shared, own_draws=True, model=model, n_draws=each)
    means, variances, draws = (np.asarray(part, np.float64)[..., place] for part in found)
    mean = means.mean(axis=0)
    between = ((means - mean) ** 2).mean(axis=0)
    pooled = draws.reshape(-1, draws.shape[-1])
    return Portfolio(mean, variances.mean(axis=0) + between, pooled)


def _distinct_rows(
    model: Model, batch: Batch
) -> tuple[Int[np.ndarray, " distinct"], Int[np.ndarray, " row"]]:
    """The first row of each set that the model knows the same of beforehand, and each row's set."""
    if model.ahead is not None or model.recurrence is not None:
        # Every row has a past of its own.
        every = np.arange(len(batch.values))
        return every, every
    conditions = np.asarray(batch.conditions)
    _, first, found = np.unique(conditions, axis=0, return_index=True, return_inverse=True)
    # In the order of the rows: distinct ones keep the draws that they have alone.
    order = np.argsort(first)
    return first[order], np.argsort(order)[found.ravel()]


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
    batch = inform(model, variables, batch)
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
    return prior_of_rows(model, variables, batch)


def forecast_moments(
    key: Key[Array, ""], model: Model, fitted: Fitted, batch: Batch, n_draws: int
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    """Mean and covariance of all returns of the last row before they are known, of the equal
    mixture: Cov_z E[x | z] + E_z Var(x | z) by draws of z."""
    shared = {"key": key, "batch": batch}
    return mixture_moments(*ask(last_row_moments, fitted, shared, model=model, n_draws=n_draws))


def last_row_moments(
    key: Key[Array, ""], model: Model, variables: Variables, batch: Batch, n_draws: int
) -> tuple[Float[Array, " asset"], Float[Array, "asset asset"]]:
    """Mean and covariance of one member's returns of the last row before they are known; exact
    where the model knows them and rows tell it nothing of later ones."""
    if model.moments is not None and model.ahead is None:
        return model.moments(variables, take_rows(batch, slice(-1, None)))
    rows = jnp.full(n_draws, len(batch.values) - 1)
    batch = inform(model, variables, batch)
    law = _beforehand(model, variables, batch)
    factors = jax.tree.map(lambda leaf: leaf[rows], law).sample(key)
    return moments_over_draws(model.decode(variables, factors, take_rows(batch, rows), False)[0])


def generate_paths(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    n_assets: int,
    n_dates: int,
    number: int,
    after: tuple[Any, Any] | None = None,
) -> Float[np.ndarray, "path date asset"]:
    """Paths of returns, each date drawn given those drawn before it; members take turns.

    Args:
        after: of a model with a recurrence, the state of that and the last
            returns, which the paths follow (`model.remember`); None starts without a past.
    """
    each = -(-number // len(fitted.seed))
    recurrence = model.recurrence or WITHOUT_PAST
    after = after or (recurrence.start(), np.full(n_assets, np.nan, np.float32))
    sizes: Any = {"n_assets": n_assets, "n_dates": n_dates, "number": each}
    shared = {"key": key, "after": jax.tree.map(jnp.asarray, after)}
    drawn = ask(sample_paths, fitted, shared, own_draws=True, model=model, **sizes)
    drawn = np.asarray(drawn, np.float64)
    return drawn.transpose(2, 0, 1, 3).reshape(-1, n_dates, n_assets)[:number]


def sample_paths(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    after: tuple[Any, Float[Array, " asset"]],
    n_assets: int,
    n_dates: int,
    number: int,
) -> Float[Array, "date path asset"]:
    """Returns of one member, a date at a time: z from its prior given what the date is told of the
    ones before, or the last date's z; x given z; and the state moved on by x."""
    recurrence = model.recurrence or WITHOUT_PAST
    state, last = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (number, *leaf.shape)), after)
    nothing = make_batch(np.zeros((number, n_assets)))
    key_start, key_dates = jax.random.split(key)
    origin = jax.random.normal(key_start, (number, model.n_factors), jnp.float32)

    def step(
        carry: tuple[Any, Array, Array], key: Key[Array, ""]
    ) -> tuple[tuple[Any, Array, Array], Array]:
        state, last, past = carry
        known = nothing._replace(past=jax.vmap(recurrence.tell)(state, last))
        key_factors, key_noise = jax.random.split(key)
        known = inform(model, variables, known)
        law = _following(model, variables, known, past)
        factors = law.sample(key_factors)
        density, _ = model.decode(variables, factors, known, False)
        returns = density.sample(key_noise)
        return (jax.vmap(recurrence.advance)(state, returns), returns, factors), returns

    _, drawn = jax.lax.scan(step, (state, last, origin), jax.random.split(key_dates, n_dates))
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
    # Backwards in time: row 0 is the next date, not known yet, and row 1 the last, its "next" one.
    pair = take_rows(rows, jnp.zeros(2, jnp.int32))

    def of_one(factors: Float[Array, " factor"]) -> Distribution:
        law = model.prior(variables, jnp.stack([jnp.zeros_like(factors), factors]), pair)
        return jax.tree.map(lambda leaf: leaf[0], law)

    return jax.vmap(of_one)(past)
