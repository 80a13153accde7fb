"""Builds and runs the notebooks `tour.ipynb` and `research.ipynb`, which show the package at work.

Command: python experiments/notebooks.py [NAME ...]   (some minutes on 2 idle cores; needs the extra
`notebooks`)

The first goes from a DataFrame to a decision, the second shows the research side: modules and
likelihoods of one's own, `vmap` and `grad` around training. Their cells are in `tour_cells.py` and
`research_cells.py`; one that begins with "%%" is text, without that word. A test compares the
committed notebooks with what this builds, another runs their code.
"""

import argparse
import os
from pathlib import Path

import nbformat
from research_cells import RESEARCH
from tour_cells import TOUR

NOTEBOOKS = {"tour": TOUR, "research": RESEARCH}
FOLDER = Path(__file__).parent
TEXT = "%%\n"
LONGEST = 1200  # seconds of a cell


def build(name: str) -> nbformat.NotebookNode:
    """A notebook without outputs, the same whenever it is built."""
    notebook = nbformat.v4.new_notebook()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for index, cell in enumerate(NOTEBOOKS[name]):
        is_text = cell.startswith(TEXT)
        make = nbformat.v4.new_markdown_cell if is_text else nbformat.v4.new_code_cell
        made = make(cell.removeprefix(TEXT).strip("\n"))
        made["id"] = f"{name}-{index}"
        notebook.cells.append(made)
    return notebook


def run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its outputs, without what it took and what went to standard error."""
    from nbclient import NotebookClient

    # A kernel draws into the notebook unless it is told of another place.
    os.environ.pop("MPLBACKEND", None)
    NotebookClient(notebook, timeout=LONGEST, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of them all: tour, research")
    for name in parser.parse_args().names or NOTEBOOKS:
        nbformat.write(run(build(name)), FOLDER / f"{name}.ipynb")
        print(FOLDER / f"{name}.ipynb")


if __name__ == "__main__":
    main()
