"""A synthetic panel whose volatility has regimes."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxvae.data.panel import Panel
from jaxvae.data.synthetic import Truth, linear_panel

SCALES = (0.6, 1.8)
STAY = (0.98, 0.95)
NOTE = "Its volatility has two regimes, calm and wild, that take turns at random."


class Regimes(NamedTuple):
    """What the volatility of a panel of regimes was drawn from.

    states: the regime of each date, 0 calm, 1 wild.
    scales: what each regime multiplies returns by.
    transitions: probability of a regime (column) on the date after another (row).
    """

    states: Int[np.ndarray, " date"]
    scales: Float[np.ndarray, " regime"]
    transitions: Float[np.ndarray, "regime regime"]


def regimes_panel(
    seed: int = 42,
    *,
    n_dates: int = 2000,
    n_assets: int = 20,
    n_factors: int = 3,
    n_sectors: int = 5,
) -> tuple[Panel, Truth, Regimes]:
    """The linear panel with a volatility that jumps between two regimes (Hamilton 1989):

        r_t = c_{s(t)} (f_t Bᵀ + e_t),    c = (.6, 1.8),    P(s_t = s_{t-1}) = .98 calm, .95 wild

    with f, B and e drawn as by `linear_panel` of the same arguments, and the chain s from its
    stationary law. The planted factors are c f.

    Args:
        seed: of NumPy's legacy generator, 0 to 2³² − 1.
        n_dates: business days from 2020-01-01, at least 2.
        n_assets: of the panel.
        n_factors: at most n_assets.
        n_sectors: that assets are drawn from.

    Returns:
        The panel, the linear model's truth (`factors` without c) and the regimes.

    Raises:
        OptionError: an argument is out of range.
    """
    calm, truth = linear_panel(
        seed, n_dates=n_dates, n_assets=n_assets, n_factors=n_factors, n_sectors=n_sectors
    )
    stay = np.array(STAY)
    transitions = np.array([[stay[0], 1 - stay[0]], [1 - stay[1], stay[1]]])
    states = _chain(np.random.RandomState([seed, 1]), transitions, n_dates)
    regimes = Regimes(states, np.array(SCALES), transitions)
    moves = regimes.scales[states][:, None]
    assert calm.reference is not None
    reference = calm.reference._replace(factors=calm.reference.factors * moves)
    wild = replace(calm, values=calm.values * moves, reference=reference, name="regimes")
    return wild.with_notes(NOTE), truth, regimes


def stationary(transitions: Float[np.ndarray, "regime regime"]) -> Float[np.ndarray, " regime"]:
    """The chain's stationary law, π = π P."""
    values, vectors = np.linalg.eig(transitions.T)
    law = np.real(vectors[:, np.argmax(np.real(values))])
    return law / law.sum()


def _chain(
    random: np.random.RandomState, transitions: Float[np.ndarray, "regime regime"], n_dates: int
) -> Int[np.ndarray, " date"]:
    draws = random.uniform(size=n_dates)
    states = np.empty(n_dates, int)
    law = stationary(transitions)
    for date, draw in enumerate(draws):
        states[date] = int(draw > law[0])
        law = transitions[states[date]]
    return states
