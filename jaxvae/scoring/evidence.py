"""Tables of what speaks for the factors: how many there are, which β loses, who ranks members well.

Nothing here sees the test part but `rankings_table`, whose true scores are of it.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import spearmanr

from jaxvae.analysis.n_factors import (
    combine_estimates,
    held_out_gains,
    held_out_number,
    most_considered,
    n_factors_table,
)
from jaxvae.baselines.spectrum import linear_optima, r2_of_linear_factors
from jaxvae.fitting.fit import Trained
from jaxvae.fitting.prepare import Prepared
from jaxvae.models import Noise
from jaxvae.selection.count_factors import Sweep
from jaxvae.training.streams import Stream

CARRIED = 0.5
RANKED_BY = ("log_likelihood_validation", "udr")
TRUE_SCORE = "mcc_test"


def tabulate_n_factors(prepared: Prepared, sweep: Sweep) -> pd.DataFrame:
    """kind, name, factors, log_likelihood, gain, low, high, active_units: how many factors.

    kind "estimate": a classical estimator's answer on `fit`, or the ensemble's (`held_out`: see
    `held_out_number`). "verdict": what they add up to. "size": members with so many factors: mean
    log-likelihood of the validation dates over seeds (nats a date), its paired gain over members
    without factors with a 95 % interval, and the mean number of factors in use.
    """
    rng = Stream.RESAMPLING.generator(prepared.config.root_seed)
    fit = prepared.values[prepared.split.fit]
    most = most_considered(*fit.shape)
    # Empty where the panel has too few assets for the estimators.
    classical = n_factors_table(fit, most, rng) if most > 0 else {}
    scores, sizes = _by_size(rng, sweep)
    held_out = held_out_number(rng, scores, sizes.factors.to_numpy(), sizes.active_units.to_numpy())
    rows = [("estimate", *estimate) for estimate in [*classical.items(), ("held_out", held_out)]]
    rows.append(("verdict", "verdict", combine_estimates(classical, held_out)))
    answers = pd.DataFrame(rows, columns=["kind", "name", "factors"])
    return pd.concat([answers, sizes], ignore_index=True)


def _by_size(
    rng: np.random.Generator, sweep: Sweep
) -> tuple[Float[np.ndarray, "size date"], pd.DataFrame]:
    """Mean log-likelihoods by date, and rows of the table, of sizes of which a member did not
    diverge.

    Members that use none of their factors are members without factors: they join those.
    """
    sound = np.flatnonzero(~np.isnan(sweep.active).all(axis=1))
    active = np.nanmean(sweep.active[sound], axis=1)
    scores = np.nanmean(sweep.log_likelihood[sound], axis=1)
    scores[0] = sweep.log_likelihood[sweep.active == 0].mean(axis=0)
    gains = pd.DataFrame(held_out_gains(rng, scores)).rename(columns={"mean": "gain"})
    gains[(active <= 0.5) & (sound > 0)] = np.nan
    sizes = pd.DataFrame({"kind": "size", "name": "vae", "factors": sweep.sizes[sound]})
    sizes["log_likelihood"] = scores.mean(axis=1)
    return scores, sizes.join(gains).assign(active_units=active)


def spectrum_table(prepared: Prepared, grid: Trained) -> pd.DataFrame | None:
    """beta, factor, signal_to_noise, linear, members: which factors each β loses, on `train`; None
    where a capacity or free bits stand in for β KL, which the closed form is of.

    factor: by rank among the linear model's, from 1. signal_to_noise: its eigenvalue λ over the
    noise that is learned at that β (see `spectrum`). linear: whether a linear VAE keeps it, λ > β.
    members: share of the members at that β that carry at least half of its variance.
    """
    objective, n_factors = prepared.preset.train, prepared.model.n_factors
    if objective.capacity is not None or objective.free_bits:
        return None
    betas = np.asarray(grid.ensemble.members.hyperparameters.beta)
    train, noise = prepared.split.train, prepared.model.facts.noise or Noise()
    values, tables = prepared.values[train], []
    factors = np.asarray(grid.evaluation.factors, np.float64)[:, train]
    asked = prepared.preset.betas
    optima = linear_optima(values, n_factors, asked, noise.form, noise.variance)
    for beta, optimum in zip(asked, optima, strict=True):
        here = (betas == np.float32(beta)) & grid.ensemble.ok
        held = [
            r2_of_linear_factors(values, optimum, member) >= CARRIED for member in factors[here]
        ]
        columns = {
            "beta": beta,
            "factor": np.arange(1, n_factors + 1),
            "signal_to_noise": optimum.signal_to_noise[:n_factors],
            "linear": np.arange(n_factors) < optimum.active,
            "members": np.mean(held, axis=0) if held else np.full(n_factors, np.nan),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def rankings_table(members: pd.DataFrame) -> pd.DataFrame:
    """criterion, members, best_member, correlation, best_score, median_score: ways to rank members
    without the truth, and how well they do where it is known.

    correlation: Spearman's, of the criterion with the true score, the matched correlation with the
    known factors on test dates; best_score: the true score of the member ranked first;
    median_score: of the median member. NaN where no factors are known.
    """
    sound = members[members.ok]
    rows = [
        (criterion, *_ranking(sound.dropna(subset=[criterion]), criterion))
        for criterion in RANKED_BY
        if criterion in sound and sound[criterion].notna().any()
    ]
    names = ["members", "best_member", "correlation", "best_score", "median_score"]
    return pd.DataFrame(rows, columns=["criterion", *names])


def _ranking(members: pd.DataFrame, criterion: str) -> tuple[int, int, float, float, float]:
    best = members.iloc[int(members[criterion].argmax())]
    if TRUE_SCORE not in members:
        return len(members), int(best.member), np.nan, np.nan, np.nan
    truth = members[TRUE_SCORE]
    distinct = min(np.ptp(members[criterion]), np.ptp(truth)) > 0
    correlation = float(spearmanr(members[criterion], truth).statistic) if distinct else np.nan
    return len(members), int(best.member), correlation, float(best[TRUE_SCORE]), truth.median()
