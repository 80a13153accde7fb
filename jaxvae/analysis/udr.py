"""Unsupervised disentanglement ranking: how well members of an ensemble agree, axis by axis.

A representation that others find again, factor by factor, is more likely to be disentangled than
one that nobody repeats, and no truth is needed to see it.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import rankdata

from jaxvae.analysis.metrics import standardise_columns, whitening
from jaxvae.analysis.nulls import random_rotations, random_shifts
from jaxvae.errors import OptionError

INFORMATIVE_KL = 0.01  # nats
TILE = 64


def udr(
    means: Float[np.ndarray, "member date factor"], kl: Float[np.ndarray, "member factor"]
) -> Float[np.ndarray, " member"]:
    """Each member's score, 0 to 1: the median of its pair scores with all other members.

    Compare members only with others of the same settings but for the seed, as Duan et al. do, when
    it is settings that are ranked. Members with few informative factors are flattered: of two that
    share a single factor and nothing else, the pair score is 1.

    Args:
        means: posterior means, finite; leave out members that diverged.
        kl: mean KL divergence of each factor's posterior from its prior, nats per date.

    Raises:
        OptionError: there are fewer than two members.

    Source: Duan et al. (2020), "Unsupervised model selection for variational disentangled
    representation learning" (arXiv:1905.12614).
    """
    if len(means) < 2:
        raise OptionError("means", f"{len(means)} member has no other to compare with; at least 2")
    scores = pair_scores(means, kl)
    others = ~np.eye(len(scores), dtype=bool)
    return np.median(scores[others].reshape(len(scores), -1), axis=1)


def udr_by_group(
    means: Float[np.ndarray, "member date factor"],
    kl: Float[np.ndarray, "member factor"],
    groups: Shaped[np.ndarray, " member"],
    usable: Bool[np.ndarray, " member"],
) -> Float[np.ndarray, " member"]:
    """`udr` of each member among the usable members of its own group, such as the seeds of its β.

    Args:
        means, kl: as in `udr`.
        groups: a label a member.
        usable: False for a member to leave out.

    Returns:
        The scores; NaN for a member that is not usable, and where fewer than two of its group are.
    """
    scores = np.full(len(means), np.nan)
    for group in np.unique(groups):
        peers = np.flatnonzero((groups == group) & usable)
        if len(peers) > 1:
            scores[peers] = udr(means[peers], kl[peers])
    return scores


def shifted_udr(
    rng: np.random.Generator,
    means: Float[np.ndarray, "member date factor"],
    kl: Float[np.ndarray, "member factor"],
    n_draws: int,
) -> Float[np.ndarray, " draw"]:
    """Chance level: draws of one member's score when all others are shifted in time against it.

    In each draw one member, taken at random, keeps its dates, and each of the others is shifted
    circularly by its own number of them; its row of pair scores is all that is computed.

    Args:
        rng: source of members and shifts.
        means, kl: as in `udr`.
        n_draws: number of draws.

    Raises:
        DataError: there are fewer than 9 dates.
    """
    draws, (n_members, n_dates, _) = np.empty(n_draws), means.shape
    # Ranks move with their dates, so that one ranking serves all draws.
    units, counts = _informative_ranks(means, kl)
    for draw in range(n_draws):
        member = rng.integers(n_members)
        shifts = random_shifts(rng, n_dates, n_members)
        shifts[member] = 0
        rows = (np.arange(n_dates) - shifts[:, None]) % n_dates
        shifted = units[np.arange(n_members)[:, None], rows]
        row = _tile_scores(units[[member]], shifted, counts[[member]], counts)[0]
        draws[draw] = np.median(np.delete(row, member))
    return draws


def rotated_udr(
    rng: np.random.Generator,
    means: Float[np.ndarray, "date factor"],
    kl: Float[np.ndarray, " factor"],
    n_draws: int,
) -> Float[np.ndarray, " draw"]:
    """Rotation null: scores of as many random rotations of one member's informative factors.

    Whitened, then rotated: members that share a space and nothing of its axes.

    Args:
        rng: source of the rotations.
        means, kl: one member's, as in `udr`.
        n_draws: two or more.

    Returns:
        The scores; none where the member has no informative factor.
    """
    units, _, _ = standardise_columns(means[:, kl > INFORMATIVE_KL])
    white = units @ whitening(units)
    if not white.size:
        return np.empty(0)
    rotated = white @ random_rotations(rng, white.shape[1], n_draws)
    return udr(rotated, np.ones((n_draws, white.shape[1])))


def pair_scores(
    means: Float[np.ndarray, "member date factor"], kl: Float[np.ndarray, "member factor"]
) -> Float[np.ndarray, "member member"]:
    """UDR of each pair of members, symmetric, 0 to 1.

        ½ [mean over columns b of (max_a R_ab)² / Σ_a R_ab
           + mean over rows a of (max_b R_ab)² / Σ_b R_ab]

    with R_ab the |Spearman correlation| of factor a of one member and factor b of the other, over
    the factors whose KL exceeds .01 nats: the others carry no information. 1 where the factors are
    each other's up to order and monotone maps and otherwise uncorrelated; r / d where all d × d
    correlations equal r; 0 where a member has no informative factor.

    The two means count alike, as in the authors' code; the paper's formula weights them by the
    numbers of informative factors, which differs only where these do.

    Args:
        means, kl: as in `udr`.

    Source: as `udr`.
    """
    units, counts = _informative_ranks(means, kl)
    tiles = [slice(start, start + TILE) for start in range(0, len(units), TILE)]
    return np.concatenate(
        [_tile_scores(units[tile], units, counts[tile], counts) for tile in tiles]
    )


def _informative_ranks(
    means: Float[np.ndarray, "member date factor"], kl: Float[np.ndarray, "member factor"]
) -> tuple[Float[np.ndarray, "member date factor"], Int[np.ndarray, " member"]]:
    """Standardised ranks, so that a mean product is a Spearman correlation, 0 for factors that are
    constant or not informative; and how many are, at least 1."""
    values, _, _ = standardise_columns(means)
    informative = kl > INFORMATIVE_KL
    units = standardise_columns(rankdata(values, axis=1))[0] * informative[:, None]
    return units, np.maximum(informative.sum(axis=1), 1)


def _tile_scores(
    rows: Float[np.ndarray, "row date factor"],
    columns: Float[np.ndarray, "member date factor"],
    row_counts: Int[np.ndarray, " row"],
    column_counts: Int[np.ndarray, " member"],
) -> Float[np.ndarray, "row member"]:
    """Pair scores of some members against all, from one matrix of rank correlations.

    Factors that are not informative are zeros in `rows` and `columns`, hence in R, and add nothing
    to a maximum or a sum; the counts are of those that are, at least 1.
    """
    n_rows, n_dates, n_factors = rows.shape
    product = _side_by_side(rows).T @ _side_by_side(columns) / n_dates
    strength = np.abs(product).reshape(n_rows, n_factors, len(columns), n_factors)
    by_column = _relative_strength(strength, axis=1).sum(axis=2) / column_counts
    by_row = _relative_strength(strength, axis=3).sum(axis=1) / row_counts[:, None]
    return (by_column + by_row) / 2


def _side_by_side(
    units: Float[np.ndarray, "member date factor"],
) -> Float[np.ndarray, "date column"]:
    return units.transpose(1, 0, 2).reshape(units.shape[1], -1)


def _relative_strength(
    strength: Float[np.ndarray, "row factor member other"], axis: int
) -> Float[np.ndarray, "_ _ _"]:
    """max² / sum along an axis; 0 where all is 0."""
    total = strength.sum(axis=axis)
    return strength.max(axis=axis) ** 2 / np.where(total > 0, total, 1.0)
