"""A study's results, and the folder that keeps them.

Every table is a CSV, every array that a plot or a later command needs is in `arrays.safetensors`
(a format that holds numbers and no code), and `config.json` says how it all came to be.
"""

from pathlib import Path
from typing import Any

from jaxvae.errors import FolderError
from jaxvae.models import read_family
from jaxvae.runs.files import make_folder
from jaxvae.runs.results import (
    CONFIG,
    Layout,
    Results,
    TableLayout,
    pack,
    read_results,
    unpack,
    vouched,
    write_drawings,
)

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


def write_study(study: Any, folder: str | Path) -> None:
    """Write the study and its report into a new folder, which appears whole or not at all.

    Args:
        folder: that does not exist yet.

    Raises:
        FolderError: something is in the way, or the disk refuses.
    """
    make_folder(Path(folder), study_files(study))


def study_files(study: Any) -> dict[str, bytes]:
    """What a `Study`'s folder holds, by file, `config.json` last.

    The report is drawn from what reading gives back, so that drawing it again gives the same bytes.
    """
    from jaxvae.report.study_report import study_report

    data = pack(STUDY_LAYOUT, _as_results(study))
    again = type(study)(**_as_parts(unpack(STUDY_LAYOUT, study.config, data), Path()))
    return vouched(STUDY_LAYOUT, study.config, {**data, **study_report(again)})


def read_study(folder: Path, drawings: bool = True) -> dict[str, Any]:
    """The fields of the `Study` in a folder; arguments and errors are those of `load_study`."""
    parts = _as_parts(read_results(folder, STUDY_LAYOUT, drawings), folder)
    _require_model(parts["config"], list(parts["loadings"].index), folder)
    return parts


def write_report(study: Any, folder: Path) -> None:
    """Draw figures and report of a study into its folder again.

    Raises FolderError where a file that is not the study's is in the way.
    """
    from jaxvae.report.study_report import study_report

    write_drawings(folder, STUDY_LAYOUT, lambda: study_report(study))


def _as_results(study: Any) -> Results:
    tables = {name: getattr(study, name) for name in STUDY_LAYOUT.tables}
    trees = {f"parameters of {name}": study.parameters[name] for name in PARAMETERS}
    there = {name: table for name, table in tables.items() if table is not None}
    return Results(study.config, there, {"arrays": study.arrays, **trees})


def _as_parts(results: Results, folder: Path) -> dict[str, Any]:
    config, tables, trees = results
    try:
        parameters = {name: trees[f"parameters of {name}"] for name in PARAMETERS}
        needed = {name: tables[name] for name in STUDY_LAYOUT.tables if name not in OPTIONAL}
        known = {**{name: tables.get(name) for name in OPTIONAL}, **needed}
        return {"config": config, "arrays": trees["arrays"], "parameters": parameters, **known}
    except KeyError as error:
        raise FolderError(f"{folder} is not whole: it has no {error}") from error


def _require_model(config: dict[str, Any], assets: list[str], folder: Path) -> None:
    """FolderError unless the settings are of a model, or of a user's own, which only the user has,
    and of the assets of the tables."""
    try:
        family = read_family(config["model_config"])
        if not family.own:
            family.build(len(assets))
        of_tables = assets == config["assets"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FolderError(f"{folder / CONFIG} is damaged: it names no model") from error
    if not of_tables:
        raise FolderError(f"{folder / CONFIG} names other assets than loadings.csv")
