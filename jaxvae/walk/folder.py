"""The folder of a walk: its tables, its settings and its report."""

from pathlib import Path
from typing import Any

from jaxvae.errors import FolderError
from jaxvae.report.walk_report import walk_report
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

ARRAYS = "arrays"
WALK_LAYOUT = Layout(
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


def write_walk(walk: Any, folder: str | Path) -> None:
    """Write a `Walk` into a new folder, which appears whole or not at all.

    Args:
        walk: The results.
        folder: That does not exist yet.

    Raises:
        FolderError: Something is in the way, or the disk refuses.
    """
    make_folder(Path(folder), walk_files(walk))


def walk_files(walk: Any) -> dict[str, bytes]:
    """What a `Walk`'s folder holds, by file, `config.json` last.

    The report is drawn from what reading gives back, so that drawing it again gives the same bytes.
    """
    tables = {name: getattr(walk, name) for name in WALK_LAYOUT.tables}
    trees = {ARRAYS: {"covariances": walk.covariances}}
    data = pack(WALK_LAYOUT, Results(walk.config, tables, trees))
    again = type(walk)(**_as_parts(unpack(WALK_LAYOUT, walk.config, data), Path()))
    return vouched(WALK_LAYOUT, walk.config, {**data, **walk_report(again)})


def read_walk(folder: Path, drawings: bool = True) -> dict[str, Any]:
    """The fields of the `Walk` in a folder; arguments and errors are those of `load_walk`."""
    return _as_parts(read_results(folder, WALK_LAYOUT, drawings), folder)


def write_walk_report(walk: Any, folder: Path) -> None:
    """Draw the report of a walk into its folder again.

    Raises FolderError where a file that is not the walk's is in the way.
    """
    write_drawings(folder, WALK_LAYOUT, lambda: walk_report(walk))


def _as_parts(results: Results, folder: Path) -> dict[str, Any]:
    try:
        covariances = results.trees[ARRAYS]["covariances"]
        tables = {name: results.tables[name] for name in WALK_LAYOUT.tables}
        return {"config": results.config, "covariances": covariances, **tables}
    except KeyError as error:
        raise FolderError(f"{folder} is not whole: it has no {error}") from error
