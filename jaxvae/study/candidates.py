"""A candidate for a study: a family trained on the first part of `train`, with several numbers of
factors at once, and scored on `validation`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.members import ask, fitted_members
from jaxvae.models import make_batch
from jaxvae.models.model import Batch
from jaxvae.study.config import StudyConfig
from jaxvae.study.count_factors import with_factors
from jaxvae.study.fit import Prepared
from jaxvae.training.ensemble import Progress, member_grid, train_ensemble
from jaxvae.training.state import Data
from jaxvae.training.streams import Stream

SEEDS = 2
TRAINED_SHARE = 0.8


class Candidate(NamedTuple):
    """A family on the panel, with the most factors that may be asked of it.

    extra: how many of its factors move volatility and no returns.
    """

    name: str
    prepared: Prepared
    extra: int


class Scores(NamedTuple):
    """Log-likelihood of the validation dates, nats in standard units, by number of factors and
    seed; NaN where a seed diverged."""

    log_likelihood: Float[np.ndarray, "size seed date"]


def train_candidate(
    candidate: Candidate,
    config: StudyConfig,
    sizes: Sequence[int],
    report: Callable[[Progress], None],
) -> Scores:
    """Train a candidate's seeds with each number of factors, and score them on `validation`."""
    prepared = candidate.prepared
    training, last, later = (
        _batch_of(prepared, rows)
        for rows in (
            training_rows(prepared),
            slice(training_rows(prepared).stop, prepared.split.train.stop),
            prepared.split.validation,
        )
    )
    data, model, preset = Data(training, last), prepared.model, prepared.preset
    train = replace(preset.train, batch_size=min(preset.train.batch_size, len(training.values)))
    members = member_grid(range(SEEDS), (1.0,), data, model, preset.learning_rate, train.epochs)
    root, width = jax.random.key(config.root_seed), -(-SEEDS // jax.local_device_count())
    ensemble = train_ensemble(
        root,
        data,
        with_factors(members, np.array(sizes)),
        model,
        train,
        tile_width=width,
        on_progress=report,
    )
    shared = {"key": Stream.EVALUATION.fold_into(root), "batch": later}
    fitted, n_samples = fitted_members(ensemble), config.likelihood_samples
    likelihood: Any = ask(
        log_likelihood, fitted, shared, tile_width=width, model=model, n_samples=n_samples
    )
    scores = np.where(ensemble.ok[:, None], np.float64(likelihood.value), np.nan)
    return Scores(scores.reshape(len(sizes), SEEDS, -1))


def training_rows(prepared: Prepared) -> slice:
    """Those of `train` that candidates are trained on; the others stop them."""
    return slice(0, int(TRAINED_SHARE * prepared.split.train.stop))


def _batch_of(prepared: Prepared, rows: slice) -> Batch:
    return make_batch(prepared.values[rows], prepared.conditions[rows])


def mean_over_seeds(scores: Scores) -> Float[np.ndarray, "size date"]:
    """Over those that did not diverge; NaN where all did."""
    sound = np.isfinite(scores.log_likelihood)
    total = np.where(sound, scores.log_likelihood, 0.0).sum(axis=1)
    return np.where(sound.any(axis=1), total / np.maximum(sound.sum(axis=1), 1), np.nan)
