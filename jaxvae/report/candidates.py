"""The choice of a study's model and number of factors: who stood, and why the winner won."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxvae.analysis.ranking import LEAST_GAIN
from jaxvae.report import draw
from jaxvae.report.content import Answer, Grid
from jaxvae.report.results import StudyResults
from jaxvae.report.text import counted, number
from jaxvae.report.verdicts import has_no_factor

PER_DATE = "nats per date"
NEARBY = 2  # factors more and less than the winner's that a figure has to show
CANDIDATES_NOTE = (
    "Validation dates, of fits on the training dates at β = 1, the equal mixture of two seeds; "
    "± one standard error, by blocks of dates. Of candidates within one standard error or "
    f"{LEAST_GAIN:g} nats of the best, paired by date, the simplest is chosen: by its family "
    "first, then by its factors. Test dates took no part."
)


class CandidateRow(NamedTuple):
    """A candidate, in the columns of the table."""

    family: str
    factors: int
    log_likelihood: float
    standard_error: float
    difference: float
    difference_error: float
    chosen: bool


class CandidateChoice(NamedTuple):
    """What the candidates' table says.

    won: its row that was chosen. families: the likeliest row of each, the likeliest family first.
    sizes: rows of the chosen family, by number of factors.
    """

    won: CandidateRow
    families: list[CandidateRow]
    sizes: list[CandidateRow]


def choice_of(study: StudyResults) -> CandidateChoice | None:
    """None where model and number of factors were given."""
    if study.candidates is None:
        return None
    table = study.candidates[list(CandidateRow._fields)].dropna()
    rows = [CandidateRow(*row) for row in table.itertuples(index=False)]
    ordered = sorted(rows, key=lambda row: -row.log_likelihood)
    (won,) = (row for row in rows if row.chosen)
    names = dict.fromkeys(row.family for row in ordered)
    return CandidateChoice(
        won=won,
        families=[next(row for row in ordered if row.family == name) for name in names],
        sizes=sorted(row for row in rows if row.family == won.family),
    )


def kind_answer(study: StudyResults) -> list[Answer]:
    """What kind of panel this is, where families were compared, and what that means for use."""
    choice, kind = choice_of(study), study.config["selection"].get("kind")
    if choice is None or len(choice.families) < 2 or not kind:
        return []
    verdict, use = kind
    if has_no_factor(study):
        verdict = "Noise: no number of factors is likelier than none"
        use = "What follows is of the smallest model, and shows nothing."
    return [Answer("What kind of panel is this?", verdict, use)]


def choice_words(study: StudyResults) -> str:
    """Who stood and why the winner won, in a sentence; none where nothing was chosen."""
    choice = choice_of(study)
    if choice is None:
        return ""
    won, best, *others = choice.won, *choice.families
    stood = counted(len(choice.sizes), "number") + " of factors"
    if others:
        names = ", ".join(sorted(row.family for row in choice.families))
        stood = f"{len(choice.families)} families ({names})"
    what = f"{won.family} with {counted(won.factors, 'factor')}"
    start = f"Of {stood} on validation dates, {what} is the"
    if won != best:
        behind = _with_error(-won.difference, won.difference_error)
        return (
            f"{start} simplest that is level with the best: {behind} {PER_DATE} behind "
            f"{best.family} with {best.factors}."
        )
    if not others:
        return f"{start} likeliest."
    second = others[0]
    ahead = _with_error(-second.difference, second.difference_error)
    return (
        f"{start} likeliest, {ahead} {PER_DATE} ahead of the next, {second.family} with "
        f"{second.factors}."
    )


def candidate_table(study: StudyResults) -> Grid | None:
    """The likeliest of each family, or where there is one its numbers of factors; the likeliest
    first."""
    choice = choice_of(study)
    if choice is None:
        return None
    by_score = sorted(choice.sizes, key=lambda row: -row.log_likelihood)
    compared = choice.families if len(choice.families) > 1 else by_score
    cells = [
        {
            "Family": row.family,
            "Factors": str(row.factors),
            "Validation log-likelihood": _with_error(row.log_likelihood, row.standard_error),
            "Difference to the best": _with_error(row.difference, row.difference_error)
            if row.difference < 0
            else "best",
        }
        for row in compared
    ]
    return Grid.of(cells)


def candidates_figure(study: StudyResults) -> Figure:
    """Differences to the best with their standard errors: of families, and of numbers of factors;
    each where there is more than one."""
    choice = choice_of(study)
    assert choice is not None
    parts = {_draw_families: choice.families, _draw_sizes: choice.sizes}
    drawn = [draw_part for draw_part, rows in parts.items() if len(rows) > 1]
    figure, panels = draw.small_multiples(len(drawn), len(drawn), 2.9)
    for axes, draw_part in zip(panels, drawn, strict=True):
        draw_part(axes, choice)
    panels[0].set_ylabel(f"difference, {PER_DATE}", fontsize=draw.TEXT, color=draw.MUTED)
    won = choice.won
    why = "the likeliest" if won == choice.families[0] else "the simplest near the likeliest"
    message = f"{won.family} with {counted(won.factors, 'factor')} is {why} on validation dates"
    return draw.set_message(figure, message)


def _draw_families(axes: Axes, choice: CandidateChoice) -> None:
    names = [f"{row.family}, {row.factors}" for row in choice.families]
    _points(axes, range(len(names)), choice.families, choice.won)
    axes.set_xticks(range(len(names)), names, rotation=20, ha="right", rotation_mode="anchor")
    draw.tidy(axes, "", "", "The likeliest of each family")


def _draw_sizes(axes: Axes, choice: CandidateChoice) -> None:
    _points(axes, [row.factors for row in choice.sizes], choice.sizes, choice.won)
    near = [row for row in choice.sizes if abs(row.factors - choice.won.factors) <= NEARBY]
    lowest = min(-0.02, *(row.difference - row.difference_error for row in near))
    axes.set_ylim(1.15 * lowest, -0.12 * lowest)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    draw.tidy(axes, "factors", "", f"Numbers of factors of {choice.won.family}")


def _points(
    axes: Axes, places: Sequence[int], rows: Sequence[CandidateRow], won: CandidateRow
) -> None:
    """A dot with its standard error for each row, the winner's filled."""
    axes.axhline(0.0, color=draw.ABSENT, linewidth=1.0, zorder=1)
    for place, row in zip(places, rows, strict=True):
        colour, fill = (draw.VAE, draw.VAE) if row == won else (draw.MUTED, "white")
        error: dict[str, Any] = {"fmt": "o", "color": colour, "mfc": fill, "ms": 6.0, "capsize": 3}
        axes.errorbar(place, row.difference, row.difference_error, **error)


def _with_error(value: float, error: float) -> str:
    return f"{number(value)} ± {number(error)}"
