"""A candidate for a study: a family trained on `train`, with several numbers of factors at once,
and scored on `validation`."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from jaxvae.analysis.mixtures import mixture_log_density
from jaxvae.data.panel import Split
from jaxvae.fitting.fit import for_refits, grid_of, training_data
from jaxvae.fitting.prepare import Prepared, in_batches
from jaxvae.inference.evaluation import compiled_ahead, estimate_members
from jaxvae.inference.members import fitted_members
from jaxvae.selection.count_factors import with_factors
from jaxvae.training.ensemble import Ensemble, Members, Progress, train_ensemble
from jaxvae.training.state import Data
from jaxvae.training.streams import Stream

SEEDS = 2
TRAINED_SHARE = 0.8


class CandidateModel(NamedTuple):
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
    candidate: CandidateModel, sizes: Sequence[int], on_progress: Callable[[Progress], None]
) -> CandidateScores:
    """Train a candidate's seeds with each number of factors, and score them on `validation`.

    As a study trains its members and then refits them: first on the first four fifths of `train`,
    stopped by the last fifth, then on all of `train` for as many epochs as were best; the latter
    alone where nothing stops them. One program serves both.
    """
    prepared = candidate.prepared
    model, config = prepared.model, prepared.config
    key, rows = Stream.EVALUATION.key(config.root_seed), prepared.rows(prepared.split.validation)
    how = (rows, config.likelihood_samples, _tile_width())
    with compiled_ahead(key, model, *how, likelihood_alone=True):
        ensemble, ok = train_seeds(candidate, sizes, on_progress)
    likelihood = estimate_members(key, model, fitted_members(ensemble), *how)
    scores = np.where(ok[:, None], np.asarray(likelihood.value, np.float64), np.nan)
    return CandidateScores(scores.reshape(len(sizes), SEEDS, -1))


def train_seeds(
    candidate: CandidateModel, sizes: Sequence[int], on_progress: Callable[[Progress], None]
) -> tuple[Ensemble, Bool[np.ndarray, " member"]]:
    """A candidate's members, by number of factors and seed, and which of them never diverged."""
    prepared, n_train = candidate.prepared, candidate.prepared.split.train.stop
    n_first = int(TRAINED_SHARE * n_train)
    inner = Split(slice(0, n_first), slice(n_first, n_train), slice(0, n_train), slice(0, 0))
    prepared = prepared._replace(split=inner, preset=in_batches(prepared.preset, n_first))
    root, train = jax.random.key(prepared.config.root_seed), prepared.preset.train
    how: dict[str, Any] = {"model": prepared.model, "config": train, "tile_width": _tile_width()}
    first, whole = (training_data(prepared, n_rows) for n_rows in (n_first, n_train))
    members = with_factors(grid_of(prepared, first, range(SEEDS), (1.0,)), np.array(sizes))
    n_members, ok = len(members.seed), np.ones(len(members.seed), bool)

    def fit(data: Data, members: Members, n_before: int) -> Ensemble:
        def of_both(where: Progress) -> None:
            on_progress(where._replace(done=where.done + n_before, members=2 * n_members))

        trained: Ensemble = train_ensemble(root, data, members, on_progress=of_both, **how)
        return trained

    if train.patience is not None:
        members.hyperparameters.row_weights[:, n_first:] = 0.0
        stopped = fit(first, members, 0)
        members, ok = for_refits(members, stopped.best_epoch), stopped.ok
    ensemble = fit(whole, members, n_members)
    return ensemble, ok & ensemble.ok


def _tile_width() -> int:
    """A candidate's seeds are a tile: the same program for however many numbers of factors."""
    return -(-SEEDS // jax.local_device_count())


def mixture_of_seeds(scores: CandidateScores) -> Float[np.ndarray, "size date"]:
    """Log-likelihood of the equal mixture of the seeds that did not diverge, as a study reports
    its ensemble; NaN where all did."""
    each = scores.log_likelihood
    return mixture_log_density(each, np.isfinite(each), axis=1)
