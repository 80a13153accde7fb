"""From trained members to the tables and arrays of a `Study`; opens the test part."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import logsumexp, softmax
from threadpoolctl import threadpool_limits

from jaxvae.analysis import metrics
from jaxvae.analysis.baselines import Law
from jaxvae.analysis.bootstrap import mixture_half_width
from jaxvae.analysis.udr import udr_by_group
from jaxvae.inference.evaluation import reconstruct
from jaxvae.inference.members import Fitted, ask, fitted_members
from jaxvae.inference.scenarios import covariance_of_mixture, sample_by_mixture
from jaxvae.models.model import Batch, take_rows
from jaxvae.study.align import (
    Aligned,
    align,
    as_reported,
    consensus_arrays,
    factors_table,
    loadings_table,
)
from jaxvae.study.backtest import backtest
from jaxvae.study.config import StudyConfig
from jaxvae.study.count_factors import Sweep
from jaxvae.study.decompose_kl import KL_TERMS, kl_parts, kl_rows
from jaxvae.study.describe import (
    describe_selection,
    describe_study,
    study_identity,
    study_notes,
)
from jaxvae.study.evidence import numbers_table, rankings_table, spectrum_table
from jaxvae.study.figure_data import figure_arrays
from jaxvae.study.fit import Choice, Prepared, Trained
from jaxvae.study.fitted import as_saved, saved_arrays
from jaxvae.study.flag_degenerate import doubt_likelihoods, jittered_values
from jaxvae.study.gaps import completed, completion_note, missing_notes, unforeseen_note
from jaxvae.study.persistence import persistence_arrays
from jaxvae.study.presets import notebook_losses
from jaxvae.study.score_ensemble import best_seed_rows, seed_rows, udr_rows
from jaxvae.study.select import Selection
from jaxvae.study.study import Study
from jaxvae.study.tables import (
    MEMBER_SPLITS,
    REFIT_SPLITS,
    SEED_MODEL,
    Scored,
    ScoringData,
    comparisons_table,
    describe_rows,
    members_table,
    metrics_table,
    score_baselines,
)
from jaxvae.training.objective import LikelihoodEstimate
from jaxvae.training.streams import Stream

SCENARIOS = 8000


class TrainedStudy(NamedTuple):
    """The members of a study.

    grid: all members. refits: those of the chosen β that did not diverge; fitted: the same, to be
    asked; best: the place of the likeliest among them. chosen: the member that validation chose.
    """

    prepared: Prepared
    config: StudyConfig
    grid: Trained
    refits: Trained
    chosen: Choice
    fitted: Fitted
    best: int


def summarise(
    prepared: Prepared,
    selection: Selection,
    grid: Trained,
    refits: Trained,
    sweep: Sweep,
    chosen: Choice,
    baselines: tuple[dict[str, Law], list[str]],
) -> Study:
    """Score, align and tabulate.

    selection: what the study is of. grid: all members. refits: those of the chosen β that did not
    diverge. sweep: members of fewer factors. chosen: the member that validation chose, and its β
    with it. baselines: what `fit_baselines` gave.
    """
    config = selection.config
    fitted, best = fitted_members(refits.ensemble), likeliest(prepared, refits)
    found = TrainedStudy(prepared, config, grid, refits, chosen, fitted, best)
    aligned = align(prepared, grid, chosen, config)
    reported = as_reported(prepared, aligned, refits, best)
    shared = {"batch": prepared.batch}
    rebuilt = np.asarray(ask(reconstruct, fitted, shared, model=prepared.model), np.float64)
    laws, unfitted = baselines
    factor_analysis: Any = laws["factor_analysis_best"]
    filled = completed(prepared.values, prepared.split, factor_analysis, config.root_seed)
    whole = prepared._replace(values=filled)
    scored = score_baselines(laws, prepared.values, jittered_values(prepared, config))
    key = Stream.SCENARIOS.key(config.root_seed)
    scenarios = sample_by_mixture(key, prepared.model, fitted, _under(prepared), SCENARIOS)
    scores = _score_study(found, aligned, scored, rebuilt, scenarios)
    columns = _member_columns(prepared, config, grid, scores.kl)
    members = members_table(scores.metrics, columns, prepared.panel.reference is not None)
    completion = completion_note(prepared.values, factor_analysis)
    rebuilds = {
        "vae": rebuilt[best],
        "pca": laws["pca"].reconstruct(prepared.values),
    }
    return Study(
        config={
            **_described(
                found,
                aligned,
                [*scores.doubts, *unfitted],
                [*selection.notes, *scores.of_past, *_gap_notes(prepared), *completion],
            ),
            "refit_factors": reported.names,
            "identity": study_identity(prepared.panel, selection.asked),
            "selection": describe_selection(selection),
        },
        members=members,
        metrics=scores.metrics,
        history=history_table(prepared, grid),
        comparisons=scores.comparisons,
        factors=factors_table(prepared, aligned),
        loadings=loadings_table(prepared, grid, aligned),
        covariance=_covariance_table(prepared, fitted, config),
        arrays={
            **consensus_arrays(aligned),
            **persistence_arrays(prepared.model, grid, aligned, chosen),
            **figure_arrays(prepared, filled, aligned.factors, rebuilds, scenarios),
            **saved_arrays(prepared, refits, best, reported),
        },
        parameters={"members": as_saved(fitted_members(grid.ensemble)), "refits": as_saved(fitted)},
        n_factors=numbers_table(whole, sweep, config),
        spectrum=_spectrum(whole, grid, config),
        family=prepared.preset.model,
        rankings=rankings_table(members),
        candidates=selection.candidates,
    )


def _gap_notes(prepared: Prepared) -> list[str]:
    """What is missing, and what that means for the model."""
    notes = missing_notes(prepared.panel)
    if not prepared.model.facts.sees_gaps:
        notes += unforeseen_note(prepared.values, prepared.split)
    return notes


class Scores(NamedTuple):
    """The scores of a study's models.

    Attributes:
        metrics, comparisons: As `Study` has them.
        kl: Of each member (`kl_parts`).
        doubts: Notes on likelihoods that should not be trusted.
        of_past: Notes on what the past is worth.
    """

    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    kl: pd.DataFrame
    doubts: list[str]
    of_past: list[str]


def _score_study(
    found: TrainedStudy,
    aligned: Aligned,
    baselines: list[Scored],
    rebuilt: Float[np.ndarray, "member date asset"],
    scenarios: Float[np.ndarray, "scenario asset"],
) -> Scores:
    """All models' scores, and the ensemble beside the baselines."""
    prepared, config, grid, refits = found[:4]
    vaes = [_score_mixture(found, rebuilt), _score_best(found)]
    vaes, sound, doubts = doubt_likelihoods(
        prepared, config, found.fitted, found.best, vaes, baselines
    )
    on_test = np.asarray(refits.evaluation.likelihood.value, np.float64)[:, prepared.split.test]
    of_seeds = {"vae_ensemble": mixture_half_width(on_test)}
    compared = comparisons_table(vaes, baselines, prepared.split, config.root_seed, of_seeds)
    with_sound = compared[compared.baseline.isin([one.model for one in sound])]
    of_past, ahead = _of_the_past(found, with_sound)
    of_kl = kl_parts(prepared, config, grid)
    parts = [
        _score_rows(found, aligned, vaes, baselines),
        kl_rows(of_kl, prepared.model.n_factors),
        *_ensemble_rows(found, sound),
        describe_rows("data", "fit", prepared.values[prepared.split.fit]),
        describe_rows("vae_ensemble", "fit", scenarios),
        *of_past,
    ]
    return Scores(pd.concat(parts, ignore_index=True), compared, of_kl, doubts, ahead)


def _spectrum(whole: Prepared, grid: Trained, config: StudyConfig) -> pd.DataFrame | None:
    """None where a capacity or free bits stand in for β KL, which the closed form is of."""
    train = whole.preset.train
    if train.capacity is not None or train.free_bits:
        return None
    return spectrum_table(whole, grid, config)


def history_table(prepared: Prepared, grid: Trained) -> pd.DataFrame:
    """member, epoch, total, reconstruction, kl, validation; nats a date, or for sums a batch the
    notebook's mean batch sums."""
    losses = grid.ensemble.history
    if prepared.preset.train.reduction == "sum":
        n_rows = prepared.split.train.stop
        n_batches = -(-n_rows // prepared.preset.train.batch_size)
        losses = notebook_losses(losses, n_rows, n_batches, prepared.panel.n_assets)
    columns = {name: np.asarray(loss).ravel() for name, loss in losses._asdict().items()}
    n_members, n_epochs = losses.total.shape
    member, epoch = np.divmod(np.arange(n_members * n_epochs), n_epochs)
    table = pd.DataFrame({"member": member, "epoch": epoch + 1, **columns})
    return table[epoch < np.repeat(grid.ensemble.epochs, n_epochs)].reset_index(drop=True)


def _context(prepared: Prepared) -> ScoringData:
    reference = prepared.panel.reference
    known = None if reference is None else reference.factors.to_numpy(np.float64)
    return ScoringData(prepared.values, prepared.split, known)


def likeliest(prepared: Prepared, refits: Trained) -> int:
    """The refit with the highest log-likelihood on `fit`: `vae_best`.

    A seed's refit need not end in the optimum that its training on fewer dates found; optima differ
    by more than the same network overfits.
    """
    scores = np.asarray(refits.evaluation.likelihood.value, np.float64)
    return int(np.argmax(scores[:, prepared.split.fit].mean(axis=1)))


def _described(
    found: TrainedStudy, aligned: Aligned, unfitted: list[str], more: list[str]
) -> dict[str, Any]:
    """The settings and what was chosen, with the notes."""
    prepared, config, grid = found.prepared, found.config, found.grid
    described = describe_study(prepared, config, grid, found.chosen, aligned)
    described["chosen"]["refit_seed"] = int(found.refits.ensemble.members.seed[found.best])
    notes = [*prepared.panel.notes, *unfitted, *_refit_notes(found.refits, config)]
    return {**described, "notes": [*notes, *study_notes(prepared, config, grid, aligned), *more]}


def _refit_notes(refits: Trained, config: StudyConfig) -> list[str]:
    """What the report must say where refits diverged and were left out."""
    lost = config.seeds - len(refits.ensemble.members.seed)
    return [f"{lost} of {config.seeds} refits diverged and were left out."] if lost else []


def _score_members(grid: Trained) -> list[Scored]:
    return [
        _score(grid, index, "vae", "train", MEMBER_SPLITS)._replace(member=index)
        for index in range(len(grid.ensemble.ok))
    ]


def _score_rows(
    found: TrainedStudy, aligned: Aligned, vaes: list[Scored], baselines: list[Scored]
) -> pd.DataFrame:
    """Scores of every member, the ensemble, the consensus and the baselines."""
    n_kept, factors = aligned.factors.shape[1], aligned.factors
    joint = Scored("consensus", n_kept, "fit", REFIT_SPLITS, factors=factors)
    scored = [*_score_members(found.grid), *vaes, joint, *baselines]
    return metrics_table(scored, _context(found.prepared), found.config.root_seed)


def _ensemble_rows(found: TrainedStudy, baselines: list[Scored]) -> list[pd.DataFrame]:
    """Rows of the metrics table that only an ensemble can have."""
    prepared, config, grid, refits = found[:4]
    seeds = [
        _score(refits, index, SEED_MODEL, "fit", ("test",))._replace(member=index)
        for index in range(len(refits.ensemble.ok))
    ]
    betas, usable = np.repeat(config.betas, config.seeds), np.asarray(grid.ensemble.ok)
    with threadpool_limits(1):
        ranked = udr_by_group(*_on_fit(prepared, grid), betas, usable)
        return [
            seed_rows(seeds, _context(prepared)),
            udr_rows(ranked, *_on_fit(prepared, refits), found.best, config.root_seed),
            best_seed_rows(seeds, baselines, prepared.split, config.root_seed),
        ]


def _of_the_past(
    found: TrainedStudy, compared: pd.DataFrame
) -> tuple[list[pd.DataFrame], list[str]]:
    """Rows and notes on what the past is worth, of a model that has a memory."""
    if found.prepared.model.recurrence is None:
        return [], []
    return backtest(found.prepared, found.fitted, compared, found.config)


def _on_fit(
    prepared: Prepared, trained: Trained
) -> tuple[Float[np.ndarray, "member date factor"], Float[np.ndarray, "member factor"]]:
    """The members' posterior means on `fit`, and each factor's mean KL there, nats a date."""
    fit, evaluation = prepared.split.fit, trained.evaluation
    factors, kl = (
        np.asarray(array, np.float64)[:, fit] for array in (evaluation.factors, evaluation.kl)
    )
    return factors, kl.mean(axis=1)


def _score(
    trained: Trained,
    index: int,
    name: str,
    fitted_on: str,
    splits: tuple[str, ...],
) -> Scored:
    evaluation = jax.tree.map(lambda leaf: np.asarray(leaf[index], np.float64), trained.evaluation)
    return Scored(
        model=name,
        n_factors=evaluation.factors.shape[1],
        fitted_on=fitted_on,
        splits=splits,
        log_likelihood=evaluation.likelihood.value,
        standard_error=evaluation.likelihood.standard_error,
        effective_samples=evaluation.likelihood.effective_samples,
        squared_error=evaluation.squared_error,
        factors=evaluation.factors,
    )


def mix_estimates(bounds: LikelihoodEstimate) -> LikelihoodEstimate:
    """The equal mixture of members, date by date: log (1/m) Σ p_i(x), from bounds of shape
    (member, date).

    The standard error joins the members' as independent, and the effective samples are averaged,
    both weighted by responsibilities.
    """
    shares = softmax(bounds.value, axis=0)
    return LikelihoodEstimate(
        value=logsumexp(bounds.value, axis=0) - np.log(len(shares)),
        standard_error=np.sqrt((shares**2 * bounds.standard_error**2).sum(axis=0)),
        effective_samples=(shares * bounds.effective_samples).sum(axis=0),
    )


def _score_best(found: TrainedStudy) -> Scored:
    return _score(found.refits, found.best, "vae_best", "fit", REFIT_SPLITS)


def _score_mixture(found: TrainedStudy, rebuilt: Float[np.ndarray, "member date asset"]) -> Scored:
    """The equal mixture of the refits; its reconstruction is the mean of theirs."""
    prepared, likelihood = found.prepared, found.refits.evaluation.likelihood
    bounds = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), likelihood)
    mixed: Any = mix_estimates(bounds)
    return Scored(
        model="vae_ensemble",
        n_factors=found.prepared.model.n_factors,
        fitted_on="fit",
        splits=REFIT_SPLITS,
        log_likelihood=mixed.value,
        standard_error=mixed.standard_error,
        effective_samples=mixed.effective_samples,
        squared_error=np.nansum((prepared.values - rebuilt.mean(axis=0)) ** 2, axis=1),
    )


def _member_columns(
    prepared: Prepared, config: StudyConfig, grid: Trained, parts: pd.DataFrame
) -> dict[str, Any]:
    """What a member's row begins and ends with; KL and its parts (nats a date) and active factors
    on `fit`."""
    fit = prepared.split.fit
    members, evaluation = grid.ensemble.members, grid.evaluation
    noise = np.asarray(evaluation.noise_variance, np.float64).mean(axis=1)
    betas = np.repeat(config.betas, config.seeds)
    return {
        "member": np.arange(len(members.seed)),
        "seed": members.seed,
        "beta": betas,
        "ok": grid.ensemble.ok,
        "best_epoch": grid.ensemble.best_epoch,
        "kl": np.asarray(evaluation.kl, np.float64)[:, fit].sum(axis=2).mean(axis=1),
        **{name: parts[name].to_numpy() for name in KL_TERMS if name in parts},
        "active_units": metrics.active_units(np.asarray(evaluation.factors)[:, fit]).sum(axis=1),
        "noise_variance": noise,
        "beta_noise": betas * noise,
    }


def _covariance_table(prepared: Prepared, fitted: Fitted, config: StudyConfig) -> pd.DataFrame:
    key = Stream.COVARIANCE.key(config.root_seed)
    scale = prepared.scaler.scale
    under = _under(prepared)
    standard = covariance_of_mixture(key, prepared.model, fitted, under, SCENARIOS)
    assets = list(prepared.panel.assets)
    index = pd.Index(assets, name="asset")
    return pd.DataFrame(standard * np.outer(scale, scale), index=index, columns=assets)


def _under(prepared: Prepared) -> Batch:
    """The dates whose conditions scenarios and the covariance are averaged over: those of `fit`."""
    return take_rows(prepared.batch, prepared.split.fit)
