"""Members with linear decoders and their closed forms, in float64: what tests hold members against.

x ~ N(W z + b, Ψ),   z ~ N(0, I),   so   x ~ N(b, W Wᵀ + Ψ)
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxvae.models import ConditionalConfig, PerceptronConfig, factors_used, make_batch
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.state import Data

# One draw of z a row and step leaves the parameters about this far, relatively, from the optimum;
# the ELBO, flat there, is off by its square.
SAMPLED = 0.01
FULL_BATCH = TrainConfig(
    epochs=3000, batch_size=400, warmup_epochs=0, clip_norm=None, patience=None
)


class Solution(NamedTuple):
    """A member on some rows.

    loadings: W, asset × factor. bias: b of each row, which may move with its conditions.
    noise: Ψ by asset. mean, variance: of q(z | x), row × factor.
    """

    loadings: np.ndarray
    bias: np.ndarray
    noise: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def linear_model(n_factors, n_assets, noise="asset", **settings):
    """A VAE whose encoder and decoder are linear."""
    if "conditioned" in settings:
        return ConditionalConfig(n_factors, widths=(), noise=noise, **settings).build(n_assets)
    config = PerceptronConfig(n_factors, widths=(), normalisation="none", noise=noise, **settings)
    return config.build(n_assets)


def kernel_of(decoder):
    """Wᵀ and below it B, of x = W z + B c + b."""
    kernel = decoder["mean"]["kernel"]
    if "curves" not in decoder:
        return kernel
    return np.concatenate([decoder["curves"]["terms"]["kernel"], kernel])


def sampled(model):
    """The model, estimating what it knows."""
    return model._replace(log_likelihood=None, posterior=None, moments=None)


def train(model, values, betas=(1.0,), config=FULL_BATCH, conditions=None, tile_width=4):
    """Variables of a member for each β, and the ensemble."""
    conditions = np.zeros((len(values), 0)) if conditions is None else conditions
    training, none = make_batch(values, conditions), make_batch(values[:0], conditions[:0])
    data = Data(training, none)
    members = member_grid((0,), betas, data, model, 2e-2, config.epochs)
    one = tuple(jax.local_devices()[:1])
    ensemble = train_ensemble(
        jax.random.key(0), data, members, model, config, tile_width=tile_width, devices=one
    )
    assert ensemble.ok.all()
    each = range(len(betas))
    variables = jax.tree.map(jnp.asarray, ensemble.variables)
    return [jax.tree.map(lambda leaf, k=k: leaf[k], variables) for k in each], ensemble


def solution(model, variables, batch):
    posterior, _ = model.encode(variables, batch, False)
    observation, _ = model.decode(variables, jnp.zeros_like(posterior.mean), batch, False)
    kernel = kernel_of(variables.parameters["decoder"])[: model.n_factors]
    loadings = kernel.T * variables.factor_mask[None, :]
    parts = (loadings, observation.mean, np.exp(observation.log_squared_scale[0]))
    variance = np.exp(posterior.log_variance)
    return Solution(*(np.asarray(part, float) for part in (*parts, posterior.mean, variance)))


def elbo(found, values, beta=1.0):
    """Mean over rows of E_q log p(x | z) - β KL, the expectation over z in closed form."""
    loadings, bias, noise, mean, variance = found
    residual = (values - mean @ loadings.T - bias) ** 2 + variance @ (loadings**2).T
    likelihood = -0.5 * (np.log(2 * np.pi * noise) + residual / noise).sum(axis=1)
    kl = 0.5 * (mean**2 + variance - np.log(variance) - 1).sum(axis=1)
    return (likelihood - beta * kl).mean()


def best_elbo(covariance, n_factors):
    """Probabilistic PCA's maximum likelihood (Tipping & Bishop 1999), nats a row:

    -½ [D ln 2π + Σ_{j≤K} ln λ_j + (D-K) ln σ² + D],  σ² the mean of the other λ
    """
    eigenvalues = np.linalg.eigvalsh(covariance)[::-1]
    n_assets, rest = len(eigenvalues), eigenvalues[n_factors:].mean()
    log_determinant = np.log(eigenvalues[:n_factors]).sum() + (n_assets - n_factors) * np.log(rest)
    return -0.5 * (n_assets * np.log(2 * np.pi) + log_determinant + n_assets)


def log_density(found, values):
    """Each row's exact log p(x) over its observed cells; NaN marks a missing one."""
    covariance = found.loadings @ found.loadings.T + np.diag(found.noise)
    seen = [np.flatnonzero(np.isfinite(row)) for row in values]
    return np.array(
        [
            stats.multivariate_normal.logpdf(row[o], bias[o], covariance[np.ix_(o, o)])
            for row, bias, o in zip(values, found.bias, seen, strict=True)
        ]
    )


def with_exact_encoder(variables, loadings, bias, noise):
    """The variables, decoding by N(W z + b, Ψ) and encoding by the best diagonal posterior:

        q(z | x) = N(P⁻¹ Wᵀ Ψ⁻¹ (x - b), diag(1/P_kk)),   P = I + Wᵀ Ψ⁻¹ W

    which is exact where P is diagonal.
    """
    weighted = loadings / noise[:, None]
    precision = np.eye(loadings.shape[1]) + weighted.T @ loadings
    projection = weighted @ np.linalg.inv(precision)
    kernels = {"mean": projection, "log_variance": np.zeros_like(projection)}
    biases = {"mean": -bias @ projection, "log_variance": -np.log(np.diag(precision))}
    encoder = {name: {"kernel": kernels[name], "bias": biases[name]} for name in kernels}
    decoder = {**variables.parameters["decoder"], "mean": {"kernel": loadings.T, "bias": bias}}
    if "log_variance" in decoder:
        decoder["log_variance"] = np.log(noise)[: len(decoder["log_variance"])]
    parts = {"encoder": {**variables.parameters["encoder"], **encoder}, "decoder": decoder}
    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), parts)
    return variables._replace(parameters=single)


@functools.partial(jax.jit, static_argnames=("model", "n_samples"))
def encoder_weights(key, model, variables, batch, n_samples):
    """ln p(x, z) - ln q(z | x) at draws from the encoder, sample × row."""
    posterior, _ = model.encode(variables, batch, False)
    used = factors_used(variables, posterior.mean)

    def weight(key):
        factors = posterior.sample(key)
        observation, _ = model.decode(variables, factors, batch, False)
        joint = observation.log_prob(batch.values, batch.observed)
        joint += model.prior(variables, factors, batch).log_prob(factors, used)
        return joint - posterior.log_prob(factors, used)

    return jax.lax.map(weight, jax.random.split(key, n_samples))
