"""The figure of a walk: portfolios, likelihood by window, and how steady its factors are."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxvae.analysis.portfolios import BASELINE
from jaxvae.analysis.portfolios import VAE as VAE_NAME
from jaxvae.report.results import WalkResults
from jaxvae.report.style import (
    DATA,
    FACTOR_ANALYSIS,
    MUTED,
    OTHER,
    PCA,
    SHARE,
    SMALL,
    TRUTH,
    VAE,
    add_colour_bar,
    date_axis,
    heat_map,
    name_ticks,
    new_figure,
    number,
    set_message,
    tidy,
    tidy_heat_map,
)

NAMES = {
    "vae": "VAE ensemble",
    "equal": "1/N",
    "sample": "Sample covariance",
    "ledoit_wolf": "Ledoit–Wolf",
    "oas": "OAS",
    "shrunk_correlation": "Correlations shrunk 30 %",
    "pca": "PCA + diagonal",
    "factor_analysis": "Factor analysis",
}
COLOURS = {"vae": VAE, "pca": PCA, "factor_analysis": FACTOR_ANALYSIS}
PERCENT = 100.0


def walk_figure(walk: WalkResults) -> Figure:
    """Four panels: volatility by strategy, lead in likelihood, stability of all and of each
    factor."""
    figure = new_figure(7.6)
    (volatility, likelihood), (steadiness, each) = figure.subplots(2, 2, width_ratios=(1.0, 1.25))
    _draw_volatility(volatility, walk)
    _draw_leads(likelihood, walk)
    _draw_stability(steadiness, walk.windows)
    _draw_each_factor(figure, each, walk.windows)
    set_message(figure, walk_message(walk))
    return figure


def walk_message(walk: WalkResults) -> str:
    """What the walk found, in a sentence."""
    rows = by_strategy(walk)
    ours = rows[VAE_NAME]
    if np.isnan(ours["volatility"]):
        return "A single date was judged: no portfolio has a volatility"
    volatility, other = (_percent(rows[name]["volatility"]) for name in (VAE_NAME, BASELINE))
    verdict = "its variance is level with Ledoit–Wolf's, within its error"
    if ours["high"] < 0:
        verdict = "below Ledoit–Wolf's, beyond the error of their difference"
    elif ours["low"] > 0:
        verdict = "above Ledoit–Wolf's, beyond the error of their difference"
    return (
        f"The ensemble's minimum-variance portfolio moved {volatility} a year "
        f"(Ledoit–Wolf's {other}): {verdict}"
    )


def strategy_name(walk: WalkResults, strategy: str) -> str:
    """What a strategy is called, with the number of factors that its model has."""
    factors = min(walk.config["baseline_factors"], len(walk.config["assets"]) - 1)
    counted = strategy in ("pca", "factor_analysis")
    return NAMES[strategy] + (f", K = {factors}" if counted else "")


def by_strategy(walk: WalkResults) -> dict[str, dict[str, float]]:
    """The columns of each strategy, the calmest first."""
    ordered = walk.strategies.sort_values("volatility")
    rows: Any = ordered.to_dict(orient="index")
    return {str(name): row for name, row in rows.items()}


def _percent(share: float) -> str:
    return f"{number(PERCENT * share)} %"


def _draw_volatility(axes: Axes, walk: WalkResults) -> None:
    """A dot a strategy, the calmest on top."""
    table = walk.strategies.sort_values("volatility", ascending=False)
    places = np.arange(len(table))
    tidy(axes, "% a year, judged dates", "", "Volatility of minimum-variance portfolios", grid="x")
    colours = [COLOURS.get(name, OTHER) for name in table.index]
    values = PERCENT * table.volatility
    axes.scatter(values, places, c=colours, s=52, zorder=3)
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            number(value),
            (value, place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
            color=DATA,
        )
    axes.set_yticks(places, [strategy_name(walk, name) for name in table.index])
    axes.set_ylim(-0.6, len(table) - 0.4)
    axes.margins(x=0.14)


def _draw_leads(axes: Axes, walk: WalkResults) -> None:
    """The running mean of the ensemble's lead over either baseline; a dot a window."""
    windows = walk.windows
    names = {BASELINE: NAMES[BASELINE], "factor_analysis": f"factor analysis, K = {_factors(walk)}"}
    dates = pd.DatetimeIndex(windows.judged_to)
    tidy(axes, "", "nats a date", "Lead in log-likelihood out of sample; line: mean so far")
    axes.axhline(0, color=DATA, linewidth=1.0)
    for baseline, colour in ((BASELINE, OTHER), ("factor_analysis", FACTOR_ANALYSIS)):
        lead = windows["log_likelihood, vae"] - windows[f"log_likelihood, {baseline}"]
        so_far = lead.expanding().mean()
        words = f"over {names[baseline]}: {number(lead.mean(), 2, True)}"
        axes.plot(dates, so_far, color=colour, linewidth=1.6, label=words)
        axes.plot(dates, lead, ".", color=colour, ms=2.5, alpha=0.45)
    inner = np.concatenate([line.get_ydata() for line in axes.lines[1:]])
    low, high = np.nanquantile(np.asarray(inner, np.float64), [0.02, 0.98])
    pad = 0.15 * max(high - low, 0.1)
    axes.set_ylim(min(low, 0.0) - pad, max(high, 0.0) + pad)
    axes.legend(fontsize=SMALL, loc="upper left", framealpha=0.85, edgecolor="none")
    _date_axis(axes, dates)


def _factors(walk: WalkResults) -> int:
    return int(walk.config["n_factors"])


def _draw_stability(axes: Axes, windows: pd.DataFrame) -> None:
    dates = pd.DatetimeIndex(windows.last_date)
    tidy(axes, "", "mean matched |correlation|", "Factors of a window beside the last one's")
    lines = (
        ("stability", "matched", VAE, "-"),
        ("stability_rotation", "a random rotation", TRUTH, "--"),
        ("stability_chance", "chance (shifted in time)", MUTED, ":"),
    )
    for column, words, colour, style in lines:
        mean = windows[column].mean()
        words = f"{words}: {number(mean)}"
        axes.plot(dates, windows[column], style, color=colour, linewidth=1.4, label=words)
    axes.set_ylim(0, 1.03)
    axes.legend(frameon=False, fontsize=SMALL, loc="lower right", bbox_to_anchor=(1.0, 0.27))
    _date_axis(axes, dates)


def _draw_each_factor(figure: Figure, axes: Axes, windows: pd.DataFrame) -> None:
    prefix = "stability, "
    columns = [column for column in windows.columns if column.startswith(prefix)]
    dates = pd.DatetimeIndex(windows.last_date)
    tidy_heat_map(axes, "", "", "Each factor beside itself one window earlier")
    values = windows[columns].to_numpy(np.float64).T
    ends = date2num(dates.to_pydatetime())
    extent = (ends[0], max(ends[-1], ends[0] + 1), len(columns) - 0.5, -0.5)
    image = axes.imshow(
        values,
        aspect="auto",
        interpolation="nearest",
        cmap=heat_map(SHARE),
        vmin=0,
        vmax=1,
        extent=extent,
    )
    axes.xaxis_date()
    name_ticks(axes, "y", [column.removeprefix(prefix) for column in columns])
    _date_axis(axes, dates)
    add_colour_bar(figure, image, axes, "|correlation|")


def _date_axis(axes: Axes, dates: pd.DatetimeIndex) -> None:
    """Few ticks, whatever the number of windows."""
    if len(dates) > 1:
        date_axis(axes, dates)
        return
    axes.xaxis.set_major_locator(MaxNLocator(1))
    axes.set_xticks(date2num(dates.to_pydatetime()), [str(dates[0].date())])
