"""Latent factors in panels of asset returns: ensembles of VAEs as one compiled JAX program.

What is public is imported when first used, so that a script pays only for what it needs.
"""

import ast
import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jaxvae.xla import keep_reductions_right

keep_reductions_right()

# The module of each public name, from the stub that tells type checkers.
_HOMES = {
    alias.name: node.module or ""
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("jaxvae")
    if name not in _HOMES:
        hint = importlib.import_module("jaxvae.errors").did_you_mean(name, __all__)
        raise AttributeError(f"module 'jaxvae' has no attribute {name!r}{hint}")
    if _HOMES[name] == __name__:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
