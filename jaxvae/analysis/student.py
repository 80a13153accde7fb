"""The multivariate Student-t by maximum likelihood, cells missing or not."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import digamma

from jaxvae.analysis.incomplete import Conditional, conditional, log_density

TOLERANCE, ROUNDS = 1e-8, 500  # nats a date; rounds
INCOMPLETE_TOLERANCE = 1e-5  # where cells are missing each round costs many times as much
# Below 1 the likelihood may have no maximum; at 1e6 the density is a Gaussian's.
DEGREES_OF_FREEDOM = (1.0, 1e6)


def fit_student(
    values: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
    scatter: Float[np.ndarray, "asset asset"],
    restrict: Callable[[np.ndarray], np.ndarray],
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"], float]:
    """Mean, scale matrix and ν, from a start of the first two.

    A round weights each date by w = (ν + n) / (ν + δ), δ the squared Mahalanobis distance of its n
    observed cells; fills the others by their conditional means; takes the weighted mean and the
    weighted scatter, with the spread of what was filled, divided by Σ w; and then the root in ν of
    the likelihood's own derivative. This is ECME (Liu and Rubin 1995, missing cells included) with
    the divisor of Kent, Tyler and Vardi (1994) in place of the number of dates: the same maximum in
    fewer rounds. It ends when a round gains less than 1e-8 nats a date (1e-5 with missing cells).
    ν is kept from 1 to 1,000,000.

    restrict: makes of any scale matrix the likeliest of those allowed.

    Raises LinAlgError where a scale matrix on the way is singular.
    """
    complete = np.isfinite(values).all()
    tolerance = TOLERANCE if complete else INCOMPLETE_TOLERANCE
    freedom, last = 8.0, -np.inf
    said = conditional(values, mean, scatter)
    for _ in range(ROUNDS):
        weights = (freedom + said.counts) / (freedom + said.distances)
        mean, scatter = _weighted_moments(said.values, weights)
        scatter = restrict(scatter + said.spread / weights.sum())
        said = conditional(values, mean, scatter)
        freedom = _solve_freedom(said)
        score = log_density(said, freedom).mean()
        if score - last < tolerance:
            break
        last = score
    return mean, scatter, freedom


def _weighted_moments(
    values: Float[np.ndarray, "date asset"], weights: Float[np.ndarray, " date"]
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    """Weighted mean and scatter, both divided by the sum of the weights."""
    mean = np.average(values, axis=0, weights=weights)
    scaled = (values - mean) * np.sqrt(weights / weights.sum())[:, None]
    return mean, scaled.T @ scaled


def _solve_freedom(said: Conditional) -> float:
    """The ν at which the likelihood's derivative is zero, within its bounds.

    2/N ∂L/∂ν = mean over dates of  ln(ν/2) − ψ(ν/2) + ψ((ν+n)/2) − ln((ν+n)/2) + 1 + ln w − w,
    w = (ν + n) / (ν + δ)   (Liu and Rubin 1995).
    """
    sizes, dates = np.unique(said.counts, return_counts=True)
    shares = dates / len(said.counts)

    def slope(log_freedom: float) -> float:
        freedom = np.exp(log_freedom)
        above = freedom + sizes
        weights = (freedom + said.counts) / (freedom + said.distances)
        gap = np.log(freedom / above) - digamma(freedom / 2) + digamma(above / 2)
        return float(shares @ gap + 1 + np.mean(np.log(weights) - weights))

    low, high = np.log(DEGREES_OF_FREEDOM)
    if slope(low) <= 0:
        return DEGREES_OF_FREEDOM[0]
    if slope(high) >= 0:
        return DEGREES_OF_FREEDOM[1]
    return float(np.exp(brentq(slope, low, high)))
