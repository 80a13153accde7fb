"""Exponentially weighted covariances of two half-lives with Student-t innovations."""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
from jaxtyping import Float

from jaxvae.baselines.ewma_t import (
    HALF_LIVES,
    SHRINKAGES,
    EwmaT,
    ScoredLaw,
    best_of_one_speed,
    most_likely,
)

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_ROUNDS = 3


def fit_ewma_t_two_speeds(
    values: Float[np.ndarray, "date asset"], n_train: int, found: ScoredLaw | None = None
) -> EwmaT:
    """EWMA covariances of two half-lives, in shares of their own in variances and in correlations,
    with t innovations; everything chosen on the validation rows.

    The search starts at the best law of one half-life, and takes the half-lives and equal shares of
    the two; the shares; the shrinkage; each the likeliest while the others stay, until a round
    changes nothing, at most 3.

    Args:
        values: complete returns of training and validation, in this order.
        n_train: how many of the rows are for training.
        found: as `fit_ewma_t` takes it.

    Raises:
        DataError: a covariance is singular.

    Source: Zumbach (2007), "The RiskMetrics 2006 methodology", for averages of several speeds;
    Menchero, Orr and Wang (2011), "The Barra US equity model (USE4)", for correlations that forget
    more slowly than variances.
    """
    best = found or best_of_one_speed(values, n_train)
    for _ in range(_ROUNDS):
        before, (fast, slow) = best, best.law.half_lives
        # After one speed variances fast and correlations slow, or an equal mixture.
        shares = [(1.0, 0.0), (0.5, 0.5)] if fast == slow else [best.law.weights]
        for choices in (
            {"half_lives": list(combinations(HALF_LIVES, 2)), "weights": shares},
            {"weights": list(product(SHARES, SHARES))},
            {"shrinkage": SHRINKAGES},
        ):
            tried = most_likely(best.law, choices, values, n_train)
            best = max(best, tried, key=lambda one: one.score)
        if best is before:
            break
    return replace(best.law, target=np.cov(values.T, ddof=0))
