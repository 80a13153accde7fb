"""The scikit-learn façade keeps scikit-learn's habits, and what it says is right."""

import pickle
import subprocess
import sys
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from small import returns, same_bits

from jaxvae.integrations.sklearn import VAEFactors
from jaxvae.selection.select import Selection

pytestmark = pytest.mark.slow

X = 0.01 * returns(1, 120) + 0.002
GAPS = np.where(np.random.default_rng(2).uniform(size=X.shape) < 0.1, np.nan, X)


@parametrize_with_checks([VAEFactors(), VAEFactors(2, model="linear")])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def bent(**settings):
    return VAEFactors(2, model="static", epochs=40, n_samples=32, **settings)


@pytest.fixture(scope="module")
def fitted():
    return bent().fit(X)


@pytest.fixture(scope="module")
def linear():
    return VAEFactors(2, model="linear").fit(X)


def test_shapes(fitted):
    factors = fitted.transform(X)
    assert factors.shape == (120, 2)
    assert fitted.inverse_transform(factors).shape == X.shape
    assert fitted.components_.shape == (2, X.shape[1])
    assert fitted.mean_.shape == fitted.noise_variance_.shape == (X.shape[1],)
    assert fitted.explained_variance_ratio_.shape == (2,)
    assert fitted.sample(7).shape == (7, X.shape[1])
    assert fitted.n_components_ == 2
    assert 1 <= fitted.n_iter_ <= 40
    assert [*fitted.get_feature_names_out()] == ["vaefactors0", "vaefactors1"]


def test_a_linear_models_attributes_are_those_of_factor_analysis(linear):
    components, noise = linear.components_, linear.noise_variance_
    covariance = components.T @ components + np.diag(noise)
    np.testing.assert_allclose(linear.get_covariance(), covariance, rtol=1e-5, atol=1e-10)
    np.testing.assert_allclose(linear.get_precision() @ covariance, np.eye(6), atol=1e-4)
    factors = np.random.default_rng(0).normal(size=(5, 2))
    decoded = linear.inverse_transform(factors)
    np.testing.assert_allclose(decoded, factors @ components + linear.mean_, rtol=1e-4, atol=1e-8)
    shares = (components**2).sum(axis=1) / np.trace(covariance)
    np.testing.assert_allclose(linear.explained_variance_ratio_, shares, rtol=1e-5)
    assert (components.mean(axis=1) > 0).all()


def test_a_linear_models_answers_are_the_closed_forms(linear):
    law = multivariate_normal(linear.mean_, linear.get_covariance())
    np.testing.assert_allclose(linear.score_samples(X), law.logpdf(X), rtol=1e-5)
    weighted = linear.components_ / linear.noise_variance_
    precision = np.eye(2) + weighted @ linear.components_.T
    means = np.linalg.solve(precision, weighted @ (X - linear.mean_).T).T
    np.testing.assert_allclose(linear.transform(X), means, atol=1e-4)


def test_a_linear_model_is_as_likely_as_a_factor_analysis(linear):
    later = 0.01 * returns(1, 1120)[120:] + 0.002
    classical = FactorAnalysis(2, tol=1e-6, max_iter=5000).fit(X)
    assert linear.score(X) == pytest.approx(classical.score(X), abs=0.03)
    assert linear.score(later) == pytest.approx(classical.score(later), abs=0.1)


def test_a_cell_that_is_missing_is_marginalised(linear):
    seen = [0, 2, 3, 5]
    row = np.where(np.isin(np.arange(6), seen), X[:1], np.nan)
    covariance = linear.get_covariance()[np.ix_(seen, seen)]
    expected = multivariate_normal(linear.mean_[seen], covariance).logpdf(X[0, seen])
    assert linear.score(row) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("model", ["linear", "static"])
def test_it_is_fitted_to_rows_with_gaps(model):
    gapped = VAEFactors(2, model=model, epochs=40, n_samples=32).fit(GAPS)
    assert np.isfinite(gapped.transform(GAPS)).all()
    assert np.isfinite(gapped.score(GAPS))
    assert abs(np.corrcoef(gapped.transform(X).T)[0, 1]) < 0.9


def test_gaps_that_its_encoder_never_met_are_refused(fitted):
    with pytest.raises(ValueError, match="missing cells"):
        fitted.transform(GAPS)


@pytest.mark.parametrize("name", ["fitted", "linear"])
def test_a_rows_answers_depend_on_nothing_but_the_row(name, request):
    model = request.getfixturevalue(name)
    order = np.random.default_rng(3).permutation(len(X))[:47]
    for answer in (model.score_samples, model.transform):
        np.testing.assert_array_equal(answer(X[order]), answer(X)[order])
    np.testing.assert_array_equal(model.score_samples(X[3:4]), model.score_samples(X)[3:4])


def test_rows_that_are_hard_to_score_depend_on_nothing_but_themselves(fitted, monkeypatch):
    is_hard, rows = "jaxvae.integrations.sklearn.is_hard", X[:9]
    monkeypatch.setattr(is_hard, lambda found, _: found.value < np.median(found.value))
    scores = fitted.score_samples(rows)
    monkeypatch.setattr(is_hard, lambda found, _: found.value < np.inf)
    again = fitted.score_samples(rows[::-1])[::-1]
    low = scores < np.median(scores)
    np.testing.assert_array_equal(scores[low], again[low])
    # Other draws: each row's estimate errs, their mean hardly does.
    assert scores.mean() == pytest.approx(again.mean(), abs=0.05)


def test_reconstruction_is_in_the_datas_units(fitted):
    rebuilt = fitted.inverse_transform(fitted.transform(X))
    assert ((X - rebuilt) ** 2).mean() < 0.6 * X.var()


def test_score_is_a_density_in_the_datas_units(fitted):
    scaled = bent().fit(10 * X)
    gap = fitted.score(X) - scaled.score(10 * X)
    assert gap == pytest.approx(X.shape[1] * np.log(10), abs=0.05)


def test_samples_have_the_covariance(linear):
    draws = linear.sample(20_000, random_state=0)
    error = np.cov(draws.T) - linear.get_covariance()
    assert np.abs(error).max() < 0.05 * linear.get_covariance().max()
    np.testing.assert_allclose(draws.mean(axis=0), linear.mean_, atol=4 * X.std() / 20_000**0.5)


def test_samples_move_on_with_their_generator(fitted):
    for state in (np.random.RandomState(0), np.random.default_rng(0), None):
        assert (fitted.sample(3, random_state=state) != fitted.sample(3, random_state=state)).all()
    same = [fitted.sample(3, random_state=np.random.RandomState(5)) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    np.testing.assert_array_equal(
        fitted.sample(3, random_state=7), fitted.sample(3, random_state=7)
    )


def test_parameters_and_clones(fitted):
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        again.transform(X)


def test_the_same_state_gives_the_same_factors(fitted):
    np.testing.assert_array_equal(clone(fitted).fit(X).transform(X), fitted.transform(X))
    states = [bent(random_state=np.random.RandomState(4)) for _ in range(2)]
    first, second = (one.fit(X) for one in states)
    assert same_bits(first.variables_, second.variables_)
    moved = first.components_.copy()
    assert (first.fit(X).components_ != moved).any()
    assert (bent(random_state=None).fit(X).components_ != moved).any()
    with pytest.raises(ValueError, match="random_state"):
        bent(random_state=-1).fit(X)


def test_it_survives_a_pickle(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.score_samples(X), fitted.score_samples(X))
    np.testing.assert_array_equal(again.sample(4, 1), fitted.sample(4, 1))


def test_it_stands_in_a_pipeline_and_gives_frames():
    pipeline = make_pipeline(StandardScaler(), bent()).set_output(transform="pandas")
    factors = pipeline.fit_transform(X)
    assert [*factors.columns] == ["vaefactors0", "vaefactors1"]


def test_a_grid_is_searched_by_two_processes():
    plain = VAEFactors(model="linear", epochs=40)
    search = GridSearchCV(plain, {"n_components": [1, 2]}, n_jobs=2, cv=2).fit(X)
    assert search.best_params_ == {"n_components": 2}


def test_weights_count_as_repetitions_and_nothing_leaves_a_row_out(linear):
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = clone(linear).fit(X, sample_weight=weights)
    left = clone(linear).fit(X[weights > 0], sample_weight=weights[weights > 0])
    assert same_bits(weighted.variables_, left.variables_)
    expected = linear.score(X.repeat(weights, axis=0))
    assert linear.score(X, sample_weight=weights) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(3,\)"):
        linear.score(X, sample_weight=np.ones(3))


@pytest.mark.parametrize("model", ["linear", "additive"])
@pytest.mark.parametrize("rows", [X, GAPS], ids=["whole", "gapped"])
def test_weights_are_repetitions_to_the_bit_where_nothing_stops_early(model, rows):
    """In any order; and rows that count once each are fitted as they stand."""
    estimator, rng = VAEFactors(2, model=model, epochs=20), np.random.default_rng(0)
    weights, order = rng.integers(0, 4, len(rows)), rng.permutation(len(rows))
    repeated = clone(estimator).fit(rows.repeat(weights, axis=0))
    shuffled = np.asfortranarray(rows[order])
    weighted = clone(estimator).fit(shuffled, sample_weight=weights[order])
    assert same_bits(weighted.variables_, repeated.variables_)
    np.testing.assert_array_equal(weighted.transform(X), repeated.transform(X))
    plain, ones = clone(estimator).fit(rows), np.ones(len(rows))
    assert same_bits(plain.variables_, clone(estimator).fit(rows, sample_weight=ones).variables_)
    assert not same_bits(plain.variables_, clone(estimator).fit(rows[order]).variables_)


def test_a_fit_with_weights_is_near_that_of_repeated_rows(linear):
    wild = np.arange(len(X)) % 2 == 0
    rows, weights = np.where(wild, 3.0, 1.0)[:, None] * X, np.where(wild, 5, 1)
    weighted = clone(linear).fit(rows, sample_weight=weights)
    others = [clone(linear).fit(part) for part in (rows.repeat(weights, axis=0), rows)]
    repeated, plain = (np.trace(other.get_covariance()) for other in others)
    assert np.trace(weighted.get_covariance()) == pytest.approx(repeated, rel=0.1)
    assert plain < 0.75 * repeated


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (X[:3], "minimum of 5"),
        (X * np.nan, "column without any value"),
        (np.ones_like(X), "does not vary"),
        (np.full_like(X, np.inf), "infinity"),
    ],
)
def test_bad_rows_are_refused(bad, words):
    with pytest.raises(ValueError, match=words):
        VAEFactors(2, model="static").fit(bad)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_components": None}, "^n_components: None is no number"),
        ({"n_components": 0}, "^n_components: 0 is too small"),
        ({"n_components": 7}, "^n_components: 7 exceeds the 6 columns of X"),
        ({"n_components": "mle"}, "^n_components: 'mle' is not a whole number or auto"),
        ({"n_components": 1, "model": "volatility"}, "^n_components: 1 is too small"),
        ({"epochs": "a"}, "^epochs: 'a' is not a whole number"),
        ({"preset": "notebok"}, "^preset: 'notebok' is not notebook"),
        ({"beta": "one"}, "^beta: 'one' is not"),
        ({"random_state": "one"}, "'one' cannot be used to seed"),
        ({"beta": -1.0}, "^beta: -1.0 is too small"),
        ({"n_samples": 2}, "^n_samples: 2 is too small"),
        ({"model": "pca"}, "^model: 'pca' is not"),
        ({"model": "conditional"}, "^model: 'conditional' knows more"),
        ({"model": "autoregressive"}, "^model: 'autoregressive' knows more"),
    ],
)
def test_an_argument_at_fault_is_named(settings, words, monkeypatch):
    """As users have it, whose calls no type is checked of."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=words):
        VAEFactors(**settings).fit(X)


def test_factors_of_another_width_are_refused(fitted):
    with pytest.raises(ValueError, match="X has 1 columns; it needs 2"):
        fitted.inverse_transform(np.zeros((4, 1)))


def test_few_rows_are_of_the_linear_family():
    few = VAEFactors().fit(X)
    assert few.model_.facts.linear
    assert 2 <= few.n_components_ <= 3
    named = VAEFactors(few.n_components_, model="linear").fit(X)
    assert same_bits(few.variables_, named.variables_)


def test_it_takes_what_a_study_of_the_rows_would_choose(monkeypatch):
    asked, many = [], returns(2, 250)

    def choose(panel, config, split):
        asked.append((panel.values, config, split))
        return Selection(replace(config, model="student", n_factors=3), config)

    monkeypatch.setattr("jaxvae.integrations.sklearn.select", choose)
    chosen = VAEFactors(epochs=5).fit(many)
    assert chosen.transform(many).shape == (250, 3)
    assert chosen.model_.log_likelihood is not None
    assert (chosen.config_.model, chosen.config_.n_factors) == ("student", 3)
    ((values, config, split),) = asked
    np.testing.assert_array_equal(values, many)
    assert (config.model, config.n_factors) == ("auto", "auto")
    assert split[:3] == (slice(0, 200), slice(200, 250), slice(0, 250))


def test_a_shape_seen_before_compiles_nothing(fitted, compilations):
    fitted.score(X)
    fitted.transform(X)
    before = compilations()
    again = bent(random_state=3).fit(X[:119])
    again.score(X[:118])
    again.transform(X[:101])
    assert compilations() == before


# A process of its own: where each call's shapes are checked the checks outlast the rest of a fit.
TIMES = """
import sys, time, numpy as np
from jaxvae.integrations import sklearn

method, name = sys.argv[1:]
spent, run = [], getattr(sklearn, name)

def timed(*arguments, **options):
    start = time.perf_counter()
    done = run(*arguments, **options)
    spent.append(time.perf_counter() - start)
    return done

setattr(sklearn, name, timed)
rows = 0.01 * np.random.default_rng(5).standard_normal((400, 12))
estimator, ratios = sklearn.VAEFactors(2, model="static").fit(rows), []
for _ in range(8):
    spent.clear()
    start = time.perf_counter()
    getattr(estimator, method)(rows)
    ratios.append((time.perf_counter() - start) / sum(spent))
print(min(ratios[1:]))
"""


@pytest.mark.parametrize(("method", "own"), [("fit", "train_ensemble"), ("score", "ask_rows")])
def test_a_call_takes_as_long_as_what_it_is_for(method, own):
    """Training of its member, or the likelihoods of its rows, once their programs are compiled."""
    command = [sys.executable, "-c", TIMES, method, own]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.1
