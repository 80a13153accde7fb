"""Every experiment runs and writes its JSON."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "experiments"
TREES = {path: ast.parse(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.py"))}


def has_main(tree):
    return any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body)


SCRIPTS = [path for path, tree in TREES.items() if has_main(tree)]
# These write tables from JSON, and notebooks.
OTHERS = ("readme", "notebooks")
EXPERIMENTS = [path for path in SCRIPTS if path.stem not in OTHERS]


@pytest.mark.slow
@pytest.mark.usefixtures("compilation_cache")
@pytest.mark.parametrize("script", EXPERIMENTS, ids=lambda script: script.stem)
def test_quick_run_writes_its_json(script, tmp_path):
    command = [sys.executable, str(script), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / f"{script.stem}.json").read_text("utf-8"))
    assert results["quick"] is True
    assert "jax" in results["ran_on"]
