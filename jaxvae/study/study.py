"""A study from start to end, and what can be asked of it later."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis import consensus
from jaxvae.data import as_panel
from jaxvae.data.panel import Panel, Scaler
from jaxvae.errors import DataError, OptionError, check_option
from jaxvae.inference import members as apply
from jaxvae.models.model import Batch, Variables, make_batch
from jaxvae.study import fit, score
from jaxvae.study.conditions import assumed_conditions, row_conditions, with_memory
from jaxvae.study.config import StudyConfig, check_seed
from jaxvae.study.count_factors import sweep_factors
from jaxvae.study.fit import Trained
from jaxvae.study.folder import Study
from jaxvae.training.ensemble import Progress
from jaxvae.training.host_memory import host_bytes_free
from jaxvae.training.store import Stages, in_memory

# Of each draw in memory at once: as float32 a member, joined, in float64, restored, in a table.
COPIES = 8


def run_study(
    panel: Panel | pd.DataFrame,
    config: StudyConfig | None = None,
    *,
    on_progress: Callable[[str, Progress | None], None] = lambda stage, progress: None,
    stage: Stages = in_memory,
) -> Study:
    """The whole pipeline on one panel: a panel or DataFrame of returns in, a `Study` out.

    1. Split by time; standardise by mean and standard deviation of `fit`.
    2. Train seeds × betas on `train`; each member keeps its best epoch on `validation`.
    3. Choose β by mean validation log-likelihood over seeds; refit all its seeds on `fit`.
    4. Train members with fewer factors at that β, to count how many are of use on `validation`.
    5. Align all members' factors; fit the classical baselines; score everything on `test`.

    on_progress: called with the stage ("train", "refit", "count", "score") and where it stands,
        None where that is not known.
    stage: where the tiles of a stage are kept while the run is in work, `runs.Run.stage` for a
        folder; by default memory.

    Raises DataError where the panel cannot carry the study, OptionError on a bad setting.
    """
    config = config or StudyConfig()
    prepared = fit.prepare(as_panel(panel, for_fitting=True), config)

    def report(stage: str) -> Callable[[Progress], None]:
        return lambda progress: on_progress(stage, progress)

    on_progress("train", None)
    grid = fit.train_grid(prepared, config, report("train"), stage("train", Trained))
    chosen = fit.choose(grid, prepared.split, config)
    kept = stage("refit", Trained)
    refits = fit.refit(prepared, grid, chosen, config, report("refit"), kept)
    kept = stage("count", Trained)
    sweep = sweep_factors(prepared, grid, chosen, config, report("count"), kept)
    on_progress("score", None)
    return score.summarise(prepared, config, grid, refits, sweep, chosen)


def encode(study: Study, panel: Panel | pd.DataFrame) -> pd.DataFrame:
    """Consensus factors of a panel's dates under a saved study, dates × factors.

    panel: or a DataFrame of returns, as `panel_from_frame` takes them.

    The study's own scalers, members and alignment serve; nothing is refitted. What a temporal model
    knows of the past comes from the panel's own earlier dates, and starts blank. Missing cells
    (NaN) are seen as such by a study of a panel that had some; for another they are first filled by
    `impute`, whose expectation of a linear encoder's factors is exact.

    Raises DataError unless the panel has every asset and covariate of the study; others are
    ignored.
    """
    panel, model = as_panel(panel), fit.saved_model(study.config)
    members = fitted(study, "members", study.arrays["consensus_members"])
    values = standardised(study, panel)
    conditions = known_conditions(study, panel, values)
    if np.isnan(values).any() and not fit.saved_shape(study.config).sees_gaps:
        values = _imputed(study, values, conditions, seed=0)
    by_member = apply.encode(model, members, make_batch(values, conditions))
    table = consensus.consensus_factors(_consensus(study), by_member)
    index = pd.Index(panel.dates, name="date")
    return pd.DataFrame(table, index=index, columns=study.config["factor_names"])


def impute(study: Study, panel: Panel | pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """A panel without missing cells under a saved study: E[x_missing | x_observed], date by date.

    From the equal mixture of the seeds refitted at the chosen β, each heard by how likely it made
    the cells observed. With a linear Gaussian decoder (model "linear") every expectation is
    exact; else it rests on importance samples, and the same seed gives the same numbers. Cells
    observed come back as they are. An expectation varies less than a return does: for spreads and
    correlations use `scenarios` or the covariance.

    Returns the study's assets, dates × assets, as fractions. Raises DataError unless the panel has
    all of them; others are ignored.
    """
    check_seed(seed)
    panel = as_panel(panel)
    assets, standard = study.config["assets"], standardised(study, panel)
    conditions = known_conditions(study, panel, standard)
    gaps = np.isnan(standard)
    values = panel.to_frame()[assets].to_numpy(np.float64, copy=True)
    if gaps.any():
        values[gaps] = scaler_of(study).restore(_imputed(study, standard, conditions, seed))[gaps]
    index = pd.Index(panel.dates, name="date")
    return pd.DataFrame(values, index=index, columns=assets)


def _imputed(
    study: Study,
    standard: Float[np.ndarray, "date asset"],
    conditions: Float[np.ndarray, "date condition"],
    seed: int,
) -> Float[np.ndarray, "date asset"]:
    """`impute` in standard units."""
    n_samples = study.config["likelihood_samples"]
    linear_gaussian = fit.saved_shape(study.config).linear_gaussian
    model, refits = fit.saved_model(study.config), fitted(study, "refits")
    batch = make_batch(standard, conditions)
    key = jax.random.key(seed)
    return apply.impute(key, model, refits, batch, n_samples, linear_gaussian)


def scenarios(
    study: Study,
    number: int,
    seed: int = 0,
    covariates: Mapping[str, float] | pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Draws of all assets' returns from the chosen configuration, scenarios × assets.

    From the equal mixture of its refitted seeds: z from the prior, observation noise included;
    under the conditions of the dates of `fit`, evenly. The same seed gives the same scenarios.

    covariates: what to assume of the date, in the covariates' own units; those that are not named
        stay as they were on the dates of `fit`, evenly. Or a table of all of them, whose rows are
        drawn under in turn (see `conditions.assumed_conditions`).
    """
    check_option("number", number, least=1)
    check_seed(seed)
    model, assets = fit.saved_model(study.config), study.config["assets"]
    require_room(number, number * len(assets))
    refits, under = fitted(study, "refits"), rows_under(study, covariates)
    draws = apply.scenarios(jax.random.key(seed), model, refits, under, number)
    values = scaler_of(study).restore(draws)
    index = pd.RangeIndex(number, name="scenario")
    return pd.DataFrame(values, index=index, columns=assets)


def require_room(number: int, n_cells: int) -> None:
    """OptionError where so many draws, of so many cells, do not fit into what memory is free."""
    free, needed = host_bytes_free(), COPIES * 8 * n_cells
    if free is not None and needed > free:
        raise OptionError(
            "number",
            f"{number:,} draws take {needed / 1e9:,.0f} GB, {free / 1e9:,.0f} GB are free; at most "
            f"{number * free // needed:,}",
        )


def standardised(study: Study, panel: Panel) -> Float[np.ndarray, "date asset"]:
    """The returns of the study's assets in its standard units.

    Raises DataError where the panel lacks an asset.
    """
    assets = study.config["assets"]
    absent = [asset for asset in assets if asset not in set(panel.assets)]
    if absent:
        raise DataError(
            f"{len(absent)} of the study's {len(assets)} assets are missing in the panel, "
            f"{absent[0]!r} first; give every asset the study was fitted on"
        )
    values = panel.to_frame()[assets].to_numpy(np.float64)
    return scaler_of(study).standardise(values)


def rows_under(study: Study, covariates: Mapping[str, float] | pd.DataFrame | None = None) -> Batch:
    """Rows with the conditions that scenarios are drawn under: those of `fit`, with what is assumed
    of `covariates` (see `scenarios`)."""
    conditions = study.arrays.get("conditions", np.zeros((1, 0)))
    if covariates is not None:
        known = (study.config.get("covariates", []), _covariate_scaler(study))
        conditions = assumed_conditions(conditions, *known, covariates)
    return make_batch(np.zeros((len(conditions), len(study.config["assets"]))), conditions)


def known_conditions(
    study: Study, panel: Panel, values: Float[np.ndarray, "date asset"], n_ahead: int = 0
) -> Float[np.ndarray, "row condition"]:
    """What the study's model is told of each date of a panel whose returns in standard units are
    `values`: covariates, and its memory of earlier dates.

    n_ahead: dates after the last to add, under its covariates and without returns.

    Raises DataError where the panel lacks a covariate.
    """
    covariates = study.config.get("covariates", [])
    told = row_conditions(panel, covariates, _covariate_scaler(study))
    told, values = (
        np.concatenate([part, end])
        for part, end in (
            (told, np.repeat(told[-1:], n_ahead, axis=0)),
            (values, np.zeros((n_ahead, values.shape[1]))),
        )
    )
    return with_memory(told, values, fit.saved_shape(study.config))


def _covariate_scaler(study: Study) -> Scaler:
    none = np.zeros(0)
    place, scale = (study.arrays.get(f"covariate_{part}", none) for part in ("mean", "scale"))
    return Scaler(place, scale)


def scaler_of(study: Study) -> Scaler:
    """Mean and standard deviation of the study's returns on `fit`."""
    return Scaler(study.arrays["scaler_mean"], study.arrays["scaler_scale"])


def fitted(study: Study, name: str, rows: np.ndarray | slice = slice(None)) -> apply.Fitted:
    """The saved "members" or "refits", those of some rows."""
    tree: Any = jax.tree.map(lambda leaf: leaf[rows], study.parameters[name])
    statistics = tree.get("statistics", {})
    statistics = {"encoder": {}, "decoder": {}, **statistics}
    variables = Variables(tree["parameters"], statistics, tree["factor_mask"])
    return apply.Fitted(variables, tree["seed"])


def _consensus(study: Study) -> consensus.Consensus:
    saved = {
        name.removeprefix("consensus_"): array
        for name, array in study.arrays.items()
        if name.startswith("consensus_")
    }
    alignment = consensus.Alignment(saved["assignment"], saved["signs"], saved["weights"])
    return consensus.Consensus(
        alignment,
        saved["location"],
        saved["scale"],
        saved["spread"],
        saved["stability"],
        int(saved["medoid"]),
        float(saved.get("trim", 0.0)),
    )
