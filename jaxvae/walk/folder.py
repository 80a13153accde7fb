"""The folder of a walk: its tables, its settings and its report."""

from pathlib import Path

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
from jaxvae.walk.walk import Walk

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


def write_walk(walk: Walk, folder: str | Path) -> None:
    """Write a walk into a new folder, which appears whole or not at all.

    Args:
        walk: The results.
        folder: That does not exist yet.

    Raises:
        FolderError: Something is in the way, or the disk refuses.
    """
    make_folder(Path(folder), walk_files(walk))


def walk_files(walk: Walk) -> dict[str, bytes]:
    """What a walk's folder holds, by file, `config.json` last.

    The report is drawn from what reading gives back, so that drawing it again gives the same bytes.
    """
    tables = {name: getattr(walk, name) for name in WALK_LAYOUT.tables}
    trees = {ARRAYS: {"covariances": walk.covariances}}
    data = pack(WALK_LAYOUT, Results(walk.config, tables, trees))
    again = _as_walk(unpack(WALK_LAYOUT, walk.config, data), Path())
    return vouched(WALK_LAYOUT, walk.config, {**data, **walk_report(again)})


def load_walk(folder: str | Path, drawings: bool = True) -> Walk:
    """Read a walk's folder back.

    Args:
        folder: Of a walk that is done.
        drawings: Whether figures and report must be as they were written, too.

    Raises:
        FolderError: It names the file; the folder holds no walk, or a file is missing, damaged or
            another than was written.
    """
    folder = Path(folder)
    return _as_walk(read_results(folder, WALK_LAYOUT, drawings), folder)


def draw_walk_report(folder: str | Path) -> None:
    """Draw the report of a walk's folder again.

    Raises FolderError as `load_walk` does, and where a file that is not the walk's is in the way.
    """
    write_drawings(Path(folder), WALK_LAYOUT, walk_report(load_walk(folder, drawings=False)))


def _as_walk(results: Results, folder: Path) -> Walk:
    try:
        covariances = results.trees[ARRAYS]["covariances"]
        return Walk(config=results.config, covariances=covariances, **results.tables)
    except (KeyError, TypeError) as error:
        raise FolderError(f"{folder} is not whole: {error}") from error
