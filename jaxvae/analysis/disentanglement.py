"""How far each code stands for one true factor and each factor for one code; all continuous.

Codes are what a model learned ("date code"), factors the truth ("date factor"). Where something is
learned (a regression, a direction), it is learned on the rows of `fit` and scored on the rows of
any split. Means of the posterior hide how uncertain it is, and none of these scores asks how much a
code varies: set codes that a model does not use (`metrics.active_units`) to a constant beforehand.
A constant code says nothing of any factor.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import entr

from jaxvae.analysis.matching import Compared
from jaxvae.analysis.metrics import (
    ROUNDING,
    column_r2,
    correlation,
    standardise_columns,
    whitening,
)

N_BINS = 10
RIDGE_PENALTIES = np.geomspace(1e-4, 1e2, 25)


class Dci(NamedTuple):
    """The three numbers of `dci`.

    Attributes:
        disentanglement, completeness: 0 to 1.
        informativeness: at most 1.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def dci(compared: Compared) -> Dci:
    """Disentanglement, completeness and informativeness of Eastwood and Williams (2018).

    Importances are those of a ridge regression (`ridge`): the absolute coefficients of each
    standardised factor on all standardised codes, on the `fit_` rows. `dci_scores` makes the first
    two numbers of them; codes that repeat each other share their importance. Informativeness is the
    regression's R² on the other rows, against the factor's mean on the `fit_` rows, averaged over
    factors: 1 − NRMSE² in the terms of the authors, who give the error and take importances from a
    lasso or a forest. Linear: what a code says of a factor along a curve is for
    `mutual_information` to see.

    Args:
        compared: from `matching.compare_on`.

    Source: "A framework for the quantitative evaluation of disentangled representations" (ICLR
    2018).
    """
    fit_codes, fit_factors, codes, factors = compared
    code_units, code_location, code_scale = standardise_columns(fit_codes)
    factor_units, location, scale = standardise_columns(fit_factors)
    coefficients = ridge(code_units, factor_units)
    predicted = location + (codes - code_location) / code_scale @ coefficients * scale
    disentanglement, completeness = dci_scores(np.abs(coefficients))
    informativeness = float(column_r2(factors, factors - predicted, location).mean())
    return Dci(disentanglement, completeness, informativeness)


def ridge(
    regressors: Float[np.ndarray, "date regressor"], targets: Float[np.ndarray, "date target"]
) -> Float[np.ndarray, "regressor target"]:
    """Coefficients of each target's own ridge regression, in closed form.

        b = (XᵀX / n + λ I)⁻¹ Xᵀy / n,    λ the argmin of  (‖y − X b‖² / n) / (1 − (1 + df) / n)²

    with df = Σ_i s_i² / (s_i² + n λ), s the singular values of X, and one degree of freedom more
    for the mean: generalised cross-validation over 25 penalties from .0001 to 100, even in their
    logarithm. Regressors that repeat each other share their weight.

    Args:
        regressors, targets: centred, usually standardised; more dates than regressors and 1.

    Returns:
        A column a target.

    Source: Golub, Heath and Wahba (1979), "Generalized cross-validation as a method for choosing a
    good ridge parameter".
    """
    n_dates, penalties = len(regressors), RIDGE_PENALTIES[:, None] * len(regressors)
    left, singular, right = np.linalg.svd(regressors, full_matrices=False)
    projected = left.T @ targets
    kept = singular**2 / (singular**2 + penalties)
    residual = (targets**2).sum(axis=0) - (2 * kept - kept**2) @ projected**2
    free = 1 - (1 + kept.sum(axis=1)) / n_dates
    best = penalties[(residual / free[:, None] ** 2).argmin(axis=0), 0]
    scaled = singular[:, None] / (singular[:, None] ** 2 + best)
    return right.T @ (scaled * projected)


def dci_scores(importance: Float[np.ndarray, "code factor"]) -> tuple[float, float]:
    """Disentanglement and completeness of an importance matrix R, not negative.

        disentanglement = Σ_i w_i [1 + Σ_j p_ij ln p_ij / ln J],  p_ij = R_ij / Σ_j R_ij
        completeness    = Σ_j v_j [1 + Σ_i q_ij ln q_ij / ln I],  q_ij = R_ij / Σ_i R_ij

    over I codes and J factors, w and v each row's and each column's share of all importance. Where
    there is one factor (code), nothing can be mixed (scattered), and disentanglement (completeness)
    is 1. Both are 0 where nothing has importance.

    Args:
        importance: R.

    Returns:
        Disentanglement and completeness, 0 to 1.

    Source: Eastwood and Williams (2018); they average completeness over factors without the weights
    v, which are those of Locatello et al. (2019).
    """
    return _concentration(importance), _concentration(importance.T)


def mutual_information(
    codes: Float[np.ndarray, "date code"],
    factors: Float[np.ndarray, "date factor"],
    n_bins: int = N_BINS,
) -> Float[np.ndarray, "code factor"]:
    """Mutual information of each code and each factor, nats, from bins of equal counts.

        I = Σ_ab p_ab ln [p_ab / (p_a p_b)]

    with p the shares of dates in the bins, which are cut at the quantiles of each series on these
    rows: so the answer ignores monotone maps. At most ln(n_bins), 2.30 by default, and below the
    information of the series themselves: .457 for Gaussians of correlation .8, in place of .511.
    Independent series of n dates score about (n_bins − 1)² / 2n, not 0: .06 for 700 dates.

    Args:
        codes: learned factors.
        factors: true ones, on the same dates.
        n_bins: of each series.
    """
    code_bins, factor_bins = _one_hot(codes, n_bins), _one_hot(factors, n_bins)
    counts = code_bins.reshape(len(codes), -1).T @ factor_bins.reshape(len(codes), -1)
    joint = counts.reshape(codes.shape[1], n_bins, factors.shape[1], n_bins) / len(codes)
    separate = _entropy(joint[:, :, 0].sum(axis=2))[:, None] + _entropy(joint[0].sum(axis=0))
    return np.maximum(separate - entr(joint).sum(axis=(1, 3)), 0.0)


def binned_entropy(
    series: Float[np.ndarray, "date series"], n_bins: int = N_BINS
) -> Float[np.ndarray, " series"]:
    """Entropy of each series, nats, from the bins of `mutual_information`.

    ln(n_bins) for a series without ties, 0 for a constant one.

    Args:
        series: a column each.
        n_bins: of each series.
    """
    return _entropy(_one_hot(series, n_bins).mean(axis=0))


def information_gap(
    information: Float[np.ndarray, "code factor"], entropy: Float[np.ndarray, " factor"]
) -> float:
    """Mutual information gap, 0 to 1: mean over factors of [I_1 − I_2] / H.

    I_1 and I_2 are the largest and second largest information that any code has of the factor, H
    the factor's own entropy, all in nats and from the same bins. With finer bins H grows as
    ln(n_bins) and I does not, once the bins are narrower than the code's error: give `n_bins`
    beside the score. Nothing is learned.

    Args:
        information: from `mutual_information`.
        entropy: from `binned_entropy`.

    Source: Chen et al. (2018), "Isolating sources of disentanglement" (arXiv:1802.04942).
    """
    return float(np.mean(_gap(information) / np.where(entropy > 0, entropy, 1.0)))


def modularity(information: Float[np.ndarray, "code factor"]) -> float:
    """Mean over codes of 1 − Σ_{j≠best} I_j² / [(J − 1) I_best²], 0 to 1.

    1 where each code informs on one factor alone, however many codes share that factor; a code that
    knows all J factors alike, or none, counts 0. A single factor cannot be mixed.

    Args:
        information: from `mutual_information`.

    Source: Ridgeway and Mozer (2018), "Learning deep disentangled embeddings" (arXiv:1802.05312);
    the 0 of a code that knows nothing is that of Locatello et al. (2019).
    """
    squares = information**2
    best = squares.max(axis=1)
    others = (squares.sum(axis=1) - best) / max(information.shape[1] - 1, 1)
    return float(np.where(best > 0, 1 - others / np.where(best > 0, best, 1.0), 0.0).mean())


def sap(compared: Compared) -> float:
    """Separated attribute predictability, 0 to 1: mean over factors of R²_1 − R²_2.

    R²_1 and R²_2 are the largest and second largest R² of a linear regression of the factor on one
    code, learned on the `fit_` rows and scored on the others against the factor's mean on the
    `fit_` rows; one below 0 counts as 0. The authors score the rows learned on, where R² is the
    squared correlation.

    Args:
        compared: from `matching.compare_on`.

    Source: Kumar et al. (2018), "Variational inference of disentangled latent concepts"
    (arXiv:1711.00848).
    """
    fit_codes, fit_factors, codes, factors = compared
    _, code_location, code_scale = standardise_columns(fit_codes)
    _, location, scale = standardise_columns(fit_factors)
    slopes = correlation(fit_codes, fit_factors) * scale
    units, centred = (codes - code_location) / code_scale, factors - location
    residuals = centred[:, None] - units[:, :, None] * slopes
    total = (centred**2).sum(axis=0)
    left = (residuals**2).sum(axis=0) / np.where(total > 0, total, 1.0)
    return float(_gap(np.where(total > 0, np.maximum(1 - left, 0.0), 0.0)).mean())


def canonical_correlations(compared: Compared) -> Float[np.ndarray, " pair"]:
    """Correlations of the best matching directions in codes and factors, min(code, factor) of them.

    Directions are learned on the `fit_` rows, where the correlations fall from pair to pair; on
    others they need not, and may be negative. No rotation or scale of either side changes them. A
    pair beyond the rank of either side scores 0.

    Args:
        compared: from `matching.compare_on`.

    Source: Hotelling (1936), "Relations between two sets of variates".
    """
    fit_codes, fit_factors, codes, factors = compared
    code_units, code_location, code_scale = standardise_columns(fit_codes)
    factor_units, location, scale = standardise_columns(fit_factors)
    whiten_codes, whiten_factors = whitening(code_units), whitening(factor_units)
    white = whiten_codes.T @ code_units.T @ factor_units @ whiten_factors / len(fit_codes)
    left, found, right = np.linalg.svd(white, full_matrices=False)
    code_variates = (codes - code_location) / code_scale @ whiten_codes @ left
    factor_variates = (factors - location) / scale @ whiten_factors @ right.T
    later = np.diag(correlation(code_variates, factor_variates))
    return np.where(found > ROUNDING, later, 0.0)


def _concentration(importance: Float[np.ndarray, "row column"]) -> float:
    """1 − entropy (as a share of its maximum) of each row, averaged with the rows' sums as weights.

    0 where all is 0.
    """
    sums = importance.sum(axis=1)
    if not sums.any():
        return 0.0
    shares = importance / np.where(sums > 0, sums, 1.0)[:, None]
    entropy = entr(shares).sum(axis=1) / np.log(max(importance.shape[1], 2))
    return float(np.average(1 - entropy, weights=sums))


def _one_hot(
    series: Float[np.ndarray, "date series"], n_bins: int
) -> Float[np.ndarray, "date series bin"]:
    """1 in the bin of each value, 0 elsewhere; bins of equal counts, one for a constant series."""
    units, _, _ = standardise_columns(series)
    # Edges that are values of the series: an interpolated one may fall to either side by rounding.
    edges = np.quantile(units, np.arange(1, n_bins) / n_bins, axis=0, method="inverted_cdf")
    labels = (units[:, :, None] > edges.T).sum(axis=2)
    return (labels[:, :, None] == np.arange(n_bins)).astype(float)


def _entropy(shares: Float[np.ndarray, "series bin"]) -> Float[np.ndarray, " series"]:
    return entr(shares).sum(axis=1)


def _gap(strength: Float[np.ndarray, "code factor"]) -> Float[np.ndarray, " factor"]:
    """The largest less the second largest entry of each column; a lone code's second is 0."""
    padded = np.concatenate([strength, np.zeros((1, strength.shape[1]))])
    second, first = np.sort(padded, axis=0)[-2:]
    return first - second
