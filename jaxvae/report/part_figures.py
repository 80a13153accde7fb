"""The figure of what β charges for: the parts of the KL over β, and the factors in use."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvae.report.results import StudyResults
from jaxvae.report.style import (
    DATA,
    FACTOR_ANALYSIS,
    MUTED,
    PCA,
    VAE,
    add_legend,
    beta_axis,
    beta_label,
    new_figure,
    number,
    set_message,
    tidy,
)

PARTS = {
    "index_code_information": (VAE, "information on the date"),
    "total_correlation": (PCA, "total correlation"),
    "total_correlation_chance_mean": (MUTED, "… of shifted factors"),
    "dimension_kl": (FACTOR_ANALYSIS, "dimension-wise KL"),
}


def has_parts(study: StudyResults) -> bool:
    """Whether the members' KL was split: not by earlier versions, nor under a Student-t prior."""
    return set(PARTS) <= set(study.members)


def kl_parts(study: StudyResults) -> Figure:
    """The parts of the members' KL over β, and the factors in use beside the linear closed form."""
    members = study.members[study.members.ok]
    figure = new_figure(3.6)
    left, right = figure.subplots(1, 2)
    tidy(left, "β", "nats a date", "Parts of the mean KL")
    for name, (colour, words) in PARTS.items():
        _draw(left, members, name, colour, words)
    tidy(right, "β", "factors in use", "Factors in use")
    _draw(right, members, "active_units", VAE, "members")
    if study.spectrum is not None:
        kept = study.spectrum.astype({"linear": int}).groupby("beta").linear.sum()
        right.plot(kept.index, kept, "x", color=DATA, ms=6, label="a linear VAE keeps")
    right.set_ylim(-0.2, study.config["n_factors"] + 0.4)
    for axes in (left, right):
        beta_axis(axes, sorted(members.beta.unique()))
    right.legend(frameon=False, fontsize="small", loc="lower left")
    add_legend(figure, left)
    set_message(figure, _message(study, members))
    return figure


def _draw(axes: Axes, members: pd.DataFrame, name: str, colour: str, words: str) -> None:
    """Median over seeds, and their range as a band."""
    by_beta = members.groupby("beta")[name]
    middle = by_beta.median()
    band: dict[str, Any] = {"color": colour, "alpha": 0.15, "linewidth": 0}
    axes.fill_between(middle.index, by_beta.min(), by_beta.max(), **band)
    # Often on top of the line that it is to be read against.
    style = "--" if "chance" in name else "o-"
    axes.plot(middle.index, middle, style, ms=3.5, color=colour, label=words)


def _message(study: StudyResults, members: pd.DataFrame) -> str:
    beta = study.config["chosen"]["beta"]
    here = members.loc[np.isclose(members.beta, beta), ["kl", *PARTS]].median()
    information, correlation, chance, _ = (number(here[name]) for name in PARTS)
    return (
        f"At {beta_label(beta)} a date’s factors carry {number(here.kl)} nats: {information} tell "
        f"the date, {correlation} are dependence between factors "
        f"({chance} once they are shifted in time)"
    )
