"""A study from start to end."""

from collections.abc import Callable

import pandas as pd

from jaxvae.data import as_panel
from jaxvae.data.panel import Panel
from jaxvae.study import fit
from jaxvae.study.config import StudyConfig
from jaxvae.study.fit import Trained
from jaxvae.study.fit_baselines import fit_baselines
from jaxvae.study.selection.count_factors import sweep_factors
from jaxvae.study.selection.select import STAGE, select
from jaxvae.study.study import Study
from jaxvae.study.summary import summarise
from jaxvae.training.ensemble import Progress
from jaxvae.training.store import Stages, in_memory


def run_study(
    panel: Panel | pd.DataFrame,
    config: StudyConfig | None = None,
    *,
    on_progress: Callable[[str, Progress | None], None] = lambda stage, progress: None,
    stage: Stages = in_memory,
) -> Study:
    """The whole pipeline on one panel: a panel or DataFrame of returns in, a `Study` out.

    1. Split by time; standardise by mean and standard deviation of `fit`. Choose the model and
       the number of factors where they are left open (`select`); fit the classical baselines.
    2. Train seeds × betas on `train`; each member keeps its best epoch on `validation`.
    3. Choose β by mean validation log-likelihood over seeds, the one nearest to 1 of those that are
       level with the best; refit all its seeds on `fit`.
    4. Train members with fewer factors at that β, to count how many are of use on `validation`.
    5. Align all members' factors; score everything on `test`.

    panel: or a DataFrame of returns.
    config: the settings; by default those of `StudyConfig`.
    on_progress: called with the stage ("select", "train", "refit", "count", "score") and where it
        stands, None where that is not known.
    stage: where the tiles of a stage are kept while the run is in work, `runs.Run.stage` for a
        folder; by default memory.

    Raises DataError where the panel cannot carry the study, OptionError on a bad setting.
    """

    def report(stage: str) -> Callable[[Progress], None]:
        return lambda progress: on_progress(stage, progress)

    panel = as_panel(panel, for_fitting=True)
    selection = select(panel, config or StudyConfig(), report(STAGE), stage)
    config = selection.config
    prepared = fit.prepare(panel, config)
    # Before hours of training, since a panel that cannot carry them is refused.
    baselines = fit_baselines(prepared)
    on_progress("train", None)
    grid = fit.train_grid(prepared, config, report("train"), stage("train", Trained))
    chosen = fit.choose(grid, prepared.split, config)
    kept = stage("refit", Trained)
    refits = fit.refit(prepared, grid, chosen, config, report("refit"), kept)
    kept = stage("count", Trained)
    sweep = sweep_factors(prepared, grid, chosen, config, report("count"), kept)
    on_progress("score", None)
    return summarise(prepared, selection, grid, refits, sweep, chosen, baselines)
