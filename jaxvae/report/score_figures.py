"""The figures of scores: likelihoods, β, training, and what the models rebuild and generate.

Nothing is estimated here. Every title states what its figure shows, in the study's own numbers.
"""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from jaxvae.report import draw
from jaxvae.report.results import StudyResults
from jaxvae.report.tables import classical
from jaxvae.report.text import (
    as_label,
    beta_label,
    counted,
    number,
    percent,
    row_label,
    with_interval,
)
from jaxvae.report.verdicts import AHEAD, BEHIND, compare_models

PER_DATE = "nats per date"
MOST_COMPONENTS = 20
MOST_BETAS = 8  # in a legend
# Early losses fall by so much that the rest of a run would be a flat line.
FIRST_SHOWN = 0.05
SMALLEST_SPAN = 0.1  # nats per date: what is smaller should look it
MEMBER_SCORES = {
    "log_likelihood_validation": f"Validation log-likelihood, {PER_DATE}; it chose β",
    "log_likelihood_test": f"Test log-likelihood, {PER_DATE}",
    "r2_test": "Test R² of the reconstruction",
    "mcc_test": "Matched |correlation| with known factors, test",
}
LOSSES = {
    "total": "Total loss",
    "reconstruction": "Reconstruction loss",
    "kl": "KL divergence",
    "validation": "Validation loss",
}
MOST_OF_IT = 0.9  # the line in the notebook's scree plot


def comparison_figure(study: StudyResults) -> Figure:
    """Paired differences in test log-likelihood with their intervals: the headline."""
    leads = compare_models(study).leads[::-1]
    baselines, middles, lows, highs = zip(*leads, strict=True)
    names = [row_label(study, baseline, start=True) for baseline in baselines]
    texts = [with_interval(*lead[1:]) for lead in leads]
    figure = draw.new_figure(1.7 + 0.42 * len(leads))
    words = f"←  baseline better     VAE ensemble minus baseline, {PER_DATE}     VAE better  →"
    axes = draw.tidy(figure.subplots(), words, grid="x")
    axes.axvline(0, color=draw.DATA, linewidth=1.2)
    heights = draw.dots(axes, names, middles, [draw.VAE] * len(leads), texts)
    axes.hlines(heights, lows, highs, color=draw.VAE, linewidth=1.3)
    table = study.comparisons.set_index(["model", "baseline"])
    for model, shift, width, size in (("vae_ensemble", 0.0, 4, 0), ("vae_best", 0.25, 1.3, 5)):
        rows = table.loc[[(model, baseline) for baseline in baselines]]
        axes.hlines(heights - shift, rows.low, rows.high, color=draw.VAE, linewidth=width)
        axes.plot(rows.difference, heights - shift, "o", mfc="white", color=draw.VAE, ms=size)
    for text, baseline in zip(axes.get_yticklabels(), baselines, strict=True):
        text.set(color=draw.model_colour(baseline), fontsize=draw.TEXT + 0.5)
    axes.margins(x=0.08)
    ahead, behind = (compare_models(study).count(word) for word in (AHEAD, BEHIND))
    strongest = f"{row_label(study, baselines[-1])} ({texts[-1]} {PER_DATE})"
    return draw.set_message(
        figure,
        f"On test dates the VAE ensemble is ahead of {ahead} of "
        f"{counted(len(leads), 'classical model')} and behind {behind}; the strongest is "
        f"{strongest}",
    )


def beta_figure(study: StudyResults) -> Figure:
    """Members' scores over beta: median line, min to max over seeds as a band, every member."""
    members, chosen = study.members[study.members.ok], study.config["chosen"]["beta"]
    scores = [name for name in MEMBER_SCORES if name in members]
    figure, panels = draw.small_multiples(len(scores), 2, 3.0)
    for axes, name in zip(panels, scores, strict=True):
        draw.tidy(axes, "β", "", MEMBER_SCORES[name])
        draw.band(axes, members.groupby("beta")[name], draw.VAE, "median and range over seeds")
        style: dict[str, Any] = {"color": draw.VAE, "alpha": 0.5, "ms": 5}
        axes.plot(members.beta, members[name], ".", label="a member", **style)
        axes.axvline(chosen, color=draw.MUTED, lw=0.9, ls=":", label="β chosen")
        metric, _, split = name.rpartition("_")
        _draw_refits(study, axes, metric, split)
        _draw_levels(study, axes, metric, split)
        draw.beta_axis(axes, sorted(members.beta.unique()))
    draw.add_legend(figure, panels[1])
    lost = len(study.members) - len(members)
    suffix = f"; {counted(lost, 'member')} diverged (not shown)" if lost else ""
    rank = "scores best on validation" if len(study.config["betas"]) > 1 else "alone was tried"
    seeds = counted(len(study.config["seeds"]), "seed")
    return draw.set_message(figure, f"{beta_label(chosen)} {rank}, over {seeds}{suffix}")


def _draw_refits(study: StudyResults, axes: Axes, metric: str, split: str) -> None:
    """The mean over seeds of the VAEs that were fitted on the dates that the baselines were."""
    names = [f"{metric}_seeds_{end}" for end in ("mean", "low", "high")]
    mean, low, high = (study.metric("vae_ensemble", name, split) for name in names)
    mean = mean if np.isfinite(mean) else study.metric("vae_best", metric, split)
    if np.isfinite(mean):
        errors = [[mean - low], [high - mean]] if np.isfinite(low) else None
        style: dict[str, Any] = {"fmt": "D", "color": draw.VAE, "ms": 6, "mfc": "white"}
        words, beta = "refitted, mean [95 %]", study.config["chosen"]["beta"]
        axes.errorbar(beta, mean, errors, label=words, zorder=4, **style)


def _draw_levels(study: StudyResults, axes: Axes, metric: str, split: str) -> None:
    """The best classical model, and where a random rotation ends up in 95 % of cases."""
    # More factors rebuild more: only likelihood is fair to models of another size.
    fair = [model for model in classical(study) if not model.endswith("_best")]
    if metric == "log_likelihood":
        fair = [lead.baseline for lead in compare_models(study).leads]
    found = {model: study.metric(model, metric, split) for model in fair}
    found = {model: value for model, value in found.items() if np.isfinite(value)}
    levels = []
    if found:
        best = max(found, key=lambda model: found[model])
        words = row_label(study, best, start=True)
        levels = [(found[best], words, draw.model_colour(best), "--", 0.99, "right")]
    rotation = study.metric("consensus", f"{metric}_rotation_95", split)
    if metric == "mcc" and np.isfinite(rotation):
        levels.append((rotation, "random rotation, 95 %", draw.MUTED, ":", 0.01, "left"))
    for value, words, colour, style, x, side in levels:
        axes.axhline(value, color=colour, linewidth=1.4, linestyle=style)
        draw.write(axes, words, x, value, color=colour, va="bottom", ha=side)


def training_figure(study: StudyResults) -> Figure:
    """Losses by epoch: median and range over the seeds of each beta, light to dark."""
    members = study.members[study.members.ok]
    history = study.history[study.history.member.isin(members.member)]
    beta_of, betas = members.set_index("member").beta, sorted(members.beta.unique())
    colours = colormaps["YlGnBu"](np.linspace(0.35, 1.0, len(betas)) if betas[1:] else [0.8])
    named = set(betas[:: -(-len(betas) // MOST_BETAS)])
    unit = "mean sum of a batch" if study.config["train_config"]["reduction"] == "sum" else PER_DATE
    figure, panels = draw.small_multiples(len(LOSSES), 2, 2.8, sharex=True)
    for axes, (loss, title) in zip(panels, LOSSES.items(), strict=True):
        draw.tidy(axes, "epoch" if axes in panels[2:] else "", unit, title)
        # A member that stopped early keeps its last value, so that each band keeps its seeds.
        runs = history.pivot_table(index="epoch", columns="member", values=loss).ffill()
        rows = runs.melt(ignore_index=False, var_name="member")
        for beta, colour in zip(betas, colours, strict=True):
            here = rows[rows.member.map(beta_of) == beta].groupby(level="epoch").value
            draw.band(axes, here, colour, beta_label(beta) if beta in named else "")
        later = runs.iloc[int(FIRST_SHOWN * len(runs)) :]
        low, high = float(np.nanmin(later)), float(np.nanmax(later))
        axes.set_ylim(low - 0.04 * (high - low) - 1e-9, high + 0.08 * (high - low) + 1e-9)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    draw.add_legend(figure, panels[0], columns=MOST_BETAS)
    epochs, most = members.best_epoch, f"of at most {study.config['epochs']}"
    low, middle, high = epochs.min(), number(epochs.median(), 0), epochs.max()
    words = f"Members keep epoch {middle} in the median ({low} to {high}) {most}"
    return draw.set_message(
        figure, words if low < high else f"Every member keeps its epoch {low} {most}"
    )


def number_figure(study: StudyResults) -> Figure:
    """Held-out gain by number of factors; an open dot where the members use none of theirs. Beside
    it the principal components' shares."""
    table = study.n_factors
    sizes = table[table.kind == "size"]
    figure, (axes, scree) = draw.small_multiples(2, 2, 2.7)
    draw.tidy(axes, "factors allowed", "", "Gain over none, nats per validation date")
    gains = sizes.log_likelihood - sizes.log_likelihood.iloc[0]
    errors = [gains - sizes.low.fillna(gains), sizes.high.fillna(gains) - gains]
    axes.axhline(0, color=draw.DATA, linewidth=1.0)
    style: dict[str, Any] = {"color": draw.VAE, "ms": 6}
    axes.errorbar(sizes.factors, gains, yerr=errors, fmt="o-", capsize=0, **style)
    unused = sizes.gain.isna()
    axes.plot(sizes.factors[unused], gains[unused], "o", mfc="white", zorder=3, **style)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -SMALLEST_SPAN), max(high, SMALLEST_SPAN))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _draw_scree(scree, study)
    best, found = sizes.iloc[int(sizes.log_likelihood.argmax())], table.set_index("name").factors
    words = "no number of them gains validation likelihood beyond its error"
    if np.isfinite(best.gain) and best.low > 0:
        words = (
            f"allowed {int(best.factors)}, the VAEs use {number(best.active_units, 1)} and gain "
            f"most on validation dates, {number(best.gain, 2, True)} {PER_DATE}"
        )
    verdict = counted(int(found["verdict"]), "factor")
    return draw.set_message(figure, f"The verdict is {verdict}; {words}")


def _draw_scree(axes: Axes, study: StudyResults) -> None:
    """PCA's share of variance by component, and cumulated, with the line at 90 %."""
    shares = study.arrays["explained_variance"]
    n_factors = min(study.config["n_factors"], len(shares))
    shown = shares[: max(MOST_COMPONENTS, n_factors)]
    places = np.arange(1, len(shown) + 1)
    draw.tidy(axes, "principal component", "", "PCA: share of variance on the dates fitted")
    axes.bar(places, shown, color=draw.PCA, alpha=0.75, width=0.7, label="of the component")
    axes.plot(places, np.cumsum(shown), "o-", color=draw.DATA, lw=1.4, ms=3, label="cumulated")
    axes.axhline(MOST_OF_IT, color=draw.MUTED, linestyle="--", linewidth=1, label="90 %")
    axes.axvline(n_factors + 0.5, color=draw.MUTED, ls=":", lw=1, label="factors allowed")
    axes.set(ylim=(0, 1.05), xticks=places[:: max(1, len(places) // 10)])
    axes.legend(frameon=False, fontsize=draw.SMALL, loc="center right")


def scree_words(study: StudyResults) -> str:
    """How much the components explain that are as many as the factors, and how many 90 % takes."""
    total = np.cumsum(study.arrays["explained_variance"])
    n_factors = min(study.config["n_factors"], len(total))
    first = "component explains" if n_factors == 1 else f"{n_factors} components explain"
    share, needed = percent(float(total[n_factors - 1])), int((total < MOST_OF_IT).sum()) + 1
    takes = f"90 % takes {needed}" if needed <= len(total) else f"all {len(total)} stay below 90 %"
    return f"the first {first} {share} of the returns’ variance, {takes}"


def reconstruction_figure(study: StudyResults) -> Figure:
    """Test returns of a few assets, what the VAE and PCA make of them, and the correlations of
    pairs of assets before and after the factors are taken out."""
    styles = {"data": (draw.TRUTH, 2.4), "PCA": (draw.PCA, 1.1), "VAE": (draw.VAE, 1.1)}
    values = {name: study.arrays[f"reconstruction_{name.lower()}"] for name in styles}
    n_dates, n_shown = values["data"].shape
    dates = study.risk.index[:n_dates]
    figure, (upper, lower) = draw.stacked(1.8 * -(-n_shown // 2), 2.2)
    panels = draw.panels_of(upper, n_shown, min(2, n_shown), sharex=True)
    for column, axes in enumerate(panels):
        draw.tidy(axes, "", "", as_label(study.config["shown_assets"][column], 40))
        curves = [(values[name][:, column], name, *style) for name, style in styles.items()]
        draw.series(axes, dates, *curves)
    upper.supylabel("standardised return", fontsize=draw.TEXT, color=draw.MUTED)
    draw.add_legend(figure, panels[0])
    _draw_pairs(lower.subplots(), study)
    ours, theirs = (percent(study.metric(m, "r2", "test"), 1) for m in ("vae_best", "pca"))
    before, after = (float(study.arrays[f"mean_pair_{name}"]) for name in ("before", "after"))
    left = f"; a pair’s mean |correlation| falls from {number(before)} to {number(after)}"
    return draw.set_message(
        figure,
        f"From {counted(study.config['n_factors'], 'factor')}, the likeliest seed rebuilds {ours} "
        f"of the test variance, PCA {theirs}{left if np.isfinite(before + after) else ''}",
    )


def _draw_pairs(axes: Axes, study: StudyResults) -> None:
    draw.tidy(axes, "correlation on the test dates", "pairs of assets")
    drawn = {"of what the factors leave": ("after", draw.VAE), "of returns": ("before", draw.TRUTH)}
    for words, (name, colour) in drawn.items():
        counts, edges = study.arrays[f"pairs_{name}"], study.arrays["pairs_edges"]
        axes.stairs(counts, edges, color=colour, alpha=0.55, fill=True, label=words)
    axes.legend(frameon=False, fontsize=draw.SMALL, loc="upper left")


def generated_figure(study: StudyResults) -> Figure:
    """Generated returns beside the data: density, its tails, and correlations of asset pairs."""
    arrays = study.arrays
    figure = draw.new_figure(4.3)
    body, tails, pairs = figure.subplots(1, 3)
    for axes, title in ((body, "Pooled returns"), (tails, "The same, log scale: tails")):
        draw.tidy(axes, "standardised return", "density", title)
        for name, colour in (("data", draw.DATA), ("generated", draw.VAE)):
            density = arrays[f"density_{name}"]
            shown = density if axes is body else np.where(density > 0, density, np.nan)
            style: dict[str, Any] = {"baseline": None, "color": colour, "linewidth": 1.5}
            axes.stairs(shown, arrays["density_edges"], label=name, **style)
    body.set_ylim(bottom=0)
    tails.set_yscale("log")
    tails.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    tails.yaxis.set_minor_locator(NullLocator())
    data, made = arrays["correlations_data"], arrays["correlations_generated"]
    draw.tidy(pairs, "correlation in the data", "correlation generated", "Pairs of assets")
    alpha = float(np.clip(300 / max(len(data), 1), 0.12, 0.8))
    pairs.plot(data, made, ".", color=draw.VAE, alpha=alpha, markersize=3, markeredgewidth=0)
    low = float(np.min([*data, *made, 0.0]))
    pairs.plot([low, 1], [low, 1], color=draw.DATA, linewidth=1, linestyle="--")
    pairs.set_aspect("equal", adjustable="box")
    draw.add_legend(figure, body)

    def both(metric: str) -> str:
        ours, theirs = (study.metric(m, metric, "fit") for m in ("vae_ensemble", "data"))
        return f"{number(ours)} (data {number(theirs)})"

    return draw.set_message(
        figure,
        f"Generated returns have a standard deviation of {both('std')} and an excess kurtosis of "
        f"{both('excess_kurtosis')}",
    )
