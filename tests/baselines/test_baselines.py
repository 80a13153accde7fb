"""Classical baselines against scikit-learn, SciPy, their own optimality and the known figures."""

import functools

import numpy as np
import pytest
from gaussian import fit_gaussian
from scipy import stats
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA, FactorAnalysis

from jaxvae.analysis import second_moments
from jaxvae.analysis.matching import Compared, match, mcc, subspace_r2
from jaxvae.analysis.metrics import r2
from jaxvae.baselines import (
    Elliptical,
    Law,
    best_factors,
    explained_variance_ratio,
    fit_ewma_t,
    fit_factor_analysis,
    fit_factor_analysis_sizes,
    fit_independent,
    fit_ledoit_wolf,
    fit_multivariate_t,
    fit_multivariate_t_shrunk,
    fit_pca,
    fit_pca_sizes,
    multivariate_t_shrunk,
)
from jaxvae.baselines.multivariate_t import fit_t_from
from jaxvae.baselines.multivariate_t_shrunk import SHRINKAGES
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
    return baseline.log_likelihood(values).mean()


def test_gaussian_density_is_scipys(small):
    fit, test = small
    baseline = fit_gaussian(fit)
    oracle = stats.multivariate_normal(fit.mean(0), np.cov(fit.T, bias=True)).logpdf(test)
    np.testing.assert_allclose(baseline.log_likelihood(test), oracle, rtol=1e-10)


def test_student_density_is_scipys(small):
    fit, test = small
    baseline = fit_gaussian(fit)._replace(df=4.5)
    oracle = stats.multivariate_t(baseline.mean, baseline.scatter, df=4.5).logpdf(test)
    np.testing.assert_allclose(baseline.log_likelihood(test), oracle, rtol=1e-10)


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
    np.testing.assert_allclose(fit_pca(fit, 2).log_likelihood(test), oracle, rtol=1e-9)


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
    np.testing.assert_allclose(baseline.reconstruct(test), expected, atol=1e-10)
    factors = baseline.factors(fit)
    np.testing.assert_allclose(np.cov(factors.T, bias=True), np.eye(2), atol=1e-10)


def test_factor_analysis_is_sklearns(small):
    fit, test = small
    baseline = fit_factor_analysis(fit, 2)
    oracle = FactorAnalysis(2, svd_method="lapack", tol=1e-11, max_iter=50_000).fit(fit)
    assert score(baseline, test) == pytest.approx(oracle.score(test), abs=1e-5)
    np.testing.assert_allclose(baseline.covariance, oracle.get_covariance(), atol=1e-4)
    factors = baseline.factors(test)
    signs = np.sign((factors * oracle.transform(test)).sum(0))
    np.testing.assert_allclose(factors, signs * oracle.transform(test), atol=5e-3)


def test_factor_analysis_leaves_no_gradient_in_the_noise(small):
    """At the maximum diag(Σ⁻¹ (Σ − S) Σ⁻¹) = 0 (Jöreskog 1967)."""
    fit, _ = small
    precision = np.linalg.inv(fit_factor_analysis(fit, 2).covariance)
    gradient = np.diag(precision - precision @ np.cov(fit.T, bias=True) @ precision)
    assert np.abs(gradient).max() < 1e-5


@pytest.mark.parametrize("shape", [(60, 90), (90, 60)], ids=["fewer dates", "fewer assets"])
def test_factor_analysis_is_sklearns_whichever_side_is_longer(shape):
    """The small side's moments stand for the other's: likelihood and noise are the same maximum."""
    rng = np.random.default_rng(8)
    values = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1]))
    values += rng.uniform(0.5, 1.5, shape[1]) * rng.normal(size=shape)
    baseline = fit_factor_analysis(values, 3)
    oracle = FactorAnalysis(3, svd_method="lapack", tol=1e-9, max_iter=50_000).fit(values)
    assert score(baseline, values) == pytest.approx(oracle.score(values), abs=1e-5)
    assert score(baseline, values) >= oracle.score(values) - 1e-9
    np.testing.assert_allclose(baseline.covariance, oracle.get_covariance(), atol=2e-3)


def test_factor_analysis_of_a_wide_panel_costs_what_its_dates_do(monkeypatch):
    """A few decompositions of date × date matrices."""
    sizes, inner = [], second_moments.eigh

    def eigh(matrix, **options):
        sizes.append(len(matrix))
        return inner(matrix, **options)

    monkeypatch.setattr(second_moments, "eigh", eigh)
    rng = np.random.default_rng(9)
    values = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 300)) + rng.normal(size=(60, 300))
    fit_factor_analysis(values, 5)
    assert set(sizes) == {60}
    assert len(sizes) < 60


def test_a_factor_that_nothing_needs_has_no_loadings():
    """Noise of one variance, where no eigenvalue of the scaled moments exceeds 1 but by chance."""
    values = np.vstack([np.eye(6), -np.eye(6)])
    baseline = fit_factor_analysis(values, 2)
    np.testing.assert_allclose(baseline.loadings, 0, atol=1e-3)
    np.testing.assert_allclose(baseline.covariance, np.eye(6) / 6, atol=1e-6)


@pytest.mark.parametrize("fit_function", [fit_pca, fit_factor_analysis])
def test_without_factors_assets_are_independent(small, fit_function):
    fit, test = small
    baseline = fit_function(fit, 0)
    assert baseline.n_factors == 0
    off_diagonal = baseline.covariance - np.diag(np.diag(baseline.covariance))
    assert not off_diagonal.any()
    means = np.broadcast_to(fit.mean(0), test.shape)
    np.testing.assert_array_equal(baseline.reconstruct(test), means)


@pytest.mark.parametrize("fit_function", [fit_pca, fit_factor_analysis])
def test_noiseless_data_keeps_a_finite_density(fit_function):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 6))
    assert np.isfinite(fit_function(values, 3).log_likelihood(values)).all()


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
        assert np.isfinite(baseline.log_likelihood(values)).all()


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
    assert baseline.df == pytest.approx(5, rel=0.12)  # 4 standard errors
    np.testing.assert_allclose(baseline.mean, mean, atol=0.2)
    np.testing.assert_allclose(baseline.scatter, scatter, atol=0.08 * scatter.max())
    ratio = baseline.df / (baseline.df - 2)
    np.testing.assert_allclose(baseline.covariance, ratio * baseline.scatter)


def test_multivariate_t_stands_at_a_maximum(student):
    """Small moves of ν, mean or scale, each alone and all at once, lower the likelihood."""
    values, _, _ = student
    baseline = fit_multivariate_t(values)
    best = score(baseline, values)
    rng = np.random.default_rng(5)
    for step in (-0.02, 0.02):
        freedom = baseline.df * (1 + step)
        shift = baseline.mean + step * rng.normal(size=5)
        bent = baseline.scatter * (1 + step)
        tilted = baseline.scatter + step * np.eye(5)
        assert score(baseline._replace(df=freedom), values) < best
        assert score(baseline._replace(mean=shift), values) < best
        assert score(baseline._replace(form=bent), values) < best
        assert score(baseline._replace(form=tilted), values) < best
        moved = baseline._replace(mean=shift, form=bent, df=freedom)
        assert score(moved, values) < best


def test_a_shrunk_scale_matrix_is_a_fixed_point_of_its_round(student):
    values, _, _ = student
    law = fit_multivariate_t_shrunk(values, 3000, (0.1,))
    centred = values - law.mean
    distances = (centred @ np.linalg.inv(law.scatter) * centred).sum(axis=1)
    weights = (law.df + 5) / (law.df + distances)
    scatter = (weights[:, None] * centred).T @ centred / weights.sum()
    expected = 0.9 * scatter + 0.1 * np.trace(scatter) / 5 * np.eye(5)
    np.testing.assert_allclose(law.scatter, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(law.mean, np.average(values, axis=0, weights=weights), atol=1e-4)


def test_the_share_is_chosen_on_validation_and_the_law_fitted_on_all(student):
    values = student[0][:60]
    shares = (0.01, 0.1, 0.5)
    train = [fit_multivariate_t_shrunk(values[:40], 40 - 1, (share,)) for share in shares]
    best = shares[int(np.argmax([score(law, values[40:]) for law in train]))]
    found = fit_multivariate_t_shrunk(values, 40, shares)
    expected = fit_multivariate_t_shrunk(values, 40, (best,))
    np.testing.assert_allclose(found.scatter, expected.scatter, rtol=1e-3)


@pytest.mark.slow
def test_a_shrunk_scale_matrix_needs_no_more_dates_than_assets():
    values = np.random.default_rng(10).standard_t(5, size=(30, 40))
    law = fit_multivariate_t_shrunk(values, 24)
    assert np.isfinite(law.log_likelihood(values)).all()
    gaps = np.where(np.random.default_rng(11).random(values.shape) < 0.05, np.nan, values)
    assert np.isfinite(fit_multivariate_t_shrunk(gaps, 24).log_likelihood(gaps)).all()


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
    assert np.isfinite(baseline.df) == student
    best = score(baseline, values)
    moves = [baseline._replace(mean=baseline.mean + step) for step in (-0.02, 0.02)]
    if noise != "fixed":
        scatters = [step * baseline.scatter for step in (0.98, 1.02)]
        moves += [baseline._replace(form=scatter) for scatter in scatters]
    if student:
        moves.append(baseline._replace(df=1.05 * baseline.df))
    assert all(score(moved, values) < best for moved in moves)


def test_multivariate_t_becomes_gaussian_on_gaussian_tails():
    """Tails lighter than a Gaussian's send ν to its upper end, where the densities agree."""
    values = np.random.default_rng(6).uniform(-1, 1, size=(500, 4))
    baseline = fit_multivariate_t(values)
    assert baseline.df == 1e6
    assert score(baseline, values) == pytest.approx(score(fit_gaussian(values), values), abs=1e-4)


def test_covariance_of_very_heavy_tails_does_not_exist(small):
    baseline = fit_gaussian(small[0])._replace(df=1.5)
    assert np.isnan(baseline.covariance).all()


def test_number_of_factors_is_the_likeliest_on_validation(small):
    fit, test = small
    for fit_sizes, fit_one in (
        (fit_factor_analysis_sizes, fit_factor_analysis),
        (fit_pca_sizes, fit_pca),
    ):
        expected = [score(fit_one(fit, k), test) for k in (1, 2, 3, 5)]
        scores = [score(law, test) for law in fit_sizes(fit, (1, 2, 3, 5))]
        np.testing.assert_allclose(scores, expected)
        for most in (1, 2, 3):
            chosen = best_factors(fit_sizes, fit, test, most)
            assert chosen == 1 + int(np.argmax(expected[:most]))
    assert best_factors(fit_factor_analysis_sizes, fit, test) == 2


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
    error = ((test - pca.reconstruct(test)) ** 2).sum()
    assert r2(error, test, pca.mean) == pytest.approx(0.706, abs=5e-4)


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
    learned, later = baseline.factors(fit), baseline.factors(test)
    assert score(baseline, test) == pytest.approx(likelihood, abs=0.05)
    assert subspace_r2(Compared(later, unseen, later, unseen)) == pytest.approx(subspace, abs=4e-3)
    assert subspace - 0.015 < subspace_r2(Compared(learned, known, later, unseen)) < subspace
    if explained is not None:
        error = ((test - baseline.reconstruct(test)) ** 2).sum()
        assert r2(error, test, baseline.mean) == pytest.approx(explained, abs=1e-3)
        in_sample = match(later, unseen).correlations.mean()
        assert in_sample == pytest.approx(matched, abs=1e-3)
        assert matched - 0.015 < mcc(match(learned, known), later, unseen) <= in_sample + 1e-12


@pytest.mark.parametrize(
    ("load", "expected"), [(load_sp500, -17.69), (load_french, -22.39)], ids=["sp500", "french"]
)
def test_real_panel_figures(load, expected):
    fit, test = parts(load().values)
    assert score(fit_multivariate_t(fit), test) == pytest.approx(expected, abs=0.01)


def test_real_panel_figures_of_the_shrunk_t():
    """At 2 %, and where validation chooses the share itself."""
    panel = load_french()
    n_train = split_dates(panel.n_dates).train.stop
    fit, test = parts(panel.values)
    for shares in ((0.02,), SHRINKAGES):
        law = fit_multivariate_t_shrunk(fit, n_train, shares)
        assert score(law, test) == pytest.approx(-22.17, abs=0.005)


def test_real_panel_covariance_figures():
    fit, test = parts(load_french().values)
    assert score(fit_ledoit_wolf(fit), test) == pytest.approx(-30.08, abs=0.01)
    assert score(fit_factor_analysis(fit, 3), test) == pytest.approx(-32.75, abs=0.01)


def test_a_shrunk_t_of_few_dates_is_the_one_of_all_assets():
    """Worked out in what the dates span, or in all directions."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 60)) + rng.standard_t(4, size=(40, 60))
    start = Elliptical.without_factors(values.mean(axis=0), np.cov(values.T, bias=True))
    shrink = functools.partial(multivariate_t_shrunk._shrink, 0.3, 60)
    first = start._replace(form=shrink(start.scatter))
    whole = fit_t_from(first, values, shrink)
    span = multivariate_t_shrunk._fit(values, 0.3, start)
    assert span.df == pytest.approx(whole.df)
    np.testing.assert_allclose(span.scatter, whole.scatter, atol=1e-8)
    np.testing.assert_allclose(span.mean, whole.mean, atol=1e-8)


def test_covariances_of_each_date_are_refused_for_many_assets():
    with pytest.raises(DataError, match="501 assets are too many for a covariance of each date"):
        fit_ewma_t(np.zeros((20, 501)), 10)


def test_a_law_says_how_likely_returns_are():
    class Forgetful(Law):
        """A law that leaves its likelihood out."""

    with pytest.raises(TypeError, match="log_likelihood"):
        Forgetful()
