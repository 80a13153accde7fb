"""From a prepared panel to fitted members: train the grid, choose on validation, refit.

Everything here sees `fit` only; what members say of later dates is evaluated, never used.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.ranking import simplest_within_error
from jaxvae.errors import DataError
from jaxvae.fitting.config import tile_width_of
from jaxvae.fitting.prepare import Prepared
from jaxvae.inference.evaluation import Evaluation, compiled_ahead, evaluate_members
from jaxvae.inference.members import Fitted, fitted_members
from jaxvae.training.ensemble import Ensemble, Members, Progress, member_grid, train_ensemble
from jaxvae.training.state import Data
from jaxvae.training.store import Store
from jaxvae.training.streams import Stream
from jaxvae.training.tiles import take

# Of rows, that are drawn again for a member of the grid; refits have all of theirs drawn again.
MOST_HARD = 0.5


class Choice(NamedTuple):
    """A member of the grid, by the places of its β and of its seed.

    beta, seed: places among the study's. n_seeds: at each β; the grid has β as its outer axis.
    """

    beta: int
    seed: int
    n_seeds: int

    @property
    def member(self) -> int:
        """Its place among all members."""
        return self.beta * self.n_seeds + self.seed

    @property
    def seeds(self) -> slice:
        """The places of all members at its β."""
        return slice(self.beta * self.n_seeds, (self.beta + 1) * self.n_seeds)


class Trained(NamedTuple):
    """Members and what they say of all dates of the panel."""

    ensemble: Ensemble
    evaluation: Evaluation


class TrainedStudy(NamedTuple):
    """What training leaves to be scored.

    grid: all members. refits: those of the seeds of the chosen β that did not diverge. chosen: the
    member that validation chose.
    """

    prepared: Prepared
    grid: Trained
    refits: Trained
    chosen: Choice

    @property
    def fitted(self) -> Fitted:
        """The refits, to be asked."""
        return fitted_members(self.refits.ensemble)

    @property
    def best(self) -> int:
        """The place of the likeliest refit."""
        return likeliest(self.prepared, self.refits)


def choose(grid: Trained, prepared: Prepared) -> Choice:
    """The member to report, by validation alone (`best_beta`); diverged members do not count."""
    betas, n_seeds = prepared.preset.betas, prepared.preset.seeds
    scores = np.array(grid.evaluation.likelihood.value, np.float64)[:, prepared.split.validation]
    scores[~grid.ensemble.ok | ~np.isfinite(scores).all(axis=1)] = np.nan
    by_beta = scores.reshape(len(betas), n_seeds, -1)
    beta = best_beta(Stream.RESAMPLING.generator(prepared.config.root_seed), by_beta, betas)
    return Choice(beta, int(np.nanargmax(by_beta[beta].mean(axis=1))), n_seeds)


def best_beta(
    rng: np.random.Generator,
    scores: Float[np.ndarray, "beta seed date"],
    betas: Sequence[float],
) -> int:
    """The place of the β whose seeds have the highest mean log-likelihood; of those that are level
    with it (`simplest_within_error`) the one nearest to 1, at which the objective is a bound on the
    likelihood.

    Args:
        rng: source of the blocks that errors are resampled from.
        scores: of dates that no member was trained on; rows of NaN do not count.
        betas: weights of the KL term.
    """
    sound = np.isfinite(scores).all(axis=2, keepdims=True)
    n_sound = sound.sum(axis=1)
    with np.errstate(invalid="ignore"):
        means = np.where(sound, scores, 0.0).sum(axis=1) / n_sound
    # Of two that are as far from 1 the larger, which claims less.
    distance = np.abs(np.log(np.maximum(betas, np.finfo(float).tiny)))
    order = np.lexsort([-np.asarray(betas), distance])
    return simplest_within_error(rng, means, np.argsort(order)).chosen


def training_data(prepared: Prepared, n_training_rows: int) -> Data:
    """All rows of `fit`, so that one compiled program serves training and refits; weights pick."""
    fit, validation = prepared.split.fit, prepared.split.validation
    batch_size = prepared.preset.train.batch_size
    on_fit, on_validation = prepared.rows(fit), prepared.rows(validation)
    return Data(on_fit, on_validation, jnp.int32(math.ceil(n_training_rows / batch_size)))


def grid_of(
    prepared: Prepared, data: Data, seeds: Sequence[int], betas: Sequence[float]
) -> Members:
    """Seeds × betas to be trained on the data as the preset says."""
    preset = prepared.preset
    settings = (prepared.model, preset.learning_rate, preset.train.epochs)
    return member_grid(seeds, betas, data, *settings)


def train_grid(
    prepared: Prepared, on_progress: Callable[[Progress], None], stage: Store | None = None
) -> Trained:
    """Seeds × betas, trained on `train`, each at its best epoch on `validation`."""
    preset, n_train = prepared.preset, prepared.split.train.stop
    data = training_data(prepared, n_train)
    members = grid_of(prepared, data, range(preset.seeds), preset.betas)
    members.hyperparameters.row_weights[:, n_train:] = 0.0
    trained = train_members(prepared, data, members, on_progress, stage, MOST_HARD)
    if not trained.ensemble.ok.any():
        raise DataError("every member diverged: look for outliers in the data")
    return trained


def refit(
    prepared: Prepared,
    grid: Trained,
    chosen: Choice,
    on_progress: Callable[[Progress], None],
    stage: Store | None = None,
) -> Trained:
    """The seeds at the chosen β again, on all of `fit`, each for its own best epoch; those that
    diverge are left out."""
    at_beta = take(grid.ensemble, chosen.seeds)
    members = for_refits(at_beta.members, at_beta.best_epoch)
    data = training_data(prepared, prepared.split.fit.stop)
    trained = train_members(prepared, data, members, on_progress, stage)
    ok = trained.ensemble.ok
    if not ok.any():
        raise DataError("every refit diverged: look for outliers in the data")
    return take(trained, ok)


def likeliest(prepared: Prepared, refits: Trained) -> int:
    """The refit with the highest log-likelihood on `fit`: `vae_best`.

    A seed's refit need not end in the optimum that its training on fewer dates found; optima differ
    by more than the same network overfits.
    """
    scores = np.asarray(refits.evaluation.likelihood.value, np.float64)
    return int(np.argmax(scores[:, prepared.split.fit].mean(axis=1)))


def for_refits(members: Members, best_epoch: Int[np.ndarray, " member"]) -> Members:
    """The same members to be trained on all rows, each for its own best epoch."""
    given: Any = members.hyperparameters
    return members._replace(
        hyperparameters=given._replace(
            row_weights=np.ones_like(given.row_weights),
            validation_weights=np.zeros_like(given.validation_weights),
            last_epoch=np.maximum(best_epoch, 1).astype(given.last_epoch.dtype),
        )
    )


def train_members(
    prepared: Prepared,
    data: Data,
    members: Members,
    on_progress: Callable[[Progress], None],
    stage: Store | None = None,
    most_hard: float = 1.0,
    asked: slice = slice(None),
) -> Trained:
    """Train members on the data and evaluate them on all dates of the panel, tile by tile.

    stage: where finished tiles and the state of the one in work are kept, by default memory.
    most_hard, asked: as `evaluate_members` takes them.
    """
    config, model = prepared.config, prepared.model
    root, width = jax.random.key(config.root_seed), tile_width_of(config)
    how = (prepared.batch, config.likelihood_samples, width)
    key = Stream.EVALUATION.fold_into(root)

    def evaluated(ensemble: Ensemble) -> Trained:
        if model.principal is not None:
            ensemble = ensemble._replace(variables=model.principal(ensemble.variables))
        fitted = fitted_members(ensemble)
        return Trained(ensemble, evaluate_members(key, model, fitted, *how, most_hard, asked))

    with compiled_ahead(key, model, *how):
        trained: Trained = train_ensemble(
            root,
            data,
            members,
            model,
            prepared.preset.train,
            tile_width=width,
            on_progress=on_progress,
            finish=evaluated,
            stage=stage,
        )
    return trained
