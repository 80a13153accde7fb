"""A study in words and settings: what `config.json` holds and what the report must say."""

from typing import Any

import numpy as np

from jaxvae.analysis.survival import LEAST_PRESENCE, STABLE, is_stable
from jaxvae.data.panel import Panel, knowledge_hash, panel_hash
from jaxvae.fitting.config import AUTO, StudyConfig, recorded, tile_width_of
from jaxvae.fitting.fit import Trained, TrainedStudy
from jaxvae.fitting.prepare import Prepared, distributions_of
from jaxvae.fitting.presets import PRESETS, model_name
from jaxvae.models import describe_family, is_own
from jaxvae.runs.identity import identify
from jaxvae.scoring.align import Aligned, Verdict, describe_consensus, factor_names
from jaxvae.selection.select import Selection
from jaxvae.study.figure_data import shown_assets
from jaxvae.study.missing import describe_missing

SHORT_TEST = 100
FEW_SEEDS = 2
MAJORITY = 0.5


def study_notes(trained: TrainedStudy, aligned: Aligned) -> list[str]:
    """What the report must say of the run: multiplicity, short panels, diverged members, factors
    that were dropped, and each kept one that the members do not agree on."""
    prepared, grid = trained.prepared, trained.grid
    n_members = len(grid.ensemble.ok)
    n_test = prepared.panel.n_dates - prepared.split.fit.stop
    best = f"The best of {n_members} members was" if n_members > 1 else "The best epoch was"
    notes = _refit_notes(trained.refits, prepared.preset.seeds)
    notes.append(
        f"{best} picked on the validation dates; the test dates were opened once, for the figures "
        "shown."
    )
    if n_test < SHORT_TEST:
        notes.append(f"The test part has {n_test} dates: too few to tell close models apart.")
    if prepared.preset.seeds < FEW_SEEDS:
        notes.append("With one seed, stability over seeds cannot be judged.")
    if diverged := int((~np.asarray(grid.ensemble.ok)).sum()):
        notes.append(f"{diverged} of {n_members} members diverged and were left out.")
    notes += _dropped_notes(aligned.verdict)
    notes += _own_notes(prepared)
    notes += _charge_notes(prepared)
    notes += _context_notes(prepared)
    notes += [
        f"Factor {k + 1} moves the volatility of all assets, not their returns: its loadings say "
        "nothing."
        for k in volatility_factors(prepared, aligned)
    ]
    if prepared.preset.seeds >= FEW_SEEDS:
        notes += _stability_notes(aligned)
    return notes


def _refit_notes(refits: Trained, n_seeds: int) -> list[str]:
    """What the report must say where refits diverged and were left out."""
    lost = n_seeds - len(refits.ensemble.members.seed)
    return [f"{lost} of {n_seeds} refits diverged and were left out."] if lost else []


def _stability_notes(aligned: Aligned) -> list[str]:
    """Which of the kept factors are not stable, by the report's own threshold."""
    unstable = np.flatnonzero(~is_stable(aligned.at_chosen))
    if not len(unstable):
        return []
    named = [f"factor {k + 1} ({aligned.at_chosen[k]:.2f})" for k in unstable]
    return [f"Not stable over the seeds of the chosen β (below {STABLE:g}): {', '.join(named)}."]


def _own_notes(prepared: Prepared) -> list[str]:
    """What a caller's own model is made of, and their own optimiser."""
    notes, optimiser = [], prepared.preset.train.optimiser_name
    if is_own(prepared.preset.model):
        kinds = distributions_of(prepared.model, prepared.batch)
        notes.append(
            f"The model is the caller’s own, “{model_name(prepared.config.model)}”: returns given "
            f"the factors are {kinds.observation.__name__}, factors {kinds.prior.__name__}."
        )
    if optimiser is not None:
        notes.append(f"The optimiser is the caller’s own, “{optimiser}”.")
    return notes


def _charge_notes(prepared: Prepared) -> list[str]:
    """What β means where the objective is not β KL."""
    train = prepared.preset.train
    if train.capacity is not None:
        return [
            f"Members were held at a KL of {train.capacity:g} nats a date: β is how strongly, not "
            "the price of a nat."
        ]
    if train.free_bits:
        return [f"Each factor carried {train.free_bits:g} nats a date at no charge (free bits)."]
    return []


def _context_notes(prepared: Prepared) -> list[str]:
    """What the model was given beside returns, and what that changes in reading the report."""
    facts, notes, names = prepared.model.facts, [], prepared.covariates
    if names:
        seen = ", ".join(facts.conditioned)
        notes.append(
            f"The VAEs are given what each date was known to be: {', '.join(names)} (seen by: "
            f"{seen}). Their likelihoods are given it, those of the classical models are not; "
            "covariance and scenarios are averaged over the dates the models were fitted on."
        )
    if facts.n_sectors:
        notes.append(
            f"Loadings are drawn around those of {facts.n_sectors} sectors, learned with them; an "
            "asset's noise includes what is not known of its loadings."
        )
    return notes


def volatility_factors(prepared: Prepared, aligned: Aligned) -> list[int]:
    """Which consensus factors are those that move the volatility of the members' returns."""
    factor = prepared.model.facts.volatility_factor
    if factor is None:
        return []
    shares = (aligned.map.alignment.assignment == factor).mean(axis=0)
    return [int(k) for k in np.flatnonzero(shares > MAJORITY)]


def _dropped_notes(verdict: Verdict) -> list[str]:
    """How many consensus factors were dropped, and why."""
    every, notes = len(verdict.survives), []
    unused = verdict.presence < LEAST_PRESENCE
    if lost := int(unused.sum()):
        notes.append(
            f"{lost} of {every} consensus factors dropped: collapsed or unused in over half of the "
            "members."
        )
    if lost := int((~verdict.survives & ~unused).sum()):
        notes.append(
            f"{lost} of {every} consensus factors dropped: seeds agree on them no more than "
            f"independent members would by accident (a stability of {verdict.chance:.2f})."
        )
    if not verdict.survives.any():
        notes.append(
            "No consensus factor survives; the most stable is shown all the same and proves "
            "nothing."
        )
    return notes


def describe_study(trained: TrainedStudy, aligned: Aligned) -> dict[str, Any]:
    """Everything that the numbers depend on, and the names that the report uses."""
    prepared, grid, _, chosen = trained
    panel, config, preset, model = prepared.panel, prepared.config, prepared.preset, prepared.model
    reference, exact = panel.reference, model.log_likelihood is not None
    return {
        "name": panel.name,
        "preset": config.preset,
        "model": model_name(config.model),
        "seeds": list(range(prepared.preset.seeds)),
        "betas": list(prepared.preset.betas),
        "n_factors": model.n_factors,
        "epochs": preset.train.epochs,
        "learning_rate": preset.learning_rate,
        "root_seed": config.root_seed,
        "likelihood_samples": config.likelihood_samples,
        "model_config": describe_family(preset.model),
        "model_facts": {**model.facts._asdict(), "exact_likelihood": exact},
        "axes": preset.axes,
        "train_config": preset.train.record(),
        "panel": _describe_panel(prepared),
        "chosen": {
            "member": chosen.member,
            "seed": int(grid.ensemble.members.seed[chosen.member]),
            "beta": float(prepared.preset.betas[chosen.beta]),
            "best_epoch": int(grid.ensemble.best_epoch[chosen.member]),
            "refit_seed": int(trained.refits.ensemble.members.seed[trained.best]),
        },
        "reference": None
        if reference is None
        else {"names": [str(name) for name in reference.factors], "planted": reference.planted},
        "sectors": None if panel.sectors is None else list(panel.sectors),
        "covariates": prepared.covariates,
        "assets": list(panel.assets),
        "shown_assets": [panel.assets[i] for i in shown_assets(panel.n_assets)],
        "factor_names": factor_names(aligned.factors.shape[1]),
        "consensus": describe_consensus(aligned),
        "volatility_factors": volatility_factors(prepared, aligned),
    }


def describe_selection(selection: Selection) -> dict[str, Any]:
    """What was asked for; how many factors were found and what kind of panel it is, where that was
    left open."""
    asked = selection.asked
    found: dict[str, Any] = {"found": selection.n_found}
    if asked.model == AUTO and selection.candidates is not None:
        preset = PRESETS[model_name(selection.config.model)]
        found["kind"] = [preset.kind, preset.use]
    return {"model": model_name(asked.model), "n_factors": asked.n_factors, **found}


def study_identity(panel: Panel, config: StudyConfig) -> dict[str, Any]:
    """What the bits of a study depend on, as `config.json` keeps it."""
    data = {"returns": panel_hash(panel), "sectors and covariates": knowledge_hash(panel)}
    return identify("study", recorded(config), data, tile_width_of(config))


def _describe_panel(prepared: Prepared) -> dict[str, Any]:
    dates, split = prepared.panel.dates, prepared.split

    def day(index: int) -> str:
        return str(dates[index].date())

    return {
        "n_dates": len(dates),
        "n_assets": prepared.panel.n_assets,
        "first_date": day(0),
        "last_date": day(-1),
        "n_train": split.train.stop,
        "n_validation": split.fit.stop - split.train.stop,
        "n_test": len(dates) - split.fit.stop,
        "validation_from": day(split.validation.start),
        "test_from": day(split.test.start),
        **describe_missing(prepared.panel.values, split),
    }
