"""A study's results, and the folder that keeps them.

Every table is a CSV, every array that a plot or a later command needs is in `arrays.safetensors`
(a format that holds numbers and no code), and `config.json` says how it all came to be.
"""

from pathlib import Path

from jaxvae.errors import FolderError
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
from jaxvae.study.study import Study

PARAMETERS = ("members", "refits")
LAYOUT = Layout(
    command="study",
    tables={
        "members": TableLayout(),
        "metrics": TableLayout(integers=("member", "factors")),
        "history": TableLayout(),
        "comparisons": TableLayout(),
        "n_factors": TableLayout(),
        "spectrum": TableLayout(),
        "rankings": TableLayout(),
        "factors": TableLayout(index=("date",), dates=("date",)),
        "loadings": TableLayout(index=("asset",), names=("asset",)),
        "covariance": TableLayout(index=("asset",), names=("asset",)),
    },
    trees={
        "arrays": "arrays.safetensors",
        **{f"parameters of {name}": f"checkpoints/{name}.safetensors" for name in PARAMETERS},
    },
)


def write_study(study: Study, folder: str | Path) -> None:
    """Write a study and its report into a new folder, which appears whole or not at all.

    Raises FolderError where something is in the way or the disk refuses.
    """
    make_folder(Path(folder), study_files(study))


def study_files(study: Study) -> dict[str, bytes]:
    """What a study's folder holds, by file, `config.json` last.

    The report is drawn from what reading gives back, so that drawing it again gives the same bytes.
    """
    from jaxvae.report.study_report import study_report

    data = pack(LAYOUT, _as_results(study))
    again = _as_study(unpack(LAYOUT, study.config, data), Path())
    return vouched(LAYOUT, study.config, {**data, **study_report(again)})


def load_study(folder: str | Path, drawings: bool = True) -> Study:
    """Read a study's folder back.

    drawings: whether figures and report must be as they were written, too.

    Raises FolderError, which names the file, where the folder holds no study, or a file is missing,
    damaged or another than was written.
    """
    folder = Path(folder)
    return _as_study(read_results(folder, LAYOUT, drawings), folder)


def draw_report(folder: str | Path) -> None:
    """Draw figures and report of a study's folder again.

    Raises FolderError as `load_study` does, and where a file that is not the study's is in the way.
    """
    from jaxvae.report.study_report import study_report

    drawn = study_report(load_study(folder, drawings=False))
    write_drawings(Path(folder), LAYOUT, drawn)


def _as_results(study: Study) -> Results:
    tables = {name: getattr(study, name) for name in LAYOUT.tables}
    trees = {f"parameters of {name}": study.parameters[name] for name in PARAMETERS}
    there = {name: table for name, table in tables.items() if table is not None}
    return Results(study.config, there, {"arrays": study.arrays, **trees})


def _as_study(results: Results, folder: Path) -> Study:
    config, tables, trees = results
    try:
        parameters = {name: trees[f"parameters of {name}"] for name in PARAMETERS}
        return Study(config=config, arrays=trees["arrays"], parameters=parameters, **tables)
    except (KeyError, TypeError) as error:
        raise FolderError(f"{folder} is not whole: {error}") from error
