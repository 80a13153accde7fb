"""Shares of variance, the largest pairs, and the portfolios that stand for factors."""

import numpy as np
import pytest

from jaxvae.analysis.attribution import largest_pairs, variance_parts
from jaxvae.analysis.linear_gaussian import covariance, posterior_weights
from jaxvae.analysis.portfolios import mimicking_weights, to_gross_one

RNG = np.random.default_rng(0)
LOADINGS = RNG.normal(size=(12, 3))
NOISE = RNG.uniform(0.2, 2.0, 12)


def test_a_factor_s_portfolio_moves_with_it_alone_and_is_the_least_noisy_that_does():
    """Against the optimum under constraints, from the bordered system of its Lagrangian."""
    weights = mimicking_weights(LOADINGS, NOISE)
    system = np.block([[np.diag(NOISE), LOADINGS], [LOADINGS.T, np.zeros((3, 3))]])
    optimum = np.linalg.solve(system, np.vstack([np.zeros((12, 3)), np.eye(3)]))[:12]
    np.testing.assert_allclose(weights, optimum, atol=1e-12)
    np.testing.assert_allclose(LOADINGS.T @ weights, np.eye(3), atol=1e-12)


def test_in_principal_axes_regression_holds_the_same_portfolios_but_smaller():
    """Where WᵀΨ⁻¹W is diagonal, Ψ⁻¹W(I + WᵀΨ⁻¹W)⁻¹ is each column times m/(1 + m)."""
    whitened, _ = np.linalg.qr(LOADINGS / np.sqrt(NOISE)[:, None])
    strength = np.array([9.0, 4.0, 1.0])
    loadings = whitened * np.sqrt(strength) * np.sqrt(NOISE)[:, None]
    expected = posterior_weights(loadings, NOISE) * (1 + strength) / strength
    np.testing.assert_allclose(mimicking_weights(loadings, NOISE), expected, atol=1e-12)


def test_what_cannot_be_held_is_left_empty_or_split():
    """A factor without loadings, and two that are the same."""
    loadings = np.stack([LOADINGS[:, 0], LOADINGS[:, 0], np.zeros(12)], axis=1)
    weights = mimicking_weights(loadings, NOISE)
    np.testing.assert_allclose(loadings.T @ weights, [[0.5, 0.5, 0], [0.5, 0.5, 0], [0] * 3])
    assert np.abs(to_gross_one(weights)).sum(axis=0) == pytest.approx([1.0, 1.0, 0.0])


def test_parts_of_variance_are_those_of_the_model_that_made_it():
    weights = np.vstack([np.eye(12), np.full(12, 1 / 12)])
    parts = variance_parts(weights, LOADINGS, NOISE, covariance(LOADINGS, NOISE))
    np.testing.assert_allclose(parts.factors, (weights @ LOADINGS) ** 2, atol=1e-12)
    np.testing.assert_allclose(parts.specific[:12], NOISE)
    np.testing.assert_allclose(parts.rest, 0.0, atol=1e-12)


def test_correlated_factors_share_out_what_they_have_in_common():
    """Factors of covariance G: the parts sum to bᵀGb, and none is left over."""
    root = RNG.normal(size=(3, 3))
    between = root @ root.T
    found = variance_parts(
        np.eye(12), LOADINGS, NOISE, LOADINGS @ between @ LOADINGS.T + np.diag(NOISE)
    )
    np.testing.assert_allclose(found.factors, LOADINGS * (LOADINGS @ between), atol=1e-9)
    np.testing.assert_allclose(found.rest, 0.0, atol=1e-9)
    np.testing.assert_allclose(found.total, found.factors.sum(axis=1) + found.specific)


def test_the_largest_pairs_come_first_whatever_their_sign():
    values = np.eye(4)
    for (i, j), value in {(0, 1): 0.2, (0, 3): -0.9, (1, 2): np.nan, (2, 3): 0.5}.items():
        values[i, j] = values[j, i] = value
    np.testing.assert_array_equal(largest_pairs(values, 3), [[0, 3], [2, 3], [0, 1]])
    assert len(largest_pairs(values, 99)) == 5
