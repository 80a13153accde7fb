"""Panels of returns: values, dates, assets and labels; the time split; the scaler."""

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

TRAIN_SHARE = 0.56
FIT_SHARE = 0.70
CONSTANT_RANGE = 1e-9
"""A column that moves by less than this share of its largest value is constant, as the returns of
steadily growing prices are."""


class Reference(NamedTuple):
    """Known factors that learned ones are compared with; no model sees them.

    On a synthetic panel they are the planted truth, on `french` the factors that the literature
    names.

    Attributes:
        factors: dates × factors, indexed by the panel's dates.
        loadings: assets × factors, or None where unknown.
        planted: whether the returns were made of them.
    """

    factors: pd.DataFrame
    loadings: pd.DataFrame | None
    planted: bool


@dataclass(frozen=True, eq=False, repr=False)
class Panel:
    """Asset returns by date.

    `read_panel`, `panel_from_frame` and the functions that load or draw a panel check what they
    make one of, and `run_study` whether it can be fitted; `Panel` itself checks nothing.

    Attributes:
        values: returns as fractions (0.01 is one percent); NaN where a cell is missing.
        dates: strictly increasing, without a time zone.
        assets: unique tickers.
        sectors: a label an asset, or None.
        covariates: dates × covariates, or None.
        reference: known factors to compare with, or None.
        name: what the report calls the panel.
        notes: what reading changed and what the panel cannot show, a sentence each, for the report.
    """

    values: Float[np.ndarray, "date asset"]
    dates: pd.DatetimeIndex
    assets: tuple[str, ...]
    sectors: tuple[str, ...] | None = None
    covariates: pd.DataFrame | None = None
    reference: Reference | None = None
    name: str = "panel"
    notes: tuple[str, ...] = ()

    @property
    def n_dates(self) -> int:
        """How many dates there are."""
        return self.values.shape[0]

    @property
    def n_assets(self) -> int:
        """How many assets there are."""
        return self.values.shape[1]

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal, a missing cell to a missing cell."""
        if not isinstance(other, Panel):
            return NotImplemented
        return all(_equal(getattr(self, x.name), getattr(other, x.name)) for x in fields(self))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        missing = int(np.isnan(self.values).sum())
        assets = ", ".join(self.assets[:5]) + (", …" if self.n_assets > 5 else "")
        covariates = [] if self.covariates is None else map(str, self.covariates.columns[:5])
        lines = [
            f"Panel {self.name!r}: {self.n_dates:,} dates × {self.n_assets:,} assets",
            f"dates: {self.dates.min()} to {self.dates.max()}".replace(" 00:00:00", ""),
            f"assets: {assets}",
            f"missing cells: {missing:,}" if missing else "",
            f"sectors: {len(set(self.sectors)):,}" if self.sectors else "",
            f"covariates: {', '.join(covariates)}" if self.covariates is not None else "",
            f"reference: {', '.join(map(str, self.reference.factors))}" if self.reference else "",
            f"notes: {len(self.notes):,}" if self.notes else "",
        ]
        return "\n  ".join(filter(None, lines))

    def to_frame(self) -> pd.DataFrame:
        """The returns as a DataFrame.

        Returns:
            Dates × assets, fractions; NaN where a cell is missing.
        """
        return pd.DataFrame(self.values, index=self.dates, columns=list(self.assets))

    def with_notes(self, *notes: str) -> "Panel":
        """The same panel with further notes.

        Args:
            notes: a sentence each, put after those it has.

        Returns:
            Another `Panel`; this one keeps its own.
        """
        return replace(self, notes=self.notes + notes)


def _equal(ours: Any, theirs: Any) -> bool:
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, Reference):
        return all(map(_equal, ours, theirs))
    if isinstance(ours, pd.DataFrame | pd.DatetimeIndex):
        return bool(ours.equals(theirs))
    if isinstance(ours, np.ndarray):
        return np.array_equal(ours, theirs, equal_nan=True)
    return bool(ours == theirs)


class Split(NamedTuple):
    """Consecutive parts of a panel's dates, as slices; `fit` is `train` and `validation`."""

    train: slice
    validation: slice
    fit: slice
    test: slice


def split_dates(n_dates: int) -> Split:
    """Split by time: the first 56 % of dates, the next 14 %, and the last 30 % (rounded down).

    Args:
        n_dates: of the panel.

    Returns:
        Slices of the dates' positions: `train`, `validation`, `test`, and `fit`, the first two.
    """
    n_train, n_fit = int(TRAIN_SHARE * n_dates + 1e-9), int(FIT_SHARE * n_dates + 1e-9)
    return Split(slice(0, n_train), slice(n_train, n_fit), slice(0, n_fit), slice(n_fit, n_dates))


class Scaler(NamedTuple):
    """Mean and standard deviation by asset, of the rows it was fitted on."""

    mean: Float[np.ndarray, " asset"]
    scale: Float[np.ndarray, " asset"]

    def standardise(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Float[np.ndarray, "date asset"]:
        """Returns to standard units, (x - mean) / scale."""
        return (values - self.mean) / self.scale

    def restore(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "date asset"]:
        """Standard units to returns, mean + scale · x."""
        return self.mean + self.scale * values


def fit_scaler(values: Float[np.ndarray, "date asset"]) -> Scaler:
    """Mean and standard deviation (divisor n) over the observed cells of each asset.

    The standard deviation of a column that is constant up to CONSTANT_RANGE is exactly 0.

    Args:
        values: returns; NaN where a cell is missing.

    Returns:
        The `Scaler`, one mean and one standard deviation an asset, in the units of `values`.
    """
    low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
    constant = high - low <= CONSTANT_RANGE * np.maximum(np.abs(low), np.abs(high))
    scale = np.where(constant, 0.0, np.nanstd(values, axis=0))
    return Scaler(np.nanmean(values, axis=0), scale)


def panel_hash(panel: Panel) -> str:
    """SHA-256 of values, dates and tickers: the same digest means the same data."""
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(panel.values, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(panel.dates.values.astype("datetime64[ns]")).tobytes())
    digest.update("\x00".join(panel.assets).encode())
    return digest.hexdigest()


def knowledge_hash(panel: Panel) -> str:
    """SHA-256 of covariates and sectors, names and values: what is known beside the returns."""
    digest = hashlib.sha256("\x00".join(panel.sectors or ()).encode())
    if panel.covariates is not None:
        digest.update("\x00".join(map(str, panel.covariates.columns)).encode())
        digest.update(np.ascontiguousarray(panel.covariates.to_numpy(), dtype="<f8").tobytes())
    return digest.hexdigest()
