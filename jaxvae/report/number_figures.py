"""The figure of the number of factors: the ensemble's own gain, and what every estimator says."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxvae.report.results import StudyResults
from jaxvae.report.style import (
    DATA,
    OTHER,
    VAE,
    count,
    new_figure,
    number,
    set_message,
    tidy,
)
from jaxvae.report.words import ESTIMATORS

LEAST_SHOWN = 0.1  # nats a date: what is smaller should look it


def n_factors(study: StudyResults) -> Figure:
    """Held-out gain by number of factors, and every estimator's answer beside the verdict."""
    assert study.n_factors is not None
    table = study.n_factors
    sizes = table[table.kind == "size"]
    answers = table[table.kind != "size"].set_index("name").factors
    figure = new_figure(3.7)
    left, right = figure.subplots(1, 2, width_ratios=(1.0, 1.15))
    _draw_gains(left, sizes)
    _draw_answers(right, answers)
    set_message(figure, _message(answers, sizes))
    return figure


def _draw_gains(axes: Axes, sizes: pd.DataFrame) -> None:
    """An open dot stands where the members use none of their factors."""
    tidy(axes, "factors allowed", "nats a validation date", "Gain over no factors [95 %]")
    gains = sizes.log_likelihood - sizes.log_likelihood.iloc[0]
    errors = [gains - sizes.low.fillna(gains), sizes.high.fillna(gains) - gains]
    axes.axhline(0, color=DATA, linewidth=1.0)
    axes.errorbar(sizes.factors, gains, yerr=errors, fmt="o-", color=VAE, ms=6, capsize=0)
    unused = sizes.gain.isna()
    axes.plot(sizes.factors[unused], gains[unused], "o", color=VAE, mfc="white", ms=6, zorder=3)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -LEAST_SHOWN), max(high, LEAST_SHOWN))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_answers(axes: Axes, answers: pd.Series) -> None:
    words = "What the estimators say; line: the verdict"
    tidy(axes, "number of factors", "", words, grid="x")
    names = [name for name in reversed(ESTIMATORS) if name in answers and name != "verdict"]
    places = np.arange(len(names))
    colours = [VAE if name == "held_out" else OTHER for name in names]
    axes.axvline(answers["verdict"], color=DATA, linewidth=1.4)
    axes.scatter(answers[names], places, c=colours, s=46, zorder=3)
    axes.set_yticks(places, [ESTIMATORS[name][0] for name in names])
    axes.set_xlim(-0.5, max(5.0, float(answers.max())) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _message(answers: pd.Series, sizes: pd.DataFrame) -> str:
    best = sizes.iloc[int(sizes.log_likelihood.argmax())]
    verdict = count(int(answers["verdict"]), "factor")
    if not np.isfinite(best.gain) or best.low <= 0:
        words = "no number of them gains held-out likelihood beyond its error"
    else:
        words = (
            f"{int(best.factors)} gain the most held-out likelihood, {number(best.gain, 2, True)} "
            f"nats a date [{number(best.low)}, {number(best.high)}] over none"
        )
    return f"The verdict is {verdict}; {words}"
