"""The results of a walk, what can be done with them, and the folder that keeps them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.report.content import REPORT
from jaxvae.report.walk_report import TABLES, walk_report
from jaxvae.runs.results import ARRAYS, Format, Results, SavedResults, write_drawings


def _as_results(walk: "Walk") -> Results:
    tables = {name: getattr(walk, name) for name in TABLES}
    return Results(walk.config, tables, {ARRAYS: {"covariances": walk.covariances}})


def _as_parts(results: Results) -> dict[str, Any]:
    covariances = results.trees[ARRAYS]["covariances"]
    tables = {name: results.tables[name] for name in TABLES}
    return {"config": results.config, "covariances": covariances, **tables}


WALK_FORMAT = Format("walk", TABLES, _as_results, _as_parts, walk_report, REPORT)


@dataclass(frozen=True, repr=False)
class Walk(SavedResults):
    """The results of a walk. The units of each table are in its `attrs`.

    Attributes:
        config: the settings, as `config.json` keeps them.
        windows: a row a window: its first and last date, the dates it is judged on, mean
            log-likelihoods of those (nats per date), agreement of its factors with the last
            window's.
        scores: judged dates × models, log-likelihood in nats, in the units of the panel's `fit`.
        factors: judged dates × factors, each by the window that ended before.
        loadings: (window's last date, asset) × factors, returns per standard deviation of a factor.
        portfolio: judged dates × strategies, simple returns.
        weights: (strategy, window's last date) × assets.
        strategies: a row a strategy: volatility (a year), mean return (a year), turnover (a
            rebalance), and the variance (a year) less Ledoit-Wolf's with its interval.
        covariances: of each window's ensemble, in the units of the returns squared.
    """

    config: dict[str, Any]
    windows: pd.DataFrame
    scores: pd.DataFrame
    factors: pd.DataFrame
    loadings: pd.DataFrame
    portfolio: pd.DataFrame
    weights: pd.DataFrame
    strategies: pd.DataFrame
    covariances: Float[np.ndarray, "window asset asset"]

    format: ClassVar[Format] = WALK_FORMAT

    def __repr__(self) -> str:
        first, last = (str(date)[:10] for date in (self.scores.index[0], self.scores.index[-1]))
        volatility = self.strategies.volatility.sort_values()
        names = ", ".join(f"{name} {100 * value:.2f} %" for name, value in volatility[:3].items())
        return (
            f"Walk over {self.config['name']!r}: {len(self.windows):,} windows, model "
            f"{self.config['model']!r}, {self.loadings.shape[1]} factors tracked\n"
            f"judged on {len(self.scores):,} dates, {first} to {last}\n"
            f"least volatility a year: {names}\n"
            "tables: windows, scores, factors, loadings, portfolio, weights, strategies\n"
            "ask it: save, report"
        )


def load_walk(folder: str | Path, drawings: bool = True) -> Walk:
    """Read a walk's folder back.

    Args:
        folder: of a walk that is done.
        drawings: whether figures and report must be as they were written, too.

    Returns:
        The walk, as `walk_forward` gave it.

    Raises:
        FolderError: it names the file; the folder holds no walk, or a file is missing, damaged or
            another than was written.
    """
    return Walk(**WALK_FORMAT.read(Path(folder), drawings))


def draw_walk_report(folder: str | Path) -> None:
    """Draw the report of a walk's folder again.

    Args:
        folder: of a walk that is done.

    Raises:
        FolderError: as `load_walk` does, and where a file that is not the walk's is in the way.
    """
    walk = load_walk(folder, drawings=False)
    write_drawings(Path(folder), lambda: walk_report(walk))
