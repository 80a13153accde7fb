"""The README: its example runs as written, its commands are there, its figures are the JSON's."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
EXPERIMENTS = ROOT / "experiments"


def test_the_example_runs_as_written(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d+\.\d+", done.stdout)) == 12


def test_links_and_pictures_resolve():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_every_file_on_the_map_exists():
    rows = re.findall(r"^\| (`jaxvae/.*?) \|", README, re.MULTILINE)
    named = re.findall(r"`([^`]+)`", " ".join(rows))
    for name in named:
        path = name if name.startswith("jaxvae/") else f"jaxvae/{name}"
        assert list(ROOT.glob(path.rstrip("/"))), name


def test_the_results_table_is_the_jsons(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    panels = importlib.import_module("panels")
    results = json.loads((EXPERIMENTS / "results" / "panels.json").read_text("utf-8"))
    assert results["quick"] is False
    for row in panels.table_rows(results):
        assert row in README


def test_the_prose_quotes_the_jsons():
    folder = EXPERIMENTS / "results"
    panels = json.loads((folder / "panels.json").read_text("utf-8"))["panels"]
    seeds = json.loads((folder / "notebook.json").read_text("utf-8"))["over_seeds"]
    consensus = panels["nonlinear"]["test"]["consensus"]
    prose = " ".join(README.split())
    for sentence in (
        f"match the true ones at {consensus['mcc']:.2f}, below the "
        f"{consensus['mcc_rotation_floor']:.2f} of a random rotation",
        f"have {panels['linear']['generated_std_over_data']:.2f} times the data's",
        f"explains {seeds['r2_sampled']['mean']:.3f} of the variance",
        f"and {seeds['r2_mean']['mean']:.3f} from the posterior mean",
        f"one-to-one they average {seeds['one_to_one_correlation']['mean']:.2f}",
    ):
        assert sentence in prose, sentence


def test_generated_returns_are_calibrated_on_the_default_panel():
    results = json.loads((EXPERIMENTS / "results" / "panels.json").read_text("utf-8"))
    assert 0.95 < results["panels"]["linear"]["generated_std_over_data"] < 1.05


def test_the_default_preset_is_what_the_experiment_chose(monkeypatch):
    from jaxvae.presets import DEFAULT

    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    networks = importlib.import_module("defaults").NETWORKS
    results = json.loads((EXPERIMENTS / "results" / "defaults.json").read_text("utf-8"))
    assert results["quick"] is False
    best = results["ranking"][0]
    settings, _ = networks[best["network"]]
    for name, value in settings.items():
        assert getattr(DEFAULT.model, name) == value
    assert DEFAULT.train.weight_decay == best["weight_decay"]
    assert DEFAULT.learning_rate == best["learning_rate"]
