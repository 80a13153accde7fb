"""The figures of a study: each reads the results and returns a matplotlib Figure.

Nothing is estimated here. Every title states what its figure shows, in the study's own numbers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from jaxvae.report.factor_figures import (
    agreement,
    decoder_loadings,
    factor_correlation,
    factor_series,
    loadings,
    matched_factors,
    stability,
)
from jaxvae.report.number_figures import n_factors
from jaxvae.report.part_figures import has_parts, kl_parts
from jaxvae.report.results import StudyResults
from jaxvae.report.style import (
    DATA,
    MUTED,
    PCA,
    SMALL,
    TEXT,
    TRUTH,
    VAE,
    add_legend,
    beta_axis,
    beta_colours,
    beta_label,
    beta_map,
    count,
    date_axis,
    label,
    model_colour,
    model_name,
    new_figure,
    number,
    percent,
    plain_log,
    set_message,
    tidy,
)

LIKELIHOOD = "nats a date"
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


def comparison(study: StudyResults) -> Figure:
    """Paired differences in test log-likelihood with their intervals: the headline."""
    table = study.comparisons[study.comparisons.split == "test"]
    ensemble = table[table.model == "vae_ensemble"].sort_values("difference").reset_index(drop=True)
    figure = new_figure(1.7 + 0.5 * len(ensemble))
    words = f"←  baseline better     VAE minus baseline, {LIKELIHOOD}     VAE better  →"
    axes = tidy(figure.subplots(), words, grid="x")
    axes.axvline(0, color=DATA, linewidth=1.2)
    for model, shift, face, size in (("vae_ensemble", 0.0, VAE, 7), ("vae_best", 0.25, "white", 5)):
        rows = table[table.model == model].set_index("baseline").reindex(ensemble.baseline)
        errors = np.abs(rows[["low", "high"]].to_numpy() - rows[["difference"]].to_numpy()).T
        style: dict[str, Any] = {"fmt": "o", "color": VAE, "ms": size, "mfc": face, "capsize": 0}
        heights = np.arange(len(rows)) - shift
        axes.errorbar(
            rows.difference, heights, xerr=errors, label=model_name(study, model), **style
        )
    axes.set_ylim(-0.6, len(ensemble) - 0.4)
    axes.margins(x=0.08)
    _name_comparisons(study, axes, ensemble)
    add_legend(figure, axes)
    set_message(figure, _comparison_message(study, ensemble))
    return figure


def _name_comparisons(study: StudyResults, axes: Axes, rows: pd.DataFrame) -> None:
    """Baselines on the left in their colours, differences as numbers on the right."""
    axes.set_yticks(range(len(rows)), [model_name(study, name) for name in rows.baseline])
    for text, name in zip(axes.get_yticklabels(), rows.baseline, strict=True):
        text.set(color=model_colour(name), fontsize=TEXT + 0.5)
    right: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "va": "center"}
    differences = zip(rows.difference, rows.low, rows.high, strict=True)
    for place, (middle, low, high) in enumerate(differences):
        words = f"{number(middle, 2, True)}  [{number(low)}, {number(high)}]"
        axes.annotate(words, (1.01, place), fontsize=TEXT, **right)
    words = "ensemble − baseline\n[95 % interval]"
    axes.annotate(words, (1.01, len(rows) - 0.45), fontsize=SMALL, color=MUTED, **right)


def _comparison_message(study: StudyResults, rows: pd.DataFrame) -> str:
    ahead, behind = int((rows.low > 0).sum()), int((rows.high < 0).sum())
    closest = rows.iloc[0]
    return (
        f"Out of sample the VAE ensemble is ahead of {ahead} of {count(len(rows), 'baseline')} and "
        f"behind {behind}; against the strongest, {model_name(study, closest.baseline)}, it stands "
        f"at {number(closest.difference, 2, True)} {LIKELIHOOD} "
        f"[{number(closest.low)}, {number(closest.high)}]"
    )


def score_over_beta(study: StudyResults) -> Figure:
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
    suffix = f"; {count(lost, 'member')} diverged (not shown)" if lost else ""
    beta, seeds = study.config["chosen"]["beta"], len(study.config["seeds"])
    rank = "scores best on validation" if len(study.config["betas"]) > 1 else "alone was tried"
    set_message(figure, f"{beta_label(beta)} {rank}, over {count(seeds, 'seed')}{suffix}")
    return figure


def _draw_best_baseline(study: StudyResults, axes: Axes, score: str) -> None:
    metric, _, split = score.rpartition("_")
    rows = study.metrics[(study.metrics.metric == metric) & (study.metrics.split == split)]
    rows = rows[~rows.model.str.startswith(("vae", "consensus"))]
    # More factors rebuild more: only likelihood is fair to models of another size.
    if metric != "log_likelihood":
        rows = rows[~rows.model.str.endswith("_best")]
    if rows.empty:
        return
    best = rows.sort_values("value").iloc[-1]
    colour = model_colour(best.model)
    axes.axhline(best.value, color=colour, linewidth=1.4, linestyle="--")
    words, place = model_name(study, best.model), (0.99, best.value)
    where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
    left = where | {"ha": "left"}
    axes.annotate(words, place, fontsize=SMALL, color=colour, **where)
    floor = study.metric("consensus", "mcc_rotation_95", split)
    if metric == "mcc" and np.isfinite(floor):
        axes.axhline(floor, color=MUTED, linewidth=1.2, linestyle=":")
        axes.annotate("random rotation", (0.01, floor), fontsize=SMALL, color=MUTED, **left)


def training_curves(study: StudyResults) -> Figure:
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
            seeds = runs[[m for m in members.member[members.beta == beta] if m in runs]]
            low, high = seeds.min(axis=1), seeds.max(axis=1)
            axes.fill_between(runs.index, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(runs.index, seeds.median(axis=1), color=colour, label=beta_label(beta))
        _limit_to_later(axes, runs)
    if len(colours) <= 8:
        add_legend(figure, panels[0], columns=8)
    else:
        _add_beta_bar(figure, list(panels), list(colours))
    set_message(figure, _training_message(study))
    return figure


def _training_message(study: StudyResults) -> str:
    stops = study.members.best_epoch[study.members.ok]
    most = f"of at most {study.config['epochs']}"
    if stops.min() == stops.max():
        return f"Every member keeps its epoch {stops.min()} {most}"
    middle = number(stops.median(), 0)
    return f"Members keep epoch {middle} in the median ({stops.min()} to {stops.max()}) {most}"


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
    bar.set_ticks(list(places), labels=[f"{betas[place]:.3g}" for place in places])
    bar.outline.set_visible(False)
    bar.minorticks_off()
    bar.set_label("β", fontsize=TEXT, color=MUTED)
    bar.ax.tick_params(labelsize=SMALL, length=0)


def explained_variance(study: StudyResults) -> Figure:
    """PCA's share of variance by component, and cumulated."""
    shares = study.arrays["explained_variance"]
    n_factors = min(study.config["n_factors"], len(shares))
    shown = shares[: max(MOST_COMPONENTS, n_factors)]
    places, total = np.arange(1, len(shown) + 1), np.cumsum(shown)
    figure = new_figure(3.6)
    axes = tidy(figure.subplots(), "principal component", "share of variance")
    axes.bar(places, shown, color=PCA, alpha=0.75, width=0.7, label="of the component")
    axes.plot(places, total, "o-", color=DATA, linewidth=1.4, markersize=4, label="cumulated")
    axes.axvline(n_factors + 0.5, color=MUTED, linestyle=":", linewidth=1)
    axes.set(ylim=(0, 1.05), xticks=places[:: max(1, len(places) // 20)])
    if len(shown) <= 12:
        for place, share in zip(places, total, strict=True):
            where: dict[str, Any] = {"textcoords": "offset points", "ha": "right"}
            axes.annotate(number(share, 3), (place, share), (0, 6), fontsize=SMALL, **where)
    add_legend(figure, axes)
    components = "component explains" if n_factors == 1 else f"{n_factors} components explain"
    share = percent(float(shares[:n_factors].sum()))
    set_message(figure, f"The first {components} {share} of the returns’ variance")
    return figure


def reconstruction(study: StudyResults) -> Figure:
    """Test returns of a few assets, and what the VAE and PCA make of them."""
    data = study.arrays["reconstruction_data"]
    first = len(study.factors) - study.config["panel"]["n_test"]
    dates = study.factors.index[first : first + len(data)]
    figure = new_figure(2.6 * -(-data.shape[1] // 2) + 1.0)
    panels = figure.subplots(-(-data.shape[1] // 2), 2, sharex=True, squeeze=False).ravel()
    curves = (("data", "data", TRUTH, 2.4), ("pca", "PCA", PCA, 1.1), ("vae", "VAE", VAE, 1.1))
    for column, axes in enumerate(panels):
        if column >= data.shape[1]:
            axes.set_visible(False)
            continue
        tidy(axes, "", "", label(study.config["shown_assets"][column], 40))
        for name, words, colour, width in curves:
            values = study.arrays[f"reconstruction_{name}"][:, column]
            axes.plot(dates, values, color=colour, linewidth=width, label=words)
        date_axis(axes, dates)
    figure.supylabel("standardised return", fontsize=TEXT, color=MUTED)
    add_legend(figure, panels[0])
    vae, pca = (percent(study.metric(model, "r2", "test")) for model in ("vae_best", "pca"))
    factors = count(study.config["n_factors"], "factor")
    set_message(
        figure, f"From {factors}, the best VAE rebuilds {vae} of the test variance, PCA {pca}"
    )
    return figure


def generated(study: StudyResults) -> Figure:
    """Generated returns beside the data: density, its tails, and correlations of asset pairs."""
    figure = new_figure(4.3)
    body, tails, pairs = figure.subplots(1, 3)
    for axes, title in ((body, "Pooled returns"), (tails, "The same, log scale: tails")):
        tidy(axes, "standardised return", "density", title)
        edges = study.arrays["density_edges"]
        for name, words, colour in (("data", "data", DATA), ("generated", "generated (VAE)", VAE)):
            density = study.arrays[f"density_{name}"]
            shown = density if axes is body else np.where(density > 0, density, np.nan)
            axes.stairs(shown, edges, baseline=None, color=colour, linewidth=1.5, label=words)
    body.set_ylim(bottom=0)
    plain_log(tails)
    _draw_pairs(study, pairs)
    add_legend(figure, body)
    set_message(figure, _generated_message(study))
    return figure


def _draw_pairs(study: StudyResults, axes: Axes) -> None:
    data, made = study.arrays["correlations_data"], study.arrays["correlations_generated"]
    tidy(
        axes, "correlation in the data", "correlation generated", "Pairs of assets (dashed: equal)"
    )
    alpha = float(np.clip(300 / max(len(data), 1), 0.12, 0.8))
    axes.plot(data, made, ".", color=VAE, alpha=alpha, markersize=3, markeredgewidth=0)
    low = float(min(data.min(), made.min())) if len(data) else -1.0
    axes.plot([low, 1], [low, 1], color=DATA, linewidth=1, linestyle="--")
    axes.set_aspect("equal", adjustable="box")


def _generated_message(study: StudyResults) -> str:
    def pair(metric: str) -> str:
        made, data = (study.metric(m, metric, "fit") for m in ("vae_ensemble", "data"))
        return f"{number(made)} (data {number(data)})"

    return (
        f"Generated returns have a standard deviation of {pair('std')} "
        f"and an excess kurtosis of {pair('excess_kurtosis')}"
    )


# In the order of the report, each with an array without which it cannot be drawn.
FIGURES: dict[str, tuple[Callable[[StudyResults], Figure], str | None]] = {
    "comparison": (comparison, None),
    "score_over_beta": (score_over_beta, None),
    "stability": (stability, "stability"),
    "agreement": (agreement, "agreement"),
    "factor_correlation": (factor_correlation, "correlation"),
    "matched_factors": (matched_factors, "reference_factors"),
    "factor_series": (factor_series, None),
    "loadings": (loadings, None),
    "decoder_loadings": (decoder_loadings, "unit_loadings"),
    "explained_variance": (explained_variance, "explained_variance"),
    "training_curves": (training_curves, None),
    "reconstruction": (reconstruction, "reconstruction_data"),
    "generated": (generated, "density_edges"),
}
# These compare members with each other.
OF_SEVERAL = ("stability", "agreement")


def all_figures(study: StudyResults) -> dict[str, Figure]:
    """Every figure that the study has the arrays for, by name, in the order of the report."""
    several = int(study.members.ok.sum()) > 1
    figures = {} if study.n_factors is None else {"n_factors": n_factors(study)}
    figures |= {"kl_parts": kl_parts(study)} if has_parts(study) else {}
    return figures | {
        name: draw(study)
        for name, (draw, needed) in FIGURES.items()
        if (needed is None or needed in study.arrays) and (several or name not in OF_SEVERAL)
    }
