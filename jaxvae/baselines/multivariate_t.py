"""The multivariate Student-t by maximum likelihood, cells missing or not."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import digamma

from jaxvae.analysis.incomplete import (
    Conditional,
    conditional,
    expected_moments,
    independent,
    log_density,
)
from jaxvae.baselines.elliptical import Elliptical, full_rank_normal, refusing_singular

_TOLERANCE, _ROUNDS = 1e-8, 500  # nats a date; rounds
INCOMPLETE_TOLERANCE = 1e-5  # where cells are missing each round costs many times as much
# Below 1 the likelihood may have no maximum; at 1e6 the density is a Gaussian's.
DF_RANGE = (1.0, 1e6)
START_DF = 8.0


def fit_multivariate_t(values: Float[np.ndarray, "date asset"]) -> Elliptical:
    """Multivariate Student-t by maximum likelihood in mean, scale matrix and ν; no factors.

    Args:
        values: returns; NaN marks a missing cell.

    Raises:
        DataError: dates are too few, or the covariance is singular.

    Source: as `fit_t_from`.
    """
    start = full_rank_normal(expected_moments(independent(values)), len(values))
    with refusing_singular(values):
        return fit_t_from(start, values, lambda scatter: scatter)


def fit_t_from(
    start: Elliptical,
    values: Float[np.ndarray, "date asset"],
    restrict: Callable[[np.ndarray], np.ndarray],
    see: Callable[[np.ndarray, np.ndarray, np.ndarray], Conditional] = conditional,
) -> Elliptical:
    """Mean, scale matrix and ν of a Student-t, from a start of the first two.

    A round weights each date by w = (ν + n) / (ν + δ), δ the squared Mahalanobis distance of its n
    observed cells; fills the others by their conditional means; takes the weighted mean and the
    weighted scatter, with the spread of what was filled, divided by Σ w; and then the root in ν of
    the likelihood's own derivative. It ends when a round moves the likelihood by less than 1e-8
    nats a date (1e-5 with missing cells). ν is kept from 1 to 1,000,000.

    Args:
        start: of mean and scatter; ν starts from its, or from 8 where it is Gaussian.
        values: returns; NaN marks a missing cell.
        restrict: makes of any scale matrix the likeliest of those allowed.
        see: rows given what is observed of them, under a mean and a scale matrix.

    Raises:
        LinAlgError: a scale matrix on the way is singular.

    Source: ECME (Liu and Rubin 1995, "ML estimation of the t distribution using EM and its
    extensions", missing cells included) with the divisor of Kent, Tyler and Vardi (1994) in place
    of the number of dates: the same maximum in fewer rounds.
    """
    complete = np.isfinite(values).all()
    tolerance = _TOLERANCE if complete else INCOMPLETE_TOLERANCE
    df, last = START_DF if np.isinf(start.df) else start.df, -np.inf
    mean, scatter = start.mean, start.scatter
    given = see(values, mean, scatter)
    for _ in range(_ROUNDS):
        weights = (df + given.counts) / (df + given.distances)
        mean = np.average(given.values, axis=0, weights=weights)
        scaled = (given.values - mean) * np.sqrt(weights / weights.sum())[:, None]
        scatter = restrict(scaled.T @ scaled + given.spread / weights.sum())
        given = see(values, mean, scatter)
        df = _solve_df(given)
        score = float(log_density(given, df).mean())
        if abs(score - last) < tolerance:
            break
        last = score
    return Elliptical.without_factors(mean, scatter, df)


def _solve_df(given: Conditional) -> float:
    """The ν at which the likelihood's derivative is zero, within its bounds.

    2/N ∂L/∂ν = mean over dates of  ln(ν/2) − ψ(ν/2) + ψ((ν+n)/2) − ln((ν+n)/2) + 1 + ln w − w,
    w = (ν + n) / (ν + δ)   (Liu and Rubin 1995).
    """
    sizes, dates = np.unique(given.counts, return_counts=True)
    shares = dates / len(given.counts)

    def slope(log_df: float) -> float:
        df = np.exp(log_df)
        above = df + sizes
        weights = (df + given.counts) / (df + given.distances)
        gap = np.log(df / above) - digamma(df / 2) + digamma(above / 2)
        return float(shares @ gap + 1 + np.mean(np.log(weights) - weights))

    low, high = np.log(DF_RANGE)
    if slope(low) <= 0:
        return DF_RANGE[0]
    if slope(high) >= 0:
        return DF_RANGE[1]
    return float(np.exp(brentq(slope, low, high)))
