"""A Gaussian or Student-t law of a date's returns, with a linear map to factors and back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxvae.analysis import linear_gaussian
from jaxvae.analysis.incomplete import (
    Conditional,
    Moments,
    conditional,
    factor_conditional,
    independent,
    log_density,
)
from jaxvae.errors import DataError, OptionError

_TOLERANCE, _ROUNDS = 1e-5, 500  # nats a date; rounds
# Noise variance never falls below this share of the returns': noiseless data keeps a density.
LEAST_NOISE_SHARE = 1e-6
SINGULAR_SHARE = 1e-12  # of the largest eigenvalue: smaller ones are rounding


class FactorForm(NamedTuple):
    """A scatter matrix W Wᵀ + Ψ.

    Attributes:
        loadings: W.
        noise: the diagonal of Ψ.
    """

    loadings: Float[np.ndarray, "asset factor"]
    noise: Float[np.ndarray, " asset"]


class Elliptical(NamedTuple):
    """An elliptical law of independent dates, and a linear map to factors and back.

    Values are returns in units standardised on the rows fitted; NaN marks a missing cell.

    Attributes:
        mean: of each asset.
        form: the scatter matrix, whole or by factors, in whose form densities are worked out.
        loadings: returns per unit of a factor; no columns where there are no factors.
        projection: factors = (x − mean) projection.
        df: degrees of freedom of the Student-t; infinite for a Gaussian.
    """

    mean: Float[np.ndarray, " asset"]
    form: Float[np.ndarray, "asset asset"] | FactorForm
    loadings: Float[np.ndarray, "asset factor"]
    projection: Float[np.ndarray, "asset factor"]
    df: float = np.inf

    @classmethod
    def without_factors(
        cls,
        mean: Float[np.ndarray, " asset"],
        scatter: Float[np.ndarray, "asset asset"],
        df: float = np.inf,
    ) -> "Elliptical":
        """The law of a mean and a scatter matrix alone.

        Args:
            mean: of each asset.
            scatter: the covariance of a Gaussian, the scale matrix of a Student-t.
            df: ν; infinite for a Gaussian.
        """
        none = np.zeros((len(mean), 0))
        return cls(mean, scatter, none, none, df)

    @classmethod
    def of_factors(
        cls,
        mean: Float[np.ndarray, " asset"],
        loadings: Float[np.ndarray, "asset factor"],
        noise: Float[np.ndarray, " asset"],
        df: float = np.inf,
    ) -> "Elliptical":
        """x = mean + W z + e, e of variances Ψ = diag(noise); factors are posterior means.

        Args:
            mean: of each asset.
            loadings: W.
            noise: the diagonal of Ψ, positive.
            df: ν; infinite for a Gaussian.
        """
        weights = linear_gaussian.posterior_weights(loadings, noise)
        return cls(mean, FactorForm(loadings, noise), loadings, weights, df)

    @property
    def n_factors(self) -> int:
        """Columns of the loadings; 0 for a law without factors."""
        return self.loadings.shape[1]

    @property
    def scatter(self) -> Float[np.ndarray, "asset asset"]:
        """Positive definite: the covariance of a Gaussian, the scale matrix of a Student-t."""
        if isinstance(self.form, FactorForm):
            return linear_gaussian.covariance(*self.form)
        return self.form

    @property
    def covariance(self) -> Float[np.ndarray, "asset asset"]:
        """Covariance of the returns, ν / (ν − 2) times the scatter; NaN where ν ≤ 2 has none."""
        if np.isinf(self.df):
            return self.scatter
        return self.scatter * (self.df / (self.df - 2) if self.df > 2 else np.nan)

    def log_likelihood(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " date"]:
        """Exact log density of each date's observed returns, nats, under the law's own noise.

        Args:
            values: standardised returns; NaN marks a missing cell.
        """
        return log_density(self.given(values), self.df)

    def given(self, values: Float[np.ndarray, "date asset"]) -> Conditional:
        """The returns given what is observed of them, by which missing cells are filled.

        Args:
            values: standardised returns; NaN marks a missing cell.
        """
        if isinstance(self.form, FactorForm):
            return factor_conditional(values, self.mean, *self.form)
        return conditional(values, self.mean, self.form)

    def factors(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "date factor"]:
        """Factors of each date, missing cells filled: for a posterior mean that is exact.

        Args:
            values: standardised returns; NaN marks a missing cell.
        """
        return (self.given(values).values - self.mean) @ self.projection

    def reconstruct(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Float[np.ndarray, "date asset"]:
        """Returns rebuilt from their factors; the mean where there are none.

        Args:
            values: standardised returns; NaN marks a missing cell.
        """
        return self.mean + self.factors(values) @ self.loadings.T


def maximise(
    values: Float[np.ndarray, "date asset"], refit: Callable[[Conditional], Elliptical]
) -> Elliptical:
    """A law by EM over the missing cells (Dempster, Laird and Rubin 1977).

    A round fills the cells by their expectation under the law and fits the law to that (`refit`),
    until it gains less than 1e-5 nats a date, 500 rounds at most; it starts from independent
    assets. Rows without a missing cell need no expectation: there the first fit is the answer.

    Args:
        values: returns; NaN marks a missing cell.
        refit: makes a law of the rows with their cells filled.

    Raises:
        LinAlgError: a matrix met on the way has no Cholesky factor.
    """
    law, last = refit(independent(values)), -np.inf
    if np.isfinite(values).all():
        return law
    for _ in range(_ROUNDS):
        given = law.given(values)
        score = log_density(given).mean()
        if score - last < _TOLERANCE:
            break
        last, law = score, refit(given)
    return law


def full_rank_normal(moments: Moments, n_dates: int) -> Elliptical:
    """A Gaussian of given moments.

    Args:
        moments: of the rows.
        n_dates: how many rows they are of.

    Raises:
        DataError: rows are too few, or the covariance has no inverse.
    """
    n_assets = len(moments.mean)
    if n_dates <= n_assets + 1:
        raise DataError(
            f"{n_dates} dates are too few for a full covariance of {n_assets} assets: "
            f"give at least {n_assets + 2}"
        )
    eigenvalues = np.linalg.eigvalsh(moments.covariance)
    if eigenvalues[0] <= SINGULAR_SHARE * eigenvalues[-1]:
        raise DataError(_singular(n_assets))
    return Elliptical.without_factors(*moments)


@contextmanager
def refusing_singular(values: Float[np.ndarray, "date asset"]) -> Iterator[None]:
    """A context in which a matrix without a Cholesky factor is the data's fault.

    Args:
        values: what is fitted to, for the words of the error.

    Raises:
        DataError: such a matrix was met.
    """
    try:
        yield
    except np.linalg.LinAlgError:
        n_assets = values.shape[1]
        if np.isfinite(values).all():
            raise DataError(_singular(n_assets)) from None
        raise DataError(
            f"the covariance of the {n_assets} assets is singular given the cells observed: "
            "drop assets that share few dates with others"
        ) from None


def _singular(n_assets: int) -> str:
    return (
        f"the covariance of the {n_assets} assets is singular: "
        "drop assets that are sums or copies of others"
    )


def noise_floor(values: Float[np.ndarray, "date asset"]) -> float:
    """The smallest noise variance that a fit to these returns may have.

    Args:
        values: returns; NaN marks a missing cell.
    """
    return LEAST_NOISE_SHARE * float(np.nanvar(values, axis=0).mean())


def check_sizes(sizes: Sequence[int], values: Float[np.ndarray, "date asset"]) -> None:
    """Check numbers of factors against a panel.

    Args:
        sizes: K, each from 0 to one less than the assets.
        values: what is to be fitted to.

    Raises:
        OptionError: one is out of range.
    """
    n_assets = values.shape[1]
    for size in sizes:
        if not 0 <= size < n_assets:
            raise OptionError(
                "n_factors", f"{size} of {n_assets} assets must lie between 0 and {n_assets - 1}"
            )
