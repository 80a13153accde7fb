"""Exponentially weighted covariances with Student-t innovations: one step ahead."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular

from jaxvae.analysis.baselines.elliptical import regularly
from jaxvae.analysis.incomplete import elliptical_log_density
from jaxvae.errors import OptionError

DECAY = 0.99
SHRINKAGE = 0.1
FIRST_DATES = 252
DFS = (4.0, 6.0, 8.0, 12.0)


class EwmaT(NamedTuple):
    """Each date's law given the dates before it: a Student-t of mean zero and covariance Σ_t.

        S ← .99 S + .01 x xᵀ,    Σ_t = .9 S + .1 C tr S / tr C

    Attributes:
        first: S before the first date.
        target: C, the covariance (divisor n) of the rows fitted.
        df: Degrees of freedom ν, above 2; infinite for a Gaussian.
    """

    first: Float[np.ndarray, "asset asset"]
    target: Float[np.ndarray, "asset asset"]
    df: float = np.inf

    @property
    def n_factors(self) -> int:
        return 0

    def factors(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "date 0"]:
        return np.zeros((len(values), 0))

    def reconstruct(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Float[np.ndarray, "date asset"]:
        return np.zeros_like(values)

    def covariances(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Iterator[Float[np.ndarray, "asset asset"]]:
        """Σ_t of each date, from the dates before it.

        Args:
            values: Complete rows in standard units, the first of them the first fitted.
        """
        moment = self.first
        for row in values:
            scaled = self.target * (np.trace(moment) / np.trace(self.target))
            yield (1 - SHRINKAGE) * moment + SHRINKAGE * scaled
            moment = DECAY * moment + (1 - DECAY) * np.outer(row, row)

    def log_likelihood(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " date"]:
        """log p(x_t | dates before) in nats, with the scale matrix Σ_t (ν − 2)/ν.

        Args:
            values: As in `covariances`.
        """
        return _log_density(values.shape[1], *self._distances(values), self.df)

    def _distances(
        self, values: Float[np.ndarray, "date asset"]
    ) -> tuple[Float[np.ndarray, " date"], Float[np.ndarray, " date"]]:
        """x_tᵀ Σ_t⁻¹ x_t and ln det Σ_t of each date."""
        distances, log_determinants = np.empty((2, len(values)))
        for date, covariance in enumerate(self.covariances(values)):
            root = np.linalg.cholesky(covariance)
            distances[date] = (solve_triangular(root, values[date], lower=True) ** 2).sum()
            log_determinants[date] = 2 * np.log(np.diag(root)).sum()
        return distances, log_determinants


def fit_ewma_t(
    values: Float[np.ndarray, "date asset"], n_train: int, dfs: Sequence[float] = DFS
) -> EwmaT:
    """EWMA covariances with t innovations, the ν of `dfs` that makes the validation rows likeliest.

    S starts from the first 252 rows (or all, if there are fewer), which forecasts of dates among
    them therefore know.

    Args:
        values: Complete returns of training and validation, in this order.
        n_train: How many of the rows are for training.
        dfs: Degrees of freedom to try.

    Raises:
        OptionError: A ν is not above 2, and has no covariance.
        DataError: A covariance is singular.

    Source: RiskMetrics (J.P. Morgan 1996), shrunk towards a constant correlation as in Ledoit and
    Wolf (2004), "Honey, I shrunk the sample covariance matrix".
    """
    if any(not df > 2 for df in dfs):
        raise OptionError("dfs", f"{list(dfs)} must each be above 2")
    start = values[:FIRST_DATES]
    gaussian = EwmaT(start.T @ start / len(start), np.cov(values.T, ddof=0))
    with regularly(values):
        distances, log_determinants = gaussian._distances(values)
    scores = [
        _log_density(values.shape[1], distances, log_determinants, df)[n_train:].mean()
        for df in dfs
    ]
    return gaussian._replace(df=dfs[int(np.argmax(scores))])


def _log_density(
    n_assets: int,
    distances: Float[np.ndarray, " date"],
    log_determinants: Float[np.ndarray, " date"],
    df: float,
) -> Float[np.ndarray, " date"]:
    """Student-t of given covariances, nats."""
    scale = 1.0 if np.isinf(df) else (df - 2) / df
    counts = np.full(len(distances), n_assets)
    of_scatter = distances / scale, log_determinants + n_assets * np.log(scale)
    return elliptical_log_density(*of_scatter, counts, df)
