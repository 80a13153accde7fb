"""The figures of the factors themselves: what they are, how stable, how near to known ones."""

from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxvae.report.results import StudyResults
from jaxvae.report.style import (
    DATA,
    MUTED,
    SHARE,
    SIGNED,
    SMALL,
    TEXT,
    TRUTH,
    VAE,
    add_colour_bar,
    add_legend,
    beta_label,
    count,
    date_axis,
    heat_map,
    label,
    name_ticks,
    new_figure,
    number,
    reference_names,
    set_message,
    tidy,
    tidy_heat_map,
    write_values,
)

SHOWN_DATES = 200
MOST_NAMED_ASSETS = 40


def factor_correlation(study: StudyResults) -> Figure:
    """Correlation of consensus with reference factors on the test part; the match is framed."""
    values = study.arrays["correlation"]
    rows, columns = values.shape
    figure = new_figure(min(9.0, 2.2 + 0.42 * rows), width=min(10.0, 5.6 + 0.55 * columns))
    axes = tidy_heat_map(figure.subplots(), _reference_word(study), "consensus factor")
    image = axes.imshow(values, cmap=heat_map(SIGNED), vmin=-1, vmax=1, aspect="auto")
    write_values(axes, values, np.abs(values))
    for reference, learned in enumerate(study.arrays["match_learned"]):
        if learned >= 0:
            corner = (reference - 0.47, learned - 0.46)
            axes.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, ec=DATA, lw=2.0))
    name_ticks(axes, "x", _reference_names(study), rotation=30, ha="right")
    name_ticks(axes, "y", [label(name) for name in study.config["factor_names"]])
    add_colour_bar(figure, image, axes, "correlation, test part")
    set_message(figure, _correlation_message(study))
    return figure


def _correlation_message(study: StudyResults) -> str:
    names = ("mcc", "mcc_chance_95", "mcc_rotation_95")
    mcc, chance, floor = (number(study.metric("consensus", name, "test")) for name in names)
    return (
        f"Matched one-to-one (framed), consensus factors correlate {mcc} with the "
        f"{_reference_word(study, plural=True)} on average; chance reaches {chance}, "
        f"a random rotation {floor}"
    )


def _reference_word(study: StudyResults, plural: bool = False) -> str:
    word = "true factor" if study.config["reference"]["planted"] else "reference factor"
    return word + ("s" if plural else "")


def _reference_names(study: StudyResults) -> list[str]:
    return [label(name) for name in reference_names(study)]


def matched_factors(study: StudyResults) -> Figure:
    """Each reference factor and the consensus factor matched to it, over the first test dates."""
    known, match = study.arrays["reference_factors"], study.arrays["match_learned"]
    start = _first_test_row(study)
    rows = slice(start, start + SHOWN_DATES)
    columns = 1 if len(match) <= 6 else 2
    lines = -(-len(match) // columns)
    figure = new_figure(1.15 * lines + 1.3)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    dates = study.factors.index[rows]
    for reference, (axes, learned) in enumerate(zip(panels, match, strict=False)):
        tidy(axes, "", "", _match_title(study, reference))
        truth = _standardised(known[start:, reference])[:SHOWN_DATES]
        axes.plot(dates, truth, color=TRUTH, linewidth=2.4, label=_reference_word(study))
        if learned >= 0:
            curve = _standardised(study.factors.to_numpy()[start:, learned])[:SHOWN_DATES]
            axes.plot(dates, curve, label="consensus factor", color=VAE, linewidth=1.1)
        date_axis(axes, dates)
    for axes in panels[len(match) :]:
        axes.set_visible(False)
    figure.supylabel("standard deviations", fontsize=TEXT, color=MUTED)
    add_legend(figure, max(panels, key=lambda axes: len(axes.lines)))
    set_message(figure, _tracking_message(study))
    return figure


def _match_title(study: StudyResults, reference: int) -> str:
    learned = int(study.arrays["match_learned"][reference])
    name = _reference_names(study)[reference]
    if learned < 0:
        return f"{name}: no consensus factor matches"
    return f"{name} and {label(study.config['factor_names'][learned])}: " + (
        f"r = {number(_matched_correlation(study, reference))}"
    )


def _matched_correlation(study: StudyResults, reference: int) -> float:
    learned = int(study.arrays["match_learned"][reference])
    return float(study.arrays["correlation"][learned, reference]) if learned >= 0 else 0.0


def _tracking_message(study: StudyResults) -> str:
    names = _reference_names(study)
    r = np.array([_matched_correlation(study, reference) for reference in range(len(names))])
    best, worst = int(np.abs(r).argmax()), int(np.abs(r).argmin())
    words = f"On test dates, {names[best]} is followed best (r = {number(r[best])})"
    return words + (f" and {names[worst]} least ({number(float(r[worst]))})" if len(r) > 1 else "")


def _standardised(values: Float[np.ndarray, " date"]) -> Float[np.ndarray, " date"]:
    return (values - values.mean()) / max(float(values.std()), 1e-12)


def _first_test_row(study: StudyResults) -> int:
    return len(study.factors) - study.config["panel"]["n_test"]


def loadings(study: StudyResults) -> Figure:
    """Consensus loadings, beside the reference's where known, those in the order of their match."""
    names = [label(name) for name in study.config["factor_names"]]
    learned = 100 * study.loadings.to_numpy()
    blocks = [(learned, names, "Consensus factors", "return, % per standard deviation")]
    known = study.arrays.get("reference_loadings")
    if known is not None:
        title = _reference_word(study, plural=True).capitalize()
        order = _matched_order(study)
        known_names = [_reference_names(study)[place] for place in order]
        blocks.append((known[:, order], known_names, title, "return per unit of the factor"))
    figure = _draw_loadings(study, blocks)
    asset, factor = np.unravel_index(np.abs(learned).argmax(), learned.shape)
    by = "by sector" if study.config["sectors"] else "in the panel’s order"
    set_message(
        figure,
        f"Loadings of {count(len(learned), 'asset')}, {by}; the largest: "
        f"{label(study.config['assets'][asset])} moves {number(float(learned[asset, factor]))} % "
        f"with one standard deviation of {names[factor]}",
    )
    return figure


def decoder_loadings(study: StudyResults) -> Figure:
    """The best member's decoder: decoded unit vectors, as in the notebook, and mean Jacobian."""
    unit, mean = study.arrays["unit_loadings"], study.arrays["mean_loadings"]
    names = [label(name) for name in study.config["refit_factors"]]
    words = "standard deviations of return"
    blocks = [
        (unit, names, "Decoded unit vectors (the notebook’s)", words),
        (mean, names, "Mean Jacobian of the decoder", words + " per unit of z"),
    ]
    figure = _draw_loadings(study, blocks)
    set_message(
        figure,
        "What each factor of the best VAE moves, read from its decoder in two ways",
    )
    return figure


def _draw_loadings(study: StudyResults, blocks: list[tuple[Any, list[str], str, str]]) -> Figure:
    rows = _sector_order(study)
    figure = new_figure(float(np.clip(1.8 + 0.16 * len(rows), 4.0, 7.2)))
    panels = figure.subplots(1, len(blocks), sharey=True, squeeze=False).ravel()
    for axes, (values, names, title, words) in zip(panels, blocks, strict=True):
        tidy_heat_map(axes, "", "", title)
        largest = max(float(np.abs(values).max()), 1e-12)
        style = {"cmap": heat_map(SIGNED), "aspect": "auto", "interpolation": "nearest"}
        image = axes.imshow(values[rows], vmin=-largest, vmax=largest, **style)
        name_ticks(axes, "x", names, rotation=40, ha="right", rotation_mode="anchor")
        add_colour_bar(figure, image, axes, words)
        _draw_sector_lines(study, rows, axes)
    _name_assets(study, rows, panels[0])
    return figure


def _matched_order(study: StudyResults) -> Int[np.ndarray, " reference"]:
    """Known factors in the order of the consensus factors they match, the unmatched last."""
    match = study.arrays["match_learned"]
    return np.argsort(np.where(match >= 0, match, len(match) + match.max()), kind="stable")


def _sector_order(study: StudyResults) -> Int[np.ndarray, " asset"]:
    sectors = study.config["sectors"]
    if not sectors:
        return np.arange(len(study.config["assets"]))
    return np.argsort(np.array([str(sector) for sector in sectors]), kind="stable")


def _sector_edges(study: StudyResults, rows: Int[np.ndarray, " asset"]) -> list[int]:
    sectors = np.array([str(sector) for sector in study.config["sectors"]])[rows]
    return [0, *(np.flatnonzero(sectors[1:] != sectors[:-1]) + 1).tolist(), len(rows)]


def _draw_sector_lines(study: StudyResults, rows: Int[np.ndarray, " asset"], axes: Axes) -> None:
    if study.config["sectors"]:
        for edge in _sector_edges(study, rows)[1:-1]:
            axes.axhline(edge - 0.5, color=MUTED, linewidth=0.6)


def _name_assets(study: StudyResults, rows: Int[np.ndarray, " asset"], axes: Axes) -> None:
    """Tickers where there is room for each, else sectors, else the number of assets alone."""
    assets, sectors = study.config["assets"], study.config["sectors"]
    if len(rows) <= MOST_NAMED_ASSETS:
        axes.set_yticks(range(len(rows)), [label(assets[row], 14) for row in rows])
    elif sectors:
        edges = _sector_edges(study, rows)
        # A sector narrower than a line of text stays without its name.
        wide = [(a, b) for a, b in pairwise(edges) if b - a > len(rows) / 45]
        places = [(a + b - 1) / 2 for a, b in wide]
        axes.set_yticks(places, [label(sectors[rows[a]]) for a, _ in wide])
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(rows)} assets", fontsize=TEXT, color=MUTED)


def stability(study: StudyResults) -> Figure:
    """Mean correlation, over the seeds of each beta, of a member's factor with the consensus."""
    values = study.arrays["stability"]
    betas = np.sort(study.members[study.members.ok].beta.unique())
    figure = new_figure(min(9.0, 2.0 + 0.4 * len(values)))
    axes = tidy_heat_map(figure.subplots(), "consensus factor", "β")
    image = axes.imshow(values, cmap=heat_map(SHARE), vmin=0, vmax=1, aspect="auto")
    if len(values) <= 25:
        write_values(axes, values, values)
    name_ticks(axes, "x", [label(name) for name in study.config["factor_names"]], **_slant(values))
    name_ticks(axes, "y", [f"{beta:.3g}" for beta in betas])
    chosen = chosen_row(study)
    corner, width = (-0.49, chosen - 0.47), values.shape[1] - 0.02
    axes.add_patch(Rectangle(corner, width, 0.94, fill=False, ec=DATA, lw=1.8))
    add_colour_bar(figure, image, axes, "mean correlation")
    row, seeds = values[chosen], len(study.config["seeds"])
    message = (
        f"At the chosen {beta_label(betas[chosen])} (framed), seeds agree with the consensus by "
        f"{number(row.max())} on their most stable factor and {number(row.min())} on the least"
    )
    set_message(figure, message if seeds > 1 else "With one seed, stability over seeds stays open")
    return figure


def _slant(values: Float[np.ndarray, "row column"]) -> dict[str, Any]:
    return {"rotation": 40, "ha": "right"} if values.shape[1] > 9 else {}


def chosen_row(study: StudyResults) -> int:
    """The row of the stability array that belongs to the chosen beta."""
    betas = np.sort(study.members[study.members.ok].beta.unique())
    return int(np.abs(betas - study.config["chosen"]["beta"]).argmin())


def agreement(study: StudyResults) -> Figure:
    """How far each pair of members agrees on its factors, by beta and then seed."""
    members = study.members[study.members.ok].reset_index(drop=True)
    order = members.sort_values(["beta", "seed"]).index.to_numpy()
    values = study.arrays["agreement"][np.ix_(order, order)]
    figure = new_figure(6.8, width=8.0)
    axes = tidy_heat_map(figure.subplots(), "members, by β and then seed", "")
    style: dict[str, Any] = {"cmap": heat_map(SHARE), "interpolation": "nearest"}
    image = axes.imshow(values, vmin=0, vmax=1, **style)
    betas = members.beta.to_numpy()[order]
    edges = [0, *(np.flatnonzero(np.diff(betas)) + 1).tolist(), len(betas)]
    for edge in edges[1:-1]:
        axes.axhline(edge - 0.5, color="white", linewidth=1.2)
        axes.axvline(edge - 0.5, color="white", linewidth=1.2)
    step = -(-len(edges[1:]) // 12)
    middles = [(a + b - 1) / 2 for a, b in pairwise(edges)][::step]
    names = [beta_label(betas[edge]) for edge in edges[:-1:step]]
    axes.set_xticks(middles, names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(middles, names)
    add_colour_bar(figure, image, axes, "mean matched |correlation|")
    set_message(figure, _agreement_message(values))
    return figure


def _agreement_message(values: Float[np.ndarray, "member member"]) -> str:
    pairs = values[np.triu_indices(len(values), 1)]
    if not len(pairs):
        return "With one member there is nothing to agree with"
    return (
        f"Members’ factors agree by {number(float(np.median(pairs)))} in the median pair "
        f"(from {number(float(pairs.min()))} to {number(float(pairs.max()))})"
    )


def factor_series(study: StudyResults) -> Figure:
    """The consensus factors over all dates, with the parts of the split."""
    n_factors = study.factors.shape[1]
    columns = 1 if n_factors <= 8 else 2
    lines = -(-n_factors // columns)
    figure = new_figure(0.95 * lines + 1.4)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, study.factors, strict=False):
        tidy(axes, "", "", label(name))
        axes.plot(study.factors.index, study.factors[name], color=VAE, linewidth=0.6)
        _draw_split(study, axes)
        date_axis(axes, study.factors.index)
    for axes in panels[n_factors:]:
        axes.set_visible(False)
    for axes in panels[:columns]:
        _name_split(study, axes)
    figure.supylabel("standard deviations", fontsize=TEXT, color=MUTED)
    panel = study.config["panel"]
    set_message(
        figure,
        f"{count(n_factors, 'consensus factor')} over {panel['n_dates']:,} dates, "
        f"{panel['first_date']} to {panel['last_date']}; test dates took no part in any choice",
    )
    return figure


def _draw_split(study: StudyResults, axes: Axes) -> None:
    for first in _split_rows(study)[1:]:
        axes.axvline(study.factors.index[first], color=DATA, linewidth=1.0, linestyle=":")


def _name_split(study: StudyResults, axes: Axes) -> None:
    edges = (*_split_rows(study), len(study.factors))
    style: dict[str, Any] = {"fontsize": SMALL, "color": MUTED, "va": "bottom", "ha": "center"}
    for (first, last), name in zip(pairwise(edges), ("train", "validation", "test"), strict=True):
        place = (study.factors.index[(first + last) // 2], 1.0)
        axes.annotate(name, place, (0, 3), ("data", "axes fraction"), "offset points", **style)


def _split_rows(study: StudyResults) -> tuple[int, int, int]:
    panel = study.config["panel"]
    return 0, panel["n_train"], panel["n_train"] + panel["n_validation"]
