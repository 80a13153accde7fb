"""Where does the time of a step go? The tile program on one device, operation by operation.

Command: python benchmarks/step_profile.py   (half a minute; --quick: less)

One CPU device trains a tile of the notebook's members under JAX's profiler, whose events are added
up by kind: matrix products; passes over the flat vector of parameters (clipping, Adam, joining the
layers' gradients); random numbers and shuffling, once an epoch; and the rest, that is batch norm,
activations, loss and gathering rows. Tracing itself costs most where operations are small. Beside
them: the same products at the rate of the measured peak. Microseconds a member and step, into
results/step_profile.json; they say what bounds the engine on a CPU.
"""

import argparse
import collections
import gzip
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import jax
from jax_measure import product_peak
from jaxvae_rows import Setup, set_up, table
from measure import RESULTS, ran_on, timed, write_json
from notebook_problem import FULL, notebook_problem, training_flops

from jaxvae.training.ensemble import _advance, train_ensemble
from jaxvae.training.tiles import resolve_width, tile_program

EPOCHS, BATCHES = 20, 16
KINDS = ("products", "parameters", "random", "rest")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, default=RESULTS / "step_profile.json")
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 1)
    results = {"quick": arguments.quick, **measure(), "ran_on": ran_on()}
    write_json(arguments.out, results)
    for name, microseconds in results["microseconds"].items():
        print(f"{name:<12}{microseconds:8.1f}")


def measure() -> dict[str, Any]:
    """Microseconds a member and step: by kind under the profiler, and untraced in all."""
    setup = set_up(notebook_problem(FULL._replace(epochs=EPOCHS)))
    width = resolve_width(None, tuple(jax.local_devices()))
    members = table(setup, range(width))

    def train() -> Any:
        return train_ensemble(setup.root, setup.data, members, setup.model, setup.config)

    parameters = jax.tree.leaves(train().variables.parameters)
    n_parameters = sum(leaf[0].size for leaf in parameters)
    flat = works_on(compiled_text(setup), f",{n_parameters}]")
    untraced = min(timed(train)[1]["seconds"] for _ in range(5))
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            train()
        by_kind = added_up(events(Path(folder)), flat)
    scale = 1e6 / (width * EPOCHS * BATCHES)
    peak = product_peak()["flops_per_second"]
    at_peak = training_flops(FULL._replace(epochs=EPOCHS)) / (peak * EPOCHS * BATCHES)
    return {
        "tile_width": width,
        "peak_flops_per_second": peak,
        "microseconds": {
            **{kind: by_kind[kind] * scale for kind in KINDS},
            "untraced": untraced * scale,
            "at_peak": at_peak * 1e6,
        },
    }


def events(folder: Path) -> list[dict[str, Any]]:
    """The profiler's events of compiled operations, those of loops left out: they hold others."""
    (path,) = folder.rglob("*.trace.json.gz")
    with gzip.open(path) as file:
        found = json.load(file)["traceEvents"]
    operations = [one for one in found if "hlo_op" in one.get("args", {})]
    return [one for one in operations if not one["name"].startswith("while")]


def compiled_text(setup: Setup) -> str:
    """The compiled program that advances a tile, as text."""
    program = tile_program(_advance, tuple(jax.local_devices()), setup.model, setup.config)
    return "".join(compiled.as_text() for compiled in program.compiled.values())


def works_on(text: str, shape: str) -> set[str]:
    """Operations whose result has a shape."""
    return {name for name, result in re.findall(r"%(\S+) = (\S+) ", text) if shape in result}


def added_up(found: list[dict[str, Any]], flat: set[str]) -> dict[str, float]:
    """Seconds by kind; `flat` names the operations on the vector of parameters."""
    counts = collections.Counter(one["name"] for one in found)
    seconds = collections.Counter[str]()
    for one in found:
        seconds[kind(one["name"], counts[one["name"]], flat)] += one["dur"] * 1e-6
    return seconds


def kind(name: str, count: int, flat: set[str]) -> str:
    """An operation's kind: by its name, by what it works on, by how often it runs."""
    if re.match(r"(ynn_fusion|dot)", name):
        return "products"
    if name in flat:
        return "parameters"
    return "random" if count < EPOCHS * BATCHES else "rest"


if __name__ == "__main__":
    main()
