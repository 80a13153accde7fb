"""One measurement of the tile engine in a process of its own: a point of a sweep, a race to a
target quality, or the roofs of a device. `scaling.py` and `accelerator.py` start it."""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax_measure import CompileClock, copy_bandwidth, product_peak
from jaxvae_rows import Setup, facts, member_errors, set_up, table
from measure import n_cores, peak_memory_mb, timed, write_json
from notebook_problem import FULL, QUICK, Size, notebook_problem, training_bytes, training_flops

from jaxvae.training.ensemble import CHUNK_EPOCHS, Ensemble, train_ensemble
from jaxvae.training.tiles import resolve_width

SAMPLES, SECONDS, TOLERANCE = 3, 5.0, 0.01


def train(setup: Setup, members: int, epochs: int, tile_width: int | None) -> Ensemble:
    """The first so many seeds, frozen after so many epochs of the setup's schedule."""
    chosen = table(setup, range(members))
    chosen.hyperparameters.last_epoch[:] = epochs
    return train_ensemble(
        setup.root, setup.data, chosen, setup.model, setup.config, tile_width=tile_width
    )


def measure_point(size: Size, tile_width: int | None) -> dict[str, Any]:
    """Compile on a tile that has nothing to do, which warms up too; then train all members, a few
    times where it is short. Times in seconds, memory in MB, errors of the first `size.seeds`."""
    setup, clock = set_up(notebook_problem(size)), CompileClock()
    train(setup, 1, 0, tile_width)
    measured = {**facts(), **clock.seconds(), "memory_before_mb": device_memory_mb()}
    samples: list[dict[str, float]] = []
    while len(samples) < SAMPLES and sum(one["seconds"] for one in samples) < SECONDS:
        trained, sample = timed(lambda: train(setup, size.members, size.epochs, tile_width))
        samples.append(sample)
    seconds = float(np.median([sample["seconds"] for sample in samples]))
    memory = device_memory_mb()
    scored = jax.tree.map(lambda leaf: leaf[: size.seeds], trained.variables)
    return {
        **measured,
        "members": size.members,
        "tile_width": resolve_width(tile_width, tuple(jax.local_devices())),
        "samples": samples,
        "seconds": seconds,
        "seconds_a_member": seconds / size.members,
        "seconds_a_member_and_epoch": seconds / size.members / size.epochs,
        "members_a_second": size.members / seconds,
        "flops_per_second": size.members * training_flops(size) / seconds,
        "bytes_per_second": size.members * training_bytes(size) / seconds,
        "peak_memory_mb": memory,
        "mse_by_seed": member_errors(setup, scored),
    }


def race(size: Size, tile_width: int | None) -> dict[str, Any]:
    """Seconds until members reconstruct fresh dates within the tolerance of their final error, and
    stay there.

    Training is run anew to each edge of a chunk on the one schedule, so that nothing but training
    is timed.
    """
    setup = set_up(notebook_problem(size))
    train(setup, 1, 0, tile_width)
    edges = list(range(min(CHUNK_EPOCHS, size.epochs), size.epochs + 1, CHUNK_EPOCHS))
    seconds, errors = [], []
    for edge in edges:
        trained, sample = timed(lambda edge=edge: train(setup, size.members, edge, tile_width))
        seconds.append(sample["seconds"])
        errors.append(member_errors(setup, trained.variables))
    reached = first_within(np.array(errors), TOLERANCE)
    return {
        "members": size.members,
        "epochs": edges,
        "seconds": seconds,
        "mean_mse": np.mean(errors, axis=1).tolist(),
        "epochs_to_target": [edges[index] for index in reached],
        "seconds_to_median_member": seconds[int(np.median(reached))],
        "seconds_to_last_member": seconds[max(reached)],
    }


def first_within(errors: np.ndarray, tolerance: float) -> list[int]:
    """For each column, the first row from which on all rows lie within the tolerance of the last.

    errors: of shape (edge, member).
    """
    outside = errors > (1.0 + tolerance) * errors[-1]
    return [int(np.flatnonzero(column).max(initial=-1)) + 1 for column in outside.T]


def roofs(quick: bool) -> dict[str, Any]:
    """The matrix product's rate at the precision that is set, and a copy's bandwidth; as large as
    each kind of device needs to show its best."""
    platform = jax.default_backend()
    size, megabytes = (2048, 256) if platform == "cpu" else (8192, 1024)
    if quick:
        size, megabytes = 64, 1
    measured = {"product": product_peak(size), "copy": copy_bandwidth(megabytes)}
    return {"platform": platform, **facts(), **measured}


def device_memory_mb() -> float:
    """The most memory that was in use, of the device that had the most; of the process on a CPU."""
    statistics = [device.memory_stats() for device in jax.local_devices()]
    peaks = [one["peak_bytes_in_use"] for one in statistics if one and "peak_bytes_in_use" in one]
    return max(peaks) / 1e6 if peaks else peak_memory_mb()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("point", "race", "roofs"))
    parser.add_argument("--size", type=json.loads, default={}, help="what differs from the usual")
    parser.add_argument("--tile-width", type=int)
    parser.add_argument("--cpu-devices", type=int, default=n_cores())
    parser.add_argument("--precision", help="for jax_default_matmul_precision")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", arguments.cpu_devices)
    jax.config.update("jax_default_matmul_precision", arguments.precision)
    size = (QUICK if arguments.quick else FULL)._replace(**arguments.size)
    if arguments.what == "roofs":
        measured = roofs(arguments.quick)
    else:
        run = race if arguments.what == "race" else measure_point
        measured = run(size, arguments.tile_width)
    write_json(arguments.out, measured)


if __name__ == "__main__":
    main()
