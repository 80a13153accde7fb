"""What benchmarks measure with: clocks, memory, spread, what they ran on, parts in processes.

Nothing here imports JAX or PyTorch, so that a process which only starts others stays small.
"""

import json
import os
import platform as host
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
PACKAGES = ("jaxvae", "jax", "jaxlib", "flax", "optax", "numpy", "torch", "pythae")
FLAGS = ("XLA_", "JAX_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_", "CUDA_VISIBLE")
CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def timed(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What the function returns; its seconds and the machine's load as it began."""
    load, begun = os.getloadavg()[0], time.perf_counter()
    result = function()
    return result, {"seconds": time.perf_counter() - begun, "load": round(load, 2)}


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "samples": len(values),
    }


def peak_memory_mb() -> float:
    """The most memory that this process has held, in MB.

    From Linux's own account where there is one: `getrusage` counts what the parent held at the
    start of the child.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def available_memory_mb() -> float:
    """Memory that new processes can have, in MB; half of the machine's where the kernel does not
    say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024 / 1e6
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2e6


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ran_on() -> dict[str, Any]:
    """Machine, versions and flags, but for where a cache is: that is the machine's own."""
    flags = [name for name in sorted(os.environ) if name.startswith(FLAGS) and "_DIR" not in name]
    return {
        "processor": _processor(),
        "cores": n_cores(),
        "memory_mb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
        "system": host.system(),
        "python": host.python_version(),
        "versions": {name: found for name in PACKAGES if (found := installed(name))},
        "flags": {name: os.environ[name] for name in flags},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return host.processor() or host.machine()


def installed(package: str) -> str | None:
    """A package's version, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def run_part(
    script: str,
    arguments: Sequence[str],
    out: Path,
    *,
    limit: float,
    cache: Path | None = None,
    platform: str | None = None,
) -> dict[str, Any]:
    """Run a script of this folder, which writes a JSON into `out`, in a process of its own.

    limit: seconds after which it is ended. cache: folder of compiled programs; None for none.
    platform: JAX's, instead of what it would choose.

    Returns the JSON and the seconds that the whole process took, under "process"; where it failed
    or was ended, what it had written until then, with the reason under "failed".
    """
    environment = dict(os.environ)
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    if cache is not None:
        environment |= CACHE | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    if platform is not None:
        environment["JAX_PLATFORMS"] = platform
    command = [sys.executable, str(FOLDER / script), *arguments, "--out", str(out)]
    out.unlink(missing_ok=True)
    begun = time.perf_counter()
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=max(limit, 0.1)
        )
        failed = (done.stderr.strip().splitlines() or ["no word"])[-1] if done.returncode else None
    except subprocess.TimeoutExpired:
        failed = f"not done in {limit:.0f} s"
    written = json.loads(out.read_text("utf-8")) if out.exists() else {}
    written["process"] = time.perf_counter() - begun
    return written if failed is None else {**written, "failed": failed}


def write_json(out: Path, results: dict[str, Any]) -> None:
    """Write at once, so that a reader never finds half a file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_suffix(".part")
    beside.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    beside.replace(out)
