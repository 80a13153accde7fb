"""The folder of a walk: its tables, its settings, a figure and a page for a person."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

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
from jaxvae.runs.checkpoint import load_tree, save_tree
from jaxvae.runs.files import new_folder, writing
from jaxvae.walk.walk import SCHEMA, Walk

# The columns that index each table; the first of those in DATED holds dates.
INDEX = {
    "windows": ["window"],
    "scores": ["date"],
    "factors": ["date"],
    "loadings": ["date", "asset"],
    "portfolio": ["date"],
    "weights": ["strategy", "date"],
    "strategies": ["strategy"],
}
WINDOW_DATES = ["first_date", "last_date", "judged_from", "judged_to"]
ARRAYS, CONFIG, FIGURE, PAGE = "arrays.safetensors", "config.json", "walk.png", "walk.md"


def write_walk(walk: Walk, folder: str | Path) -> None:
    """Write a walk into a new folder, which appears whole or not at all.

    Raises FolderError where something is in the way or the disk refuses.
    """
    with new_folder(Path(folder)) as partial:
        fill_walk(walk, partial)


def fill_walk(walk: Walk, folder: Path) -> None:
    """Write a walk into an existing folder."""
    with writing(folder):
        for name in INDEX:
            table: pd.DataFrame = getattr(walk, name)
            table.to_csv(folder / f"{name}.csv", encoding="utf-8")
        save_tree({"covariances": walk.covariances}, folder / ARRAYS)
        text = json.dumps(walk.config, indent=2, allow_nan=False, ensure_ascii=False)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
        (folder / FIGURE).write_bytes(to_png(walk_figure(walk)))
        (folder / PAGE).write_text(page(walk), encoding="utf-8")


def load_walk(folder: str | Path) -> Walk:
    """Read a walk's folder back.

    Raises FolderError on a missing folder, a missing or damaged file, or a newer schema.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["command"] != "walk":
            raise FolderError(f"{folder} holds no walk")
        if config["schema"] > SCHEMA:
            raise FolderError(f"{folder} has schema {config['schema']}: upgrade jaxvae")
        tables = {name: _read(folder / f"{name}.csv", index) for name, index in INDEX.items()}
    except FolderError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FolderError(f"{folder} is no walk's folder, or damaged: {error}") from error
    return Walk(config=config, covariances=load_tree(folder / ARRAYS)["covariances"], **tables)


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


def _read(path: Path, index: list[str]) -> pd.DataFrame:
    # A ticker such as NA or null is a name, not a missing cell.
    table = pd.read_csv(path, dtype={"asset": str}, keep_default_na=False, na_values=[""])
    for column in {"date", *WINDOW_DATES} & set(table.columns):
        table[column] = pd.to_datetime(table[column])
    table = table.set_index(index)
    numbers = table.columns.difference(WINDOW_DATES)
    return table.astype({column: np.float64 for column in numbers})
