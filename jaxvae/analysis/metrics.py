"""Scores of reconstructions and factors, whatever model they come from."""

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from scipy import stats

ACTIVE_VARIANCE = 0.01
LEAST_SHARED = 10  # dates that a correlation of two assets rests on
CONSTANT_SHARE = 1e-9  # a column that moves less than this share of its size counts as constant
ROUNDING = 1e-9  # variances (standardised) and correlations below it are rounding


def r2(
    squared_error: float, values: Float[np.ndarray, "date asset"], mean: Float[np.ndarray, " asset"]
) -> float:
    """Share of variance explained, pooled over the observed cells.

        R² = 1 − Σ (x − x̂)² / Σ (x − mean)²

    Args:
        squared_error: Σ (x − x̂)² over the observed cells.
        values: x; NaN where a cell is missing.
        mean: of the *training* rows, so that out of sample it is what was known then. R² may be
            negative there.

    Returns:
        0 where no cell differs from the mean.
    """
    return float(_explained(np.array(squared_error), np.nansum((values - mean) ** 2)))


def column_r2(
    values: Float[np.ndarray, "date column"],
    residual: Float[np.ndarray, "date column"],
    mean: Float[np.ndarray, " column"] | float = 0.0,
) -> Float[np.ndarray, " column"]:
    """Each column's own `r2`, over observed cells: in their mean every column counts alike.

    Args:
        values: NaN where a cell is missing.
        residual: the values less what was rebuilt of them.
        mean: of the training rows; by default 0, as it is of standardised returns.
    """
    return _explained(np.nansum(residual**2, axis=0), np.nansum((values - mean) ** 2, axis=0))


def _explained(
    squared_error: Float[np.ndarray, "*column"], total: Float[np.ndarray, "*column"] | np.float64
) -> Float[np.ndarray, "*column"]:
    """1 − squared error / total; 0 where nothing varies."""
    varies = total > 0
    return np.where(varies, 1 - squared_error / np.where(varies, total, 1.0), 0.0)


def standardise_columns(
    columns: Float[np.ndarray, "*member date factor"],
) -> tuple[
    Float[np.ndarray, "*member date factor"],
    Float[np.ndarray, "*member factor"],
    Float[np.ndarray, "*member factor"],
]:
    """(x − location) / scale by column, with mean and standard deviation (divisor n) over dates.

    A constant column becomes zeros, its scale 1.

    Args:
        columns: of any members.

    Returns:
        The standardised columns, locations and scales.
    """
    location = columns.mean(axis=-2)
    centred = columns - location[..., None, :]
    scale = np.sqrt((centred**2).mean(axis=-2))
    moves = scale > CONSTANT_SHARE * np.abs(columns).max(axis=-2)
    scale = np.where(moves, scale, 1.0)
    return centred * (moves / scale)[..., None, :], location, scale


def correlation(
    a: Float[np.ndarray, "date factor"], b: Float[np.ndarray, "date other"]
) -> Float[np.ndarray, "factor other"]:
    """Pearson correlation of each column of `a` with each of `b`; 0 where one is constant.

    Args:
        a, b: columns on the same rows.
    """
    (a_units, _, _), (b_units, _, _) = standardise_columns(a), standardise_columns(b)
    return np.clip(a_units.T @ b_units / len(a), -1.0, 1.0)


def whitening(units: Float[np.ndarray, "date factor"]) -> Float[np.ndarray, "factor factor"]:
    """The map from standardised columns to uncorrelated ones of variance 1.

    Directions without variance map to 0.

    Args:
        units: standardised columns.
    """
    values, vectors = np.linalg.eigh(units.T @ units / len(units))
    kept = values > ROUNDING
    return vectors * np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)


def correlations_of_pairs(
    values: Float[np.ndarray, "date asset"],
) -> Float[np.ndarray, "asset asset"]:
    """Correlation of every pair of columns. Where cells are missing, of the dates that both have;
    NaN with fewer than 10 of these.

    Args:
        values: returns; NaN marks a missing cell.
    """
    if np.isfinite(values).all():
        return correlation(values, values)
    return pd.DataFrame(values).corr(min_periods=LEAST_SHARED).to_numpy()


def upper_correlations(values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " pair"]:
    """`correlations_of_pairs` i < j, row by row: the triangle above the diagonal.

    Args:
        values: returns; NaN marks a missing cell.
    """
    first, second = np.triu_indices(values.shape[1], k=1)
    return correlations_of_pairs(values)[first, second]


def active_units(
    means: Float[np.ndarray, "*member date factor"],
) -> Bool[np.ndarray, "*member factor"]:
    """Which factors a model uses: Var_x(E_q[z]) > 0.01 (Burda et al. 2016, arXiv:1509.00519).

    Args:
        means: posterior means of the factors, in units of the prior's standard deviation.
    """
    return means.var(axis=-2) > ACTIVE_VARIANCE


def describe(values: Float[np.ndarray, "date asset"]) -> dict[str, float]:
    """Moments and extremes of all observed cells pooled; the standard deviation has the divisor n,
    the excess kurtosis of a Gaussian is 0.

    Args:
        values: returns; NaN marks a missing cell.

    Returns:
        By name: mean, std, min, max, skewness, excess_kurtosis.
    """
    cells = values[~np.isnan(values)]
    return {
        "mean": float(cells.mean()),
        "std": float(cells.std()),
        "min": float(cells.min()),
        "max": float(cells.max()),
        "skewness": float(stats.skew(cells)),
        "excess_kurtosis": float(stats.kurtosis(cells)),
    }
