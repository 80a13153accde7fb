"""The results of a study, and what can be asked of it."""

import html
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from jaxvae.fitting.presets import family_of
from jaxvae.models import Family
from jaxvae.report.results import StudyResults
from jaxvae.report.study_report import study_opening, study_report
from jaxvae.runs.results import Format, SavedResults, write_drawings
from jaxvae.study.dataset import to_dataset
from jaxvae.study.fitted import FittedStudy
from jaxvae.study.folder import STUDY_FORMAT, read_study
from jaxvae.study.plots import Plots
from jaxvae.study.questions import forecasts, new_assets, new_dates
from jaxvae.study.questions import scenarios as scenario_questions


@dataclass(frozen=True, repr=False, kw_only=True)
class Study(StudyResults, SavedResults):
    """The results of a study, with what its report is drawn from (`StudyResults`).

    Attributes:
        covariance: assets × assets. The units of each table are in its `attrs`.
        parameters: variables of the "members" of the grid and of the "refits" of the chosen β, with
            the member axis first, and the "consensus" of the members' factors; each a nested dict
            of arrays, kept in `checkpoints/`.
        family: of a caller's own model; None for the one that `config` names.
    """

    covariance: pd.DataFrame
    parameters: dict[str, Any]
    family: Family | None = None

    format: ClassVar[Format] = STUDY_FORMAT

    def __getstate__(self) -> dict[str, Any]:
        # Of a study that was asked something more is known, whose functions cannot be pickled.
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def __repr__(self) -> str:
        config, chosen = self.config, self.config["chosen"]
        panel, n_members = config["panel"], len(self.members)
        return (
            f"Study of {config['name']!r}: {panel['n_dates']:,} dates × {panel['n_assets']:,} "
            f"assets, model {config['model']!r}, {n_members} members\n"
            f"chosen on validation: β = {chosen['beta']:g}; factors kept: {self.factors.shape[1]} "
            f"of {config['n_factors']}\n"
            f"tables: {', '.join(self.tables)}\n"
            "ask it: encode, impute, scenarios, forecast, forecast_covariance, paths, new_asset\n"
            "show and keep it: plot, report, save, to_xarray"
        )

    def _repr_html_(self) -> str:
        """The same with the report's answers, for a notebook."""
        answers = "".join(
            f"<p><b>{html.escape(one.question)}</b> {html.escape(one.verdict)}.</p>"
            for one in study_opening(self).answers
        )
        return f"<pre>{html.escape(repr(self))}</pre>{answers}"

    @cached_property
    def plot(self) -> Plots:
        """The report's figures: `study.plot()` lists them, `study.plot.loadings()` draws one."""
        return Plots(self)

    @cached_property
    def fitted(self) -> FittedStudy:
        """The trained members, with the units and conditions that they speak in."""
        return FittedStudy(self.config, self.arrays, self.parameters, self.covariance, self.family)

    encode, impute = new_dates.encode, new_dates.impute
    scenarios = scenario_questions.scenarios
    forecast, forecast_covariance = forecasts.forecast, forecasts.forecast_covariance
    paths = forecasts.paths
    new_asset = new_assets.new_asset
    to_xarray = to_dataset


def load_study(folder: str | Path, drawings: bool = True, model: Any = None) -> Study:
    """Read a study's folder back.

    Args:
        folder: of a study that is done.
        drawings: whether figures and report must be as they were written, too.
        model: what `StudyConfig` was given, of a study of a caller's own model, which no folder
            holds; without it the study can be read and not asked.

    Returns:
        The study, as `run_study` gave it.

    Raises:
        FolderError: it names the file; the folder holds no study, or a file is missing, damaged or
            another than was written.
    """
    family = None if model is None else family_of(model)
    return Study(**read_study(Path(folder), drawings), family=family)


def draw_report(folder: str | Path) -> None:
    """Draw figures and report of a study's folder again.

    Args:
        folder: of a study that is done.

    Raises:
        FolderError: as `load_study` does, and where a file that is not the study's is in the way.
    """
    study = load_study(folder, drawings=False)
    write_drawings(Path(folder), lambda: study_report(study))
