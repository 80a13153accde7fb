"""Exponentially weighted covariances with Student-t innovations: one step ahead."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.incomplete import elliptical_log_density
from jaxvae.baselines.averages import average_after, averages_before, distances_of_dates
from jaxvae.baselines.elliptical import refusing_singular
from jaxvae.baselines.law import Law
from jaxvae.errors import DataError, OptionError

FIRST_DATES = 252
MOST_A_DATE = 500  # assets: a covariance of each date costs their cube
HALF_LIVES = (5.0, 10.0, 20.0, 40.0, 60.0, 80.0, 120.0, 250.0, 500.0)
SHRINKAGES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
DFS = (4.0, 6.0, 8.0, 12.0, 20.0, 50.0)
SCALE_GRID = np.geomspace(0.5, 2.0, 21).tolist()


@dataclass(frozen=True)
class EwmaT(Law):
    """Each date's law given the dates before it: a Student-t of mean zero and covariance c Σ_t.

        S_h ← λ_h S_h + (1 − λ_h) x xᵀ,    λ_h = 2^(−1/h),    at two half-lives h = f, s
        D² = diag [v S_f + (1 − v) S_s],    R the correlations of r S_f + (1 − r) S_s
        Σ_t = (1 − a) D R D + a C tr D² / tr C

    With equal half-lives D R D is the one average S.

    Attributes:
        first: S_f and S_s before the first date.
        target: C, the covariance (divisor n) of the rows fitted.
        half_lives: f and s, dates.
        weights: v and r, the shares of S_f in variances and in correlations.
        shrinkage: a, from 0 to 1.
        scale: c.
        df: degrees of freedom ν, above 2; infinite for a Gaussian.
    """

    first: tuple[Float[np.ndarray, "asset asset"], Float[np.ndarray, "asset asset"]]
    target: Float[np.ndarray, "asset asset"]
    half_lives: tuple[float, float]
    weights: tuple[float, float] = (1.0, 1.0)
    shrinkage: float = 0.1
    scale: float = 1.0
    df: float = np.inf

    def covariances(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Iterator[Float[np.ndarray, "part asset asset"]]:
        """c Σ_t of each date, from the dates before it, in chunks of consecutive dates.

        Args:
            values: complete rows in standard units, the first of them the first fitted.
        """
        speeds = [
            averages_before(values, 0.5 ** (1 / half_life), first)
            for half_life, first in zip(self.half_lives, self.first, strict=True)
        ]
        of_variances, of_correlations = self.weights
        for fast, slow in zip(*speeds, strict=True):
            variances = of_variances * _diagonals(fast) + (1 - of_variances) * _diagonals(slow)
            moments = of_correlations * fast + (1 - of_correlations) * slow
            deviations = np.sqrt(variances / _diagonals(moments))
            moments *= deviations[:, :, None] * deviations[:, None, :]
            shares = variances.sum(axis=1) / np.trace(self.target)
            shrunk = (1 - self.shrinkage) * moments
            shrunk += self.shrinkage * shares[:, None, None] * self.target
            yield self.scale * shrunk

    def log_likelihood(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " date"]:
        """log p(x_t | dates before) in nats, with the scale matrix c Σ_t (ν − 2)/ν.

        Args:
            values: as in `covariances`.
        """
        distances = distances_of_dates(self.covariances(values), values)
        return _log_density(values.shape[1], *distances, self.df)


class ScoredLaw(NamedTuple):
    """A law and how likely it makes the validation rows.

    Attributes:
        law: as it stands before the validation rows.
        score: their mean log-likelihood, nats.
    """

    law: EwmaT
    score: float


def fit_ewma_t(
    values: Float[np.ndarray, "date asset"], n_train: int, found: ScoredLaw | None = None
) -> EwmaT:
    """EWMA covariances of one half-life with t innovations; half-life, shrinkage, ν and scale are
    those of `HALF_LIVES`, `SHRINKAGES`, `DFS` and `SCALE_GRID` that make the validation rows
    likeliest where C is of the training rows.

    S starts from the first 252 training rows (or all, if there are fewer), which forecasts of dates
    among them therefore know.

    Args:
        values: complete returns of training and validation, in this order.
        n_train: how many of the rows are for training.
        found: what `best_of_one_speed` makes of them, by default sought here.

    Raises:
        DataError: a covariance is singular, or assets are too many.

    Source: RiskMetrics (J.P. Morgan 1996), shrunk towards a constant correlation as in Ledoit and
    Wolf (2004), "Honey, I shrunk the sample covariance matrix".
    """
    law = (found or best_of_one_speed(values, n_train)).law
    return replace(law, target=np.cov(values.T, ddof=0))


def best_of_one_speed(values: Float[np.ndarray, "date asset"], n_train: int) -> ScoredLaw:
    """The best candidate of one half-life.

    Args:
        values: complete returns of training and validation, in this order.
        n_train: how many of the rows are for training.

    Raises:
        DataError: a covariance is singular, or assets are too many.
    """
    if (n_assets := values.shape[1]) > MOST_A_DATE:
        raise DataError(
            f"{n_assets:,} assets are too many for a covariance of each date: give at most "
            f"{MOST_A_DATE}"
        )
    train = values[:n_train]
    start = train[:FIRST_DATES]
    moment = start.T @ start / len(start)
    law = EwmaT((moment, moment), np.cov(train.T, ddof=0), (1.0, 1.0))
    one_speed = [(half_life, half_life) for half_life in HALF_LIVES]
    choices = {"half_lives": one_speed, "shrinkage": SHRINKAGES}
    return most_likely(law, choices, values, n_train)


def most_likely(
    law: EwmaT,
    choices: Mapping[str, Sequence[Any]],
    values: Float[np.ndarray, "date asset"],
    n_train: int,
) -> ScoredLaw:
    """The law with those of the choices, and the ν and the scale of the grids, that make the
    validation rows likeliest; the first of equals.

    Args:
        law: what stays.
        choices: what is tried of its fields, in every combination.
        values: as in `fit_ewma_t`.
        n_train: as in `fit_ewma_t`.

    Raises:
        DataError: a covariance is singular.
    """
    with refusing_singular(values):
        found = [
            _with_tails(replace(law, **dict(zip(choices, one, strict=True))), values, n_train)
            for one in product(*choices.values())
        ]
    return max(found, key=lambda one: one.score)


def _with_tails(law: EwmaT, values: Float[np.ndarray, "date asset"], n_train: int) -> ScoredLaw:
    """A law with its best scale and ν."""
    decays = [0.5 ** (1 / half_life) for half_life in law.half_lives]
    starts = zip(decays, law.first, strict=True)
    fast, slow = (average_after(values[:n_train], decay, first) for decay, first in starts)
    later = values[n_train:]
    covariances = replace(law, first=(fast, slow), scale=1.0).covariances(later)
    gaps, log_determinants = distances_of_dates(covariances, later)
    n_assets = values.shape[1]

    # All scales at once, as rows one after the other.
    scales = np.repeat(SCALE_GRID, len(later))
    scaled = np.tile(gaps, len(SCALE_GRID)) / scales
    spreads = np.tile(log_determinants, len(SCALE_GRID)) + n_assets * np.log(scales)
    densities = [_log_density(n_assets, scaled, spreads, df) for df in DFS]
    scores = np.reshape(densities, (len(DFS), len(SCALE_GRID), -1)).mean(axis=2)
    df, scale = np.unravel_index(scores.argmax(), scores.shape)
    return ScoredLaw(replace(law, scale=SCALE_GRID[scale], df=DFS[df]), float(scores.max()))


def _diagonals(
    matrices: Float[np.ndarray, "date asset asset"],
) -> Float[np.ndarray, "date asset"]:
    return np.diagonal(matrices, axis1=1, axis2=2)


def _log_density(
    n_assets: int,
    gaps: Float[np.ndarray, " date"],
    log_determinants: Float[np.ndarray, " date"],
    df: float,
) -> Float[np.ndarray, " date"]:
    """Student-t of given covariances, nats.

    Args:
        n_assets: of each row.
        gaps: squared distances under the covariances.
        log_determinants: of the covariances.
        df: ν; infinite for a Gaussian.

    Raises:
        OptionError: ν is not above 2, so that there is no covariance.
    """
    if not df > 2:
        raise OptionError("df", f"{df} must be above 2")
    scale = 1.0 if np.isinf(df) else (df - 2) / df
    spreads = log_determinants + n_assets * np.log(scale)
    return elliptical_log_density(gaps / scale, spreads, n_assets, df)
