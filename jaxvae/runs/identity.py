"""What the bits of a run depend on: one record, kept with the run and compared with that of whoever
goes on with it."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jax.extend import backend

from jaxvae.errors import FolderError
from jaxvae.runs.documents import as_json
from jaxvae.training.ensemble import CHUNK_EPOCHS
from jaxvae.training.tiles import resolve_width

PACKAGES = (
    *("jaxvae", "jax", "jaxlib", "flax", "optax"),
    *("numpy", "scipy", "pandas", "scikit-learn"),
)
# Of JAX's options those that change numbers; of the environment what compilers and BLAS read.
JAX_OPTIONS = (
    *("enable_x64", "default_matmul_precision", "default_prng_impl", "threefry_partitionable"),
    *("random_seed_offset", "numpy_dtype_promotion", "disable_jit"),
    *("disable_most_optimizations", "optimization_level"),
)
ENVIRONMENT = ("LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE", "OPENBLAS_CORETYPE")


def identify(
    command: str, settings: dict[str, Any], data: dict[str, str], tile_width: int | None
) -> dict[str, Any]:
    """The record, as JSON.

    settings: the configuration. data: hashes of what it is run on, by name. tile_width: as asked
    for; the record holds what comes of it.
    """
    record: dict[str, Any] = as_json(
        {
            "command": command,
            "settings": {name: value for name, value in settings.items() if name != "tile_width"},
            "data": data,
            "tile_width": resolve_width(tile_width, tuple(jax.local_devices())),
            "chunk_epochs": CHUNK_EPOCHS,
            "device": _describe_device(),
            "cpu": cpu_features(),
            "python": platform.python_version(),
            "versions": {package: version(package) for package in PACKAGES},
            "jax": {name: getattr(jax.config, f"jax_{name}", None) for name in JAX_OPTIONS},
            "XLA_FLAGS": _xla_flags(),
            "environment": {name: os.environ.get(name, "") for name in ENVIRONMENT},
        }
    )
    return record


def require_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """FolderError, which names the first thing that differs, unless two records are the same."""
    was, asked = _by_name(before), _by_name(now)
    for name in was | asked:
        if was.get(name) != asked.get(name):
            words = name.replace("_", " ")
            raise FolderError(
                f"{folder} was begun with another {words}: {was.get(name)!s:.60}, now "
                f"{asked.get(name)!s:.60}; bits would differ, so name another folder or go back"
            )


def _describe_device() -> dict[str, Any]:
    """cores: of a CPU, over which XLA may spread a sum."""
    devices = jax.local_devices()
    first = devices[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": len(devices),
        "cores": os.cpu_count() if first.platform == "cpu" else None,
        "runtime": backend.get_backend().platform_version,
    }


def _xla_flags() -> dict[str, str]:
    """By name; of a flag given twice the last counts."""
    words = os.environ.get("XLA_FLAGS", "").split()
    return {name: value for name, _, value in (word.lstrip("-").partition("=") for word in words)}


def cpu_features() -> dict[str, bool]:
    """The instruction sets that compilers and BLAS choose among, those that are there."""
    try:
        from numpy._core._multiarray_umath import __cpu_features__ as features
    except ImportError:
        features = {platform.processor() or platform.machine(): True}
    return {name: True for name, there in features.items() if there}


def _by_name(record: dict[str, Any], group: str = "") -> dict[str, Any]:
    """The facts of a record, each by its name and that of its group."""
    facts: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            facts |= _by_name(value, "" if name in ("settings", "data") else f"{name} ")
        else:
            facts[f"{group}{name}"] = value
    return facts
