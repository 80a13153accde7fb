"""What the rounds of `throughput.py` come to: rows, quality, ratios against the goals."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from measure import spread
from notebook_problem import Size, training_flops
from row import BATCHED, ENGINE, KEPT, REFERENCE, ROWS

TOLERANCE = 0.01
LAPS = ("import", "data", "lower", "compile", "run", "total", "process")
# A ratio's goal: numerator, denominator (seconds a member), and the least or the most it may be.
GOALS = {
    "tiles_over_notebook_loop": (REFERENCE, ENGINE, "at least", 30.0),
    "tiles_over_torch_batched": (BATCHED, ENGINE, "at least", 4.0),
    "tiles_kept_over_tiles": (KEPT, ENGINE, "at most", 1.01),
    "cold_start_over_notebook_loop": ("cold", REFERENCE, "at most", 1.0),
    "cached_start_over_notebook_loop": ("cached", REFERENCE, "at most", 0.5),
}

Round = Mapping[str, Any]


def summarise(rounds: Sequence[Round], size: Size) -> dict[str, Any]:
    """Rows, cold starts and ratios.

    rounds: of each, `peak`, and by name `rows` and `starts`, as `row.py` and `cold_start.py` wrote
    them.
    """
    peak = max(one["peak"]["flops_per_second"] for one in rounds)
    rows = {
        name: summarise_row(name, [one["rows"][name] for one in rounds], size, peak)
        for name in ROWS
        if name in rounds[0]["rows"]
    }
    judge(rows)
    return {
        "peak_flops_per_second": peak,
        "peaks": [one["peak"] for one in rounds],
        "flops_a_member": training_flops(size),
        "rows": rows,
        "cold_start": {
            kind: {lap: spread([one["starts"][kind][lap] for one in rounds]) for lap in LAPS}
            for kind in ("cold", "cached")
        },
        "ratios": ratios(rounds, rows),
    }


def summarise_row(
    name: str, parts: Sequence[dict[str, Any]], size: Size, peak: float
) -> dict[str, Any]:
    """Times in seconds, memory in MB, rates in FLOP/s; medians over all rounds' samples."""
    spec, mse = ROWS[name], parts[0]["mse_by_seed"]
    samples = [{"round": i, **sample} for i, part in enumerate(parts) for sample in part["samples"]]
    seconds = [sample["seconds"] / parts[0]["members"] for sample in samples]
    rate = training_flops(size) / statistics.median(seconds)
    summary = {
        "label": spec.label,
        "members_a_sample": parts[0]["members"],
        "warm_up": spec.warm_up,
        "settings": [part["settings"] for part in parts],
        "samples": samples,
        "seconds_a_member": spread(seconds),
        "members_a_second": spread([1.0 / one for one in seconds]),
        "flops_per_second": rate,
        "share_of_peak": rate / peak,
        "peak_memory_mb": max(part["peak_memory_mb"] for part in parts),
        "memory_before_mb": max(part["memory_before_mb"] for part in parts),
        "compiled_while_timed": any(part["compiled_while_timed"] for part in parts),
        "mse": statistics.fmean(mse),
        "mse_by_seed": mse,
    }
    for field in ("lower", "compile_cold", "compile_cached"):
        taken = [part[field] for part in parts if field in part]
        summary[f"{field}_s"] = spread(taken) if taken else None
    return summary


def judge(rows: Mapping[str, dict[str, Any]]) -> None:
    """Mark the rows whose error is further than the tolerance from the notebook loop's as void.

    Without the loop nothing can be judged, and `void` is None.
    """
    reference = rows[REFERENCE]["mse"] if REFERENCE in rows else None
    for row in rows.values():
        over = None if reference is None else row["mse"] / reference - 1.0
        row["mse_over_notebook_loop"] = over
        row["void"] = None if over is None else not abs(over) <= TOLERANCE


def ratios(rounds: Sequence[Round], rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Each goal's ratio by round and its median; only between rows that were measured and are not
    void."""
    found = {}
    for goal, (above, below, sense, bound) in GOALS.items():
        if any(rows[name]["void"] for name in (above, below) if name in rows):
            continue
        if not {above, below} <= {*rows, *rounds[0]["starts"]}:
            continue
        by_round = [seconds_of(one, above) / seconds_of(one, below) for one in rounds]
        median = statistics.median(by_round)
        met = median >= bound if sense == "at least" else median <= bound
        found[goal] = {
            "by_round": by_round,
            "median": median,
            "goal": f"{sense} {bound:g}",
            "met": met,
        }
    return found


def seconds_of(one: Round, name: str) -> float:
    """A round's median seconds a member of a row, or its seconds of a cold or cached start."""
    if name in one["starts"]:
        return one["starts"][name]["total"]
    part = one["rows"][name]
    return statistics.median(sample["seconds"] for sample in part["samples"]) / part["members"]
