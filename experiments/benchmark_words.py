"""What is said of the benchmarks' JSON by the READMEs."""

import importlib
import sys
from typing import Any

from pages import ROOT, claims, number, results, table

STAGES = ("start", "select", "baselines", "train", "refit", "count", "score", "report")


def throughput_table() -> str:
    """A row a way to train, medians and ranges over all rounds."""
    throughput = _script("throughput")
    head = throughput.HEADER
    rule = "|" + " --- |" * (head.count("|") - 1)
    return "\n".join([head, rule, *throughput.table_rows(results("throughput", "benchmarks"))])


def throughput_claim() -> str:
    """The tile engine beside the notebook's loop and hand-batched PyTorch, as the table has it."""
    found = results("throughput", "benchmarks")
    seconds = {name: row["seconds_a_member"]["median"] for name, row in found["rows"].items()}
    starts = {kind: laps["total"]["median"] for kind, laps in found["cold_start"].items()}
    loop, batched = (
        number(seconds[name] / seconds["jaxvae_tiles"], 1)
        for name in ("notebook_loop", "torch_batched")
    )
    return claims(
        f"The tile engine trains {loop} times the members a second of the notebook's loop, "
        f"{batched} times those of PyTorch batched by hand.",
        f"One member in a cold process, imports and compiling included, takes "
        f"{number(starts['cold'], 1)} s, {number(starts['cached'], 1)} s with a compilation cache.",
    )


def report_claim() -> str:
    """Whole studies in times of the notebook's script."""
    rows = results("time_to_report", "benchmarks")["rows"]
    times = {name: number(row["times_notebook"]["median"], 1) for name, row in rows.items()}
    drawn = [row["scoring_and_drawing"] for name, row in rows.items() if name != "notebook"]
    return claims(
        "From the command to the report a study of `static`, 40 members with scores, nulls and "
        f"classical models, takes {times['static, cold']} times the notebook's script for one VAE, "
        f"{times['static, cached']} times once its programs are compiled.",
        f"With the choice of a model it takes {times['race, cold']} and {times['race, cached']} "
        f"times, on `sp500` {times['sp500, cold']} and {times['sp500, cached']}.",
        f"Scores and figures are {100 * min(drawn):.0f} to {100 * max(drawn):.0f} % of it.",
    )


def report_table() -> str:
    """A row a study: seconds from the command to its report, beside the notebook's script."""
    rows = []
    for name, row in results("time_to_report", "benchmarks")["rows"].items():
        seconds = row["seconds"]
        cells = [
            name,
            f"{number(seconds['median'], 1)} ({seconds['min']:.1f} to {seconds['max']:.1f})",
        ]
        cells.append(number(row["times_notebook"]["median"]) if "times_notebook" in row else "")
        parts = [row.get(f"stage {stage}", {}).get("median") for stage in STAGES]
        cells += ["" if part is None else number(part, 1) for part in parts]
        rows.append(cells)
    return table(("row", "seconds", "× the notebook", *STAGES), rows)


def study_scaling_claim() -> str:
    """The widest panel, and what analysis costs a member where there are few and many."""
    sweeps = results("study_scaling", "benchmarks")["sweeps"]
    known = [point for sweep in sweeps.values() for point in sweep if "failed" not in point]
    wide = max(known, key=lambda point: point["assets"] * point["dates"])
    few, many = (
        pick([p for p in known if (p["assets"], p["dates"]) == (100, 300)], key=_members)
        for pick in (min, max)
    )
    costs = [f"{1e3 * p['analysis'] / p['members']:.0f}" for p in (few, many)]
    return claims(
        f"{wide['assets']:,} assets × {wide['dates']:,} dates × {wide['members']} members end in a "
        f"report after {wide['seconds']:.0f} s and {wide['peak_memory_mb'] / 1e3:.1f} GB.",
        f"Analysis costs {costs[0]} ms a member where there are {few['members']}, {costs[1]} where "
        f"there are {many['members']:,}.",
    )


def _members(point: dict[str, Any]) -> int:
    return int(point["members"])


def study_scaling_table() -> str:
    """A row a study of growing panels and ensembles."""
    script = _script("study_scaling")
    sweeps = results("study_scaling", "benchmarks")["sweeps"].values()
    rows = {tuple(script.table_cells(point)): None for sweep in sweeps for point in sweep}
    return table(script.HEADS, rows)


def temporal_study_claim() -> str:
    """What whole studies took before and take after."""
    rows = results("temporal_study", "benchmarks")["rows"]
    words = []
    for name, by_code in rows.items():
        spent = [
            [f"{by_code[code][kind]:.0f}" for code in ("before", "after")]
            for kind in ("seconds", "processor")
        ]
        (was, takes), (processor, now) = spent
        words.append(f"{was} s, then {takes} (`{name}`; of processors {processor} and {now})")
    return f"**A cold study takes, before and after: {'; '.join(words)}.**"


def temporal_study_table() -> str:
    """A row a panel and state of the code: whole studies of `temporal`."""
    script = _script("temporal_study")
    rows = results("temporal_study", "benchmarks")["rows"]
    return table(
        script.HEADS,
        [
            script.table_cells(name, code, by_code[code])
            for name, by_code in rows.items()
            for code in ("before", "after")
            if code in by_code
        ],
    )


def before_and_after_claim() -> str:
    """What a study said before and says after the last change of the training step."""
    rows = results("before_and_after", "benchmarks")["rows"]
    words = []
    for panel, row in rows.items():
        scores = [number(score) for score in row["test"]["log_likelihood"]]
        least = number(row["least_correlation_of_twins"])
        words.append(f"`{panel}` {scores[0]} and {scores[1]} (least correlation {least})")
    return f"**Two seeds' score on test dates, nats a date, before and after: {'; '.join(words)}.**"


def _script(name: str) -> Any:
    """A benchmark's module."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    return importlib.import_module(name)


def profile_claim() -> str:
    """What a step spends its time on."""
    spent = results("step_profile", "benchmarks")["microseconds"]
    flatness = number(results("scaling", "benchmarks")["flatness"])
    return claims(
        f"Before the step was rewritten, a member's step took {spent['untraced']:.0f} µs on one "
        f"core, {spent['products']:.0f} of them in matrix products.",
        f"From 16 members to 2,048 the cost of one stayed within a factor of {flatness}.",
    )
