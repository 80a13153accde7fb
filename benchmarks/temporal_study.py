"""How long does a whole study take, cold, stage by stage, and how long did it before?

Command: python benchmarks/temporal_study.py --before REVISION   (about 10 minutes on 2 idle cores;
--quick: a minute; --only ROW: these anew, the others as they stand in the JSON)

Rows: `jaxvae study --model temporal` with 9 factors at β = 1, on `sp500` (8,312 dates of 20 assets,
4 seeds) and on a synthetic panel of volatility regimes (6,400 dates of 22 assets, 2 seeds); and
`--model static` with 5 factors on the synthetic panel, 40 members. Each in a process of its own
from start to end, imports and compiling included: nothing is in a cache.
"after" is the working tree; "before" the package as it stood at REVISION, unpacked from this
repository. Without --before that row is what the JSON holds already. Stages are timed by the lines
that a study writes to standard error as it enters them; beside seconds the processor's, of all
cores together, and the machine's load as a row begins: where other work runs, seconds say less than
those. One round of all rows; all figures are in results/temporal_study.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from measure import FOLDER, RESULTS, ran_on, write_json
from time_to_report import timed_command

ROOT = FOLDER.parent
STAGES = ("start", "baselines", "train", "refit", "count", "score", "report")
TEMPORAL = ("--model", "temporal", "--factors", "9", "--betas", "1")
PANELS = {
    "sp500": ("--data", "sp500", "--seeds", "4", *TEMPORAL),
    "regimes": ("--data", "regimes.csv", "--seeds", "2", *TEMPORAL),
    "static": ("--model", "static", "--factors", "5"),
}
SIZE, QUICK_SIZE = {"n_dates": 6400, "n_assets": 22}, {"n_dates": 150, "n_assets": 5}
QUICK = ("--factors", "2", "--epochs", "2")
HEADS = ("row", "code", "load", "seconds", "processor seconds", *STAGES)


def unpacked(revision: str, folder: Path) -> Path:
    """The package as it stood at a revision."""
    archive = _git("archive", revision, "jaxvae", "pyproject.toml")
    with tarfile.open(fileobj=BytesIO(archive)) as packed:
        packed.extractall(folder, filter="data")
    return folder


def subject(revision: str) -> str:
    """What a revision is called."""
    return _git("log", "-1", "--format=%s", revision).decode().strip()


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout


def cold_study(name: str, package: Path, quick: bool, folder: Path) -> dict[str, Any]:
    """One study of a panel by the package in a folder, with empty caches."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        environment = {
            **os.environ,
            "PYTHONPATH": str(package),
            "MPLBACKEND": "Agg",
            "XDG_CACHE_HOME": home,
            "JAXVAE_COMPILATION_CACHE": "off",
        }
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        words = [*PANELS[name], *(QUICK if quick else ())]
        command = [sys.executable, "-m", "jaxvae", "study", *words, "--out", f"{home}/study"]
        load = os.getloadavg()[0]
        return {"load": round(load, 2), **timed_command(command, environment, folder)}


def run_rows(before: str | None, panels: Sequence[str], quick: bool, out: Path) -> None:
    """The panels' rows; what is known is written after each."""
    from jaxvae.data.regimes import regimes_panel

    known = json.loads(out.read_text("utf-8")) if out.exists() else {}
    rows: dict[str, dict[str, Any]] = {} if quick else known.get("rows", {})
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        panel = regimes_panel(**(QUICK_SIZE if quick else SIZE))[0]
        panel.to_frame().to_csv(folder / "regimes.csv")
        codes = {"after": (ROOT, "HEAD")}
        if before is not None:
            codes = {"before": (unpacked(before, folder / "before"), before), **codes}
        for name in panels:
            for code, (package, revision) in codes.items():
                row = cold_study(name, package, quick, folder)
                rows.setdefault(name, {})[code] = {"subject": subject(revision), **row}
                print(*table_cells(name, code, rows[name][code]), flush=True)
                write_json(out, {"quick": quick, "rows": rows, "ran_on": ran_on()})


def table_cells(name: str, code: str, row: dict[str, Any]) -> list[str]:
    """A row of the table: seconds, in all and by stage."""
    parts = [row.get(f"stage {stage}") for stage in STAGES]
    return [
        name,
        code,
        f"{row['load']:.1f}",
        f"{row['seconds']:.0f}",
        f"{row['processor']:.0f}",
        *("" if part is None else f"{part:.0f}" for part in parts),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", metavar="REVISION", help="measure the package there, too")
    parser.add_argument("--only", nargs="+", choices=PANELS, default=tuple(PANELS))
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, default=RESULTS / "temporal_study.json")
    arguments = parser.parse_args()
    panels = ("regimes",) if arguments.quick else arguments.only
    run_rows(arguments.before, panels, arguments.quick, arguments.out)


if __name__ == "__main__":
    main()
