"""Covariances that portfolios are made of: classical estimators, by name."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from sklearn.covariance import OAS, LedoitWolf

from jaxvae.baselines.factor_analysis import fit_factor_analysis

Estimator = Callable[[np.ndarray, int], np.ndarray]
CORRELATION_SHRINKAGE = 0.3


def sample_covariance(returns: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "asset asset"]:
    """The sample covariance (divisor n).

    Args:
        returns: complete rows.
    """
    return np.atleast_2d(np.cov(returns, rowvar=False, bias=True))


def shrunk_correlation(
    returns: Float[np.ndarray, "date asset"],
) -> Float[np.ndarray, "asset asset"]:
    """The sample covariance, its correlations shrunk 30 % to 0: D (.7 R + .3 I) D.

    Each asset's own variance is kept, where Ledoit and Wolf's estimator draws all towards their
    mean.

    Args:
        returns: complete rows.
    """
    sample = sample_covariance(returns)
    variances = np.diag(np.diag(sample))
    return (1 - CORRELATION_SHRINKAGE) * sample + CORRELATION_SHRINKAGE * variances


def pca_with_diagonal(
    returns: Float[np.ndarray, "date asset"], n_factors: int
) -> Float[np.ndarray, "asset asset"]:
    """The first principal components' part of the sample covariance, with the sample's diagonal.

    Args:
        returns: complete rows.
        n_factors: how many.
    """
    sample = sample_covariance(returns)
    eigenvalues, vectors = np.linalg.eigh(sample)
    first = vectors[:, -n_factors:]
    covariance = (first * eigenvalues[-n_factors:]) @ first.T
    np.fill_diagonal(covariance, np.diag(sample))
    return covariance


def factor_analysis(
    returns: Float[np.ndarray, "date asset"], n_factors: int
) -> Float[np.ndarray, "asset asset"]:
    """W Wᵀ + Ψ of maximum-likelihood factor analysis.

    Args:
        returns: complete rows.
        n_factors: how many.
    """
    scale = returns.std(axis=0)
    units = (returns - returns.mean(axis=0)) / scale
    return fit_factor_analysis(units, n_factors).covariance * np.outer(scale, scale)


# By returns and number of factors.
ESTIMATORS: dict[str, Estimator] = {
    "sample": lambda returns, _: sample_covariance(returns),
    # Shrunk to a multiple of I (Ledoit and Wolf 2004).
    "ledoit_wolf": lambda returns, _: LedoitWolf(store_precision=False).fit(returns).covariance_,
    # Shrunk to the same by the oracle approximating rule (Chen, Wiesel, Eldar & Hero 2010).
    "oas": lambda returns, _: OAS().fit(returns).covariance_,
    "shrunk_correlation": lambda returns, _: shrunk_correlation(returns),
    "pca": pca_with_diagonal,
    "factor_analysis": factor_analysis,
}
