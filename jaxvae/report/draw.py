"""How every figure looks: one palette, one type scale, one function for each kind of drawing."""

import textwrap
from collections.abc import Iterable, Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import NullLocator
from PIL import Image

from jaxvae.report.fonts import families, foreign
from jaxvae.report.text import Number, number

VAE, PCA, FACTOR_ANALYSIS, OTHER = "#0f5ea8", "#d95f02", "#1b9e77", "#7a6a9b"
ALARM = "#b2182b"
DATA, TRUTH, MUTED, GRID, ABSENT = "#2b2b2b", "#a9a9a9", "#6b6b6b", "#e4e4e4", "#cccccc"
_FAMILY_COLOURS = {"vae": VAE, "consensus": VAE, "pca": PCA, "factor_analysis": FACTOR_ANALYSIS}
DPI = 144
_WIDTH = 8.4  # inches
TITLE, TEXT, SMALL = 12.0, 9.5, 8.0
TITLE_CHARACTERS = 8.7  # an inch, at the title's size
COLOURS = 256  # of a picture in a file
MOST_POINTS = 160  # of a curve; longer ones are drawn as means and ranges of as many pieces


def model_colour(model: str) -> str:
    """The colour that a model has in every figure."""
    return next((c for family, c in _FAMILY_COLOURS.items() if model.startswith(family)), OTHER)


class Drawing(Figure):
    """A figure that a notebook shows whether or not it uses `matplotlib.pyplot`."""

    def _repr_png_(self) -> bytes:
        shown = BytesIO()
        self.savefig(shown, format="png", dpi=DPI / 2)
        return shown.getvalue()


def new_figure(height: float, width: float = _WIDTH) -> Figure:
    """An empty figure of a size in inches, whose parts keep clear of each other."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, hspace=0.04, wspace=0.03)
    return Drawing(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)


def small_multiples(
    n: int, columns: int, height: float, **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of n panels in columns, each so many inches high."""
    figure = new_figure(height * -(-n // columns) + 1.2)
    return figure, panels_of(figure, n, columns, **shared)


def panels_of(part: Any, n: int, columns: int, **shared: Any) -> list[Axes]:
    """n panels in columns of a figure, or of a part of one; what is left of a row stays empty."""
    panels = part.subplots(-(-n // columns), columns, squeeze=False, **shared).ravel().tolist()
    for axes in panels[n:]:
        axes.set_visible(False)
    return panels[:n]


def stacked(*heights: float) -> tuple[Figure, Any]:
    """A figure of parts one above the other, each so many inches high; the figure and the parts."""
    figure = new_figure(sum(heights) + 0.6)
    return figure, figure.subfigures(len(heights), 1, height_ratios=heights)


def set_message(figure: Figure, message: str) -> Figure:
    """The figure with a title, one sentence that says what it shows, wrapped to the width; all its
    texts in fonts that can draw them."""
    lines = textwrap.fill(message, int(TITLE_CHARACTERS * figure.get_figwidth()))
    figure.suptitle(lines, x=0.012, ha="left", fontsize=TITLE, fontweight="bold", color=DATA)
    for text in figure.findobj(Text):
        if foreign(text.get_text()):
            text.set(fontfamily=families(), fontweight="normal")  # they seldom come in bold
    return figure


def message_of(figure: Figure) -> str:
    """The sentence that a figure's title states, on one line, as plain text."""
    return " ".join(figure.get_suptitle().split()).replace(r"\$", "$")


def tidy(
    axes: Axes, x: str = "", y: str = "", title: str = "", grid: Literal["x", "y"] = "y"
) -> Axes:
    """Labels, a light grid on one axis, no frame."""
    axes.set_title(title, fontsize=TEXT + 0.5, loc="left", color=DATA)
    axes.set_xlabel(x, fontsize=TEXT, color=MUTED)
    axes.set_ylabel(y, fontsize=TEXT, color=MUTED)
    axes.tick_params(which="both", labelsize=SMALL + 0.5, color=MUTED, labelcolor=DATA, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(ABSENT)
    axes.set_axisbelow(True)
    axes.grid(True, axis=grid, color=GRID, linewidth=0.7)
    return axes


def heat_map(
    axes: Axes,
    values: Float[np.ndarray, "row column"],
    columns: Sequence[str],
    rows: Sequence[str],
    words: str,
    *,
    limit: float = 1.0,
    least: float = 0.0,
    signed: bool = False,
    written: bool = False,
    **image: Any,
) -> None:
    """A matrix as colours, from `least` to `limit` or, where signed, on either side of 0; NaN is
    grey.

    columns, rows: their names, of which every n-th is shown where all would collide, or none.
    words: what the colours mean; without any there is no bar that says so. written: whether the
    numbers stand in the cells. image: options of `Axes.imshow`.
    """
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    colours = colormaps["RdBu" if signed else "Blues"].with_extremes(bad=ABSENT)
    style: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest", "vmax": limit}
    shown = axes.imshow(values, cmap=colours, vmin=-limit if signed else least, **style | image)
    slant: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"}
    for names, most, ticks in ((columns, 24, axes.set_xticks), (rows, 40, axes.set_yticks)):
        if len(names):
            places = range(0, len(names), max(1, -(-len(names) // most)))
            turned = slant if names is columns and len(" ".join(names)) > 50 else {}
            ticks(list(places), [names[place] for place in places], **turned)
    size = float(np.clip(130 / max(values.shape), 6.0, TEXT))
    for (row, column), value in np.ndenumerate(values if written else np.zeros((0, 0))):
        colour = "white" if abs(value) / limit > 0.6 else DATA
        text = number(value) if values.shape[1] <= 10 else number(value).replace("0.", ".")
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
    if words:
        add_colour_bar(shown, axes, words)


def add_colour_bar(shown: Any, axes: Any, words: str) -> None:
    """A bar beside one panel, or several that share a scale, that says what their colours mean."""
    bar = shown.figure.colorbar(shown, ax=axes, shrink=0.85, aspect=28, pad=0.015)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL, color=MUTED, length=2)
    bar.set_label(words, fontsize=SMALL + 0.5, color=MUTED)


def frame(axes: Axes, column: int, row: int) -> None:
    """A frame around a cell of a heat map."""
    corner = (column - 0.47, row - 0.46)
    axes.add_patch(Rectangle(corner, 0.94, 0.92, fill=False, ec=DATA, lw=1.9))


def runs_of(labels: Any) -> list[tuple[int, int]]:
    """Where equal labels stand in a row: the first place of each run and the one after its last."""
    values = np.asarray(labels)
    changes = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    return list(pairwise([0, *changes, len(values)]))


def band(axes: Axes, groups: Any, colour: Any, words: str) -> None:
    """The median of each group as a line, and min to max as a band.

    groups: a grouped column, such as `members.groupby("beta").kl`; the groups are places on x.
    """
    middle = groups.median()
    shade: dict[str, Any] = {"color": colour, "alpha": 0.16, "linewidth": 0}
    axes.fill_between(middle.index, groups.min(), groups.max(), **shade)
    axes.plot(middle.index, middle, "-", color=colour, label=words)


def dots(
    axes: Axes, names: Sequence[str], values: Any, colours: Sequence[str], texts: Sequence[str]
) -> np.ndarray:
    """A dot a row, the first on top, a text beside each at the right edge; the rows' heights."""
    heights = np.arange(len(names))[::-1]
    axes.scatter(values, heights, c=list(colours), s=50, zorder=3)
    axes.set_yticks(heights, list(names))
    axes.set_ylim(-0.6, len(names) - 0.4)
    for height, text in zip(heights, texts, strict=True):
        write(axes, text, 1.01, height, fontsize=TEXT, color=DATA)
    return heights


def write(axes: Axes, text: str, x: float, height: Number, **style: Any) -> None:
    """A text at a share of the panel's width and a height in the panel's own units."""
    usual: dict[str, Any] = {"va": "center", "fontsize": SMALL}
    axes.text(x, float(height), text, transform=axes.get_yaxis_transform(), **usual | style)


def series(axes: Axes, dates: pd.Index, *curves: tuple[Any, str, str, float]) -> None:
    """Curves over dates: values, words, colour and width of each."""
    for values, words, colour, width in curves:
        axes.plot(dates, values, color=colour, linewidth=width, label=words)
    date_axis(axes, dates)


def piecewise(axes: Axes, dates: pd.Index, values: Float[np.ndarray, " date"], colour: str) -> None:
    """A curve over dates; a long one as the means of short pieces, with their ranges as a band."""
    if len(values) <= MOST_POINTS:
        series(axes, dates, (values, "", colour, 0.9))
        return
    starts = np.unique(np.linspace(0, len(values), MOST_POINTS + 1).astype(int))[:-1]
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    means = np.add.reduceat(values, starts) / np.diff([*starts, len(values)])
    axes.fill_between(dates[starts], low, high, color=colour, alpha=0.22, linewidth=0)
    axes.plot(dates[starts], means, color=colour, linewidth=0.9)
    date_axis(axes, dates)


def add_legend(figure: Figure, axes: Axes, columns: int = 6) -> None:
    """One legend for the whole figure, below its panels."""
    handles, words = axes.get_legend_handles_labels()
    where: Any = "outside lower left"
    figure.legend(handles, words, loc=where, ncols=columns, frameon=False, fontsize=TEXT)


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
    if len(dates) == 1:
        axes.set_xticks([dates[0]], [str(dates[0].date())])
        return
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.set_xlim(dates[0], dates[-1])


def to_png(figure: Figure, titled: bool = True) -> bytes:
    """The figure as PNG of few colours, the same bytes each time.

    titled: with its title; a page states it in its own text, which can be read out and searched.
    """
    title = [text for text in figure.texts if text.get_text() == figure.get_suptitle()]
    for part in title:
        part.set(visible=titled, in_layout=titled)
    canvas, buffer = FigureCanvasAgg(figure), BytesIO()
    canvas.draw()
    for part in title:
        part.set(visible=True, in_layout=True)
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(buffer, format="png")
    return buffer.getvalue()
