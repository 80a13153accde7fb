"""Are losses beyond a value at risk as frequent as they should be, and do they come in clusters?

A breach is a date whose return lies below the forecast quantile. Under a right forecast of the
quantile of order p breaches are independent draws, each with probability p. The tests are
likelihood ratios against that; their p-values are asymptotic (chi-squared).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import xlogy
from scipy.stats import chi2

from jaxvae.errors import OptionError

FILTER_WINDOW, LEAST_WINDOW = 500, 250
ADAPTATION = 0.1  # of adaptive quantiles, γ: least pinball loss of 0, .05 … .8 on three panels


class Ratio(NamedTuple):
    """A likelihood-ratio test.

    Attributes:
        statistic: twice the gain in log-likelihood.
        p_value: under χ².
    """

    statistic: float
    p_value: float


class Coverage(NamedTuple):
    """How a value at risk was kept.

    Attributes:
        rate: share of dates that breached it; p is what it should be.
        unconditional: Kupiec's test of the rate, 1 degree of freedom.
        independence: Christoffersen's, whether a breach makes one on the next date likelier, 1
            degree.
        conditional: both at once, 2 degrees.
    """

    rate: float
    unconditional: Ratio
    independence: Ratio
    conditional: Ratio


def coverage(breaches: Bool[np.ndarray, " date"], order: float) -> Coverage:
    """Kupiec's and Christoffersen's tests of breaches that should come with probability p = order.

    With x breaches on n dates, π = x/n, and n_ij dates in state j (1: breach) after state i,

        LR_uc  = 2 [x ln π/p + (n - x) ln (1 - π)/(1 - p)]                           ~ χ²(1)
        LR_ind = 2 [Σ_ij n_ij ln π_ij - Σ_j n_·j ln π_·j],  π_ij = n_ij/n_i·         ~ χ²(1)
        LR_cc  = LR_uc + LR_ind                                                      ~ χ²(2)

    π_·j is j's share in the n - 1 dates that have one before them. A state that never occurred
    adds nothing (0 ln 0 = 0).

    Args:
        breaches: whether each date's return fell below its quantile, oldest first.
        order: p.

    Raises:
        OptionError: p is no probability between 0 and 1, or there are fewer than two dates.

    Source: Kupiec (1995), "Techniques for verifying the accuracy of risk measurement models";
    Christoffersen (1998), "Evaluating interval forecasts". He conditions LR_uc on the first date
    too, which differs by one date in n; here the rate is that of all dates, as in Kupiec's test.
    """
    if not 0 < order < 1:
        raise OptionError("order", f"{order} is no probability between 0 and 1")
    if len(breaches) < 2:
        raise OptionError("breaches", f"{len(breaches)} date cannot be tested; at least 2")
    hits = breaches.astype(int)
    rate = float(hits.mean())
    expected = np.array([1 - order, order])
    unconditional = _gain(np.bincount(hits, minlength=2), expected)
    moves = np.bincount(2 * hits[:-1] + hits[1:], minlength=4).reshape(2, 2)
    after = moves.sum(axis=0) / moves.sum()
    independence = sum(_gain(row, after) for row in moves)
    return Coverage(
        rate,
        _ratio(unconditional, 1),
        _ratio(independence, 1),
        _ratio(unconditional + independence, 2),
    )


def filtered_quantiles(
    returns: Float[np.ndarray, " date"],
    mean: Float[np.ndarray, " row"],
    std: Float[np.ndarray, " row"],
    orders: Sequence[float],
    window: int = FILTER_WINDOW,
    least: int = LEAST_WINDOW,
) -> Float[np.ndarray, "order row"]:
    """Quantiles of a portfolio's return by filtered historical simulation (Barone-Adesi,
    Giannopoulos & Vosper 1999), one step ahead:

        q_t = m_t + s_t · quantile of the last `window` (r_u - m_u)/s_u, u < t

    with m and s the forecasts made for each date. The model says how volatile a date is, the
    portfolio's own past how far its returns then reach: nothing is assumed of its tails, nor that
    the forecasts have the right level. Dates on which the return is not known (NaN) are passed
    over; NaN where fewer than `least` are known. There may be rows beyond the last return, for the
    dates after.

    Args:
        returns: x_t, the portfolio's; NaN where one is not known.
        mean, std: m_t and s_t, forecast from the dates before.
        orders: of the quantiles.
        window: how many of the latest residuals count.
        least: fewer of them give NaN.
    """
    known = np.flatnonzero(np.isfinite(returns))
    scaled = (returns[known] - mean[known]) / std[known]
    found = np.full((len(orders), len(mean)), np.nan)
    for t in range(len(mean)):
        before = int(np.searchsorted(known, t))
        if before >= least:
            past = scaled[max(0, before - window) : before]
            found[:, t] = mean[t] + std[t] * np.quantile(past, orders)
    return found


def adaptive_quantiles(
    returns: Float[np.ndarray, " date"],
    draws: Float[np.ndarray, "draw row"],
    orders: Sequence[float],
    rate: float = ADAPTATION,
) -> Float[np.ndarray, "order row"]:
    """Quantiles of one-step forecasts, of an order that follows how often they were breached
    (adaptive conformal inference, Gibbs & Candès 2021), here in logarithms so that one rate serves
    all orders and levels stay positive:

        q_t = the quantile of order α_t of date t's draws,    α_1 = p
        ln α_{t+1} = ln α_t + γ (p - 1[x_t < q_t])

    Each breach lowers the next dates' quantile, each date without one raises it a little, so that
    over long spans the share of breaches is p whatever the forecasts lack: by how much it differs
    after n dates is (ln α_{n+1} - ln α_1) / (γ n). With γ = 0 the forecasts' own quantiles.

    Args:
        returns: NaN where one is not known, which moves nothing.
        draws: of every date's return, forecast from the dates before; there may be rows beyond the
            last return.
        orders: p, below one half.
        rate: γ.
    """
    levels, found = np.log(orders), np.empty((len(orders), draws.shape[1]))
    targets = np.asarray(orders)
    for t in range(draws.shape[1]):
        found[:, t] = np.quantile(draws[:, t], np.exp(levels))
        if t < len(returns) and np.isfinite(returns[t]):
            levels = levels + rate * (targets - (returns[t] < found[:, t]))
            levels = np.clip(levels, np.log(1.0 / len(draws)), np.log(0.5))
    return found


def autocorrelation(
    series: Float[np.ndarray, "date asset"], lags: int
) -> Float[np.ndarray, "lag asset"]:
    """Sample autocorrelation of each column at lags 1 … `lags`, Σ c_t c_{t-l} / Σ c_t², with c the
    column less its mean (Box & Jenkins 1970); NaN where a column does not vary.

    Args:
        series: a column each.
        lags: the longest.
    """
    centred = series - series.mean(axis=0)
    total = (centred**2).sum(axis=0)
    total = np.where(total > 0.0, total, np.nan)
    return np.stack(
        [(centred[lag:] * centred[:-lag]).sum(axis=0) / total for lag in range(1, lags + 1)]
    )


def _gain(counts: np.ndarray, expected: np.ndarray) -> float:
    """2 Σ n_j ln (share_j / expected_j): what the shares themselves gain over those expected."""
    total = counts.sum()
    if total == 0:
        return 0.0
    return float(2 * (xlogy(counts, counts / total) - xlogy(counts, expected)).sum())


def _ratio(statistic: float, degrees: int) -> Ratio:
    return Ratio(max(statistic, 0.0), float(chi2.sf(max(statistic, 0.0), degrees)))
