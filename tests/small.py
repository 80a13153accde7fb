"""A small problem that the training tests share, so that its programs are compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.models import PerceptronConfig, make_batch
from jaxvae.training import member
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import Members, member_grid, train_ensemble
from jaxvae.training.state import Data, make_hyperparameters

N_ASSETS, N_TRAIN, N_VALIDATION = 6, 50, 20
MODEL = PerceptronConfig(n_factors=2, widths=(8,), skip=True).build(N_ASSETS)
CONFIG = TrainConfig(epochs=40, batch_size=16, warmup_epochs=10, patience=8)
ROOT = jax.random.key(7)


def returns(seed=0, n_rows=N_TRAIN + N_VALIDATION):
    """Two factors and noise, in standard units."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, N_ASSETS))
    values = values + 0.5 * rng.normal(size=(n_rows, N_ASSETS))
    return values / values.std(axis=0)


VALUES = returns()
DATA = Data(make_batch(VALUES[:N_TRAIN]), make_batch(VALUES[N_TRAIN:]))
HYPERPARAMETERS = make_hyperparameters(DATA, MODEL, CONFIG, learning_rate=1e-2)
FIT = jax.jit(functools.partial(member.fit, model=MODEL, config=CONFIG))


def grid(seeds=(0, 1), betas=(0.5, 1.0), **changes) -> Members:
    members = member_grid(seeds, betas, DATA, MODEL, 1e-2, CONFIG.epochs)
    return members._replace(hyperparameters=members.hyperparameters._replace(**changes))


def trained(members, **options):
    return train_ensemble(ROOT, DATA, members, MODEL, CONFIG, **options)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def same_bits(one, other):
    return all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes()
        for a, b in zip(leaves(one), leaves(other), strict=True)
    )


def linear_gaussian(n_factors=2, noise=0.4, seed=3):
    """An untrained model with a linear decoder: model, variables, W (asset × factor), bias, Ψ."""
    model = PerceptronConfig(n_factors, widths=(), normalisation="none").build(N_ASSETS)
    variables = model.initialise(jax.random.key(seed), DATA.training)
    rng = np.random.default_rng(seed)
    loadings, bias = rng.normal(size=(N_ASSETS, n_factors)), rng.normal(size=N_ASSETS)
    variance = noise * rng.uniform(0.5, 1.5, size=N_ASSETS)
    decoder = variables.parameters["decoder"]
    decoder["mean"] = {
        "kernel": jnp.asarray(loadings.T, jnp.float32),
        "bias": jnp.asarray(bias, jnp.float32),
    }
    decoder["log_variance"] = jnp.asarray(np.log(variance), jnp.float32)
    return model, variables, loadings, bias, variance
