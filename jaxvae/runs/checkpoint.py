"""Nested dicts of arrays on disk, as safetensors: numbers and names, no code.

A file appears whole or not at all (temporary file, fsync, rename, fsync of the folder) and carries
a checksum and notes on what it belongs to.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jaxvae.errors import FolderError
from jaxvae.runs.files import write_whole

SCHEMA = 1
# One entry of the file's metadata: safetensors writes several in random order.
MARKS = "jaxvae"
SEPARATOR = "/"
PLAIN = re.compile(r"[^/\\.\0][^/\\\0]*")


class Checkpoint(NamedTuple):
    """What a file holds: a nested dict of arrays, and notes by name."""

    tree: dict[str, Any]
    notes: dict[str, str]


def save_tree(tree: dict[str, Any], path: Path, notes: dict[str, str] | None = None) -> None:
    """Write a nested dict of arrays; an array's name is its path of keys.

    Raises OSError where the system refuses; what stood at the path before is then untouched.
    """
    leaves = dict(_flatten(tree, ""))
    arrays = {name: leaf for name, leaf in leaves.items() if not isinstance(leaf, dict)}
    text = json.dumps([notes or {}, sorted(leaves.keys() - arrays)], sort_keys=True)
    marks = {"schema": SCHEMA, "checksum": _checksum(arrays, text), "text": text}
    write_whole(path, save(arrays, metadata={MARKS: json.dumps(marks)}))


def load_tree(path: Path) -> dict[str, Any]:
    """Read a nested dict of arrays back.

    Raises FolderError where the file is missing, damaged or of a newer schema.
    """
    return load_checkpoint(path).tree


def load_checkpoint(path: Path) -> Checkpoint:
    """`load_tree`, with the notes."""
    try:
        if path.is_symlink():
            raise FolderError(f"{path} is a symbolic link; a checkpoint is a plain file")
        content = path.read_bytes()
        arrays = load(content)
    except FileNotFoundError as error:
        raise FolderError(f"{path} is missing; the folder is not whole") from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FolderError(f"{path} is damaged: {error}") from error
    schema, checksum, text = _read_marks(content, path)
    if schema > SCHEMA:
        raise FolderError(f"{path} has schema {schema}; this reads up to {SCHEMA}: upgrade jaxvae")
    if checksum != _checksum(arrays, text):
        raise FolderError(f"{path} is damaged: its contents do not have the checksum it names")
    notes, empty = json.loads(text)
    return Checkpoint(_nest(arrays | {name: {} for name in empty}, path), notes)


def as_tree(value: Any) -> Any:
    """NamedTuples, at any depth, as dicts of their fields; a field that is None is left out."""
    if hasattr(value, "_fields"):
        parts = zip(value._fields, value, strict=True)
        return {name: as_tree(part) for name, part in parts if part is not None}
    return value


def from_tree(kind: type, tree: dict[str, Any]) -> Any:
    """The NamedTuple that `as_tree` took apart; the type of a field says how to rebuild it.

    Raises KeyError where one is missing that may not be None.
    """
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        optional = NoneType in get_args(hint)
        if optional and name not in tree:
            continue
        (held, *_) = get_args(hint) if optional else (hint,)
        whole = hasattr(held, "_fields")
        fields[name] = from_tree(held, tree[name]) if whole else tree[name]
    return kind(**fields)


def _read_marks(content: bytes, path: Path) -> tuple[int, str, str]:
    """Schema, checksum, notes with the names of empty dicts; of content that is safetensors."""
    size = int.from_bytes(content[:8], "little")
    try:
        marks = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][MARKS])
        return int(marks["schema"]), str(marks["checksum"]), str(marks["text"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FolderError(f"{path} is damaged: it is no checkpoint of jaxvae") from error


def _checksum(arrays: dict[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode(errors="replace"))
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _flatten(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, np.ndarray | dict]]:
    """Arrays and empty dicts by their paths."""
    for key, value in tree.items():
        if not isinstance(value, dict):
            yield f"{prefix}{key}", np.asarray(value, order="C")
        elif value:
            yield from _flatten(value, f"{prefix}{key}{SEPARATOR}")
        else:
            yield f"{prefix}{key}", {}


def _nest(leaves: dict[str, Any], path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *parents, last = parts = name.split(SEPARATOR)
        above = (SEPARATOR.join(parents[:depth]) for depth in range(1, len(parts)))
        if not all(PLAIN.fullmatch(part) for part in parts) or any(key in leaves for key in above):
            raise FolderError(f"{path} is damaged: it names an array {name!r}")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree
