"""The folder of a walk: its tables, its settings, a figure and a page for a person."""

from pathlib import Path

from jaxvae.analysis.portfolios import BASELINE
from jaxvae.errors import FolderError
from jaxvae.report.style import count, number, to_png
from jaxvae.report.walk_figures import (
    NAMES,
    PERCENT,
    by_strategy,
    strategy_name,
    walk_figure,
    walk_message,
)
from jaxvae.runs.files import make_folder
from jaxvae.runs.results import (
    Layout,
    Results,
    TableLayout,
    pack,
    read_results,
    unpack,
    vouched,
    write_drawings,
)
from jaxvae.walk.walk import Walk

FIGURE, PAGE, ARRAYS = "walk.png", "walk.md", "arrays"
LAYOUT = Layout(
    command="walk",
    tables={
        "windows": TableLayout(
            index=("window",), dates=("first_date", "last_date", "judged_from", "judged_to")
        ),
        "scores": TableLayout(index=("date",), dates=("date",)),
        "factors": TableLayout(index=("date",), dates=("date",)),
        "loadings": TableLayout(index=("date", "asset"), names=("asset",), dates=("date",)),
        "portfolio": TableLayout(index=("date",), dates=("date",)),
        "weights": TableLayout(index=("strategy", "date"), names=("strategy",), dates=("date",)),
        "strategies": TableLayout(index=("strategy",), names=("strategy",)),
    },
    trees={ARRAYS: "arrays.safetensors"},
)


def write_walk(walk: Walk, folder: str | Path) -> None:
    """Write a walk into a new folder, which appears whole or not at all.

    Raises FolderError where something is in the way or the disk refuses.
    """
    make_folder(Path(folder), walk_files(walk))


def walk_files(walk: Walk) -> dict[str, bytes]:
    """What a walk's folder holds, by file, `config.json` last; its page is drawn from what reading
    gives back."""
    tables = {name: getattr(walk, name) for name in LAYOUT.tables}
    trees = {ARRAYS: {"covariances": walk.covariances}}
    data = pack(LAYOUT, Results(walk.config, tables, trees))
    again = _as_walk(unpack(LAYOUT, walk.config, data), Path())
    return vouched(LAYOUT, walk.config, {**data, **_drawings(again)})


def load_walk(folder: str | Path, drawings: bool = True) -> Walk:
    """Read a walk's folder back.

    drawings: whether figure and page must be as they were written, too.

    Raises FolderError, which names the file, where the folder holds no walk, or a file is missing,
    damaged or another than was written.
    """
    folder = Path(folder)
    return _as_walk(read_results(folder, LAYOUT, drawings), folder)


def draw_page(folder: str | Path) -> None:
    """Draw figure and page of a walk's folder again.

    Raises FolderError as `load_walk` does, and where a file that is not the walk's is in the way.
    """
    write_drawings(Path(folder), LAYOUT, _drawings(load_walk(folder, drawings=False)))


def _drawings(walk: Walk) -> dict[str, bytes]:
    return {FIGURE: to_png(walk_figure(walk)), PAGE: page(walk).encode()}


def _as_walk(results: Results, folder: Path) -> Walk:
    try:
        covariances = results.trees[ARRAYS]["covariances"]
        return Walk(config=results.config, covariances=covariances, **results.tables)
    except (KeyError, TypeError) as error:
        raise FolderError(f"{folder} is not whole: {error}") from error


def page(walk: Walk) -> str:
    """The walk in Markdown, with its figure."""
    config, windows = walk.config, walk.windows
    kind = "expanding from" if config["expanding"] else "of"
    facts = (
        f"{config['n_windows']:,} windows {kind} {config['window']} dates, a new one every "
        f"{config['step']}; each judged on the {config['step']} dates that follow it, together "
        f"{config['judged_from']} to {config['judged_to']}. Model `{config['model']}`, "
        f"{config['n_factors']} factors, {count(config['seeds'], 'seed')} × β "
        f"{', '.join(f'{beta:g}' for beta in config['betas'])}, mixed equally."
    )
    baselines = {
        "factor_analysis": f"factor analysis with K = {config['n_factors']}",
        BASELINE: NAMES[BASELINE],
    }
    ours = windows["log_likelihood, vae"].mean()
    leads = [
        f"{number(ours - windows[f'log_likelihood, {name}'].mean(), 2, True)} over {words}"
        for name, words in baselines.items()
    ]
    steady = (
        f"Out of sample the ensemble's log-likelihood is {number(ours)} nats a date, "
        f"{' and '.join(leads)}, fitted on the same windows. Factors of consecutive windows "
        f"correlate, matched one-to-one, at {number(windows.stability.mean())} on the dates they "
        f"share; random rotations reach {number(windows.stability_rotation.mean())}, chance "
        f"{number(windows.stability_chance.mean())} (95th percentiles)."
    )
    parts = [
        f"# Walk forward over “{config['name']}”",
        f"**{walk_message(walk)}.**",
        facts,
        steady,
        f"![{walk_message(walk)}]({FIGURE})",
        "\n".join(_strategy_rows(walk)),
        "Volatility and mean are of the judged dates, a year; turnover is what is bought plus what "
        "is sold at a rebalance, as a share of the portfolio; trading is free. The last column is "
        "the annual variance less Ledoit–Wolf's, in (%)², with a 95 % block-bootstrap interval. "
        "Shorts are allowed; weights sum to one.",
        *(f"- {note}" for note in config["notes"]),
    ]
    return "\n\n".join(parts) + "\n"


def _strategy_rows(walk: Walk) -> list[str]:
    rows = ["| portfolio | volatility, % | mean, % | turnover | variance − Ledoit–Wolf's |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for name, row in by_strategy(walk).items():
        gap, low, high = (
            number(PERCENT**2 * row[column], 1, True)
            for column in ("variance_difference", "low", "high")
        )
        interval = "–" if name == BASELINE else f"{gap} [{low}, {high}]"
        cells = [strategy_name(walk, name), number(PERCENT * row["volatility"])]
        cells += [number(PERCENT * row["mean"]), number(row["turnover"]), interval]
        rows.append(f"| {' | '.join(cells)} |")
    return rows
