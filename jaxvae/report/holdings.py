"""What a study means for a holder: the figure of value at risk, the tables of assets, pairs,
sectors and the portfolios that stand for factors."""

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvae.report import draw
from jaxvae.report.content import Grid
from jaxvae.report.results import StudyResults
from jaxvae.report.text import NONE, counted, number, numbers, percent, signed

PERCENTS = (5, 1)  # of the value at risk, in percent
QUANTILES = {"var": "The model’s own quantile", "filtered_var": "Filtered historical simulation"}
_MOST_ASSETS = 24  # in the table of assets; of more, those at both ends
EXTREMES = 10
LARGEST_WEIGHTS = 3
REJECTED, SMALLEST_P = 0.05, 0.001


def risk_figure(study: StudyResults) -> Figure:
    """The portfolio of equal weights on the test dates beside its value at risk; for a model with a
    memory its volatility and the fan of the dates that follow, too."""
    table, fan = study.risk, study.arrays.get("fan")
    if fan is None:
        figure = draw.new_figure(3.3)
        _draw_breaches(figure.subplots(), table)
    else:
        figure, (upper, lower) = draw.stacked(3.0, 2.9)
        _draw_breaches(upper.subplots(), table)
        path, ahead = lower.subplots(1, 2, width_ratios=(1.6, 1.0))
        _draw_volatility(path, table)
        _draw_fan(ahead, 100 * fan)
    rates = {
        order: study.metric("vae_ensemble", f"var_{order}_breaches", "test") for order in PERCENTS
    }
    known = counted(int(table.portfolio.notna().sum()), "test date")
    message = f"The portfolio of equal weights is known on {known}: too few to judge its risk"
    if np.isfinite([*rates.values()]).all():
        shares = " and ".join(f"at {n} % on {percent(rate, 1)}" for n, rate in rates.items())
        message = f"The portfolio of equal weights fell below its value at risk {shares} of {known}"
    return draw.set_message(figure, message)


def _draw_breaches(axes: Axes, table: pd.DataFrame) -> None:
    returns, dates = 100 * table.portfolio, table.index
    draw.tidy(axes, "", "return, %", "Returns on the test dates, and what was forecast before them")
    size = float(np.clip(900 / len(table), 1.0, 4.0))
    axes.plot(dates, returns, ".", color=draw.TRUTH, ms=size, label="return")
    for order, colour in zip(PERCENTS, (draw.PCA, draw.ALARM), strict=True):
        level = 100 * table[f"var_{order}"]
        axes.plot(dates, level, color=colour, lw=1.0, label=f"value at risk, {order} %")
        below = returns < level
        axes.plot(dates[below], returns[below], "o", color=colour, ms=3.2)
    draw.date_axis(axes, dates)
    axes.legend(frameon=False, fontsize=draw.SMALL, loc="upper left", ncols=3)
    axes.margins(y=0.18)


def _draw_volatility(axes: Axes, table: pd.DataFrame) -> None:
    dates, sizes = table.index, 100 * table.portfolio.abs()
    draw.tidy(axes, "", "% a date", "Volatility forecast for each date")
    axes.plot(dates, sizes, ".", color=draw.TRUTH, ms=2, label="|return|")
    axes.plot(dates, 100 * table["std"], color=draw.VAE, lw=1.2, label="volatility")
    axes.legend(frameon=False, fontsize=draw.SMALL, loc="upper left", ncols=2)
    axes.set_ylim(bottom=0)
    draw.date_axis(axes, dates)


def _draw_fan(axes: Axes, fan: np.ndarray) -> None:
    """Quantiles at 5, 25, 50, 75 and 95 % of the return summed over the next dates."""
    steps = np.arange(fan.shape[1] + 1)
    shade: dict[str, Any] = {"color": draw.VAE, "lw": 0}
    fan = np.concatenate([np.zeros((len(fan), 1)), fan], axis=1)
    draw.tidy(axes, "dates ahead", "summed return, %", "What the next dates may bring")
    axes.fill_between(steps, fan[0], fan[-1], alpha=0.18, label="5 to 95 %", **shade)
    axes.fill_between(steps, fan[1], fan[-2], alpha=0.35, label="25 to 75 %", **shade)
    axes.plot(steps, fan[len(fan) // 2], color=draw.VAE, lw=1.4, label="median")
    axes.axhline(0, color=draw.DATA, lw=0.8)
    axes.legend(frameon=False, fontsize=draw.SMALL, loc="upper left")


def breach_table(study: StudyResults) -> Grid | None:
    """How often the value at risk was breached, and whether that could be chance."""
    names = ("breaches", "unconditional_p", "independence_p", "conditional_p")
    rows = []
    for (kind, words), order in product(QUANTILES.items(), PERCENTS):
        scores = [f"{kind}_{order}_{name}" for name in names]
        rate, *p_values = (study.metric("vae_ensemble", score, "test") for score in scores)
        if np.isfinite(rate):
            tests = ["< 0.001" if p < SMALLEST_P else number(p, 3) for p in p_values]
            kept = "no" if p_values[-1] < REJECTED else "yes"
            rows.append([words, f"{order} %", percent(rate, 1), *tests, kept])
    header = ["Value at risk", "Order", "Breached on", "p, rate", "p, clusters", "p, both"]
    return Grid([*header, "Kept"], rows, "text", "risk.csv") if rows else None


def asset_table(study: StudyResults) -> Grid:
    """Statistics and risk of each asset, the best explained first; of many, those at either end."""
    *assets, equal = study.assets.index
    ordered = study.assets.loc[assets].sort_values("r2", ascending=False, kind="stable").index
    ends = [*ordered[:EXTREMES], *ordered[-EXTREMES:]]
    table = study.assets.loc[[equal, *(ordered if len(ordered) <= _MOST_ASSETS else ends)]]
    percents = 100 * table
    cells = {
        "Asset": [str(asset) for asset in table.index],
        "Dates": [f"{dates:,.0f}" for dates in table["count"]],
        "Mean, %": numbers(percents["mean"]),
        "Std, %": numbers(percents["std"]),
        "Min, %": numbers(percents["min"]),
        "Median, %": numbers(percents["50%"]),
        "Max, %": numbers(percents["max"]),
        "R²": numbers(table.r2),
        "Volatility, %": numbers(percents.volatility),
        "Specific, %": numbers(percents.specific_risk),
    }
    return Grid.of(cells, "", "assets.csv")


def share_table(study: StudyResults) -> Grid:
    """Where the variance of the portfolio of equal weights, and of the assets on average, comes
    from."""
    *assets, equal = study.assets.index
    shares = study.assets[[*study.config["factor_names"], "specific", "rest"]]
    cells = {
        "Share of variance": [str(part).capitalize() for part in shares],
        "Portfolio of equal weights": [percent(share, 1) for share in shares.loc[equal]],
        "An asset, on average": [percent(share, 1) for share in shares.loc[assets].mean()],
    }
    return Grid.of(cells, "narrow", "assets.csv")


def pair_table(study: StudyResults, by: str) -> Grid | None:
    """Pairs of assets: the most correlated, or the most correlated in what the factors leave."""
    pairs = study.pairs[study.pairs.by == by]
    header = ["Most correlated pairs" if by == "correlation" else "Pairs that factors leave tied"]
    header += ["Fitted covariance", "Dates fitted", "Test dates", "Left, dates fitted"]
    columns = ["correlation", "fit", "test", "residual_fit", "residual"]
    rows = [
        [f"{row.asset} – {row.other}", *(number(getattr(row, name)) for name in columns)]
        for row in pairs.head(EXTREMES // 2).itertuples()
    ]
    return Grid([*header, "Left, test dates"], rows, "", "pairs.csv") if rows else None


def exposure_table(study: StudyResults) -> Grid | None:
    """Mean loadings by sector; None where sectors are not known."""
    table = study.exposures
    if table is None:
        return None
    cells = {"Sector, % per s.d.": [*map(str, table.index)], "Assets": numbers(table.assets, 0)}
    cells |= {name: numbers(100 * table[name], 2, True) for name in study.config["factor_names"]}
    return Grid.of(cells, "", "exposures.csv")


def portfolio_table(study: StudyResults) -> Grid:
    """The portfolio that stands for each factor: what it does and its largest positions."""
    portfolios = [weights for _, weights in study.portfolios.items()]
    held = [weights.any() for weights in portfolios]
    exposure, volatility, specific, correlation = (
        np.where(held, study.arrays[f"portfolio_{name}"], np.nan)
        for name in ("exposure", "volatility", "specific", "correlation")
    )
    cells = {
        "Portfolio of": study.config["factor_names"],
        "% per s.d.": numbers(100 * exposure),
        "Volatility, %": numbers(100 * volatility),
        "Specific": [percent(x) if np.isfinite(x) else NONE for x in specific],
        "r on test dates": numbers(correlation),
        "Largest long positions, %": [
            signed(100 * x[x > 0].nlargest(LARGEST_WEIGHTS), 1) for x in portfolios
        ],
        "Largest short positions, %": [
            signed(100 * x[x < 0].nsmallest(LARGEST_WEIGHTS), 1) for x in portfolios
        ],
    }
    return Grid.of(cells, "text", "portfolios.csv", blanks=False)
