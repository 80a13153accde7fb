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
    """S once all rows are known, as `averages_before` has it.

    Args:
        rows: x, complete, oldest first.
        decay: λ, from 0 to 1.
        first: S before the first date.
    """
    weights = (1 - decay) * decay ** np.arange(len(rows))[::-1]
    return decay ** len(rows) * first + (rows.T * weights) @ rows


def distances_of_dates(
    matrices: Iterable[Float[np.ndarray, "_ asset asset"]],
    rows: Float[np.ndarray, "date asset"],
) -> tuple[Float[np.ndarray, " date"], Float[np.ndarray, " date"]]:
    """x_tᵀ Σ_t⁻¹ x_t and ln det Σ_t of each date.

    Args:
        matrices: Σ, in chunks of consecutive dates.
        rows: x, of all these dates.

    Returns:
        The distances and the log determinants, by date.

    Raises:
        LinAlgError: a matrix is not positive definite.
    """
    (n_dates, n_assets), begun = rows.shape, 0
    distances, log_determinants = np.full((2, n_dates), np.nan)
    for part in matrices:
        here = slice(begun, begun + len(part))
        bordered = np.empty((len(part), n_assets + 1, n_assets + 1))
        bordered[:, :-1, :-1] = part
        bordered[:, -1, :-1] = bordered[:, :-1, -1] = rows[here]
        # The last row of this matrix's Cholesky factor holds L⁻¹x, whatever stands in the corner,
        # as long as it is large: one factorisation serves for both.
        bordered[:, -1, -1] = np.finfo(float).max
        roots = np.linalg.cholesky(bordered)
        pivots = np.diagonal(roots, axis1=1, axis2=2)[:, :-1]
        distances[here] = (roots[:, -1, :-1] ** 2).sum(axis=1)
        log_determinants[here] = 2 * np.log(pivots).sum(axis=1)
        begun += len(part)
    return distances, log_determinants
