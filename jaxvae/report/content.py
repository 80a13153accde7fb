"""What a report is made of, and its three forms: a page in HTML, its twin in Markdown, and a few
lines for the terminal. All text is plain; each form escapes what the data put into it."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from jaxvae.report.draw import message_of, to_png
from jaxvae.report.text import NONE

REPORT = "report.html"
CSS_PIXELS = 96  # an inch, by definition
# Every character that Markdown, as GitHub reads it, may take for markup.
MARKUP = re.compile(r"([\\`*_{}\[\]|~$#])")
Cells = Mapping[str, Sequence[str]] | Sequence[Mapping[str, str]]


class Answer(NamedTuple):
    """A question that the reader has, the verdict in a few words, and what it rests on."""

    question: str
    verdict: str
    text: str


@dataclass(frozen=True)
class Heading:
    """The title of a section; terms: words that it uses, with their meanings."""

    text: str
    terms: Mapping[str, str] = field(default_factory=dict)
    kind: ClassVar[str] = "heading"

    @property
    def anchor(self) -> str:
        """Its name in a link."""
        return re.sub(r"\W+", "-", self.text.lower()).strip("-")


@dataclass(frozen=True)
class Prose:
    """A paragraph; `note` where it explains what stands above it."""

    text: str
    note: bool = True
    kind: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Grid:
    """A table. style: classes of the page's style sheet: "narrow", "text", "first", "wrap",
    "links" where the first column names files. file: of the folder, that holds the whole."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    style: str = "narrow"
    file: str = ""
    kind: ClassVar[str] = "grid"

    @classmethod
    def of(cls, cells: Cells, style: str = "narrow", file: str = "", blanks: bool = True) -> "Grid":
        """A table of columns by their titles, or of rows whose cells stand by these.

        cells: by titles that differ; of rows at least one.
        blanks: whether columns in which no row has anything stay.
        """
        table = pd.DataFrame(cells)
        shown = table if blanks else table.loc[:, (table != NONE).any()]
        return cls([*map(str, shown)], shown.to_numpy().tolist(), style, file)


@dataclass(frozen=True)
class Plot:
    """A figure by the name of its file; its title states what it shows."""

    name: str
    caption: str
    figure: Figure
    kind: ClassVar[str] = "plot"

    @property
    def message(self) -> str:
        """The title as plain text."""
        return message_of(self.figure)

    @property
    def width(self) -> int:
        """In pixels of a page."""
        return round(self.figure.get_figwidth() * CSS_PIXELS)


Part = Heading | Prose | Grid | Plot


class Opening(NamedTuple):
    """What a reader sees first: title, what was done, three answers, and the table they rest on."""

    title: str
    facts: str
    answers: Sequence[Answer]
    scores: Grid


class Document(NamedTuple):
    """A whole report. limits: what the data cannot show, and what was done to them."""

    opening: Opening
    limits: Sequence[str]
    parts: Sequence[Part]


def render(document: Document, linked: bool = True) -> dict[str, bytes]:
    """The files of a report by their paths: `report.html`, `report.md` and `figures/*.png`.

    The page holds the bytes of the figures' files, and needs nothing from outside. The same
    document gives the same bytes. linked: whether tables link to the files that hold them, as in a
    folder; a page on its own has none beside it.
    """
    plots = [part for part in document.parts if isinstance(part, Plot)]
    figures = {plot.name: to_png(plot.figure, titled=False) for plot in plots}
    inline = {name: base64.b64encode(png).decode() for name, png in figures.items()}
    values = {**document._asdict(), "images": inline, "linked": linked}
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=lambda name: name is not None and name.startswith(REPORT),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = _markdown
    pages = {
        name: environment.get_template(f"{name}.j2").render(values).encode()
        for name in (REPORT, "report.md")
    }
    return pages | {f"figures/{name}.png": png for name, png in figures.items()}


def _markdown(text: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    return MARKUP.sub(r"\\\1", html.escape(" ".join(str(text).split()), quote=False))


def summary(opening: Opening) -> str:
    """The opening in a few lines, for the terminal."""
    names, *others = zip(opening.scores.header, *opening.scores.rows, strict=True)
    columns = [[name.ljust(max(map(len, names))) for name in names]]
    columns += [[cell.rjust(max(map(len, column))) for cell in column] for column in others]
    lines = ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]
    answers = [f"{answer.question} {answer.verdict}." for answer in opening.answers]
    return "\n".join([opening.title, opening.facts, *(f"  {line}" for line in lines), *answers])
