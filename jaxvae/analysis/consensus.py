"""Consensus factors of an ensemble: its members' factors aligned with each other and averaged.

Members find their factors in any order, sign and scale. Alignment settles order and sign one-to-one
(Hungarian method) and scale by standardising; what members disagree on beyond that, a rotation for
one, stays visible as a low stability. Leave members that diverged out: factors must be finite.

The average is robust: date by date the interquartile mean over members, so that up to a quarter of
their weight may be arbitrarily wrong there, such as encoders that run away on a date unlike any
they were trained on. It stays a fixed map from the members' factors on a date to the consensus of
that date.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from jaxvae.analysis.matching import assign, matched_totals, pick
from jaxvae.analysis.metrics import CONSTANT_SHARE, standardise_columns

_ROUNDS = 10
MOST_COMPARED, GOLDEN_RATIO = 128, 1.618034
TRIM = 0.25  # of the members' weight, at either end
SLOPE_ROUNDING = 1e-5  # of single precision, in which decoders are differentiated


class Alignment(NamedTuple):
    """How each member's factors map to consensus factors, the second axis.

    Attributes:
        assignment: the member's factor for each consensus factor, −1 where it has none.
        signs: −1 or 1; 0 where it has none.
        weights: its share in the consensus factor, in proportion to |correlation|² times the
            member's quality; over members they sum to 1, or to 0 where no member has the factor.
    """

    assignment: Int[np.ndarray, "member consensus"]
    signs: Float[np.ndarray, "member consensus"]
    weights: Float[np.ndarray, "member consensus"]


class Consensus(NamedTuple):
    """A fixed map from the members' factors on a date to consensus factors, for any dates.

    Attributes:
        alignment: assignment, signs and weights, in the order of the consensus factors.
        location, scale: mean and standard deviation of each member's factors, in the member's own
            order, on the rows aligned on; location moved so that consensus factors have mean 0
            there.
        spread: standard deviation of each average on those rows; 1 where no member has it.
        stability: mean over members of `member_stability` on those rows.
        medoid: the member whose order started the alignment and whose signs the consensus carries.
        trim: share of the weight that the average leaves out at either end; 0 is the weighted mean.
    """

    alignment: Alignment
    location: Float[np.ndarray, "member factor"]
    scale: Float[np.ndarray, "member factor"]
    spread: Float[np.ndarray, " consensus"]
    stability: Float[np.ndarray, " consensus"]
    medoid: int
    trim: float = TRIM


def align_members(
    factors: Float[np.ndarray, "member date factor"],
    active: Bool[np.ndarray, "member factor"] | None = None,
    quality: Float[np.ndarray, " member"] | None = None,
) -> Consensus:
    """Align the members' factors with each other and learn their consensus.

    1. Start from the medoid, the member of the largest q_i Σ_j q_j a_ij, with q the quality and a
       `matching.matched_totals`: one that matches the others (beyond 128 members, a fixed random
       128 of them).
    2. Match each member one-to-one, with signs, to the current consensus.
    3. The consensus becomes the mean of the matched, standardised factors, weighted by quality
       times their |correlation|² with the consensus before. Go to 2 until assignment and signs
       stand still, for at most 10 rounds.
    4. What they settled on is averaged once more, robustly: `trimmed_mean`.

    Args:
        factors: on the rows to learn from (`fit`).
        active: the factors a member uses; others, and constant ones, match nothing and weigh
            nothing. By default all are.
        quality: what a member's vote counts, positive, such as its held-out likelihood. By default
            all are equal. Members that share a space turn its axes differently, and a mean over
            turned axes is none of them; those that describe held-out dates best are turned least.

    Returns:
        The consensus, its factors by stability, the largest first; `by_convention` gives them a
        study's order. A factor that the medoid does not use is not in it: it is constant at 0, with
        stability 0, and stands last.
    """
    units = member_units(factors, active)
    quality = np.ones(len(factors)) if quality is None else quality
    alignment, medoid = align_units(units, quality)
    _, location, scale = standardise_columns(factors)
    average = trimmed_mean(_arranged(units, alignment), alignment.weights, TRIM)
    _, centre, spread = standardise_columns(average)
    location = location + scale * _in_own_order(centre, alignment, location.shape)
    unordered = Consensus(alignment, location, scale, spread, np.zeros_like(spread), medoid)
    found = unordered._replace(stability=member_stability(unordered, factors).mean(axis=0))
    return keep(found, np.argsort(-found.stability, kind="stable"))


def align_units(
    units: Float[np.ndarray, "member date factor"], quality: Float[np.ndarray, " member"]
) -> tuple[Alignment, int]:
    """Steps 1 to 3 of `align_members`.

    Args:
        units: from `member_units`.
        quality: as in `align_members`.

    Returns:
        The alignment, its columns in the medoid's order, and the medoid.
    """
    medoid = _medoid(units, quality)
    alignment = _align(units, units[medoid], quality)
    for _ in range(_ROUNDS):
        last = alignment
        mean = np.einsum("mrf,mf->rf", _arranged(units, alignment), alignment.weights)
        alignment = _align(units, mean, quality)
        if all(map(np.array_equal, last[:2], alignment[:2])):
            break
    flips = np.where(alignment.signs[medoid] < 0, -1.0, 1.0)
    return alignment._replace(signs=alignment.signs * flips), medoid


def consensus_factors(
    consensus: Consensus, factors: Float[np.ndarray, "member date factor"]
) -> Float[np.ndarray, "date consensus"]:
    """Consensus factors on any dates, new ones too.

    Standardised so that they have mean 0 and variance 1 on the rows aligned on.

    Args:
        consensus: as `align_members` leaves it, or `by_convention`.
        factors: of the members aligned, in their order.
    """
    aligned = aligned_factors(consensus, factors)
    average = trimmed_mean(aligned, consensus.alignment.weights, consensus.trim)
    return average / consensus.spread


def trimmed_mean(
    columns: Float[np.ndarray, "member row consensus"],
    weights: Float[np.ndarray, "member consensus"],
    trim: float,
) -> Float[np.ndarray, "row consensus"]:
    """Weighted mean over members of what lies between the weighted quantiles `trim` and 1 − trim.

    With members in the order of their values, v_1 ≤ v_2 ≤ …, and C_i the weight of the first i,

        Σ_i o_i v_i / (1 − 2 trim),    o_i = the part of [C_{i−1}, C_i] inside [trim, 1 − trim]

    The interquartile mean at ¼: against Gaussian disagreement about as precise as the mean (its
    variance is 1.2 times as large, a median's 1.6 times), and unmoved by a quarter of the members.

    Args:
        columns: each member's, aligned.
        weights: not negative; by column they sum to 1, or to 0, where the mean is 0.
        trim: from 0, the weighted mean, to below ½, towards the weighted median.

    Source: Tukey (1960); Huber and Ronchetti (2009), "Robust statistics", chapter 3.
    """
    order = np.argsort(columns, axis=0)
    ordered = np.take_along_axis(columns, order, axis=0)
    shares = np.take_along_axis(np.broadcast_to(weights[:, None], columns.shape), order, axis=0)
    reached = np.cumsum(shares, axis=0)
    inside = np.clip(reached, trim, 1 - trim) - np.clip(reached - shares, trim, 1 - trim)
    return (inside * ordered).sum(axis=0) / (1 - 2 * trim)


def aligned_factors(
    consensus: Consensus, factors: Float[np.ndarray, "member date factor"]
) -> Float[np.ndarray, "member date consensus"]:
    """Each member's factors in the order and sign of the consensus, in standard units.

    A consensus factor that a member does not have is 0 there.

    Args:
        consensus: as `align_members` leaves it.
        factors: of the members aligned, in their order.
    """
    units = (factors - consensus.location[:, None]) / consensus.scale[:, None]
    return _arranged(units, consensus.alignment)


def consensus_loadings(
    consensus: Consensus, loadings: Float[np.ndarray, "member asset factor"]
) -> Float[np.ndarray, "asset consensus"]:
    """Average of the members' loadings, aligned, per unit of a consensus factor; robust as well.

    A member's loading is per unit of its own factor; times that factor's standard deviation it is
    per standard deviation, which is the consensus factor's unit.

    Args:
        consensus: as `align_members` leaves it.
        loadings: returns per unit of each member's factor.

    Returns:
        Loadings in units of the returns per standard deviation of a consensus factor.
    """
    per_deviation = _arranged(loadings * consensus.scale[:, None], consensus.alignment)
    return trimmed_mean(per_deviation, consensus.alignment.weights, consensus.trim)


def convention(
    loadings: Float[np.ndarray, "asset factor"], scale: Float[np.ndarray, " asset"]
) -> tuple[Int[np.ndarray, " factor"], Float[np.ndarray, " factor"]]:
    """The order and the signs in which factors are reported, since the data leave both open.

    Order: descending Σ_a loading², the variance of standardised returns that a factor of variance 1
    explains. Sign: the mean loading is positive, so that the equally weighted market rises with the
    factor; where that mean is 0 within rounding, the largest loading is positive, of equals the
    first. For a nonlinear decoder give mean slopes: under Gaussian factors those are the loadings
    of its best linear fit (Stein 1981).

    Args:
        loadings: returns in standard units per standard deviation of a factor.
        scale: standard deviations of the returns; signs are of loadings in the returns' own units.

    Returns:
        The factors' places in the order reported, and −1 or 1 for each factor of that order.
    """
    order = np.argsort(-(loadings**2).sum(axis=0), kind="stable")
    ordered = (loadings * scale[:, None])[:, order]
    size = np.abs(ordered)
    places = (size >= (1 - SLOPE_ROUNDING) * size.max(axis=0)).argmax(axis=0)
    largest = ordered[places, np.arange(len(order))]
    mean = ordered.mean(axis=0)
    decides = np.where(np.abs(mean) > SLOPE_ROUNDING * size.mean(axis=0), mean, largest)
    return order, np.where(decides < 0, -1.0, 1.0)


def by_convention(
    consensus: Consensus,
    loadings: Float[np.ndarray, "member asset factor"],
    scale: Float[np.ndarray, " asset"],
) -> Consensus:
    """The consensus in the order and with the signs of `convention` of its own loadings.

    Args:
        consensus: as `align_members` leaves it.
        loadings: of the members aligned: returns in standard units per unit of each one's factor.
        scale: standard deviations of the returns.

    Returns:
        The same factors in another order, some turned.
    """
    order, signs = convention(consensus_loadings(consensus, loadings), scale)
    ordered = keep(consensus, order)
    alignment = ordered.alignment
    return ordered._replace(alignment=alignment._replace(signs=alignment.signs * signs))


def member_stability(
    consensus: Consensus, factors: Float[np.ndarray, "member date factor"]
) -> Float[np.ndarray, "member consensus"]:
    """Correlation of each member's matched factor with the weighted mean of all other members'.

    Leaving the member out keeps it from praising itself; the mean is not trimmed, so that one can
    be taken out of it. Signs are those of the alignment, so that pure noise scores about 0 on new
    rows (somewhat more on those aligned on) and a factor that turns over there scores below.
    Members that share a space but not its axes still score about `nulls.rotation_null`. 0 where
    the member does not have the factor or no other does, hence with a single member.

    Args:
        consensus: as `align_members` leaves it.
        factors: of the members aligned, on any rows.
    """
    units = (factors - consensus.location[:, None]) / consensus.scale[:, None]
    return stability_of_units(units, consensus.alignment)


def stability_of_units(
    units: Float[np.ndarray, "member date factor"], alignment: Alignment
) -> Float[np.ndarray, "member consensus"]:
    """`member_stability` of factors in standard units, whatever their means.

    Args:
        units: from `member_units`, on any rows.
        alignment: of these members.
    """
    aligned = _arranged(units, alignment)
    aligned = aligned - aligned.mean(axis=1, keepdims=True)
    weighted = aligned * alignment.weights[:, None]
    total = weighted.sum(axis=0)
    others = total - weighted
    own_scale, scale = aligned.std(axis=1), others.std(axis=1)
    known = (own_scale > CONSTANT_SHARE) & (scale > CONSTANT_SHARE * total.std(axis=0))
    covariance = (aligned * others).mean(axis=1)
    return np.where(known, covariance / np.where(known, own_scale * scale, 1.0), 0.0)


def stability(
    consensus: Consensus,
    factors: Float[np.ndarray, "member date factor"],
    groups: Shaped[np.ndarray, " member"],
) -> tuple[Shaped[np.ndarray, " group"], Float[np.ndarray, "group consensus"]]:
    """Mean `member_stability` of each group of members, such as the seeds at one beta.

    Args:
        consensus: as `align_members` leaves it.
        factors: of the members aligned, on any rows.
        groups: a label a member.

    Returns:
        The labels, sorted, and group × factor. Members without the factor count 0.
    """
    by_member = member_stability(consensus, factors)
    labels = np.unique(groups)
    return labels, np.stack([by_member[groups == label].mean(axis=0) for label in labels])


def keep(consensus: Consensus, kept: Int[np.ndarray, " kept"]) -> Consensus:
    """The consensus of some of its factors, in the order given.

    Args:
        consensus: as `align_members` leaves it.
        kept: places of the factors.
    """
    return consensus._replace(
        alignment=Alignment(*(field[:, kept] for field in consensus.alignment)),
        spread=consensus.spread[kept],
        stability=consensus.stability[kept],
    )


def member_units(
    factors: Float[np.ndarray, "member date factor"],
    active: Bool[np.ndarray, "member factor"] | None,
) -> Float[np.ndarray, "member date factor"]:
    """Members' factors in standard units, zeros where one is constant or not active.

    Args:
        factors: of every member.
        active: the factors a member uses; None for all.
    """
    units, _, _ = standardise_columns(factors)
    return units if active is None else units * active[:, None]


def _medoid(
    units: Float[np.ndarray, "member date factor"], quality: Float[np.ndarray, " member"]
) -> int:
    """The good member that matches good ones best; at most 128 compared, so that cost stays
    linear."""
    if len(units) <= MOST_COMPARED:
        return int((quality * (matched_totals(units, units) @ quality)).argmax())
    # Spread by the golden ratio, because an even stride could meet one beta of the grid alone.
    compared = np.unique((len(units) * (np.arange(MOST_COMPARED) / GOLDEN_RATIO % 1.0)).astype(int))
    return int((quality * (matched_totals(units, units[compared]) @ quality[compared])).argmax())


def _align(
    units: Float[np.ndarray, "member date factor"],
    target: Float[np.ndarray, "date consensus"],
    quality: Float[np.ndarray, " member"],
) -> Alignment:
    target_units, _, _ = standardise_columns(target)
    correlations = units.transpose(0, 2, 1) @ target_units / len(target)
    assignment = assign(np.abs(correlations))
    matched = pick(correlations, assignment)
    votes = matched**2 * quality[:, None]
    total = votes.sum(axis=0)
    return Alignment(assignment, np.sign(matched), votes / np.where(total > 0, total, 1.0))


def _arranged(
    columns: Float[np.ndarray, "member row factor"], alignment: Alignment
) -> Float[np.ndarray, "member row consensus"]:
    """Each member's columns in consensus order, times their signs; zeros where it has none."""
    chosen = np.maximum(alignment.assignment, 0)[:, None]
    return np.take_along_axis(columns, chosen, axis=2) * alignment.signs[:, None]


def _in_own_order(
    values: Float[np.ndarray, " consensus"], alignment: Alignment, shape: tuple[int, int]
) -> Float[np.ndarray, "member factor"]:
    """A value a consensus factor, at each member's factor for it, times its sign; 0 elsewhere."""
    placed = np.zeros(shape)
    member, factor = np.nonzero(alignment.assignment >= 0)
    own = alignment.assignment[member, factor]
    placed[member, own] = alignment.signs[member, factor] * values[factor]
    return placed
