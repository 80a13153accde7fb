"""Portfolios from covariances and from factors: their weights, what they would have returned.

Returns are simple, by date; weights may be negative. Trading is free.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis.bootstrap import Interval, block_means, percentile_interval
from jaxvae.errors import DataError, Option

# The ensemble, and the baseline that its variance is compared with, among strategies.
ENSEMBLE, BASELINE = "vae", "ledoit_wolf"
# Dates a year of the usual calendars, and how close a count is to one of them to be taken for it.
_CALENDARS, _CALENDAR_SHARE = (365, 252, 52, 12, 4, 1), 0.01
DAYS_PER_YEAR = 365.25
RANK_TOLERANCE = 1e-10  # of the largest eigenvalue


def minimum_variance(
    covariance: Float[np.ndarray, "*window asset asset"],
) -> Float[np.ndarray, "*window asset"]:
    """Weights of the portfolio of least variance, w = Σ⁻¹1 / 1ᵀΣ⁻¹1; its variance is 1/(1ᵀΣ⁻¹1).

    Args:
        covariance: Σ, of one window or of several.

    Raises:
        DataError: a covariance is not positive definite.

    Source: Markowitz (1952).
    """
    try:
        np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise DataError(
            "a covariance is singular: take a longer ",
            Option("window"),
            ", or drop assets that copy others",
        ) from error
    ones = np.ones((*covariance.shape[:-1], 1))
    weights = np.linalg.solve(covariance, ones)[..., 0]
    return weights / weights.sum(axis=-1, keepdims=True)


def mimicking_weights(
    loadings: Float[np.ndarray, "asset factor"], noise: Float[np.ndarray, " asset"]
) -> Float[np.ndarray, "asset factor"]:
    """Portfolios that stand for the factors of x = W z + ε, Var ε = Ψ diagonal: a column a factor,

        H = Ψ⁻¹ W (Wᵀ Ψ⁻¹ W)⁻¹,   Wᵀ H = I

    A portfolio moves by 1 with its own factor and by 0 with every other, and of all that do it has
    the least specific variance (generalised least squares). The regression weights
    Ψ⁻¹ W (I + Wᵀ Ψ⁻¹ W)⁻¹ would shrink towards no position and leave some of the other factors in.

    Args:
        loadings: W; a factor without any has no portfolio, but a column of zeros.
        noise: the diagonal of Ψ, positive.

    Returns:
        Weights, H. Where loadings are multiples of each other's no portfolio can tell these factors
        apart: theirs have the exposures that come nearest (pseudo-inverse).

    Source: Grinold and Kahn (2000), "Active portfolio management", chapter 3.
    """
    scaled = loadings / noise[:, None]
    return scaled @ np.linalg.pinv(loadings.T @ scaled, rcond=RANK_TOLERANCE, hermitian=True)


def to_gross_one(
    weights: Float[np.ndarray, "asset portfolio"],
) -> Float[np.ndarray, "asset portfolio"]:
    """Each column over its Σ_a |w_a|: what is held long and short is 1 together. Zeros stay.

    Args:
        weights: a column a portfolio.
    """
    gross = np.abs(weights).sum(axis=0)
    return weights / np.where(gross > 0, gross, 1.0)


def hold(
    weights: Float[np.ndarray, "window asset"], returns: Float[np.ndarray, "window step asset"]
) -> Float[np.ndarray, " date"]:
    """A portfolio's return on each date, the windows' steps in a row.

    Args:
        weights: of each window.
        returns: of the dates that a window's weights are held for. On each of them the portfolio is
            brought back to its weights.
    """
    return np.einsum("wa,wsa->ws", weights, returns).reshape(-1)


def annual_volatility(returns: Float[np.ndarray, " date"], per_year: float) -> float:
    """Standard deviation (divisor n) over dates, times √(dates a year); NaN of a single date.

    Args:
        returns: of the portfolio.
        per_year: dates a year (`dates_per_year`).
    """
    return float(returns.std() * np.sqrt(per_year)) if len(returns) > 1 else float("nan")


def turnover(weights: Float[np.ndarray, "window asset"]) -> float:
    """Mean of Σ_a |w_a − w_a before| over rebalances: what is bought plus what is sold, as a share
    of the portfolio; drift within a step is not counted. NaN with a single window.

    Args:
        weights: of each window, one after another.
    """
    trades = np.abs(np.diff(weights, axis=0)).sum(axis=1)
    return float(trades.mean()) if len(trades) else float("nan")


def variance_difference(
    rng: np.random.Generator,
    returns: Float[np.ndarray, " date"],
    baseline: Float[np.ndarray, " date"],
    n_draws: int = 2000,
) -> Interval:
    """Variance of a portfolio less a baseline's on the same dates, with a percentile interval.

    By the circular block bootstrap: in each draw both variances come from the same dates, so that
    what they share cancels.

    Args:
        rng: source of the blocks' starts.
        returns: the portfolio's.
        baseline: the other portfolio's, on the same dates.
        n_draws: number of resamples.

    Returns:
        The difference and its interval, a date: multiply by the dates a year for annual variances.
        NaN of a single date, which has no variance.
    """
    if len(returns) < 2:
        return Interval(*[float("nan")] * 3)
    series = np.stack([returns, returns**2, baseline, baseline**2], axis=1)

    def difference(means: Float[np.ndarray, "draw series"]) -> Float[np.ndarray, " draw"]:
        mean, square, other, other_square = means.T
        return (square - mean**2) - (other_square - other**2)

    draws = difference(block_means(rng, series, n_draws=n_draws))
    found = difference(series.mean(axis=0)[None])
    return percentile_interval(float(found[0]), draws)


def dates_per_year(dates: pd.DatetimeIndex) -> float:
    """Dates a year, counted: (n − 1) over the span from the first to the last.

    A count within 1 % of a usual calendar is that calendar's, so that a trading year has 252 dates
    whatever its holidays: 365 (every day), 252, 52, 12, 4, 1. Others, such as weekdays without
    holidays (261) or hours, are what was counted.

    Args:
        dates: ascending; the longer, the surer: give the panel's, not a part's.

    Returns:
        Dates a year; NaN of a single date, which spans no time.
    """
    span = (dates[-1] - dates[0]) / pd.Timedelta(days=DAYS_PER_YEAR)
    if not span > 0:
        return float("nan")
    found = (len(dates) - 1) / span
    near = (usual for usual in _CALENDARS if abs(found / usual - 1) <= _CALENDAR_SHARE)
    return float(next(near, found))
