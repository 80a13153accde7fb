"""The folder of a walk: its tables, its settings and its report."""

from pathlib import Path
from typing import Any

from jaxvae.report.content import REPORT
from jaxvae.report.walk_report import FILES, walk_report
from jaxvae.runs.results import Format, Layout, Results, TableLayout

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
    """Write a `Walk` into a new folder, as its method `save` does.

    Args:
        walk: The results.
        folder: That does not exist yet.
    """
    walk.save(folder)


def _as_results(walk: Any) -> Results:
    tables = {name: getattr(walk, name) for name in WALK_LAYOUT.tables}
    return Results(walk.config, tables, {ARRAYS: {"covariances": walk.covariances}})


def _as_parts(results: Results) -> dict[str, Any]:
    covariances = results.trees[ARRAYS]["covariances"]
    tables = {name: results.tables[name] for name in WALK_LAYOUT.tables}
    return {"config": results.config, "covariances": covariances, **tables}


WALK_FORMAT = Format(WALK_LAYOUT, FILES, _as_results, _as_parts, walk_report, REPORT)
