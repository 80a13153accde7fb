"""The READMEs: `experiments/readme.py` finds no fault, the example runs, links lead somewhere."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = ("README.md", "experiments/README.md", "benchmarks/README.md", "jaxvae/README.md")


def test_the_readmes_and_what_they_rest_on_have_no_fault():
    assert [*importlib.import_module("readme").faults()] == []


@pytest.mark.slow
def test_the_example_runs_as_written(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "factor 1" in done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    home = project["urls"]["Homepage"]
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text("utf-8")):
        inside = re.sub(rf"^{re.escape(home)}/(?:blob|raw)/main/", "", target)
        folder = (ROOT / name).parent if inside == target else ROOT
        assert (folder / inside).is_file(), target
        assert inside != target or name != "README.md", f"{target}: the index needs it absolute"
