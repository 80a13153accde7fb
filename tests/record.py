"""Record what the package computes, and compare two records: a check for changes of structure.

    python tests/record.py run FOLDER       studies of every model, a walk, experiments' --quick
    python tests/record.py compare OLD NEW  files that differ, and by how much in numbers

Tables and JSON are compared number by number; a figure that a change means to move is named in the
change, everything else stays within rounding.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent
GRID = ("--seeds", "2", "--betas", "0.5", "1", "--factors", "3", "--epochs", "12", "--quiet")
MODELS = ("static", "linear", "additive", "student", "volatility", "autoregressive", "temporal")


def write_inputs(folder):
    """Returns, the same with gaps, sectors and a covariate, as files."""
    generator = np.random.default_rng(0)
    dates = pd.Index(pd.bdate_range("2020-01-01", periods=240), name="date")
    assets = [f"A{i}" for i in range(10)]
    loadings, factors = generator.normal(size=(10, 3)), generator.normal(size=(240, 3))
    returns = 0.01 * (factors @ loadings.T + generator.standard_t(5, size=(240, 10)))
    frame = pd.DataFrame(returns, index=dates, columns=assets)
    frame.to_csv(folder / "returns.csv")
    gaps = frame.mask(generator.uniform(size=frame.shape) < 0.03)
    gaps.to_csv(folder / "gaps.csv")
    (1 + frame).cumprod().to_csv(folder / "prices.csv")
    sectors = pd.DataFrame({"asset": assets, "sector": ["x", "y"] * 5})
    sectors.to_csv(folder / "sectors.csv", index=False)
    pd.DataFrame({"rate": generator.normal(size=240)}, index=dates).to_csv(folder / "rate.csv")


def commands(folder):
    """Name and words of every command, each writing what is named."""
    inputs = folder / "inputs"
    data = ("--data", inputs / "returns.csv")
    for model in MODELS:
        yield model, ("study", *data, *GRID, "--model", model, "--out", folder / model)
    told = ("--covariates", inputs / "rate.csv", "--sectors", inputs / "sectors.csv")
    yield "told", ("study", *data, *GRID, "--model", "conditional", *told, "--out", folder / "told")
    gaps = ("--data", inputs / "gaps.csv", "--missing", "keep")
    yield "gaps", ("study", *gaps, *GRID, "--model", "static", "--out", folder / "gaps")
    prices = ("--data", inputs / "prices.csv", "--kind", "prices", "--free-bits", ".1")
    yield "prices", ("study", *prices, *GRID, "--model", "static", "--out", folder / "prices")
    notebook = ("--preset", "notebook", "--seeds", "2", "--betas", ".1", "--quiet")
    yield "notebook", ("study", *notebook, "--out", folder / "notebook")
    walk = ("--window", "100", "--step", "60", "--factors", "2", "--epochs", "30", "--quiet")
    yield "walk", ("walk", *data, *walk, "--out", folder / "walk")
    asked = folder / "asked"
    yield "encode", ("encode", folder / "linear", *data, "--out", asked / "encode.csv")
    yield "impute", ("impute", folder / "gaps", *gaps[:2], "--out", asked / "impute.csv")
    draws = ("--number", "50", "--given", "A1=-0.02", "--out", asked / "scenarios.csv")
    yield "scenarios", ("scenarios", folder / "student", *draws)
    yield "forecast", ("forecast", folder / "temporal", *data, "--out", asked / "forecast.csv")


def run(folder):
    """Run everything; a command that fails is named and the others go on."""
    folder = folder.resolve()
    for name in ("inputs", "asked", "experiments"):
        (folder / name).mkdir(parents=True)
    write_inputs(folder / "inputs")
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    jobs = [
        (name, [sys.executable, "-m", "jaxvae", *map(str, words)])
        for name, words in commands(folder)
    ]
    for script in sorted((ROOT / "experiments").glob("*.py")):
        if "def main" in script.read_text("utf-8"):
            out = ["--quick", "--out", str(folder / "experiments")]
            jobs.append((script.stem, [sys.executable, str(script), *out]))
    for name, words in jobs:
        done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True)
        print(name, "ok" if done.returncode == 0 else f"FAILED\n{done.stderr[-2000:]}", flush=True)


def numbers(path):
    """Every number of a CSV or JSON, by where it stands."""
    if path.suffix == ".json":
        return dict(_leaves(json.loads(path.read_text("utf-8"))))
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return {
        f"{column}[{row}]": value
        for column in table
        for row, value in enumerate(table[column].tolist())
    }


def _leaves(tree, where=""):
    if isinstance(tree, dict):
        for name, branch in tree.items():
            if name not in ("ran_on", "seconds"):
                yield from _leaves(branch, f"{where}/{name}")
    elif isinstance(tree, list):
        for index, branch in enumerate(tree):
            yield from _leaves(branch, f"{where}[{index}]")
    else:
        yield where, str(tree)


def difference(old, new):
    """How two files differ, in words; None where they hold the same."""
    if old.read_bytes() == new.read_bytes():
        return None
    a, b = numbers(old), numbers(new)
    lost, extra = sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())
    largest, words, where = 0.0, 0, ""
    for name in a.keys() & b.keys():
        try:
            gap = abs(float(a[name]) - float(b[name])) / max(1.0, abs(float(a[name])))
        except ValueError:
            words += a[name] != b[name]
            continue
        if gap > largest:
            largest, where = gap, name
    if not (lost or extra or words or largest):
        return None
    return (
        f"largest gap {largest:.2e} {where}; {words} words; lost {len(lost)} {lost[:3]}; "
        f"new {len(extra)} {extra[:3]}"
    )


def compare(old, new):
    """Print what differs, file by file."""
    for path in sorted(old.rglob("*")):
        if path.suffix not in (".csv", ".json") or "cache" in path.parts:
            continue
        name = path.relative_to(old)
        if not (new / name).exists():
            print(f"{name}: gone")
        elif words := difference(path, new / name):
            print(f"{name}: {words}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=("run", "compare"))
    parser.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args()
    {"run": run, "compare": compare}[options.verb](*options.folders)


if __name__ == "__main__":
    main()
