"""Scores of members, refits and baselines; opens the test part."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import logsumexp, softmax

from jaxvae.analysis import metrics
from jaxvae.analysis.bootstrap import jackknife_half_width
from jaxvae.analysis.udr import udr_by_group
from jaxvae.study.align import Aligned
from jaxvae.study.backtest import Clusters, backtest
from jaxvae.study.decompose_kl import KL_TERMS, kl_parts, kl_rows
from jaxvae.study.fit import Prepared, Trained, TrainedStudy
from jaxvae.study.flag_degenerate import doubt_likelihoods
from jaxvae.study.portfolio.value_at_risk import ValueAtRisk, risk_rows
from jaxvae.study.score_ensemble import best_seed_rows, seed_rows, udr_rows
from jaxvae.study.tables import (
    MEMBER_SPLITS,
    REFIT_SPLITS,
    SEED_MODEL,
    Scored,
    ScoringData,
    comparisons_table,
    describe_rows,
    metrics_table,
)
from jaxvae.training.objective import LikelihoodEstimate


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


def score_study(
    found: TrainedStudy,
    aligned: Aligned,
    baselines: list[Scored],
    rebuilt: Float[np.ndarray, "member date asset"],
    scenarios: Float[np.ndarray, "scenario asset"],
    risk: ValueAtRisk,
    clusters: Clusters,
) -> Scores:
    """All models' scores, and the ensemble beside the baselines."""
    prepared, config, grid, refits = found[:4]
    best = _score(refits, found.best, "vae_best", "fit", REFIT_SPLITS)
    vaes = [_score_mixture(found, rebuilt), best]
    vaes, sound, doubts = doubt_likelihoods(found, vaes, baselines)
    on_test = np.asarray(refits.evaluation.likelihood.value, np.float64)[:, prepared.split.test]
    of_seeds = {"vae_ensemble": jackknife_half_width(on_test)}
    compared = comparisons_table(vaes, baselines, prepared.split, config.root_seed, of_seeds)
    with_sound = compared[compared.baseline.isin([one.model for one in sound])]
    of_past, ahead = backtest(clusters, with_sound)
    of_kl = kl_parts(prepared, config, grid)
    parts = [
        _score_rows(found, aligned, vaes, baselines),
        kl_rows(of_kl, prepared.model.n_factors),
        *_ensemble_rows(found, sound),
        describe_rows("data", "fit", prepared.values[prepared.split.fit]),
        describe_rows("vae_ensemble", "fit", scenarios),
        *of_past,
        *risk_rows(risk),
    ]
    return Scores(pd.concat(parts, ignore_index=True), compared, of_kl, doubts, ahead)


def _context(prepared: Prepared) -> ScoringData:
    reference = prepared.panel.reference
    known = None if reference is None else reference.factors.to_numpy(np.float64)
    return ScoringData(prepared.values, prepared.split, known)


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
    betas = np.repeat(prepared.preset.betas, prepared.preset.seeds)
    usable = np.asarray(grid.ensemble.ok)
    ranked = udr_by_group(*_on_fit(prepared, grid), betas, usable)
    return [
        seed_rows(seeds, _context(prepared)),
        udr_rows(ranked, *_on_fit(prepared, refits), found.best, config.root_seed),
        best_seed_rows(seeds, baselines, prepared.split, config.root_seed),
    ]


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


def member_columns(prepared: Prepared, grid: Trained, parts: pd.DataFrame) -> dict[str, Any]:
    """What a member's row begins and ends with; KL and its parts (nats a date) and active factors
    on `fit`."""
    fit = prepared.split.fit
    members, evaluation = grid.ensemble.members, grid.evaluation
    noise = np.asarray(evaluation.noise_variance, np.float64).mean(axis=1)
    betas = np.repeat(prepared.preset.betas, prepared.preset.seeds)
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
