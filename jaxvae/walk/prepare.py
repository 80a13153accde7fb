"""A panel cut into windows, with all that needs no training: units, and classical portfolios."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis import portfolios
from jaxvae.analysis.metrics import ROUNDING
from jaxvae.analysis.portfolios import BASELINE
from jaxvae.baselines.covariances import ESTIMATORS
from jaxvae.data.checks import check_panel
from jaxvae.data.panel import Panel, Scaler, fit_scaler
from jaxvae.errors import DataError, Option
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.windows import Span, cut_windows


class PreparedWalk(NamedTuple):
    """A panel cut into windows. scalers: mean and standard deviation of each window's dates.
    weights: of the portfolios that need no training, by strategy. notes: which of these are left
    out, and why. config: what to walk with."""

    panel: Panel
    spans: list[Span]
    scalers: list[Scaler]
    weights: dict[str, Float[np.ndarray, "window asset"]]
    notes: list[str]
    config: WalkConfig

    @property
    def scale(self) -> Float[np.ndarray, "window asset"]:
        """Standard deviations of the returns of each window."""
        return np.stack([scaler.scale for scaler in self.scalers])

    @property
    def ends(self) -> pd.DatetimeIndex:
        """The last date of each window."""
        return self.panel.dates[[span.stop - 1 for span in self.spans]]

    @property
    def judged(self) -> pd.DatetimeIndex:
        """The dates that windows are judged on, window by window."""
        dates = [self.panel.dates[span.stop : span.until] for span in self.spans]
        return pd.DatetimeIndex(np.concatenate(dates), name="date")


def prepare_walk(panel: Panel, config: WalkConfig) -> PreparedWalk:
    """Check the panel and cut it."""
    check_panel(panel.to_frame(), config.n_factors)
    gaps = np.isnan(panel.values)
    if gaps.any():
        asset, row = int(gaps.any(axis=0).argmax()), int(gaps.any(axis=1).argmax())
        raise DataError(
            f"a walk needs whole windows, and column {panel.assets[asset]!r} has missing cells, "
            f"the panel's first on {panel.dates[row].date()}: choose ",
            Option("missing", "drop-dates", "drop-assets", "mean"),
        )
    spans = cut_windows(panel.n_dates, config.window, config.step, config.expanding)
    if not spans:
        raise DataError(
            f"the panel has {panel.n_dates:,} dates, too few for ",
            Option("window", config.window),
            " and one ",
            Option("step", config.step),
            f": shorten them to {panel.n_dates:,} together, or add dates",
        )
    parts = [panel.values[span.start : span.stop] for span in spans]
    scalers = [fit_scaler(part) for part in parts]
    for part, scaler, span in zip(parts, scalers, spans, strict=True):
        # A spread below this share of the largest value is rounding.
        still = scaler.scale <= ROUNDING * np.abs(part).max(axis=0)
        if still.any():
            raise DataError(
                f"column {panel.assets[int(still.argmax())]!r} does not vary in the window that "
                f"ends {panel.dates[span.stop - 1].date()}: delete it, or take a longer ",
                Option("window"),
            )
    return PreparedWalk(panel, spans, scalers, *_baseline_weights(parts, config), config)


def _baseline_weights(
    windows: list[Float[np.ndarray, "date asset"]], config: WalkConfig
) -> tuple[dict[str, Float[np.ndarray, "window asset"]], list[str]]:
    """Weights at every window's end by strategy, and notes on those that cannot be had; DataError
    where the one that all are compared with cannot."""
    n_assets = windows[0].shape[1]
    n_factors = min(config.baseline_factors, n_assets - 1)
    weights, notes = {"equal": np.full((len(windows), n_assets), 1.0 / n_assets)}, []
    for name, estimate in ESTIMATORS.items():
        estimates = [estimate(window, n_factors) for window in windows]
        try:
            if name == "sample" and config.window <= n_assets + 1:
                raise DataError(f"{config.window} dates are too few for {n_assets} assets")
            weights[name] = portfolios.minimum_variance(np.stack(estimates))
        except DataError as error:
            if name == BASELINE:
                raise
            notes.append(f"The portfolio {name} is left out: {error}.")
    return weights, notes
