"""A study from start to end."""

from collections.abc import Callable
from pathlib import Path
from typing import Unpack

import pandas as pd

from jaxvae.data.knowledge import Covariates, Sectors
from jaxvae.data.panel import Panel
from jaxvae.fitting.config import StudyConfig, StudySettings, read_input
from jaxvae.fitting.fit import Trained, TrainedStudy, choose, refit, train_grid
from jaxvae.fitting.fit_baselines import fit_baselines
from jaxvae.fitting.prepare import prepare
from jaxvae.runs.execute import Procedure, execute
from jaxvae.runs.progress import OnProgress, progress_for_call
from jaxvae.selection.count_factors import sweep_factors
from jaxvae.selection.select import STAGE, select
from jaxvae.study.describe import study_identity
from jaxvae.study.study import Study, load_study
from jaxvae.study.summary import summarise
from jaxvae.training.blas import blas_threads
from jaxvae.training.ensemble import Progress
from jaxvae.training.store import Stages


def run_study(
    panel: Panel | pd.DataFrame | str | Path,
    config: StudyConfig | None = None,
    *,
    kind: str | None = None,
    missing: str | None = None,
    sectors: Sectors | None = None,
    covariates: Covariates | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    on_progress: OnProgress | None = None,
    **settings: Unpack[StudySettings],
) -> Study:
    """The whole pipeline on one panel: a panel, DataFrame or file of returns in, a `Study` out.

    1. Split by time; standardise by mean and standard deviation of `fit`. Choose the model and
       the number of factors where they are left open (`select`); fit the classical baselines.
    2. Train seeds × betas on `train`; each member keeps its best epoch on `validation`.
    3. Choose β by mean validation log-likelihood over seeds; refit all its seeds on `fit`.
    4. Train members with fewer factors at that β, to count how many are of use on `validation`.
    5. Align all members' factors; score everything on `test`.

    Args:
        panel: or a DataFrame or a file of returns.
        config: the settings as a whole; or give them by keyword.
        kind, missing, sectors, covariates: as `panel_from_frame` takes them; of a panel the last
            two are put in place of its own.
        out: new folder for the study, which keeps what is trained as it is; by default memory.
        resume: go on with the unfinished study in `out`, to the bits that an unbroken one has; a
            finished one is read.
        progress: whether a terminal or a notebook shows how far it is.
        on_progress: in place of that, called with the stage ("select", "baselines", "train",
            "refit", "count", "score", with a folder "report") and where it stands, None where that
            is not known.
        settings: fields of `StudyConfig` by their names: `model="linear", seeds=4`.

    Returns:
        The study's tables, parameters and figures, to be asked, saved and reported.

    Raises:
        DataError: the panel cannot carry the study.
        FolderError: something stands at `out`; or what is to be gone on with is none, is in use, or
            was begun with other settings, data, versions or devices, of which it names one.
        OptionError: a bad setting.
        TypeError: a setting that there is not, or settings beside a whole `StudyConfig`.
    """
    known = {"kind": kind, "missing": missing, "sectors": sectors, "covariates": covariates}
    asked = read_input(StudyConfig, panel, config, settings, **known)
    with progress_for_call(progress, on_progress) as show:
        study: Study = execute(study_procedure(*asked), show, out, resume=resume)[0]
    return study


def study_procedure(panel: Panel, config: StudyConfig) -> Procedure:
    """A study of a panel, to be run in memory or in a folder."""

    def compute(on_progress: OnProgress, stage: Stages) -> Study:
        with blas_threads(*panel.values.shape):
            return _run(panel, config, on_progress, stage)

    own = None if isinstance(config.model, str) else config.model
    return Procedure(
        identity=lambda: study_identity(panel, config),
        compute=compute,
        read=lambda folder: load_study(folder, model=own),
    )


def _run(panel: Panel, config: StudyConfig, on_progress: OnProgress, stage: Stages) -> Study:
    def of_stage(name: str) -> Callable[[Progress | None], None]:
        return lambda progress: on_progress(name, progress)

    selection = select(panel, config, of_stage(STAGE), stage)
    prepared = prepare(panel, selection.config)
    on_progress("baselines", None)
    # Before hours of training, since a panel that cannot carry them is refused.
    baselines = fit_baselines(prepared, selection.classical)
    on_progress("train", None)
    grid = train_grid(prepared, of_stage("train"), stage("train", Trained))
    chosen = choose(grid, prepared)
    refits = refit(prepared, grid, chosen, of_stage("refit"), stage("refit", Trained))
    sweep = sweep_factors(prepared, grid, chosen, of_stage("count"), stage("count", Trained))
    on_progress("score", None)
    trained = TrainedStudy(prepared, grid, refits, chosen)
    return summarise(trained, selection, sweep, baselines)
