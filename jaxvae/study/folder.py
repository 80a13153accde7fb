"""A study's results, and the folder that keeps them.

Every table is a CSV, every array that a plot or a later command needs is in `arrays.safetensors`
(a format that holds numbers and no code), and `config.json` says how it all came to be.
"""

from pathlib import Path
from typing import Any

import pandas as pd

from jaxvae.errors import FolderError
from jaxvae.models import is_own, read_family
from jaxvae.report import words
from jaxvae.report.content import REPORT
from jaxvae.report.study_report import study_report
from jaxvae.runs.results import CONFIG, Format, Layout, Results, TableLayout

OPTIONAL = ("spectrum", "candidates", "exposures")
PARAMETERS = ("members", "refits")
STUDY_LAYOUT = Layout(
    command="study",
    tables={
        "members": TableLayout(),
        "metrics": TableLayout(integers=("member", "factors")),
        "history": TableLayout(),
        "comparisons": TableLayout(),
        "n_factors": TableLayout(),
        "spectrum": TableLayout(),
        "stability": TableLayout(index=("beta",)),
        "rankings": TableLayout(),
        "factors": TableLayout(index=("date",), dates=("date",)),
        "loadings": TableLayout(index=("asset",), names=("asset",)),
        "covariance": TableLayout(index=("asset",), names=("asset",)),
        "candidates": TableLayout(),
        "assets": TableLayout(index=("asset",), names=("asset",)),
        "portfolios": TableLayout(index=("asset",), names=("asset",)),
        "pairs": TableLayout(names=("asset", "other")),
        "exposures": TableLayout(index=("sector",), names=("sector",)),
        "risk": TableLayout(index=("date",), dates=("date",)),
    },
    trees={
        "arrays": "arrays.safetensors",
        **{f"parameters of {name}": f"checkpoints/{name}.safetensors" for name in PARAMETERS},
    },
)


def _as_results(study: Any) -> Results:
    tables = {name: getattr(study, name) for name in STUDY_LAYOUT.tables}
    trees = {f"parameters of {name}": study.parameters[name] for name in PARAMETERS}
    there = {name: table for name, table in tables.items() if table is not None}
    arrays = study.arrays
    if len(study.covariance) > words.MOST_COVARIANCE_ASSETS:
        # Tens of millions of cells: as text they would take longer than the study's scores.
        arrays = {**arrays, words.COVARIANCE: there.pop(words.COVARIANCE).to_numpy()}
    return Results(study.config, there, {"arrays": arrays, **trees})


def _as_parts(results: Results) -> dict[str, Any]:
    config, tables, trees = results
    parameters = {name: trees[f"parameters of {name}"] for name in PARAMETERS}
    arrays = dict(trees["arrays"])
    if words.COVARIANCE in arrays:
        assets = tables["loadings"].index
        whole = pd.DataFrame(arrays.pop(words.COVARIANCE), index=assets, columns=list(assets))
        tables = {**tables, words.COVARIANCE: whole}
    found = {**dict.fromkeys(OPTIONAL), **tables}
    known = {name: found[name] for name in STUDY_LAYOUT.tables}
    return {"config": config, "arrays": arrays, "parameters": parameters, **known}


STUDY_FORMAT = Format(STUDY_LAYOUT, words.FILES, _as_results, _as_parts, study_report, REPORT)


def read_study(folder: Path, drawings: bool = True) -> dict[str, Any]:
    """The fields of the `Study` in a folder; arguments and errors are those of `load_study`."""
    parts = STUDY_FORMAT.read(folder, drawings)
    _require_model(parts["config"], list(parts["loadings"].index), folder)
    return parts


def _require_model(config: dict[str, Any], assets: list[str], folder: Path) -> None:
    """FolderError unless the settings are of a model, or of a user's own, which only the user has,
    and of the assets of the tables."""
    try:
        family = read_family(config["model_config"])
        if not is_own(family):
            family.build(len(assets))
        of_tables = assets == config["assets"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FolderError(f"{folder / CONFIG} is damaged: it names no model") from error
    if not of_tables:
        raise FolderError(f"{folder / CONFIG} names other assets than loadings.csv")
