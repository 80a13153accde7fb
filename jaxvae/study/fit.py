"""From a panel to fitted members: prepare, train the grid, choose on validation, refit.

Everything here sees `fit` only; what members say of later dates is evaluated, never used.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.selection import simplest_within_error
from jaxvae.data.checks import check_panel
from jaxvae.data.panel import Panel, Scaler, Split, fit_scaler, split_dates
from jaxvae.errors import DataError, Option, OptionError
from jaxvae.inference.evaluation import Evaluation, compiled_ahead, evaluate_members
from jaxvae.inference.members import Fitted, fitted_members
from jaxvae.models.distributions import Distribution
from jaxvae.models.model import Batch, Model, make_batch, remember
from jaxvae.study.conditions import (
    fit_conditions,
    require_knowledge,
    row_conditions,
    sector_numbers,
)
from jaxvae.study.config import AUTO, StudyConfig, preset_of, tile_width_of
from jaxvae.study.gaps import HIDDEN_CELLS, is_incomplete
from jaxvae.study.presets import Preset, model_name
from jaxvae.training.ensemble import Ensemble, Members, Progress, member_grid, train_ensemble
from jaxvae.training.state import Data
from jaxvae.training.store import Store
from jaxvae.training.streams import Stream
from jaxvae.training.tiles import take

# Of rows, that are drawn again for a member of the grid; refits have all of theirs drawn again.
MOST_HARD = 0.5


class Prepared(NamedTuple):
    """A panel made ready: `values` (NaN where a cell is missing), `conditions` and `batch` hold all
    dates in standard units; the batch's weights are 1 in `fit`, else 0. covariates: names of the
    conditions, and their scaler's place and scale in `covariate_scaler`. end_of_fit, end: where
    `remember` ends with `fit` and with the panel; None of a model without a recurrence. config: the
    settings of the study."""

    panel: Panel
    split: Split
    scaler: Scaler
    values: Float[np.ndarray, "date asset"]
    conditions: Float[np.ndarray, "date condition"]
    batch: Batch
    preset: Preset
    model: Model
    covariates: list[str]
    covariate_scaler: Scaler
    end_of_fit: tuple[Any, Any] | None
    end: tuple[Any, Any] | None
    config: StudyConfig

    def rows(self, dates: slice) -> Batch:
        """Some dates, each of weight 1."""
        past = jax.tree.map(lambda leaf: np.asarray(leaf)[dates], self.batch.past)
        return make_batch(self.values[dates], self.conditions[dates], past=past)


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


def prepare(panel: Panel, config: StudyConfig, split: Split | None = None) -> Prepared:
    """Check the panel, split, standardise by `fit`, build the model for what is known of dates and
    assets; a batch never exceeds the training rows. split: of the dates, by default `split_dates`.

    Raises DataError on too few dates, or a column with too few cells or that does not vary.
    """
    preset = preset_of(config)
    plain = preset.model.build(panel.n_assets)
    check_panel(panel.to_frame(), plain.n_factors)
    split = split_dates(panel.n_dates) if split is None else split
    scaler = fit_scaler(panel.values[split.fit])
    values = scaler.standardise(panel.values)
    if preset.informed:
        require_knowledge(panel, model_name(config.model))
    known = fit_conditions(panel, split.fit, plain.facts)
    # What the test part lacks changes nothing: whether cells are missing is a choice too.
    incomplete = is_incomplete(panel.values[split.fit])
    preset = for_cells(preset, panel.n_assets, incomplete, len(known[0]), sector_numbers(panel))
    preset = in_batches(preset, split.train.stop)
    model = preset.model.build(panel.n_assets)
    if config.n_factors not in (AUTO, model.n_factors):
        raise OptionError("n_factors", f"{config.n_factors}, but the model has {model.n_factors}")
    conditions = row_conditions(panel, *known)
    in_fit = np.zeros(panel.n_dates)
    in_fit[split.fit] = 1.0
    before, end_of_fit = remember(model, values[split.fit])
    later, end = remember(model, values[split.test], end_of_fit)
    past = jax.tree.map(lambda *parts: np.concatenate(parts), before, later)
    batch = make_batch(values, conditions, in_fit, past)
    if preset.train.free_bits and not distributions_of(model, batch).prior.kl_by_factor:
        raise OptionError(
            "free_bits",
            "does not go with ",
            Option("model", model_name(config.model)),
            ", whose prior is no normal",
        )
    made = (panel, split, scaler, values, conditions, batch, preset, model)
    return Prepared(*made, *known, end_of_fit, end, config)


def in_batches(preset: Preset, n_rows: int) -> Preset:
    """The preset with batches that do not exceed so many training rows."""
    batch_size = min(preset.train.batch_size, n_rows)
    return preset._replace(train=replace(preset.train, batch_size=batch_size))


def for_cells(
    preset: Preset,
    n_assets: int,
    incomplete: bool,
    n_conditions: int = 0,
    sectors: tuple[int, ...] = (),
) -> Preset:
    """The preset for returns of so many assets, given what is known of them.

    Where cells are missing training hides further ones, so that an encoder has met an asset's
    absence before the first delisting; which cells are missing plays no other part.

    Args:
        preset: a model and its training.
        n_assets: how many columns there are.
        incomplete: whether a cell that training sees is missing.
        n_conditions: covariates of each row.
        sectors: of each asset, by number.
    """
    family = preset.model.for_panel(n_conditions, sectors, incomplete)
    train = preset.train
    if incomplete and not family.build(n_assets).facts.sees_gaps:
        train = replace(train, hidden_cells=train.hidden_cells or HIDDEN_CELLS)
    return preset._replace(model=family, train=train)


class Kinds(NamedTuple):
    """The classes of a model's distributions."""

    prior: type[Distribution]
    observation: type[Distribution]


def distributions_of(model: Model, batch: Batch) -> Kinds:
    """What a model's functions give for a batch, without computing anything."""
    found: list[Kinds] = []

    def look(batch: Batch) -> None:
        variables = model.initialise(jax.random.key(0), batch)
        factors = jnp.zeros((len(batch.values), model.n_factors), batch.values.dtype)
        observation, _ = model.decode(variables, factors, batch, False)
        found.append(Kinds(type(model.prior(variables, factors, batch)), type(observation)))

    jax.eval_shape(look, batch)
    return found[0]


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
    training, judged = prepared.rows(fit), prepared.rows(validation)
    return Data(training, judged, jnp.int32(math.ceil(n_training_rows / batch_size)))


def grid_of(
    prepared: Prepared, data: Data, seeds: Sequence[int], betas: Sequence[float]
) -> Members:
    """Seeds × betas to be trained on the data as the preset says."""
    preset = prepared.preset
    settings = (prepared.model, preset.learning_rate, preset.train.epochs)
    return member_grid(seeds, betas, data, *settings)


def train_grid(
    prepared: Prepared, report: Callable[[Progress], None], stage: Store | None = None
) -> Trained:
    """Seeds × betas, trained on `train`, each at its best epoch on `validation`."""
    preset, n_train = prepared.preset, prepared.split.train.stop
    data = training_data(prepared, n_train)
    members = grid_of(prepared, data, range(preset.seeds), preset.betas)
    members.hyperparameters.row_weights[:, n_train:] = 0.0
    trained = train_members(prepared, data, members, report, stage, MOST_HARD)
    if not trained.ensemble.ok.any():
        raise DataError("every member diverged: look for outliers in the data")
    return trained


def refit(
    prepared: Prepared,
    grid: Trained,
    chosen: Choice,
    report: Callable[[Progress], None],
    stage: Store | None = None,
) -> Trained:
    """The seeds at the chosen β again, on all of `fit`, each for its own best epoch; those that
    diverge are left out."""
    at_beta = take(grid.ensemble, chosen.seeds)
    members = for_refits(at_beta.members, at_beta.best_epoch)
    data = training_data(prepared, prepared.split.fit.stop)
    trained = train_members(prepared, data, members, report, stage)
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
    report: Callable[[Progress], None],
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
            on_progress=report,
            finish=evaluated,
            stage=stage,
        )
    return trained
