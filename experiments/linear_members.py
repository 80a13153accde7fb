"""Linear members for the experiments: trained, and what they say in closed form, in float64."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.analysis import linear_gaussian
from jaxvae.baselines import Elliptical
from jaxvae.models import Model, PerceptronConfig, Variables, make_batch
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.state import Data

N_FACTORS = 5


class Member(NamedTuple):
    """A trained linear member and what it says of its rows, in float64.

    loadings: W, asset × factor. bias: b of each row. noise: Ψ by asset. mean, variance: of
    q(z | x), row × factor.
    """

    model: Model
    variables: Variables
    loadings: np.ndarray
    bias: np.ndarray
    noise: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def members_on(values, epochs, *, conditions=None, betas=(1.0,), n_samples=1, **settings):
    """A trained member for each β, in batches of 250 rows; `settings` of its `PerceptronConfig`."""
    conditions = np.zeros((len(values), 0)) if conditions is None else conditions
    shape = {"n_factors": N_FACTORS, "widths": (), "normalisation": "none"} | settings
    model = PerceptronConfig(**shape).build(values.shape[1])
    batch, none = make_batch(values, conditions), make_batch(values[:0], conditions[:0])
    config = TrainConfig(epochs, 250, warmup_epochs=0, patience=None, n_samples=n_samples)
    data = Data(batch, none)
    grid = member_grid((0,), betas, data, model, 2e-2, epochs)
    ensemble = train_ensemble(jax.random.key(0), data, grid, model, config, tile_width=len(betas))
    if not ensemble.ok.all():
        raise FloatingPointError("a member diverged")
    variables = jax.tree.map(jnp.asarray, ensemble.variables)
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], variables) for k in range(len(betas))]
    return [describe(model, one, batch) for one in each]


def describe(model, variables, batch):
    """What a member says of some rows."""
    posterior, _ = model.encode(variables, batch, False)
    observation, _ = model.decode(variables, jnp.zeros_like(posterior.mean), batch, False)
    loadings = variables.parameters["decoder"]["mean"]["kernel"][: model.n_factors].T
    noise, variance = jnp.exp(observation.log_squared_scale[0]), jnp.exp(posterior.log_variance)
    parts = (loadings, observation.mean, noise, posterior.mean, variance)
    return Member(model, variables, *(np.asarray(part, float) for part in parts))


def elbo(member, values):
    """Mean over rows of E_q log p(x | z) - KL, the expectation in closed form, nats a row."""
    noise, mean, variance = member.noise, member.mean, member.variance
    scaled = squared_error(member, values) / noise
    likelihood = -0.5 * (np.log(2 * np.pi * noise) + scaled).sum(axis=1)
    kl = 0.5 * (mean**2 + variance - np.log(variance) - 1).sum(axis=1)
    return (likelihood - kl).mean()


def density(member, df=np.inf):
    """N(b, W Wᵀ + Ψ), or the multivariate t with that scale matrix."""
    return Elliptical.of_factors(member.bias[0], member.loadings, member.noise, df)


def squared_error(member, values):
    """E_q (x - W z - b)², row × asset."""
    residual = values - member.mean @ member.loadings.T - member.bias
    return residual**2 + member.variance @ (member.loadings**2).T


def precision(member):
    """P = I + Wᵀ Ψ⁻¹ W, of the exact posterior."""
    return linear_gaussian.posterior_precision(member.loadings, 1 / member.noise)


def posterior_mean(member, values):
    """P⁻¹ Wᵀ Ψ⁻¹ (x - b), row × factor."""
    weights = linear_gaussian.posterior_weights(member.loadings, member.noise)
    return (values - member.bias) @ weights


def diagonal_cost(member):
    """How far the best diagonal posterior's ELBO lies below log p(x): ½ [Σ ln P_kk - ln det P]."""
    exact = precision(member)
    return 0.5 * (np.log(np.diag(exact)).sum() - np.linalg.slogdet(exact)[1])
