"""The plugs for skfolio do as its own covariances and its vine copula do, and are right."""

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, truncnorm
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks
from small import returns

from jaxvae.errors import MissingExtraError
from jaxvae.integrations.sklearn import VAEFactors

pytest.importorskip("skfolio")

from skfolio import RiskMeasure
from skfolio.model_selection import WalkForward, cross_val_predict
from skfolio.optimization import MeanRisk
from skfolio.prior import EmpiricalPrior, SyntheticData

from jaxvae.integrations.skfolio import VAECovariance, VAEDistribution

pytestmark = pytest.mark.slow

NAMES = [*"ABCDEF"]
X = pd.DataFrame(0.01 * returns(1, 120) + 0.002, columns=NAMES)
LINEAR = {"n_components": 2, "model": "linear", "epochs": 150}
N = 2000


@parametrize_with_checks([VAECovariance(), VAEDistribution(2, model="linear")])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def covariance():
    return VAECovariance(**LINEAR, beta=(0.5, 4.0)).fit(X)


@pytest.fixture(scope="module")
def distribution():
    return VAEDistribution(**LINEAR).fit(X)


@pytest.fixture(scope="module")
def mixed():
    return VAEDistribution(**LINEAR, beta=(0.5, 8.0)).fit(X)


def law_of(estimator):
    """Mean and covariance of each VAE of a linear mixture."""
    return [(member.mean_, member.get_covariance()) for member in estimator.members_]


def given_law(mean, covariance, columns, values):
    """Mean and covariance of all assets, given some, of a normal law."""
    gain = covariance[:, columns] @ np.linalg.inv(covariance[np.ix_(columns, columns)])
    return mean + gain @ (values - mean[columns]), covariance - gain @ covariance[columns]


def close(draws, mean, covariance):
    """Within five standard errors, of the mean and of the covariance."""
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    assert (np.abs(draws.mean(axis=0) - mean) <= 5 * spread / len(draws) ** 0.5 + 1e-9).all()
    error = np.abs(np.cov(draws.T) - covariance) / np.maximum(np.outer(spread, spread), 1e-12)
    assert error.max() < 5 * (2 / len(draws)) ** 0.5


def test_the_covariance_is_that_of_the_fitted_vae():
    found = VAECovariance(**LINEAR, random_state=3).fit(X)
    alone = VAEFactors(**LINEAR, random_state=3).fit(X)
    np.testing.assert_allclose(found.covariance_, alone.get_covariance(), rtol=1e-12)
    np.testing.assert_allclose(found.location_, alone.mean_, rtol=1e-12)
    assert [*found.feature_names_in_] == NAMES


def test_several_betas_make_an_equal_mixture(covariance):
    (first, one), (second, other) = law_of(covariance)
    gap = first - second
    expected = (one + other) / 2 + np.outer(gap, gap) / 4
    np.testing.assert_allclose(covariance.covariance_, expected, rtol=1e-9, atol=1e-12)
    assert np.abs(one - other).max() > 0.1 * np.abs(one).max()


def test_seeds_are_numbered_from_random_state_and_share_what_was_chosen():
    found = VAECovariance(seeds=2, random_state=5, epochs=20).fit(X)
    members = found.members_
    assert [member.random_state for member in members] == [5, 6]
    assert len({(m.config_.model, m.config_.n_factors) for m in members}) == 1
    assert members[1].n_components == members[0].n_components_


def test_it_scores_as_skfolios_covariances_do(covariance):
    law = multivariate_normal(covariance.location_, covariance.covariance_)
    assert covariance.score(X) == pytest.approx(law.logpdf(X).mean(), rel=1e-9)
    assert covariance.mahalanobis(X).mean() == pytest.approx(6, rel=0.3)


def test_gaps_are_taken():
    gaps = X.mask(np.random.default_rng(2).uniform(size=X.shape) < 0.1)
    found = VAECovariance(**LINEAR).fit(gaps).covariance_
    whole = VAECovariance(**LINEAR).fit(X).covariance_
    assert 0 < np.abs(found - whole).max() < 0.3 * whole.max()
    distribution = VAEDistribution(**LINEAR).fit(gaps)
    assert np.isfinite(distribution.score_samples(gaps)).all()


@pytest.mark.parametrize(
    "prior",
    [
        EmpiricalPrior(covariance_estimator=VAECovariance(**LINEAR, beta=(0.5, 4.0))),
        SyntheticData(VAEDistribution(**LINEAR), n_samples=500),
    ],
    ids=["covariance", "synthetic"],
)
def test_walk_forward_compiles_in_its_first_window_alone(prior, compilations):
    cv = WalkForward(train_size=80, test_size=10)
    model = MeanRisk(risk_measure=RiskMeasure.CVAR, prior_estimator=prior)
    cross_val_predict(model, X.iloc[:90], cv=cv)
    before = compilations()
    walked = cross_val_predict(model, X, cv=cv)
    assert compilations() == before
    assert len(walked) == 4
    assert len({portfolio.weights.tobytes() for portfolio in walked}) == 4


def test_the_least_variance_is_that_of_the_covariance(covariance):
    prior = EmpiricalPrior(covariance_estimator=clone(covariance))
    model = MeanRisk(prior_estimator=prior, min_weights=-5, max_weights=5).fit(X)
    weights = np.linalg.solve(covariance.covariance_, np.ones(6))
    np.testing.assert_allclose(model.weights_, weights / weights.sum(), atol=1e-3)


def test_samples_have_the_members_law_and_move_on_as_random_state_says(distribution):
    ((mean, covariance),) = law_of(distribution)
    close(distribution.sample(20_000), mean, covariance)
    np.testing.assert_array_equal(distribution.sample(5), distribution.sample(5))
    moving = VAEDistribution(**LINEAR, random_state=np.random.RandomState(0)).fit(X)
    assert (moving.sample(5) != moving.sample(5)).all()
    assert distribution.sample().shape == (1, 6)


def test_the_vaes_of_a_mixture_take_turns_and_do_not_follow_each_other(mixed):
    draws = mixed.sample(20_000)
    for one, law in zip((draws[::2], draws[1::2]), law_of(mixed), strict=True):
        close(one, *law)
    assert abs(np.corrcoef(draws[::2, 0], draws[1::2, 0])[0, 1]) < 0.05


def test_likelihoods_are_the_mixtures(distribution, mixed):
    densities = [multivariate_normal(*law).pdf(X) for law in law_of(mixed)]
    np.testing.assert_allclose(mixed.score_samples(X), np.log(np.mean(densities, 0)), rtol=1e-4)
    assert mixed.score(X) == pytest.approx(mixed.score_samples(X).sum())
    # 6 × 2 loadings, 6 means and 6 variances.
    assert distribution.n_params == 24
    assert mixed.n_params == 48
    assert distribution.aic(X) == pytest.approx(48 - 2 * distribution.score(X))
    assert mixed.fitted_repr == "2 × linear, 2 factors"


def test_a_return_that_is_given_moves_the_others(distribution):
    ((mean, covariance),) = law_of(distribution)
    draws = distribution.sample(N, conditioning={"B": -0.05})
    assert (draws[:, 1] == -0.05).all()
    close(draws, *given_law(mean, covariance, [1], [-0.05]))
    np.testing.assert_array_equal(draws, distribution.sample(N, conditioning={1: -0.05}))


def test_an_array_gives_each_draw_its_own_return(distribution):
    ((mean, covariance),) = law_of(distribution)
    values = np.linspace(-0.05, 0.05, N)
    draws = distribution.sample(N, conditioning={"B": values, "E": 0.01})
    np.testing.assert_array_equal(draws[:, 1], values)
    assert (draws[:, 4] == 0.01).all()
    laws = [given_law(mean, covariance, [1, 4], [value, 0.01]) for value in values]
    close(draws - [law[0] for law in laws], np.zeros(6), laws[0][1])


def test_bounds_cut_the_law(distribution):
    ((mean, covariance),) = law_of(distribution)
    spread = covariance[1, 1] ** 0.5
    draws = distribution.sample(N, conditioning={"B": (-0.05, -0.03)})
    assert (draws[:, 1] >= -0.05).all()
    assert (draws[:, 1] <= -0.03).all()
    cut = truncnorm(*((np.array([-0.05, -0.03]) - mean[1]) / spread), mean[1], spread)
    assert draws[:, 1].mean() == pytest.approx(cut.mean(), abs=5 * cut.std() / N**0.5)
    assert draws[:, 1].std() == pytest.approx(cut.std(), rel=0.1)
    expected = given_law(mean, covariance, [1], [cut.mean()])[0]
    assert (np.abs(draws.mean(axis=0) - expected) < 5 * draws.std(axis=0) / N**0.5).all()


def test_bounds_of_several_assets_hold_jointly(distribution):
    ((mean, covariance),) = law_of(distribution)
    free = multivariate_normal(mean, covariance).rvs(1_000_000, np.random.default_rng(0))
    within = free[(free[:, 0] < -0.005) & (free[:, 2] > 0.0) & (free[:, 2] < 0.02)]
    draws = distribution.sample(N, conditioning={"A": (None, -0.005), "C": (0.0, 0.02)})
    errors = np.abs(draws.mean(axis=0) - within.mean(axis=0)) / within.std(axis=0)
    assert errors.max() < 5 / N**0.5
    np.testing.assert_allclose(np.corrcoef(draws.T), np.corrcoef(within.T), atol=0.12)


def test_each_vae_of_a_mixture_counts_by_how_likely_it_finds_what_is_given(mixed):
    laws, value = law_of(mixed), np.array([-0.06])
    weights = [multivariate_normal(m[1], c[1, 1]).pdf(value[0]) for m, c in laws]
    means = [given_law(mean, covariance, [1], value)[0] for mean, covariance in laws]
    draws = mixed.sample(N, conditioning={"B": -0.06})
    expected = np.average(means, axis=0, weights=weights)
    errors = np.abs(draws.mean(axis=0) - expected)
    assert (errors <= 5 * draws.std(axis=0) / N**0.5 + 1e-9).all()
    equally = np.abs(draws.mean(axis=0) - np.mean(means, axis=0))
    assert (equally > 5 * draws.std(axis=0) / N**0.5 + 1e-9).any()


def test_heavy_tails_are_cut_as_they_are():
    student = VAEDistribution(2, model="student", epochs=60).fit(X)
    free = student.sample(400_000)
    within = free[free[:, 1] < -0.02]
    draws = student.sample(N, conditioning={"B": (None, -0.02)})
    errors = np.abs(draws.mean(axis=0) - within.mean(axis=0)) / within.std(axis=0)
    assert errors.max() < 6 / N**0.5


def test_what_lies_far_out_is_warned_of(distribution):
    with pytest.warns(UserWarning, match="conditioning: few draws fit"):
        distribution.sample(N, conditioning={"B": (1.0, None)})


@pytest.mark.parametrize(
    ("conditioning", "words"),
    [
        ([1], r"\[1\] is no dict of returns"),
        ({"Z": 0.1}, "'Z' is not an asset of X"),
        ({6: 0.1}, "6 is not an asset of X"),
        ({"A": 0.1, 0: 0.1}, r"\['A', 0\] names an asset twice"),
        (dict.fromkeys("ABCDEF", 0.0), "every asset is given"),
        ({"A": (0.1,)}, r"A=\(0.1,\) is no pair of bounds"),
        ({"A": (0.1, -0.1)}, "the first bound must be below the second"),
        ({"A": (0.1, np.nan)}, "is no return, pair of bounds or array"),
        ({"A": "low"}, "A='low' is no return, pair of bounds or array"),
        ({"A": np.inf}, "A=inf is not finite"),
        ({"A": [0.1, 0.2]}, r"A has returns of shape \(2,\); one for each of the 3 samples"),
        ({"A": [0.1, None, 0.2]}, "A=None is no return"),
    ],
)
def test_a_condition_at_fault_is_named(distribution, conditioning, words):
    with pytest.raises(ValueError, match=f"^conditioning: .*{words}"):
        distribution.sample(3, conditioning=conditioning)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"beta": ()}, "^beta: none is given"),
        ({"beta": (1.0, -1.0)}, "^beta: -1.0 is too small"),
        ({"seeds": 0}, "^seeds: 0 is too small"),
        ({"n_components": 7}, "^n_components: 7 exceeds the 6 columns of X"),
        ({"model": "temporal"}, "^model: 'temporal' knows more"),
    ],
)
def test_an_argument_at_fault_is_named(settings, words):
    for kind in (VAECovariance, VAEDistribution):
        with pytest.raises(ValueError, match=words):
            kind(**settings).fit(X)


def test_a_portfolio_is_stressed_through_predict():
    prior = SyntheticData(VAEDistribution(**LINEAR), n_samples=N)
    model = MeanRisk(risk_measure=RiskMeasure.CVAR, prior_estimator=prior).fit(X)
    stressed = clone(prior).set_params(sample_args={"conditioning": {"B": -0.05}}).fit(X)
    calm, hit = model.predict(X), model.predict(stressed.return_distribution_)
    assert model.weights_.sum() == pytest.approx(1)
    assert hit.cvar > calm.cvar
    assert hit.mean < calm.mean - 0.001


def test_without_skfolio_one_line_names_the_extra(monkeypatch):
    for name in ("skfolio", "skfolio.distribution", "skfolio.moments"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "jaxvae.integrations.skfolio")
    with pytest.raises(MissingExtraError, match=r"pip install 'jaxvae\[skfolio\]'$"):
        importlib.import_module("jaxvae.integrations.skfolio")
