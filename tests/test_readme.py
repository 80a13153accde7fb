"""The README: its example runs as written, its commands are there, its figures are the JSON's."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
EXPERIMENTS, BENCHMARKS = ROOT / "experiments", ROOT / "benchmarks"
FINDINGS = (EXPERIMENTS / "README.md").read_text("utf-8")


def test_the_example_runs_as_written(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    script = tmp_path / "example.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\d+\.\d+", done.stdout)) == 12


@pytest.mark.parametrize(("text", "folder"), [(README, ROOT), (FINDINGS, EXPERIMENTS)])
def test_links_and_pictures_resolve(text, folder):
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (folder / target).is_file(), target


def test_every_result_is_cited_and_has_its_script():
    for path in (EXPERIMENTS / "results").glob("*.json"):
        assert f"results/{path.name}" in FINDINGS
        assert (EXPERIMENTS / f"{path.stem}.py").is_file()


def test_every_file_on_the_map_exists():
    rows = re.findall(r"^\| (`jaxvae/.*?) \|", README, re.MULTILINE)
    named = re.findall(r"`([^`]+)`", " ".join(rows))
    for name in named:
        path = name if name.startswith("jaxvae/") else f"jaxvae/{name}"
        assert list(ROOT.glob(path.rstrip("/"))), name


def results(name):
    return json.loads((EXPERIMENTS / "results" / f"{name}.json").read_text("utf-8"))


@pytest.mark.parametrize("name", ["panels", "nonlinear", "temporal", "missing"])
def test_the_results_tables_are_the_jsons(name, monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    experiment = importlib.import_module(name)
    assert results(name)["quick"] is False
    for row in experiment.table_rows(results(name)):
        assert row in FINDINGS


def test_the_speed_is_the_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    found = {
        name: json.loads((BENCHMARKS / "results" / f"{name}.json").read_text("utf-8"))
        for name in ("throughput", "scaling", "step_profile")
    }
    assert not any(one["quick"] for one in found.values())
    speed, profile = found["throughput"], found["step_profile"]["microseconds"]
    for row in importlib.import_module("throughput").table_rows(speed):
        assert row in README
    ratios = {name: ratio["median"] for name, ratio in speed["ratios"].items()}
    starts = {kind: laps["total"]["median"] for kind, laps in speed["cold_start"].items()}
    prose = " ".join(README.split())
    for sentence in (
        f"trains {ratios['tiles_over_notebook_loop']:.1f} times the members a second",
        f"{ratios['tiles_over_torch_batched']:.1f} times those of PyTorch batched by hand",
        f"a run takes {ratios['tiles_kept_over_tiles']:.3f} times as long",
        f"takes {starts['cold']:.1f} s, {starts['cached']:.1f} s with a compilation cache",
        f"step of {profile['untraced']:.0f} µs on one core, matrix products take "
        f"{profile['products']:.0f},",
        f"within a factor of {found['scaling']['flatness']:.2f}",
    ):
        assert sentence in prose, sentence


def test_the_findings_quote_the_jsons():
    panels, seeds = results("panels")["panels"], results("notebook")["over_seeds"]
    consensus = panels["nonlinear"]["static"]["test"]["consensus"]
    draws, rows = results("nonlinear")["over_draws"], results("certificates")["rows"]
    leads = results("consensus")["lead_over_median_member"]
    spread = panels["linear"]["static"]["generated_std_over_data"]
    prose = " ".join(FINDINGS.split())
    for sentence in (
        f"match the true ones at {consensus['mcc']:.2f}, below the "
        f"{consensus['mcc_rotation_floor']:.2f} of a random rotation",
        f"have {spread:.2f} times the data's",
        f"closes {draws['gap_closed']['mean']:.2f} of the gap",
        f"matched correlation is {draws['mcc']['mean']:.2f} on average",
        f"{sum(row['holds'] for row in rows)} of {len(rows)} comparisons",
        f"median member by {leads['before_the_rule']['mean']:+.3f}",
        f"{leads['consensus']['mean']:+.3f} [{leads['consensus']['low']:.3f}",
        f"explains {seeds['r2_sampled']['mean']:.3f} of the variance",
        f"and {seeds['r2_mean']['mean']:.3f} from the posterior mean",
        f"one-to-one they average {seeds['one_to_one_correlation']['mean']:.2f}",
    ):
        assert sentence in prose, sentence


def lead(result, baseline):
    """The ensemble's over a baseline, a row of the comparisons."""
    rows = [row for row in result["leads"] if row["baseline"] == baseline]
    return next(row for row in rows if row.get("model", "vae_ensemble") == "vae_ensemble")


def led(row):
    """A lead with its interval, as the answers give it."""
    words = f"{row['difference']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    return words.replace("-", "−")


def test_the_answers_quote_the_jsons():
    panels, nonlinear = results("panels")["panels"], results("nonlinear")["over_draws"]
    temporal, walk = results("temporal")["panels"], results("walk_forward")["models"]["linear"]
    consensus = results("consensus")["lead_over_median_member"]["consensus"]["mean"]
    rows, seeds = results("certificates")["rows"], results("notebook")["over_seeds"]
    against_t = {
        name: led(lead(panels[name][model], "multivariate_t"))
        for name, model in (("sp500", "volatility"), ("french", "student"))
    }
    over_fa = {
        name: lead(panels[name]["static"], "factor_analysis_best")["difference"]
        for name in ("linear", "nonlinear")
    }
    found = panels["nonlinear"]["static"]["test"]["consensus"]
    moved = walk["parts"]["all"]["volatility"]
    answers = " ".join(README.split())
    for sentence in (
        f"the default {-over_fa['linear']:.1f} nats behind",
        f"the default by {over_fa['nonlinear']:.1f}",
        f"closes {nonlinear['gap_closed']['mean']:.2f} of the way",
        f"leads by {against_t['sp500']} on `sp500`, `student` by {against_t['french']} on",
        f"{found['mcc']:.2f} against {found['mcc_rotation_floor']:.2f}; `additive`'s at "
        f"{nonlinear['mcc']['mean']:.2f}",
        f"by {led(lead(temporal['sp500'], 'ewma_t'))} on `sp500` and "
        f"{led(lead(temporal['french'], 'ewma_t'))} on `french`",
        f"moved {moved['vae']:.2f} % a year, Ledoit–Wolf's {moved['ledoit_wolf']:.2f}",
        f"by {consensus:.3f} in matched correlation",
        f"{sum(row['holds'] for row in rows)} of {len(rows)} comparisons",
        f"{seeds['r2_sampled']['mean']:.3f} of the variance",
    ):
        assert sentence in answers, sentence


def test_generated_returns_are_calibrated_on_the_default_panel():
    default = results("panels")["panels"]["linear"]["static"]
    assert 0.95 < default["generated_std_over_data"] < 1.05


def test_every_certificate_holds():
    assert all(row["holds"] for row in results("certificates")["rows"])


def test_the_default_preset_is_what_the_experiment_chose(monkeypatch):
    from jaxvae.study.presets import DEFAULT

    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    networks = importlib.import_module("defaults").NETWORKS
    defaults = results("defaults")
    assert defaults["quick"] is False
    best = defaults["ranking"][0]
    settings, _ = networks[best["network"]]
    for name, value in settings.items():
        assert getattr(DEFAULT.model, name) == value
    assert DEFAULT.train.weight_decay == best["weight_decay"]
    assert DEFAULT.learning_rate == best["learning_rate"]
