"""Elliptical densities where cells are missing: marginals, conditional means, expected moments.

NaN marks a missing cell. Cells are taken as missing at random (Rubin 1976): whether one is missing
may depend on the cells observed, not on its own value. Where every cell is observed the functions
below are the plain ones: nothing is filled, nothing spreads.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from jaxvae.analysis.linear_gaussian import posterior_precision

PATTERNS = 256  # so many at once, to bound memory


def is_incomplete(values: Float[np.ndarray, "date asset"]) -> bool:
    """Whether any cell is missing.

    Args:
        values: returns; NaN marks a missing cell.
    """
    return bool(np.isnan(values).any())


class Conditional(NamedTuple):
    """Incomplete rows under a density, given the cells observed.

    Attributes:
        values: the rows, their missing cells filled by E[x_m | x_o].
        spread: Σ Cov[x_m | x_o] over rows, a Gaussian's; 0 in rows and columns that are observed.
        distances: (x_o - m_o)ᵀ S_oo⁻¹ (x_o - m_o) of each row.
        log_determinants: ln det S_oo of each row.
        counts: cells observed in each row.
    """

    values: Float[np.ndarray, "date asset"]
    spread: Float[np.ndarray, "asset asset"]
    distances: Float[np.ndarray, " date"]
    log_determinants: Float[np.ndarray, " date"]
    counts: Int[np.ndarray, " date"]


class Moments(NamedTuple):
    """Mean and covariance of rows, expected ones where cells are missing.

    Attributes:
        mean: of each asset.
        covariance: with divisor n.
    """

    mean: Float[np.ndarray, " asset"]
    covariance: Float[np.ndarray, "asset asset"]


def conditional(
    values: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
    scatter: Float[np.ndarray, "asset asset"],
) -> Conditional:
    """Rows given what is observed of them, under any mean and scatter matrix S.

        E[x_m | x_o] = m_m + S_mo S_oo⁻¹ (x_o - m_o),    Cov = S_mm - S_mo S_oo⁻¹ S_om

    Complete rows by one Cholesky factor; the others by their patterns of observed cells, many at
    once.

    Args:
        values: returns; NaN marks a missing cell.
        mean: m.
        scatter: S.

    Raises:
        LinAlgError: S is not positive definite.
    """
    observed = np.isfinite(values)
    given = Conditional(
        values=values.copy(order="K"),
        spread=np.zeros_like(scatter),
        distances=np.zeros(len(values)),
        log_determinants=np.zeros(len(values)),
        counts=observed.sum(axis=1),
    )
    whole = observed.all(axis=1)
    if whole.any():
        factor = np.linalg.cholesky(scatter)
        white = solve_triangular(factor, (values[whole] - mean).T, lower=True)
        given.distances[whole] = (white**2).sum(axis=0)
        given.log_determinants[whole] = 2 * np.log(np.diag(factor)).sum()
    partial = np.flatnonzero(~whole)
    all_patterns, of_partial = np.unique(observed[partial], axis=0, return_inverse=True)
    for first in range(0, len(all_patterns), PATTERNS):
        patterns = all_patterns[first : first + PATTERNS]
        place = of_partial.ravel() - first
        some = (place >= 0) & (place < PATTERNS)
        rows, of_row = partial[some], place[some]
        seen = patterns.astype(float)
        both = seen[:, :, None] * seen[:, None, :]
        # S_oo⁻¹ stands, with zeros around it, in the inverse of the matrix that has S_oo for what
        # is observed and the identity for the rest.
        embedded = both * scatter + (1 - seen)[:, :, None] * np.eye(len(mean))
        factors = np.linalg.cholesky(embedded)
        inverse = both * np.linalg.inv(embedded)
        gain = inverse @ scatter
        centred = np.where(observed[rows], values[rows] - mean, 0.0)
        expected = mean + np.einsum("ra,rab->rb", centred, gain[of_row])
        given.values[rows] = np.where(observed[rows], values[rows], expected)
        scaled = np.einsum("ra,rab->rb", centred, inverse[of_row])
        given.distances[rows] = (scaled * centred).sum(axis=1)
        roots = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        given.log_determinants[rows] = 2 * roots[of_row]
        unseen = (1 - seen) * np.sqrt(np.bincount(of_row, minlength=len(seen)))[:, None]
        left = scatter - scatter @ gain
        given.spread[...] += (unseen[:, :, None] * unseen[:, None, :] * left).sum(axis=0)
    return given


def factor_conditional(
    values: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
    loadings: Float[np.ndarray, "asset factor"],
    noise: Float[np.ndarray, " asset"],
) -> Conditional:
    """`conditional` under S = W Wᵀ + diag(noise), all rows at once through the factors' posterior

        N(P⁻¹ W_oᵀ Ψ_o⁻¹ (x_o - m_o), P⁻¹),    P = I + W_oᵀ Ψ_o⁻¹ W_o

    (Rubin and Thayer 1982 for complete rows), in time linear in assets where patterns are many.

    Args:
        values: returns; NaN marks a missing cell.
        mean: m.
        loadings: W.
        noise: the diagonal of Ψ, positive.
    """
    observed = np.isfinite(values)
    centred = np.where(observed, values - mean, 0.0)
    weights, partial = observed / noise, ~observed.all(axis=1)
    # Complete rows have one precision.
    precision = np.repeat(posterior_precision(loadings, 1 / noise)[None], len(values), axis=0)
    precision[partial] = posterior_precision(loadings, weights[partial])
    scores = (centred * weights) @ loadings
    posterior = np.linalg.solve(precision, scores[:, :, None])[:, :, 0]
    roots = np.linalg.inv(np.linalg.cholesky(precision))
    unseen = np.einsum("nkl,al->nka", roots[partial], loadings) * ~observed[partial, None, :]
    unseen = unseen.reshape(-1, len(mean))
    filled = values.copy(order="K")
    filled[~observed] = (mean + posterior @ loadings.T)[~observed]
    half = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    return Conditional(
        values=filled,
        spread=unseen.T @ unseen + np.diag((~observed).sum(axis=0) * noise),
        distances=(centred**2 * weights).sum(axis=1) - (scores * posterior).sum(axis=1),
        log_determinants=observed @ np.log(noise) - 2 * half,
        counts=observed.sum(axis=1),
    )


def log_density(given: Conditional, df: float = np.inf) -> Float[np.ndarray, " date"]:
    """Log density of each row's observed cells, nats; 0 where nothing is observed.

    A marginal of a Student-t keeps its degrees of freedom.

    Args:
        given: the rows, from `conditional` or `factor_conditional`.
        df: ν; infinite for a Gaussian.
    """
    return elliptical_log_density(given.distances, given.log_determinants, given.counts, df)


def elliptical_log_density(
    distances: Float[np.ndarray, " date"],
    log_determinants: Float[np.ndarray, " date"],
    counts: Int[np.ndarray, " date"] | int,
    df: float = np.inf,
) -> Float[np.ndarray, " date"]:
    """Log density of rows under elliptical laws, nats.

        Gaussian:   −½ [n ln 2π + ln det S + δ]
        Student-t:  ln Γ((ν+n)/2) − ln Γ(ν/2) − ½ [n ln νπ + ln det S + (ν+n) ln(1 + δ/ν)]

    Args:
        distances: δ, squared Mahalanobis distances under the scatter matrices S.
        log_determinants: ln det S.
        counts: n, the cells of each row, or of every one.
        df: ν; infinite for a Gaussian.
    """
    if np.isinf(df):
        return -0.5 * (counts * np.log(2 * np.pi) + log_determinants + distances)
    normaliser = gammaln((df + counts) / 2) - gammaln(df / 2)
    spread = counts * np.log(df * np.pi) + log_determinants
    return normaliser - 0.5 * (spread + (df + counts) * np.log1p(distances / df))


def expected_moments(given: Conditional) -> Moments:
    """Moments of the filled rows, with the spread of what was filled added to the covariance.

    Args:
        given: the rows, from `conditional` or `factor_conditional`.
    """
    mean = given.values.mean(axis=0)
    centred = given.values - mean
    return Moments(mean, (centred.T @ centred + given.spread) / len(centred))


def draw_missing(
    rng: np.random.Generator,
    values: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
    scatter: Float[np.ndarray, "asset asset"],
) -> Float[np.ndarray, "date asset"]:
    """The rows with missing cells drawn from the Gaussian given the others (Rubin 1987).

    A conditional mean is what one expects of a cell; many of them vary less, and together more,
    than returns do. Draws keep variances and correlations, which is what spectra are made of.

    Args:
        rng: source of the draws.
        values: returns; NaN marks a missing cell.
        mean: of each asset.
        scatter: the Gaussian's covariance.
    """
    filled = conditional(values, mean, scatter).values
    partial = np.flatnonzero(~np.isfinite(values).all(axis=1))
    patterns, of_row = np.unique(np.isfinite(values[partial]), axis=0, return_inverse=True)
    for place, seen in enumerate(patterns):
        rows = partial[of_row.ravel() == place]
        left = scatter[np.ix_(~seen, ~seen)]
        if seen.any():
            factor = np.linalg.cholesky(scatter[np.ix_(seen, seen)])
            reach = solve_triangular(factor, scatter[np.ix_(seen, ~seen)], lower=True)
            left = left - reach.T @ reach
        root = np.linalg.cholesky(left)
        filled[np.ix_(rows, ~seen)] += rng.normal(size=(len(rows), len(root))) @ root.T
    return filled


def independent(values: Float[np.ndarray, "date asset"]) -> Conditional:
    """Rows under independent assets, each with the mean and variance of its own cells.

    Args:
        values: returns; NaN marks a missing cell.
    """
    mean = np.nanmean(values, axis=0)
    variance = np.maximum(np.nanvar(values, axis=0), np.finfo(float).tiny)
    return factor_conditional(values, mean, np.zeros((len(mean), 0)), variance)
