"""Exponentially weighted averages of products of returns, and elliptical distances under them."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

CHUNK = 64  # dates at once, to stay in a cache


def averages_before(
    rows: Float[np.ndarray, "date asset"],
    decay: float,
    first: Float[np.ndarray, "asset asset"],
) -> Iterator[Float[np.ndarray, "part asset asset"]]:
    """S_t of each date from the dates before it, in chunks of consecutive dates.

        S_1 = first,    S_{t+1} = λ S_t + (1 − λ) x_t x_tᵀ

    Args:
        rows: x, complete, oldest first.
        decay: λ, from 0 to 1.
        first: S before the first date.
    """
    lags = np.arange(CHUNK)[:, None] - np.arange(CHUNK) - 1
    weights = np.where(lags >= 0, (1 - decay) * decay ** np.maximum(lags, 0), 0.0)
    kept, last = decay ** np.arange(CHUNK), first
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        n_dates, size = len(part), last.size
        products = (part[:, :, None] * part[:, None, :]).reshape(n_dates, size)
        found = weights[:n_dates, :n_dates] @ products
        found += kept[:n_dates, None] * last.ravel()
        yield found.reshape(n_dates, *last.shape)
        last = average_after(part, decay, last)


def average_after(
    rows: Float[np.ndarray, "date asset"],
    decay: float,
    first: Float[np.ndarray, "asset asset"],
) -> Float[np.ndarray, "asset asset"]:
    """S once all rows are known; arguments as in `averages_before`."""
    weights = (1 - decay) * decay ** np.arange(len(rows))[::-1]
    return decay ** len(rows) * first + (rows.T * weights) @ rows


def distances_of_dates(
    matrices: Iterable[Float[np.ndarray, "part asset asset"]],
    rows: Float[np.ndarray, "date asset"],
) -> tuple[Float[np.ndarray, " date"], Float[np.ndarray, " date"]]:
    """`distances` of all dates, whose matrices come in chunks of consecutive ones."""
    found, begun = [], 0
    for part in matrices:
        found.append(distances(part, rows[begun : begun + len(part)]))
        begun += len(part)
    of_rows, log_determinants = zip(*found, strict=True)
    return np.concatenate(of_rows), np.concatenate(log_determinants)


def distances(
    matrices: Float[np.ndarray, "date asset asset"], rows: Float[np.ndarray, "date asset"]
) -> tuple[Float[np.ndarray, " date"], Float[np.ndarray, " date"]]:
    """x_tᵀ Σ_t⁻¹ x_t and ln det Σ_t of each date.

    Raises:
        LinAlgError: A matrix is not positive definite.
    """
    n_dates, n_assets = rows.shape
    bordered = np.empty((n_dates, n_assets + 1, n_assets + 1))
    bordered[:, :-1, :-1] = matrices
    bordered[:, -1, :-1] = bordered[:, :-1, -1] = rows
    # The last row of this matrix's Cholesky factor holds L⁻¹x, whatever stands in the corner, as
    # long as it is large: one factorisation serves for both.
    bordered[:, -1, -1] = np.finfo(float).max
    roots = np.linalg.cholesky(bordered)
    pivots = np.diagonal(roots, axis1=1, axis2=2)[:, :-1]
    return (roots[:, -1, :-1] ** 2).sum(axis=1), 2 * np.log(pivots).sum(axis=1)
