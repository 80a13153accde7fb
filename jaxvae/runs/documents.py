"""JSON documents that name their schema and their own checksum: `config.json` and `run.json`."""

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

from jaxvae.errors import FolderError, shown
from jaxvae.runs.files import read_file

SCHEMA = 7
MOST_BYTES = 2**26


def seal(document: dict[str, Any]) -> bytes:
    """A document as it is kept, with schema and checksum.

    Raises ValueError on a number that is not finite.
    """
    plain = as_json({"schema": SCHEMA, **document})
    sealed = {**plain, "checksum": hash_document(plain)}
    return (json.dumps(sealed, indent=2, ensure_ascii=False) + "\n").encode()


def read_sealed(path: Path) -> dict[str, Any]:
    """What a sealed document says, schema included.

    Raises FolderError where it is missing, damaged, of another schema, or not of this package.
    """
    content = read_file(path, most=MOST_BYTES)
    try:
        document = json.loads(content, parse_constant=_refuse)
        schema, checksum = document["schema"], document.pop("checksum", None)
    except ValueError as error:
        raise FolderError(f"{path} is damaged, or not of jaxvae: {error}") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FolderError(
            f"{path} is damaged, or not of jaxvae: it is no JSON document with a schema"
        ) from error
    if schema != SCHEMA:
        raise FolderError(
            f"{path} has schema {shown(schema)}; this version reads {SCHEMA}: run it again, or use "
            "the version of jaxvae that wrote it"
        )
    if checksum != hash_document(document):
        raise FolderError(f"{path} is damaged or was changed: it does not have its checksum")
    return document


def as_json(document: Any) -> Any:
    """A document as reading it back gives it: tuples as lists, keys as text."""
    return json.loads(json.dumps(document, allow_nan=False))


def checksum(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def hash_document(document: Any) -> str:
    """The checksum of a document, in whatever order it names its parts."""
    return checksum(json.dumps(document, sort_keys=True).encode())


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")
