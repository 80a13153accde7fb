"""What linear VAEs keep, against optimisation by brute force, factor analysis and training."""

import jax
import numpy as np
import pytest
from rate_distortion import linear_optimum
from scipy.optimize import minimize

from jaxvae import baselines
from jaxvae.analysis.second_moments import SecondMoments
from jaxvae.baselines.spectrum import (
    asset_noise,
    fixed_noise,
    r2_of_linear_factors,
    scalar_noise,
)
from jaxvae.models import PerceptronConfig, make_batch
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.state import Data

pytestmark = pytest.mark.slow

N_DATES, N_ASSETS, N_FACTORS = 300, 10, 3
BETAS = (0.25, 1.0, 2.0, 4.0, 12.0)


def returns(seed=0):
    """Three factors of unequal strength and noise of unequal scale."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(N_ASSETS, N_FACTORS)))[0]
    scores = rng.normal(size=(N_DATES, N_FACTORS)) * [3.0, 1.5, 0.9]
    noise = rng.uniform(0.3, 0.8, N_ASSETS) * rng.normal(size=(N_DATES, N_ASSETS))
    values = scores @ directions.T + noise
    return values - values.mean(axis=0)


VALUES = returns()
COVARIANCE = np.cov(VALUES.T, bias=True)
MOMENTS = SecondMoments(COVARIANCE)


def loss(covariance, loadings, noise, beta):
    """−E[E_q log p(x | z) − β KL] with the best diagonal Gaussian encoder, but for D/2 ln 2π.

    Given W and Ψ the encoder's best variances are β / (β + w_jᵀ Ψ⁻¹ w_j), and its best means solve
    (WᵀΨ⁻¹W + β I) m = WᵀΨ⁻¹ x.
    """
    precise = loadings / noise[:, None]
    strength = precise.T @ loadings
    gains = np.linalg.solve(strength + beta * np.eye(len(strength)), precise.T)
    variances = beta / (beta + np.diag(strength))
    residual = np.eye(len(covariance)) - loadings @ gains
    left = np.diag(residual @ covariance @ residual.T) + loadings**2 @ variances
    means = np.einsum("ka,ab,kb->k", gains, covariance, gains)
    kl = 0.5 * (means + variances - np.log(variances) - 1).sum()
    return 0.5 * (np.log(noise) + left / noise).sum() + beta * kl


def loss_of(optimum, beta):
    """The loss at the closed form's loadings, ‖Ψ^(−½) w_j‖² = λ_j − β."""
    strength = np.maximum(optimum.signal_to_noise[:N_FACTORS] - beta, 0.0)
    loadings = optimum.directions * optimum.noise[:, None] * np.sqrt(strength)
    return loss(COVARIANCE, loadings, optimum.noise, beta)


def brute_force(beta, noise_of, n_noise):
    """The lowest loss over W and the noise's logarithms, of several starts."""
    n_loadings = N_ASSETS * N_FACTORS

    def objective(flat):
        loadings = flat[:n_loadings].reshape(N_ASSETS, N_FACTORS)
        return loss(COVARIANCE, loadings, noise_of(flat[n_loadings:]), beta)

    rng = np.random.default_rng(1)
    starts = rng.normal(size=(6, n_loadings + n_noise))
    limits = [(-9, 9)] * n_loadings + [(-9, 3)] * n_noise
    found = [minimize(objective, start, bounds=limits, tol=1e-12) for start in starts]
    best = min(found, key=lambda result: result.fun)
    return best.fun, noise_of(best.x[n_loadings:])


@pytest.mark.parametrize("beta", BETAS)
def test_fixed_noise_is_the_optimum(beta):
    noise = np.linspace(0.2, 0.6, N_ASSETS)
    optimum = fixed_noise(MOMENTS, N_FACTORS, beta, noise)
    best, _ = brute_force(beta, lambda none: noise, 0)
    assert loss_of(optimum, beta) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_scalar_noise_is_the_optimum(beta):
    optimum = scalar_noise(MOMENTS, N_FACTORS, beta)
    best, noise = brute_force(beta, lambda log: np.full(N_ASSETS, np.exp(log[0])), 1)
    assert loss_of(optimum, beta) == pytest.approx(best, abs=1e-6)
    np.testing.assert_allclose(optimum.noise, noise, rtol=1e-3)


@pytest.mark.parametrize("beta", [beta for beta in BETAS if beta >= 1])
def test_asset_noise_is_the_optimum(beta):
    optimum = asset_noise(MOMENTS, N_FACTORS, beta, 0.5 * np.diag(COVARIANCE))
    best, noise = brute_force(beta, np.exp, N_ASSETS)
    assert loss_of(optimum, beta) == pytest.approx(best, abs=1e-5)
    np.testing.assert_allclose(optimum.noise, noise, rtol=0.01)


def test_asset_noise_below_beta_one_is_held_at_factor_analysis():
    """For there the loss has no minimum: the smaller the noise of an asset copied, the better."""
    optimum = asset_noise(MOMENTS, N_FACTORS, 0.5, 0.5 * np.diag(COVARIANCE))
    held = asset_noise(MOMENTS, N_FACTORS, 1.0, 0.5 * np.diag(COVARIANCE))
    np.testing.assert_array_equal(optimum.noise, held.noise)
    assert optimum.active == N_FACTORS
    copy = np.sqrt(COVARIANCE[0, 0]) * np.eye(N_ASSETS)[:, :1]
    tiny = [np.where(np.arange(N_ASSETS) == 0, share, held.noise) for share in (1e-3, 1e-6, 1e-9)]
    assert (np.diff([loss(COVARIANCE, copy, noise, 0.5) for noise in tiny]) < -1).all()
    assert (np.diff([loss(COVARIANCE, copy, noise, 1.0) for noise in tiny]) > -0.01).all()


def test_larger_beta_loses_factors_one_by_one():
    betas = np.geomspace(0.1, 100, 60)
    for optimum in (scalar_noise, lambda s, k, b: asset_noise(s, k, b, s.variances / 2)):
        active = [optimum(MOMENTS, N_FACTORS, beta).active for beta in betas]
        assert active[0] == 3
        assert active[-1] == 0
        assert set(np.diff(active)) == {0, -1}


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0, 4.0])
def test_scalar_noise_solves_its_equation(beta):
    """σ² = Σ_{j>k} l_j / (D − βk) with l_k > βσ² ≥ l_{k+1}, k factors in use."""
    eigenvalues = np.linalg.eigvalsh(COVARIANCE)[::-1]
    optimum = scalar_noise(MOMENTS, N_FACTORS, beta)
    k, variance = optimum.active, optimum.noise[0]
    assert variance == pytest.approx(eigenvalues[k:].sum() / (N_ASSETS - beta * k))
    assert eigenvalues[k - 1] > beta * variance
    assert k == N_FACTORS or beta * variance >= eigenvalues[k]


def test_noise_an_asset_at_beta_one_is_factor_analysis():
    model = baselines.fit_factor_analysis(VALUES, 2)
    expected = np.diag(model.scatter) - (model.loadings**2).sum(axis=1)
    found = asset_noise(MOMENTS, 2, 1.0, np.diag(COVARIANCE) / 2)
    np.testing.assert_allclose(found.noise, expected, rtol=5e-3)
    assert found.signal_to_noise[2:].mean() == pytest.approx(1.0, abs=1e-3)


def test_noiseless_returns_keep_every_factor():
    values = returns() @ np.eye(N_ASSETS)
    values = values[:, :3] @ np.random.default_rng(0).normal(size=(3, N_ASSETS))
    for noise in ("scalar", "asset"):
        optimum = linear_optimum(values, N_FACTORS, 1.0, noise, 0.5)
        assert optimum.active == N_FACTORS
        assert np.isfinite(optimum.signal_to_noise).all()


def test_kinds_of_noise_are_told_apart():
    fixed, scalar, asset = (
        linear_optimum(VALUES, N_FACTORS, 2.0, noise, 0.25)
        for noise in ("fixed", "scalar", "asset")
    )
    assert set(fixed.noise) == {0.25}
    assert len(set(scalar.noise)) == 1
    assert len(set(asset.noise)) == N_ASSETS
    again = asset_noise(MOMENTS, N_FACTORS, 2.0, np.diag(COVARIANCE) / 2)
    np.testing.assert_allclose(asset.noise, again.noise, rtol=1e-4)


def test_carried_is_one_for_the_factors_in_any_rotation_and_zero_for_noise():
    optimum = linear_optimum(VALUES, N_FACTORS, 1.0, "asset", 0.5)
    scores = VALUES @ optimum.directions
    scores = 3 + scores / scores.std(axis=0)
    rng = np.random.default_rng(0)
    rotated = scores @ rng.normal(size=(3, 3))
    np.testing.assert_allclose(r2_of_linear_factors(VALUES, optimum, rotated), 1.0)
    noise = rng.normal(size=(N_DATES, 3))
    assert (r2_of_linear_factors(VALUES, optimum, noise) < 0.05).all()
    dead = scores * [1, 1, 0.01]
    np.testing.assert_allclose(r2_of_linear_factors(VALUES, optimum, dead), [1, 1, 0], atol=0.02)


def test_trained_linear_members_lose_what_the_spectrum_says():
    """Noise an asset, at betas that keep 3, 2, 1 and 0 factors: which, and the noise."""
    betas = (1.0, 2.0, 4.0, 8.0)
    config = TrainConfig(
        epochs=1200, batch_size=N_DATES, warmup_epochs=0, clip_norm=None, patience=None
    )
    model = PerceptronConfig(N_FACTORS, widths=(), normalisation="none").build(N_ASSETS)
    data = Data(make_batch(VALUES), make_batch(VALUES[:0]))
    members = member_grid((0,), betas, data, model, 2e-2, config.epochs)
    ensemble = train_ensemble(jax.random.key(0), data, members, model, config)
    for index, (beta, active) in enumerate(zip(betas, (3, 2, 1, 0), strict=True)):
        optimum = linear_optimum(VALUES, N_FACTORS, beta, "asset", 0.5)
        variables = jax.tree.map(lambda leaf, index=index: leaf[index], ensemble.variables)
        posterior, _ = model.encode(variables, make_batch(VALUES), False)
        observation, _ = model.decode(variables, posterior.mean, make_batch(VALUES), False)
        means = np.asarray(posterior.mean, np.float64)
        assert (means.var(axis=0) > 0.01).sum() == optimum.active == active
        # At β = 1 factor analysis's likelihood is flat along the third factor.
        if beta > 1:
            noise = np.exp(observation.log_variance[0])
            np.testing.assert_allclose(noise, optimum.noise, rtol=0.03)
        held = r2_of_linear_factors(VALUES, optimum, means)
        assert (held[: optimum.active] > 0.95).all()
        assert (held[optimum.active :] < 0.5).all()
