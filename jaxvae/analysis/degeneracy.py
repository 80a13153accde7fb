"""Likelihoods without a bound: what in the data makes them, and which models ride on it.

A density may grow without end where returns repeat a value, hardly move, or follow exactly from
others: the narrower it is there, the likelier it is. Such a likelihood says nothing of how well a
model forecasts, and no other can be compared with it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxvae.analysis.metrics import LEAST_SHARED, correlations_of_pairs, standardise_columns

JITTER = 0.01  # standard deviations: finer than anything a return's law should hang on
LARGEST_COST, LARGEST_COST_AN_ASSET = 1.0, 0.01  # nats per date
REPEATED_SHARE = 0.5
FEWEST_VALUES, LEAST_CELLS = 10, 50
EIGENVALUE_ROUNDING = 1e-12  # of eigenvalues of a correlation matrix


class Cause(NamedTuple):
    """Why an asset's returns have no bounded density.

    Attributes:
        asset: its place among the assets.
        kind: "repeated": half or more of its returns are one value. "few values": they take no
            more than 10. "still": the middle half of them lies within 1 % of their standard
            deviation. "copy": another asset explains all but .01 % of their variance.
            "combination": the others do so together.
        size: the share of the commonest value, the number of values, the width of the middle half
            in standard deviations, or the share of variance not explained.
        other: the asset copied, or −1.
    """

    asset: int
    kind: str
    size: float
    other: int = -1


def find_causes(values: Float[np.ndarray, "date asset"]) -> list[Cause]:
    """What in some rows of a panel could let a likelihood grow without end.

    Args:
        values: returns in any units; NaN marks a missing cell. Combinations are looked for among
            complete rows at least twice as many as assets; with fewer, each asset is one.

    Returns:
        At most one cause an asset, in the order of the assets.
    """
    causes = {cause.asset: cause for cause in _by_itself(values)}
    rest = np.setdiff1d(np.arange(values.shape[1]), list(causes))
    for search in (_copies, _combinations):
        rest = np.setdiff1d(rest, list(causes))
        if len(rest) > 1:
            causes |= {cause.asset: cause for cause in search(values[:, rest], rest)}
    return [causes[asset] for asset in sorted(causes)]


def jittered(
    rng: np.random.Generator, values: Float[np.ndarray, "date asset"]
) -> Float[np.ndarray, "date asset"]:
    """Standardised returns moved at random by 1 % of a standard deviation, for `cost_of_jitter`.

    Args:
        rng: source of the moves.
        values: standardised returns; NaN marks a missing cell.
    """
    return values + JITTER * rng.standard_normal(values.shape)


def cost_of_jitter(
    log_likelihood: Float[np.ndarray, " date"], of_jittered: Float[np.ndarray, " date"]
) -> float:
    """What `jittered` returns lose in log-likelihood, nats per date.

    A Gaussian law loses Σ_a ½ (.01 / s_a)², s_a the standard deviation of asset a given the others.

    Args:
        log_likelihood: of each date, nats.
        of_jittered: the same under the same law, of `jittered` returns.
    """
    return float((log_likelihood - of_jittered).mean())


def is_degenerate(cost: float, n_assets: int) -> bool:
    """Whether a law is narrower, in some direction, than anything that is known of returns.

    The largest cost, 1 nat per date and .01 an asset, is that of laws under which the others leave
    an asset .5 % of its variance, and of one direction more with .005 %.

    Args:
        cost: from `cost_of_jitter`; NaN counts as too much.
        n_assets: assets of the panel.
    """
    return not cost <= LARGEST_COST + LARGEST_COST_AN_ASSET * n_assets


def _by_itself(values: Float[np.ndarray, "date asset"]) -> Iterator[Cause]:
    """Causes that an asset needs no other for."""
    for asset, column in enumerate(values.T):
        cells = column[np.isfinite(column)]
        if not len(cells):
            continue
        distinct, counts = np.unique(cells, return_counts=True)
        repeated, spread = counts.max() / len(cells), cells.std()
        low, high = np.quantile(cells, [0.25, 0.75])
        if repeated >= REPEATED_SHARE:
            yield Cause(asset, "repeated", float(repeated))
        elif len(distinct) <= FEWEST_VALUES and len(cells) >= LEAST_CELLS:
            yield Cause(asset, "few values", float(len(distinct)))
        elif high - low <= JITTER * spread:
            yield Cause(asset, "still", float((high - low) / spread))


def _copies(
    values: Float[np.ndarray, "date some"], names: Int[np.ndarray, " some"]
) -> Iterator[Cause]:
    """Assets that an earlier one explains, on the dates that both have."""
    if len(values) < LEAST_SHARED:
        return
    table = correlations_of_pairs(values)
    unexplained = np.nan_to_num(1 - np.tril(table, -1) ** 2, nan=1.0)
    for place, row in enumerate(unexplained):
        if row.min() <= JITTER**2:
            yield Cause(
                int(names[place]), "copy", max(float(row.min()), 0.0), int(names[row.argmin()])
            )


def _combinations(
    values: Float[np.ndarray, "date some"], names: Int[np.ndarray, " some"]
) -> Iterator[Cause]:
    """Assets that the others explain together: 1 / (R⁻¹)_aa, R their correlations, allowing for
    as many coefficients."""
    rows = values[np.isfinite(values).all(axis=1)]
    if len(rows) < 2 * len(names):
        return
    units, _, _ = standardise_columns(rows)
    eigenvalues, vectors = np.linalg.eigh(units.T @ units / len(units))
    inverse = vectors**2 @ (1 / np.maximum(eigenvalues, EIGENVALUE_ROUNDING))
    unexplained = len(rows) / (len(rows) - len(names)) / inverse
    for place in np.flatnonzero(unexplained <= JITTER**2):
        yield Cause(int(names[place]), "combination", float(unexplained[place]))
