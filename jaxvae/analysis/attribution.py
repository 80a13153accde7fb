"""Where variance comes from: what a portfolio owes to each factor, which assets move together."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.portfolios import mimicking_weights


class VarianceParts(NamedTuple):
    """The variance of portfolios, part by part; the parts sum to `total`.

    Attributes:
        total: wᵀ Σ w.
        factors: b_k (G b)_k of each factor; negative where one offsets others that it goes with.
        specific: wᵀ Ψ w.
        rest: what is left: curves, members that differ.
    """

    total: Float[np.ndarray, " portfolio"]
    factors: Float[np.ndarray, "portfolio factor"]
    specific: Float[np.ndarray, " portfolio"]
    rest: Float[np.ndarray, " portfolio"]


def variance_parts(
    weights: Float[np.ndarray, "portfolio asset"],
    loadings: Float[np.ndarray, "asset factor"],
    noise: Float[np.ndarray, " asset"],
    covariance: Float[np.ndarray, "asset asset"],
) -> VarianceParts:
    """Each portfolio's variance under Σ by factor and specific,

        wᵀ Σ w = bᵀ G b + wᵀ Ψ w + rest,   b = Wᵀ w,   G = Hᵀ (Σ − Ψ) H

    G is the covariance that Σ itself gives the factors, by the portfolios H that stand for them
    (`portfolios.mimicking_weights`): the identity where Σ = W Wᵀ + Ψ, another where factors are
    correlated or have not the variance that a loading per standard deviation takes for granted.
    bᵀ G b is shared out among factors by Euler's rule, b_k (G b)_k.

    Args:
        weights: a row a portfolio; the identity for the assets themselves.
        loadings: W.
        noise: the diagonal of Ψ, positive.
        covariance: Σ.

    Returns:
        A row or number a portfolio, in squared units of the returns.

    Source: Meucci (2007), "Risk contributions from generic user-defined factors".
    """
    portfolios = mimicking_weights(loadings, noise)
    common = portfolios.T @ (covariance - np.diag(noise)) @ portfolios
    exposures = weights @ loadings
    total = ((weights @ covariance) * weights).sum(axis=1)
    factors = exposures * (exposures @ common)
    specific = weights**2 @ noise
    return VarianceParts(total, factors, specific, total - factors.sum(axis=1) - specific)


def largest_pairs(
    values: Float[np.ndarray, "asset asset"], number: int
) -> Int[np.ndarray, "pair two"]:
    """The pairs i < j of a symmetric matrix's largest absolute values, the largest first; NaN is
    none.

    Args:
        values: the matrix.
        number: how many pairs, or all where there are fewer.

    Returns:
        Places i and j, a row a pair.
    """
    first, second = np.triu_indices(len(values), k=1)
    size = np.abs(values[first, second])
    known = np.flatnonzero(np.isfinite(size))
    order = known[np.argsort(-size[known], kind="stable")][:number]
    return np.stack([first[order], second[order]], axis=1)
