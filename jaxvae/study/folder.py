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
from jaxvae.runs.results import ARRAYS, CONFIG, TREE, Format, Results

PARAMETERS = {name: f"checkpoints/{name}{TREE}" for name in ("members", "refits", "consensus")}


def _as_results(study: Any) -> Results:
    tables, arrays = {name: getattr(study, name) for name in words.TABLES}, study.arrays
    if len(study.covariance) > words.MOST_COVARIANCE_ASSETS:
        # Tens of millions of cells: as text they would take longer than the study's scores.
        arrays = {**arrays, words.COVARIANCE: study.covariance.to_numpy()}
        tables[words.COVARIANCE] = None
    trees = {file: study.parameters[name] for name, file in PARAMETERS.items()}
    return Results(study.config, tables, {ARRAYS: arrays, **trees})


def _as_parts(results: Results) -> dict[str, Any]:
    config, tables, trees = results
    parameters = {name: trees[file] for name, file in PARAMETERS.items()}
    known: dict[str, Any] = {name: tables[name] for name in words.TABLES}
    arrays = dict(trees[ARRAYS])
    if words.COVARIANCE in arrays:
        assets = known["loadings"].index
        whole = pd.DataFrame(arrays.pop(words.COVARIANCE), index=assets, columns=list(assets))
        known[words.COVARIANCE] = whole
    return {"config": config, "arrays": arrays, "parameters": parameters, **known}


STUDY_FORMAT = Format("study", words.TABLES, _as_results, _as_parts, study_report, REPORT)


def read_study(folder: Path, drawings: bool = True) -> dict[str, Any]:
    """The fields of the `Study` in a folder; arguments and errors are those of `load_study`."""
    parts = STUDY_FORMAT.read(folder, drawings)
    _require_model(parts["config"], parts["loadings"], folder)
    return parts


def _require_model(config: dict[str, Any], loadings: Any, folder: Path) -> None:
    """FolderError unless the settings are of a model, or of a user's own, which only the user has,
    and of the assets of the tables."""
    try:
        assets = list(loadings.index)
        family = read_family(config["model_config"])
        if not is_own(family):
            family.build(len(assets))
        of_tables = assets == config["assets"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FolderError(f"{folder / CONFIG} is damaged: it names no model") from error
    if not of_tables:
        raise FolderError(f"{folder / CONFIG} names other assets than loadings.csv")
