"""What a report is drawn from: tables and arrays, whoever holds them."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure


@runtime_checkable
class StudyResults(Protocol):
    """Tables, arrays and settings of a study, in the columns of the files of the same names."""

    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def members(self) -> pd.DataFrame: ...
    @property
    def metrics(self) -> pd.DataFrame: ...
    @property
    def history(self) -> pd.DataFrame: ...
    @property
    def comparisons(self) -> pd.DataFrame: ...
    @property
    def factors(self) -> pd.DataFrame: ...
    @property
    def loadings(self) -> pd.DataFrame: ...
    @property
    def arrays(self) -> Mapping[str, np.ndarray]: ...
    @property
    def n_factors(self) -> pd.DataFrame: ...
    @property
    def spectrum(self) -> pd.DataFrame | None: ...
    @property
    def candidates(self) -> pd.DataFrame | None: ...
    @property
    def rankings(self) -> pd.DataFrame: ...

    def metric(self, model: str, metric: str, split: str, member: int | None = None) -> float:
        """One value of the metrics table; NaN where there is none."""


Drawing = Callable[[StudyResults], Figure]


@runtime_checkable
class WalkResults(Protocol):
    """Tables and settings of a walk, in the columns of the files of the same names."""

    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def windows(self) -> pd.DataFrame: ...
    @property
    def portfolio(self) -> pd.DataFrame: ...
    @property
    def strategies(self) -> pd.DataFrame: ...
