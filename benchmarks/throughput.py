"""How fast are members trained, beside PyTorch's loop, a hand-batched PyTorch, and pythae?

Command: python benchmarks/throughput.py   (half an hour on 2 idle cores; --quick: half
a minute)

Every row trains the notebook's network on the notebook's panel and schedule: 200 epochs of 16
batches, the last one short, float32. The peers come with the extra `bench`; on Linux install
PyTorch's build without CUDA first. A peer that is not installed is skipped, and said to be.

Every row runs in a process of its own. Rounds, where there are several, take all rows in turn
forwards and backwards; ratios are taken within a round. A process compiles into an empty cache
("cold"), a second one reads that cache ("from cache"); lowering, compiling and running are timed
apart. PyTorch runs with the number of threads that was faster in a trial just before. A row that
trains one member at a time is timed by the member, the others by all 64. Sixteen seeds of each row
reconstruct 10,000 fresh dates; a row whose mean error is more than 1 % from the notebook loop's is
void.

FLOPs are those of the matrix products, counted on the notebook's rows: the padding of jaxvae's
short batch is no work done. Their peak is a measured matrix product of 2,048² on the same cores.
Peak memory is the whole process's, imports and compiling included, scoring not.

The cold start is one member through the Python API: `jax.jit` of `jaxvae.fit` in a fresh process,
from the first import to the trained member, with an empty cache and with the one it filled. All
samples are in results/throughput.json.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measure import RESULTS, installed, ran_on, run_part, write_json
from notebook_problem import FLOPS_LEAVE_OUT, FULL, QUICK
from row import BATCHED, ENGINE, KEPT, PEAK, REFERENCE, ROWS
from summary import summarise

LIMIT = 1800.0
QUICK_ROWS = (REFERENCE, BATCHED, "pythae", ENGINE, KEPT)
HEADER = (
    "| 64 members, 2 cores, float32 | seconds a member | members/s | × the loop | compile, s | "
    "from cache, s | memory, MB | of peak | error over the loop's |"
)

Run = Callable[..., dict[str, Any]]


def measure(quick: bool, folder: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """All rounds, and why rows were left out. `folder` is for caches and what parts write."""

    def run(script: str, *arguments: str, cache: str | None = None) -> dict[str, Any]:
        arguments += ("--quick",) if quick else ()
        out, cached = folder / "part.json", None if cache is None else folder / cache
        print(script, *arguments, flush=True)
        return run_part(script, arguments, out, limit=LIMIT, cache=cached, platform="cpu")

    wanted = [name for name in ROWS if name in QUICK_ROWS or not quick]
    names = [name for name in wanted if installed(ROWS[name].needs)]
    skipped = {name: f"{ROWS[name].needs} is not installed" for name in wanted if name not in names}
    rounds = []
    for index in range((QUICK if quick else FULL).rounds):
        rounds.append(one_round(run, index, names))
        for name, part in rounds[-1]["rows"].items():
            if "failed" in part:
                skipped[name] = part["failed"]
                names.remove(name)
    for one in rounds:
        one["rows"] = {name: one["rows"][name] for name in names}
    return rounds, skipped


def one_round(run: Run, index: int, names: Sequence[str]) -> dict[str, Any]:
    """The peak, every row and both cold starts; ends the run where the peak or a start fails."""
    order = names if index % 2 == 0 else names[::-1]
    peak = run("row.py", "--row", PEAK)
    rows = {name: one_row(run, index, name) for name in order}
    starts = {kind: run("cold_start.py", cache=f"start-{index}") for kind in ("cold", "cached")}
    for part in (peak, *starts.values()):
        if "failed" in part:
            raise SystemExit(part["failed"])
    return {"peak": peak, "rows": rows, "starts": starts}


def one_row(run: Run, index: int, name: str) -> dict[str, Any]:
    """A row timed, compiling into an empty cache; jaxvae's are compiled again from that cache."""
    arguments = ("row.py", "--row", name)
    cache = f"{name}-{index}"
    part = run(*arguments, *(("--score",) if index == 0 else ()), cache=cache)
    if "failed" in part or "compile" not in part:
        return part
    cached = run(*arguments, "--compile-only", cache=cache)
    if "failed" in cached:
        return cached
    part["compile_cold"], part["compile_cached"] = part.pop("compile"), cached["compile"]
    return part


def table_rows(results: dict[str, Any]) -> list[str]:
    """The README's table: a row a way to train, medians over all rounds."""
    loop = results["rows"].get(REFERENCE)
    rows = []
    for row in results["rows"].values():
        seconds, over = row["seconds_a_member"], row["mse_over_notebook_loop"]
        times = loop and loop["seconds_a_member"]["median"] / seconds["median"]
        compiling = [row[f"{name}_s"] for name in ("compile_cold", "compile_cached")]
        cells = [
            row["label"] + (" (void)" if row["void"] else ""),
            "{median:.3f} ({min:.3f} to {max:.3f})".format(**seconds),
            f"{row['members_a_second']['median']:.2f}",
            "" if times is None else f"{times:.1f}",
            *("" if part is None else f"{part['median']:.1f}" for part in compiling),
            f"{row['peak_memory_mb']:,.0f}",
            f"{row['share_of_peak']:.0%}",
            "" if over is None else f"{over:+.2%}",
        ]
        rows.append("| " + " | ".join(cells).replace("-", "−") + " |")
    return rows


def start_rows(results: dict[str, Any]) -> list[str]:
    """The cold starts' table: seconds of each lap, medians over rounds."""
    names = {"cold": "into an empty cache", "cached": "from the cache"}
    return [
        f"| {names[kind]} | " + " | ".join(f"{lap['median']:.2f}" for lap in laps.values()) + " |"
        for kind, laps in results["cold_start"].items()
    ]


def print_tables(results: dict[str, Any]) -> None:
    print(HEADER, "|" + " --- |" * (HEADER.count("|") - 1), *table_rows(results), sep="\n")
    laps = list(results["cold_start"]["cold"])
    print(f"\n| cold start | {' | '.join(laps)} |", "|" + " --- |" * (len(laps) + 1), sep="\n")
    print(*start_rows(results), "", sep="\n")
    for name, ratio in results["ratios"].items():
        verdict = "met" if ratio["met"] else "missed"
        print(f"{name}: {ratio['median']:.3g} ({ratio['goal']}: {verdict})")
    for name, reason in results["skipped"].items():
        print(f"skipped {name}: {reason}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, default=RESULTS / "throughput.json")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory() as folder:
        rounds, skipped = measure(arguments.quick, Path(folder))
    results = {
        "quick": arguments.quick,
        "size": size._asdict(),
        "flops_leave_out": FLOPS_LEAVE_OUT,
        **summarise(rounds, size),
        "skipped": skipped,
        "ran_on": ran_on(),
    }
    write_json(arguments.out, results)
    print_tables(results)


if __name__ == "__main__":
    main()
