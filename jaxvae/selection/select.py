"""Which model and how many factors: candidates trained on `train`, ranked on `validation`.

All families first, with as many factors as a factor analysis has use for, three quarters and half
of them: where returns bend, a curve counts as a factor of its own there. Then the winner with fewer
and more, through the same program, since how many factors a member uses is an array among its
hyperparameters. The simplest candidate that is level with the best is chosen. Every one is trained
on `train` alone and stopped by its last fifth (`candidates`), so that the dates which rank it took
no part in it; the test part is never looked at.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxvae import baselines
from jaxvae.analysis.incomplete import is_incomplete
from jaxvae.analysis.ranking import Ranking, simplest_within_error
from jaxvae.data.checks import check_panel
from jaxvae.data.panel import Panel, Split, fit_scaler, split_dates
from jaxvae.errors import DataError, OptionError
from jaxvae.fitting.config import AUTO, StudyConfig, preset_of, presets_of
from jaxvae.fitting.prepare import prepare
from jaxvae.fitting.presets import MODEL_OF, MODELS, PRESETS
from jaxvae.selection.candidates import (
    SEEDS,
    TRAINED_SHARE,
    CandidateModel,
    CandidateScores,
    mixture_of_seeds,
    train_candidate,
)
from jaxvae.selection.count_factors import constant_of
from jaxvae.training.ensemble import Progress
from jaxvae.training.store import InMemory, Stages, Store, in_memory
from jaxvae.training.streams import Stream
from jaxvae.training.threads import in_threads

STAGE = "select"
LEAST_DATES = 60  # below it nothing is ranked on a handful of dates
SIMPLEST = "linear"
MORE_FACTORS = 2  # than a factor analysis has use for
REACH = 2  # factors more and less than the best's
# Nats a date, and standard errors, behind the best with the most factors: beyond both a family is
# not tried with fewer.
FAR_BEHIND, FAR_ERRORS = 1.0, 4.0


class Selection(NamedTuple):
    """A study's settings with a model and a number of factors, and the candidates that they were
    chosen from.

    Attributes:
        config: with a model and a number of factors.
        asked: as it was given.
        candidates: a row a candidate, see `_tabulate`; None where nothing was to be chosen.
        n_found: factors that move returns and that validation dates have use for, 0 where none
            does; None where their number was given.
        notes: sentences on the choice, for the report.
        classical: factors that a factor analysis has use for, where that was asked.
    """

    config: StudyConfig
    asked: StudyConfig
    candidates: pd.DataFrame | None = None
    n_found: int | None = None
    notes: tuple[str, ...] = ()
    classical: int | None = None


class SearchSpace(NamedTuple):
    """Families and numbers of factors to be tried.

    Attributes:
        families: those that suit panel and settings.
        sizes: numbers of factors that move returns, with which they are compared: with the last of
            them all families, with the others those that are not far behind.
        most: of them, in further rounds.
        notes: on the choice of families.
    """

    families: list[CandidateModel]
    sizes: list[int]
    most: int
    notes: list[str]


class Candidate(NamedTuple):
    """A family with a number of factors, and its scores.

    Attributes:
        family: with the panel prepared for it.
        n_factors: that it was trained with.
        scores: log-likelihood of the validation dates, of the mixture of its seeds; NaN where all
            diverged.
    """

    family: CandidateModel
    n_factors: int
    scores: Float[np.ndarray, " date"]


def select(
    panel: Panel,
    config: StudyConfig,
    on_progress: Callable[[Progress | None], None] = lambda progress: None,
    stage: Stages = in_memory,
    split: Split | None = None,
) -> Selection:
    """Choose the model and the number of factors that the configuration leaves open.

    Args:
        panel: of which the dates of `fit` are looked at.
        config: with "auto" for what is to be chosen.
        on_progress: called now and then with where training stands, None while factors are counted.
        stage: where finished candidates are kept.
        split: of the dates, by default `split_dates`.

    Returns:
        The `Selection`.

    Raises:
        DataError, OptionError: the panel cannot carry a study with these settings.
    """
    settled = without_choice(panel, config)
    if settled is not None:
        return Selection(settled, config)
    split = split_dates(panel.n_dates) if split is None else split
    is_open = config.n_factors == AUTO
    families, sizes, most, notes = search_space(panel, config, split, on_progress)
    if len(families) == 1 and not is_open:
        return Selection(replace(config, model=families[0].name), config, notes=tuple(notes))
    store = stage(STAGE, CandidateScores) or InMemory()
    with_most = [(family, [sizes[-1] + family.extra]) for family in families]
    entries = _round(with_most, 0, on_progress, store)
    if len(sizes) > 1:
        near = itertools.compress(families, ~_far_behind(_rank(entries)))
        with_fewer = [(one, [size + one.extra for size in sizes[:-1]]) for one in near]
        entries += _round(with_fewer, len(families), on_progress, store)
    ranking, place = _rank(entries), 2 * len(families)
    while is_open and (untried := _untried(entries, entries[ranking.chosen], most)):
        family = entries[ranking.chosen].family
        if untried[0] == 0 and (constant := constant_of(family.prepared)) is not None:
            entries.append(Candidate(family, untried.pop(0), constant))
        if untried:
            entries += _round([(family, untried)], place, on_progress, store)
        ranking, place = _rank(entries), place + 1
    won = entries[ranking.chosen]
    least = 1 + won.family.extra
    return Selection(
        replace(config, model=won.family.name, n_factors=max(won.n_factors, least)),
        config,
        _tabulate(entries, ranking),
        max(0, won.n_factors - won.family.extra) if is_open else None,
        (*notes, *_of_the_past(won)),
        sizes[-1] if is_open else None,
    )


def search_space(
    panel: Panel, config: StudyConfig, split: Split, on_progress: Callable[[None], None]
) -> SearchSpace:
    """The families and numbers of factors that a study chooses from.

    Args:
        panel, config, split: as `select` takes them, with something left to choose.
        on_progress: called before factors are counted, which may take a while.

    Raises:
        DataError, OptionError: the panel cannot carry a study with these settings.
    """
    check_panel(panel.to_frame(), 1)
    if config.n_factors == AUTO:
        _families(panel, config, split, 1)  # What does not go together is refused first.
        on_progress(None)
        start = count_by_factor_analysis(panel.values, split)
        sizes, most = first_sizes(start), min(start + MORE_FACTORS, panel.n_assets - 1)
    else:
        sizes, most = [int(config.n_factors)], int(config.n_factors)
    families, notes = _families(panel, config, split, most)
    return SearchSpace(families, sizes, most, notes)


def without_choice(panel: Panel, config: StudyConfig) -> StudyConfig | None:
    """The configuration where it leaves nothing to choose; else None."""
    if config.preset is None and config.model in (AUTO, *MODELS):
        return None if AUTO in (config.model, config.n_factors) else config
    n_factors = preset_of(config).model.build(panel.n_assets).n_factors
    named = replace(config, model=MODEL_OF.get(config.preset, config.model))
    return replace(named, n_factors=n_factors) if config.n_factors == AUTO else named


def count_by_factor_analysis(values: Float[np.ndarray, "date asset"], split: Split) -> int:
    """The number of factors of a factor analysis of `train` under which `validation` is likeliest.

    Args:
        values: returns; NaN where a cell is missing.
        split: of the dates, of which those of `fit` are looked at.
    """
    values = values[split.fit]
    values = fit_scaler(values).standardise(values)
    train, validation = (values[rows] for rows in split[:2])
    return baselines.best_factors(baselines.fit_factor_analysis_sizes, train, validation)


def _families(
    panel: Panel, config: StudyConfig, split: Split, most: int
) -> tuple[list[CandidateModel], list[str]]:
    """The families that suit panel and settings; and what is to be said of their choice."""
    notes: list[str] = []
    known, found, errors = presets_of(config), [], []
    if config.model == AUTO and panel.n_dates < LEAST_DATES:
        known = {SIMPLEST: known[SIMPLEST]} if SIMPLEST in known else known
        notes = [f"{panel.n_dates} dates are too few to choose among models: it is {SIMPLEST}."]
    for name, preset in known.items():
        # Of sectors alone such a model is level with `linear`, and takes longer.
        if config.model == AUTO and preset.needs_context and panel.covariates is None:
            continue
        extra = 0
        if config.n_factors == AUTO:
            facts = preset.model.build(panel.n_assets).facts
            extra = 0 if facts.volatility_factor is None else 1
        asked = replace(config, model=name, n_factors=most + extra)
        try:
            found.append(CandidateModel(name, prepare(panel, asked, split), extra))
        except OptionError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found, notes


def first_sizes(start: int) -> list[int]:
    """Numbers of factors that families are compared with: half, three quarters and all of a factor
    analysis's."""
    return sorted({-(-start // 2), -(-3 * start // 4), start})


def near_sizes(size: int, most: int) -> list[int]:
    """Numbers of factors to try beside one: none, and up to two fewer and more, at most `most`."""
    return [0, *(k for k in range(size - REACH, size + REACH + 1) if 1 <= k <= most)]


def _untried(entries: list[Candidate], best: Candidate, most: int) -> list[int]:
    """What is left to try of the best entry's family, of numbers of factors near to its own; beside
    none at all, with volatility alone where the family has it."""
    family = best.family
    near = [k + family.extra for k in near_sizes(best.n_factors - family.extra, most)]
    tried = {entry.n_factors for entry in entries if entry.family.name == family.name}
    return sorted({0, *near} - tried)


def _far_behind(ranking: Ranking) -> Bool[np.ndarray, " candidate"]:
    """Who is so far behind the best that no other number of factors would help; nobody of whom
    nothing is known."""
    lead, error = -ranking.difference, ranking.difference_error
    return (lead > FAR_BEHIND) & (lead > FAR_ERRORS * error)


def _round(
    jobs: Sequence[tuple[CandidateModel, list[int]]],
    first: int,
    on_progress: Callable[[Progress], None],
    store: Store,
) -> list[Candidate]:
    """Families, each with numbers of factors, trained side by side; `first` is the place in the
    store, where each leaves its `CandidateScores`, of the first of them."""
    kept = [store.get(first + place) for place in range(len(jobs))]
    missing = [place for place, scores in enumerate(kept) if scores is None]
    work = [functools.partial(train_candidate, *jobs[place]) for place in missing]
    # Each is trained and refitted.
    n_members = 2 * SEEDS * sum(len(jobs[place][1]) for place in missing)
    for job, scores in in_threads(work, n_members, on_progress):
        kept[missing[job]] = scores
        # Processes that share a run all need the choice before their shares: each makes it, which
        # comes to the same, and one writes it down.
        if store.owns(0):
            store.put(first + missing[job], scores)
    return [
        Candidate(family, size, mixed)
        for (family, sizes), scores in zip(jobs, kept, strict=True)
        for size, mixed in zip(sizes, mixture_of_seeds(scores), strict=True)
    ]


def _rank(entries: list[Candidate]) -> Ranking:
    """The simplest entry that is level with the best: by its family first, then by its factors.

    Raises DataError where every candidate diverged.
    """
    scores = np.stack([entry.scores for entry in entries])
    if not np.isfinite(scores).all(axis=1).any():
        raise DataError("every candidate diverged: look for outliers in the data")
    ranks = np.array([PRESETS[entry.family.name].rank for entry in entries])
    sizes = np.array([entry.n_factors for entry in entries])
    rng = Stream.RESAMPLING.generator(entries[0].family.prepared.config.root_seed)
    return simplest_within_error(rng, scores, ranks * (1 + sizes.max()) + sizes)


def _tabulate(entries: list[Candidate], ranking: Ranking) -> pd.DataFrame:
    """A row a candidate, by family in the order of simplicity.

    family, factors: what it is. seeds: that were trained. log_likelihood: of a validation date, of
    the seeds' mixture, mean over dates, nats in standard units; with standard_error. difference: to
    the best; with difference_error, paired by date. chosen: whether the study is of it.
    """
    table = pd.DataFrame(
        {
            "family": [entry.family.name for entry in entries],
            "factors": [entry.n_factors for entry in entries],
            "seeds": SEEDS,
            "log_likelihood": ranking.score,
            "standard_error": ranking.score_error,
            "difference": ranking.difference,
            "difference_error": ranking.difference_error,
            "chosen": np.arange(len(entries)) == ranking.chosen,
        }
    )
    rank = table.family.map(lambda name: PRESETS[name].rank)
    order = np.lexsort([table.factors, rank])
    return table.iloc[order].reset_index(drop=True)


def _of_the_past(won: Candidate) -> list[str]:
    """A sentence where exponentially weighted covariances are likelier on validation than the
    winner, by more than a standard error."""
    prepared = won.family.prepared
    split, values = prepared.split, prepared.values[prepared.split.fit]
    if is_incomplete(values):
        return []
    try:
        law = baselines.fit_ewma_t(values[split.train], int(TRAINED_SHARE * split.train.stop))
        of_past = law.log_likelihood(values)[split.validation]
    except DataError:
        return []
    rng = Stream.RESAMPLING.generator(prepared.config.root_seed)
    ranking = simplest_within_error(rng, np.stack([won.scores, of_past]), np.arange(2))
    lead, error = -ranking.difference[0], ranking.difference_error[0]
    if ranking.chosen == 0:
        return []
    return [
        "The past would help: on validation dates covariances that forget (EWMA, t innovations) "
        f"are {lead:.2f} ± {error:.2f} nats per date ahead of {won.family.name}; the model "
        "temporal forecasts from the past."
    ]
