"""Do studies say the same as before a change that was meant to make them quicker?

Command: python benchmarks/before_and_after.py --before REVISION   (minutes; --quick: half of one)

The same studies by the package as it stood at REVISION, unpacked from this repository, and by the
working tree: `static` on the synthetic panel, `volatility` on `sp500` and `french`, of 2 seeds at
β = 1 and a given number of factors. Kept of each pair: the ensemble's test scores, the largest
difference of a score of any member, the least correlation of a consensus factor with its twin over
all dates, the largest difference of covariances in that of the largest, and whether all tables are
equal to the bit. Everything is in results/before_and_after.json.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measure import FOLDER, RESULTS, ran_on, write_json
from temporal_study import subject, unpacked

ROOT = FOLDER.parent
STUDIES = {
    "linear": ("--model", "static", "--factors", "5"),
    "sp500": ("--model", "volatility", "--factors", "8"),
    "french": ("--model", "volatility", "--factors", "11"),
}
GRID = ("--seeds", "2", "--betas", "1", "--quiet")
QUICK = ("--epochs", "2")
SCORES = ("log_likelihood", "r2")


def study(panel: str, package: Path, quick: bool, folder: Path) -> Path:
    """A panel's study by the package in a folder."""
    out = folder / panel
    data = () if panel == "linear" else ("--data", panel)
    command = [*data, *STUDIES[panel], *GRID, *(QUICK if quick else ()), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(package), "MPLBACKEND": "Agg"}
    subprocess.run(
        [sys.executable, "-m", "jaxvae", "study", *command],
        env=environment,
        check=True,
        capture_output=True,
        cwd=folder,
    )
    return out


def compared(before: Path, after: Path) -> dict[str, Any]:
    """What two folders of one study say of each other."""
    old, new = (pd.read_csv(folder / "metrics.csv") for folder in (before, after))
    of_test = {}
    for name in SCORES:
        rows = [
            table[
                (table.model == "vae_ensemble") & (table.split == "test") & (table.metric == name)
            ]
            for table in (old, new)
        ]
        of_test[name] = [float(row.value.iloc[0]) for row in rows]
    keys = ["model", "member", "factors", "split", "metric"]
    both = old.merge(new, on=keys, suffixes=("_old", "_new"))
    members = both[(both.model == "vae") & both.metric.isin(SCORES)]
    apart = (members.value_old - members.value_new).abs()
    factors = [
        pd.read_csv(folder / "factors.csv", index_col=0).to_numpy() for folder in (before, after)
    ]
    shared = min(part.shape[1] for part in factors)
    twins = [abs(np.corrcoef(factors[0][:, k], factors[1][:, k])[0, 1]) for k in range(shared)]
    covariances = [
        pd.read_csv(folder / "covariance.csv", index_col=0).to_numpy() for folder in (before, after)
    ]
    largest = np.abs(covariances[0]).max()
    tables = ("metrics", "factors", "loadings", "covariance")
    return {
        "test": of_test,
        "largest_difference_of_a_member": float(apart.max()),
        "consensus_factors": [part.shape[1] for part in factors],
        "least_correlation_of_twins": float(min(twins)),
        "covariance": float(np.abs(covariances[0] - covariances[1]).max() / largest),
        "equal_to_the_bit": all(
            (before / f"{name}.csv").read_bytes() == (after / f"{name}.csv").read_bytes()
            for name in tables
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", default="HEAD", metavar="REVISION")
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, default=RESULTS / "before_and_after.json")
    arguments = parser.parse_args()
    panels = ("linear",) if arguments.quick else tuple(STUDIES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        for part in ("package", "before", "after"):
            (folder / part).mkdir()
        old = unpacked(arguments.before, folder / "package")
        rows = {}
        for panel in panels:
            pair = [
                study(panel, package, arguments.quick, folder / where)
                for package, where in ((old, "before"), (ROOT, "after"))
            ]
            rows[panel] = compared(*pair)
            print(panel, rows[panel], flush=True)
    subjects = {"before": subject(arguments.before), "after": subject("HEAD")}
    write_json(
        arguments.out,
        {"quick": arguments.quick, "subjects": subjects, "rows": rows, "ran_on": ran_on()},
    )


if __name__ == "__main__":
    main()
