"""A study's consensus: all members' factors lined up, weak ones dropped, as tables and arrays."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxvae.analysis import consensus, metrics, survival
from jaxvae.fitting import Prepared, StudyConfig, Trained


class Judged(NamedTuple):
    """Every consensus factor before any is dropped, and the rule's verdict on it.

    presence: share of the members that have it. stability: over seeds, at the chosen β.
    chance: what the stability of a kept factor exceeds; −1 where there are too few seeds to tell.
    """

    presence: Float[np.ndarray, " factor"]
    stability: Float[np.ndarray, " factor"]
    chance: float
    survives: Bool[np.ndarray, " factor"]


class Aligned(NamedTuple):
    """The consensus over the members in `used`, of the factors kept, and what it rests on.

    Kept are the factors that survive (`survival.survives`); where none does, the steadiest alone,
    so that there is something to look at: `judged` and the study's notes say so.

    stability: a row a β of those members, ascending. at_chosen: its row at the chosen β.
    presence: share of those members that have the factor at all.
    """

    map: consensus.Consensus
    used: Bool[np.ndarray, " member"]
    factors: Float[np.ndarray, "date consensus"]
    stability: Float[np.ndarray, "beta consensus"]
    at_chosen: Float[np.ndarray, " consensus"]
    agreement: Float[np.ndarray, "member member"]
    presence: Float[np.ndarray, " consensus"]
    judged: Judged


def align(prepared: Prepared, grid: Trained, chosen: int, config: StudyConfig) -> Aligned:
    """Line up the factors of all members that did not diverge; learned on `fit`."""
    used = np.asarray(grid.ensemble.ok)
    factors = np.asarray(grid.evaluation.factors, np.float64)[used]
    in_fit = factors[:, prepared.split.fit]
    active = metrics.active_units(in_fit)
    joint = _align(grid, used, in_fit, active)
    betas = np.asarray(grid.ensemble.members.hyperparameters.beta)
    labels, stability = consensus.stability(joint, in_fit, betas[used])
    at_chosen = stability[np.flatnonzero(labels == betas[chosen])[0]]
    presence = survival.presence(joint)
    seeds = betas[used] == betas[chosen]
    rng = np.random.default_rng(config.root_seed)
    chance = survival.chance_stability(rng, in_fit[seeds], active[seeds])
    survives = survival.survives(presence, at_chosen, chance)
    kept = np.flatnonzero(survives) if survives.any() else at_chosen.argmax(keepdims=True)
    few = consensus.keep(joint, kept)
    return Aligned(
        map=few,
        used=used,
        factors=consensus.consensus_factors(few, factors),
        stability=stability[:, kept],
        at_chosen=at_chosen[kept],
        agreement=consensus.agreement(in_fit, active),
        presence=presence[kept],
        judged=Judged(presence, at_chosen, chance, survives),
    )


def _align(
    grid: Trained,
    used: Bool[np.ndarray, " member"],
    in_fit: Float[np.ndarray, "used date factor"],
    active: Bool[np.ndarray, "used factor"],
) -> consensus.Consensus:
    """Largest first, by the variance that members' loadings give a factor; rising with assets."""
    loadings = np.asarray(grid.evaluation.loadings, np.float64)[used]
    importance = (loadings**2).sum(axis=1) * in_fit.var(axis=1)
    return consensus.orient(consensus.align_members(in_fit, active, importance), loadings)


def factor_names(aligned: Aligned) -> list[str]:
    """factor 1, factor 2, … of those kept."""
    return [f"factor {k + 1}" for k in range(aligned.factors.shape[1])]


def factors_table(prepared: Prepared, aligned: Aligned) -> pd.DataFrame:
    """Dates × consensus factors, in standard deviations on `fit`."""
    dates = pd.Index(prepared.panel.dates, name="date")
    return pd.DataFrame(aligned.factors, index=dates, columns=factor_names(aligned))


def loadings_table(prepared: Prepared, grid: Trained, aligned: Aligned) -> pd.DataFrame:
    """The members' mean Jacobians, aligned: returns per standard deviation of a factor."""
    jacobians = np.asarray(grid.evaluation.loadings, np.float64)[aligned.used]
    loadings = consensus.consensus_loadings(aligned.map, jacobians)
    assets = pd.Index(prepared.panel.assets, name="asset")
    in_returns = loadings * prepared.scaler.scale[:, None]
    return pd.DataFrame(in_returns, index=assets, columns=factor_names(aligned))


def consensus_arrays(aligned: Aligned) -> dict[str, np.ndarray]:
    """What figures draw of the consensus, and what makes it of new dates."""
    joint = aligned.map
    return {
        "stability": aligned.stability,
        "agreement": aligned.agreement,
        "consensus_members": np.flatnonzero(aligned.used),
        "consensus_assignment": joint.alignment.assignment,
        "consensus_signs": joint.alignment.signs,
        "consensus_weights": joint.alignment.weights,
        "consensus_location": joint.location,
        "consensus_scale": joint.scale,
        "consensus_spread": joint.spread,
        "consensus_stability": joint.stability,
        "consensus_medoid": np.array(joint.medoid),
        "consensus_trim": np.array(joint.trim),
        "consensus_presence": aligned.presence,
    }


def describe_consensus(aligned: Aligned) -> dict[str, Any]:
    """What `config.json` says of the rule: factors before and after it, and its two bars."""
    judged = aligned.judged
    return {
        "factors": len(judged.survives),
        "survive": int(judged.survives.sum()),
        "least_presence": survival.LEAST_PRESENCE,
        "chance_stability": judged.chance,
        "trim": aligned.map.trim,
    }
