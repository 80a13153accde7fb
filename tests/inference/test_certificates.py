"""Trained linear VAEs against closed forms: probabilistic PCA, its β-curve, factor analysis.

With a linear decoder the optimum is known, so these certify objective, gradients, optimiser and
ensemble together.
"""

import jax
import numpy as np
import pytest
from linear import (
    SAMPLED,
    best_elbo,
    elbo,
    encoder_weights,
    linear_model,
    log_density,
    sampled,
    solution,
    train,
    with_exact_encoder,
)
from sklearn.decomposition import FactorAnalysis

from jaxvae.analysis.matching import match
from jaxvae.analysis.n_factors import parallel_analysis
from jaxvae.baselines import fit_independent
from jaxvae.data.panel import fit_scaler
from jaxvae.data.synthetic import linear_panel
from jaxvae.inference.importance import log_likelihood
from jaxvae.models import make_batch
from jaxvae.training.config import TrainConfig
from jaxvae.training.objective import importance_weighted_bound

pytestmark = pytest.mark.slow

N_ROWS, N_ASSETS, N_FACTORS = 400, 6, 3
BETAS, SMALL_BETA = (1.0, 2.0, 4.0, 10.0), 0.1
PANEL = TrainConfig(epochs=300, batch_size=100, warmup_epochs=0, clip_norm=None, patience=None)


def returns():
    """Three factors of unequal strength, so that principal directions are well apart."""
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(N_ROWS, N_FACTORS)) * [2.5, 1.6, 1.0]
    directions = np.linalg.qr(rng.normal(size=(N_ASSETS, N_FACTORS)))[0]
    values = scores @ directions.T + 0.5 * rng.normal(size=(N_ROWS, N_ASSETS))
    return values - values.mean(axis=0)


VALUES = returns()
COVARIANCE = np.cov(VALUES.T, ddof=0)
EIGENVALUES, DIRECTIONS = (part[..., ::-1] for part in np.linalg.eigh(COVARIANCE))
MODELS = {noise: linear_model(N_FACTORS, N_ASSETS, noise) for noise in ("scalar", "fixed", "asset")}


def solutions(noise, values, betas=(1.0,)):
    variables, _ = train(MODELS[noise], values, betas)
    return [solution(MODELS[noise], one, make_batch(values)) for one in variables]


@pytest.fixture(scope="module")
def learned():
    return solutions("scalar", VALUES, BETAS[:3])


@pytest.fixture(scope="module")
def with_fixed_noise():
    return train(MODELS["fixed"], VALUES, (*BETAS, SMALL_BETA), tile_width=5)[0]


@pytest.fixture(scope="module")
def fixed(with_fixed_noise):
    """σ² = ½: βσ² is ½, 1, 2 and 5."""
    return [solution(MODELS["fixed"], one, make_batch(VALUES)) for one in with_fixed_noise[:-1]]


def test_elbo_is_probabilistic_pcas(learned):
    """Tipping & Bishop 1999; at β = 1 the best mean ELBO is the maximum likelihood."""
    best = best_elbo(COVARIANCE, N_FACTORS)
    found = elbo(learned[0], VALUES)
    assert found == pytest.approx(best, rel=1e-4)
    assert found <= best + 1e-6 * abs(best)


def test_columns_are_the_principal_directions(learned):
    loadings = learned[0][0]
    units = loadings / np.linalg.norm(loadings, axis=0)
    cosines = np.abs(units.T @ DIRECTIONS[:, :N_FACTORS])
    np.testing.assert_allclose(np.sort(cosines.max(axis=1)), 1.0, atol=1e-3)
    assert sorted(cosines.argmax(axis=1)) == [0, 1, 2]


def test_learned_noise_is_the_mean_of_the_other_eigenvalues(learned):
    noise = learned[0][2]
    np.testing.assert_allclose(noise, EIGENVALUES[N_FACTORS:].mean(), rtol=SAMPLED)


def test_learned_noise_is_the_expected_squared_error(learned):
    """Rybkin et al. 2021: of sampled z, not of the mean reconstruction."""
    for loadings, bias, noise, mean, variance in learned:
        error = (VALUES - mean @ loadings.T - bias) ** 2 + variance @ (loadings**2).T
        np.testing.assert_allclose(noise, error.mean(), rtol=SAMPLED)


def test_learned_noise_over_betas_solves_its_equation(learned):
    """σ² = Σ_{j>k} λ_j/(D - βk) with λ_k > βσ² ≥ λ_{k+1}, k factors active."""
    for beta, (_, _, noise, mean, _) in zip(BETAS[:3], learned, strict=True):
        active = int((mean.var(axis=0) > 0.01).sum())
        expected = EIGENVALUES[active:].sum() / (N_ASSETS - beta * active)
        assert active == 0 or EIGENVALUES[active - 1] > beta * expected
        assert active == N_FACTORS or beta * expected >= EIGENVALUES[active]
        np.testing.assert_allclose(noise, expected, rtol=SAMPLED)


def test_active_factors_over_betas_are_known_exactly(fixed):
    """Factor j is in use if and only if λ_j > βσ²."""
    for beta, (_, _, _, mean, _) in zip(BETAS, fixed, strict=True):
        expected = int((EIGENVALUES[:N_FACTORS] > 0.5 * beta).sum())
        assert int((mean.var(axis=0) > 0.01).sum()) == expected


def test_loading_norms_and_posterior_variances_over_betas(fixed):
    """‖w_j‖² = λ_j - βσ² and variance βσ²/λ_j."""
    for beta, (loadings, _, _, _, variance) in zip(BETAS, fixed, strict=True):
        order = np.argsort(-(loadings**2).sum(axis=0))
        strong = EIGENVALUES[:N_FACTORS]
        norms = np.maximum(strong - 0.5 * beta, 0.0)
        np.testing.assert_allclose((loadings**2).sum(axis=0)[order], norms, rtol=SAMPLED, atol=0.02)
        spreads = np.minimum(0.5 * beta / strong, 1.0)
        np.testing.assert_allclose(variance.mean(axis=0)[order], spreads, rtol=2 * SAMPLED)


def test_noise_an_asset_is_factor_analysis():
    found = solutions("asset", VALUES)[0]
    expected = FactorAnalysis(N_FACTORS, tol=1e-8, max_iter=10_000, svd_method="lapack")
    score = expected.fit(VALUES).score(VALUES)
    assert log_density(found, VALUES).mean() == pytest.approx(score, abs=0.02)


def test_the_notebooks_panel_is_factor_analysis():
    """In nats a date, of 100 assets; and the axes are those that a diagonal posterior asks for."""
    panel, _ = linear_panel(42)
    values = fit_scaler(panel.values).standardise(panel.values)
    model = linear_model(5, panel.n_assets)
    variables, _ = train(model, values, config=PANEL, tile_width=1)
    found = solution(model, variables[0], make_batch(values))
    score = FactorAnalysis(5, svd_method="lapack").fit(values).score(values)
    likelihood = log_density(found, values).mean()
    assert score - 0.1 < likelihood < score + 0.01
    assert largest_overlap(found) < 0.2


def largest_overlap(found):
    """The largest |cosine| between two columns of Ψ^-½ W."""
    units = found.loadings / np.sqrt(found.noise)[:, None]
    units = units / np.linalg.norm(units, axis=0)
    return np.abs(units.T @ units - np.eye(units.shape[1])).max()


def test_training_takes_the_axes_of_a_diagonal_posterior(learned):
    """Off the diagonal, Wᵀ Ψ⁻¹ W is 0 (Rolínek et al. 2019)."""
    assert largest_overlap(learned[0]) < 2 * SAMPLED


@pytest.fixture(scope="module")
def turned(learned):
    """The trained member with W → W Q, Q an even reflection, and its best diagonal posterior."""
    reflection = np.eye(N_FACTORS) - 2 / N_FACTORS
    model, batch = MODELS["scalar"], make_batch(VALUES)
    variables = model.initialise(jax.random.key(0), batch)
    loadings, bias, noise = learned[0].loadings, learned[0].bias[0], learned[0].noise
    variables = with_exact_encoder(variables, loadings @ reflection, bias, noise)
    return solution(model, variables, batch)


def test_rotation_leaves_the_likelihood_and_moves_the_factors(learned, turned):
    """Locatello et al. 2019: no likelihood tells W from W Q."""
    before, after = (log_density(found, VALUES) for found in (learned[0], turned))
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert match(turned.mean, learned[0].mean).correlations.mean() < 0.9


def test_rotation_costs_a_diagonal_posterior_what_it_leaves_out(learned, turned):
    """KL(q ‖ p(z | x)) = ½ [Σ ln P_kk - ln det P] with P = I + Wᵀ Ψ⁻¹ W."""
    loadings = turned.loadings
    precision = np.eye(N_FACTORS) + (loadings / turned.noise[:, None]).T @ loadings
    cost = 0.5 * (np.log(np.diag(precision)).sum() - np.linalg.slogdet(precision)[1])
    likelihood = log_density(turned, VALUES).mean()
    assert cost > 0.1
    assert elbo(turned, VALUES) == pytest.approx(likelihood - cost, abs=1e-4)
    assert elbo(learned[0], VALUES) == pytest.approx(likelihood, abs=1e-3)


@pytest.mark.parametrize("noise", ["scalar", "asset"])
def test_noiseless_returns_take_the_noise_to_its_floor(noise):
    """Rank two: Dai & Wipf 2019; finite throughout, as `train` asserts."""
    values = returns()[:, :2] @ np.random.default_rng(1).normal(size=(2, N_ASSETS))
    found = solutions(noise, values / values.std(axis=0))[0]
    assert all(np.isfinite(part).all() for part in found)
    assert found.noise.max() < 1e-4


@pytest.fixture(scope="module")
def noise_only():
    """80 rows of pure noise (each five times over), a member trained on them, and fresh rows."""
    rng = np.random.default_rng(11)
    few, fresh = rng.normal(size=(80, N_ASSETS)), rng.normal(size=(2000, N_ASSETS))
    model = MODELS["scalar"]
    variables, _ = train(model, np.tile(few, (5, 1)))
    return few, fresh, [solution(model, variables[0], make_batch(rows)) for rows in (few, fresh)]


def test_pure_noise_has_the_active_factors_that_its_sample_asks_for(noise_only):
    """λ_k > σ² in the sample, whatever the population: as form 3 has it."""
    few, _, (found, _) = noise_only
    eigenvalues = np.linalg.eigvalsh(np.cov(few.T, ddof=0))[::-1]
    rest = eigenvalues[N_FACTORS:].mean()
    expected = 1 - rest / eigenvalues[:N_FACTORS]
    assert (expected > 0.01).all()
    np.testing.assert_allclose(np.sort(found.mean.var(axis=0))[::-1], expected, atol=0.02)


def test_no_factor_of_pure_noise_survives(noise_only):
    """Neither parallel analysis nor held-out likelihood is taken in."""
    few, fresh, (_, held_out) = noise_only
    assert parallel_analysis(few, 1, np.random.default_rng(0)) == 0
    none = fit_independent(few, "scalar", 0.5, student=False)
    gain = log_density(held_out, fresh) - none.log_likelihood(fresh)
    assert gain.mean() < 0


def test_likelihood_at_a_small_beta_does_not_trust_the_encoder(with_fixed_noise):
    """Trained at β = .1 the encoder is ten times too sure: its weights' variance is infinite, and
    their error more than they say."""
    model, variables, batch = MODELS["fixed"], with_fixed_noise[-1], make_batch(VALUES)
    exact = log_density(solution(model, variables, batch), VALUES)
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    key = jax.random.key(0)
    sound = run(key, sampled(model), variables, batch, n_samples=512)
    plain = importance_weighted_bound(encoder_weights(key, model, variables, batch, 512))
    error, plain_error = (np.asarray(estimate.value) - exact for estimate in (sound, plain))
    assert (np.abs(error) < 5 * np.asarray(sound.standard_error)).all()
    assert abs(error.mean()) < 0.01
    assert np.min(sound.effective_samples) > 256
    assert plain_error.mean() < -0.3
    assert np.mean(np.abs(plain_error) > 2 * np.asarray(plain.standard_error)) > 0.5
