"""How fast does the tile engine train on this machine's devices, and does quality hold with
TF32 and bfloat16 products?

Command: python benchmarks/accelerator.py   (under ten minutes on any device; --quick: seconds)

The devices are those that JAX finds: install jax for them (pip install 'jax[cuda13]'), nothing else
is needed. Trains 64, 1,024, 256 and 16 members of the notebook's problem, in this order, all at
once on an accelerator and in tiles of the default width on a CPU, with float32, TF32 and bfloat16
products (`jax_default_matmul_precision`; sums are float32). Quality is the mean error of up to 16
seeds on 10,000 fresh dates; a lower precision holds it where it is within 1 % of float32 in the
same run.

Achieved FLOP/s (matrix products only) and bytes a second (parameters, gradients and Adam's moments
once each way a step: a lower bound) stand beside a measured matrix product at the same precision
and a measured copy: the two roofs.

Every piece runs in a process of its own, and is begun only where the slowest so far at its
precision says that it will end in time. What is not begun, fails or is ended is listed under
"skipped" and printed. The JSON's name holds the device's: results/accelerator-<device>.json.
"""

import argparse
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import RESULTS, ran_on, run_part, write_json

BUDGET, TOLERANCE = 560.0, 0.01
MEMBERS, QUICK_MEMBERS = (64, 1024, 256, 16), (2,)
REFERENCE = "float32"
# JAX's setting for each precision of products, by platform; elsewhere there are no such products.
SETTINGS = {
    REFERENCE: {"cpu": "float32", "gpu": "float32", "tpu": "float32"},
    "tensorfloat32": {"gpu": "tensorfloat32"},
    "bfloat16": {"gpu": "BF16_BF16_F32", "tpu": "bfloat16"},
}
HEADER = (
    "| products | members | s a member | members/s | compile, s | memory, MB | TFLOP/s | "
    "of the product's | of the copy's | error over float32's |"
)


class Survey:
    """Runs pieces while there is time, and keeps what they measured and what was left out.

    roofs: by precision. pieces: by precision, in the order of MEMBERS.
    """

    def __init__(self, quick: bool, folder: Path) -> None:
        self.quick, self.folder = quick, folder
        self.ends = time.monotonic() + BUDGET
        self.roofs: dict[str, dict[str, Any]] = {}
        self.pieces: dict[str, list[dict[str, Any]]] = {}
        self.skipped: dict[str, str] = {}

    def run(self, name: str, *arguments: str) -> dict[str, Any] | None:
        """A part's results; None, with the reason among the skipped, where it has none."""
        print("point.py", *arguments, flush=True)
        limit, out = self.ends - time.monotonic(), self.folder / "part.json"
        arguments += ("--quick",) if self.quick else ()
        part = run_part("point.py", arguments, out, limit=limit)
        if "failed" in part:
            self.skipped[name] = part["failed"]
            return None
        return part

    def measure_roofs(self) -> None:
        """The reference's tell the platform; on others there may be no such products."""
        platform = "cpu"
        for precision, settings in SETTINGS.items():
            if platform not in settings:
                self.skipped[precision] = f"no such products on a {platform}"
                continue
            setting = settings[platform]
            roof = self.run(f"{precision}, roofs", "roofs", "--precision", setting)
            if roof is not None:
                platform = roof["platform"]
                self.roofs[precision] = {**roof, "setting": setting}

    def measure_members(self, members: int) -> None:
        for precision, roof in self.roofs.items():
            name = f"{precision}, {members:,} members"
            seconds_left = self.ends - time.monotonic()
            reason = too_long(self.pieces.get(precision, []), members, seconds_left)
            if reason is not None:
                self.skipped[name] = reason
                continue
            arguments = ["--precision", roof["setting"], "--size", json.dumps({"members": members})]
            if roof["platform"] != "cpu":
                arguments += ["--tile-width", str(-(-members // roof["devices"]))]
            piece = self.run(name, "point", *arguments)
            if piece is not None:
                self.pieces.setdefault(precision, []).append(piece)


def too_long(pieces: list[dict[str, Any]], members: int, seconds_left: float) -> str | None:
    """Why so many members should not be begun, judged from the slowest piece before, or None."""
    if seconds_left <= 0:
        return "no time left"
    if not pieces:
        return None
    slowest = max(pieces, key=lambda piece: piece["process"])
    growth = max(1.0, members / slowest["members"])
    around = slowest["process"] - sum(sample["seconds"] for sample in slowest["samples"])
    needed = around + growth * slowest["seconds"]
    return f"would take {needed:.0f} s of {seconds_left:.0f} s" if needed > seconds_left else None


def judge(pieces: dict[str, list[dict[str, Any]]], roofs: dict[str, dict[str, Any]]) -> None:
    """Set each piece beside float32 of as many members: the error's excess, and whether it holds;
    None where float32 was not measured. Set its rates beside the measured roofs."""
    reference = {
        piece["members"]: statistics.fmean(piece["mse_by_seed"])
        for piece in pieces.get(REFERENCE, [])
    }
    for precision, measured in pieces.items():
        product, copy = (roofs[precision][roof] for roof in ("product", "copy"))
        for piece in measured:
            piece["mse"] = statistics.fmean(piece["mse_by_seed"])
            true = reference.get(piece["members"])
            over = None if true is None else piece["mse"] / true - 1.0
            piece["mse_over_float32"] = over
            piece["quality_held"] = None if over is None else abs(over) <= TOLERANCE
            piece["share_of_product"] = piece["flops_per_second"] / product["flops_per_second"]
            piece["share_of_copy"] = piece["bytes_per_second"] / copy["bytes_per_second"]


def table_rows(results: dict[str, Any]) -> list[str]:
    """A row a precision and number of members."""
    rows = []
    for precision, pieces in results["pieces"].items():
        for piece in sorted(pieces, key=lambda piece: piece["members"]):
            over = piece["mse_over_float32"]
            cells = [
                precision,
                f"{piece['members']:,}",
                f"{piece['seconds_a_member']:.4f}",
                f"{piece['members_a_second']:,.1f}",
                f"{piece['compile']:.1f}",
                f"{piece['peak_memory_mb']:,.0f}",
                f"{piece['flops_per_second'] / 1e12:.3f}",
                f"{piece['share_of_product']:.1%}",
                f"{piece['share_of_copy']:.1%}",
                "" if over is None else f"{over:+.2%}",
            ]
            rows.append("| " + " | ".join(cells).replace("-", "−") + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, help="instead of a name after the device")
    arguments = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        survey = Survey(arguments.quick, Path(folder))
        survey.measure_roofs()
        for members in QUICK_MEMBERS if arguments.quick else MEMBERS:
            survey.measure_members(members)
    judge(survey.pieces, survey.roofs)
    device = survey.roofs.get(REFERENCE, {}).get("device", "unknown")
    results = {
        "quick": arguments.quick,
        "device": device,
        "roofs": survey.roofs,
        "pieces": survey.pieces,
        "skipped": survey.skipped,
        "seconds": time.monotonic() - begun,
        "ran_on": ran_on(),
    }
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    write_json(arguments.out or RESULTS / f"accelerator-{slug}.json", results)
    print(HEADER, "|" + " --- |" * 10, *table_rows(results), "", sep="\n")
    for what, reason in survey.skipped.items():
        print(f"skipped {what}: {reason}")


if __name__ == "__main__":
    main()
