"""One row of the throughput table, in a process of its own; `throughput.py` starts it."""

import argparse
import functools
import importlib
from pathlib import Path
from typing import Any, NamedTuple

from measure import peak_memory_mb, timed, write_json
from notebook_problem import FULL, QUICK, Row, Size, notebook_problem


class Spec(NamedTuple):
    """What a row is.

    label: its name in the table. module, function: where it is written. needs: the package without
    which it is skipped. many: whether a sample trains all members, or one. warm_up: members trained
    before the clock starts: "one", "all", or "tries" where the trials of settings are warm enough.
    """

    label: str
    module: str
    function: str
    needs: str
    many: bool
    warm_up: str


REFERENCE, BATCHED, ENGINE, KEPT = "notebook_loop", "torch_batched", "jaxvae_tiles", "tiles_kept"
ROWS = {
    REFERENCE: Spec("PyTorch, a loop", "torch_rows", REFERENCE, "torch", False, "tries"),
    BATCHED: Spec("PyTorch, batched by hand", "torch_rows", BATCHED, "torch", True, "tries"),
    "pythae": Spec("pythae", "pythae_rows", "pythae_loop", "pythae", False, "tries"),
    "jaxvae_one": Spec("jaxvae, one member", "jaxvae_rows", "one_by_one", "jax", False, "one"),
    "jaxvae_loop": Spec("jaxvae, a loop", "jaxvae_rows", "one_by_one", "jax", True, "one"),
    "jaxvae_lax_map": Spec("jaxvae, `lax.map`", "jaxvae_rows", "lax_map", "jax", True, "all"),
    "jaxvae_vmap": Spec("jaxvae, `vmap`", "jaxvae_rows", "vmap", "jax", True, "all"),
    ENGINE: Spec("jaxvae, tiles", "jaxvae_rows", "tiles", "jax", True, "all"),
    KEPT: Spec("jaxvae, tiles kept on disk", "jaxvae_rows", KEPT, "jax", True, "all"),
}
PEAK, SECONDS = "product_peak", 20.0


def measure_row(spec: Spec, size: Size, compile_only: bool, score: bool) -> dict[str, Any]:
    """Compile or try settings, warm up, take samples, and score members if asked to.

    A row that trains one member at a time and is scored takes a sample a seed; else samples are
    taken for `SECONDS`, one at least. Times in seconds, memory in MB.
    """
    row: Row = getattr(importlib.import_module(spec.module), spec.function)(notebook_problem(size))
    seeds = range(size.members if spec.many else size.seeds)
    clock = _clock(spec)
    measured = {"members": size.members if spec.many else 1, "memory_before_mb": peak_memory_mb()}
    measured |= {"settings": row.prepare(seeds), **clock()}
    if compile_only:
        return measured
    if spec.warm_up != "tries":
        row.train(seeds if spec.warm_up == "all" else seeds[:1])
    compiled = clock()
    trained, samples = take_samples(row, spec, size, score)
    measured |= {"samples": samples, "peak_memory_mb": peak_memory_mb()}
    measured["compiled_while_timed"] = clock() != compiled
    if score:
        errors = [error for part in trained for error in row.errors(part)]
        measured["mse_by_seed"] = errors[: size.seeds]
    return measured


def take_samples(
    row: Row, spec: Spec, size: Size, score: bool
) -> tuple[list[Any], list[dict[str, float]]]:
    """What was trained and is to be scored; the samples' seconds and loads."""
    trained, samples = [], []
    every_seed = score and not spec.many
    for index in range(size.seeds if every_seed else size.repeats):
        wanted = range(size.members) if spec.many else [index]
        done, sample = timed(functools.partial(row.train, wanted))
        samples.append(sample)
        trained = [*trained, done] if every_seed else [done]
        if not every_seed and sum(one["seconds"] for one in samples) > SECONDS:
            break
    return trained, samples


def _clock(spec: Spec) -> Any:
    """Seconds spent lowering and compiling from now on; nothing where nothing is compiled."""
    if spec.needs != "jax":
        return dict
    from jax_measure import CompileClock

    return CompileClock().seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", required=True, choices=[*ROWS, PEAK])
    parser.add_argument("--compile-only", action="store_true")
    parser.add_argument("--score", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.row == PEAK:
        write_json(arguments.out, measure_peak(arguments.quick))
    else:
        spec, size = ROWS[arguments.row], QUICK if arguments.quick else FULL
        measured = measure_row(spec, size, arguments.compile_only, arguments.score)
        write_json(arguments.out, measured)


def measure_peak(quick: bool) -> dict[str, Any]:
    """The matrix product's best rate, with one device a core."""
    import jax
    from jax_measure import PRODUCT_SIZE, product_peak
    from measure import n_cores

    jax.config.update("jax_num_cpu_devices", n_cores())
    return product_peak(64 if quick else PRODUCT_SIZE)


if __name__ == "__main__":
    main()
