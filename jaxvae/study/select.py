"""Which model and how many factors: candidates trained on `train`, ranked on `validation`.

Two rounds. Families first, all with as many factors as a factor analysis has use for; then the
winner with fewer and more of them, through the same program, since how many factors a member uses
is an array among its hyperparameters. In both the simplest within one standard error of the best is
chosen. Every candidate is trained on the first four fifths of `train` and stopped on the last
fifth, so that the dates which rank it took no part in it; the test part is never looked at.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from threadpoolctl import threadpool_limits

from jaxvae.analysis import baselines
from jaxvae.analysis.selection import simplest_within_error
from jaxvae.data.checks import check_panel
from jaxvae.data.panel import Panel, Split, fit_scaler, split_dates
from jaxvae.errors import DataError, OptionError
from jaxvae.study.candidates import (
    SEEDS,
    Candidate,
    Scores,
    mean_over_seeds,
    train_candidate,
    training_rows,
)
from jaxvae.study.config import AUTO, StudyConfig, preset_of, presets_of
from jaxvae.study.count_factors import without_factors
from jaxvae.study.fit import prepare
from jaxvae.study.gaps import is_incomplete
from jaxvae.study.presets import MODELS, PRESETS
from jaxvae.study.side_by_side import side_by_side
from jaxvae.training.ensemble import Progress
from jaxvae.training.store import InMemory, Stages, Store, in_memory
from jaxvae.training.streams import Stream

STAGE = "select"
LEAST_DATES = 60  # below it nothing is ranked on a handful of dates
SIMPLEST = "linear"
MORE_FACTORS = 2  # than a factor analysis has use for
FAMILY, FACTORS = "family", "factors"


class Selection(NamedTuple):
    """What a study is of, and why.

    config: with a model and a number of factors. asked: as it was given.
    candidates: a row a candidate, see `_rank`; None where nothing was to be chosen.
    n_found: factors that move returns and that validation dates have use for, 0 where none does;
        None where their number was given.
    notes: what the report must say of it.
    """

    config: StudyConfig
    asked: StudyConfig
    candidates: pd.DataFrame | None = None
    n_found: int | None = None
    notes: tuple[str, ...] = ()


class _Race(NamedTuple):
    """What candidates share. store: of the stage, where each leaves its `Scores`."""

    panel: Panel
    config: StudyConfig
    split: Split
    report: Callable[[Progress], None]
    store: Store


class _Round(NamedTuple):
    """Its table, the place of the candidate chosen, and that one's scores."""

    table: pd.DataFrame
    chosen: int
    scores: Float[np.ndarray, " date"]


def select(
    panel: Panel,
    config: StudyConfig,
    report: Callable[[Progress], None] = lambda progress: None,
    stage: Stages = in_memory,
    split: Split | None = None,
) -> Selection:
    """Choose the model and the number of factors that the configuration leaves open.

    Args:
        panel: of which the dates of `fit` are looked at.
        config: with "auto" for what is to be chosen.
        report: called now and then with where training stands.
        stage: where finished candidates are kept.
        split: of the dates, by default `split_dates`.

    Raises:
        DataError, OptionError: the panel cannot carry a study with these settings.
    """
    settled = _without_choice(panel, config)
    if settled is not None:
        return Selection(settled, config)
    check_panel(panel.to_frame(), 1)
    split = split_dates(panel.n_dates) if split is None else split
    race = _Race(panel, config, split, report, stage(STAGE, Scores) or InMemory())
    start, most = _numbers_of_factors(race)
    families, notes = _families(race, most)
    rounds, winner, n_found = [], families[0], None
    n_factors = start + winner.extra
    if len(families) > 1:
        rounds.append(_race_families(race, families, start))
        winner = families[rounds[-1].chosen]
        n_factors = start + winner.extra
    if config.n_factors == AUTO:
        sizes = _sizes(winner, start, most)
        rounds.append(_race_sizes(race, winner, sizes, len(families)))
        n_factors = int(sizes[rounds[-1].chosen])
        n_found = max(0, n_factors - winner.extra)
    notes += _of_the_past(race, winner, rounds[-1].scores) if rounds else []
    return Selection(
        replace(config, model=winner.name, n_factors=max(n_factors, 1 + winner.extra)),
        config,
        pd.concat([one.table for one in rounds], ignore_index=True) if rounds else None,
        n_found,
        tuple(notes),
    )


def _without_choice(panel: Panel, config: StudyConfig) -> StudyConfig | None:
    """The configuration where it leaves nothing to choose; else None."""
    if config.preset is None and config.model in (AUTO, *MODELS):
        return None if AUTO in (config.model, config.n_factors) else config
    n_factors = preset_of(config).model.build(panel.n_assets).n_factors
    named = config if config.preset is None else replace(config, model="static")
    return replace(named, n_factors=n_factors) if config.n_factors == AUTO else named


def _numbers_of_factors(race: _Race) -> tuple[int, int]:
    """How many factors families are compared with, and the most that are tried: the number that
    makes validation likeliest under a factor analysis, and two more."""
    if race.config.n_factors != AUTO:
        n_factors = int(race.config.n_factors)
        return n_factors, n_factors
    values = race.panel.values[race.split.fit]
    values = fit_scaler(values).standardise(values)
    train, validation = (values[rows] for rows in race.split[:2])
    sizes = range(1, baselines.most_factors(train) + 1)
    with threadpool_limits(1):
        start, _ = baselines.choose_n_factors(
            baselines.fit_factor_analysis_sizes, train, validation, sizes
        )
    return start, min(start + MORE_FACTORS, race.panel.n_assets - 1)


def _families(race: _Race, most: int) -> tuple[list[Candidate], list[str]]:
    """The families that suit panel and settings; and what is to be said of their choice."""
    panel, config, notes = race.panel, race.config, []
    known, found, errors = presets_of(config), [], []
    if config.model == AUTO and panel.n_dates < LEAST_DATES:
        known = {SIMPLEST: known[SIMPLEST]} if SIMPLEST in known else known
        notes = [f"{panel.n_dates} dates are too few to choose among models: it is `{SIMPLEST}`."]
    for name, preset in known.items():
        if config.model == AUTO and preset.informed and panel.covariates is None:
            continue
        extra = 0
        if config.n_factors == AUTO:
            facts = preset.model.build(panel.n_assets).facts
            extra = 0 if facts.volatility_factor is None else 1
        asked = replace(config, model=name, n_factors=most + extra)
        try:
            found.append(Candidate(name, prepare(panel, asked, race.split), extra))
        except OptionError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found, notes


def _race_families(race: _Race, families: list[Candidate], start: int) -> _Round:
    """All families with as many factors that move returns, trained side by side."""
    kept = [race.store.get(place) for place in range(len(families))]
    missing = [place for place, scores in enumerate(kept) if scores is None]
    jobs = [
        functools.partial(
            train_candidate, families[place], race.config, np.array([start + families[place].extra])
        )
        for place in missing
    ]
    for job, scores in side_by_side(jobs, SEEDS * len(jobs), race.report):
        _keep(race, missing[job], scores)
        kept[missing[job]] = scores
    ranks = np.array([PRESETS[one.name].rank for one in families])
    sizes = [start + one.extra for one in families]
    means = np.concatenate([mean_over_seeds(scores) for scores in kept])
    return _rank(race, FAMILY, [one.name for one in families], sizes, means, ranks)


def _race_sizes(
    race: _Race, winner: Candidate, sizes: Int[np.ndarray, " size"], place: int
) -> _Round:
    """The winner with each number of factors; without any a constant, where its noise is known."""
    prepared, constants = winner.prepared, []
    noise = prepared.model.facts.noise
    if noise is not None and not prepared.conditions.shape[1]:
        known = prepared.values[training_rows(prepared)]
        later = prepared.values[prepared.split.validation]
        constants = [without_factors(noise, known, later)[None]]
    scores = race.store.get(place)
    if scores is None:
        scores = train_candidate(winner, race.config, sizes[len(constants) :], race.report)
        _keep(race, place, scores)
    both = np.concatenate([*constants, mean_over_seeds(scores)])
    return _rank(race, FACTORS, [winner.name] * len(sizes), list(sizes), both, sizes)


def _sizes(winner: Candidate, start: int, most: int) -> Int[np.ndarray, " size"]:
    """Numbers of factors to try: none, volatility alone, and those around the start."""
    around = {1, start // 2, start - 2, start - 1, start, start + 1, most} - {0}
    of_returns = [size for size in sorted(around) if 1 <= size <= most]
    alone = range(1, winner.extra + 1)
    return np.array([0, *alone, *(size + winner.extra for size in of_returns)])


def _keep(race: _Race, place: int, scores: Scores) -> None:
    """Processes that share a run all need the choice before their shares: each makes it, which
    comes to the same, and one writes it down."""
    if race.store.owns(0):
        race.store.put(place, scores)


def _rank(
    race: _Race,
    name: str,
    families: list[str],
    sizes: list[int],
    scores: Float[np.ndarray, "candidate date"],
    complexity: Int[np.ndarray, " candidate"],
) -> _Round:
    """The simplest candidate that is level with the best, and a table with a row a candidate.

    round: "family" or "factors". family, factors: what it is. seeds: that were trained.
    log_likelihood: of a validation date, mean over seeds and dates, nats in standard units; with
        standard_error. difference: to the best of the round; with difference_error, paired by date.
    chosen: whether it won the round.

    Raises DataError where every candidate diverged.
    """
    if not np.isfinite(scores).all(axis=1).any():
        raise DataError("every candidate diverged: look for outliers in the data")
    rng = Stream.RESAMPLING.generator(race.config.root_seed)
    ranking = simplest_within_error(rng, scores, complexity)
    table = pd.DataFrame(
        {
            "round": name,
            "family": families,
            "factors": sizes,
            "seeds": SEEDS,
            "log_likelihood": ranking.score,
            "standard_error": ranking.score_error,
            "difference": ranking.difference,
            "difference_error": ranking.difference_error,
            "chosen": np.arange(len(families)) == ranking.chosen,
        }
    )
    return _Round(table, ranking.chosen, scores[ranking.chosen])


def _of_the_past(race: _Race, winner: Candidate, scores: Float[np.ndarray, " date"]) -> list[str]:
    """A sentence where exponentially weighted covariances are likelier on validation than the
    winner, by more than a standard error."""
    prepared = winner.prepared
    values = prepared.values[race.split.fit]
    if is_incomplete(values):
        return []
    try:
        with threadpool_limits(1):
            law = baselines.fit_ewma_t(values[race.split.train], training_rows(prepared).stop)
            of_past = law.log_likelihood(values)[race.split.validation]
    except DataError:
        return []
    rng = Stream.RESAMPLING.generator(race.config.root_seed)
    ranking = simplest_within_error(rng, np.stack([scores, of_past]), np.arange(2))
    lead, error = -ranking.difference[0], ranking.difference_error[0]
    if ranking.chosen == 0:
        return []
    return [
        "The past would help: on validation dates covariances that forget (EWMA, t innovations) "
        f"are {lead:.2f} ± {error:.2f} nats per date ahead of `{winner.name}`; the model "
        "`temporal` forecasts from the past."
    ]
