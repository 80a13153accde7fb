"""How do a whole study's time and memory grow with assets, dates and members?

Command: python benchmarks/study_scaling.py   (three quarters of an hour on 2 idle cores; --quick:
half a minute)

Each point is one study in a process of its own, from a linear synthetic panel of five factors in
memory to the saved folder and its report, compiling included: `--model linear`, whose number of
factors is chosen, with 4 seeds × 4 betas where members are not what grows. Its likelihoods are
exact; models whose likelihoods are drawn take longer to score. One thing is varied at a time:
assets at 300 and at 2,500 dates, dates, members. Seconds stage by stage, processor seconds, the
most memory held; a point that takes more than 25 minutes is ended, and the JSON says so.
Everything is in results/study_scaling.json.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import RESULTS, peak_memory_mb, ran_on, run_part, write_json

LIMIT = 1500.0
BASE = {"assets": 100, "dates": 300, "seeds": 4}
POINTS: dict[str, list[dict[str, int]]] = {
    "assets": [{"assets": n} for n in (100, 400, 1600, 5000)],
    "members": [{"seeds": n} for n in (10, 160)],
    "dates": [{"dates": n} for n in (300, 2500, 10_000)],
    "assets of many dates": [{"assets": n, "dates": 2500} for n in (100, 400, 1600, 5000)],
    "extremes": [{"dates": 50_000}, {"seeds": 1024}],
}
QUICK = {"assets": [{"assets": 12, "dates": 120, "seeds": 1}]}
BETAS = (0.5, 1.0, 2.0, 4.0)
HEADS = (
    "assets",
    "dates",
    "members",
    "seconds",
    "choosing",
    "training",
    "scoring",
    "files, figures",
    "analysis, ms a member",
    "memory, GB",
)
# What a study does, by its stages; analysis is what is not fitting of the VAEs.
PARTS = {
    "choosing": ("select", "count"),
    "training": ("train", "refit"),
    "scoring": ("baselines", "score"),
    "files, figures": ("save", "report"),
}
ANALYSIS = (*PARTS["scoring"], *PARTS["files, figures"])


def measure_point(assets: int, dates: int, seeds: int) -> dict[str, Any]:
    """One study in this process, from the panel to its report."""
    import jaxvae
    from jaxvae.data.synthetic import linear_panel

    panel, _ = linear_panel(n_dates=dates, n_assets=assets)
    begun, stages, entered = time.perf_counter(), {}, ["select", 0.0]

    def enter(stage: str) -> None:
        now = time.perf_counter() - begun
        stages[entered[0]] = now - entered[1] + stages.get(entered[0], 0.0)
        entered[:] = [stage, now]

    def heard(stage: str, _: Any) -> None:
        if stage != entered[0]:
            enter(stage)

    study = jaxvae.run_study(panel, model="linear", seeds=seeds, betas=BETAS, on_progress=heard)
    with tempfile.TemporaryDirectory() as folder:
        enter("save")
        study.save(Path(folder).resolve() / "study")
        enter("report")
        study.report(Path(folder).resolve() / "report.html")
        enter("end")
    return {
        "assets": assets,
        "dates": dates,
        "members": seeds * len(BETAS),
        "seconds": sum(stages.values()),
        "processor_seconds": time.process_time(),
        "stages": stages,
        "analysis": sum(stages.get(name, 0.0) for name in ANALYSIS),
        "peak_memory_mb": peak_memory_mb(),
        "n_factors": int(study.config["n_factors"]),
    }


def run_sweeps(quick: bool, only: Sequence[str], folder: Path, out: Path) -> None:
    """Every point in a process of its own; one that several sweeps share is measured once. What is
    known is written after each; with `only` some sweeps anew, the others as they stand."""
    done: dict[str, dict[str, Any]] = {}
    sweeps: dict[str, list[dict[str, Any]]] = {}
    if only:
        sweeps = json.loads(out.read_text("utf-8"))["sweeps"]
    for axis, sizes in (QUICK if quick else POINTS).items():
        if only and axis not in only:
            continue
        sweeps[axis] = []
        for size in sizes:
            point = json.dumps({**BASE, **size})
            if point not in done:
                part = run_part(
                    "study_scaling.py",
                    ("--point", point),
                    folder / "point.json",
                    limit=LIMIT,
                    cache=folder,
                    platform="cpu",
                )
                done[point] = {**json.loads(point), **part}
                print(*table_cells(done[point]), flush=True)
            sweeps[axis].append(done[point])
            write_json(out, {"quick": quick, "betas": BETAS, "sweeps": sweeps, "ran_on": ran_on()})


def table_cells(point: dict[str, Any]) -> list[str]:
    """What a point is and what it took; why it has no figures, if it has none."""
    members = point.get("members", point["seeds"] * len(BETAS))
    size = [f"{point['assets']:,}", f"{point['dates']:,}", f"{members:,}"]
    if "failed" in point:
        return [*size, point["failed"], "", "", "", "", "", ""]
    stages = point["stages"]
    return [
        *size,
        f"{point['seconds']:.0f}",
        *(f"{sum(stages.get(name, 0.0) for name in part):.0f}" for part in PARTS.values()),
        f"{1e3 * point['analysis'] / members:,.0f}",
        f"{point['peak_memory_mb'] / 1e3:.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--point", type=json.loads, help="one point, in this process")
    parser.add_argument("--only", nargs="+", choices=POINTS, default=(), help="these sweeps anew")
    parser.add_argument("--out", type=Path, default=RESULTS / "study_scaling.json")
    arguments = parser.parse_args()
    if arguments.point is not None:
        write_json(arguments.out, measure_point(**arguments.point))
        return
    with tempfile.TemporaryDirectory() as folder:
        run_sweeps(arguments.quick, arguments.only, Path(folder).resolve(), arguments.out)


if __name__ == "__main__":
    main()
