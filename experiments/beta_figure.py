"""The figure of `beta.py`: what each panel's grid of betas does, a column a panel."""

from matplotlib.figure import Figure

from jaxvae.report.draw import (
    DATA,
    FACTOR_ANALYSIS,
    MUTED,
    PCA,
    TEXT,
    VAE,
    beta_axis,
    new_figure,
    set_message,
    tidy,
)

MESSAGE = (
    "β prunes weak factors and turns the rest to the principal axes, which are the true ones only "
    "where variances differ: on the isotropic panel no β beats a random rotation"
)
TICKS = (1 / 16, 1 / 4, 1, 4, 16)


def draw(results) -> Figure:
    """Rate–distortion curves, matched correlation, factors in use and the parts of the KL."""
    panels, betas = results["panels"], results["betas"]
    figure = new_figure(10.2)
    grid = figure.subplots(4, len(panels), squeeze=False)
    for column, (name, panel) in enumerate(panels.items()):
        first = column == 0
        _curve(grid[0, column], panel, name, first)
        _matched(grid[1, column], panel, betas, first)
        _used(grid[2, column], panel, betas, first)
        _parts(grid[3, column], panel, betas, first)
    for row in grid:
        handles, words = row[0].get_legend_handles_labels()
        row[0].legend(handles, words, fontsize=TEXT - 2.5, frameon=False, loc="best")
    set_message(figure, MESSAGE)
    return figure


def _means(panel, name):
    return [interval[0] for interval in panel["over_seeds"][name]]


def _line(axes, panel, betas, name, colour, words, **style):
    """Mean over seeds with its 95 % interval."""
    lows, highs = ([interval[k] for interval in panel["over_seeds"][name]] for k in (1, 2))
    axes.fill_between(betas, lows, highs, color=colour, alpha=0.2, linewidth=0)
    style = {"marker": "o", "ms": 3} | style
    axes.plot(betas, _means(panel, name), color=colour, label=words, **style)


def _curve(axes, panel, name, first):
    tidy(axes, "rate: KL, nats a date", "distortion, nats a date" if first else "", name)
    axes.plot(
        _means(panel, "rate"), _means(panel, "distortion"), "o-", ms=3, color=VAE, label="test"
    )
    fit = _means(panel, "rate_fit"), _means(panel, "distortion_fit")
    axes.plot(*fit, ".", ms=4, color=PCA, label="fit")
    if "closed_form" in panel:
        known = panel["closed_form"]
        axes.plot(known["rate"], known["distortion"], color=DATA, lw=0.9, label="closed form, fit")


def _matched(axes, panel, betas, first):
    tidy(axes, "β", "matched |correlation|, test" if first else "")
    _line(axes, panel, betas, "mcc", VAE, "with the true factors")
    levels = (("rotation", "random rotation", "--"), ("chance", "chance, 95 %", ":"))
    for null, words, style in levels:
        which = "mean" if null == "rotation" else "percentile_95"
        axes.axhline(panel["nulls"][null]["mcc"][which], color=MUTED, lw=1, ls=style, label=words)
    axes.set_ylim(0, 1.02)
    beta_axis(axes, TICKS)


def _used(axes, panel, betas, first):
    tidy(axes, "β", "factors in use" if first else "")
    _line(axes, panel, betas, "active_units", VAE, "members")
    if "closed_form" in panel:
        known = panel["closed_form"]["active_units"]
        axes.plot(betas, known, "x", ms=5, color=DATA, label="closed form")
    axes.set_ylim(bottom=-0.3)
    beta_axis(axes, TICKS)


def _parts(axes, panel, betas, first):
    tidy(axes, "β", "parts of the KL, nats a date" if first else "")
    parts = {
        "index_code_information": (VAE, "information on the date"),
        "total_correlation": (PCA, "total correlation"),
        "total_correlation_chance_mean": (MUTED, "… of shifted factors"),
        "dimension_kl": (FACTOR_ANALYSIS, "dimension-wise KL"),
    }
    for name, (colour, words) in parts.items():
        style = {"marker": "", "ls": "--", "zorder": 3} if "chance" in name else {}
        _line(axes, panel, betas, name, colour, words, **style)
    beta_axis(axes, TICKS)
