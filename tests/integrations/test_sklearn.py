"""The scikit-learn façade keeps scikit-learn's habits."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small import returns

from jaxvae.integrations.sklearn import VAEFactors
from jaxvae.study.selection.select import Selection

pytestmark = pytest.mark.slow

X = 0.01 * returns(1, 120) + 0.002


@pytest.fixture(scope="module")
def fitted():
    return VAEFactors(2, model="static", epochs=40, n_samples=32).fit(X)


def test_shapes(fitted):
    factors = fitted.transform(X)
    assert factors.shape == (120, 2)
    assert fitted.inverse_transform(factors).shape == X.shape
    assert fitted.loadings_.shape == (X.shape[1], 2)
    assert fitted.sample(7).shape == (7, X.shape[1])


def test_reconstruction_is_in_the_datas_units(fitted):
    rebuilt = fitted.inverse_transform(fitted.transform(X))
    assert ((X - rebuilt) ** 2).mean() < 0.6 * X.var()


def test_score_is_a_density_in_the_datas_units(fitted):
    scaled = VAEFactors(2, model="static", epochs=40, n_samples=32).fit(10 * X)
    gap = fitted.score(X) - scaled.score(10 * X)
    assert gap == pytest.approx(X.shape[1] * np.log(10), abs=0.05)


def test_samples_have_the_datas_spread(fitted):
    np.testing.assert_allclose(fitted.sample(4000).std(), X.std(), rtol=0.15)


def test_parameters_and_clones(fitted):
    again = clone(fitted)
    assert again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        again.transform(X)


def test_the_same_state_gives_the_same_factors(fitted):
    again = clone(fitted).fit(X)
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))


def test_it_stands_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), VAEFactors(2, model="static", epochs=40))
    assert pipeline.fit_transform(X).shape == (120, 2)


@pytest.mark.parametrize(("bad", "words"), [(X[:3], "minimum of 10"), (X * np.nan, "NaN")])
def test_bad_input_is_refused(bad, words):
    with pytest.raises(ValueError, match=words):
        VAEFactors(2, model="static").fit(bad)


def test_few_rows_are_of_the_linear_family():
    few = VAEFactors(2, epochs=5).fit(X[:50])
    assert few.model_ == VAEFactors(2, model="linear", epochs=5).fit(X[:50]).model_
    assert few.model_.facts.linear


def test_it_takes_what_a_study_of_the_rows_would_choose(monkeypatch):
    asked = []

    def choose(panel, config, split):
        asked.append((panel.values, config, split))
        return Selection(replace(config, model="student", n_factors=3), config)

    monkeypatch.setattr("jaxvae.integrations.sklearn.select", choose)
    chosen = VAEFactors("auto", epochs=5).fit(X)
    assert chosen.transform(X).shape == (120, 3)
    assert chosen.model_.log_likelihood is not None
    ((values, config, split),) = asked
    np.testing.assert_array_equal(values, X)
    assert (config.model, config.n_factors) == ("auto", "auto")
    assert split[:3] == (slice(0, 96), slice(96, 120), slice(0, 120))
