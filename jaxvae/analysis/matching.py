"""One-to-one matching of learned factors with reference ones, and the scores that rest on it.

Learned factors come in any order, sign and scale. Assignment, signs and regressions are learned on
the rows of `fit` and scored on the rows of any split, so that a score out of sample is one.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from jaxvae.analysis.metrics import column_r2, correlation, standardise_columns

MOST_COMPARED = 1000  # members whose pairs are compared


class Matching(NamedTuple):
    """Which learned factor stands for each reference factor.

    Attributes:
        learned: its index, −1 where none does.
        signs: of their correlation; 0 where none does.
        correlations: |correlation| on the rows matched on; 0 where none does.
    """

    learned: Int[np.ndarray, " reference"]
    signs: Float[np.ndarray, " reference"]
    correlations: Float[np.ndarray, " reference"]


class Compared(NamedTuple):
    """Learned factors (codes) beside those they are compared with (factors).

    Attributes:
        fit_codes, fit_factors: on the rows to learn a comparison from.
        codes, factors: on the rows to score.
    """

    fit_codes: Float[np.ndarray, "date code"]
    fit_factors: Float[np.ndarray, "date factor"]
    codes: Float[np.ndarray, "later code"]
    factors: Float[np.ndarray, "later factor"]


def compare_on(
    codes: Float[np.ndarray, "date code"],
    factors: Float[np.ndarray, "date factor"],
    fit: slice,
    rows: slice,
) -> Compared:
    """Codes beside factors of all dates, cut into the dates to learn from and those to score.

    Args:
        codes: learned factors, of all dates.
        factors: what they are compared with, of the same dates.
        fit: the dates to learn from.
        rows: the dates to score.
    """
    return Compared(codes[fit], factors[fit], codes[rows], factors[rows])


def assign(strength: Float[np.ndarray, "pair factor other"]) -> Int[np.ndarray, "pair other"]:
    """One-to-one assignments of largest total strength, one a matrix (the Hungarian method).

    Args:
        strength: not negative, such as |correlation|.

    Returns:
        The factor assigned to each other factor; −1 where none is left or its strength is 0.

    Source: Kuhn (1955), as `scipy.optimize.linear_sum_assignment` solves it (Crouse 2016).
    """
    chosen = np.full((strength.shape[0], strength.shape[2]), -1)
    for row, matrix in zip(chosen, strength, strict=True):
        factor, other = linear_sum_assignment(matrix, maximize=True)
        row[other] = np.where(matrix[factor, other] > 0, factor, -1)
    return chosen


def pick(
    matrices: Float[np.ndarray, "pair factor other"], chosen: Int[np.ndarray, "pair other"]
) -> Float[np.ndarray, "pair other"]:
    """The entry of each column that `chosen` names; 0 where it names none.

    Args:
        matrices: one a pair.
        chosen: a row of each column, such as `assign` gives; −1 for none.
    """
    entries = np.take_along_axis(matrices, np.maximum(chosen, 0)[:, None, :], axis=1)[:, 0]
    return np.where(chosen >= 0, entries, 0.0)


def matched_total(strength: Float[np.ndarray, "pair factor other"]) -> Float[np.ndarray, " pair"]:
    """Total strength of the best one-to-one assignment of each matrix (`assign`).

    Args:
        strength: as in `assign`.
    """
    return np.array(
        [matrix[linear_sum_assignment(matrix, maximize=True)].sum() for matrix in strength]
    )


def matched_totals(
    units: Float[np.ndarray, "member date factor"], others: Float[np.ndarray, "other date factor"]
) -> Float[np.ndarray, "member other"]:
    """Total matched |correlation| of every member with every other.

    Args:
        units: standardised factors (`metrics.standardise_columns`), zeros where one is not used.
        others: the same of the others; where they are the members themselves, each pair is matched
            once.
    """
    n_members, n_dates, n_factors = units.shape
    columns = others.transpose(1, 0, 2).reshape(n_dates, -1) / n_dates
    totals = np.empty((n_members, len(others)))
    for row, unit in enumerate(units):
        first = row if others is units else 0
        strength = np.abs(unit.T @ columns[:, first * n_factors :])
        pairs = strength.reshape(n_factors, -1, others.shape[2]).transpose(1, 0, 2)
        totals[row, first:] = matched_total(pairs)
        if others is units:
            totals[first:, row] = totals[row, first:]
    return totals


def compared_members(n_members: int) -> Int[np.ndarray, " compared"]:
    """Members whose agreement in pairs is worked out: all, or a thousand at even steps, since pairs
    grow with the square of members, and a map of more shows nothing else.

    Args:
        n_members: how many there are.

    Returns:
        Their places.
    """
    compared = min(n_members, MOST_COMPARED)
    return np.arange(compared) * n_members // max(compared, 1)


def agreement(
    units: Float[np.ndarray, "member date factor"], others: Float[np.ndarray, "other date factor"]
) -> Float[np.ndarray, "member other"]:
    """Agreement of every member with every other: the total |correlation| of their factors, matched
    one-to-one, over the larger number of factors that either uses.

    Args:
        units, others: as in `matched_totals`.

    Returns:
        From 0, where neither uses any factor, to 1, where both use the same ones, however few.
    """
    in_use, by_others = (part.any(axis=1).sum(axis=1) for part in (units, others))
    return matched_totals(units, others) / np.maximum(np.maximum.outer(in_use, by_others), 1)


def match(
    learned: Float[np.ndarray, "date factor"], reference: Float[np.ndarray, "date reference"]
) -> Matching:
    """Match one-to-one by the largest total |correlation|, with signs.

    The two may differ in number: with fewer learned factors, some references stay unmatched; with
    more, some learned factors do. A constant factor matches nothing.

    Args:
        learned: the learned factors.
        reference: those to be found again, on the same rows.
    """
    correlations = correlation(learned, reference)[None]
    chosen = assign(np.abs(correlations))
    matched = pick(correlations, chosen)[0]
    return Matching(chosen[0], np.sign(matched), np.abs(matched))


def mcc(
    matching: Matching,
    learned: Float[np.ndarray, "date factor"],
    reference: Float[np.ndarray, "date reference"],
) -> float:
    """Mean matched correlation over the reference factors, −1 to 1, on any rows.

    Signs are the matching's, so that a correlation that turns over out of sample is negative. An
    unmatched reference factor scores 0. 1 is identification up to order, sign and scale; what luck
    and rotation score is in `nulls`.

    Args:
        matching: from `match`, perhaps on other rows.
        learned, reference: as in `match`.

    Source: Hyvärinen and Morioka (2016), here with the assignment fixed beforehand.
    """
    matched = pick(correlation(learned, reference)[None], matching.learned[None])[0]
    return float((matching.signs * matched).mean())


def subspace_r2(compared: Compared) -> float:
    """Mean R² of the reference factors regressed on all learned ones, which rotation cannot spoil.

    Least squares with an intercept on the `fit_` rows; R² on the others, against the reference's
    mean on the `fit_` rows, as `metrics.r2` has it. Constant learned factors take no part.

    Args:
        compared: from `compare_on`; its factors are the references.
    """
    fit_codes, fit_factors, codes, factors = compared
    units, location, scale = standardise_columns(fit_codes)
    mean = fit_factors.mean(axis=0)
    coefficients = np.linalg.lstsq(units, fit_factors - mean, rcond=None)[0]
    predicted = mean + (codes - location) / scale @ coefficients
    return float(column_r2(factors, factors - predicted, mean).mean())
