"""A candidate for a study: a family trained on `train`, with several numbers of factors at once,
and scored on `validation`."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp

from jaxvae.inference.evaluation import compiled_ahead, estimate_members
from jaxvae.inference.members import fitted_members
from jaxvae.study.config import StudyConfig
from jaxvae.study.fit import Prepared, for_refits
from jaxvae.study.selection.count_factors import with_factors
from jaxvae.training.ensemble import Ensemble, Progress, member_grid, train_ensemble
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


class CandidateScores(NamedTuple):
    """Log-likelihood of the validation dates, nats in standard units, by number of factors and
    seed; NaN where a seed diverged."""

    log_likelihood: Float[np.ndarray, "size seed date"]


def train_candidate(
    candidate: Candidate,
    config: StudyConfig,
    sizes: Sequence[int],
    report: Callable[[Progress], None],
) -> CandidateScores:
    """Train a candidate's seeds with each number of factors, and score them on `validation`.

    As a study trains its members and then refits them: first on the first four fifths of `train`,
    stopped by the last fifth, then on all of `train` for as many epochs as were best; the latter
    alone where nothing stops them. One program serves both.
    """
    prepared, model = candidate.prepared, candidate.prepared.model
    key, rows = Stream.EVALUATION.key(config.root_seed), prepared.rows(prepared.split.validation)
    n_samples, width = config.likelihood_samples, _tile_width()
    with compiled_ahead(key, model, rows, n_samples, width, likelihood_alone=True):
        ensemble, ok = train_seeds(candidate, config, sizes, report)
    fitted = fitted_members(ensemble)
    likelihood = estimate_members(key, model, fitted, rows, n_samples, tile_width=width)
    scores = np.where(ok[:, None], np.asarray(likelihood.value, np.float64), np.nan)
    return CandidateScores(scores.reshape(len(sizes), SEEDS, -1))


def train_seeds(
    candidate: Candidate,
    config: StudyConfig,
    sizes: Sequence[int],
    report: Callable[[Progress], None],
) -> tuple[Ensemble, Bool[np.ndarray, " member"]]:
    """A candidate's members, by number of factors and seed, and which of them never diverged."""
    prepared, n_train = candidate.prepared, candidate.prepared.split.train.stop
    n_first, model, preset = int(TRAINED_SHARE * n_train), prepared.model, prepared.preset
    train = replace(preset.train, batch_size=min(preset.train.batch_size, n_first))
    first = _data_of(prepared, n_first, n_first, train.batch_size)
    members = member_grid(range(SEEDS), (1.0,), first, model, preset.learning_rate, train.epochs)
    members, ok = with_factors(members, np.array(sizes)), np.bool_(True)
    n_members = len(members.seed)
    fit = functools.partial(
        train_ensemble,
        jax.random.key(config.root_seed),
        model=model,
        config=train,
        tile_width=_tile_width(),
    )
    if train.patience is not None:
        members.hyperparameters.row_weights[:, n_first:] = 0.0
        ensemble = fit(
            first,
            members,
            on_progress=lambda where: report(where._replace(members=2 * n_members)),
        )
        ok, stopped = ensemble.ok, ensemble.best_epoch
        members = for_refits(members, stopped)
    ensemble = fit(
        _data_of(prepared, n_first, n_train, train.batch_size),
        members,
        on_progress=lambda where: report(
            where._replace(done=where.done + n_members, members=2 * n_members)
        ),
    )
    return ensemble, ok & ensemble.ok


def _tile_width() -> int:
    """A candidate's seeds are a tile: the same program for however many numbers of factors."""
    return -(-SEEDS // jax.local_device_count())


def _data_of(prepared: Prepared, n_first: int, n_used: int, batch_size: int) -> Data:
    """All rows of `train`, of which members use the first so many, and those that stop them."""
    n_train = prepared.split.train.stop
    rows, last = (prepared.rows(slice(k, n_train)) for k in (0, n_first))
    return Data(rows, last, jnp.int32(-(-n_used // batch_size)))


def mixture_of_seeds(scores: CandidateScores) -> Float[np.ndarray, "size date"]:
    """Log-likelihood of the equal mixture of the seeds that did not diverge, as a study reports
    its ensemble; NaN where all did."""
    sound = np.isfinite(scores.log_likelihood)
    total = logsumexp(np.where(sound, scores.log_likelihood, -np.inf), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mixed = total - np.log(sound.sum(axis=1))
    return np.where(sound.any(axis=1), mixed, np.nan)
