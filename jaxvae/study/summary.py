"""From trained members to the tables and arrays of a `Study`."""

import functools
import math
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.baselines import Law
from jaxvae.fitting.fit import Trained, TrainedStudy
from jaxvae.fitting.prepare import Prepared
from jaxvae.inference.evaluation import reconstruct
from jaxvae.inference.members import ask
from jaxvae.inference.scenarios import covariance_of_mixture, sample_by_mixture
from jaxvae.models.model import Batch, take_rows
from jaxvae.scoring.align import (
    Aligned,
    align,
    arrange_refit_factors,
    consensus_arrays,
    factors_table,
    loadings_table,
    persistence_arrays,
    tabulate_stability,
)
from jaxvae.scoring.backtest import study_clusters
from jaxvae.scoring.evidence import rankings_table, spectrum_table, tabulate_n_factors
from jaxvae.scoring.flag_degenerate import jittered_values
from jaxvae.scoring.score import members_table, score_study
from jaxvae.scoring.tables import score_baselines
from jaxvae.scoring.value_at_risk import study_risk
from jaxvae.selection.count_factors import Sweep
from jaxvae.selection.select import Selection
from jaxvae.study.describe import (
    describe_selection,
    describe_study,
    study_identity,
    study_notes,
    volatility_factors,
)
from jaxvae.study.figure_data import figure_arrays
from jaxvae.study.fitted import saved_arrays, saved_parameters
from jaxvae.study.holdings import HoldingsInput, holdings
from jaxvae.study.missing import completed, completion_note, missing_notes, unforeseen_note
from jaxvae.study.study import Study
from jaxvae.training.state import Losses
from jaxvae.training.streams import Stream
from jaxvae.training.threads import run_at_once

SCENARIOS = 8000


def summarise(
    trained: TrainedStudy,
    selection: Selection,
    sweep: Sweep,
    baselines: tuple[dict[str, Law], list[str]],
) -> Study:
    """Score, align and tabulate.

    trained: all members, and those of the chosen β refitted. selection: what the study is of.
    sweep: members of fewer factors. baselines: what `fit_baselines` gave.
    """
    prepared, grid, _, chosen = trained
    aligned = align(prepared, grid, chosen)
    arranged = arrange_refit_factors(trained, aligned)
    clusters, at_risk, rebuilt, scenarios, covariance = _answers(trained)
    laws, unfitted = baselines
    factor_analysis: Any = laws["factor_analysis_best"]
    filled = completed(prepared.values, prepared.split, factor_analysis, prepared.config.root_seed)
    whole = prepared._replace(values=filled)
    scored = score_baselines(laws, prepared.values, jittered_values(prepared))
    residual = prepared.values - rebuilt.mean(axis=0)
    scores = score_study(trained, aligned, scored, residual, scenarios, at_risk[0], clusters)
    members = members_table(prepared, grid, scores.metrics)
    rebuilds = {"vae": rebuilt[trained.best], "pca": laws["pca"].reconstruct(prepared.values)}
    held = _held(trained, aligned, residual, covariance)
    tables, drawn = holdings(held, aligned.factors, *at_risk)
    notes = [*prepared.panel.notes, *scores.doubts, *unfitted, *study_notes(trained, aligned)]
    notes += [*selection.notes, *scores.of_past, *_gap_notes(prepared, factor_analysis)]
    return Study(
        config={
            **describe_study(trained, aligned),
            "notes": notes,
            "refit_factors": arranged.names,
            "identity": study_identity(prepared.panel, selection.asked),
            "selection": describe_selection(selection),
        },
        members=members,
        metrics=scores.metrics,
        history=history_table(prepared, grid),
        comparisons=scores.comparisons,
        factors=factors_table(prepared, aligned),
        loadings=held.loadings,
        covariance=held.covariance,
        **tables,
        arrays={
            **consensus_arrays(aligned),
            **persistence_arrays(prepared.model, grid, aligned, chosen),
            **figure_arrays(prepared, filled, aligned.factors, rebuilds, scenarios),
            **saved_arrays(trained, arranged),
            **drawn,
        },
        parameters=saved_parameters(trained, aligned.map),
        n_factors=tabulate_n_factors(whole, sweep),
        spectrum=spectrum_table(whole, grid),
        family=prepared.preset.model,
        stability=tabulate_stability(members, aligned),
        rankings=rankings_table(members),
        candidates=selection.candidates,
    )


def _held(
    trained: TrainedStudy,
    aligned: Aligned,
    residual: Float[np.ndarray, "date asset"],
    covariance: pd.DataFrame,
) -> HoldingsInput:
    """Loadings and covariance, with what else tables of holdings need."""
    prepared, own = trained.prepared, trained.refits.evaluation.noise_variance
    return HoldingsInput(
        prepared=prepared,
        loadings=loadings_table(prepared, trained.grid, aligned),
        volatility=volatility_factors(prepared, aligned),
        noise=np.asarray(own, np.float64).mean(axis=0) * prepared.scaler.scale**2,
        covariance=covariance,
        residual=residual,
    )


def _gap_notes(prepared: Prepared, factor_analysis: Any) -> list[str]:
    """What is missing, and what that means for the model."""
    notes = missing_notes(prepared.panel)
    if not prepared.model.facts.sees_gaps:
        notes += unforeseen_note(prepared.values, prepared.split)
    return [*notes, *completion_note(prepared.values, factor_analysis)]


def history_table(prepared: Prepared, grid: Trained) -> pd.DataFrame:
    """member, epoch, total, reconstruction, kl, validation; nats a date, or for sums a batch the
    notebook's mean batch sums."""
    losses = grid.ensemble.history
    if prepared.preset.train.reduction == "sum":
        n_rows = prepared.split.train.stop
        n_batches = -(-n_rows // prepared.preset.train.batch_size)
        losses = notebook_losses(losses, n_rows, n_batches, prepared.panel.n_assets)
    columns = {name: np.asarray(loss).ravel() for name, loss in losses._asdict().items()}
    member, epoch = np.indices(losses.total.shape).reshape(2, -1)
    table = pd.DataFrame({"member": member, "epoch": epoch + 1, **columns})
    return table[epoch < grid.ensemble.epochs[member]].reset_index(drop=True)


def notebook_losses(losses: Losses, n_rows: int, n_batches: int, n_assets: int) -> Losses:
    """The notebook's figures from its preset's: a mean batch sum without the Gaussian's constant;
    the validation objective, nats a row before, becomes a batch's sum too.

    ½ log(2π·½) a cell stands between the summed squared error and the negative log-likelihood.
    """
    constant = 0.5 * math.log(math.pi) * n_assets * n_rows / n_batches
    return losses._replace(
        total=losses.total - constant,
        reconstruction=losses.reconstruction - constant,
        validation=losses.validation * n_rows / n_batches - constant,
    )


def _answers(trained: TrainedStudy) -> list[Any]:
    """What the refits are asked, side by side: each is a program, which one core compiles."""
    asked = (study_clusters, study_risk, _rebuilt, _scenarios, _covariance_table)
    return run_at_once(*(functools.partial(ask_it, trained) for ask_it in asked))


def _rebuilt(trained: TrainedStudy) -> Float[np.ndarray, "member date asset"]:
    """Returns from each refit's posterior means."""
    prepared, shared = trained.prepared, {"batch": trained.prepared.batch}
    return np.asarray(ask(reconstruct, trained.fitted, shared, model=prepared.model), np.float64)


def _scenarios(trained: TrainedStudy) -> Float[np.ndarray, "scenario asset"]:
    key, prepared = Stream.SCENARIOS.key(trained.prepared.config.root_seed), trained.prepared
    return sample_by_mixture(key, prepared.model, trained.fitted, _under(prepared), SCENARIOS)


def _covariance_table(trained: TrainedStudy) -> pd.DataFrame:
    key, prepared = Stream.COVARIANCE.key(trained.prepared.config.root_seed), trained.prepared
    scale, under = prepared.scaler.scale, _under(prepared)
    standard = covariance_of_mixture(key, prepared.model, trained.fitted, under, SCENARIOS)
    assets = list(prepared.panel.assets)
    index = pd.Index(assets, name="asset")
    return pd.DataFrame(standard * np.outer(scale, scale), index=index, columns=assets)


def _under(prepared: Prepared) -> Batch:
    """The dates whose conditions scenarios and the covariance are averaged over: those of `fit`."""
    return take_rows(prepared.batch, prepared.split.fit)
