"""The figures of the factors themselves: what they are, how stable, how near to known ones."""

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvae.report import draw
from jaxvae.report.results import Drawing, StudyResults
from jaxvae.report.text import (
    as_label,
    beta_label,
    counted,
    number,
    reference_kind,
    reference_names,
)
from jaxvae.report.verdicts import chosen_row, judge, match_of, stabilities

SHOWN_DATES = 200
MOST_NAMED_ASSETS = 40
ALIKE: dict[str, Any] = {"sharex": True, "sharey": True}


def draw_factors(study: StudyResults) -> dict[str, Figure]:
    """The figures of `factor_drawings`, drawn."""
    return {name: drawing(study) for name, drawing in factor_drawings(study).items()}


def factor_drawings(study: StudyResults) -> dict[str, Drawing]:
    """What draws the figures that the study has the tables and arrays for, by their names."""
    several, known = int(study.members.ok.sum()) > 1, "correlation" in study.arrays
    drawn = {
        "stability": stability_figure if several else None,
        "agreement": agreement_figure if several else None,
        "factor_correlation": correlation_figure if known else None,
        "matched_factors": match_figure if known else None,
        "factor_series": series_figure,
        "loadings": loading_figure,
        "decoder_loadings": decoder_figure,
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def stability_figure(study: StudyResults) -> Figure:
    """Mean correlation, over the seeds of each beta, of a member's factor with the consensus."""
    values = study.arrays["stability"]
    betas = np.sort(study.members[study.members.ok].beta.unique())
    figure = draw.new_figure(min(9.0, 2.0 + 0.4 * len(values)))
    axes = draw.tidy(figure.subplots(), "consensus factor", "β")
    rows = [f"{beta:.3g}" for beta in betas]
    draw.heat_map(axes, values, _labels(study), rows, "stability", written=len(values) <= 25)
    draw.frame(axes, 0, chosen_row(study), values.shape[1])
    row, beta = stabilities(study), beta_label(study.config["chosen"]["beta"])
    message = (
        f"At the chosen {beta} (framed), the most stable factor has a stability of "
        f"{number(row.max())} over seeds, the least stable {number(row.min())}"
    )
    alone = "With one seed, stability over seeds cannot be judged"
    return draw.set_message(figure, message if len(study.config["seeds"]) > 1 else alone)


def _labels(study: StudyResults) -> list[str]:
    return [as_label(name) for name in study.config["factor_names"]]


def agreement_figure(study: StudyResults) -> Figure:
    """How far each pair of members agrees on its factors, by beta and then seed."""
    members = study.members[study.members.ok].reset_index(drop=True)
    order = members.sort_values(["beta", "seed"]).index.to_numpy()
    values = study.arrays["agreement"][np.ix_(order, order)]
    figure = draw.new_figure(6.4, width=7.6)
    axes = draw.tidy(figure.subplots(), "members, by β and then seed")
    draw.heat_map(axes, values, (), (), "agreement", aspect="equal")
    runs = draw.runs_of(members.beta.to_numpy()[order])
    for first, _ in runs[1:]:
        axes.axhline(first - 0.5, color="white", linewidth=1.2)
        axes.axvline(first - 0.5, color="white", linewidth=1.2)
    shown = runs[:: -(-len(runs) // 12)]
    names = [beta_label(members.beta[order[first]]) for first, _ in shown]
    middles = [(first + end - 1) / 2 for first, end in shown]
    axes.set_xticks(middles, names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(middles, names)
    pairs = values[np.triu_indices(len(values), 1)]
    return draw.set_message(
        figure,
        f"Two members’ factors agree by {number(float(np.median(pairs)))} in the median pair "
        f"(from {number(float(pairs.min()))} to {number(float(pairs.max()))})",
    )


def correlation_figure(study: StudyResults) -> Figure:
    """Correlation of consensus with reference factors on the test part; the match is framed."""
    values = study.arrays["correlation"]
    rows, columns = values.shape
    kind, names = reference_kind(study), [as_label(name) for name in reference_names(study)]
    figure = draw.new_figure(min(9.0, 2.2 + 0.42 * rows), min(10.0, 5.6 + 0.55 * columns))
    axes = draw.tidy(figure.subplots(), f"{kind} factor", "consensus factor")
    words = "correlation, test dates"
    draw.heat_map(axes, values, names, _labels(study), words, signed=True, written=True)
    for known, learned in enumerate(study.arrays["match_learned"].tolist()):
        if learned >= 0:
            draw.frame(axes, known, learned)
    found = judge(study)
    rotation = f", a random rotation {number(found.rotation)}" if found.rotation > 0 else ""
    return draw.set_message(
        figure,
        f"Matched one-to-one (framed), consensus factors correlate {number(found.mcc)} with the "
        f"{kind} factors on average; chance reaches {number(found.chance)}{rotation}",
    )


def match_figure(study: StudyResults) -> Figure:
    """Each reference factor and the consensus factor matched to it, over the first test dates."""
    known, match = study.arrays["reference_factors"], study.arrays["match_learned"]
    start = len(study.factors) - study.config["panel"]["n_test"]
    dates = study.factors.index[start : start + SHOWN_DATES]
    names, strengths = [as_label(name) for name in reference_names(study)], np.zeros(len(match))
    figure, panels = draw.small_multiples(len(match), 1 if len(match) <= 6 else 2, 1.15, **ALIKE)
    for place, (axes, learned) in enumerate(zip(panels, match.tolist(), strict=True)):
        curves: list[Any] = [(known[:, place], f"{reference_kind(study)} factor", draw.TRUTH, 2.4)]
        title = f"{names[place]}: no consensus factor matches"
        if learned >= 0:
            r = match_of(study, learned)[1]
            strengths[place] = abs(r)
            title = f"{names[place]} and {_labels(study)[learned]}: r = {number(r)}"
            curves.append((study.factors.to_numpy()[:, learned], "consensus factor", draw.VAE, 1.1))
        draw.tidy(axes, "", "", title)
        shown = [(_in_units(values[start:])[: len(dates)], *style) for values, *style in curves]
        draw.series(axes, dates, *shown)
    figure.supylabel("standard deviations", fontsize=draw.TEXT, color=draw.MUTED)
    draw.add_legend(figure, max(panels, key=lambda axes: len(axes.lines)))
    best, worst = int(strengths.argmax()), int(strengths.argmin())
    words = f"On test dates, {names[best]} is followed best (|r| = {number(strengths[best])})"
    least = f" and {names[worst]} least ({number(strengths[worst])})" if len(match) > 1 else ""
    return draw.set_message(figure, words + least)


def _in_units(values: Float[np.ndarray, " date"]) -> Float[np.ndarray, " date"]:
    return (values - values.mean()) / max(float(values.std()), 1e-12)


def series_figure(study: StudyResults) -> Figure:
    """The consensus factors over all dates, with the parts of the split."""
    n_factors, panel, dates = study.factors.shape[1], study.config["panel"], study.factors.index
    columns = 1 if n_factors <= 8 else 2
    figure, panels = draw.small_multiples(n_factors, columns, 0.95, **ALIKE)
    starts = [0, panel["n_train"], panel["n_train"] + panel["n_validation"], len(dates)]
    style: dict[str, Any] = {"fontsize": draw.SMALL, "color": draw.MUTED, "ha": "center"}
    for place, (axes, name) in enumerate(zip(panels, study.factors, strict=True)):
        draw.tidy(axes, "", "", as_label(name))
        draw.series(axes, dates, (study.factors[name], "", draw.VAE, 0.6))
        for first in starts[1:-1]:
            axes.axvline(dates[first], color=draw.DATA, linewidth=1.0, linestyle=":")
        named = ("train", "validation", "test") if place < columns else ()
        for (first, last), part in zip(pairwise(starts), named, strict=False):
            at = (dates[(first + last) // 2], 1.0)
            axes.annotate(part, at, (0, 3), ("data", "axes fraction"), "offset points", **style)
    figure.supylabel("standard deviations", fontsize=draw.TEXT, color=draw.MUTED)
    return draw.set_message(
        figure,
        f"{counted(n_factors, 'consensus factor')} over {panel['n_dates']:,} dates, "
        f"{panel['first_date']} to {panel['last_date']}; test dates took no part in any choice",
    )


def loading_figure(study: StudyResults) -> Figure:
    """Consensus loadings, beside the reference's where known, those in the order of their match."""
    names, learned = _labels(study), 100 * study.loadings.to_numpy()
    blocks = [(learned, names, "Consensus factors", "return, % per standard deviation")]
    known = study.arrays.get("reference_loadings")
    if known is not None:
        match = study.arrays["match_learned"]
        order = np.argsort(np.where(match >= 0, match, len(names)), kind="stable")
        titles = [as_label(reference_names(study)[place]) for place in order]
        title = f"{reference_kind(study).capitalize()} factors"
        blocks.append((known[:, order], titles, title, "return per unit of the factor"))
    figure = _draw_blocks(study, blocks)
    asset, factor = np.unravel_index(np.abs(learned).argmax(), learned.shape)
    by = "by sector" if study.config["sectors"] else "in the panel’s order"
    return draw.set_message(
        figure,
        f"Loadings of {counted(len(learned), 'asset')}, {by}; the largest: "
        f"{as_label(study.config['assets'][asset])} moves {number(float(learned[asset, factor]))} "
        f"% with one standard deviation of {names[factor]}",
    )


def decoder_figure(study: StudyResults) -> Figure:
    """The likeliest seed's decoder: decoded unit vectors, as in the notebook, and mean Jacobian."""
    names = [as_label(name) for name in study.config["refit_factors"]]
    arrays, words = study.arrays, "standard deviations of return"
    blocks = [
        (arrays["unit_loadings"], names, "Decoded unit vectors (the notebook’s)", words),
        (arrays["mean_loadings"], names, "Mean slope of the decoder", f"{words} per unit of z"),
    ]
    message = "What each factor of the likeliest seed moves, read from its decoder in two ways"
    return draw.set_message(_draw_blocks(study, blocks), message)


def _draw_blocks(study: StudyResults, blocks: list[tuple[Any, list[str], str, str]]) -> Figure:
    """Loadings as heat maps side by side: assets by sector, factors across."""
    sectors = np.array([str(s) for s in study.config["sectors"] or [""] * len(study.loadings)])
    rows = np.argsort(sectors, kind="stable")
    runs = draw.runs_of(sectors[rows])
    figure = draw.new_figure(float(np.clip(1.8 + 0.16 * len(rows), 4.0, 7.2)))
    panels = figure.subplots(1, len(blocks), sharey=True, squeeze=False).ravel()
    for axes, (values, names, title, words) in zip(panels, blocks, strict=True):
        draw.tidy(axes, "", "", title)
        limit = max(float(np.abs(values).max()), 1e-12)
        draw.heat_map(axes, values[rows], names, (), words, limit=limit, signed=True)
        for first, _ in runs[1:]:
            axes.axhline(first - 0.5, color=draw.MUTED, linewidth=0.6)
    names = [as_label(study.config["assets"][row], 14) for row in rows]
    _name_rows(panels[0], names, [(as_label(sectors[rows[a]]), a, b) for a, b in runs])
    return figure


def _name_rows(axes: Axes, assets: list[str], sectors: list[tuple[str, int, int]]) -> None:
    """Assets where there is room for each, else sectors, else the number of assets alone."""
    if len(assets) <= MOST_NAMED_ASSETS:
        axes.set_yticks(range(len(assets)), assets)
        return
    # A sector narrower than a line of text stays without its name.
    wide = [(name, (a + b - 1) / 2) for name, a, b in sectors if b - a > len(assets) / 45]
    axes.set_yticks([place for _, place in wide], [name for name, _ in wide])
    if len(sectors) == 1:
        axes.set_ylabel(f"{len(assets)} assets", fontsize=draw.TEXT, color=draw.MUTED)
