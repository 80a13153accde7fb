"""Factors over time: each window's consensus of its members, tracked from window to window."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxvae.analysis import consensus, metrics, nulls, tracking
from jaxvae.scoring.align import factor_names
from jaxvae.training.streams import Stream
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.members import Outputs


class TrackedFactors(NamedTuple):
    """Tracked factors of every window, in the window's units.

    factors: of the dates that a window is judged on, in standard deviations over its own last
        dates; 0 throughout where no member uses the factor.
    loadings: returns, in standard deviations of the window, per standard deviation of a factor.
    agreement: columns of the table of windows: agreement of each with the one before it, beside the
        95th percentiles of chance and of random rotations (NaN of a single factor, which no
        rotation changes); each factor's correlation with itself there, and the congruence of its
        loadings so many windows earlier that the two share no date.
    """

    factors: Float[np.ndarray, "window step factor"]
    loadings: Float[np.ndarray, "window asset factor"]
    agreement: dict[str, Float[np.ndarray, " window"]]


def track_consensus(
    outputs: Outputs, scale: Float[np.ndarray, "window asset"], config: WalkConfig
) -> TrackedFactors:
    """Line up the members of each window, then the windows.

    The first window has the order and the signs of `consensus.convention`; each later one is lined
    up with the one before it, so that no later date turns an earlier factor.

    Args:
        outputs: the members window by window, equally many in each.
        scale: standard deviations of the returns of each window.
        config: what was walked with.
    """
    n_windows, recent = len(scale), config.window
    parts = (np.asarray(part) for part in (outputs.factors, outputs.loadings, outputs.ok))
    by_window = [part.reshape(n_windows, -1, *part.shape[1:]) for part in parts]
    found = [_consensus(recent, *window) for window in zip(*by_window, scale, strict=True)]
    factors, loadings = (np.stack(part) for part in zip(*found, strict=True))
    rng = Stream.TRACKING.generator(config.root_seed)
    tracked = tracking.track_factors(rng, factors[:, :recent], config.step)
    in_use = int((factors[:, :recent].std(axis=1) > 0).sum(axis=1).max())
    white = rng.standard_normal((recent, max(in_use, 1)))
    rotation = nulls.rotation_null(rng, white).percentile_95
    factors, loadings = (tracking.rearrange(part, tracked) for part in (factors, loadings))
    unknown = np.isnan(tracked.agreement) | (in_use <= 1)
    columns = {
        "agreement": tracked.agreement,
        "agreement_chance_95": tracked.chance,
        "agreement_rotation_95": np.where(unknown, np.nan, rotation),
    }
    congruence = tracking.congruence(loadings, -(-recent // config.step))
    for measure, values in (("correlation", tracked.correlations), ("congruence", congruence)):
        names = (f"{measure}, {name}" for name in factor_names(values.shape[1]))
        columns |= dict(zip(names, values.T, strict=True))
    return TrackedFactors(factors[:, recent:], loadings, columns)


def _consensus(
    recent: int,
    factors: Float[np.ndarray, "member date factor"],
    loadings: Float[np.ndarray, "member asset factor"],
    ok: Bool[np.ndarray, " member"],
    scale: Float[np.ndarray, " asset"],
) -> tuple[Float[np.ndarray, "date factor"], Float[np.ndarray, "asset factor"]]:
    """The consensus of a window's sound members, on all dates; learned on the window's own."""
    factors, loadings = factors[ok].astype(np.float64), loadings[ok].astype(np.float64)
    learned = factors[:, :recent]
    joint = consensus.align_members(learned, metrics.active_units(learned))
    joint = consensus.by_convention(joint, loadings, scale)
    found = consensus.consensus_factors(joint, factors)
    return found, consensus.consensus_loadings(joint, loadings)
