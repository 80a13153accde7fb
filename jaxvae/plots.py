"""The figures of a study: each reads the results and returns a matplotlib Figure.

Nothing is estimated here. Every title states what its figure shows, in the study's own numbers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxvae.folder import Study
from jaxvae.plot_style import (
    DATA,
    MUTED,
    PCA,
    SHARE,
    SIGNED,
    SMALL,
    TEXT,
    VAE,
    add_colour_bar,
    add_legend,
    beta_axis,
    beta_colours,
    beta_label,
    beta_map,
    count,
    heat_map,
    label,
    model_colour,
    model_name,
    name_ticks,
    new_figure,
    number,
    percent,
    plain_log,
    set_message,
    tidy,
    tidy_heat_map,
    write_values,
)

LIKELIHOOD = "nats a date"
SHOWN_DATES = 200
MOST_COMPONENTS = 20
# Early losses fall by so much that the rest of a run would be a flat line.
FIRST_SHOWN = 0.05
SCORES = {
    "log_likelihood_validation": f"Validation log-likelihood\n({LIKELIHOOD}); it chose β",
    "log_likelihood_test": f"Test log-likelihood\n({LIKELIHOOD})",
    "r2_test": "Test R² of the reconstruction\n(share of variance)",
    "mcc_test": "Matched |correlation| with\nthe reference, test part",
}
LOSSES = ("total", "reconstruction", "kl", "validation")


def comparison(study: Study) -> Figure:
    """Paired differences in test log-likelihood with their intervals: the headline."""
    table = study.comparisons[study.comparisons.split == "test"]
    ensemble = table[table.model == "vae_ensemble"].sort_values("difference").reset_index(drop=True)
    figure = new_figure(1.7 + 0.5 * len(ensemble))
    axes = tidy(figure.subplots(), f"VAE minus baseline, {LIKELIHOOD}, test part", grid="x")
    axes.axvline(0, color=DATA, linewidth=1.2)
    styles = (("vae_ensemble", 0.0, VAE, 7.0), ("vae_best", 0.25, "white", 5.0))
    for model, shift, face, size in styles:
        rows = table[table.model == model].set_index("baseline").reindex(ensemble.baseline)
        errors = np.abs(rows[["low", "high"]].to_numpy() - rows[["difference"]].to_numpy()).T
        style: dict[str, Any] = {"fmt": "o", "color": VAE, "ms": size, "mfc": face, "capsize": 0}
        place = np.arange(len(rows)) - shift
        axes.errorbar(rows.difference, place, xerr=errors, label=model_name(study, model), **style)
    names = [model_name(study, name) for name in ensemble.baseline]
    axes.set_yticks(range(len(ensemble)), names)
    axes.set_ylim(-0.6, len(ensemble) - 0.4)
    for text, name in zip(axes.get_yticklabels(), ensemble.baseline, strict=True):
        text.set(color=model_colour(name), fontsize=TEXT + 0.5)
    for place, row in enumerate(ensemble.itertuples()):
        words = f"{number(row.difference, 2, True)}  [{number(row.low)}, {number(row.high)}]"
        where = (1.01, place)
        axes.annotate(words, where, xycoords=("axes fraction", "data"), va="center", fontsize=TEXT)
    axes.margins(x=0.08)
    add_legend(figure, axes)
    set_message(figure, _comparison_message(study, ensemble))
    return figure


def _comparison_message(study: Study, rows: pd.DataFrame) -> str:
    ahead, behind = int((rows.low > 0).sum()), int((rows.high < 0).sum())
    closest = rows.iloc[0]
    return (
        f"Out of sample the VAE ensemble is ahead of {ahead} of {count(len(rows), 'baseline')} and "
        f"behind {behind}; against the strongest, {model_name(study, closest.baseline)}, it stands "
        f"at {number(closest.difference, 2, True)} {LIKELIHOOD} "
        f"[{number(closest.low)}, {number(closest.high)}]"
    )


def score_over_beta(study: Study) -> Figure:
    """Members' scores over beta: median line, min to max over seeds as a band, every member."""
    members = study.members[study.members.ok]
    scores = [name for name in SCORES if name in members]
    figure = new_figure(3.3 * ((len(scores) + 1) // 2) + 0.8)
    panels = figure.subplots((len(scores) + 1) // 2, 2, squeeze=False).ravel()
    for axes, name in zip(panels, scores, strict=False):
        tidy(axes, "β", "", SCORES[name])
        by_beta = members.groupby("beta")[name]
        betas = sorted(members.beta.unique())
        band = {"color": VAE, "alpha": 0.15, "linewidth": 0, "label": "min to max over seeds"}
        axes.fill_between(betas, by_beta.min(), by_beta.max(), **band)
        axes.plot(betas, by_beta.median(), color=VAE, linewidth=2, label="median over seeds")
        axes.plot(members.beta, members[name], ".", color=VAE, alpha=0.5, ms=5, label="a member")
        axes.axvline(study.config["chosen"]["beta"], color=MUTED, lw=0.9, ls=":", label="β chosen")
        _draw_best_baseline(study, axes, name)
        beta_axis(axes, betas)
    for axes in panels[len(scores) :]:
        axes.set_visible(False)
    add_legend(figure, panels[0])
    lost = len(study.members) - len(members)
    suffix = f"; {count(lost, 'member')} diverged and is not shown" if lost else ""
    beta, seeds = study.config["chosen"]["beta"], len(study.config["seeds"])
    message = f"{beta_label(beta)} scores best on validation, over {count(seeds, 'seed')}{suffix}"
    set_message(figure, message)
    return figure


def _draw_best_baseline(study: Study, axes: Axes, score: str) -> None:
    metric, _, split = score.rpartition("_")
    rows = study.metrics[(study.metrics.metric == metric) & (study.metrics.split == split)]
    rows = rows[~rows.model.str.startswith(("vae", "consensus"))]
    if rows.empty:
        return
    best = rows.loc[rows.value.idxmax()]
    colour = model_colour(best.model)
    axes.axhline(best.value, color=colour, linewidth=1.4, linestyle="--")
    words, place = model_name(study, best.model), (0.99, best.value)
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
    axes.annotate(words, place, fontsize=SMALL, color=colour, **where)


def training_curves(study: Study) -> Figure:
    """Losses by epoch: median and range over the seeds of each beta."""
    members = study.members[study.members.ok]
    history = study.history[study.history.member.isin(members.member)]
    colours = beta_colours(sorted(members.beta.unique()))
    notebook = study.config["preset"] == "notebook"
    figure = new_figure(6.6)
    panels = figure.subplots(2, 2, sharex=True).ravel()
    for axes, loss in zip(panels, LOSSES, strict=True):
        unit = "mean sum of a batch" if notebook else LIKELIHOOD
        tidy(axes, "epoch" if axes in panels[2:] else "", unit, _loss_name(loss))
        # A member that stopped early keeps its last value, so that each band keeps its seeds.
        runs = history.pivot_table(index="epoch", columns="member", values=loss).ffill()
        for beta, colour in colours.items():
            seeds = runs[runs.columns.intersection(members.member[members.beta == beta])]
            low, high = seeds.min(axis=1), seeds.max(axis=1)
            axes.fill_between(runs.index, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(runs.index, seeds.median(axis=1), color=colour, lw=1.6, label=beta_label(beta))
        _limit_to_later(axes, runs)
    if len(colours) <= 8:
        add_legend(figure, panels[0], columns=8)
    else:
        _add_beta_bar(figure, list(panels), list(colours))
    stops = members.best_epoch
    set_message(
        figure,
        f"Training settles: the best epoch is {number(stops.median(), 0)} in the median "
        f"(from {stops.min()} to {stops.max()}) of at most {study.config['epochs']}",
    )
    return figure


def _loss_name(loss: str) -> str:
    names = {"kl": "KL divergence", "total": "Total loss", "reconstruction": "Reconstruction loss"}
    return names.get(loss, "Validation loss")


def _limit_to_later(axes: Axes, runs: pd.DataFrame) -> None:
    later = runs.iloc[int(FIRST_SHOWN * len(runs)) :]
    low, high = float(np.nanmin(later)), float(np.nanmax(later))
    axes.set_ylim(low - 0.04 * (high - low) - 1e-9, high + 0.08 * (high - low) + 1e-9)


def _add_beta_bar(figure: Figure, panels: list[Axes], betas: list[float]) -> None:
    norm = BoundaryNorm(np.arange(len(betas) + 1) - 0.5, len(betas))
    bar = figure.colorbar(ScalarMappable(norm, beta_map(betas)), ax=panels, aspect=40, pad=0.01)
    places = range(0, len(betas), -(-len(betas) // 8))
    bar.set_ticks(list(places), labels=[f"{betas[place]:g}" for place in places])
    bar.set_label("β", fontsize=TEXT, color=MUTED)
    bar.ax.tick_params(labelsize=SMALL, length=0)


def explained_variance(study: Study) -> Figure:
    """PCA's share of variance by component, and cumulated."""
    shares, n_factors = study.arrays["explained_variance"], study.config["n_factors"]
    shown = shares[: max(MOST_COMPONENTS, n_factors)]
    places, total = np.arange(1, len(shown) + 1), np.cumsum(shown)
    figure = new_figure(3.6)
    axes = tidy(figure.subplots(), "principal component", "share of variance")
    axes.bar(places, shown, color=PCA, alpha=0.75, width=0.7, label="of the component")
    axes.plot(places, total, "o-", color=DATA, linewidth=1.4, markersize=4, label="cumulated")
    axes.axvline(n_factors + 0.5, color=MUTED, linestyle=":", linewidth=1)
    axes.set(ylim=(0, 1.05), xticks=places[:: max(1, len(places) // 20)])
    if len(shown) <= 12:
        for place, share in zip(places, shown, strict=True):
            axes.annotate(number(share, 3), (place, share), (0, 2), textcoords="offset points",
                          ha="center", fontsize=SMALL)  # fmt: skip
    add_legend(figure, axes)
    components = "component explains" if n_factors == 1 else f"{n_factors} components explain"
    share = percent(float(shares[:n_factors].sum()))
    set_message(figure, f"The first {components} {share} of the returns’ variance")
    return figure


def factor_correlation(study: Study) -> Figure:
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


def _correlation_message(study: Study) -> str:
    names = ("mcc", "mcc_chance_95", "mcc_rotation_floor")
    mcc, chance, floor = (number(study.metric("consensus", name, "test")) for name in names)
    return (
        f"Matched one-to-one (framed), consensus factors correlate {mcc} with the "
        f"{_reference_word(study, plural=True)} on average; chance reaches {chance}, "
        f"a random rotation {floor}"
    )


def _reference_word(study: Study, plural: bool = False) -> str:
    word = "true factor" if study.config["reference"]["planted"] else "reference factor"
    return word + ("s" if plural else "")


def _reference_names(study: Study) -> list[str]:
    return [label(name) for name in study.config["reference"]["names"]]


def matched_factors(study: Study) -> Figure:
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
        axes.plot(dates, truth, color=DATA, linewidth=1.0, label=_reference_word(study))
        if learned >= 0:
            sign = study.arrays["match_signs"][reference]
            curve = _standardised(study.factors.to_numpy()[start:, learned])[:SHOWN_DATES]
            style: dict[str, Any] = {"color": VAE, "linewidth": 1.3, "alpha": 0.8}
            axes.plot(dates, sign * curve, label="consensus factor, sign aligned", **style)
    for axes in panels[len(match) :]:
        axes.set_visible(False)
    figure.supylabel("standard deviations", fontsize=TEXT, color=MUTED)
    add_legend(figure, max(panels, key=lambda axes: len(axes.lines)))
    set_message(figure, _tracking_message(study))
    return figure


def _match_title(study: Study, reference: int) -> str:
    learned = int(study.arrays["match_learned"][reference])
    name = _reference_names(study)[reference]
    if learned < 0:
        return f"{name}: no consensus factor matches"
    return f"{name} and {label(study.config['factor_names'][learned])}: " + (
        f"r = {number(_matched_correlation(study, reference))}"
    )


def _matched_correlation(study: Study, reference: int) -> float:
    learned = int(study.arrays["match_learned"][reference])
    sign = study.arrays["match_signs"][reference]
    return float(sign * study.arrays["correlation"][learned, reference]) if learned >= 0 else 0.0


def _tracking_message(study: Study) -> str:
    names = _reference_names(study)
    r = np.array([_matched_correlation(study, reference) for reference in range(len(names))])
    best, worst = int(r.argmax()), int(r.argmin())
    words = f"On test dates, {names[best]} is followed best (r = {number(r[best])})"
    return words + (f" and {names[worst]} least ({number(r[worst])})" if len(r) > 1 else "")


def _standardised(values: Float[np.ndarray, " date"]) -> Float[np.ndarray, " date"]:
    return (values - values.mean()) / max(float(values.std()), 1e-12)


def _first_test_row(study: Study) -> int:
    return len(study.factors) - study.config["panel"]["n_test"]
