"""Bayesian regression on uncertain factors, against its limits and closed forms."""

import numpy as np
import pytest
from scipy import stats

from jaxvae.analysis.new_assets import Design, Prior, noise_prior, prior_of_group, regress

RNG = np.random.default_rng(0)
D = RNG.normal(size=(400, 3))
SURE = Prior(np.array([0.5, -0.5, 0.0]), np.array([0.2, 0.1, 0.3]), 1e9, 0.25)


def known(rows):
    """A design whose regressors are known exactly, on dates of like noise."""
    return Design(rows, np.zeros((*rows.shape, rows.shape[1])), np.ones(len(rows)))


def test_known_noise_is_bayesian_ridge_regression():
    returns = D[:7] @ [1.0, 0.0, 0.2] + 0.5 * RNG.normal(size=7)
    mean, covariance, noise = regress(known(D[:7]), returns, SURE)
    precision = np.diag(1 / SURE.variance) + D[:7].T @ D[:7] / 0.25
    np.testing.assert_allclose(covariance, np.linalg.inv(precision), rtol=1e-6)
    moment = SURE.mean / SURE.variance + D[:7].T @ returns / 0.25
    np.testing.assert_allclose(mean, np.linalg.solve(precision, moment), rtol=1e-6)
    assert noise == pytest.approx(0.25, rel=1e-6)


def test_no_history_is_the_sectors_mean_and_a_long_one_least_squares():
    loose = SURE._replace(df=2.0)
    mean, covariance, noise = regress(known(D[:0]), np.zeros(0), loose)
    np.testing.assert_array_equal(mean, SURE.mean)
    np.testing.assert_allclose(covariance, np.diag(SURE.variance))
    assert noise == pytest.approx(0.25, rel=0.5)
    returns = D @ [1.0, 0.0, 0.2] + 0.1 * RNG.normal(size=400)
    mean, _, noise = regress(known(D), returns, loose)
    alone, residual, *_ = np.linalg.lstsq(D, returns, rcond=None)
    np.testing.assert_allclose(mean, alone, atol=1e-3)
    assert noise == pytest.approx((2.0 * 0.25 + residual[0]) / 402, rel=0.02)


def blurred(n, blur):
    """A design whose factor is known up to an error of that variance, and returns at loading 2."""
    centre = RNG.normal(size=(n, 1)) * (1 - blur) ** 0.5
    factor = centre[:, 0] + blur**0.5 * RNG.normal(size=n)
    design = Design(centre, np.full((n, 1, 1), blur), np.ones(n))
    return design, 2.0 * factor + 0.5 * RNG.normal(size=n)


def test_uncertain_factors_add_noise():
    """The posterior mean against one summed over a grid."""
    design, returns = blurred(60, 0.1)
    prior = Prior(np.ones(1), np.full(1, 4.0), 1e9, 0.25)
    mean, covariance, _ = regress(design, returns, prior)
    grid = np.linspace(0.5, 4.0, 4001)
    scale = np.sqrt(0.25 + grid[:, None] ** 2 * 0.1)
    logs = stats.norm.logpdf(returns, grid[:, None] * design.mean[:, 0], scale).sum(axis=1)
    logs += stats.norm.logpdf(grid, 1.0, 2.0)
    weights = np.exp(logs - logs.max())
    exact = float(weights @ grid / weights.sum())
    deviation = float(np.sqrt(weights @ (grid - exact) ** 2 / weights.sum()))
    assert float(mean[0]) == pytest.approx(exact, abs=0.5 * deviation)
    assert float(covariance[0, 0]) ** 0.5 == pytest.approx(deviation, rel=0.2)


def test_uncertain_factors_do_not_shrink_loadings_and_their_noise_is_not_the_assets():
    design, returns = blurred(6000, 0.5)
    mean, _, noise = regress(design, returns, Prior(np.zeros(1), np.full(1, 100.0), 2.0, 1.0))
    assert float(mean[0]) == pytest.approx(2.0, abs=0.1)
    assert noise == pytest.approx(0.25, abs=0.15)
    assert np.var(returns - design.mean @ mean) > 2.0


def test_the_noises_prior_has_the_scatter_of_the_assets():
    noises = stats.invgamma(6.0, scale=6.0 * 0.3).rvs(20_000, random_state=1)
    df, centre = noise_prior(noises)
    assert df == pytest.approx(12.0, rel=0.05)
    assert centre == pytest.approx(0.3, rel=0.03)
    assert noise_prior(np.full(5, 0.4))[1] == pytest.approx(0.4, rel=1e-3)


def test_the_prior_of_a_group_is_its_mean_and_the_scatter_within_groups():
    """T² pooled over groups, with the error T²/n of the mean of n assets beside it."""
    rng, deviation = np.random.default_rng(2), np.array([0.3, 0.7])
    members = np.repeat(np.eye(400, dtype=bool), 10, axis=1)
    centres = np.repeat(rng.normal(size=(400, 2)), 10, axis=0)
    coefficients = centres + deviation * rng.normal(size=centres.shape)
    prior = prior_of_group(coefficients, np.zeros_like(coefficients), np.ones(4000), members, 3)
    np.testing.assert_allclose(prior.mean, coefficients[30:40].mean(axis=0))
    np.testing.assert_allclose(prior.variance, 1.1 * deviation**2, rtol=0.1)
