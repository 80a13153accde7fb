"""The notebooks: what is committed is what the script builds, and its code runs."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
from notebooks import NOTEBOOKS, build  # noqa: E402

FOLDER = Path(__file__).parent.parent / "experiments"
LARGEST = 300_000  # bytes


def cells(notebook):
    return [(cell["id"], cell.cell_type, cell.source) for cell in notebook.cells]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_as_its_script_builds_it(name):
    path = FOLDER / f"{name}.ipynb"
    committed = nbformat.read(path, as_version=4)
    nbformat.validate(committed)
    assert cells(committed) == cells(build(name))
    assert path.stat().st_size < LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebooks_code_runs_without_a_kernel(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    namespace = {"__name__": name}
    for cell in build(name).cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name} {cell['id']}", "exec"), namespace)
    assert "study" in namespace
