"""The generated parts of the READMEs: claims and tables, from the committed JSON.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; `PARTS` says what makes it.

Command: python experiments/readme.py   (seconds; with --check nothing changes, and a gap fails,
as does a script without its command, a result without its place, a notebook that did not run)
"""

import argparse
import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import auto_words
import benchmark_words
import candidate_words
import file_words
import finding_words
import panel_words
import portfolio_words
import temporal_words
import theory_words
from pages import ROOT

FILES = ("README.md", "jaxvae/README.md", "experiments/README.md", "benchmarks/README.md")
SCRIPTS = ("experiments", "benchmarks")
MARK = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
LONGEST_README = 120  # lines
FEWEST_OUTPUTS = 5  # of a notebook

PARTS: dict[str, Callable[[], str]] = {
    name.replace("_", " "): made
    for module in (
        auto_words,
        benchmark_words,
        candidate_words,
        file_words,
        finding_words,
        panel_words,
        portfolio_words,
        temporal_words,
        theory_words,
    )
    for name, made in vars(module).items()
    if name.endswith(("_table", "_claim", "_list"))
}


def generated(text: str) -> str:
    """The text with every generated part made anew. Raises KeyError on an unknown one."""
    return MARK.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def faults() -> Iterator[str]:
    """What is wrong with the READMEs and with what they rest on."""
    for name in FILES:
        text = (ROOT / name).read_text("utf-8")
        if generated(text) != text:
            yield f"{name} is not as the JSON has it: run experiments/readme.py"
    lines = len((ROOT / "README.md").read_text("utf-8").splitlines())
    if lines > LONGEST_README:
        yield f"README.md has {lines} lines, more than {LONGEST_README}"
    for folder in SCRIPTS:
        yield from _faults_of_results(ROOT / folder)
        for path in sorted((ROOT / folder).glob("*.py")):
            yield from _faults_of_a_script(path)
    for path in sorted((ROOT / "experiments").glob("*.ipynb")):
        yield from _faults_of_a_notebook(path)


def _faults_of_results(folder: Path) -> Iterator[str]:
    """Of JSON without the script that makes it; of experiments also what no page cites."""
    page = (folder / "README.md").read_text("utf-8")
    for path in sorted((folder / "results").glob("*.json")):
        if not (folder / f"{path.stem}.py").is_file():
            yield f"{path.name} in {folder.name}: no script of its name"
        if folder.name == "experiments" and f"results/{path.name}" not in page:
            yield f"{path.name}: not cited in experiments/README.md"


def _faults_of_a_script(path: Path) -> Iterator[str]:
    """Of one that is run, by no other script, and whose docstring lacks the command."""
    tree = ast.parse(path.read_text("utf-8"))
    runs = any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)
    command = f"Command: python {path.parent.name}/{path.name}"
    words = ast.get_docstring(tree) or ""
    if runs and command not in words and not re.search(r"(starts?|runs) it", words):
        yield f"{path.name}: its docstring lacks {command!r}"


def _faults_of_a_notebook(path: Path) -> Iterator[str]:
    """Of one that was not run from start to end, or ended in an error."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    outputs = [output for cell in code for output in cell["outputs"]]
    if [cell["execution_count"] for cell in code] != [*range(1, len(code) + 1)]:
        yield f"{path.name}: not run from start to end"
    if len(outputs) < FEWEST_OUTPUTS:
        yield f"{path.name}: fewer than {FEWEST_OUTPUTS} outputs"
    for output in outputs:
        if output["output_type"] == "error" or output.get("name") == "stderr":
            yield f"{path.name}: ends in an error, or says something on standard error"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail on a fault")
    if not parser.parse_args().check:
        for name in FILES:
            path = ROOT / name
            path.write_text(generated(path.read_text("utf-8")), "utf-8")
    found = [*faults()]
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
