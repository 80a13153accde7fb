"""What a fitted member says: reconstructions, scenarios, covariance, loadings, evaluation."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxvae.inference.importance import (
    decoder_jacobians,
    exact_log_likelihood,
    exact_posterior,
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
    if model.exact is not None:
        return model.exact(variables, batch).kl
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
    linear_gaussian: bool,
) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
    """E[x_m | x_o] where a cell is missing, the value where it is observed; and log p(x_o), nats.

    linear_gaussian: whether the decoder is (`ModelConfig.linear_gaussian`): then both are exact, by
        the posterior mean E[z | x_o]. So they are for a model that knows its likelihood, given the
        observed cells of all rows. Else they rest on `n_samples` importance samples.
    """
    if model.exact is not None:
        expected = reconstruct(model, variables, batch)
        likelihood = model.exact(variables, batch).log_likelihood
    elif linear_gaussian:
        factors, _ = exact_posterior(model, variables, batch)
        expected = model.decode(variables, factors, batch, False)[0].mean
        likelihood = exact_log_likelihood(model, variables, batch)
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

    The first part by a draw of z a row from the prior, the second, diagonal, without noise draws.
    """
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
