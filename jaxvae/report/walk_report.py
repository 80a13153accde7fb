"""The report of a walk: its portfolios, likelihoods and factors over time."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from jaxvae.analysis.portfolios import BASELINE
from jaxvae.report import draw
from jaxvae.report.content import (
    Answer,
    Document,
    Grid,
    Heading,
    Opening,
    Part,
    Plot,
    Prose,
    render,
)
from jaxvae.report.results import WalkResults
from jaxvae.report.tables import file_table
from jaxvae.report.text import counted, interval, number, numbers, percent, with_interval
from jaxvae.report.verdicts import AHEAD, BEHIND, LEVEL, printed, standing

STRATEGIES = {
    "vae": "VAE ensemble",
    "equal": "1/N",
    "sample": "Sample covariance",
    "ledoit_wolf": "Ledoit–Wolf",
    "oas": "OAS",
    "shrunk_correlation": "Shrunk correlations",
    "pca": "PCA + diagonal",
    "factor_analysis": "Factor analysis",
}
CALM = {
    BEHIND: "Yes: calmer than Ledoit–Wolf’s",
    LEVEL: "Not shown: level with Ledoit–Wolf’s",
    AHEAD: "No: less calm than Ledoit–Wolf’s",
}
SQUARED_PERCENT = 100.0**2
# Columns of the table of windows, what they are called and how they are drawn.
AGREEMENT = {
    "agreement": ("matched", draw.VAE, "-"),
    "agreement_rotation_95": ("random rotations, 95 %", draw.TRUTH, "--"),
    "agreement_chance_95": ("chance, 95 %", draw.MUTED, ":"),
}
TABLES = {
    "strategies": ("a portfolio", "returns a year, as fractions; shares bought and sold"),
    "windows": ("a window", "nats per date; correlations"),
    "scores": ("a judged date", "nats"),
    "portfolio": ("a judged date", "simple returns"),
    "weights": ("a portfolio at a window’s end", "shares of what is held, 1 together"),
    "factors": ("a judged date", "standard deviations"),
    "loadings": ("an asset at a window’s end", "returns per standard deviation of a factor"),
}
CAPTION = (
    "Top: volatility of each minimum-variance portfolio, and the ensemble’s lead in log-likelihood "
    "over either model by window (dots) and on average so far (lines). Bottom: how far the factors "
    "of a window correlate with those of the window before on the dates that both have, all of "
    "them beside chance and a random rotation, and one by one."
)
PORTFOLIO_NOTE = (
    "Volatility and mean are of the judged dates, a year; turnover is what is bought plus what is "
    "sold at a rebalance, as a share of the portfolio; trading is free. The last column is the "
    "annual variance less Ledoit–Wolf’s, in (%)², with a 95 % block-bootstrap interval. Shorts are "
    "allowed; weights sum to one."
)


def walk_report(walk: WalkResults, linked: bool = True) -> dict[str, bytes]:
    """The files of a walk's report by their paths; linked: to the tables (`content.render`)."""
    opening, title = walk_opening(walk), Heading("Minimum-variance portfolios")
    plot = Plot("walk", CAPTION, walk_figure(walk))
    parts: list[Part] = [title, opening.scores, Prose(PORTFOLIO_NOTE), plot]
    parts += [Heading("All tables"), *file_table(TABLES)] if linked else []
    return render(Document(opening, walk.config["notes"], parts), linked)


def walk_opening(walk: WalkResults) -> Opening:
    """Title, facts, the answers and the portfolios."""
    config = walk.config
    facts = (
        f"{counted(config['n_windows'], 'window')} "
        f"{'expanding from' if config['expanding'] else 'of'} {config['window']:,} dates, a new "
        f"one every {counted(config['step'], 'date')}; each judged on as many that follow it, "
        f"together {config['judged_from']} to {config['judged_to']} · model {config['model']}, "
        f"{counted(config['n_factors'], 'factor')}, {counted(config['seeds'], 'seed')} × "
        f"β {', '.join(f'{beta:g}' for beta in config['betas'])}, mixed equally"
    )
    answers = [_portfolio_answer(walk), _likelihood_answer(walk), _factor_answer(walk)]
    return Opening(f"Walk forward over “{config['name']}”", facts, answers, strategy_table(walk))


def _portfolio_answer(walk: WalkResults) -> Answer:
    ours, theirs = (percent(walk.strategies.volatility[name], 2) for name in ("vae", BASELINE))
    difference: Any = _variance_differences(walk).loc["vae"]
    gap, low, high = difference
    question = "Is its covariance of use?"
    if np.isnan(gap):
        return Answer(question, "Cannot tell", "A single judged date has no volatility.")
    return Answer(
        question,
        CALM[standing(low, high)],
        f"The ensemble’s minimum-variance portfolio moved {ours} a year, Ledoit–Wolf’s {theirs}. "
        f"Their variances differ by {number(gap, 1, True)} (%)² {interval(low, high, 1)}.",
    )


def _variance_differences(walk: WalkResults) -> pd.DataFrame:
    """Each portfolio's variance a year less the baseline's, with its interval, in (%)²."""
    return SQUARED_PERCENT * walk.strategies[["variance_difference", "low", "high"]]


def _likelihood_answer(walk: WalkResults) -> Answer:
    leads = {words: lead.mean() for words, _, lead in _leads(walk)}
    each = [f"{number(lead, 2, True)} against {words}" for words, lead in leads.items()]
    ours = number(walk.windows["log_likelihood, vae"].mean())
    return Answer(
        "Is it likelier out of sample?",
        f"{number(min(leads.values()), 2, True)} nats per date against "
        f"{'the better of two models' if len(leads) > 1 else next(iter(leads))}",
        f"The ensemble’s log-likelihood on judged dates is {ours} nats per date: "
        f"{' and '.join(each)}, fitted on the same windows.",
    )


def _leads(walk: WalkResults) -> list[tuple[str, str, pd.Series]]:
    """Each model beside the ensemble, its name, and the ensemble's lead over it by window."""
    with_k = f"factor analysis, K = {walk.config['n_factors']}"
    names, windows = {BASELINE: "Ledoit–Wolf", "factor_analysis": with_k}, walk.windows
    # A model whose likelihood is degenerate has no column.
    there = {m: words for m, words in names.items() if f"log_likelihood, {m}" in windows}
    ours = windows["log_likelihood, vae"]
    return [(words, m, ours - windows[f"log_likelihood, {m}"]) for m, words in there.items()]


def _factor_answer(walk: WalkResults) -> Answer:
    ours, rotation, chance = (float(walk.windows[name].mean()) for name in AGREEMENT)
    question = "Are they the same factors from window to window?"
    if not np.isfinite(ours):
        return Answer(question, "Cannot tell from one window", "No two can be compared.")
    levels = {"chance": chance, **({"a rotation": rotation} if np.isfinite(rotation) else {})}
    verdict = f"Yes: they correlate {number(ours)}"
    if printed(ours) <= printed(max(levels.values())):
        verdict = f"Not shown: no more than {max(levels, key=levels.__getitem__)} would"
    reached = " and ".join(f"{level} reaches {number(value)}" for level, value in levels.items())
    return Answer(
        question,
        verdict,
        f"Matched one-to-one, factors of consecutive windows correlate {number(ours)} on average, "
        f"on the dates they share; {reached} (95th percentiles).",
    )


def strategy_table(walk: WalkResults) -> Grid:
    """The portfolios, the calmest first."""
    table = walk.strategies.sort_values("volatility")
    gaps = _variance_differences(walk).drop(BASELINE).reindex(table.index).to_numpy()
    cells = {
        "Portfolio": [strategy_name(walk, str(name)) for name in table.index],
        "Volatility, %": numbers(100 * table.volatility),
        "Mean, %": numbers(100 * table["mean"]),
        "Turnover": numbers(table.turnover),
        "Variance − Ledoit–Wolf’s": [with_interval(gap, low, high, 1) for gap, low, high in gaps],
    }
    return Grid.of(cells, "", "strategies.csv")


def strategy_name(walk: WalkResults, strategy: str) -> str:
    """What a strategy is called, with the number of factors that its own model has."""
    factors = min(walk.config["baseline_factors"], len(walk.config["assets"]) - 1)
    counts = strategy in ("pca", "factor_analysis")
    return STRATEGIES[strategy] + (f", K = {factors}" if counts else "")


def walk_figure(walk: WalkResults) -> Figure:
    """Four panels: volatility by strategy, lead in likelihood, agreement of all factors and of
    each."""
    figure = draw.new_figure(7.6)
    (volatility, likelihood), (agreement, each) = figure.subplots(2, 2, width_ratios=(1.0, 1.25))
    table = 100 * walk.strategies.volatility.sort_values()
    names, texts = [str(name) for name in table.index], [number(value) for value in table]
    draw.tidy(volatility, "% a year", "", "Volatility of minimum-variance portfolios", grid="x")
    colours = [draw.model_colour(name) for name in names]
    draw.dots(volatility, [strategy_name(walk, name) for name in names], table, colours, texts)
    _draw_leads(likelihood, walk)
    dates = pd.DatetimeIndex(walk.windows.last_date)
    draw.tidy(agreement, "", "mean matched |correlation|", "Factors beside the last window’s")
    for column, (words, colour, style) in AGREEMENT.items():
        words = f"{words}: {number(walk.windows[column].mean())}"
        agreement.plot(dates, walk.windows[column], style, color=colour, lw=1.4, label=words)
    agreement.set_ylim(0, 1.03)
    agreement.legend(frameon=False, fontsize=draw.SMALL, loc="best")
    draw.date_axis(agreement, dates)
    _draw_each_factor(each, walk.windows, dates)
    answer = _portfolio_answer(walk)
    return draw.set_message(figure, f"{answer.question} {answer.verdict}. {answer.text}")


def _draw_leads(axes: Axes, walk: WalkResults) -> None:
    """The running mean of the ensemble's lead over either model; a dot a window."""
    dates, shown = pd.DatetimeIndex(walk.windows.judged_to), [np.zeros(1)]
    draw.tidy(axes, "", "nats per date", "Lead in log-likelihood; line: mean so far")
    axes.axhline(0, color=draw.DATA, linewidth=1.0)
    for name, model, lead in _leads(walk):
        so_far, colour = lead.expanding().mean(), draw.model_colour(model)
        words = f"over {name}: {number(lead.mean(), 2, True)}"
        axes.plot(dates, so_far, color=colour, linewidth=1.6, label=words)
        axes.plot(dates, lead, ".", color=colour, ms=2.5, alpha=0.45)
        shown += [np.quantile(lead, [0.02, 0.98]), so_far.to_numpy()]
    low, high = np.concatenate(shown).min(), np.concatenate(shown).max()
    pad = 0.15 * max(high - low, 0.1)
    axes.set_ylim(low - pad, high + pad)
    axes.legend(fontsize=draw.SMALL, loc="upper left", framealpha=0.85, edgecolor="none")
    draw.date_axis(axes, dates)


def _draw_each_factor(axes: Axes, windows: pd.DataFrame, dates: pd.DatetimeIndex) -> None:
    columns = windows.filter(regex="^correlation, ")
    names = [str(name).removeprefix("correlation, ") for name in columns]
    values = columns.to_numpy(np.float64).T
    ends = date2num(dates.to_pydatetime())
    extent = (ends[0], max(ends[-1], ends[0] + 1), len(names) - 0.5, -0.5)
    draw.tidy(axes, title="Each factor beside itself one window earlier")
    draw.heat_map(axes, values, (), names, "|correlation|", extent=extent)
    axes.xaxis_date()
    draw.date_axis(axes, dates)
