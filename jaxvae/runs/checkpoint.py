"""Pytrees of arrays in files, as safetensors: numbers and names, no code.

A file carries a checksum and notes on what it belongs to.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path
from safetensors import SafetensorError
from safetensors.numpy import load, save

from jaxvae.errors import FolderError
from jaxvae.runs.documents import SCHEMA
from jaxvae.runs.files import read_file

# One entry of the file's metadata: safetensors writes several in random order.
MARKS = "jaxvae"
SEPARATOR = "/"
PLAIN = re.compile(r"[^/\\.\0][^/\\\0]*")


class Checkpoint(NamedTuple):
    """What a file holds: a nested dict of arrays, and notes by name."""

    tree: dict[str, Any]
    notes: dict[str, str]


def pack_tree(tree: Any, notes: dict[str, str] | None = None) -> bytes:
    """A pytree of dicts, NamedTuples and arrays as the content of a file.

    An array's name is its path of keys and fields; what is None is left out, an empty dict is not.
    """
    found, _ = tree_flatten_with_path(tree, is_leaf=_is_empty)
    leaves = {keystr(path, simple=True, separator=SEPARATOR): leaf for path, leaf in found if path}
    empty = sorted(name for name, leaf in leaves.items() if _is_empty(leaf))
    arrays = {name: np.asarray(leaves[name], order="C") for name in leaves.keys() - {*empty}}
    text = json.dumps([notes or {}, empty], sort_keys=True)
    marks = {"schema": SCHEMA, "checksum": _checksum(arrays, text), "text": text}
    return save(arrays, metadata={MARKS: json.dumps(marks)})


def unpack_tree(content: bytes, path: Path) -> Checkpoint:
    """`pack_tree` undone, but that NamedTuples are dicts; `restore` makes them again.

    path: for words only.

    Raises FolderError where it is damaged or of another schema.
    """
    try:
        arrays = load(content)
        schema, checksum, text = _read_marks(content)
        notes, empty = json.loads(text)
        leaves = {**arrays, **{name: {} for name in empty}}
        damaged = checksum != _checksum(arrays, text) or not isinstance(notes, dict)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FolderError(f"{path} is damaged, or no checkpoint of jaxvae: {error}") from error
    if schema != SCHEMA:
        raise FolderError(f"{path} has schema {schema}; this version reads {SCHEMA}: run it again")
    if damaged:
        raise FolderError(f"{path} is damaged: its contents do not have the checksum it names")
    return Checkpoint(_nest(leaves, path), notes)


def load_tree(path: Path) -> Checkpoint:
    """Read a file of what `pack_tree` gives. Raises FolderError where it is missing, damaged or no
    file."""
    return unpack_tree(read_file(path), path)


def restore(kind: type, tree: dict[str, Any]) -> Any:
    """The NamedTuple of a kind that was packed; its fields' types say which parts are NamedTuples.

    The kind stands in for a pytree of its structure: whoever reads a finished tile need not have
    trained one.

    Raises TypeError where a field without a default is missing.
    """
    parts = {}
    for name, hint in get_type_hints(kind).items():
        if name in tree:
            inner = [one for one in (hint, *get_args(hint)) if hasattr(one, "_fields")]
            parts[name] = restore(inner[0], tree[name]) if inner else tree[name]
    return kind(**parts)


def _is_empty(part: Any) -> bool:
    return isinstance(part, dict) and not part


def _read_marks(content: bytes) -> tuple[int, str, str]:
    """Schema, checksum, notes with the names of empty dicts; of content that is safetensors."""
    size = int.from_bytes(content[:8], "little")
    marks = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][MARKS])
    return int(marks["schema"]), str(marks["checksum"]), str(marks["text"])


def _checksum(arrays: dict[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode(errors="replace"))
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _nest(leaves: dict[str, Any], path: Path) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *parents, last = parts = name.split(SEPARATOR)
        above = (SEPARATOR.join(parts[:depth]) for depth in range(1, len(parts)))
        if not all(PLAIN.fullmatch(part) for part in parts) or any(key in leaves for key in above):
            raise FolderError(f"{path} is damaged: it names an array {name!r}")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf
    return tree
