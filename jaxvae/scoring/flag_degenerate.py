"""Which assets let a likelihood grow without end, and which models ride on them."""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxvae.analysis.degeneracy import JITTER, Cause, find_causes, jittered
from jaxvae.analysis.mixtures import mixture_log_density
from jaxvae.errors import first_of
from jaxvae.fitting.config import tile_width_of
from jaxvae.fitting.fit import TrainedStudy
from jaxvae.fitting.prepare import Prepared
from jaxvae.inference.evaluation import evaluate_members
from jaxvae.scoring.tables import Scored, ScoringData, has_degenerate_likelihood
from jaxvae.training.streams import Stream


def doubt_likelihoods(
    trained: TrainedStudy, vaes: list[Scored], baselines: list[Scored]
) -> tuple[list[Scored], list[Scored], list[str]]:
    """What speaks against the likelihoods of models.

    The VAEs are asked anew, on jittered returns, where there is a reason to: assets whose returns
    have no bounded density, or a baseline whose likelihood is degenerate.

    Args:
        vaes: `vae_ensemble` and `vae_best`.
        baselines: with the likelihoods of jittered returns.

    Returns:
        The VAEs, with those where they were asked; the baselines that can be compared with; notes
        that name assets and models.
    """
    prepared = trained.prepared
    parts = {"the dates fitted on": prepared.split.fit, "test dates": prepared.split.test}
    assets, data = prepared.panel.assets, ScoringData(prepared.values, prepared.split, None)
    causes = [cause_notes(prepared.values[rows], assets, name) for name, rows in parts.items()]
    notes = list(itertools.chain(*causes))
    bounded = [one for one in baselines if not has_degenerate_likelihood(one, "test", data)]
    if notes or len(bounded) < len(baselines):
        members = _jittered_likelihoods(trained)
        mixed = mixture_log_density(members)
        moved = {"vae_ensemble": mixed, "vae_best": members[trained.best]}
        vaes = [one._replace(of_jittered=moved[one.model]) for one in vaes]
    models = [*vaes, *baselines]
    exploded = [one for one in models if has_degenerate_likelihood(one, "test", data)]
    if exploded:
        names = ", ".join(one.model.replace("_", " ") for one in exploded)
        notes.append(
            f"No comparison with {names}: returns moved by {100 * JITTER:g} % of a standard "
            "deviation cost their likelihood more than any law of returns may lose."
        )
    return vaes, bounded, notes


def cause_notes(
    values: Float[np.ndarray, "date asset"], assets: Sequence[str], dates: str
) -> list[str]:
    """A sentence that names the assets whose returns have no bounded density, with the cause; none
    where there are none.

    Args:
        values: returns; NaN marks a missing cell.
        assets: their names.
        dates: what the rows are called.
    """
    causes = find_causes(values)
    if not causes:
        return []
    named = first_of([f"{assets[cause.asset]} ({_words(cause, assets)})" for cause in causes])
    return [f"On {dates} likelihoods may grow without a bound by {named}: correct or drop them."]


def jittered_values(prepared: Prepared) -> Float[np.ndarray, "date asset"]:
    """The panel's standardised returns, jittered."""
    return jittered(Stream.JITTER.generator(prepared.config.root_seed), prepared.values)


def _jittered_likelihoods(trained: TrainedStudy) -> Float[np.ndarray, "member date"]:
    """Log-likelihood of the jittered returns under every refit, by the draws of its own."""
    prepared, config = trained.prepared, trained.prepared.config
    moved = np.nan_to_num(jittered_values(prepared)).astype(np.float32)
    batch = prepared.batch._replace(values=jnp.asarray(moved))
    again = evaluate_members(
        Stream.EVALUATION.key(config.root_seed),
        prepared.model,
        trained.fitted,
        batch,
        config.likelihood_samples,
        tile_width=tile_width_of(config),
    )
    return np.asarray(again.likelihood.value, np.float64)


def _words(cause: Cause, assets: Sequence[str]) -> str:
    return {
        "repeated": f"{100 * cause.size:.0f} % of its returns are one value",
        "few values": f"{cause.size:.0f} values only",
        "still": "it hardly moves but on few dates",
        "copy": f"a copy of {assets[cause.other]}",
        "combination": "it follows from other assets",
    }[cause.kind]
