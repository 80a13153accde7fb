"""A fitted member on a batch: posterior means, reconstructions, loadings, likelihood."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.inference.importance import is_hard, log_likelihood, redrawn
from jaxvae.inference.members import Fitted, ask
from jaxvae.inference.modes import decoder_jacobians
from jaxvae.models.distributions import Distribution
from jaxvae.models.model import Batch, Model, Variables, factors_used, inform, take_rows
from jaxvae.training.objective import LikelihoodEstimate


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
) -> Evaluation:
    """Everything that the analysis needs of one member; rows weigh in loadings by their weights.

    Its likelihood is that of the first draws (`log_likelihood` without `redraw`).
    """
    told, batch = batch, inform(model, variables, batch)
    posterior, _ = model.encode(variables, batch, False)
    factors = posterior.mean
    observation, _ = model.decode(variables, factors, batch, False)
    error = batch.observed * (batch.values - observation.mean) ** 2
    share = batch.weights / jnp.sum(batch.weights)
    jacobian, _ = decoder_jacobians(model, variables, batch, factors)
    return Evaluation(
        factors=factors,
        log_variance=jnp.log(posterior.variance),
        kl=_divergence(model, variables, batch, posterior),
        squared_error=jnp.sum(error, axis=-1),
        likelihood=log_likelihood(key, model, variables, told, n_samples, redraw=False),
        loadings=jnp.einsum("kra,r->ak", jacobian, share),
        unit_loadings=decoded_unit_vectors(model, variables, batch),
        noise_variance=share @ observation.variance,
    )


def evaluate_members(
    key: Key[Array, ""],
    model: Model,
    fitted: Fitted,
    batch: Batch,
    n_samples: int,
    tile_width: int | None = None,
) -> Evaluation:
    """`evaluate` of all members, with the same draws, so that they differ by what they learned.

    Rows whose likelihood is hard to estimate are drawn again (`log_likelihood`), by a program that
    is compiled where there are such rows. Which of a member's they are depends on nothing else.
    """
    shared = {"key": key, "batch": batch}
    settings: Any = {"model": model, "n_samples": n_samples, "tile_width": tile_width}
    found: Evaluation = ask(evaluate, fitted, shared, **settings)
    return found._replace(likelihood=_hard_again(found.likelihood, fitted, shared, settings))


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
    settings: Any = {"model": model, "n_samples": n_samples, "tile_width": tile_width}
    first = ask(log_likelihood, fitted, shared, redraw=False, **settings)
    return _hard_again(first, fitted, shared, settings)


def _hard_again(
    first: LikelihoodEstimate, fitted: Fitted, shared: dict[str, Any], settings: dict[str, Any]
) -> LikelihoodEstimate:
    """The estimates, those of hard rows from more draws."""
    hard = np.asarray(is_hard(first, settings["n_samples"]))
    if settings["model"].facts.ordered or not hard.any():
        return first
    better: LikelihoodEstimate = ask(redrawn, fitted, shared, own={"first": first}, **settings)
    return better


def _divergence(
    model: Model, variables: Variables, batch: Batch, posterior: Distribution
) -> Float[Array, "row factor"]:
    """KL(q ‖ p) of each row and factor, in nats."""
    if model.objective is not None:
        return model.objective(variables, batch).kl
    factors = posterior.mean
    prior, used = model.prior(variables, factors, batch), factors_used(variables, factors)
    return posterior.factor_kl(prior, used)


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
