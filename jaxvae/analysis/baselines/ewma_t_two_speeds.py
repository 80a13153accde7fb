"""Exponentially weighted covariances of two half-lives with Student-t innovations."""

from collections.abc import Iterator
from itertools import product

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.baselines.ewma_t import (
    HALF_LIVES,
    SHRINKAGES,
    EwmaT,
    ScoredLaw,
    best_of_one_speed,
    ending,
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
        values: Complete returns of training and validation, in this order.
        n_train: How many of the rows are for training.
        found: As `fit_ewma_t` takes it.

    Raises:
        DataError: A covariance is singular.

    Source: Zumbach (2007), "The RiskMetrics 2006 methodology", for averages of several speeds;
    Menchero, Orr and Wang (2011), "The Barra US equity model (USE4)", for correlations that forget
    more slowly than variances.
    """
    best = found or best_of_one_speed(values, n_train)
    for _ in range(_ROUNDS):
        before = best
        for vary in (_half_lives, _weights, _shrinkages):
            best = max(
                best, most_likely(vary(best.law), values, n_train), key=lambda one: one.score
            )
        if best is before:
            break
    return ending(best.law, values)


def _half_lives(law: EwmaT) -> Iterator[EwmaT]:
    """At the law's shares where it has two speeds; else variances fast and correlations slow, and
    an equal mixture."""
    pairs = [(fast, slow) for fast, slow in product(HALF_LIVES, HALF_LIVES) if fast < slow]
    fast, slow = law.half_lives
    known = [(1.0, 0.0), (0.5, 0.5)] if fast == slow else [law.weights]
    for pair, weights in product(pairs, known):
        yield law._replace(half_lives=pair, weights=weights)


def _weights(law: EwmaT) -> Iterator[EwmaT]:
    for weights in product(SHARES, SHARES):
        yield law._replace(weights=weights)


def _shrinkages(law: EwmaT) -> Iterator[EwmaT]:
    for shrinkage in SHRINKAGES:
        yield law._replace(shrinkage=shrinkage)
