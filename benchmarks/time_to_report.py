"""How long from a panel to its report, beside the notebook's own script?

Command: python benchmarks/time_to_report.py --notebook FILE   (a quarter of an hour a round on 2
idle cores; --quick: half a minute)

FILE is the notebook as text, its code cells marked by lines "In [None]:" and its headings by "#";
they run as one script, drawn without a screen, one VAE with all its plots, through PyTorch (extra
`bench`). Without --notebook that row is left out, and said to be.

Rows, each a process of its own from start to end, imports included:

  notebook          the notebook's script
  static, cold      `jaxvae study --model static` with an empty cache of compiled programs
  static, cached    the same with the cache that it filled
  race, cold        `jaxvae study`: model and number of factors are chosen
  race, cached
  sp500, cold       `jaxvae study --data sp500`
  sp500, cached

Three rounds of all rows in turn; ratios are to the notebook's script of the same round. Stages are
timed by the lines that a study writes to standard error as it enters them. `linear`, which takes
the least, is what --quick runs. All samples are in results/time_to_report.json.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from measure import RESULTS, installed, ran_on, spread, write_json

from jaxvae.runs.progress import STAGES

STUDIES = {
    "static": ("--model", "static"),
    "race": (),
    "sp500": ("--data", "sp500"),
    "linear": ("--model", "linear"),
}
ROWS, QUICK_ROWS = ("static", "race", "sp500"), ("linear",)
QUICK = ("--seeds", "2", "--betas", "1", "--epochs", "4", "--factors", "2")
ROUNDS = 3
CELL, TEXT = "In [None]:", re.compile(r"^#+ ")


def code_cells(notebook: str) -> str:
    """The code of a notebook's text. A cell ends where a heading stands after a blank line."""
    lines, inside, blank = [], False, True
    for line in notebook.splitlines():
        heading = TEXT.match(line) and blank and line.startswith("##")
        inside = line.strip() == CELL or (inside and not heading)
        blank = not line.strip()
        if inside and line.strip() != CELL:
            lines.append(line)
    return "\n".join(lines)


def timed_command(
    words: Sequence[str], environment: dict[str, str], folder: Path
) -> dict[str, float]:
    """Seconds of a process, and for a study those of each stage, by the line that begins it; where
    the system tells them, processor seconds beside them."""
    begun, edges = time.perf_counter(), {}
    process = subprocess.Popen(
        words,
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        for stage, text in STAGES.items():
            if line.startswith(text):
                edges.setdefault(
                    stage, (time.perf_counter() - begun, processor_seconds(process.pid))
                )
    before = children_seconds()
    if process.wait():
        raise SystemExit(f"{' '.join(words)} failed:\n{''.join(lines)[-2000:]}")
    found = {"seconds": time.perf_counter() - begun, "processor": children_seconds() - before}
    if edges:
        ended = (found["seconds"], found["processor"])
        for (name, start), (_, end) in pairwise(
            [("start", (0.0, 0.0)), *edges.items(), ("", ended)]
        ):
            found[f"stage {name}"] = end[0] - start[0]
            found[f"processor {name}"] = end[1] - start[1]
    return found


def processor_seconds(process: int) -> float:
    """What a running process has spent so far; NaN where the system does not say."""
    status = Path(f"/proc/{process}/stat")
    if not status.exists():
        return float("nan")
    user, system = status.read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def children_seconds() -> float:
    """What the processes that have ended have spent."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def one_round(
    notebook: Path | None, studies: Sequence[str], quick: bool, folder: Path
) -> dict[str, dict[str, float]]:
    """All rows once."""
    rows = {}
    plain = {**os.environ, "MPLBACKEND": "Agg"}
    if notebook is not None:
        script = folder / "script.py"
        script.write_text(code_cells(notebook.read_text("utf-8")), "utf-8")
        rows["notebook"] = timed_command([sys.executable, str(script)], plain, folder)
    for name in studies:
        words, home = STUDIES[name], folder / f"cache of {name}"
        cached = {**plain, "XDG_CACHE_HOME": str(home), "JAXVAE_COMPILATION_CACHE": ""}
        cached.pop("JAX_COMPILATION_CACHE_DIR", None)
        for state in ("cold", "cached"):
            out = folder / f"{name} {state}"
            command = [sys.executable, "-m", "jaxvae", "study", *words, "--out", str(out)]
            row = timed_command([*command, *(QUICK if quick else ())], cached, folder)
            rows[f"{name}, {state}"] = row
            print(f"{name}, {state}: {row['seconds']:.1f} s", flush=True)
    return rows


def summarise(rounds: Sequence[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Of each row: its seconds, stage by stage, and times the notebook's script in its round."""
    table: dict[str, Any] = {}
    for name in rounds[0]:
        samples = [rows[name] for rows in rounds]
        table[name] = {
            part: spread([sample.get(part, 0.0) for sample in samples])
            for part in dict.fromkeys(part for sample in samples for part in sample)
        }
        if "notebook" in rounds[0]:
            ratios = [rows[name]["seconds"] / rows["notebook"]["seconds"] for rows in rounds]
            table[name]["times_notebook"] = spread(ratios)
        whole = statistics.median(sample["seconds"] for sample in samples)
        drawn = [
            sample.get("stage score", 0.0) + sample.get("stage report", 0.0) for sample in samples
        ]
        table[name]["scoring_and_drawing"] = statistics.median(drawn) / whole
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--notebook", type=Path, help="the notebook as text")
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, default=RESULTS / "time_to_report.json")
    arguments = parser.parse_args()
    notebook = arguments.notebook
    left_out = {}
    if notebook is None or not installed("torch"):
        why = "no --notebook was given" if notebook is None else "torch is not installed"
        left_out, notebook = {"notebook": why}, None
        print(f"notebook: left out, {why}", flush=True)
    rounds, studies = [], QUICK_ROWS if arguments.quick else arguments.only
    for _ in range(1 if arguments.quick else arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(one_round(notebook, studies, arguments.quick, Path(folder).resolve()))
    result = {
        "quick": arguments.quick,
        "rows": summarise(rounds),
        "rounds": rounds,
        "left_out": left_out,
        "ran_on": ran_on(),
    }
    write_json(arguments.out, result)


if __name__ == "__main__":
    main()
