"""Elliptical densities where cells are missing: marginals, conditional means, expected moments.

NaN marks a missing cell. Cells are taken as missing at random (Rubin 1976): whether one is missing
may depend on the cells observed, not on its own value. Where every cell is observed the functions
below are the plain ones: nothing is filled, nothing spreads.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import solve_triangular
from scipy.special import gammaln

from jaxvae.analysis.linear_gaussian import posterior_precision

_TOLERANCE, _ROUNDS = 1e-5, 500  # nats a date; rounds
PATTERNS = 256  # so many at once, to bound memory
_Estimate = TypeVar("_Estimate")


class Conditional(NamedTuple):
    """Incomplete rows under a density, given the cells observed.

    Attributes:
        values: The rows, their missing cells filled by E[x_m | x_o].
        spread: Σ Cov[x_m | x_o] over rows, a Gaussian's; 0 in rows and columns that are observed.
        distances: (x_o - m_o)ᵀ S_oo⁻¹ (x_o - m_o) of each row.
        log_determinants: ln det S_oo of each row.
        counts: Cells observed in each row.
    """

    values: Float[np.ndarray, "date asset"]
    spread: Float[np.ndarray, "asset asset"]
    distances: Float[np.ndarray, " date"]
    log_determinants: Float[np.ndarray, " date"]
    counts: Int[np.ndarray, " date"]


class Moments(NamedTuple):
    """Mean and covariance (divisor n) of rows, expected ones where cells are missing."""

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
    once. Raises LinAlgError where S is not positive definite.
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
    patterns, of_row = np.unique(observed[partial], axis=0, return_inverse=True)
    of_row = of_row.ravel()
    for first in range(0, len(patterns), PATTERNS):
        some = (of_row >= first) & (of_row < first + PATTERNS)
        part = patterns[first : first + PATTERNS], of_row[some] - first
        _fill_rows(given, partial[some], *part, mean, scatter)
    return given


def _fill_rows(
    given: Conditional,
    rows: Int[np.ndarray, " row"],
    patterns: Bool[np.ndarray, "pattern asset"],
    of_row: Int[np.ndarray, " row"],
    mean: Float[np.ndarray, " asset"],
    scatter: Float[np.ndarray, "asset asset"],
) -> None:
    """Write the fields of rows with missing cells into `given`.

    S_oo⁻¹ stands, with zeros around it, in the inverse of the matrix that has S_oo for what is
    observed and the identity for the rest.
    """
    seen = patterns.astype(float)
    both, identity = seen[:, :, None] * seen[:, None, :], np.eye(len(mean))
    embedded = both * scatter + (1 - seen)[:, :, None] * identity
    factors = np.linalg.cholesky(embedded)
    inverse = both * np.linalg.inv(embedded)
    gain = inverse @ scatter
    centred = np.where(patterns[of_row], given.values[rows] - mean, 0.0)
    expected = mean + np.einsum("ra,rab->rb", centred, gain[of_row])
    given.values[rows] = np.where(patterns[of_row], given.values[rows], expected)
    scaled = np.einsum("ra,rab->rb", centred, inverse[of_row])
    given.distances[rows] = (scaled * centred).sum(axis=1)
    roots = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    given.log_determinants[rows] = 2 * roots[of_row]
    unseen = (1 - seen) * np.sqrt(np.bincount(of_row, minlength=len(patterns)))[:, None]
    left = scatter - scatter @ gain
    given.spread[...] += (unseen[:, :, None] * unseen[:, None, :] * left).sum(axis=0)


def factor_conditional(
    values: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
    loadings: Float[np.ndarray, "asset factor"],
    noise: Float[np.ndarray, " asset"],
) -> Conditional:
    """`conditional` under S = W Wᵀ + diag(noise), all rows at once through the factors' posterior

        N(P⁻¹ W_oᵀ Ψ_o⁻¹ (x_o - m_o), P⁻¹),    P = I + W_oᵀ Ψ_o⁻¹ W_o

    (Rubin and Thayer 1982 for complete rows), in time linear in assets where patterns are many.
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

    A marginal of a Student-t keeps its degrees of freedom. Args as `elliptical_log_density`.
    """
    return elliptical_log_density(given.distances, given.log_determinants, given.counts, df)


def elliptical_log_density(
    distances: Float[np.ndarray, " date"],
    log_determinants: Float[np.ndarray, " date"],
    counts: Int[np.ndarray, " date"],
    df: float = np.inf,
) -> Float[np.ndarray, " date"]:
    """Log density of rows under elliptical laws, nats.

        Gaussian:   −½ [n ln 2π + ln det S + δ]
        Student-t:  ln Γ((ν+n)/2) − ln Γ(ν/2) − ½ [n ln νπ + ln det S + (ν+n) ln(1 + δ/ν)]

    Args:
        distances: δ, squared Mahalanobis distances under the scatter matrices S.
        log_determinants: ln det S.
        counts: n, the cells of each row.
        df: ν; infinite for a Gaussian.
    """
    if np.isinf(df):
        return -0.5 * (counts * np.log(2 * np.pi) + log_determinants + distances)
    normaliser = gammaln((df + counts) / 2) - gammaln(df / 2)
    spread = counts * np.log(df * np.pi) + log_determinants
    return normaliser - 0.5 * (spread + (df + counts) * np.log1p(distances / df))


def expected_moments(given: Conditional) -> Moments:
    """Moments of the filled rows, with the spread of what was filled added to the covariance."""
    mean = given.values.mean(axis=0)
    centred = given.values - mean
    return Moments(mean, (centred.T @ centred + given.spread) / len(centred))


def maximise(
    values: Float[np.ndarray, "date asset"],
    expect: Callable[[_Estimate], Conditional],
    refit: Callable[[Conditional], _Estimate],
) -> _Estimate:
    """A model by EM over the missing cells (Dempster, Laird and Rubin 1977).

    A round fills the cells by their expectation under the model (`expect`) and fits the model to
    that (`refit`), until it gains less than 1e-5 nats a date, 500 rounds at most; it starts from
    independent assets. Rows without a missing cell need no expectation: there the first fit is the
    answer.
    """
    model = refit(independent(values))
    if np.isfinite(values).all():
        return model
    last = -np.inf
    for _ in range(_ROUNDS):
        given = expect(model)
        score = log_density(given).mean()
        if score - last < _TOLERANCE:
            break
        last, model = score, refit(given)
    return model


def draw_missing(
    rng: np.random.Generator,
    values: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
    scatter: Float[np.ndarray, "asset asset"],
) -> Float[np.ndarray, "date asset"]:
    """The rows with missing cells drawn from the Gaussian given the others (Rubin 1987).

    A conditional mean is what one expects of a cell; many of them vary less, and together more,
    than returns do. Draws keep variances and correlations, which is what spectra are made of.
    """
    filled = conditional(values, mean, scatter).values
    for rows, seen in _patterns(np.isfinite(values)):
        if seen.all():
            continue
        within, across, beyond = _blocks(scatter, seen)
        reach = _solve(np.linalg.cholesky(within), across)
        root = np.linalg.cholesky(beyond - reach.T @ reach)
        filled[np.ix_(rows, ~seen)] += rng.normal(size=(len(rows), len(root))) @ root.T
    return filled


def independent(values: Float[np.ndarray, "date asset"]) -> Conditional:
    """Rows under independent assets, each with the mean and variance of its own cells."""
    mean = np.nanmean(values, axis=0)
    variance = np.maximum(np.nanvar(values, axis=0), np.finfo(float).tiny)
    return factor_conditional(values, mean, np.zeros((len(mean), 0)), variance)


def _patterns(
    observed: Bool[np.ndarray, "date asset"],
) -> Iterator[tuple[Int[np.ndarray, " row"], Bool[np.ndarray, " asset"]]]:
    """Each pattern of observed cells with its rows."""
    patterns, of_row = np.unique(observed, axis=0, return_inverse=True)
    order = np.argsort(of_row.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(of_row.ravel(), minlength=len(patterns)))
    yield from zip(np.split(order, ends[:-1]), patterns, strict=True)


def _blocks(
    scatter: Float[np.ndarray, "asset asset"], seen: Bool[np.ndarray, " asset"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """S_oo, S_om, S_mm."""
    return scatter[np.ix_(seen, seen)], scatter[np.ix_(seen, ~seen)], scatter[np.ix_(~seen, ~seen)]


def _solve(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """factor⁻¹ right for a lower triangle, which may be empty."""
    return solve_triangular(factor, right, lower=True) if right.size else right
