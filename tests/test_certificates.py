"""Trained linear VAEs against closed forms: probabilistic PCA, its β-curve, factor analysis.

With a linear decoder the optimum is known, so these certify objective, gradients, optimiser and
ensemble together.
"""

import jax
import numpy as np
import pytest
from sklearn.decomposition import FactorAnalysis

from jaxvae import apply
from jaxvae.ensemble import member_grid, train_ensemble
from jaxvae.models import ModelConfig, make_batch, static_vae
from jaxvae.state import TrainConfig, make_data

N_ROWS, N_ASSETS, N_FACTORS = 400, 6, 3
# One draw of z a row and step leaves the parameters about this far, relatively, from the optimum;
# the ELBO, flat there, is off by its square.
SAMPLED = 0.01
CONFIG = TrainConfig(
    epochs=1500,
    batch_size=N_ROWS,
    warmup_epochs=0,
    clip_norm=None,
    patience=None,
)


def returns():
    """Three factors of unequal strength, so that principal directions are well apart."""
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(N_ROWS, N_FACTORS)) * [2.5, 1.6, 1.0]
    directions = np.linalg.qr(rng.normal(size=(N_ASSETS, N_FACTORS)))[0]
    values = scores @ directions.T + 0.5 * rng.normal(size=(N_ROWS, N_ASSETS))
    return values - values.mean(axis=0)


VALUES = returns()
EIGENVALUES, DIRECTIONS = (part[..., ::-1] for part in np.linalg.eigh(np.cov(VALUES.T, ddof=0)))


def train(noise, betas, noise_variance=0.5):
    """Members' linear maps in float64: W, b, Ψ, and each row's posterior mean and variance."""
    config = ModelConfig(
        N_FACTORS, widths=(), normalisation="none", noise=noise, noise_variance=noise_variance
    )
    model = static_vae(config, N_ASSETS)
    data = make_data(make_batch(VALUES), make_batch(VALUES[:0]), N_ROWS)
    members = member_grid((0,), betas, data, model, 2e-2, CONFIG.epochs)
    ensemble = train_ensemble(jax.random.key(0), data, members, model, CONFIG)
    return model, ensemble, [_solution(model, ensemble, index) for index in range(len(betas))]


def _solution(model, ensemble, index):
    variables = jax.tree.map(lambda leaf: leaf[index], ensemble.variables)
    batch = make_batch(VALUES)
    posterior, _ = model.encode(variables, batch, False)
    observation, _ = model.decode(variables, posterior.mean, batch, False)
    decoder = variables.parameters["decoder"]["mean"]
    parts = (decoder["kernel"].T, decoder["bias"], np.exp(observation.log_variance[0]))
    return tuple(
        np.asarray(part, np.float64)
        for part in (*parts, posterior.mean, np.exp(posterior.log_variance))
    )


def expected_elbo(solution, beta=1.0):
    """Mean over rows of E_q log p(x | z) - β KL, the expectation over z in closed form."""
    loadings, bias, noise, mean, variance = solution
    residual = (VALUES - mean @ loadings.T - bias) ** 2 + variance @ (loadings**2).T
    likelihood = -0.5 * (np.log(2 * np.pi * noise) + residual / noise).sum(axis=1)
    kl = 0.5 * (mean**2 + variance - np.log(variance) - 1).sum(axis=1)
    return (likelihood - beta * kl).mean()


@pytest.fixture(scope="module")
def learned():
    return train("scalar", (1.0, 2.0, 4.0))[2]


@pytest.fixture(scope="module")
def fixed():
    """σ² = ½: βσ² is ½, 1, 2 and 5."""
    return train("fixed", (1.0, 2.0, 4.0, 10.0))[2]


def test_elbo_is_probabilistic_pcas(learned):
    """Tipping & Bishop 1999; at β = 1 the best mean ELBO is the maximum likelihood."""
    rest = EIGENVALUES[N_FACTORS:].mean()
    best = -0.5 * (
        N_ASSETS * np.log(2 * np.pi)
        + np.log(EIGENVALUES[:N_FACTORS]).sum()
        + (N_ASSETS - N_FACTORS) * np.log(rest)
        + N_ASSETS
    )
    found = expected_elbo(learned[0])
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
    for beta, (_, _, noise, mean, _) in zip((1.0, 2.0, 4.0), learned, strict=True):
        active = int((mean.var(axis=0) > 0.01).sum())
        expected = EIGENVALUES[active:].sum() / (N_ASSETS - beta * active)
        assert active == 0 or EIGENVALUES[active - 1] > beta * expected
        assert active == N_FACTORS or beta * expected >= EIGENVALUES[active]
        np.testing.assert_allclose(noise, expected, rtol=SAMPLED)


def test_active_factors_over_betas_are_known_exactly(fixed):
    """Factor j is in use if and only if λ_j > βσ²."""
    for beta, (_, _, _, mean, _) in zip((1.0, 2.0, 4.0, 10.0), fixed, strict=True):
        expected = int((EIGENVALUES[:N_FACTORS] > 0.5 * beta).sum())
        assert int((mean.var(axis=0) > 0.01).sum()) == expected


def test_loading_norms_and_posterior_variances_over_betas(fixed):
    """‖w_j‖² = λ_j - βσ² and variance βσ²/λ_j."""
    for beta, (loadings, _, _, _, variance) in zip((1.0, 2.0, 4.0, 10.0), fixed, strict=True):
        order = np.argsort(-(loadings**2).sum(axis=0))
        strong = EIGENVALUES[:N_FACTORS]
        norms = np.maximum(strong - 0.5 * beta, 0.0)
        np.testing.assert_allclose((loadings**2).sum(axis=0)[order], norms, rtol=SAMPLED, atol=0.02)
        spreads = np.minimum(0.5 * beta / strong, 1.0)
        np.testing.assert_allclose(variance.mean(axis=0)[order], spreads, rtol=2 * SAMPLED)


def test_noise_an_asset_is_factor_analysis():
    model, ensemble, _ = train("asset", (1.0,))
    fitted, batch = apply.everyone(ensemble), make_batch(VALUES)
    said = apply.evaluate(jax.random.key(1), model, fitted, batch, 512)
    expected = FactorAnalysis(N_FACTORS, tol=1e-8, max_iter=10_000, svd_method="lapack")
    score = expected.fit(VALUES).score(VALUES)
    assert np.mean(said.likelihood.value) == pytest.approx(score, abs=0.02)
