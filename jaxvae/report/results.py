"""What a report is drawn from: tables and arrays, whoever holds them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxvae.report.words import TABLES


@dataclass(frozen=True, repr=False, kw_only=True)
class StudyResults:
    """What a study's report is drawn from; tables in the columns of the files of the same names.

    Attributes:
        config: what `config.json` holds.
        members: a row a member: member, seed, beta, ok, best_epoch, then its scores.
        metrics: tidy: model, member, factors, split, metric, value.
        history: member, epoch, total, reconstruction, kl, validation.
        comparisons: paired differences in test log-likelihood with their intervals.
        factors: dates × consensus factors.
        loadings: assets × consensus factors.
        assets, pairs, exposures, portfolios, risk: what is true of each asset, of pairs of them, of
            sectors (None where they are not known), the portfolios that stand for factors, and the
            portfolio of equal weights on the test dates.
        n_factors: how many factors there are, by several estimators and over the ensemble's sizes.
        stability: β × consensus factors: of each factor over the seeds of each β.
        rankings: ways to rank members without the truth.
        arrays: what plots draw, by name.
        candidates: models and numbers of factors that the study chose from; None where both were
            given.
        spectrum: which factors each β loses, in theory and among members; None where β KL is not
            the objective, which the theory is of.
    """

    config: dict[str, Any]
    members: pd.DataFrame
    metrics: pd.DataFrame
    history: pd.DataFrame
    comparisons: pd.DataFrame
    factors: pd.DataFrame
    loadings: pd.DataFrame
    assets: pd.DataFrame
    pairs: pd.DataFrame
    portfolios: pd.DataFrame
    risk: pd.DataFrame
    n_factors: pd.DataFrame
    stability: pd.DataFrame
    rankings: pd.DataFrame
    arrays: dict[str, np.ndarray]
    spectrum: pd.DataFrame | None = None
    candidates: pd.DataFrame | None = None
    exposures: pd.DataFrame | None = None

    @property
    def tables(self) -> dict[str, tuple[str, str]]:
        """The tables that there are, with what a row of each is and its units."""
        return {name: text for name, text in TABLES.items() if getattr(self, name) is not None}

    def metric(self, model: str, metric: str, split: str, member: int | None = None) -> float:
        """One value of the metrics table; NaN where there is none.

        Args:
            model, metric, split: as in the table.
            member: of the grid, where the model is "vae".

        Returns:
            The value, in the units of the metric.
        """
        table = self.metrics
        rows = table[(table.model == model) & (table.metric == metric) & (table.split == split)]
        if member is not None:
            rows = rows[rows.member == member]
        return float(rows.value.iloc[0]) if len(rows) else float("nan")


DrawFigure = Callable[[StudyResults], Figure]


@runtime_checkable
class WalkResults(Protocol):
    """Tables and settings of a walk, in the columns of the files of the same names."""

    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def windows(self) -> pd.DataFrame: ...
    @property
    def strategies(self) -> pd.DataFrame: ...
