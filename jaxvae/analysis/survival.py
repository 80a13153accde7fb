"""Which consensus factors are kept: those that most members have and that are no accident."""

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxvae.analysis.consensus import Consensus, align_units, member_units, stability_of_units

LEAST_PRESENCE = 0.5
STABLE = 0.9
CHANCE_DRAWS = 19  # one draw more exceeds the largest of them in 1 case of 20


def presence(
    consensus: Consensus, among: Bool[np.ndarray, " member"]
) -> Float[np.ndarray, " consensus"]:
    """Share of some members that have each consensus factor.

    Args:
        consensus: from `consensus.align_members`.
        among: which members are counted.
    """
    return (consensus.alignment.assignment[among] >= 0).mean(axis=0)


def survives(
    presence: Float[np.ndarray, " consensus"],
    stability: Float[np.ndarray, " consensus"],
    chance: float,
) -> Bool[np.ndarray, " consensus"]:
    """Whether at least half of the members have the factor and its stability is above chance.

    All three are of the members at the chosen β: larger betas lose weak factors by design, and they
    should not vote them out.

    Args:
        presence: from `presence`.
        stability: of each consensus factor.
        chance: `chance_stability`, or −1 where there are too few members to tell: then presence
            alone decides.
    """
    return (presence >= LEAST_PRESENCE) & (stability > chance)


def is_stable(stability: Float[np.ndarray, " factor"]) -> Bool[np.ndarray, " factor"]:
    """Whether factors are stable over seeds, as everything that is said of them means it: a
    stability of at least .9, rounded to the two places that are printed.

    Args:
        stability: of each factor, over seeds.
    """
    return np.round(stability, 2) >= STABLE


def chance_stability(
    rng: np.random.Generator,
    factors: Float[np.ndarray, "member date factor"],
    active: Bool[np.ndarray, "member factor"],
    quality: Float[np.ndarray, " member"],
) -> float:
    """The stability that alignment finds where members have nothing in common.

    Each of 19 draws shifts every member's factors in time by a circular shift of its own, no two
    closer than half a member's share of the dates, which keeps what is within a member and breaks
    what is between them; aligns them anew, and takes the largest stability of a factor. The level
    is the largest draw: members that are independent reach beyond it in 1 case of 20, with any of
    their factors.

    Args:
        rng: source of the shifts.
        factors, active, quality: as in `align_members`, on the rows aligned on.

    Returns:
        The level; −1 for fewer than two members, whose stability says nothing.
    """
    n_members, n_dates, _ = factors.shape
    if n_members < 2:
        return -1.0
    share = n_dates / n_members
    shifts = [
        ((rng.permutation(n_members) + 0.5 * rng.random(n_members)) * share).astype(int)
        for _ in range(CHANCE_DRAWS)
    ]
    units = member_units(factors, active)
    return max(_shifted_stability(units, quality, draw) for draw in shifts)


def _shifted_stability(
    units: Float[np.ndarray, "member date factor"],
    quality: Float[np.ndarray, " member"],
    shifts: Int[np.ndarray, " member"],
) -> float:
    n_members, n_dates, _ = units.shape
    rows = (np.arange(n_dates) - shifts[:, None]) % n_dates
    shifted = units[np.arange(n_members)[:, None], rows]
    alignment, _ = align_units(shifted, quality)
    return float(stability_of_units(shifted, alignment).mean(axis=0).max())
