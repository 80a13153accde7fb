"""Choosing among models by held-out scores: the simplest that is level with the best."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.bootstrap import block_means

# Nats per date: less is no reason for a model that asks more of its reader.
LEAST_GAIN = 0.05


class Ranking(NamedTuple):
    """Candidates by their scores.

    Attributes:
        chosen: place of the simplest candidate that is level with the best.
        score: mean over dates; NaN where a candidate has none.
        score_error: its standard error.
        difference: to the best, 0 or below.
        difference_error: its standard error, paired by date.
    """

    chosen: int
    score: Float[np.ndarray, " candidate"]
    score_error: Float[np.ndarray, " candidate"]
    difference: Float[np.ndarray, " candidate"]
    difference_error: Float[np.ndarray, " candidate"]


def simplest_within_error(
    rng: np.random.Generator,
    scores: Float[np.ndarray, "candidate date"],
    complexity: Int[np.ndarray, " candidate"],
) -> Ranking:
    """The one-standard-error rule on differences paired by date.

    Level with the best is what is behind it by at most one standard error, or by so little that it
    does not matter: errors of models that are nearly the same are tiny.

    Errors are standard deviations of means of circular block resamples (`bootstrap.block_means`),
    as differences of log-likelihoods cluster with volatility.

    Args:
        rng: source of the blocks' starts.
        scores: log-likelihood of dates that no candidate was fitted on; a row of NaN for a
            candidate that has none, at least one without.
        complexity: of two candidates that are level the lower is preferred, of equals the first.

    Returns:
        The candidates' scores, and the place of the one chosen.

    Source: Breiman, Friedman, Olshen and Stone (1984), "Classification and regression trees",
    § 3.4; there the error is that of the best score and not of the difference.
    """
    means = scores.mean(axis=1)
    best = int(np.nanargmax(means))
    series = np.concatenate([scores, scores - scores[best]]).T
    errors = block_means(rng, np.nan_to_num(series), block_length=None).std(axis=0)
    score_error, difference_error = np.where(np.isfinite(means), np.split(errors, 2), np.nan)
    difference = means - means[best]
    level = np.flatnonzero(difference >= -np.maximum(difference_error, LEAST_GAIN))
    chosen = int(level[np.argmin(complexity[level])])
    return Ranking(chosen, means, score_error, difference, difference_error)
