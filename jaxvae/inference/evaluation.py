"""A fitted member on a batch: posterior means, reconstructions, loadings, likelihood."""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxvae.inference.importance import first_estimate, is_hard, second_estimate
from jaxvae.inference.joint import Joint
from jaxvae.inference.members import Fitted, ask, compile_ask
from jaxvae.inference.modes import Modes, decoder_jacobians
from jaxvae.models.model import Batch, Model, Variables, take_rows
from jaxvae.training.objective import LikelihoodEstimate
from jaxvae.training.threads import in_background
from jaxvae.training.tiles import map_members


class Evaluation(NamedTuple):
    """One member on a batch; likelihoods in nats, everything in standard units.

    factors, log_variance: means and log-variances of the posteriors. kl: KL of each row and factor.
    squared_error: of each row, summed over observed cells, reconstructing from the posterior mean.
    loadings: the decoder's mean Jacobian. unit_loadings: decoded unit vectors, as in the notebook.
    noise_variance: mean over rows.
    """

    factors: Float[Array, "*members row factor"]
    log_variance: Float[Array, "*members row factor"]
    kl: Float[Array, "*members row factor"]
    squared_error: Float[Array, "*members row"]
    likelihood: LikelihoodEstimate
    loadings: Float[Array, "*members asset factor"]
    unit_loadings: Float[Array, "*members asset factor"]
    noise_variance: Float[Array, "*members asset"]


def evaluate(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
    asked: Int[Array, "2"] | None = None,
) -> tuple[Evaluation, Modes | None]:
    """Everything that the analysis needs of one member; rows weigh in loadings by their weights.

    Args:
        key, model, variables, batch, n_samples, asked: as `first_estimate` takes them.

    Returns:
        The evaluation, its likelihoods before any row is drawn again, and the modes of
        `first_estimate`.
    """
    likelihood, modes = first_estimate(key, model, variables, batch, n_samples, asked)
    joint = Joint(model, variables, batch).informed()
    batch = joint.batch
    posterior, _ = model.encode(variables, batch, False)
    factors = posterior.mean
    observation = joint.observation(factors)
    error = batch.observed * (batch.values - observation.mean) ** 2
    share = batch.weights / jnp.sum(batch.weights)
    jacobian, _ = decoder_jacobians(*joint, factors)
    log_variance = jnp.log(posterior.variance)
    if model.objective is None:
        kl = posterior.factor_kl(joint.prior(factors), joint.used(factors))
    else:
        kl = model.objective(variables, batch).kl
    return Evaluation(
        factors=factors,
        log_variance=log_variance,
        kl=kl,
        squared_error=jnp.sum(error, axis=-1),
        likelihood=likelihood,
        loadings=jnp.einsum("kra,r->ak", jacobian, share),
        unit_loadings=decoded_unit_vectors(*joint),
        noise_variance=share @ observation.variance,
    ), modes


def evaluate_members(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    batch: Batch,
    n_samples: int,
    tile_width: int | None = None,
    most_hard: float = 1.0,
    asked: slice = slice(None),
) -> Evaluation:
    """`evaluate` of all members, with the same draws, so that they differ by what they learned;
    likelihoods of hard rows are from more draws.

    Args:
        key, model, fitted, batch, n_samples: as `evaluate` takes them, with a member axis.
        tile_width: members at once.
        most_hard: of a member with a larger share of hard rows, by their weights, none is drawn
            again: its estimates, lower bounds on average, are left with the effective samples that
            they have.
        asked: rows whose likelihoods are wanted; those of others are rough, or NaN. Which they are
            changes no draw.
    """
    bounds = _bounds(batch, asked)
    shared = {"key": key, "batch": batch, "asked": bounds}
    first: Evaluation
    first, modes = ask(
        evaluate, fitted, shared, tile_width=tile_width, model=model, n_samples=n_samples
    )
    hard = np.asarray(is_hard(first.likelihood, n_samples))
    weights = np.asarray(batch.weights)
    share = hard @ weights / weights.sum()
    rows = np.arange(len(batch.values))
    hard = hard & (share <= most_hard)[:, None] & ((bounds[0] <= rows) & (rows < bounds[1]))
    likelihood = _hard_again(key, model, fitted, batch, first.likelihood, modes, hard)
    return first._replace(likelihood=likelihood)


def estimate_members(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    batch: Batch,
    n_samples: int,
    tile_width: int | None = None,
) -> LikelihoodEstimate:
    """The likelihoods of `evaluate_members` alone."""
    shared = {"key": key, "batch": batch}
    first, modes = ask(
        first_estimate, fitted, shared, tile_width=tile_width, model=model, n_samples=n_samples
    )
    hard = np.asarray(is_hard(first, n_samples))
    return _hard_again(key, model, fitted, batch, first, modes, hard)


def compiled_ahead(
    key: Key[Array, ""],
    model: Model,
    batch: Batch,
    n_samples: int,
    tile_width: int | None = None,
    *,
    likelihood_alone: bool = False,
) -> AbstractContextManager[None]:
    """Compile the program that `evaluate_members` or `estimate_members` begin with while a block
    trains what they are to evaluate; the latter where `likelihood_alone`.

    What fails in the thread fails again, and is heard, where the program is needed.
    """
    shared, settings = {"key": key, "batch": batch}, {"model": model, "n_samples": n_samples}
    function = first_estimate if likelihood_alone else evaluate
    if not likelihood_alone:
        shared["asked"] = _bounds(batch, slice(None))

    def compile_first() -> None:
        variables = jax.eval_shape(model.initialise, key, take_rows(batch, slice(None)))
        compile_ask(function, variables, shared, tile_width=tile_width, **settings)

    return in_background(compile_first)


def _bounds(batch: Batch, rows: slice) -> Int[np.ndarray, "2"]:
    """Start and stop."""
    return np.array(rows.indices(len(batch.values))[:2], np.int32)


def _hard_again(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    batch: Batch,
    first: LikelihoodEstimate,
    modes: Modes | None,
    hard: Bool[np.ndarray, "member row"],
) -> LikelihoodEstimate:
    """The first estimates, those of hard rows from more draws.

    Members and rows are drawn again pair by pair, by one program for however many dates there are;
    so a pair's draws depend on no other, and members with few hard rows wait for none with many.
    """
    if model.facts.ordered or modes is None or not hard.any():
        return first
    member, number = (places.astype(np.int32) for places in np.nonzero(hard))
    rows = take_rows(batch, slice(None))
    pairs = {
        "variables": jax.tree.map(lambda leaf: np.asarray(leaf)[member], fitted.variables),
        "row": jax.tree.map(lambda leaf: np.asarray(leaf)[number, None], rows),
        "number": number,
        "modes": jax.tree.map(lambda leaf: np.asarray(leaf)[member, number][:, None], modes),
    }
    again = map_members(_draw_again, pairs, key, model)
    better = jax.tree.map(np.array, first)
    for estimate, drawn in zip(better, again, strict=True):
        estimate[hard] = drawn[:, 0]
    return better


def _draw_again(pair: dict[str, Any], key: Key[Array, ""], model: Model) -> LikelihoodEstimate:
    return second_estimate(key, model, **pair)


def posterior_means(model: Model, variables: Variables, batch: Batch) -> Float[Array, "row factor"]:
    """E_q[z] of each row; 0 for a factor that is not in use."""
    return model.encode(variables, batch, False)[0].mean


def reconstruct(model: Model, variables: Variables, batch: Batch) -> Float[Array, "row asset"]:
    """E[x | z] at each row's posterior mean."""
    factors = posterior_means(model, variables, batch)
    return model.decode(variables, factors, batch, False)[0].mean


def decoded_unit_vectors(
    model: Model, variables: Variables, batch: Batch
) -> Float[Array, "asset factor"]:
    """The notebook's loadings: column k is the decoder's mean at the k-th unit vector (under the
    first row's conditions). It holds the decoder's value at 0, which the mean Jacobian does not."""
    unit = jnp.eye(model.n_factors, dtype=batch.values.dtype)
    first = take_rows(batch, jnp.zeros(model.n_factors, jnp.int32))
    return model.decode(variables, unit, first, False)[0].mean.T
