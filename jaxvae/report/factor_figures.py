"""The figures of the factors themselves: what they are, how stable, how near to known ones."""

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvae.analysis.matching import compared_members
from jaxvae.report import draw
from jaxvae.report.results import StudyResults
from jaxvae.report.text import (
    as_label,
    beta_label,
    counted,
    number,
    reference_kind,
    reference_names,
)
from jaxvae.report.verdicts import judge, match_of

SHOWN_DATES = 200
MOST_NAMED_ASSETS = 40
MOST_NAMED_MEMBERS = 48
MOST_SERIES = 10  # whose series are drawn


def _labels(study: StudyResults) -> list[str]:
    return [as_label(name) for name in study.config["factor_names"]]


def agreement_figure(study: StudyResults) -> Figure:
    """How far each pair of members agrees on its factors, by beta and then seed."""
    members = study.members[study.members.ok]
    members = members.iloc[compared_members(len(members))].reset_index(drop=True)
    order = members.sort_values(["beta", "seed"]).index.to_numpy()
    values = study.arrays["agreement"][np.ix_(order, order)]
    pairs = values[np.triu_indices(len(values), 1)]
    # A member agrees with itself: that would only stretch the scale.
    shown = np.where(np.eye(len(values), dtype=bool), np.nan, values)
    figure = draw.new_figure(6.6, width=7.6)
    axes = draw.tidy(figure.subplots(), "seed", "β and seed")
    least = float(np.floor(10 * pairs.min()) / 10)
    most = max(float(np.ceil(10 * pairs.max()) / 10), least + 0.1)
    draw.heat_map(axes, shown, (), (), "agreement", aspect="equal", least=least, limit=most)
    runs = draw.runs_of(members.beta.to_numpy()[order])
    for first, _ in runs[1:]:
        axes.axhline(first - 0.5, color="white", linewidth=1.6)
        axes.axvline(first - 0.5, color="white", linewidth=1.6)
    _name_members(axes, [str(seed) for seed in members.seed.to_numpy()[order]])
    for first, end in runs[:: -(-len(runs) // 12)]:
        words, height = beta_label(members.beta[order[first]]), (first + end - 1) / 2
        draw.write(axes, words, -0.05, height, ha="right")
    axes.yaxis.labelpad = 46
    return draw.set_message(
        figure,
        f"Two members’ factors agree by {number(float(np.median(pairs)))} in the median pair "
        f"(from {number(float(pairs.min()))} to {number(float(pairs.max()))})",
    )


def _name_members(axes: Axes, seeds: list[str]) -> None:
    """Each member by its seed, as long as there is room."""
    places = range(len(seeds)) if len(seeds) <= MOST_NAMED_MEMBERS else []
    for ticks in (axes.set_xticks, axes.set_yticks):
        ticks(places, [seeds[place] for place in places], fontsize=6.5)


def match_figure(study: StudyResults) -> Figure:
    """Correlation of consensus with reference factors on the test part, the match framed; and each
    pair of a match over the first test dates."""
    known, match = study.arrays["reference_factors"], study.arrays["match_learned"]
    columns, n_factors = 1 if len(match) <= 6 else 2, len(study.arrays["correlation"])
    figure, (upper, lower) = draw.stacked(0.9 + 0.34 * n_factors, 1.0 * -(-len(match) // columns))
    _draw_correlation(upper.subplots(), study)
    panels = draw.panels_of(lower, len(match), columns, sharex=True, sharey=True)
    n_test, dates = study.config["panel"]["n_test"], study.risk.index[:SHOWN_DATES]
    names = [as_label(name) for name in reference_names(study)]
    for axes, name, factor, learned in zip(panels, names, known.T, match.tolist(), strict=True):
        curves: list[Any] = [(factor, f"{reference_kind(study)} factor", draw.TRUTH, 2.4)]
        title = f"{name}: no consensus factor matches"
        if learned >= 0:
            r = number(match_of(study, learned)[1])
            title = f"{name} and {_labels(study)[learned]}: r = {r}"
            curves.append((study.factors.to_numpy()[:, learned], "consensus factor", draw.VAE, 1.1))
        draw.tidy(axes, "", "", title)
        shown = [(_in_units(values[-n_test:])[: len(dates)], *style) for values, *style in curves]
        draw.series(axes, dates, *shown)
    lower.supylabel("standard deviations", fontsize=draw.TEXT, color=draw.MUTED)
    draw.add_legend(figure, max(panels, key=lambda axes: len(axes.lines)))
    found = judge(study)
    rotation = f", a random rotation {number(found.rotation)}" if found.rotation > 0 else ""
    return draw.set_message(
        figure,
        f"Matched one-to-one (framed), consensus factors correlate {number(found.mcc)} with the "
        f"{reference_kind(study)} factors on average; chance reaches "
        f"{number(found.chance)}{rotation}",
    )


def _draw_correlation(axes: Axes, study: StudyResults) -> None:
    names = [as_label(name) for name in reference_names(study)]
    draw.tidy(axes, "", "consensus factor")
    values, words = study.arrays["correlation"], "correlation, test dates"
    draw.heat_map(axes, values, names, _labels(study), words, signed=True, written=True)
    for known, learned in enumerate(study.arrays["match_learned"].tolist()):
        if learned >= 0:
            draw.frame(axes, known, learned)


def _in_units(values: Float[np.ndarray, " date"]) -> Float[np.ndarray, " date"]:
    return (values - values.mean()) / max(float(values.std()), 1e-12)


def series_figure(study: StudyResults) -> Figure:
    """The consensus factors over all dates and their running sums, with the parts of the split."""
    panel, dates = study.config["panel"], study.factors.index
    names = list(study.factors)[:MOST_SERIES]
    figure = draw.new_figure(1.05 * len(names) + 1.2)
    panels = figure.subplots(len(names), 2, squeeze=False, sharex=True, sharey="col")
    starts = [0, panel["n_train"], panel["n_train"] + panel["n_validation"], len(dates)]
    for name, pair in zip(names, panels, strict=True):
        values = study.factors[name].to_numpy(np.float64)
        titles = (as_label(name), f"{as_label(name)}, running sum")
        for axes, curve, title in zip(pair, (values, values.cumsum()), titles, strict=True):
            draw.tidy(axes, "", "", title)
            draw.piecewise(axes, dates, curve, draw.VAE)
            for first in starts[1:-1]:
                axes.axvline(dates[first], color=draw.DATA, linewidth=1.0, linestyle=":")
    style: dict[str, Any] = {"fontsize": draw.SMALL, "color": draw.MUTED, "ha": "center"}
    for (first, last), part in zip(pairwise(starts), ("train", "val.", "test"), strict=True):
        axes, middle = panels[0, 1], dates[(first + last) // 2]
        axes.text(middle, 0.02, part, transform=axes.get_xaxis_transform(), **style)
    figure.supylabel("standard deviations", fontsize=draw.TEXT, color=draw.MUTED)
    n_factors = study.factors.shape[1]
    all_of_them = counted(n_factors, "consensus factor")
    some = f"The first {len(names)} of {all_of_them}" if len(names) < n_factors else all_of_them
    return draw.set_message(
        figure,
        f"{some} over {panel['n_dates']:,} dates, {panel['first_date']} to {panel['last_date']}; "
        f"from {panel['test_from']} on, no date took part in any choice",
    )


def loading_figure(study: StudyResults) -> Figure:
    """Consensus loadings, the reference's where known, those in the order of their match, and what
    the likeliest seed decodes unit vectors to, as in the notebook: all in the same unit."""
    names, learned, arrays = _labels(study), 100 * study.loadings.to_numpy(), study.arrays
    blocks = [(learned, names, "Consensus factors")]
    known = arrays.get("reference_loadings")
    if known is not None:
        match = arrays["match_learned"]
        order = np.argsort(np.where(match >= 0, match, len(names)), kind="stable")
        kind = f"{reference_kind(study).capitalize()} factors"
        titles = [as_label(reference_names(study)[place]) for place in order]
        in_percent = 100 * known * arrays["reference_factors"].std(axis=0)
        blocks.append((in_percent[:, order], titles, kind))
    decoded = 100 * arrays["unit_loadings"] * arrays["scaler_scale"][:, None]
    likeliest = [as_label(name) for name in study.config["refit_factors"]]
    blocks.append((decoded, likeliest, "Decoded unit vectors"))
    figure = _draw_blocks(study, blocks)
    asset, factor = np.unravel_index(np.abs(learned).argmax(), learned.shape)
    by = "by sector" if study.config["sectors"] else "in the panel’s order"
    return draw.set_message(
        figure,
        f"Loadings of {counted(len(learned), 'asset')}, {by}; the largest: "
        f"{as_label(study.config['assets'][asset])} moves {number(float(learned[asset, factor]))} "
        f"% with one standard deviation of {names[factor]}",
    )


def _draw_blocks(study: StudyResults, blocks: list[tuple[Any, list[str], str]]) -> Figure:
    """Loadings as heat maps side by side on one scale: assets by sector, factors across."""
    sectors = np.array([str(s) for s in study.config["sectors"] or [""] * len(study.loadings)])
    rows = np.argsort(sectors, kind="stable")
    runs = draw.runs_of(sectors[rows])
    figure = draw.new_figure(float(np.clip(1.8 + 0.16 * len(rows), 4.0, 7.2)))
    panels = figure.subplots(1, len(blocks), sharey=True, squeeze=False).ravel()
    limit = max(*(float(np.nanmax(np.abs(values))) for values, _, _ in blocks), 1e-12)
    for axes, (values, names, title) in zip(panels, blocks, strict=True):
        draw.tidy(axes, "", "", title)
        draw.heat_map(axes, values[rows], names, (), "", limit=limit, signed=True)
        axes.tick_params(axis="x", rotation=90)
        for first, _ in runs[1:]:
            axes.axhline(first - 0.5, color=draw.MUTED, linewidth=0.6)
    draw.add_colour_bar(panels[0].images[0], panels, "return, % per standard deviation")
    names = [as_label(study.config["assets"][row], 14) for row in rows]
    _name_rows(panels, names, [(as_label(sectors[rows[a]]), a, b) for a, b in runs])
    return figure


def _name_rows(panels: Any, assets: list[str], sectors: list[tuple[str, int, int]]) -> None:
    """Assets where there is room for each, and their sectors at the right; else sectors, else the
    number of assets alone."""
    # A sector narrower than a line of text stays without its name.
    wide = [(name, (a + b - 1) / 2) for name, a, b in sectors if b - a > len(assets) / 45]
    if len(assets) <= MOST_NAMED_ASSETS:
        panels[0].set_yticks(range(len(assets)), assets)
        for name, place in wide:
            draw.write(panels[-1], name, 1.03, place)
        return
    panels[0].set_yticks([place for _, place in wide], [name for name, _ in wide])
    if len(sectors) == 1:
        panels[0].set_ylabel(f"{len(assets)} assets", fontsize=draw.TEXT, color=draw.MUTED)
