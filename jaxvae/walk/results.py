"""The results of a walk, and what can be done with them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.errors import as_html
from jaxvae.report.content import REPORT
from jaxvae.report.walk_report import FILES, walk_report
from jaxvae.runs.files import write_new
from jaxvae.walk.folder import read_walk, write_walk, write_walk_report


@dataclass(frozen=True, repr=False)
class Walk:
    """The results of a walk. The units of each table are in its `attrs`.

    config: the settings, as `config.json` keeps them.
    windows: a row a window: its first and last date, the dates it is judged on, mean
        log-likelihoods of those (nats per date), agreement of its factors with the last window's.
    scores: judged dates × models, log-likelihood in nats, in the units of the panel's `fit`.
    factors: judged dates × factors, each by the window that ended before.
    loadings: (window's last date, asset) × factors, returns per standard deviation of a factor.
    portfolio: judged dates × strategies, simple returns.
    weights: (strategy, window's last date) × assets.
    strategies: a row a strategy: volatility (a year), mean return (a year), turnover (a rebalance),
        and the variance (a year) less Ledoit-Wolf's with its interval.
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

    _repr_html_ = as_html

    def __post_init__(self) -> None:
        for file, (_, units) in FILES.items():
            getattr(self, file.removesuffix(".csv")).attrs.setdefault("units", units)

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

    def save(self, folder: str | Path) -> None:
        """Write the walk and its report into a new folder, which appears whole or not at all.

        Args:
            folder: that does not exist yet.

        Raises:
            FolderError: something is in the way, or the disk refuses.
        """
        write_walk(self, folder)

    def report(self, path: str | Path) -> None:
        """Write the walk's report as one page, which needs no other file.

        Args:
            path: of the page, where no file is yet.

        Raises:
            FolderError: something is in the way, or the disk refuses.
        """
        write_new(Path(path), walk_report(self, linked=False)[REPORT])


def load_walk(folder: str | Path, drawings: bool = True) -> Walk:
    """Read a walk's folder back.

    Args:
        folder: Of a walk that is done.
        drawings: Whether figures and report must be as they were written, too.

    Returns:
        The walk, as `walk_forward` gave it.

    Raises:
        FolderError: It names the file; the folder holds no walk, or a file is missing, damaged or
            another than was written.
    """
    return Walk(**read_walk(Path(folder), drawings))


def draw_walk_report(folder: str | Path) -> None:
    """Draw the report of a walk's folder again.

    Args:
        folder: of a walk that is done.

    Raises:
        FolderError: as `load_walk` does, and where a file that is not the walk's is in the way.
    """
    write_walk_report(load_walk(folder, drawings=False), Path(folder))
