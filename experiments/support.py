"""What the experiments share: arguments, a JSON beside the script, versions of what ran."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jax", "flax", "optax", "numpy", "scikit-learn")


def parse(description: str | None, groups: Sequence[str] = ()) -> argparse.Namespace:
    """--quick for a size that only shows that the script runs; --out for where the JSON goes; for
    a script that has groups, --only for some of them."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON")
    if groups:
        parser.add_argument("--only", nargs="+", choices=groups, default=(), help="these groups")
    return parser.parse_args()


def use_all_cores() -> None:
    """One XLA device a core; call before anything is computed."""
    jax.config.update("jax_num_cpu_devices", os.cpu_count())


def write_json(folder: Path, name: str, results: dict[str, Any]) -> None:
    """Write the results with what they were computed on."""
    ran_on = {
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        **{package: version(package) for package in PACKAGES},
    }
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**results, "ran_on": ran_on}, indent=1)
    (folder / f"{name}.json").write_text(text + "\n")
