"""What a fitted member says: reconstructions, scenarios, covariance, loadings, evaluation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.inference.importance import (
    decoder_jacobians,
    log_likelihood,
    posterior_mean_of_returns,
)
from jaxvae.models.distributions import Distribution
from jaxvae.models.model import Batch, Model, Variables, factors_used, take_rows
from jaxvae.training.objective import Bound


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
    likelihood: Bound
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
    """Everything that the analysis needs of one member; rows weigh in loadings by their weights."""
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
        likelihood=log_likelihood(key, model, variables, batch, n_samples),
        loadings=jnp.einsum("kra,r->ak", jacobian, share),
        unit_loadings=decoded_unit_vectors(model, variables, batch),
        noise_variance=share @ observation.variance,
    )


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


def impute(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
    """E[x_m | x_o] where a cell is missing, the value where it is observed; and log p(x_o), nats.

    Both are exact for a model that is linear in its factors and knows their posterior, E[x | z] at
    its mean; where rows depend on each other, given the observed cells of all. Else they rest on
    `n_samples` importance samples.
    """
    if model.facts.linear and model.posterior is not None and model.log_likelihood is not None:
        factors = model.posterior(variables, batch).mean
        expected = model.decode(variables, factors, batch, False)[0].mean
        likelihood = model.log_likelihood(variables, batch)
    else:
        expected, likelihood = posterior_mean_of_returns(key, model, variables, batch, n_samples)
    return jnp.where(batch.observed > 0.0, batch.values, expected), likelihood


def decoded_unit_vectors(
    model: Model, variables: Variables, batch: Batch
) -> Float[Array, "asset factor"]:
    """The notebook's loadings: column k is the decoder's mean at the k-th unit vector (under the
    first row's conditions). It holds the decoder's value at 0, which the mean Jacobian does not."""
    unit = jnp.eye(model.n_factors)
    first = take_rows(batch, jnp.zeros(model.n_factors, jnp.int32))
    return model.decode(variables, unit, first, False)[0].mean.T


def sample_scenarios(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
) -> Float[Array, "row asset"]:
    """One draw of returns a row from the generative model, observation noise included: z from the
    prior, x from p(x | z), under the row's conditions (values are not looked at)."""
    key_factors, key_noise = jax.random.split(key)
    factors = _law_of_a_row(model, variables, batch).sample(key_factors)
    return model.decode(variables, factors, batch, False)[0].sample(key_noise)


def implied_covariance(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
) -> tuple[Float[Array, " asset"], Float[Array, "asset asset"]]:
    """Mean and covariance of returns under the model, Cov(E[x | z]) + E[Var(x | z)].

    The first part by a draw of z a row from the prior, the second, diagonal, without noise draws;
    both exact where the model knows them.
    """
    if model.moments is not None:
        return model.moments(variables, batch)
    factors = _law_of_a_row(model, variables, batch).sample(key)
    return moments_over_draws(model.decode(variables, factors, batch, False)[0])


def moments_over_draws(
    observation: Distribution,
) -> tuple[Float[Array, " asset"], Float[Array, "asset asset"]]:
    """Mean and covariance of returns from p(x | z) at draws of z, a row each."""
    mean = jnp.mean(observation.mean, axis=0)
    centred = observation.mean - mean[None, :]
    noise = jnp.mean(observation.variance, axis=0)
    return mean, centred.T @ centred / centred.shape[0] + jnp.diag(noise)


def _law_of_a_row(model: Model, variables: Variables, batch: Batch) -> Distribution:
    """p(z) of each row by itself, whatever the others are."""
    zeros = jnp.zeros((batch.values.shape[0], model.n_factors), batch.values.dtype)
    return (model.marginal or model.prior)(variables, zeros, batch)
