"""Draws of returns from the generative model, and its covariance."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.analysis.mixtures import mixture_moments
from jaxvae.inference.members import Fitted, ask
from jaxvae.models.distributions import Distribution
from jaxvae.models.model import Batch, Model, Variables, prior_of_rows, take_rows


def sample_scenarios(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
) -> Float[Array, "row asset"]:
    """One draw of returns a row from the generative model, observation noise included: z from the
    prior, x from p(x | z), under the row's conditions (values are not looked at)."""
    key_factors, key_noise = jax.random.split(key)
    factors = prior_of_rows(model, variables, batch).sample(key_factors)
    return model.decode(variables, factors, batch, False)[0].sample(key_noise)


def sample_by_mixture(
    key: Key[Array, ""], model: Model, fitted: Fitted, under: Batch, number: int
) -> Float[np.ndarray, "scenario asset"]:
    """Draws from the equal mixture of the members, observation noise included, in standard units.

    under: rows whose conditions the draws are made under, evenly.

    Members take turns, so that any first rows are a fair sample.
    """
    batch = even_rows(under, -(-number // len(fitted.seed)))
    shared = {"key": key, "batch": batch}
    draws = ask(sample_scenarios, fitted, shared, own_draws=True, model=model)
    draws = np.asarray(draws, np.float64).transpose(1, 0, 2)
    return draws.reshape(-1, draws.shape[-1])[:number]


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
    factors = prior_of_rows(model, variables, batch).sample(key)
    return moments_over_draws(model.decode(variables, factors, batch, False)[0])


def covariance_of_mixture(
    key: Key[Array, ""], model: Model, fitted: Fitted, under: Batch, n_draws: int
) -> Float[np.ndarray, "asset asset"]:
    """Covariance of the equal mixture, in standard units: the mean of the members' covariances plus
    the covariance of their means; `under` as in `sample_by_mixture`."""
    shared = {"key": key, "batch": even_rows(under, n_draws)}
    moments = ask(implied_covariance, fitted, shared, model=model)
    return mixture_moments(*moments)[1]


def moments_over_draws(
    observation: Distribution,
) -> tuple[Float[Array, " asset"], Float[Array, "asset asset"]]:
    """Mean and covariance of returns from p(x | z) at draws of z, a row each."""
    mean = jnp.mean(observation.mean, axis=0)
    centred = observation.mean - mean[None, :]
    noise = jnp.mean(observation.variance, axis=0)
    return mean, centred.T @ centred / centred.shape[0] + jnp.diag(noise)


def even_rows(batch: Batch, number: int) -> Batch:
    """So many rows, at even steps through the batch; repeated where it has fewer."""
    # On the host, in 64 bits: in 32 the product would overflow.
    rows = np.arange(number, dtype=np.int64) * len(batch.values) // number
    return take_rows(batch, jnp.asarray(rows, jnp.int32))
