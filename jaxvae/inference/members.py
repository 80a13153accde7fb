"""What fitted members say, over the member axis: evaluate, encode, rebuild, impute, draw.

`generate` knows one member; here its functions run over all of them, compiled once a model.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32
from scipy.special import softmax

from jaxvae.inference import evaluation
from jaxvae.inference.conditioning import Given, WeightedRows, draw_given
from jaxvae.inference.evaluation import Evaluation
from jaxvae.models.model import Batch, Model, Variables, take_rows
from jaxvae.training.ensemble import Ensemble
from jaxvae.training.tiles import Function, map_members


class Fitted(NamedTuple):
    """Members ready for use, member axis first: what they learned, and a number each that tells
    their random draws apart."""

    variables: Variables
    seed: UInt32[Array, "*members"]


def everyone(ensemble: Ensemble) -> Fitted:
    """All members of an ensemble, the diverged ones at their last good epoch."""
    return Fitted(ensemble.variables, ensemble.members.seed)


def evaluate(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    batch: Batch,
    n_samples: int,
    tile_width: int | None = None,
) -> Evaluation:
    """`evaluation.evaluate` of every member, all with the same draws."""
    function, shared = _evaluator(model, n_samples), (key, batch)
    return map_members(function, fitted, shared, tile_width=tile_width)


def encode(model: Model, fitted: Fitted, batch: Batch) -> Float[np.ndarray, "member row factor"]:
    """Posterior means under every member."""
    return np.asarray(_over(_encoder(model), fitted, batch), np.float64)


def reconstruct(
    model: Model, fitted: Fitted, batch: Batch
) -> Float[np.ndarray, "member row asset"]:
    """Reconstructions from the posterior means of every member."""
    return np.asarray(_over(_reconstructor(model), fitted, batch), np.float64)


def impute(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    batch: Batch,
    n_samples: int,
) -> Float[np.ndarray, "row asset"]:
    """E[x_m | x_o] under the equal mixture of the members, in standard units; observed cells stay.

    Members count by their responsibilities p_i(x_o)/Σ p_j(x_o), date by date: those that made the
    cells observed likely are heard on the others. `evaluation.impute` gives each one's answer.
    """
    function = _imputer(model, n_samples)
    filled, likelihood = _over(function, fitted, (key, batch))
    shares = softmax(np.asarray(likelihood, np.float64), axis=0)
    return np.einsum("mr,mra->ra", shares, np.asarray(filled, np.float64))


def scenarios(
    key: Key[Array, ""], model: Model, fitted: Fitted, under: Batch, number: int
) -> Float[np.ndarray, "scenario asset"]:
    """Draws from the equal mixture of the members, observation noise included, in standard units.

    under: rows whose conditions the draws are made under, spread evenly over them.

    Members take turns, so that any first rows are a fair sample.
    """
    batch = _spread(under, -(-number // len(fitted.seed)))
    draws = np.asarray(_over(_sampler(model), fitted, (key, batch)), np.float64)
    return draws.transpose(1, 0, 2).reshape(-1, draws.shape[-1])[:number]


def scenarios_given(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    under: Batch,
    given: Given,
    shape: tuple[int, int],
) -> WeightedRows:
    """`given.draw_given` of every member; `under` as in `scenarios`.

    shape: samples a row, and rows.
    """
    n_samples, n_rows = shape
    shared = (key, _spread(under, n_rows), given)
    drawn: WeightedRows = _over(_conditional_sampler(model, n_samples), fitted, shared)
    return drawn


def covariance(
    key: Key[Array, ""], model: Model, fitted: Fitted, under: Batch, n_draws: int
) -> Float[np.ndarray, "asset asset"]:
    """Covariance of the equal mixture, in standard units: the mean of the members' covariances plus
    the covariance of their means; `under` as in `scenarios`."""
    shared = (key, _spread(under, n_draws))
    means, covariances = _over(_moments(model), fitted, shared)
    between = np.asarray(means, np.float64)
    between = between - between.mean(axis=0)
    within = np.asarray(covariances, np.float64).mean(axis=0)
    return within + between.T @ between / len(between)


def _over(function: Function, fitted: Fitted, shared: Any) -> Any:
    return map_members(function, fitted, shared)


def _spread(batch: Batch, number: int) -> Batch:
    """So many rows, at even steps through the batch; repeated where it has fewer."""
    n_rows = len(batch.values)
    return take_rows(batch, jnp.arange(number) * n_rows // number)


@functools.cache
def _evaluator(model: Model, n_samples: int) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch]) -> Evaluation:
        key, batch = shared
        return evaluation.evaluate(key, model, member.variables, batch, n_samples)

    return run


@functools.cache
def _encoder(model: Model) -> Function:
    def run(member: Fitted, batch: Batch) -> Any:
        return evaluation.posterior_means(model, member.variables, batch)

    return run


@functools.cache
def _reconstructor(model: Model) -> Function:
    def run(member: Fitted, batch: Batch) -> Any:
        return evaluation.reconstruct(model, member.variables, batch)

    return run


@functools.cache
def _imputer(model: Model, n_samples: int) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch]) -> Any:
        key, batch = shared
        return evaluation.impute(key, model, member.variables, batch, n_samples)

    return run


@functools.cache
def _sampler(model: Model) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch]) -> Any:
        key, batch = jax.random.fold_in(shared[0], member.seed), shared[1]
        return evaluation.sample_scenarios(key, model, member.variables, batch)

    return run


@functools.cache
def _conditional_sampler(model: Model, n_samples: int) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch, Given]) -> WeightedRows:
        key, batch, given = jax.random.fold_in(shared[0], member.seed), *shared[1:]
        return draw_given(key, model, member.variables, batch, given, n_samples)

    return run


@functools.cache
def _moments(model: Model) -> Function:
    def run(member: Fitted, shared: tuple[Key[Array, ""], Batch]) -> Any:
        key, batch = shared
        return evaluation.implied_covariance(key, model, member.variables, batch)

    return run
