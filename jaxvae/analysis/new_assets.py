"""Bayesian regression of one asset's returns on factors that are known with an error."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from jaxvae.analysis.linear_gaussian import posterior_precision

SWEEPS = 50
LEAST_DF, MOST_DF = 1.0, 1e4  # of the noise's prior; beyond, all assets have the same noise


class Prior(NamedTuple):
    """What is known of an asset before its returns.

    Attributes:
        mean, variance: of its coefficients, independent and normal.
        df, noise: the noise variance ~ InverseGamma(df/2, df·noise/2).
    """

    mean: Float[np.ndarray, " column"]
    variance: Float[np.ndarray, " column"]
    df: float
    noise: float


class Design(NamedTuple):
    """The regressors of a history.

    Attributes:
        mean, covariance: of each date's regressors d_t; 0 covariance where they are known.
        relative_noise: noise variance of each date over an average one's.
    """

    mean: Float[np.ndarray, "date column"]
    covariance: Float[np.ndarray, "date column column"]
    relative_noise: Float[np.ndarray, " date"]


def regress(
    design: Design, returns: Float[np.ndarray, " date"], prior: Prior
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, "column column"], float]:
    """Coefficients and noise of y_t ~ N(w·d_t, ψ r_t) by sweeps of

        v = ψ r + m·C m,   S = (T⁻² + Σ d dᵀ/v)⁻¹,   m = S (T⁻² M + Σ d y/v),
        ψ = (ν ψ_0 + Σ E[e²]/r)/(ν + n)

    with d the regressors' mean and C their covariance, (M, T², ν, ψ_0) the prior. E[e²] is the
    noise's share of (y - m·d)² + d·S d, (ψ r/v)² of it and ψ r m·C m/v more: an EM step. The error
    of d is independent of its mean, not of what it estimates (Berkson 1950), so that it adds noise
    and does not shrink coefficients.

    Args:
        design: the regressors of n dates, n ≥ 0.
        returns: y on those dates.
        prior: of w and ψ.

    Returns:
        Mean and covariance of the coefficients, and the noise variance ψ.
    """
    mean, covariance, noise = prior.mean, np.diag(prior.variance), prior.noise
    for _ in range(SWEEPS):
        blur = np.einsum("i,tij,j->t", mean, design.covariance, mean)
        own = noise * design.relative_noise
        weighted = design.mean / (own + blur)[:, None]
        precision = posterior_precision(design.mean, 1.0 / (own + blur), 1.0 / prior.variance)
        covariance = np.linalg.inv(precision)
        mean = covariance @ (prior.mean / prior.variance + weighted.T @ returns)
        error = (returns - design.mean @ mean) ** 2
        error += np.einsum("ti,ij,tj->t", design.mean, covariance, design.mean)
        share = own / (own + blur)
        squares = (share**2 * error + share * blur) / design.relative_noise
        noise = (prior.df * prior.noise + squares.sum()) / (prior.df + len(returns))
    return mean, covariance, noise


def prior_of_group(
    coefficients: Float[np.ndarray, "asset column"],
    variances: Float[np.ndarray, "asset column"],
    noises: Float[np.ndarray, " asset"],
    members: Bool[np.ndarray, "group asset"],
    group: int,
) -> Prior:
    """The prior of one more asset of a group, from the assets that are known.

    A group of n assets gives its mean up to T²/n, which the variance includes; T² is the scatter of
    coefficients around their group's mean, pooled over groups, and the known assets' own
    uncertainty counts into it.

    Args:
        coefficients, variances: means and variances of the assets' coefficients.
        noises: their noise variances.
        members: which assets each group has; every asset is in one.
        group: place of the group asked for.
    """
    by_group = [coefficients[those] for those in members]
    centred = np.concatenate([rows - rows.mean(axis=0) for rows in by_group])
    df = max(len(coefficients) - len(members), 1)
    scatter = (centred**2).sum(axis=0) / df + variances.mean(axis=0)
    spread = scatter * (1.0 + 1.0 / len(by_group[group]))
    # A column that moves nothing would leave its coefficient without any room.
    floor = 1e-12 * np.mean(noises)
    return Prior(by_group[group].mean(axis=0), spread + floor, *noise_prior(noises))


def noise_prior(noises: Float[np.ndarray, " asset"]) -> tuple[float, float]:
    """ν and ψ_0 of an InverseGamma(ν/2, νψ_0/2) with the mean and variance of ln ψ over assets:

    Var = trigamma(ν/2),   E = ln(νψ_0/2) - digamma(ν/2)

    Args:
        noises: noise variances of the assets.

    Returns:
        ν and ψ_0.
    """
    logs = np.log(noises)
    spread = np.clip(np.var(logs), polygamma(1, MOST_DF / 2), polygamma(1, LEAST_DF / 2))
    # Wider than the clip by 1 %, so that the root lies inside whatever rounding does.
    bracket = 0.99 * LEAST_DF, 1.01 * MOST_DF
    df = brentq(lambda nu: polygamma(1, nu / 2) - spread, *bracket)
    return df, float(2.0 / df * np.exp(logs.mean() + digamma(df / 2)))
