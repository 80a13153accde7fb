"""What does a member cost as members, assets, dates and devices grow?

Command: python benchmarks/scaling.py   (at most eight minutes on 2 idle cores; --quick: half a
minute)

The tile engine trains the notebook's network for a chunk of 20 epochs, one thing varied at a time:
assets from 20 to 5,000, dates from 250 to 10,000, CPU devices from 1 to one a core, and members
from 1 on, doubling until the next point would not fit into memory or into the time that is left.
Each point runs in a process of its own that is ended when it takes too long; where a sweep stops,
the JSON says why. Compiling is kept apart; the points of a sweep share a cache. Flatness is the
largest over the smallest cost of a member, from 16 members on, where tiles are full.

Time to a target: seconds until a member reconstructs fresh dates within 1 % of its final error, at
the edges of chunks, for one member alone on one core and for 64 on all. Everything is in
results/scaling.json.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

from measure import RESULTS, available_memory_mb, n_cores, ran_on, run_part, write_json

BUDGET, POINT_SECONDS, MEMORY_SHARE, FLAT_FROM = 480.0, 150.0, 0.8, 16
BASE = {"epochs": 20, "members": 16, "seeds": 1, "n_fresh": 1}
AXES = {"assets": "n_assets", "dates": "n_dates", "members": "members"}

Run = Callable[..., dict[str, Any]]


def sweeps(quick: bool) -> dict[str, Iterable[int]]:
    """The values of each axis; members double until something ends."""
    if quick:
        return {"members": (2,)}
    return {
        "devices": sorted({1, n_cores()}),
        "assets": (20, 50, 100, 200, 500, 1000, 2000, 5000),
        "dates": (250, 500, 1000, 2500, 5000, 10_000),
        "members": (2**power for power in count()),
    }


def run_sweep(run: Run, axis: str, values: Iterable[int], ends: float) -> dict[str, Any]:
    """The points in order, and why the sweep stopped before its last value, if it did."""
    points: list[dict[str, Any]] = []
    stopped = None
    for value in values:
        reason = too_much(points, axis, value, ends - time.monotonic())
        point = {"failed": reason} if reason else run(axis, value)
        if "failed" in point:
            stopped = f"{value:,} {axis}: {point['failed']}"
            break
        points.append({**point, axis: value})
    return {"points": points, "stopped": stopped}


def too_much(
    points: list[dict[str, Any]], axis: str, value: int, seconds_left: float
) -> str | None:
    """Why the next point should not be begun, judged from the one before, or None."""
    if seconds_left <= 0:
        return "no time left"
    if not points:
        return None
    last = points[-1]
    growth = value / last[axis]
    seconds = growth * last["seconds"] + last["process"] - sum_of_samples(last)
    held = last["peak_memory_mb"] - last["memory_before_mb"]
    memory, available = last["memory_before_mb"] + growth * held, available_memory_mb()
    if seconds > min(POINT_SECONDS, seconds_left):
        return f"would take {seconds:.0f} s, with {min(POINT_SECONDS, seconds_left):.0f} s left"
    if memory > MEMORY_SHARE * available:
        return f"would take {memory:.0f} MB of the {available:.0f} MB available"
    return None


def sum_of_samples(point: dict[str, Any]) -> float:
    return sum(sample["seconds"] for sample in point["samples"])


def flatness(points: list[dict[str, Any]]) -> float | None:
    """The largest over the smallest cost of a member, where tiles are full."""
    costs = [p["seconds_a_member_and_epoch"] for p in points if p["members"] >= FLAT_FROM]
    return max(costs) / min(costs) if costs else None


def measure(quick: bool, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sweeps by axis, and the races to the target. `folder` is for the cache and what parts
    write."""
    ends = time.monotonic() + BUDGET
    cores = 1 if quick else n_cores()

    def part(what: str, devices: int, size: dict[str, int], *arguments: str) -> dict[str, Any]:
        arguments += ("--cpu-devices", str(devices), "--size", json.dumps(size))
        arguments += ("--quick",) if quick else ()
        out, limit = folder / "part.json", ends - time.monotonic()
        print("point.py", what, *arguments, flush=True)
        command = (what, *arguments)
        return run_part("point.py", command, out, limit=limit, cache=folder, platform="cpu")

    def run(axis: str, value: int) -> dict[str, Any]:
        size = {} if quick else dict(BASE)
        if axis == "devices":
            return part("point", value, size)
        return part("point", cores, {**size, AXES[axis]: value})

    races = {"many": part("race", cores, {})}
    if not quick:
        races["one"] = part("race", 1, {"members": 1}, "--tile-width", "1")
    found = {axis: run_sweep(run, axis, values, ends) for axis, values in sweeps(quick).items()}
    return found, races


def table_rows(results: dict[str, Any]) -> list[str]:
    """A row a point of the sweeps."""
    return [
        f"| {point[axis]:,} {axis} | {point['seconds_a_member_and_epoch'] * 1e3:.3f} | "
        f"{point['flops_per_second'] / 1e9:.1f} | {point['compile']:.1f} | "
        f"{point['peak_memory_mb']:,.0f} |"
        for axis, sweep in results["sweeps"].items()
        for point in sweep["points"]
    ]


def race_rows(results: dict[str, Any]) -> list[str]:
    """A row a race to the target."""
    return [
        f"| {race['members']} | {race['seconds_to_median_member']:.2f} | "
        f"{race['seconds_to_last_member']:.2f} | {race['seconds'][-1]:.2f} | "
        f"{max(race['epochs_to_target'])} |"
        for race in results["races"].values()
        if "failed" not in race
    ]


def print_tables(results: dict[str, Any]) -> None:
    head = "| point | ms a member and epoch | GFLOP/s | compile, s | memory, MB |"
    print(head, "|" + " --- |" * 5, *table_rows(results), "", sep="\n")
    head = "| members | s to the target, median member | last member | s of all | epochs, last |"
    print(head, "|" + " --- |" * 5, *race_rows(results), "", sep="\n")
    for axis, sweep in results["sweeps"].items():
        if sweep["stopped"]:
            print(f"{axis} stopped: {sweep['stopped']}")
    if results["flatness"]:
        print(f"largest over smallest cost of a member: {results['flatness']:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, default=RESULTS / "scaling.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, races = measure(arguments.quick, Path(folder))
    results = {
        "quick": arguments.quick,
        "base": BASE,
        "sweeps": found,
        "flatness": flatness(found["members"]["points"]),
        "races": races,
        "ran_on": ran_on(),
    }
    write_json(arguments.out, results)
    print_tables(results)


if __name__ == "__main__":
    main()
