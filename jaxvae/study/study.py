"""The results of a study, and what can be asked of it."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.data.panel import Panel
from jaxvae.errors import as_html
from jaxvae.models import Family
from jaxvae.report.content import REPORT
from jaxvae.report.study_report import study_opening, study_report
from jaxvae.runs.files import write_new
from jaxvae.study.folder import read_study, write_report, write_study
from jaxvae.study.plots import Plots
from jaxvae.study.presets import family_of
from jaxvae.study.questions import conditional_scenarios, forecasts, new_assets, panels
from jaxvae.study.questions.dataset import UNITS, to_dataset
from jaxvae.study.questions.fitted import FittedStudy
from jaxvae.study.questions.forecasts import Weights


@dataclass(frozen=True, repr=False)
class Study:
    """The results of a study; tables as DataFrames, in the columns of the files of the same names.

    config: what `config.json` holds.
    members: a row a member: member, seed, beta, ok, best_epoch, then its scores.
    metrics: tidy: model, member, factors, split, metric, value.
    history: member, epoch, total, reconstruction, kl, validation.
    comparisons: paired differences in test log-likelihood with their intervals.
    factors: dates × consensus factors. loadings: assets × consensus factors.
    covariance: assets × assets. The units of these three are in their `attrs`.
    assets, pairs, exposures, portfolios, risk: what is true of each asset, of pairs of them, of
        sectors (None where they are not known), the portfolios that stand for factors, and the
        portfolio of equal weights on the test dates; see `study/portfolio/`.
    n_factors: how many factors there are, by several estimators and over the ensemble's sizes.
    rankings: ways to rank members without the truth.
    arrays: what plots draw and later commands need, by name (see `summary.py`).
    parameters: variables of the "members" of the grid and of the "refits" of the chosen β, each a
        nested dict of arrays with the member axis first; kept in `checkpoints/`.
    family: of a caller's own model; None for the one that `config` names.
    candidates: models and numbers of factors that the study chose from (see `select`); None where
        both were given.
    spectrum: which factors each β loses, in theory and among members; None where β KL is not the
        objective, which the theory is of. This and the last two tables: see `evidence.py`.
    """

    config: dict[str, Any]
    members: pd.DataFrame
    metrics: pd.DataFrame
    history: pd.DataFrame
    comparisons: pd.DataFrame
    factors: pd.DataFrame
    loadings: pd.DataFrame
    covariance: pd.DataFrame
    assets: pd.DataFrame
    pairs: pd.DataFrame
    portfolios: pd.DataFrame
    risk: pd.DataFrame
    n_factors: pd.DataFrame
    rankings: pd.DataFrame
    arrays: dict[str, np.ndarray]
    parameters: dict[str, Any]
    spectrum: pd.DataFrame | None = None
    candidates: pd.DataFrame | None = None
    exposures: pd.DataFrame | None = None
    family: Family | None = None

    def __post_init__(self) -> None:
        for name in UNITS:
            getattr(self, name).attrs.setdefault("units", UNITS[name])

    def metric(self, model: str, metric: str, split: str, member: int | None = None) -> float:
        """One value of the metrics table; NaN where there is none.

        Args:
            model, metric, split: As in the table.
            member: Of the grid, where the model is "vae".
        """
        table = self.metrics
        rows = table[(table.model == model) & (table.metric == metric) & (table.split == split)]
        if member is not None:
            rows = rows[rows.member == member]
        return float(rows.value.iloc[0]) if len(rows) else float("nan")

    def __repr__(self) -> str:
        config, chosen = self.config, self.config["chosen"]
        panel, n_members = config["panel"], len(self.members)
        return (
            f"Study of {config['name']!r}: {panel['n_dates']:,} dates × {panel['n_assets']:,} "
            f"assets, model {config['model']!r}, {n_members} members\n"
            f"chosen on validation: β = {chosen['beta']:g}; factors kept: {self.factors.shape[1]} "
            f"of {config['n_factors']}\n"
            "tables: members, metrics, comparisons, factors, loadings, covariance, assets, pairs, "
            "portfolios, risk\n"
            "ask it: encode, impute, scenarios, forecast, forecast_covariance, paths, new_asset\n"
            "show and keep it: plot, report, save, to_xarray"
        )

    def _repr_html_(self) -> str:
        """The same with the report's answers, for a notebook."""
        answers = "".join(
            f"<p><b>{html.escape(one.question)}</b> {html.escape(one.verdict)}.</p>"
            for one in study_opening(self).answers
        )
        return f"{as_html(self)}{answers}"

    @cached_property
    def plot(self) -> Plots:
        """The report's figures: `study.plot()` lists them, `study.plot.loadings()` draws one."""
        return Plots(self)

    @cached_property
    def fitted(self) -> FittedStudy:
        """The trained members, with the units and conditions that they speak in."""
        return FittedStudy(self.config, self.arrays, self.parameters, self.covariance, self.family)

    def encode(self, panel: Panel | pd.DataFrame) -> pd.DataFrame:
        """Consensus factors of a panel's dates, dates × factors; nothing is refitted.

        What a temporal model knows of the past comes from the panel's own earlier dates, and starts
        blank. Missing cells (NaN) are seen as such by a study of a panel that had some; for another
        they are first filled by `impute`, whose expectation of a linear encoder's factors is exact.

        Args:
            panel: or a DataFrame of returns, as `panel_from_frame` takes them.

        Raises:
            DataError: the panel lacks an asset or covariate of the study; others are ignored.
        """
        return panels.encode(self.fitted, panel)

    def impute(self, panel: Panel | pd.DataFrame, seed: int = 0) -> pd.DataFrame:
        """A panel without missing cells: E[x_missing | x_observed], date by date.

        From the equal mixture of the seeds refitted at the chosen β, each heard by how likely it
        made the cells observed. With a linear Gaussian decoder every expectation is exact; else it
        rests on importance samples. Cells observed come back as they are. An expectation varies
        less than a return does: for spreads and correlations use `scenarios` or the covariance.

        Args:
            panel: or a DataFrame of returns.
            seed: of importance samples; the same one gives the same numbers.

        Returns:
            The study's assets, dates × assets, as fractions.

        Raises:
            DataError: the panel lacks an asset of the study; others are ignored.
        """
        return panels.impute(self.fitted, panel, seed)

    def scenarios(
        self,
        number: int = 1000,
        *,
        given: Mapping[str, float] | None = None,
        covariates: Mapping[str, float] | pd.DataFrame | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Draws of all assets' returns, scenarios × assets, observation noise included.

        From the equal mixture of the refitted seeds at the chosen β. Under what is given, p(x | y),
        by importance sampling and picking draws by their weights.

        Args:
            number: of scenarios.
            given: return by asset, or by sector for the plain mean of its assets, as fractions.
            covariates: what to assume of the date, in the covariates' own units; those not named
                stay as they were on the dates of `fit`, evenly. Or a table of all of them, whose
                rows are drawn under in turn.
            seed: the same one gives the same scenarios.

        Returns:
            The scenarios; where something is given, `attrs` holds `effective_samples`, (Σw)²/Σw² of
            the weighted draws that they were picked from (Kong 1992), and `draws`, how many.

        Raises:
            OptionError: an unknown name, a number that is not finite, nothing left to draw.
        """
        if given is None:
            return panels.scenarios(self.fitted, number, seed, covariates)
        return conditional_scenarios.scenarios_given(self.fitted, given, number, seed, covariates)

    def forecast(
        self,
        panel: Panel | pd.DataFrame,
        weights: Weights = None,
        *,
        number: int = forecasts.DRAWS,
        seed: int = 0,
    ) -> pd.DataFrame:
        """One-step-ahead forecasts of a portfolio, a row a date and one for the next: see
        `forecasts.forecast`.

        Args:
            panel: or a DataFrame of returns, which starts well before the dates of interest.
            weights: of the portfolio, by asset or in the study's order; by default equal ones.
            number: of draws a date.
            seed: the same one gives the same forecasts.
        """
        return forecasts.forecast(self.fitted, panel, weights, number=number, seed=seed)

    def forecast_covariance(
        self, panel: Panel | pd.DataFrame, *, number: int = forecasts.DRAWS, seed: int = 0
    ) -> pd.DataFrame:
        """Covariance of all returns on the date after the panel's last, assets × assets, in squared
        fractions; errors are those of `forecast`.

        Args:
            panel: or a DataFrame of returns.
            number: of draws.
            seed: the same one gives the same covariance.
        """
        return forecasts.forecast_covariance(self.fitted, panel, number=number, seed=seed)

    def paths(
        self, n_dates: int, number: int = 1, seed: int = 0
    ) -> Float[np.ndarray, "path date asset"]:
        """Paths of returns that the chosen models generate, as fractions: see `forecasts.paths`.

        Args:
            n_dates: of a path.
            number: of paths.
            seed: the same one gives the same paths.
        """
        return forecasts.paths(self.fitted, n_dates, number, seed)

    def new_asset(
        self, panel: Panel | pd.DataFrame, returns: pd.Series, sector: str
    ) -> new_assets.NewAsset:
        """Loadings and noise of an asset that training never saw: see `new_assets.new_asset`.

        Args:
            panel: or a DataFrame of returns of the study's assets.
            returns: of the new asset, by date.
            sector: one of the study's.
        """
        return new_assets.new_asset(self.fitted, panel, returns, sector)

    def save(self, folder: str | Path) -> None:
        """Write the study and its report into a new folder, which appears whole or not at all.

        Args:
            folder: that does not exist yet.

        Raises:
            FolderError: something is in the way, or the disk refuses.
        """
        write_study(self, folder)

    def report(self, path: str | Path) -> None:
        """Write the report as one page, which needs no other file.

        Args:
            path: of the page, where no file is yet.

        Raises:
            FolderError: something is in the way, or the disk refuses.
        """
        write_new(Path(path), study_report(self, linked=False)[REPORT])

    def to_xarray(self) -> Any:
        """The tables as an `xarray.Dataset` with the dimensions member, date, asset and factor, and
        units among the attributes; needs the extra `xarray`.

        Raises:
            MissingExtraError: xarray is not installed.
        """
        return to_dataset(self)


def load_study(folder: str | Path, drawings: bool = True, model: Any = None) -> Study:
    """Read a study's folder back.

    Args:
        folder: of a study that is done.
        drawings: whether figures and report must be as they were written, too.
        model: what `StudyConfig` was given, of a study of a caller's own model, which no folder
            holds; without it the study can be read and not asked.

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
    write_report(load_study(folder, drawings=False), Path(folder))
