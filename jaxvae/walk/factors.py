"""Factors over time: each window's consensus of its members, tracked from window to window."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from jaxvae.analysis import consensus, metrics, nulls, tracking
from jaxvae.study.align import factor_names, tabulate_factors
from jaxvae.training.streams import Stream
from jaxvae.walk.members import Outputs


class TrackedFactors(NamedTuple):
    """Tracked factors of every window, in the window's units.

    factors: of the window's last dates and of those it is judged on; standard deviation 1 on the
        former, 0 throughout where no member uses the factor.
    loadings: returns, in standard deviations of the window, per standard deviation of a factor.
    tracking: what lines them up. rotation: 95th percentile of the agreement of as many factors
        with their random rotations; NaN of a single one, which no rotation changes.
    """

    factors: Float[np.ndarray, "window date factor"]
    loadings: Float[np.ndarray, "window asset factor"]
    tracking: tracking.Tracking
    rotation: float


def track_consensus(
    outputs: Outputs, scale: Float[np.ndarray, "window asset"], recent: int, step: int, seed: int
) -> TrackedFactors:
    """Line up the members of each window, then the windows.

    The first window has the order and the signs of `consensus.convention`; each later one is lined
    up with the one before it, so that no later date turns an earlier factor.

    Args:
        outputs: The members window by window, equally many in each.
        scale: Standard deviations of the returns of each window.
        recent: Dates of a window that factors are given for, as in `train_windows`.
        step: Dates from a window's end to the next one's.
        seed: Of the chance levels.
    """
    n_windows = len(scale)
    parts = (np.asarray(part) for part in (outputs.factors, outputs.loadings, outputs.ok))
    by_window = [part.reshape(n_windows, -1, *part.shape[1:]) for part in parts]
    factors, loadings, ok = by_window
    found = [_consensus(factors[w], loadings[w], ok[w], recent, scale[w]) for w in range(n_windows)]
    factors, loadings = (np.stack(part) for part in zip(*found, strict=True))
    rng = Stream.TRACKING.generator(seed)
    tracked = tracking.track_factors(rng, factors[:, :recent], step)
    in_use = int((factors[:, :recent].std(axis=1) > 0).sum(axis=1).max())
    white = rng.standard_normal((recent, max(in_use, 1)))
    rotation = nulls.rotation_null(rng, white).percentile_95
    return TrackedFactors(
        tracking.rearrange(factors, tracked),
        tracking.rearrange(loadings, tracked),
        tracked,
        rotation if in_use > 1 else np.nan,
    )


def _consensus(
    factors: Float[np.ndarray, "member date factor"],
    loadings: Float[np.ndarray, "member asset factor"],
    ok: Bool[np.ndarray, " member"],
    recent: int,
    scale: Float[np.ndarray, " asset"],
) -> tuple[Float[np.ndarray, "date factor"], Float[np.ndarray, "asset factor"]]:
    """The consensus of a window's sound members, on all dates; learned on the window's own."""
    factors, loadings = factors[ok].astype(np.float64), loadings[ok].astype(np.float64)
    learned = factors[:, :recent]
    active = metrics.active_units(learned)
    joint = consensus.align_members(learned, active)
    joint = consensus.by_convention(joint, loadings, scale)
    return consensus.consensus_factors(joint, factors), consensus.consensus_loadings(
        joint, loadings
    )


def tracked_factors_table(
    tracked: TrackedFactors, dates: pd.DatetimeIndex, recent: int
) -> pd.DataFrame:
    """Dates × tracked factors of the dates judged, each by the window that ended before it.

    Args:
        tracked: Factors of every window.
        dates: Those judged, window by window.
        recent: Dates of a window that factors are given for before those judged.
    """
    ahead = tracked.factors[:, recent:].reshape(len(dates), -1)
    return tabulate_factors(ahead, dates)


def tracked_loadings_table(
    tracked: TrackedFactors,
    ends: pd.DatetimeIndex,
    assets: Sequence[str],
    scale: Float[np.ndarray, "window asset"],
) -> pd.DataFrame:
    """(last date of the window, asset) × tracked factors, returns per standard deviation of a
    factor.

    Args:
        tracked: Factors of every window.
        ends: The last date of each window.
        assets: Their names.
        scale: Standard deviations of the returns of each window.
    """
    index = pd.MultiIndex.from_product([ends, assets], names=["date", "asset"])
    in_returns = tracked.loadings * scale[:, :, None]
    return tabulate_factors(in_returns.reshape(len(index), -1), index)


def agreement_columns(tracked: TrackedFactors, lag: int) -> dict[str, np.ndarray]:
    """Columns of the table of windows: agreement of each with the one before it, beside the 95th
    percentiles of chance and of random rotations; each factor's correlation with itself there, and
    the congruence of its loadings `lag` windows earlier.

    Args:
        tracked: Factors of every window.
        lag: Windows, so many that the two share no date.
    """
    found = tracked.tracking
    names = factor_names(tracked.factors.shape[2])
    columns = {"agreement": found.agreement, "agreement_chance_95": found.chance}
    first = np.isnan(found.agreement)
    columns["agreement_rotation_95"] = np.where(first, np.nan, tracked.rotation)
    congruence = tracking.congruence(tracked.loadings, lag)
    for measure, values in (("correlation", found.correlations), ("congruence", congruence)):
        columns |= {f"{measure}, {name}": values[:, k] for k, name in enumerate(names)}
    return columns
