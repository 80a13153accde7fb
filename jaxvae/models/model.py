"""What every member of the family is: four pure functions over a batch.

`train`, `ensemble` and `study` know a model by these functions alone. A model of your own is any
`Model` whose functions keep the shapes below.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.models.distributions import Distribution, Gaussian

Parameters = Any
Statistics = Any
Factors = Float[Array, "row factor"]


class Batch(NamedTuple):
    """Rows of a panel in standard units.

    values: the returns; 0 where a cell is missing.
    observed: 1 where a cell is observed, else 0.
    conditions: covariates of each row; no columns where there are none.
    weights: what each row counts in losses and batch statistics; 0 for padding.
    """

    values: Float[Array, "row asset"]
    observed: Float[Array, "row asset"]
    conditions: Float[Array, "row condition"]
    weights: Float[Array, " row"]


class Variables(NamedTuple):
    """What a member is.

    parameters: what the optimiser moves.
    statistics: running statistics, moved by `encode` and `decode` in training; an empty dict where
        a model has none.
    factor_mask: 1 for the factors in use, 0 for the rest, which stay at their prior and decode to
        nothing.
    """

    parameters: Parameters
    statistics: Statistics
    factor_mask: Float[Array, "*members factor"]


class Exact(NamedTuple):
    """What a model knows in closed form.

    log_likelihood: ln p(x) of each row, given the rows before it where rows depend on each other;
        over observed cells, in nats.
    reconstruction: -E_q ln p(x | z) of each row.
    kl: KL(q ‖ p) of each row and factor, the mean over what it is conditioned on.
    """

    log_likelihood: Float[Array, " row"]
    reconstruction: Float[Array, " row"]
    kl: Float[Array, "row factor"]


class Model(NamedTuple):
    """A variational autoencoder as pure functions.

    initialise(key, batch) -> Variables, every factor in use
    encode(variables, batch, training) -> (q(z | x), of shape (row, factor), Variables)
    decode(variables, factors, batch, training) -> (p(x | z), of shape (row, asset), Variables)
    prior(variables, factors, batch) -> p(z), of shape (row, factor); it may depend on the
        conditions, or on the factors of other rows
    complexity(variables) -> what knowing the parameters costs, in nats a data set, where they are
        themselves uncertain; None where nothing is
    ordered: rows are consecutive dates that depend on each other, so that training takes blocks of
        them, each from the stationary law, and not rows at random
    marginal(variables, factors, batch) -> p(z) of each row by itself, as `prior` gives it; None
        where the prior is that already
    exact(variables, batch) -> Exact, for a model that knows its likelihood and its objective's
        expectation, which then needs no draws; None where they are estimated
    ahead(variables, batch) -> p(z) of each row given the returns of the rows before it, where these
        say something that is not in its conditions; None where the prior is that

    `encode` gives a factor that is not in use the mean 0 and the variance 1, `decode` does not look
    at it. Both give the variables back with their statistics moved where `training` is true, and
    untouched where it is false.
    """

    n_factors: int
    initialise: Callable[[Key[Array, ""], Batch], Variables]
    encode: Callable[[Variables, Batch, bool], tuple[Distribution, Variables]]
    decode: Callable[[Variables, Factors, Batch, bool], tuple[Distribution, Variables]]
    prior: Callable[[Variables, Factors, Batch], Distribution]
    complexity: Callable[[Variables], Float[Array, ""]] | None = None
    ordered: bool = False
    marginal: Callable[[Variables, Factors, Batch], Distribution] | None = None
    exact: Callable[[Variables, Batch], Exact] | None = None
    ahead: Callable[[Variables, Batch], Distribution] | None = None


def make_batch(
    values: Float[np.ndarray, "row asset"] | Float[Array, "row asset"],
    conditions: Float[np.ndarray, "row condition"] | None = None,
    weights: Float[np.ndarray, " row"] | None = None,
) -> Batch:
    """A float32 batch from standardised returns; NaN marks a missing cell."""
    values = np.asarray(values, np.float32)
    observed = np.isfinite(values)
    n_rows = len(values)
    conditions = np.zeros((n_rows, 0)) if conditions is None else conditions
    weights = np.ones(n_rows) if weights is None else weights
    return Batch(
        values=jnp.asarray(np.where(observed, values, 0.0), jnp.float32),
        observed=jnp.asarray(observed, jnp.float32),
        conditions=jnp.asarray(conditions, jnp.float32),
        weights=jnp.asarray(weights, jnp.float32),
    )


def take_rows(batch: Batch, rows: Array | slice) -> Batch:
    """The batch's rows at the given indices, with `observed` cell by cell."""
    taken = Batch(*(field[rows] for field in batch))
    return taken._replace(observed=jnp.broadcast_to(taken.observed, taken.values.shape))


def standard_normal_prior(
    variables: Variables, factors: Float[Array, "row factor"], batch: Batch
) -> Gaussian:
    """N(0, I) for every row."""
    del variables, batch
    zeros = jnp.zeros_like(factors)
    return Gaussian(zeros, zeros)


def factors_used(
    variables: Variables, factors: Float[Array, "*rows factor"]
) -> Float[Array, "*rows factor"]:
    """The factor mask, once for every row of `factors`."""
    return jnp.broadcast_to(variables.factor_mask, factors.shape)


def in_use(variables: Variables, posterior: Gaussian) -> Gaussian:
    """The posterior with the mean 0 and the variance 1 of every factor that is not in use."""
    used = factors_used(variables, posterior.mean)
    return Gaussian(used * posterior.mean, used * posterior.log_variance)
