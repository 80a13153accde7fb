"""How many factors the ensemble itself has use for: members of 0, 1, …, K factors at the chosen β.

How many factors a member uses is an array among its hyperparameters, so these members run through
the program that trained the grid; nothing is compiled for them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxvae import baselines
from jaxvae.analysis.metrics import active_units
from jaxvae.fitting.fit import Choice, Trained, train_members, training_data
from jaxvae.fitting.prepare import Prepared
from jaxvae.models import Noise
from jaxvae.training.ensemble import Members, Progress
from jaxvae.training.store import Store
from jaxvae.training.tiles import take

MOST_SWEPT_SEEDS = 4
MOST_SIZES = 6


class Sweep(NamedTuple):
    """Members by their number of factors and seed; NaN for those that diverged.

    sizes: the numbers of factors, 0 first and K last (`sizes_tried`).
    log_likelihood: of the validation dates, nats, in standard units.
    active: factors in use on `fit`.
    """

    sizes: Int[np.ndarray, " size"]
    log_likelihood: Float[np.ndarray, "size seed date"]
    active: Float[np.ndarray, "size seed"]


def sweep_factors(
    prepared: Prepared,
    grid: Trained,
    chosen: Choice,
    on_progress: Callable[[Progress], None],
    stage: Store | None = None,
) -> Sweep:
    """Train the first sound seeds (at most 4) at the chosen β with fewer than K factors, on `train`
    as the grid was; its own members are those with all K.

    Without factors and conditions a member is a constant, whose best values need no training where
    its noise is known.
    """
    sound = np.flatnonzero(grid.ensemble.ok[chosen.seeds])
    seeds, split = chosen.seeds.start + sound[:MOST_SWEPT_SEEDS], prepared.split
    whole = take(grid, seeds)
    largest = _scored(prepared, whole)
    sizes, parts = sizes_tried(prepared.model.n_factors), [largest]
    if (constant := constant_of(prepared)) is not None:
        likelihood, active = largest
        parts = [(np.broadcast_to(constant, likelihood.shape), np.zeros_like(active)), largest]
    if len(trained := sizes[len(parts) - 1 : -1]):
        members = with_factors(whole.ensemble.members, trained)
        data = training_data(prepared, split.train.stop)
        fewer = train_members(prepared, data, members, on_progress, stage, asked=split.validation)
        parts.insert(-1, _scored(prepared, fewer))
    stacked = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Sweep(sizes, *(part.reshape(len(sizes), -1, *part.shape[1:]) for part in stacked))


def sizes_tried(most: int) -> Int[np.ndarray, " size"]:
    """0, then every number of factors up to `most`; beyond 6, six at even ratios."""
    tried = np.arange(1, most + 1)
    if most > MOST_SIZES:
        tried = np.unique(np.round(np.geomspace(1, most, MOST_SIZES)).astype(int))
    return np.concatenate([[0], tried])


def with_factors(members: Members, sizes: Int[np.ndarray, " size"]) -> Members:
    """Every member once for each size, size by size, with that many of its factors in use, the
    first ones."""
    mask = members.hyperparameters.factor_mask
    copies: Any = jax.tree.map(lambda leaf: np.concatenate([leaf] * len(sizes)), members)
    used = np.arange(mask.shape[1]) < np.repeat(sizes, len(mask))[:, None]
    in_use = used.astype(mask.dtype)
    return copies._replace(hyperparameters=copies.hyperparameters._replace(factor_mask=in_use))


def _scored(
    prepared: Prepared, trained: Trained
) -> tuple[Float[np.ndarray, "member date"], Float[np.ndarray, " member"]]:
    """Log-likelihood of the validation dates, and factors in use, member by member."""
    ok = np.where(trained.ensemble.ok, 1.0, np.nan)
    likelihood = np.asarray(trained.evaluation.likelihood.value, np.float64)
    factors = np.asarray(trained.evaluation.factors, np.float64)[:, prepared.split.fit]
    scores = likelihood[:, prepared.split.validation] * ok[:, None]
    return scores, active_units(factors).sum(axis=1) * ok


def constant_of(prepared: Prepared) -> Float[np.ndarray, " validation"] | None:
    """Log-likelihood of the validation dates under the best member without factors, a constant;
    None where finding it takes training, with noise of another form or under conditions."""
    noise = prepared.model.facts.noise
    if noise is None or prepared.conditions.shape[1]:
        return None
    return without_factors(noise, *(prepared.values[rows] for rows in prepared.split[:2]))


def without_factors(
    noise: Noise, train: Float[np.ndarray, "date asset"], later: Float[np.ndarray, "later asset"]
) -> Float[np.ndarray, " later"]:
    """Log-likelihood of later dates under the constant with noise of this kind that makes training
    likeliest, nats.

    Batch norm of a constant divides rounding by rounding: trained members would score far below.
    """
    if noise.asset_tails:
        return _independent_tails(train, later)
    kind = (noise.form, noise.variance, noise.row_tails)
    return baselines.fit_independent(train, *kind).log_likelihood(later)


def _independent_tails(
    train: Float[np.ndarray, "date asset"], validation: Float[np.ndarray, "later asset"]
) -> Float[np.ndarray, " later"]:
    """Every asset a Student-t of its own."""
    columns = zip(train.T[:, :, None], validation.T[:, :, None], strict=True)
    by_asset = [
        baselines.fit_multivariate_t(_without_gaps(asset)).log_likelihood(later)
        for asset, later in columns
    ]
    return np.sum(by_asset, axis=0)


def _without_gaps(asset: Float[np.ndarray, "date 1"]) -> Float[np.ndarray, "observed 1"]:
    """The dates that an asset has; of one asset alone, missing cells say nothing."""
    seen = np.isfinite(asset[:, 0])
    return asset if seen.all() else asset[seen]
