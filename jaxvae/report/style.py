"""How every figure looks: one palette, one type scale, safe labels, the words for the models."""

import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullLocator

from jaxvae.report.results import StudyResults

VAE, PCA, FACTOR_ANALYSIS, OTHER = "#0f5ea8", "#d95f02", "#1b9e77", "#7a6a9b"
DATA, TRUTH, MUTED, GRID, ABSENT = "#2b2b2b", "#a9a9a9", "#6b6b6b", "#e4e4e4", "#cccccc"
SIGNED, SHARE = "RdBu", "Blues"
WIDTH = 10.0
DPI = 144
TITLE, TEXT, SMALL = 12.0, 9.5, 8.0
TITLE_CHARACTERS = 8.7  # an inch, at the title's size

MODEL_NAMES = {
    "vae": "VAE members",
    "vae_ensemble": "VAE ensemble",
    "vae_best": "VAE, best member",
    "consensus": "Consensus factors",
    "factor_analysis_best": "Factor analysis, best K",
    "factor_analysis": "Factor analysis",
    "pca_best": "PCA, best K",
    "pca": "PCA",
    "ledoit_wolf": "Ledoit–Wolf Gaussian",
    "multivariate_t": "Multivariate t",
    "ewma_t": "EWMA with t innovations",
}


def number(value: float | int | np.integer, digits: int = 2, sign: bool = False) -> str:
    """A number for a person: a true minus sign, and an en dash where there is none."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    zero = float(text) == 0
    return (text.lstrip("+-") if zero else text).replace("-", "−")


def count(number_of: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not 1."""
    return f"{number_of:,} {noun}" + ("" if number_of == 1 else "s")


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{number(100 * share, 0)} %"


def label(text: object, width: int = 18) -> str:
    """Text from the data as a label: cut to a width, drawable in the font, never mathematics."""
    drawable = _drawable()
    line = "".join(c if ord(c) in drawable else "□" for c in " ".join(str(text).split()))
    cut = line if len(line) <= width else line[: width - 1] + "…"
    # matplotlib reads an escaped dollar as a dollar, and a pair of bare ones as mathematics.
    return cut.replace("$", r"\$")


@cache
def _drawable() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def beta_label(beta: float) -> str:
    """A beta as a label: β = 0.5."""
    return f"β = {beta:.3g}"


def beta_colours(betas: Sequence[float]) -> dict[float, Any]:
    """A colour a beta, light to dark as beta grows."""
    ramp: Colormap = colormaps["YlGnBu"]
    places = np.linspace(0.35, 1.0, len(betas)) if len(betas) > 1 else [0.8]
    return {beta: ramp(place) for beta, place in zip(sorted(betas), places, strict=True)}


def beta_map(betas: Sequence[float]) -> ListedColormap:
    """The same colours as a map, for a colour bar."""
    return ListedColormap(list(beta_colours(betas).values()))


def heat_map(name: str) -> Colormap:
    """A named colour map that shows a missing value in grey."""
    return colormaps[name].with_extremes(bad=ABSENT)


def model_colour(model: str) -> str:
    """The colour that a model has in every figure."""
    families = {"vae": VAE, "consensus": VAE, "pca": PCA, "factor_analysis": FACTOR_ANALYSIS}
    return next((c for family, c in families.items() if model.startswith(family)), OTHER)


def model_name(study: StudyResults, model: str) -> str:
    """What a model is called, with its number of factors where it has one."""
    factors = factors_of(study, model)
    name = MODEL_NAMES.get(model, label(model.replace("_", " ")))
    if not factors or model.startswith(("vae", "consensus")):
        return name
    return f"{name} = {factors}" if name.endswith("K") else f"{name}, K = {factors}"


def reference_names(study: StudyResults) -> list[str]:
    """The known factors' names; planted ones are called true, to tell them from learned ones."""
    reference = study.config["reference"]
    return [f"true {name}" if reference["planted"] else name for name in reference["names"]]


def factors_of(study: StudyResults, model: str) -> int | None:
    """The number of factors a model has in the metrics; None where it has none."""
    rows = study.metrics[study.metrics.model == model]
    factors = pd.to_numeric(rows.factors, errors="coerce").dropna()
    return int(factors.iloc[0]) if len(factors) and factors.iloc[0] > 0 else None


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of a size in inches, whose parts keep clear of each other."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, hspace=0.04, wspace=0.03)
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)


def set_message(figure: Figure, message: str) -> None:
    """The figure's title: one sentence, wrapped to the width."""
    lines = textwrap.fill(message, int(TITLE_CHARACTERS * figure.get_figwidth()))
    figure.suptitle(lines, x=0.012, ha="left", fontsize=TITLE, fontweight="bold", color=DATA)


def message_of(figure: Figure) -> str:
    """The sentence that a figure's title states, on one line, as plain text."""
    return " ".join(figure.get_suptitle().split()).replace(r"\$", "$")


def tidy(
    axes: Axes, x: str = "", y: str = "", title: str = "", grid: Literal["x", "y"] | None = "y"
) -> Axes:
    """Labels, a light grid on one axis, no frame."""
    axes.set_title(title, fontsize=TEXT + 0.5, loc="left", color=DATA)
    axes.set_xlabel(x, fontsize=TEXT, color=MUTED)
    axes.set_ylabel(y, fontsize=TEXT, color=MUTED)
    axes.tick_params(which="both", labelsize=SMALL + 0.5, color=MUTED, labelcolor=DATA, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(ABSENT)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(True, axis=grid, color=GRID, linewidth=0.7)
    return axes


def tidy_heat_map(axes: Axes, x: str = "", y: str = "", title: str = "") -> Axes:
    """Labels of a heat map, without frame and tick marks."""
    tidy(axes, x, y, title, grid=None)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return axes


def name_ticks(axes: Axes, which: str, names: Sequence[str], **text: Any) -> None:
    """Name the columns ("x") or rows ("y") of a heat map; every n-th where all would collide."""
    step = max(1, -(-len(names) // (24 if which == "x" else 40)))
    places = range(0, len(names), step)
    set_ticks = axes.set_xticks if which == "x" else axes.set_yticks
    set_ticks(list(places), [names[place] for place in places], **text)


def add_colour_bar(figure: Figure, image: Any, axes: Axes | list[Axes], words: str) -> None:
    """A slim colour bar with its units."""
    bar = figure.colorbar(image, ax=axes, shrink=0.85, aspect=28, pad=0.015)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, color=MUTED, length=2)
    bar.set_label(words, fontsize=SMALL + 0.5, color=MUTED)


def write_values(
    axes: Axes, values: Float[np.ndarray, "row column"], shade: Float[np.ndarray, "row column"]
) -> None:
    """Print a heat map's numbers in its cells, light on dark; shade: 0 to 1, how dark a cell is."""
    rows, columns = values.shape
    size = float(np.clip(130 / max(rows, columns), 6.0, TEXT))
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if shade[row, column] > 0.6 else DATA
        text = number(value) if columns <= 10 else number(value).replace("0.", ".")
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def add_legend(figure: Figure, axes: Axes, columns: int = 6) -> None:
    """One legend for the whole figure, below its panels."""
    handles, words = axes.get_legend_handles_labels()
    figure.legend(
        handles, words, loc="outside lower left", ncols=columns, frameon=False, fontsize=TEXT
    )


def beta_axis(axes: Axes, betas: Iterable[float]) -> None:
    """An x axis over beta: a tick at each, evenly spaced in ratio."""
    ordered = sorted(betas)
    if len(ordered) > 1 and ordered[0] > 0:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_minor_locator(NullLocator())
    shown = ordered[:: max(1, -(-len(ordered) // 8))]
    axes.set_xticks(shown, [f"{beta:.3g}" for beta in shown])
    if len(ordered) == 1:
        axes.set_xlim(ordered[0] - 0.5, ordered[0] + 0.5)


def date_axis(axes: Axes, dates: pd.Index) -> None:
    """An x axis over dates, from the first to the last, with few and short ticks."""
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.set_xlim(dates[0], dates[-1])


def plain_log(axes: Axes) -> None:
    """A logarithmic y axis whose ticks are plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def to_png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes each time."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
