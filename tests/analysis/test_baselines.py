"""Classical baselines against scikit-learn, SciPy, their own optimality and the known figures."""

import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA, FactorAnalysis

from jaxvae.analysis import baselines
from jaxvae.analysis.baselines import (
    choose_n_factors,
    explained_variance_ratio,
    fit_factor_analysis,
    fit_gaussian,
    fit_independent,
    fit_ledoit_wolf,
    fit_multivariate_t,
    fit_pca,
    log_likelihood,
    reconstruct,
)
from jaxvae.analysis.matching import match, mcc, subspace_r2
from jaxvae.analysis.metrics import r2
from jaxvae.data.named import load_french, load_sp500
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.errors import DataError, OptionError


def parts(values):
    """The fit and test rows, standardised on the fit rows."""
    split = split_dates(len(values))
    scaled = fit_scaler(values[split.fit]).standardise(values)
    return scaled[split.fit], scaled[split.test]


@pytest.fixture(scope="module")
def linear():
    panel, truth = linear_panel(seed=42)
    return *parts(panel.values), truth


@pytest.fixture(scope="module")
def nonlinear():
    panel, truth = nonlinear_panel(seed=42)
    return *parts(panel.values), truth


@pytest.fixture(scope="module")
def small():
    """300 fit and 200 test rows of 8 assets with 2 factors and unequal noise, none of it slight."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(8, 2))
    noise = np.linspace(0.7, 1.5, 8)
    values = rng.normal(size=(500, 2)) @ loadings.T + noise * rng.normal(size=(500, 8)) + 0.5
    return values[:300], values[300:]


def score(baseline, values):
    return log_likelihood(baseline, values).mean()


def test_gaussian_density_is_scipys(small):
    fit, test = small
    baseline = fit_gaussian(fit)
    oracle = stats.multivariate_normal(fit.mean(0), np.cov(fit.T, bias=True)).logpdf(test)
    np.testing.assert_allclose(log_likelihood(baseline, test), oracle, rtol=1e-10)


def test_student_density_is_scipys(small):
    fit, test = small
    baseline = fit_gaussian(fit)._replace(degrees_of_freedom=4.5)
    oracle = stats.multivariate_t(baseline.mean, baseline.scatter, df=4.5).logpdf(test)
    np.testing.assert_allclose(log_likelihood(baseline, test), oracle, rtol=1e-10)


def test_ledoit_wolf_is_sklearns(small):
    fit, _ = small
    baseline = fit_ledoit_wolf(fit)
    np.testing.assert_allclose(baseline.covariance, LedoitWolf().fit(fit).covariance_)
    assert baseline.n_factors == 0


def test_pca_likelihood_is_sklearns_with_its_divisor(small):
    """PCA.score divides by n − 1: rows stretched by √((n−1)/n) give it our covariance."""
    fit, test = small
    n = len(fit)
    stretched = fit.mean(0) + (fit - fit.mean(0)) * np.sqrt((n - 1) / n)
    oracle = PCA(2, svd_solver="full").fit(stretched).score_samples(test)
    np.testing.assert_allclose(log_likelihood(fit_pca(fit, 2), test), oracle, rtol=1e-9)


def test_pca_likelihood_is_the_closed_form_in_sample(small):
    """−½ [D ln 2π + Σ_{j≤K} ln λ_j + (D−K) ln σ² + D] (Tipping and Bishop 1999)."""
    fit, _ = small
    eigenvalues = np.linalg.eigvalsh(np.cov(fit.T, bias=True))[::-1]
    log_determinant = np.log(eigenvalues[:3]).sum() + 5 * np.log(eigenvalues[3:].mean())
    expected = -0.5 * (8 * np.log(2 * np.pi) + log_determinant + 8)
    assert score(fit_pca(fit, 3), fit) == pytest.approx(expected, rel=1e-12)


def test_pca_reconstructs_by_projection_and_factors_have_unit_variance(small):
    fit, test = small
    baseline = fit_pca(fit, 2)
    oracle = PCA(2, svd_solver="full").fit(fit)
    expected = oracle.inverse_transform(oracle.transform(test))
    np.testing.assert_allclose(reconstruct(baseline, test), expected, atol=1e-10)
    factors = baselines.factors(baseline, fit)
    np.testing.assert_allclose(np.cov(factors.T, bias=True), np.eye(2), atol=1e-10)


def test_factor_analysis_is_sklearns(small):
    fit, test = small
    baseline = fit_factor_analysis(fit, 2)
    oracle = FactorAnalysis(2, svd_method="lapack", tol=1e-8, max_iter=5000).fit(fit)
    assert score(baseline, test) == pytest.approx(oracle.score(test), abs=1e-4)
    np.testing.assert_allclose(baseline.covariance, oracle.get_covariance(), atol=1e-3)
    factors = baselines.factors(baseline, test)
    signs = np.sign((factors * oracle.transform(test)).sum(0))
    np.testing.assert_allclose(factors, signs * oracle.transform(test), atol=5e-3)


def test_factor_analysis_leaves_no_gradient_in_the_noise(small):
    """At the maximum diag(Σ⁻¹ (Σ − S) Σ⁻¹) = 0 (Jöreskog 1967)."""
    fit, _ = small
    precision = np.linalg.inv(fit_factor_analysis(fit, 2).covariance)
    gradient = np.diag(precision - precision @ np.cov(fit.T, bias=True) @ precision)
    assert np.abs(gradient).max() < 2e-3


@pytest.mark.parametrize("fit_function", [fit_pca, fit_factor_analysis])
def test_without_factors_assets_are_independent(small, fit_function):
    fit, test = small
    baseline = fit_function(fit, 0)
    assert baseline.n_factors == 0
    off_diagonal = baseline.covariance - np.diag(np.diag(baseline.covariance))
    assert not off_diagonal.any()
    means = np.broadcast_to(fit.mean(0), test.shape)
    np.testing.assert_array_equal(reconstruct(baseline, test), means)


@pytest.mark.parametrize("fit_function", [fit_pca, fit_factor_analysis])
def test_noiseless_data_keeps_a_finite_density(fit_function):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 6))
    assert np.isfinite(log_likelihood(fit_function(values, 3), values)).all()


@pytest.mark.parametrize("fit_function", [fit_pca, fit_factor_analysis])
@pytest.mark.parametrize("n_factors", [-1, 8])
def test_refuses_an_impossible_number_of_factors(small, fit_function, n_factors):
    with pytest.raises(OptionError, match="8 assets must lie between 0 and 7"):
        fit_function(small[0], n_factors)


@pytest.mark.parametrize("fit_function", [fit_gaussian, fit_multivariate_t])
def test_refuses_a_covariance_without_inverse(small, fit_function):
    fit, _ = small
    with pytest.raises(DataError, match="give at least 10"):
        fit_function(fit[:9])
    with pytest.raises(DataError, match="9 assets is singular"):
        fit_function(np.column_stack([fit, fit[:, 0] + fit[:, 1]]))


def test_more_assets_than_dates_still_fit():
    values = np.random.default_rng(2).normal(size=(20, 40))
    for baseline in (fit_pca(values, 3), fit_factor_analysis(values, 3), fit_ledoit_wolf(values)):
        assert np.isfinite(log_likelihood(baseline, values)).all()


@pytest.fixture(scope="module")
def student():
    """4,000 draws of a 5-variate t with ν = 5, its mean and its scale matrix."""
    rng = np.random.default_rng(3)
    root = rng.normal(size=(5, 5))
    mean, scatter = rng.normal(size=5), root @ root.T + np.eye(5)
    return stats.multivariate_t(mean, scatter, df=5).rvs(4000, random_state=4), mean, scatter


def test_multivariate_t_recovers_what_was_planted(student):
    values, mean, scatter = student
    baseline = fit_multivariate_t(values)
    assert baseline.degrees_of_freedom == pytest.approx(5, rel=0.12)  # 4 standard errors
    np.testing.assert_allclose(baseline.mean, mean, atol=0.2)
    np.testing.assert_allclose(baseline.scatter, scatter, atol=0.08 * scatter.max())
    ratio = baseline.degrees_of_freedom / (baseline.degrees_of_freedom - 2)
    np.testing.assert_allclose(baseline.covariance, ratio * baseline.scatter)


def test_multivariate_t_stands_at_a_maximum(student):
    """Small moves of ν, mean or scale, each alone and all at once, lower the likelihood."""
    values, _, _ = student
    baseline = fit_multivariate_t(values)
    best = score(baseline, values)
    rng = np.random.default_rng(5)
    for step in (-0.02, 0.02):
        freedom = baseline.degrees_of_freedom * (1 + step)
        shift = baseline.mean + step * rng.normal(size=5)
        bent = baseline.scatter * (1 + step)
        tilted = baseline.scatter + step * np.eye(5)
        assert score(baseline._replace(degrees_of_freedom=freedom), values) < best
        assert score(baseline._replace(mean=shift), values) < best
        assert score(baseline._replace(scatter=bent), values) < best
        assert score(baseline._replace(scatter=tilted), values) < best
        moved = baseline._replace(mean=shift, scatter=bent, degrees_of_freedom=freedom)
        assert score(moved, values) < best


def test_independent_gaussian_noise_is_factor_analysis_without_factors(linear):
    fit, test, _ = linear
    expected = score(fit_factor_analysis(fit, 0), test)
    assert score(fit_independent(fit, "asset", 0.5, student=False), test) == pytest.approx(expected)


@pytest.mark.parametrize("noise", ["asset", "scalar", "fixed"])
@pytest.mark.parametrize("student", [True, False])
def test_independent_noise_of_every_kind_stands_at_its_maximum(student, noise):
    """Small moves that the kind allows lower the likelihood; what is fixed is as given."""
    rng = np.random.default_rng(7)
    mixing = np.sqrt(5 / rng.chisquare(5, size=(3000, 1)))
    values = 1 + mixing * rng.normal(size=(3000, 4)) * [0.5, 1.0, 1.0, 2.0]
    baseline = fit_independent(values, noise, 0.7, student)
    variances = np.diag(baseline.scatter)
    np.testing.assert_array_equal(baseline.scatter, np.diag(variances))
    assert (noise == "fixed") == (set(variances) == {0.7})
    assert (noise == "asset") == (len(set(variances)) > 1)
    assert np.isfinite(baseline.degrees_of_freedom) == student
    best = score(baseline, values)
    moves = [baseline._replace(mean=baseline.mean + step) for step in (-0.02, 0.02)]
    if noise != "fixed":
        moves += [baseline._replace(scatter=step * baseline.scatter) for step in (0.98, 1.02)]
    if student:
        moves.append(baseline._replace(degrees_of_freedom=1.05 * baseline.degrees_of_freedom))
    assert all(score(moved, values) < best for moved in moves)


def test_multivariate_t_becomes_gaussian_on_gaussian_tails():
    """Tails lighter than a Gaussian's send ν to its upper end, where the densities agree."""
    values = np.random.default_rng(6).uniform(-1, 1, size=(500, 4))
    baseline = fit_multivariate_t(values)
    assert baseline.degrees_of_freedom == 1e6
    assert score(baseline, values) == pytest.approx(score(fit_gaussian(values), values), abs=1e-4)


def test_covariance_of_very_heavy_tails_does_not_exist(small):
    baseline = fit_gaussian(small[0])._replace(degrees_of_freedom=1.5)
    assert np.isnan(baseline.covariance).all()


def test_number_of_factors_is_the_likeliest_on_validation(small):
    fit, test = small
    chosen, scores = choose_n_factors(fit_factor_analysis, fit, test, (1, 2, 3, 5))
    expected = [score(fit_factor_analysis(fit, k), test) for k in (1, 2, 3, 5)]
    np.testing.assert_allclose(scores, expected)
    assert chosen == 2


def test_notebook_explained_variance():
    panel, _ = linear_panel(seed=42)
    values = fit_scaler(panel.values).standardise(panel.values)
    ratio = explained_variance_ratio(values)
    np.testing.assert_allclose(ratio, PCA().fit(values).explained_variance_ratio_, atol=1e-12)
    assert ratio.shape == (100,)


def test_linear_panel_figures(linear):
    fit, test, _ = linear
    pca = fit_pca(fit, 5)
    assert score(fit_factor_analysis(fit, 5), test) == pytest.approx(-82.7, abs=0.05)
    assert score(pca, test) == pytest.approx(-90.8, abs=0.05)
    assert r2(test, reconstruct(pca, test), pca.mean) == pytest.approx(0.706, abs=5e-4)


NONLINEAR_FIGURES = {
    "pca 5": (fit_pca, 5, -81.0, 0.767, 0.505, 0.510),
    "factor analysis 5": (fit_factor_analysis, 5, -73.5, 0.761, 0.501, 0.498),
    "factor analysis 10": (fit_factor_analysis, 10, -67.2, None, None, 0.892),
}


@pytest.mark.parametrize("figures", NONLINEAR_FIGURES.values(), ids=NONLINEAR_FIGURES)
def test_nonlinear_panel_figures(nonlinear, figures):
    """The known figures match and regress on the test rows themselves; our scores do not."""
    fit, test, truth = nonlinear
    known, unseen = truth.factors[: len(fit)], truth.factors[len(fit) :]
    fit_function, n_factors, likelihood, explained, matched, subspace = figures
    baseline = fit_function(fit, n_factors)
    learned, later = baselines.factors(baseline, fit), baselines.factors(baseline, test)
    assert score(baseline, test) == pytest.approx(likelihood, abs=0.05)
    assert subspace_r2(later, unseen, later, unseen) == pytest.approx(subspace, abs=4e-3)
    assert subspace - 0.015 < subspace_r2(learned, known, later, unseen) < subspace
    if explained is not None:
        rebuilt = reconstruct(baseline, test)
        assert r2(test, rebuilt, baseline.mean) == pytest.approx(explained, abs=1e-3)
        in_sample = match(later, unseen).correlations.mean()
        assert in_sample == pytest.approx(matched, abs=1e-3)
        assert matched - 0.015 < mcc(match(learned, known), later, unseen) <= in_sample + 1e-12


@pytest.mark.parametrize(
    ("load", "expected"), [(load_sp500, -17.69), (load_french, -22.39)], ids=["sp500", "french"]
)
def test_real_panel_figures(load, expected):
    fit, test = parts(load().values)
    assert score(fit_multivariate_t(fit), test) == pytest.approx(expected, abs=0.01)


def test_real_panel_covariance_figures():
    fit, test = parts(load_french().values)
    assert score(fit_ledoit_wolf(fit), test) == pytest.approx(-30.08, abs=0.01)
    assert score(fit_factor_analysis(fit, 3), test) == pytest.approx(-32.75, abs=0.01)
