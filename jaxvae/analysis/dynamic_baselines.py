"""Classical one-step-ahead forecasts of a panel: what a temporal model must beat.

Values are returns in standard units, complete; likelihoods are in nats a date, each under the
density forecast from the dates before it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from jaxvae.errors import OptionError

DECAY = 0.99
SHRINKAGE = 0.1
FIRST_DATES = 252
FREEDOMS = (4.0, 6.0, 8.0, 12.0)


class Forecast(NamedTuple):
    """A Student-t a date, mean zero: its covariance (not its scale matrix) and ν, infinite for a
    Gaussian."""

    covariance: Float[np.ndarray, "date asset asset"]
    degrees_of_freedom: float


def ewma_covariances(
    values: Float[np.ndarray, "date asset"], fit: slice
) -> Float[np.ndarray, "date asset asset"]:
    """Exponentially weighted covariances, each date's from the dates before it:

        S ← .99 S + .01 x xᵀ,    Σ_t = .9 S + .1 C tr S / tr C

    with zero mean, C the covariance (divisor n) of the rows of `fit`. S starts from the first 252
    dates (or all of `fit`, if it has fewer), which forecasts of dates among them therefore know.
    Source: RiskMetrics (J.P. Morgan 1996), shrunk towards a constant correlation as in Ledoit &
    Wolf (2004).
    """
    target = np.cov(values[fit].T, ddof=0)
    first = values[fit][:FIRST_DATES]
    moment = first.T @ first / len(first)
    covariances = np.empty((len(values), *moment.shape))
    for date, row in enumerate(values):
        scaled = target * (np.trace(moment) / np.trace(target))
        covariances[date] = (1 - SHRINKAGE) * moment + SHRINKAGE * scaled
        moment = DECAY * moment + (1 - DECAY) * np.outer(row, row)
    return covariances


def forecast_log_likelihood(
    forecast: Forecast, values: Float[np.ndarray, "date asset"]
) -> Float[np.ndarray, " date"]:
    """log p(x_t | dates before) in nats: Student-t with scale matrix Σ_t (ν - 2)/ν, ν > 2; Gaussian
    where ν is infinite."""
    n_assets, freedom = values.shape[1], forecast.degrees_of_freedom
    roots = np.linalg.cholesky(forecast.covariance)
    white = np.stack(
        [solve_triangular(root, row, lower=True) for root, row in zip(roots, values, strict=True)]
    )
    squares = (white**2).sum(axis=1)
    log_determinants = 2 * np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    if np.isinf(freedom):
        return -0.5 * (n_assets * np.log(2 * np.pi) + log_determinants + squares)
    constant = gammaln((freedom + n_assets) / 2) - gammaln(freedom / 2)
    spread = n_assets * np.log((freedom - 2) * np.pi) + log_determinants
    tail = (freedom + n_assets) * np.log1p(squares / (freedom - 2))
    return constant - 0.5 * (spread + tail)


def fit_ewma_t(
    values: Float[np.ndarray, "date asset"],
    fit: slice,
    validation: slice,
    freedoms: Sequence[float] = FREEDOMS,
) -> Forecast:
    """EWMA covariances with t innovations, the ν of `freedoms` that makes the validation dates
    likeliest.

    Raises OptionError on a ν that is not above 2, which has no covariance.
    """
    if any(not freedom > 2 for freedom in freedoms):
        raise OptionError("freedoms", f"{list(freedoms)} must each be above 2")
    covariances = ewma_covariances(values, fit)
    scores = [
        forecast_log_likelihood(
            Forecast(covariances[validation], freedom), values[validation]
        ).mean()
        for freedom in freedoms
    ]
    return Forecast(covariances, freedoms[int(np.argmax(scores))])
