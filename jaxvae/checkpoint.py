"""Nested dicts of arrays on disk, as safetensors: numbers and names, no code."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from jaxvae.errors import FolderError

SEPARATOR = "/"


def save_tree(tree: dict[str, Any], path: Path) -> None:
    """Write a nested dict of arrays; an array's name is its path of keys."""
    path.write_bytes(save(dict(_flatten(tree, ""))))


def load_tree(path: Path) -> dict[str, Any]:
    """Read a nested dict of arrays back; dicts that held no array come back missing.

    Raises FolderError where the file is missing or damaged.
    """
    try:
        flat = load_file(path)
    except FileNotFoundError as error:
        raise FolderError(f"{path} is missing; the study's folder is not whole") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise FolderError(f"{path} is damaged: {error}") from error
    tree: dict[str, Any] = {}
    for name, array in flat.items():
        *parents, last = name.split(SEPARATOR)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = array
    return tree


def _flatten(tree: dict[str, Any], prefix: str) -> list[tuple[str, np.ndarray]]:
    pairs = []
    for key, value in tree.items():
        if isinstance(value, dict):
            pairs += _flatten(value, f"{prefix}{key}{SEPARATOR}")
        else:
            pairs.append((f"{prefix}{key}", np.asarray(value, order="C")))
    return pairs
