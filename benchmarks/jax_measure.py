"""What is measured through JAX: lowering and compiling apart, the device's peaks."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

LOWERING = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
)
COMPILING = "/jax/core/compile/backend_compile_duration"
PRODUCT_SIZE = 2048


class CompileClock:
    """Seconds that JAX has spent lowering and compiling since this was made.

    JAX reports the durations as they end; traces contain each other, so the union of the intervals
    counts. Reading a compiled program from the cache counts as compiling.
    """

    def __init__(self) -> None:
        self._intervals: dict[str, list[tuple[float, float]]] = {"lower": [], "compile": []}
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration: float, **_: Any) -> None:
        kind = "lower" if event in LOWERING else "compile" if event == COMPILING else None
        if kind is not None:
            now = time.perf_counter()
            self._intervals[kind].append((now - duration, now))

    def seconds(self) -> dict[str, float]:
        """Seconds lowering (tracing to StableHLO) and compiling (by XLA)."""
        compiling = self._intervals["compile"]
        either = union_length(self._intervals["lower"] + compiling)
        compile_s = union_length(compiling)
        return {"lower": either - compile_s, "compile": compile_s}


def union_length(intervals: list[tuple[float, float]]) -> float:
    """The length of the union of intervals (begin, end)."""
    length, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        length += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return length


def product_peak(size: int = PRODUCT_SIZE, repeats: int = 5) -> dict[str, Any]:
    """The float32 matrix product's best rate in FLOP/s over all local devices, at the precision of
    products that is set: as one product on one device, and as one a device at once."""
    square = jax.jit(lambda a: a @ a)

    def rate(devices: list[jax.Device]) -> float:
        matrices = _on_each(devices, (size, size))
        seconds = _best_seconds(lambda: [square(matrix) for matrix in matrices], repeats)
        return 2 * size**3 * len(devices) / seconds

    devices = jax.local_devices()
    rates = {"one_product": rate(devices[:1]), "one_a_device": rate(devices)}
    return {"flops_per_second": max(rates.values()), "matrix_size": size, "by_way": rates}


def copy_bandwidth(megabytes: int, repeats: int = 5) -> dict[str, Any]:
    """Bytes a second that x + 1 reads and writes, in place, the best of several, over all local
    devices."""
    vectors = _on_each(jax.local_devices(), (megabytes * 250_000,))
    moved = 2 * sum(vector.nbytes for vector in vectors)
    add = jax.jit(lambda x: x + 1.0, donate_argnums=0)

    def add_again() -> list[jax.Array]:
        vectors[:] = [add(vector) for vector in vectors]
        return vectors

    return {
        "bytes_per_second": moved / _best_seconds(add_again, repeats),
        "megabytes_a_device": megabytes,
    }


def _on_each(devices: list[jax.Device], shape: tuple[int, ...]) -> list[jax.Array]:
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    return [jax.device_put(jnp.asarray(values), device) for device in devices]


def _best_seconds(function: Callable[[], Any], repeats: int) -> float:
    """The least seconds of a call; the first compiles and is left out."""
    taken = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        jax.block_until_ready(function())
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])
