"""Densities over observed cells against linear algebra row by row; EM against a climb from it."""

import numpy as np
import pytest
from gaussian import fit_gaussian
from scipy import stats
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf

from jaxvae import baselines
from jaxvae.analysis.incomplete import (
    conditional,
    draw_missing,
    expected_moments,
    factor_conditional,
    log_density,
)
from jaxvae.errors import DataError

N_ASSETS, N_FACTORS = 5, 2
RNG = np.random.default_rng(2)
LOADINGS = RNG.normal(size=(N_ASSETS, N_FACTORS))
NOISE = RNG.uniform(0.3, 0.8, N_ASSETS)
MEAN = RNG.normal(size=N_ASSETS)
SCATTER = LOADINGS @ LOADINGS.T + np.diag(NOISE)
WHOLE = RNG.multivariate_normal(MEAN, SCATTER, size=150)


def with_gaps(values, share=0.3, seed=0):
    """Cells missing at random, a row with none observed, a late listing."""
    gaps = np.random.default_rng(seed).random(values.shape) < share
    gaps[3], gaps[4], gaps[:40, 1] = True, False, True
    return np.where(gaps, np.nan, values)


VALUES = with_gaps(WHOLE)


def by_row(row):
    """Filled row, conditional covariance, distance and ln det of the observed block."""
    seen = np.isfinite(row)
    within, covariance = SCATTER[np.ix_(seen, seen)], np.zeros_like(SCATTER)
    gain = SCATTER[np.ix_(~seen, seen)] @ np.linalg.inv(within)
    offset = (row - MEAN)[seen]
    filled = row.copy()
    filled[~seen] = MEAN[~seen] + gain @ offset
    left = SCATTER[np.ix_(~seen, ~seen)] - gain @ SCATTER[np.ix_(seen, ~seen)]
    covariance[np.ix_(~seen, ~seen)] = left
    distance = offset @ np.linalg.solve(within, offset)
    return filled, covariance, distance, np.linalg.slogdet(within)[1]


@pytest.mark.parametrize(
    "said",
    [conditional(VALUES, MEAN, SCATTER), factor_conditional(VALUES, MEAN, LOADINGS, NOISE)],
    ids=["patterns", "factors"],
)
def test_conditionals_are_those_of_each_row_alone(said):
    filled, covariances, distances, determinants = zip(*map(by_row, VALUES), strict=True)
    np.testing.assert_allclose(said.values, filled, atol=1e-12)
    np.testing.assert_allclose(said.spread, np.sum(covariances, axis=0), atol=1e-11)
    np.testing.assert_allclose(said.distances, distances, atol=1e-11)
    np.testing.assert_allclose(said.log_determinants, determinants, atol=1e-12)
    np.testing.assert_array_equal(said.counts, np.isfinite(VALUES).sum(axis=1))


@pytest.mark.parametrize("freedom", [np.inf, 4.5])
def test_log_densities_are_marginals(freedom):
    found = log_density(conditional(VALUES, MEAN, SCATTER), freedom)
    for score, row in zip(found, VALUES, strict=True):
        o = np.flatnonzero(np.isfinite(row))
        block = SCATTER[np.ix_(o, o)]
        if not len(o):
            assert score == 0
        elif np.isinf(freedom):
            expected = stats.multivariate_normal.logpdf(row[o], MEAN[o], block)
            assert score == pytest.approx(expected, abs=1e-11)
        else:
            expected = stats.multivariate_t.logpdf(row[o], MEAN[o], block, df=freedom)
            assert score == pytest.approx(expected, abs=1e-11)


def test_complete_rows_are_left_alone():
    for said in (
        conditional(WHOLE, MEAN, SCATTER),
        factor_conditional(WHOLE, MEAN, LOADINGS, NOISE),
    ):
        np.testing.assert_array_equal(said.values, WHOLE)
        assert not said.spread.any()
        moments = expected_moments(said)
        np.testing.assert_allclose(moments.covariance, np.cov(WHOLE.T, bias=True), atol=1e-14)


def test_draws_keep_the_covariance_that_means_lose():
    rng = np.random.default_rng(5)
    whole = rng.multivariate_normal(MEAN, SCATTER, size=20_000)
    values = np.where(rng.random(whole.shape) < 0.5, np.nan, whole)
    drawn = np.cov(draw_missing(rng, values, MEAN, SCATTER).T)
    meant = np.cov(conditional(values, MEAN, SCATTER).values.T)
    error = 6 * np.sqrt(2 / len(whole)) * SCATTER.diagonal().max()
    np.testing.assert_allclose(drawn, SCATTER, atol=error)
    assert (np.diag(meant) < 0.9 * np.diag(SCATTER)).all()


def climbed(values, scatter_of, start):
    """The highest mean log-likelihood of the observed cells near a start, a quasi-Newton climb."""

    def cost(parameters):
        mean, scatter, freedom = scatter_of(parameters)
        return -log_density(conditional(values, mean, scatter), freedom).mean()

    return -minimize(cost, start, method="L-BFGS-B", options={"maxiter": 30}).fun


def factor_parameters(model):
    noise = np.diag(model.scatter) - (model.loadings**2).sum(axis=1)
    return np.concatenate([model.mean, model.loadings.ravel(), np.log(noise)])


def factor_density(parameters):
    loadings = parameters[N_ASSETS:-N_ASSETS].reshape(N_ASSETS, -1)
    return (
        parameters[:N_ASSETS],
        loadings @ loadings.T + np.diag(np.exp(parameters[-N_ASSETS:])),
        np.inf,
    )


def test_factor_analysis_by_em_is_the_likeliest():
    model = baselines.fit_factor_analysis(VALUES, 1)
    found = model.log_likelihood(VALUES).mean()
    best = climbed(VALUES, factor_density, factor_parameters(model))
    assert found <= best + 1e-9
    assert best - found < 1e-3
    filled = np.where(np.isnan(VALUES), np.nanmean(VALUES, axis=0), VALUES)
    naive = baselines.fit_factor_analysis(filled, 1)
    assert found > naive.log_likelihood(VALUES).mean() + 0.02


def test_pca_by_em_is_the_likeliest():
    """Of the densities N(m, W Wᵀ + σ² I)."""
    model = baselines.fit_pca(VALUES, 1)
    noise = (np.trace(model.scatter) - (model.loadings**2).sum()) / (N_ASSETS - 1)
    loadings = model.loadings[:, 0] * np.sqrt(1 - noise / (model.loadings**2).sum())
    start = np.concatenate([model.mean, loadings, [np.log(noise)]])

    def density(parameters):
        w = parameters[N_ASSETS:-1]
        scatter = np.outer(w, w) + np.exp(parameters[-1]) * np.eye(N_ASSETS)
        return parameters[:N_ASSETS], scatter, np.inf

    np.testing.assert_allclose(density(start)[1], model.scatter, atol=1e-9)
    found = model.log_likelihood(VALUES).mean()
    assert 0 <= climbed(VALUES, density, start) - found < 1e-3


def full_density(freedom_too):
    def density(parameters):
        root = np.zeros((N_ASSETS, N_ASSETS))
        last = -1 if freedom_too else None
        root[np.tril_indices(N_ASSETS)] = parameters[N_ASSETS:last]
        freedom = np.exp(parameters[-1]) if freedom_too else np.inf
        return parameters[:N_ASSETS], root @ root.T, freedom

    return density


@pytest.mark.parametrize("heavy", [False, True])
def test_full_densities_by_em_are_the_likeliest(heavy):
    """Gaussian and multivariate t (Liu & Rubin 1995)."""
    values = VALUES
    if heavy:
        mixing = np.sqrt(4 / np.random.default_rng(3).chisquare(4, size=(len(WHOLE), 1)))
        values = with_gaps(MEAN + (WHOLE - MEAN) * mixing)
    fit = baselines.fit_multivariate_t if heavy else fit_gaussian
    model = fit(values)
    root = np.linalg.cholesky(model.scatter)[np.tril_indices(N_ASSETS)]
    tail = [np.log(model.df)] if heavy else []
    found = model.log_likelihood(values).mean()
    best = climbed(values, full_density(heavy), np.concatenate([model.mean, root, tail]))
    assert 0 <= best - found < 2e-3
    if heavy:
        assert 2 < model.df < 12


def test_ledoit_wolf_is_a_fixed_point():
    """S = (1 - δ) E[covariance] + δ tr/D I, δ what Ledoit and Wolf give the filled rows."""
    model = baselines.fit_ledoit_wolf(VALUES)
    said = conditional(VALUES, model.mean, model.scatter)
    covariance, share = expected_moments(said).covariance, LedoitWolf().fit(said.values).shrinkage_
    level = np.trace(covariance) / N_ASSETS
    expected = (1 - share) * covariance + share * level * np.eye(N_ASSETS)
    np.testing.assert_allclose(model.scatter, expected, atol=0.01 * level)
    assert share > 0


@pytest.mark.parametrize(
    ("noise", "student"), [("asset", False), ("scalar", False), ("asset", True)]
)
def test_independent_assets_have_the_moments_of_their_cells(noise, student):
    model = baselines.fit_independent(VALUES, noise, 0.5, student)
    squares = (VALUES - model.mean) ** 2
    expected = np.nanmean(squares, axis=0) if noise == "asset" else np.nanmean(squares)
    if not student:
        np.testing.assert_allclose(model.mean, np.nanmean(VALUES, axis=0), atol=1e-9)
        np.testing.assert_allclose(np.diag(model.scatter), expected * np.ones(N_ASSETS), rtol=2e-3)
    assert not np.triu(model.scatter, 1).any()


def test_posterior_means_of_incomplete_dates_are_exact():
    """(I + W_oᵀ Ψ_o⁻¹ W_o)⁻¹ W_oᵀ Ψ_o⁻¹ (x_o - m_o), by filling the date first."""
    precise = LOADINGS / NOISE[:, None]
    projection = precise @ np.linalg.inv(np.eye(N_FACTORS) + LOADINGS.T @ precise)
    model = baselines.Elliptical(MEAN, SCATTER, LOADINGS, projection)
    for found, row in zip(model.factors(VALUES), VALUES, strict=True):
        o = np.isfinite(row)
        weighted = precise[o]
        precision = np.eye(N_FACTORS) + weighted.T @ LOADINGS[o]
        expected = np.linalg.solve(precision, weighted.T @ (row - MEAN)[o])
        np.testing.assert_allclose(found, expected, atol=1e-11)


def test_a_covariance_without_inverse_is_one_line():
    few = np.where(np.arange(5) == 2, np.nan, WHOLE)[:6]
    few[5] = WHOLE[5]
    with pytest.raises(DataError, match="6 dates are too few for a full covariance"):
        fit_gaussian(few)
