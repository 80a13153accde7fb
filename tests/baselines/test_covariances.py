"""Estimators of covariances against scikit-learn's and NumPy's."""

import numpy as np
from sklearn.covariance import OAS, LedoitWolf

from jaxvae.baselines.covariances import ESTIMATORS

MIXING = np.random.default_rng(0).normal(size=(5, 5))


def test_estimators_are_those_of_their_names():
    returns = 0.01 * np.random.default_rng(3).normal(size=(80, 5)) @ MIXING
    found = {name: f(returns, 2) for name, f in ESTIMATORS.items()}
    np.testing.assert_allclose(found["sample"], np.cov(returns, rowvar=False, bias=True))
    np.testing.assert_allclose(found["ledoit_wolf"], LedoitWolf().fit(returns).covariance_)
    np.testing.assert_allclose(found["oas"], OAS().fit(returns).covariance_)
    for name in ("pca", "factor_analysis"):
        np.testing.assert_allclose(np.diag(found[name]), np.diag(found["sample"]), rtol=2e-3)
    shrunk = 0.7 * found["sample"] + 0.3 * np.diag(np.diag(found["sample"]))
    np.testing.assert_allclose(found["shrunk_correlation"], shrunk)
    rank = np.linalg.matrix_rank(found["pca"] - np.diag(np.diag(found["pca"])), tol=1e-12)
    assert rank == 5
