"""Synthetic panels with planted factors: returns and the truth behind them.

All panels start from the linear factor model r = f Bᵀ + e with sector structure in B; the nonlinear
one adds a curve of each factor, the regime one lets a known index move their variances. Draws come
from NumPy's legacy generator, whose stream never changes, so a seed means the same panel
everywhere.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxvae.data.panel import Panel, Reference
from jaxvae.errors import LARGEST_SEED, OptionError, check_option

VOLATILITIES = (0.02, 0.015, 0.01, 0.008, 0.005)
VOLATILITY_RATIO = 0.5**0.5  # the mean ratio of the five above
PERSISTENCE, INNOVATION = 0.1, 0.95
ASSET_SPREAD = 0.3  # of loadings around their sector's
NOISE_RANGE = (0.01, 0.03)
INDEX, INDEX_PERSISTENCE = "volatility index", 0.9
STEEPEST = 1.5  # slope of a factor's log-variance in the index
REGIME_VOLATILITY = 0.01


class Truth(NamedTuple):
    """What a synthetic panel was drawn from: r = E[r | f] + e, e ~ N(0, diag(noise_scale²)).

    factors: f, as fractions a date.
    loadings: B.
    curvature: C, the loadings on the factors' curves; None where the panel is linear.
    volatilities: the scale v of each factor's draws. The factors' recursion leaves a stationary
        standard deviation of √(.95² / (1 − .1²)) v ≈ .955 v.
    noise_scale: standard deviation of each asset's noise.
    sectors: each asset's sector, counted from 0.
    response: slope of each factor's log-variance in the index; None where there is no index.
    """

    factors: Float[np.ndarray, "date factor"]
    loadings: Float[np.ndarray, "asset factor"]
    curvature: Float[np.ndarray, "asset factor"] | None
    volatilities: Float[np.ndarray, " factor"]
    noise_scale: Float[np.ndarray, " asset"]
    sectors: Int[np.ndarray, " asset"]
    response: Float[np.ndarray, " factor"] | None = None


def linear_panel(
    seed: int = 42,
    *,
    n_dates: int = 1000,
    n_assets: int = 100,
    n_factors: int = 5,
    n_sectors: int = 10,
) -> tuple[Panel, Truth]:
    """A panel from the linear factor model r = f Bᵀ + e, and its truth.

        f_0 = v ε_0,  f_t = .1 f_{t−1} + .95 v ε_t      factors
        B_i = S_{s(i)} + .3 η_i                          a sector's loadings, and the asset's own
        e_ti ~ N(0, w_i²),  w_i ~ U(.01, .03)            noise

    with ε, S, η standard normal and s(i) a uniform draw of the sector. The five volatilities v are
    .02, .015, .01, .008, .005; further ones go on geometrically, each 1/√2 of the one before.

    Args:
        seed: of NumPy's legacy generator, 0 to 2³² − 1.
        n_dates: business days from 2020-01-01, at least 2.
        n_assets: of the panel.
        n_factors: at most n_assets.
        n_sectors: that assets are drawn from.

    Returns:
        The panel (daily returns as fractions, the planted factors and loadings as its reference)
        and the truth.

    Raises:
        OptionError: an argument is out of range.
    """
    _, truth, noise = _draw_linear(seed, n_dates, n_assets, n_factors, n_sectors)
    return _panel("linear", truth, noise), truth


def nonlinear_panel(
    seed: int = 42,
    *,
    n_dates: int = 1000,
    n_assets: int = 100,
    n_factors: int = 5,
    n_sectors: int = 10,
) -> tuple[Panel, Truth]:
    """A panel whose returns bend with the factors, and its truth.

        r = f Bᵀ + [v (u² − 1) / √2] Cᵀ + e,   u = f / v
        C_i = D_{s(i)} + .3 ζ_i                              D, ζ standard normal

    Everything but C is drawn first and as in `linear_panel`, so that one seed plants the same
    factors, loadings and noise in both; C shares B's sectors. Were u standard normal, the curve
    would have the mean 0 and the variance v² of an independent factor draw, uncorrelated with f;
    u's variance is .95² / .99 ≈ .91, so the curve's mean is slightly negative.

    Args:
        seed: of NumPy's legacy generator, 0 to 2³² − 1.
        n_dates: business days from 2020-01-01, at least 2.
        n_assets: of the panel.
        n_factors: at most n_assets.
        n_sectors: that assets are drawn from.

    Returns:
        The panel and the truth, as `linear_panel` does.

    Raises:
        OptionError: an argument is out of range.
    """
    random, truth, noise = _draw_linear(seed, n_dates, n_assets, n_factors, n_sectors)
    of_sectors = random.randn(n_sectors, n_factors)
    truth = truth._replace(curvature=_draw_loadings(random, of_sectors, truth.sectors))
    return _panel("nonlinear", truth, noise), truth


def volatility_index_panel(
    seed: int = 42,
    *,
    n_dates: int = 1000,
    n_assets: int = 100,
    n_factors: int = 5,
    n_sectors: int = 10,
    varying: bool = True,
) -> tuple[Panel, Truth]:
    """A panel whose factors' variances move with a known index, and its truth.

        u_t = .9 u_{t−1} + √(1 − .9²) ε_t               the index, a covariate of the panel
        f_tk ~ N(0, v² exp(b_k u_t − b_k²/2)),  v = .01   factors, independent

    with slopes b evenly from −1.5 to 1.5; loadings, sectors and noise are drawn as those of
    `linear_panel`. All factors have the variance v² over time, so nothing but the index tells one
    rotation of them from another; given the index they are identified (Khemakhem et al. 2020).

    Args:
        seed: of NumPy's legacy generator, 0 to 2³² − 1.
        n_dates: business days from 2020-01-01, at least 2.
        n_assets: of the panel.
        n_factors: at most n_assets.
        n_sectors: that assets are drawn from.
        varying: false sets all slopes to 0: the index then says nothing, and no rotation is told
            apart.

    Returns:
        The panel and the truth, as `linear_panel` does.

    Raises:
        OptionError: an argument is out of range.
    """
    random = _generator(seed, n_dates, n_assets, n_factors, n_sectors)
    shocks = random.randn(n_dates)
    index = shocks.copy()
    for date in range(1, n_dates):
        step = np.sqrt(1 - INDEX_PERSISTENCE**2) * shocks[date]
        index[date] = INDEX_PERSISTENCE * index[date - 1] + step
    response = np.linspace(-STEEPEST, STEEPEST, n_factors) * varying
    log_scale = 0.5 * (index[:, None] * response - response**2 / 2)
    factors = REGIME_VOLATILITY * np.exp(log_scale) * random.randn(n_dates, n_factors)
    sectors = random.choice(n_sectors, n_assets)
    loadings = _draw_loadings(random, random.randn(n_sectors, n_factors), sectors)
    noise_scale = random.uniform(*NOISE_RANGE, n_assets)
    noise = random.randn(n_dates, n_assets) * noise_scale
    volatilities = np.full(n_factors, REGIME_VOLATILITY)
    truth = Truth(factors, loadings, None, volatilities, noise_scale, sectors, response)
    panel = _panel("regime", truth, noise)
    return replace(panel, covariates=pd.DataFrame({INDEX: index}, index=panel.dates)), truth


def conditional_mean(
    truth: Truth, factors: Float[np.ndarray, "date factor"]
) -> Float[np.ndarray, "date asset"]:
    """E[r | f] = f Bᵀ + [v (u² − 1) / √2] Cᵀ with u = f / v; without the curve where C is None.

    factors: values of the planted factors, in their own units (fractions a date), on any number
        of dates.

    Returns expected returns, as fractions.
    """
    linear = factors @ truth.loadings.T
    if truth.curvature is None:
        return linear
    u = factors / truth.volatilities
    return linear + (truth.volatilities * (u**2 - 1) / np.sqrt(2)) @ truth.curvature.T


def _generator(
    seed: int, n_dates: int, n_assets: int, n_factors: int, n_sectors: int
) -> np.random.RandomState:
    """NumPy's legacy generator for a panel of these sizes. Raises OptionError."""
    check_option("seed", seed, least=0, most=LARGEST_SEED)
    check_option("n_dates", n_dates, least=2)
    check_option("n_assets", n_assets, least=1)
    check_option("n_factors", n_factors, least=1)
    check_option("n_sectors", n_sectors, least=1)
    if n_factors > n_assets:
        raise OptionError(
            "n_factors", f"{n_factors} is too large; at most {n_assets}, as many as assets"
        )
    return np.random.RandomState(seed)


def _draw_linear(
    seed: int, n_dates: int, n_assets: int, n_factors: int, n_sectors: int
) -> tuple[np.random.RandomState, Truth, Float[np.ndarray, "date asset"]]:
    """The linear model's truth and noise, and the generator that goes on from there.

    The order of the draws is part of the contract.
    """
    random = _generator(seed, n_dates, n_assets, n_factors, n_sectors)
    volatilities = _volatilities(n_factors)
    factors = random.randn(n_dates, n_factors) * volatilities
    for date in range(1, n_dates):
        factors[date] = PERSISTENCE * factors[date - 1] + INNOVATION * factors[date]
    of_sectors = random.randn(n_sectors, n_factors)
    sectors = random.choice(n_sectors, n_assets)
    loadings = _draw_loadings(random, of_sectors, sectors)
    noise_scale = random.uniform(*NOISE_RANGE, n_assets)
    noise = random.randn(n_dates, n_assets) * noise_scale
    return random, Truth(factors, loadings, None, volatilities, noise_scale, sectors), noise


def _draw_loadings(
    random: np.random.RandomState,
    of_sectors: Float[np.ndarray, "sector factor"],
    sectors: Int[np.ndarray, " asset"],
) -> Float[np.ndarray, "asset factor"]:
    return of_sectors[sectors] + ASSET_SPREAD * random.randn(len(sectors), of_sectors.shape[1])


def _volatilities(n_factors: int) -> Float[np.ndarray, " factor"]:
    n_beyond = max(0, n_factors - len(VOLATILITIES))
    beyond = VOLATILITIES[-1] * VOLATILITY_RATIO ** np.arange(1, n_beyond + 1)
    return np.concatenate([VOLATILITIES, beyond])[:n_factors]


def _panel(name: str, truth: Truth, noise: Float[np.ndarray, "date asset"]) -> Panel:
    n_dates, n_assets = noise.shape
    dates = pd.date_range("2020-01-01", periods=n_dates, freq="B")
    assets = tuple(f"STOCK_{asset:03d}" for asset in range(n_assets))
    columns = [f"factor {factor}" for factor in range(1, truth.factors.shape[1] + 1)]
    return Panel(
        values=conditional_mean(truth, truth.factors) + noise,
        dates=dates,
        assets=assets,
        sectors=tuple(f"sector {sector}" for sector in truth.sectors),
        reference=Reference(
            factors=pd.DataFrame(truth.factors, index=dates, columns=columns),
            loadings=pd.DataFrame(truth.loadings, index=list(assets), columns=columns),
            planted=True,
        ),
        name=name,
        notes=(
            "This panel is synthetic: its factors were planted, and nothing in it is a market.",
        ),
    )
