"""A study's consensus: all members' factors lined up, weak ones dropped, as tables and arrays."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from jaxvae.analysis import consensus, matching, metrics, survival
from jaxvae.fitting.fit import Choice, Trained, TrainedStudy
from jaxvae.fitting.prepare import Prepared
from jaxvae.models import Model
from jaxvae.training.streams import Stream


class Verdict(NamedTuple):
    """Every consensus factor before any is dropped, and the rule's verdict on it.

    presence: share of the members at the chosen β that have it. stability: of these over seeds.
    chance: what the stability of a kept factor exceeds; −1 where there are too few seeds to tell.
    """

    presence: Float[np.ndarray, " factor"]
    stability: Float[np.ndarray, " factor"]
    chance: float
    survives: Bool[np.ndarray, " factor"]


class Aligned(NamedTuple):
    """The consensus over the members in `used`, of the factors kept, and what it rests on.

    Kept are the factors that survive (`survival.survives`); where none does, the most stable
    alone, so that there is something to look at: `verdict` and the study's notes say so.

    stability: a row a β of those members, ascending. at_chosen: its row at the chosen β.
    presence: share of the members at the chosen β that have the factor at all.
    """

    map: consensus.Consensus
    used: Bool[np.ndarray, " member"]
    factors: Float[np.ndarray, "date consensus"]
    stability: Float[np.ndarray, "beta consensus"]
    at_chosen: Float[np.ndarray, " consensus"]
    agreement: Float[np.ndarray, "member member"]
    presence: Float[np.ndarray, " consensus"]
    verdict: Verdict


def align(prepared: Prepared, grid: Trained, chosen: Choice) -> Aligned:
    """Line up the factors of all members that did not diverge; learned on `fit`."""
    used = np.asarray(grid.ensemble.ok)
    sound: Trained = jax.tree.map(lambda leaf: leaf[used], grid)
    factors = np.asarray(sound.evaluation.factors, np.float64)
    in_fit = factors[:, prepared.split.fit]
    active, quality = metrics.active_units(in_fit), vote_weights(prepared, sound)
    jacobians = np.asarray(sound.evaluation.loadings, np.float64)
    joint = consensus.align_members(in_fit, active, quality)
    some = matching.compared_members(len(active))
    compared = consensus.member_units(in_fit[some], active[some])
    joint = consensus.by_convention(joint, jacobians, prepared.scaler.scale)
    betas = np.asarray(sound.ensemble.members.hyperparameters.beta)
    labels, stability = consensus.stability(joint, in_fit, betas)
    chosen_beta = np.float32(prepared.preset.betas[chosen.beta])
    at_chosen, seeds = stability[labels == chosen_beta][0], betas == chosen_beta
    presence = survival.presence(joint, seeds)
    rng = Stream.RESAMPLING.generator(prepared.config.root_seed)
    chance = survival.chance_stability(rng, in_fit[seeds], active[seeds], quality[seeds])
    survives = survival.survives(presence, at_chosen, chance)
    kept = np.flatnonzero(survives) if survives.any() else at_chosen.argmax(keepdims=True)
    few = consensus.keep(joint, kept)
    return Aligned(
        map=few,
        used=used,
        factors=consensus.consensus_factors(few, factors),
        stability=stability[:, kept],
        at_chosen=at_chosen[kept],
        agreement=matching.agreement(compared, compared),
        presence=presence[kept],
        verdict=Verdict(presence, at_chosen, chance, survives),
    )


def vote_weights(prepared: Prepared, sound: Trained) -> Float[np.ndarray, " member"]:
    """exp of the mean log-likelihood of a validation date, 1 for the best member: one that is a nat
    a date worse counts 1/e."""
    likelihood = np.asarray(sound.evaluation.likelihood.value, np.float64)
    scores = likelihood[:, prepared.split.validation].mean(axis=1)
    return np.exp(scores - scores.max())


def factor_names(n_factors: int) -> list[str]:
    """factor 1, factor 2, …"""
    return [f"factor {k + 1}" for k in range(n_factors)]


def tabulate_factors(values: Float[np.ndarray, "row factor"], index: pd.Index) -> pd.DataFrame:
    """A column a factor, under its name.

    Args:
        values: factors of dates, or loadings of assets.
        index: of the rows.
    """
    return pd.DataFrame(values, index=index, columns=factor_names(values.shape[1]))


def factors_table(prepared: Prepared, aligned: Aligned) -> pd.DataFrame:
    """Dates × consensus factors, in standard deviations on `fit`."""
    return tabulate_factors(aligned.factors, pd.Index(prepared.panel.dates, name="date"))


def tabulate_stability(members: pd.DataFrame, aligned: Aligned) -> pd.DataFrame:
    """β × consensus factors: how well a member's factor correlates with the consensus of the others
    of its β, averaged over seeds.

    Args:
        members: a row a member: beta, ok.
    """
    betas = np.sort(members[members.ok].beta.unique())
    return tabulate_factors(aligned.stability, pd.Index(betas, name="beta"))


def loadings_table(prepared: Prepared, grid: Trained, aligned: Aligned) -> pd.DataFrame:
    """The members' mean Jacobians, aligned: returns per standard deviation of a factor."""
    jacobians = np.asarray(grid.evaluation.loadings, np.float64)[aligned.used]
    loadings = consensus.consensus_loadings(aligned.map, jacobians)
    assets = pd.Index(prepared.panel.assets, name="asset")
    return tabulate_factors(loadings * prepared.scaler.scale[:, None], assets)


def persistence_arrays(
    model: Model, grid: Trained, aligned: Aligned, chosen: Choice
) -> dict[str, np.ndarray]:
    """φ of each consensus factor, under the name "persistence": its members' mean at the chosen β.
    Nothing where factors have none.

    chosen: the member that validation chose.
    """
    if model.persistence is None:
        return {}
    seeds = chosen.seeds.start + np.flatnonzero(aligned.used[chosen.seeds])
    places = np.cumsum(aligned.used)[seeds] - 1
    phi = np.asarray(model.persistence(grid.ensemble.variables), np.float64)[seeds]
    of_consensus = np.take_along_axis(phi, aligned.map.alignment.assignment[places], axis=1)
    return {"persistence": of_consensus.mean(axis=0)}


class RefitFactors(NamedTuple):
    """How one model's own factors are reported: after the consensus factors that they match.

    order: its factor for each place. signs: −1 or 1. names: of the matched consensus factors, then
    "other 1", "other 2", … of those that match none, by the convention of their own loadings.
    """

    order: Int[np.ndarray, " factor"]
    signs: Float[np.ndarray, " factor"]
    names: list[str]


def arrange_refit_factors(trained: TrainedStudy, aligned: Aligned) -> RefitFactors:
    """Line up the factors of the likeliest refit with the consensus, on `fit`."""
    prepared, evaluation = trained.prepared, trained.refits.evaluation
    fit, best = prepared.split.fit, trained.best
    factors, loadings = (
        np.asarray(part[best], np.float64) for part in (evaluation.factors, evaluation.loadings)
    )
    matched = matching.match(factors[fit], aligned.factors[fit])
    here = matched.learned >= 0
    rest = np.setdiff1d(np.arange(factors.shape[1]), matched.learned)
    of_rest = loadings[:, rest] * factors[fit][:, rest].std(axis=0)
    order, signs = consensus.convention(of_rest, prepared.scaler.scale)
    names = factor_names(len(here))
    return RefitFactors(
        np.concatenate([matched.learned[here], rest[order]]),
        np.concatenate([matched.signs[here], signs]),
        [*np.array(names)[here].tolist(), *(f"other {k + 1}" for k in range(len(rest)))],
    )


def consensus_arrays(aligned: Aligned) -> dict[str, np.ndarray]:
    """What figures draw of the consensus, and the members that it rests on."""
    return {
        "agreement": aligned.agreement,
        "consensus_presence": aligned.presence,
        "consensus_members": np.flatnonzero(aligned.used),
    }


def describe_consensus(aligned: Aligned) -> dict[str, Any]:
    """What `config.json` says of the rule: factors before and after it, and its two bars."""
    verdict = aligned.verdict
    return {
        "factors": len(verdict.survives),
        "survive": int(verdict.survives.sum()),
        "least_presence": survival.LEAST_PRESENCE,
        "chance_stability": verdict.chance,
        "trim": aligned.map.trim,
    }
