"""What a study would train, and for about how long, without training it."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import jax
import pandas as pd

from jaxvae.data.knowledge import Covariates, Sectors
from jaxvae.data.panel import Panel, split_dates
from jaxvae.fitting.config import StudyConfig, StudySettings, read_input, tile_width_of
from jaxvae.fitting.fit import grid_of, training_data
from jaxvae.fitting.fit_baselines import fit_baselines
from jaxvae.fitting.prepare import prepare
from jaxvae.fitting.presets import model_name
from jaxvae.runs.progress import OnProgress, progress_for_call
from jaxvae.selection.candidates import SEEDS, CandidateModel
from jaxvae.selection.count_factors import MOST_SWEPT_SEEDS, sizes_tried
from jaxvae.selection.select import REACH, SearchSpace, search_space, without_choice
from jaxvae.training.blas import blas_threads
from jaxvae.training.ensemble import CHUNK_EPOCHS, train_ensemble
from jaxvae.training.tiles import resolve_width

TIMED_BATCHES = 16  # of an epoch, the rest in proportion
# Scores and report beside the rest of a study: a third in benchmarks/results/time_to_report.json.
AFTERWARDS = 1 / 3
_ALIKE = 1.1  # times that are said as one
UNITS = {"hours": 3600.0, "minutes": 60.0, "seconds": 1.0}
COUNTS = ["factors", "candidates", "members", "refits", "counting", "epochs"]


@dataclass(frozen=True, repr=False)
class Plan:
    """What a study would train, at most; several models where one is still to be chosen.

    Attributes:
        panel: as it was read.
        parts: a row a part of the dates: train, validation, test; dates, first, last.
        models: a row a model: model; factors, the numbers that it is compared with first; epochs,
            the most; candidates, members that are trained to choose among models and factors; of a
            study of it: members of the grid, refits, and counting, members with fewer factors;
            seconds_to_choose and seconds, estimates of the training of candidates, and of a study's
            members.
        seconds: estimates of the whole study, of the quickest of the models and of the slowest,
            from a few epochs of each, timed here, and from what scores and report took in a
            benchmark.
    """

    panel: Panel
    parts: pd.DataFrame
    models: pd.DataFrame
    seconds: tuple[float, float]

    def __repr__(self) -> str:
        table, parts = self.models.set_index("model"), self.parts.itertuples()
        table["factors"] = [", ".join(map(str, numbers)) for numbers in table.factors]
        low, high = self.seconds
        takes = _duration(high) if high < _ALIKE * low else f"{_duration(low)} to {_duration(high)}"
        several = "one of these models is chosen; " if len(table) > 1 else ""
        return "\n".join(
            [
                f"{self.panel.name}: {self.panel.n_dates:,} dates × {self.panel.n_assets:,} assets",
                *(
                    f"  {x.Index}: {x.dates:,} dates, {x.first:%Y-%m-%d} to {x.last:%Y-%m-%d}"
                    for x in parts
                ),
                f"{several}members that would be trained, for so many epochs at most:",
                table[COUNTS].to_string(index_names=False),
                f"{takes}: an estimate, from a few epochs of each model, timed here",
            ]
        )


def plan_study(
    panel: Panel | pd.DataFrame | str | Path,
    config: StudyConfig | None = None,
    *,
    kind: str | None = None,
    missing: str | None = None,
    sectors: Sectors | None = None,
    covariates: Covariates | None = None,
    progress: bool = True,
    on_progress: OnProgress | None = None,
    **settings: Unpack[StudySettings],
) -> Plan:
    """Check a panel as `run_study` does, and say what it would train, and for about how long.

    Nothing is kept. Each model that may be fitted is compiled and trained for a few epochs, which
    takes some seconds.

    Args:
        panel, config, kind, missing, sectors, covariates, progress, on_progress, settings: as
            `run_study` takes them.

    Returns:
        The parts of the dates, the models with their numbers of members, and seconds.

    Raises:
        DataError, OptionError, TypeError: as `run_study` does before it trains.
    """
    known = {"kind": kind, "missing": missing, "sectors": sectors, "covariates": covariates}
    asked = read_input(StudyConfig, panel, config, settings, **known)
    panel, config = asked
    with blas_threads(*panel.values.shape), progress_for_call(progress, on_progress) as show:
        space = _space(panel, config, lambda progress: show("plan", progress))
        fit_baselines(space.families[0].prepared)
        models = pd.DataFrame([_planned(family, space, config) for family in space.families])
    whole = (1 + AFTERWARDS) * (models.seconds_to_choose.sum() + models.seconds)
    return Plan(panel, _parts(panel), models, (float(whole.min()), float(whole.max())))


def _space(panel: Panel, config: StudyConfig, on_progress: Callable[[None], None]) -> SearchSpace:
    """The families that may be fitted, where there is no choice the one."""
    settled = without_choice(panel, config)
    if settled is None:
        return search_space(panel, config, split_dates(panel.n_dates), on_progress)
    candidate = CandidateModel(model_name(settled.model), prepare(panel, settled), 0)
    on_progress(None)
    return SearchSpace([candidate], [], candidate.prepared.model.n_factors, [])


def _parts(panel: Panel) -> pd.DataFrame:
    split = split_dates(panel.n_dates)
    parts = {name: panel.dates[getattr(split, name)] for name in ("train", "validation", "test")}
    rows = [{"dates": len(dates), "first": dates[0], "last": dates[-1]} for dates in parts.values()]
    return pd.DataFrame(rows, index=pd.Index(parts, name="part"))


def _planned(family: CandidateModel, space: SearchSpace, config: StudyConfig) -> dict[str, Any]:
    """A row of `Plan.models`."""
    preset, sizes = family.prepared.preset, [size + family.extra for size in space.sizes]
    # Where something stops them, candidates are trained twice, as members are refitted.
    times = 1 if preset.train.patience is None else 2
    is_raced = len(space.families) > 1 or len(sizes) > 1
    further = 2 * REACH if len(sizes) > 1 else 0  # numbers of factors, of the best model alone
    candidates = SEEDS * times * (len(sizes) + further / len(space.families)) if is_raced else 0
    members = preset.seeds * len(preset.betas)
    model, has_covariates = family.prepared.model, family.prepared.conditions.shape[1] > 0
    # Of all factors there are members already; of none where a constant needs no training.
    tried = (
        len(sizes_tried(model.n_factors))
        - 1
        - (model.facts.noise is not None and not has_covariates)
    )
    counting = min(preset.seeds, MOST_SWEPT_SEEDS) * tried
    compiling, training = _seconds(family, config)
    n_trained = members + preset.seeds + counting
    return {
        "model": family.name,
        "factors": sizes if is_raced else [model.n_factors],
        "epochs": preset.train.epochs,
        "candidates": math.ceil(candidates),
        "members": members,
        "refits": preset.seeds,
        "counting": counting,
        # A candidate has a program of its own, as the scores of each have.
        "seconds_to_choose": 2 * compiling * is_raced + candidates * training,
        "seconds": 2 * compiling + n_trained * training,
    }


def _seconds(family: CandidateModel, config: StudyConfig) -> tuple[float, float]:
    """Of compiling a family's training, and of training a member for all of its epochs."""
    prepared, train = family.prepared, family.prepared.preset.train
    data = training_data(prepared, prepared.split.train.stop)
    n_batches = math.ceil(prepared.split.train.stop / train.batch_size)
    timed = min(n_batches, TIMED_BATCHES)
    data = data._replace(n_batches=jax.numpy.int32(timed))
    tile_width = tile_width_of(config)
    width = resolve_width(tile_width, tuple(jax.local_devices())) * jax.local_device_count()
    n_epochs = min(CHUNK_EPOCHS, train.epochs)
    members = grid_of(prepared, data, range(width), (1.0,))
    members.hyperparameters.last_epoch[:] = n_epochs
    seconds = []
    for _ in range(2):
        begun, root = time.perf_counter(), jax.random.key(config.root_seed)
        train_ensemble(root, data, members, prepared.model, train, tile_width=tile_width)
        seconds.append(time.perf_counter() - begun)
    share = n_batches / timed * train.epochs / n_epochs
    return max(0.0, seconds[0] - seconds[1]), share * seconds[1] / width


def _duration(seconds: float) -> str:
    """In seconds, minutes or hours, of two figures."""
    fit = (name for name, size in UNITS.items() if seconds >= 1.5 * size)
    unit = next(fit, "seconds")
    return f"{float(f'{seconds / UNITS[unit]:.2g}'):g} {unit}"
