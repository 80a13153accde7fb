"""Second moments of a panel, and what stands out of the noise in them, however many assets."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

# From such a size on, and for so small a share of them, eigenpairs are sought one by one.
_LARGE, _FEW = 500, 0.1


class SecondMoments(NamedTuple):
    """Second moments S of rows about their mean (divisor n).

    Attributes:
        matrix: S itself; where dates are fewer than assets, rows R with RᵀR = S, whose products
            with each other are the smaller matrix.
        of_rows: whether it is R.
    """

    matrix: Float[np.ndarray, "row asset"]
    of_rows: bool = False

    @classmethod
    def of(cls, values: Float[np.ndarray, "date asset"]) -> "SecondMoments":
        """Second moments of complete rows.

        Args:
            values: complete rows.
        """
        n_dates, n_assets = values.shape
        rows = (values - values.mean(axis=0)) / np.sqrt(n_dates)
        return cls(rows, of_rows=True) if n_dates < n_assets else cls(rows.T @ rows)

    @property
    def variances(self) -> Float[np.ndarray, " asset"]:
        """The diagonal of S."""
        return (self.matrix**2).sum(axis=0) if self.of_rows else np.diag(self.matrix)

    def eigenvalues(
        self, noise: Float[np.ndarray, " asset"], most: int | None = None
    ) -> Float[np.ndarray, " asset"]:
        """Those of Ψ^(−½) S Ψ^(−½), largest first.

        Args:
            noise: the diagonal of Ψ.
            most: how many are needed; of large matrices no more are sought, and others are 0.
        """
        found, matrix = np.zeros(len(noise)), self._smaller(noise)
        if most is not None and _are_few(most, matrix):
            own = np.sort(_sought(matrix, most, vectors=False))[::-1]
        else:
            own = np.linalg.eigvalsh(matrix)[::-1]
        found[: len(own)] = np.maximum(own, 0.0)
        return found

    def leading(
        self, noise: Float[np.ndarray, " asset"], most: int
    ) -> tuple[Float[np.ndarray, " factor"], Float[np.ndarray, "asset factor"]]:
        """The largest eigenvalues of Ψ^(−½) S Ψ^(−½), largest first, with eigenvectors.

        Args:
            noise: the diagonal of Ψ.
            most: how many are asked for; no more than can differ from 0 are found.

        Returns:
            Eigenvalues, and a column of each one's eigenvector.
        """
        matrix = self._smaller(noise)
        size = len(matrix)
        most = min(most, size)
        if _are_few(most, matrix):
            values, vectors = _sought(matrix, most)
        else:
            values, vectors = eigh(matrix, subset_by_index=[size - most, size - 1])
        order = np.argsort(values)[::-1]
        values, vectors = np.maximum(values[order], 0.0), vectors[:, order]
        if self.of_rows:
            vectors = (self.matrix / np.sqrt(noise)).T @ vectors
            vectors /= np.sqrt(np.maximum(values, np.finfo(float).tiny))
        return values, vectors

    def _smaller(self, noise: Float[np.ndarray, " asset"]) -> Float[np.ndarray, "size size"]:
        """Ψ^(−½) S Ψ^(−½), or the products of rows that share its eigenvalues but for zeros."""
        root = 1 / np.sqrt(noise)
        if self.of_rows:
            rows = self.matrix * root
            return rows @ rows.T
        return self.matrix * np.outer(root, root)


def _are_few(most: int, matrix: Float[np.ndarray, "size size"]) -> bool:
    """Whether so many of a matrix's eigenvalues are found faster one by one."""
    return len(matrix) >= _LARGE and 0 < most <= _FEW * len(matrix)


def _sought(matrix: Float[np.ndarray, "size size"], most: int, vectors: bool = True) -> Any:
    """The largest eigenvalues, with eigenvectors or alone, by Lanczos' method; the same every
    time."""
    # Any but a constant, which rows about their mean map to 0.
    start = np.cos(np.arange(len(matrix)))
    return eigsh(matrix, most, which="LA", v0=start, return_eigenvectors=vectors)
