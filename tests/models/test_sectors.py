"""Loadings around their sector's: expectations, KL, and what they become as the spread shrinks."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from small import N_ASSETS, VALUES

from jaxvae.models import ConditionalConfig, PerceptronConfig, make_batch
from jaxvae.models.distributions import (
    UncertainGaussian,
)
from jaxvae.models.sectors import SectorLoadings, loadings_divergence
from jaxvae.training.config import TrainConfig
from jaxvae.training.member import EpochSettings, init, step
from jaxvae.training.objective import row_terms
from jaxvae.training.state import Data, make_hyperparameters

pytestmark = pytest.mark.slow

SECTORS = (0, 0, 1, 1, 1, 2)
MODEL = ConditionalConfig(2, widths=(), sectors=SECTORS).build(N_ASSETS)
BATCH = make_batch(VALUES)
RNG = np.random.default_rng(0)
N_DRAWS = 200_000


def close_to_monte_carlo(found, draws):
    error = draws.std(axis=0) / len(draws) ** 0.5
    assert (np.abs(draws.mean(axis=0) - found) < 5 * error + 1e-5).all()


def test_uncertain_means_enter_by_their_expectation_and_their_mixture():
    """E log N(x; μ, σ²) and log E N(x; μ, σ²) over μ ~ N(m, spread)."""
    mean, spread, x = np.array([[0.3, -1.0]]), np.array([[0.5, 0.2]]), np.array([[1.0, 0.4]])
    log_variance = np.log([[0.4, 0.7]])
    parts = [jnp.asarray(part, jnp.float32) for part in (mean, log_variance, spread, x)]
    density, ones = UncertainGaussian(*parts[:3]), jnp.ones((1, 2))
    means = mean + np.sqrt(spread) * RNG.normal(size=(N_DRAWS, 1, 2))
    logs = stats.norm.logpdf(x, means, np.exp(0.5 * log_variance))
    close_to_monte_carlo(density.log_prob(parts[3], ones), logs.sum(axis=-1))
    whole = np.exp(density.predictive.log_prob(parts[3], ones))
    close_to_monte_carlo(whole, np.exp(logs).prod(axis=-1))
    np.testing.assert_allclose(
        density.predictive.variance, np.exp(log_variance) + spread, rtol=1e-6
    )


def loadings(log_spread=0.0, seed=1):
    """Parameters of uncertain loadings, two columns × six assets."""
    rng = np.random.default_rng(seed)
    parts = {
        "kernel": rng.normal(size=(2, 6)),
        "log_variance": rng.normal(-2.0, 0.5, size=(2, 6)),
        "sector_mean": rng.normal(size=(2, 3)),
        "log_spread": np.array([log_spread, log_spread - 0.5]),
    }
    return {name: jnp.asarray(part, jnp.float32) for name, part in parts.items()}


def test_divergence_is_the_mean_of_log_q_less_log_p():
    known = {name: np.asarray(part, float) for name, part in loadings().items()}
    scale = np.exp(0.5 * known["log_variance"])
    draws = known["kernel"] + scale * RNG.normal(size=(20_000, 2, 6))
    centre = known["sector_mean"][:, SECTORS]
    spread = np.exp(0.5 * known["log_spread"])[:, None]
    ratios = stats.norm.logpdf(draws, known["kernel"], scale)
    ratios -= stats.norm.logpdf(draws, centre, spread)
    found = loadings_divergence(loadings(), SECTORS)
    close_to_monte_carlo(found, ratios.sum(axis=(1, 2)))


def test_mean_and_variance_of_a_product_with_uncertain_loadings():
    parts, columns = loadings(), jnp.asarray(RNG.normal(size=(4, 2)), jnp.float32)
    mean, spread = SectorLoadings(SECTORS).apply({"params": parts}, columns)
    scale = np.exp(0.5 * np.asarray(parts["log_variance"]))
    draws = np.asarray(parts["kernel"]) + scale * RNG.normal(size=(20_000, 2, 6))
    products = np.einsum("rk,nka->nra", np.asarray(columns), draws)
    close_to_monte_carlo(mean, products)
    np.testing.assert_allclose(products.var(axis=0), spread, rtol=0.06)


class Known(NamedTuple):
    """Returns whose factors and noise are known; the first asset lacks most of its dates."""

    values: np.ndarray
    observed: np.ndarray
    factors: np.ndarray
    noise: float


@pytest.fixture(scope="module")
def known():
    rng = np.random.default_rng(3)
    factors, true = rng.normal(size=(60, 2)), rng.normal(size=(2, 6))
    values = factors @ true + 0.5 * rng.normal(size=(60, 6))
    observed = np.ones((60, 6))
    observed[8:, 0] = 0.0
    return Known(values, observed, factors, 0.25)


def best_loadings(known, spread):
    """Where E log p(x | z, W) - KL is stationary, at a fixed spread τ²: a linear system.

    (G_a/σ² + I/τ²) m_a = b_a/σ² + M_s/τ²,   M_s the mean of its m_a,   v_ak = 1/(G_akk/σ² + 1/τ²)
    """
    grams = np.einsum("ta,ti,tj->aij", known.observed, known.factors, known.factors) / known.noise
    moments = np.einsum("ta,ta,ti->ai", known.observed, known.values, known.factors) / known.noise
    system, right = np.zeros((9, 2, 9, 2)), np.concatenate([moments, np.zeros((3, 2))])
    for asset, sector in enumerate(SECTORS):
        system[asset, :, asset, :] = grams[asset] + np.eye(2) / spread
        system[asset, :, 6 + sector, :] = -np.eye(2) / spread
        system[6 + sector, :, asset, :] = -np.eye(2) / spread
        system[6 + sector, :, 6 + sector, :] += np.eye(2) / spread
    found = np.linalg.solve(system.reshape(18, 18), right.ravel()).reshape(9, 2).T
    curvature = np.einsum("aii->ia", grams) + 1.0 / spread
    return {
        "kernel": found[:, :6],
        "sector_mean": found[:, 6:],
        "log_variance": -np.log(curvature),
        "log_spread": np.log(np.full(2, spread)),
    }


def slopes(known, parts):
    """Gradients of the objective over those a shift of one hundredth away."""
    layer, columns = SectorLoadings(SECTORS), jnp.asarray(known.factors, jnp.float32)
    batch = make_batch(np.where(known.observed, known.values, np.nan))

    def cost(parts):
        mean, spread = layer.apply({"params": parts}, columns)
        density = UncertainGaussian(mean, jnp.full_like(mean, jnp.log(known.noise)), spread)
        fit = jnp.sum(density.log_prob(batch.values, batch.observed))
        return loadings_divergence(parts, SECTORS) - fit

    single = {name: jnp.asarray(part, jnp.float32) for name, part in parts.items()}
    apart = {name: part + 0.01 for name, part in single.items()}
    gradient = jax.jit(jax.grad(cost))
    here, there = gradient(single), gradient({**apart, "log_spread": single["log_spread"]})
    return {
        name: np.abs(here[name]).max() / np.abs(there[name]).max()
        for name in ("kernel", "log_variance")
    }


def alone(known):
    """Least squares, asset by asset."""
    return np.column_stack(
        [
            np.linalg.lstsq(known.factors[seen > 0], column[seen > 0], rcond=None)[0]
            for column, seen in zip(known.values.T, known.observed.T, strict=True)
        ]
    )


@pytest.mark.parametrize("spread", [1e-2, 0.1, 1.0, 1e3])
def test_the_objective_is_stationary_at_ridge_regressions_towards_the_sectors(known, spread):
    assert max(slopes(known, best_loadings(known, spread)).values()) < 0.02


def test_a_wide_spread_leaves_each_asset_to_itself(known):
    np.testing.assert_allclose(best_loadings(known, 1e4)["kernel"], alone(known), atol=1e-3)


def test_a_narrow_spread_gives_the_loadings_of_all_returns_of_the_sector(known):
    kernel = best_loadings(known, 1e-7)["kernel"]
    for sector in range(3):
        assets = [a for a, s in enumerate(SECTORS) if s == sector]
        seen = [known.observed[:, a] > 0 for a in assets]
        rows = np.concatenate([known.factors[s] for s in seen])
        pooled = np.concatenate([known.values[s, a] for a, s in zip(assets, seen, strict=True)])
        expected = np.linalg.lstsq(rows, pooled, rcond=None)[0]
        np.testing.assert_allclose(
            kernel[:, assets], np.tile(expected, (len(assets), 1)).T, rtol=1e-4
        )


def test_the_sparse_asset_borrows_most(known):
    """The share of the way to its sector that an asset is drawn."""
    found, unpooled = best_loadings(known, 0.1), alone(known)
    way = found["sector_mean"][:, SECTORS] - unpooled
    drawn = np.linalg.norm(found["kernel"] - unpooled, axis=0)[:5]
    shares = drawn / np.linalg.norm(way, axis=0)[:5]
    assert shares[0] > 2 * shares[1:].max()


def test_training_pays_for_loadings_once_a_data_set():
    """Each row's total carries KL(q ‖ p)/n, whatever the batch and β."""
    config, key = TrainConfig(batch_size=16), jax.random.key(1)
    data = Data(BATCH, BATCH)
    state = init(jax.random.key(0), data, make_hyperparameters(data, MODEL, config), MODEL, config)
    settings = EpochSettings(jnp.float32(3.0), jnp.float32(0.01), n_rows=50.0)
    _, info = step(key, state, BATCH, settings, MODEL, config)
    terms, _ = row_terms(key, state.variables, BATCH, settings.beta, MODEL, config, True)
    paid = (float(info.total) - float(np.sum(terms.total))) / BATCH.values.shape[0]
    cost = float(MODEL.complexity(state.variables))
    assert cost > 1.0
    assert paid == pytest.approx(cost / 50.0, rel=1e-3)


def test_others_are_told_the_predictive_density():
    variables = MODEL.initialise(jax.random.key(0), BATCH)
    factors = jnp.asarray(RNG.normal(size=(len(VALUES), 2)), jnp.float32)
    told, _ = MODEL.decode(variables, factors, BATCH, True)
    said, _ = MODEL.decode(variables, factors, BATCH, False)
    assert isinstance(told, UncertainGaussian)
    for mine, other in zip(*map(jax.tree.leaves, (told.predictive, said)), strict=True):
        np.testing.assert_array_equal(mine, other)


def test_without_sectors_nothing_is_paid():
    assert PerceptronConfig(2).build(N_ASSETS).complexity is None
