"""Portfolios from covariances: weights of least variance, what they would have returned, rivals.

Returns are simple, by date; weights sum to 1 and may be negative. Trading is free.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.covariance import OAS, LedoitWolf

from jaxvae.analysis.baselines import fit_factor_analysis
from jaxvae.analysis.metrics import Interval, block_means, default_block
from jaxvae.errors import DataError

Estimator = Callable[[np.ndarray, int], np.ndarray]

# Dates a year, by how many there really are: trading days, weeks, months, quarters, years.
# The ensemble and the rival that its variance is compared with, among strategies.
VAE, RIVAL = "vae", "ledoit_wolf"
CALENDARS = {252: (200, 366), 52: (45, 60), 12: (11, 13), 4: (3.5, 4.5), 1: (0.8, 1.2)}


def minimum_variance(
    covariance: Float[np.ndarray, "*window asset asset"],
) -> Float[np.ndarray, "*window asset"]:
    """Weights of the portfolio of least variance, w = Σ⁻¹1 / 1ᵀΣ⁻¹1; its variance is 1/(1ᵀΣ⁻¹1).

    Raises DataError where a covariance is not positive definite. Source: Markowitz (1952).
    """
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise DataError(
            "a covariance is singular: take a longer --window, or drop assets that copy others"
        ) from error
    ones = np.ones((*covariance.shape[:-1], 1))
    weights = np.linalg.solve(covariance, ones)[..., 0]
    return weights / weights.sum(axis=-1, keepdims=True)


def hold(
    weights: Float[np.ndarray, "window asset"], returns: Float[np.ndarray, "window step asset"]
) -> Float[np.ndarray, " date"]:
    """A portfolio's return on each date, the windows' steps in a row.

    returns: of the dates that a window's weights are held for. On each of them the portfolio is
        brought back to its weights.
    """
    return np.einsum("wa,wsa->ws", weights, returns).reshape(-1)


def annual_volatility(returns: Float[np.ndarray, " date"], per_year: float) -> float:
    """Standard deviation (divisor n) over dates, times √(dates a year)."""
    return float(returns.std() * np.sqrt(per_year))


def turnover(weights: Float[np.ndarray, "window asset"]) -> float:
    """Mean of Σ_a |w_a − w_a before| over rebalances: what is bought plus what is sold, as a share
    of the portfolio; drift within a step is not counted. NaN with a single window."""
    trades = np.abs(np.diff(weights, axis=0)).sum(axis=1)
    return float(trades.mean()) if len(trades) else float("nan")


def variance_difference(
    rng: np.random.Generator,
    returns: Float[np.ndarray, " date"],
    rival: Float[np.ndarray, " date"],
    block_length: int | None = None,
    n_draws: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Variance of a portfolio less a rival's on the same dates, with a percentile interval.

    By the circular block bootstrap: in each draw both variances come from the same dates, so that
    what they share cancels. Blocks as in `metrics.block_bootstrap_interval`. A date, not a year:
    multiply by the dates a year for annual variances.
    """
    length = default_block(len(returns)) if block_length is None else block_length
    series = np.stack([returns, returns**2, rival, rival**2], axis=1)

    def difference(means: Float[np.ndarray, "draw series"]) -> Float[np.ndarray, " draw"]:
        mean, square, other, other_square = means.T
        return (square - mean**2) - (other_square - other**2)

    draws = difference(block_means(rng, series, length, n_draws))
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    found = difference(series.mean(axis=0)[None])
    return Interval(float(found[0]), float(low), float(high))


def dates_per_year(dates: pd.DatetimeIndex) -> float:
    """252 for daily dates, 52, 12, 4 or 1 for weekly, monthly, quarterly or yearly ones; what there
    are, on average, where they are none of these."""
    years = (dates[-1] - dates[0]).days / 365.25
    found = (len(dates) - 1) / years
    near = (per_year for per_year, (low, high) in CALENDARS.items() if low <= found <= high)
    return float(next(near, found))


def sample_covariance(
    returns: Float[np.ndarray, "date asset"], n_factors: int
) -> Float[np.ndarray, "asset asset"]:
    """The sample covariance (divisor n)."""
    del n_factors
    return np.atleast_2d(np.cov(returns, rowvar=False, bias=True))


def ledoit_wolf(
    returns: Float[np.ndarray, "date asset"], n_factors: int
) -> Float[np.ndarray, "asset asset"]:
    """The sample covariance shrunk to a multiple of I (Ledoit and Wolf 2004)."""
    del n_factors
    return LedoitWolf().fit(returns).covariance_


def oracle_shrinkage(
    returns: Float[np.ndarray, "date asset"], n_factors: int
) -> Float[np.ndarray, "asset asset"]:
    """Shrunk to the same target by the oracle approximating rule (Chen, Wiesel, Eldar & Hero
    2010)."""
    del n_factors
    return OAS().fit(returns).covariance_


def pca_with_diagonal(
    returns: Float[np.ndarray, "date asset"], n_factors: int
) -> Float[np.ndarray, "asset asset"]:
    """The first principal components' part of the sample covariance, with the sample's diagonal."""
    sample = sample_covariance(returns, n_factors)
    eigenvalues, vectors = np.linalg.eigh(sample)
    first = vectors[:, -n_factors:]
    covariance = (first * eigenvalues[-n_factors:]) @ first.T
    np.fill_diagonal(covariance, np.diag(sample))
    return covariance


def factor_analysis(
    returns: Float[np.ndarray, "date asset"], n_factors: int
) -> Float[np.ndarray, "asset asset"]:
    """W Wᵀ + Ψ of maximum-likelihood factor analysis."""
    scale = returns.std(axis=0)
    units = (returns - returns.mean(axis=0)) / scale
    return fit_factor_analysis(units, n_factors).covariance * np.outer(scale, scale)


ESTIMATORS: dict[str, Estimator] = {
    "sample": sample_covariance,
    "ledoit_wolf": ledoit_wolf,
    "oas": oracle_shrinkage,
    "pca": pca_with_diagonal,
    "factor_analysis": factor_analysis,
}
