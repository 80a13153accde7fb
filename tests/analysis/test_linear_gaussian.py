"""K × K algebra against the D × D matrices that it stands for."""

import numpy as np

from jaxvae.analysis.linear_gaussian import covariance, posterior_precision, posterior_weights

RNG = np.random.default_rng(0)
LOADINGS, NOISE = RNG.normal(size=(6, 2)), RNG.uniform(0.5, 1.5, 6)
WHOLE = LOADINGS @ LOADINGS.T + np.diag(NOISE)


def test_posterior_weights_are_the_regression_on_returns():
    np.testing.assert_allclose(covariance(LOADINGS, NOISE), WHOLE)
    expected = np.linalg.solve(WHOLE, LOADINGS)
    np.testing.assert_allclose(posterior_weights(LOADINGS, NOISE), expected)


def test_posterior_precision_is_the_schur_complements():
    """P⁻¹ = I − Wᵀ Σ⁻¹ W, and ln det Σ = ln det P + ln det Ψ."""
    precision = posterior_precision(LOADINGS, 1 / NOISE)
    expected = np.eye(2) - LOADINGS.T @ np.linalg.solve(WHOLE, LOADINGS)
    np.testing.assert_allclose(np.linalg.inv(precision), expected)
    determinant = np.linalg.slogdet(precision)[1] + np.log(NOISE).sum()
    assert np.isclose(determinant, np.linalg.slogdet(WHOLE)[1])


def test_rows_have_their_own_noise_and_a_prior_its_own_precision():
    rows = RNG.uniform(0.0, 2.0, size=(4, 6))
    rows[1, 2:] = 0.0
    prior = np.array([0.5, 3.0])
    for found, row in zip(posterior_precision(LOADINGS, rows, prior), rows, strict=True):
        np.testing.assert_allclose(found, np.diag(prior) + LOADINGS.T @ np.diag(row) @ LOADINGS)
