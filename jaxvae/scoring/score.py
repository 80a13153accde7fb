"""Scores of members, refits and baselines; opens the test part."""

import itertools
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import softmax

from jaxvae.analysis.bootstrap import jackknife_margin
from jaxvae.analysis.metrics import active_units, describe
from jaxvae.analysis.mixtures import mixture_log_density
from jaxvae.analysis.udr import udr_by_group
from jaxvae.fitting.fit import Trained, TrainedStudy
from jaxvae.fitting.prepare import Prepared
from jaxvae.scoring.align import Aligned
from jaxvae.scoring.backtest import Clusters, backtest
from jaxvae.scoring.decompose_kl import KL_TERMS, kl_rows
from jaxvae.scoring.flag_degenerate import doubt_likelihoods
from jaxvae.scoring.score_ensemble import best_seed_rows, seed_rows, udr_rows
from jaxvae.scoring.tables import (
    MEMBER_SPLITS,
    REFIT_SPLITS,
    SEED_MODEL,
    Scored,
    ScoringData,
    comparisons_table,
    metric_rows,
    metrics_table,
    score_rows,
)
from jaxvae.scoring.value_at_risk import ValueAtRisk, risk_rows
from jaxvae.training.objective import LikelihoodEstimate

# Of a member in its row, by metric and split, where they are known.
SCORES_OF_MEMBER = (
    *itertools.product(("log_likelihood", "r2"), MEMBER_SPLITS),
    *itertools.product(("mcc", "subspace_r2"), ("test",)),
)


class Scores(NamedTuple):
    """The scores of a study's models.

    Attributes:
        metrics, comparisons: as `Study` has them.
        doubts: notes on likelihoods that should not be trusted.
        of_past: notes on what the past is worth.
    """

    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    doubts: list[str]
    of_past: list[str]


def score_study(
    trained: TrainedStudy,
    aligned: Aligned,
    baselines: list[Scored],
    residual: Float[np.ndarray, "date asset"],
    scenarios: Float[np.ndarray, "scenario asset"],
    risk: ValueAtRisk,
    clusters: Clusters,
) -> Scores:
    """All models' scores, and the ensemble beside the baselines.

    residual: standardised returns less what the ensemble, the mean of the refits, rebuilds.
    """
    prepared, grid, refits, _ = trained
    split, root_seed = prepared.split, prepared.config.root_seed
    seeds = _score_each(refits, SEED_MODEL, "fit", ("test",))
    best = seeds[trained.best]._replace(model="vae_best", splits=REFIT_SPLITS, member=None)
    vaes = [_score_mixture(trained, residual), best]
    vaes, bounded, doubts = doubt_likelihoods(trained, vaes, baselines)
    on_test = np.asarray(refits.evaluation.likelihood.value, np.float64)[:, split.test]
    of_seeds = {"vae_ensemble": jackknife_margin(on_test)}
    compared = comparisons_table(vaes, baselines, split, root_seed, of_seeds)
    with_bounded = compared[compared.baseline.isin([one.model for one in bounded])]
    of_past, ahead = backtest(clusters, with_bounded)
    members = _score_each(grid, "vae", "train", MEMBER_SPLITS)
    n_kept = aligned.factors.shape[1]
    joint = Scored("consensus", n_kept, "fit", REFIT_SPLITS, factors=aligned.factors)
    reference = prepared.panel.reference
    known = None if reference is None else reference.factors.to_numpy(np.float64)
    data = ScoringData(prepared.values, split, known)
    ranked = udr_by_group(
        *_on_fit(prepared, grid), _betas_of_members(prepared), np.asarray(grid.ensemble.ok)
    )
    rows = [
        *score_rows([*members, *vaes, joint, *baselines], data, root_seed),
        *kl_rows(prepared, grid),
        *seed_rows(seeds, data),
        *udr_rows(ranked, *_on_fit(prepared, refits), trained.best, root_seed),
        *best_seed_rows(seeds, bounded, split, root_seed),
        *metric_rows("data", "fit", describe(prepared.values[split.fit])),
        *metric_rows("vae_ensemble", "fit", describe(scenarios)),
        *of_past,
        *risk_rows(risk),
    ]
    return Scores(metrics_table(rows), compared, doubts, ahead)


def _betas_of_members(prepared: Prepared) -> Float[np.ndarray, " member"]:
    return np.repeat(prepared.preset.betas, prepared.preset.seeds)


def _on_fit(
    prepared: Prepared, trained: Trained
) -> tuple[Float[np.ndarray, "member date factor"], Float[np.ndarray, "member factor"]]:
    """The members' posterior means on `fit`, and each factor's mean KL there, nats a date."""
    fit, evaluation = prepared.split.fit, trained.evaluation
    factors, kl = (
        np.asarray(array, np.float64)[:, fit] for array in (evaluation.factors, evaluation.kl)
    )
    return factors, kl.mean(axis=1)


def _score_each(
    trained: Trained, name: str, fitted_on: str, splits: tuple[str, ...]
) -> list[Scored]:
    """Every member by itself."""
    outputs, scored = trained.evaluation, []
    asked = (outputs.likelihood, outputs.squared_error, outputs.factors)
    for member in range(len(trained.ensemble.ok)):
        likelihood, squared_error, factors = jax.tree.map(
            lambda leaf, place=member: np.asarray(leaf[place], np.float64), asked
        )
        one = Scored(name, factors.shape[1], fitted_on, splits, *likelihood)
        scored.append(one._replace(squared_error=squared_error, factors=factors, member=member))
    return scored


def mix_estimates(estimates: LikelihoodEstimate) -> LikelihoodEstimate:
    """The equal mixture of members, date by date: log (1/m) Σ p_i(x), from estimates of shape
    (member, date).

    The standard error joins the members' as independent, and the effective samples are averaged,
    both weighted by responsibilities.
    """
    shares = softmax(estimates.value, axis=0)
    mixed: Any = mixture_log_density(np.asarray(estimates.value))
    return LikelihoodEstimate(
        value=mixed,
        standard_error=np.sqrt((shares**2 * estimates.standard_error**2).sum(axis=0)),
        effective_samples=(shares * estimates.effective_samples).sum(axis=0),
    )


def _score_mixture(trained: TrainedStudy, residual: Float[np.ndarray, "date asset"]) -> Scored:
    """The equal mixture of the refits; its reconstruction is the mean of theirs."""
    n_factors, likelihood = trained.prepared.model.n_factors, trained.refits.evaluation.likelihood
    bounds = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), likelihood)
    mixed: Any = mix_estimates(bounds)
    scored = Scored("vae_ensemble", n_factors, "fit", REFIT_SPLITS, *mixed)
    return scored._replace(squared_error=np.nansum(residual**2, axis=1))


def members_table(prepared: Prepared, grid: Trained, metrics: pd.DataFrame) -> pd.DataFrame:
    """A row a member: what it is, its scores by split, taken from the metrics table; KL and its
    parts (nats a date), factors in use and noise on `fit`.

    udr: on `fit`, among the seeds of its β; NaN where fewer than two are usable.
    """
    ensemble, evaluation, fit = grid.ensemble, grid.evaluation, prepared.split.fit
    betas = _betas_of_members(prepared)
    noise = np.asarray(evaluation.noise_variance, np.float64).mean(axis=1)
    by_metric = metrics[metrics.model == "vae"].groupby(["metric", "split"])
    scores = {name: rows.set_index("member").value for name, rows in by_metric}
    columns: dict[str, Any] = {
        "member": np.arange(len(betas)),
        "seed": ensemble.members.seed,
        "beta": betas,
        "ok": ensemble.ok,
        "best_epoch": ensemble.best_epoch,
        **{f"{metric}_{split}": scores.get((metric, split)) for metric, split in SCORES_OF_MEMBER},
        "udr": scores.get(("udr", "fit"), np.nan),
        "kl": np.asarray(evaluation.kl, np.float64)[:, fit].sum(axis=2).mean(axis=1),
        **{name: scores.get((name, "fit")) for name in KL_TERMS},
        "active_units": active_units(np.asarray(evaluation.factors)[:, fit]).sum(axis=1),
        "noise_variance": noise,
        "beta_noise": betas * noise,
    }
    known = {name: column for name, column in columns.items() if column is not None}
    return pd.DataFrame(known).reset_index(drop=True)
