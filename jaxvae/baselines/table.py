"""The table of classical baselines: everything that a study, a walk and a report know of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxvae.baselines.elliptical import Elliptical
from jaxvae.baselines.ewma_t import ScoredLaw, best_of_one_speed, fit_ewma_t
from jaxvae.baselines.ewma_t_two_speeds import fit_ewma_t_two_speeds
from jaxvae.baselines.factor_analysis import (
    fit_factor_analysis,
    fit_factor_analysis_sizes,
)
from jaxvae.baselines.garch import Margins
from jaxvae.baselines.garch_copula import fit_garch_copula
from jaxvae.baselines.law import Law
from jaxvae.baselines.ledoit_wolf import fit_ledoit_wolf
from jaxvae.baselines.multivariate_t import fit_multivariate_t
from jaxvae.baselines.multivariate_t_shrunk import fit_multivariate_t_shrunk
from jaxvae.baselines.pca import fit_pca, fit_pca_sizes

MOST_FACTORS = 15
SizesFitter = Callable[[np.ndarray, Sequence[int]], Iterator[Elliptical]]


@dataclass(frozen=True)
class Development:
    """What baselines may learn from, and what several of them begin with, fitted when first asked
    for.

    Attributes:
        values: returns of training and validation, in this order; NaN marks a missing cell.
        n_train: how many of the dates are for training; choices are made on the others.
        n_factors: K of the models it stands beside.
        best_factors: K of up to 15 at which a factor analysis of the training dates makes the
            others likeliest, where that is known.
    """

    values: Float[np.ndarray, "date asset"]
    n_train: int
    n_factors: int
    best_factors: int | None = None

    @cached_property
    def one_speed(self) -> ScoredLaw:
        """The best law of one half-life (`best_of_one_speed`), where two searches start."""
        return best_of_one_speed(self.values, self.n_train)

    @cached_property
    def margins(self) -> Margins:
        """The margins that copulas are fitted to (`fit_garch_copula`)."""
        return Margins(self.values, self.n_train)


class Baseline(NamedTuple):
    """A classical model.

    Attributes:
        label: what a report calls it.
        fit: makes a law of what is known; DataError where it cannot, MissingExtraError where a
            package is not there.
        temporal: whether a date's law depends on the dates before it.
        complete: whether it needs complete returns.
    """

    label: str
    fit: Callable[[Development], Law]
    temporal: bool = False
    complete: bool = False


def best_factors(
    fit_sizes: SizesFitter,
    train: Float[np.ndarray, "date asset"],
    validation: Float[np.ndarray, "later asset"],
    most: int = MOST_FACTORS,
) -> int:
    """The number of factors whose fit on `train` makes `validation` likeliest; the first of equals.

    Args:
        fit_sizes: `fit_pca_sizes` or `fit_factor_analysis_sizes`.
        train: returns to fit on.
        validation: later returns.
        most: no more than this, half of the assets or a third of the training dates is tried; the
            least is 1.
    """
    n_dates, n_assets = train.shape
    sizes = range(1, max(1, min(most, n_assets // 2, n_dates // 3)) + 1)
    scores = [law.log_likelihood(validation).mean() for law in fit_sizes(train, sizes)]
    return sizes[int(np.argmax(scores))]


def _at_best(fit_sizes: SizesFitter, known: Development, n_factors: int | None = None) -> Law:
    """At the K that validation prefers, by default sought."""
    if n_factors is None:
        train, validation = known.values[: known.n_train], known.values[known.n_train :]
        n_factors = best_factors(fit_sizes, train, validation)
    return next(fit_sizes(known.values, [n_factors]))


ONE_AHEAD = {"temporal": True, "complete": True}
BASELINES = {
    "factor_analysis_best": Baseline(
        "factor analysis, best",
        lambda known: _at_best(fit_factor_analysis_sizes, known, known.best_factors),
    ),
    "factor_analysis": Baseline(
        "factor analysis", lambda known: fit_factor_analysis(known.values, known.n_factors)
    ),
    "pca_best": Baseline("PCA, best", lambda known: _at_best(fit_pca_sizes, known)),
    "pca": Baseline("PCA", lambda known: fit_pca(known.values, known.n_factors)),
    "ledoit_wolf": Baseline("Ledoit–Wolf Gaussian", lambda known: fit_ledoit_wolf(known.values)),
    "multivariate_t": Baseline("multivariate t", lambda known: fit_multivariate_t(known.values)),
    "multivariate_t_shrunk": Baseline(
        "multivariate t, shrunk",
        lambda known: fit_multivariate_t_shrunk(known.values, known.n_train),
    ),
    "ewma_t": Baseline(
        "EWMA with t innovations",
        lambda known: fit_ewma_t(known.values, known.n_train, known.one_speed),
        **ONE_AHEAD,
    ),
    "ewma_t_two_speeds": Baseline(
        "EWMA of two speeds with t innovations",
        lambda known: fit_ewma_t_two_speeds(known.values, known.n_train, known.one_speed),
        **ONE_AHEAD,
    ),
    "ccc_t": Baseline(
        "GARCH with constant correlations and a t copula",
        lambda known: fit_garch_copula(
            known.values, known.n_train, dynamic=False, margins=known.margins
        ),
        **ONE_AHEAD,
    ),
    "garch_copula": Baseline(
        "GARCH with DCC and a t copula",
        lambda known: fit_garch_copula(known.values, known.n_train, margins=known.margins),
        **ONE_AHEAD,
    ),
}
