"""The folder of a finished run: tables as CSV, arrays as safetensors, figures and pages, and the
`config.json` that names the checksum of every other file."""

import csv
import io
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from jaxvae.errors import FolderError
from jaxvae.runs.checkpoint import pack_tree, unpack_tree
from jaxvae.runs.documents import as_json, checksum, read_sealed, seal
from jaxvae.runs.files import is_plain, make_folder, read_file, write_files, write_new

CONFIG, RECORD = "config.json", "run.json"
TABLE, TREE = RESULTS = (".csv", ".safetensors")
ARRAYS = f"arrays{TREE}"


class Results(NamedTuple):
    """Settings, tables and arrays of a finished run.

    tables: by their names; None where the run has none of that name. trees: nested dicts of arrays,
    by their files.
    """

    config: dict[str, Any]
    tables: Mapping[str, pd.DataFrame | None]
    trees: Mapping[str, dict[str, Any]]


class Format(NamedTuple):
    """How the results of a command are kept in a folder.

    words: of each table, what a row is and its units. take: a result's settings, tables and arrays.
    restore: the fields of a result again; KeyError where one is missing. draw: figures and pages by
    file; linked: whether these link to the tables' files. page: that which stands alone.
    """

    command: str
    words: Mapping[str, tuple[str, str]]
    take: Callable[[Any], Results]
    restore: Callable[[Results], dict[str, Any]]
    draw: Callable[..., dict[str, bytes]]
    page: str

    def files(self, result: Any) -> dict[str, bytes]:
        """What the folder of a result holds, by file, `config.json` last.

        The report is drawn from what reading gives back, so that drawing it again gives the same
        bytes.
        """
        results = self.take(result)
        data, config = pack(results), describe_results(self.command, results)
        again = type(result)(**self.restore(unpack(config, data)))
        return with_checksums(config, {**data, **self.draw(again)})

    def read(self, folder: Path, drawings: bool = True) -> dict[str, Any]:
        """The fields of the result in a folder; arguments and errors as `read_results` has them."""
        results = read_results(folder, self.command, drawings)
        try:
            return self.restore(results)
        except KeyError as error:
            raise FolderError(f"{folder} is not whole: it has no {error}") from error


class SavedResults:
    """The base of results that a folder keeps, dataclasses with a field for each table."""

    format: ClassVar[Format]

    def __post_init__(self) -> None:
        for name, (_, units) in self.format.words.items():
            if (table := getattr(self, name)) is not None:
                table.attrs.setdefault("units", units)

    def save(self, folder: str | Path) -> None:
        """Write the results and their report into a new folder, which appears whole or not at all.

        Args:
            folder: that does not exist yet.

        Raises:
            FolderError: something is in the way, or the disk refuses.
        """
        make_folder(Path(folder), self.format.files(self))

    def report(self, path: str | Path) -> None:
        """Write the report as one page, which needs no other file.

        Args:
            path: of the page, where no file is yet.

        Raises:
            FolderError: something is in the way, or the disk refuses.
        """
        write_new(Path(path), self.format.draw(self, linked=False)[self.format.page])


def pack(results: Results) -> dict[str, bytes]:
    """Tables and arrays as the content of files: each table in a CSV file of its name."""
    tables = {
        f"{name}{TABLE}": table.to_csv(index=_has_index(table), lineterminator="\n").encode()
        for name, table in results.tables.items()
        if table is not None
    }
    return tables | {file: pack_tree(tree) for file, tree in results.trees.items()}


def describe_results(command: str, results: Results) -> dict[str, Any]:
    """The settings, with the command that they are of and, of each table, how it is read."""
    shapes = {
        name: None if table is None else _shape(table) for name, table in results.tables.items()
    }
    return {"command": command, **results.config, "tables": shapes}


def unpack(config: dict[str, Any], files: Mapping[str, bytes], folder: Path = Path()) -> Results:
    """`pack` undone, of settings from `describe_results`; what is not among the files is left out.

    Raises FolderError, which names the file in its folder, where one cannot be read; KeyError or
    TypeError where the settings name no tables.
    """
    tables: dict[str, pd.DataFrame | None] = {}
    for name, shape in {**config["tables"]}.items():
        file = f"{name}{TABLE}"
        if shape is None:
            tables[name] = None
        elif file in files:
            tables[name] = _parse_table(files[file], shape, folder / file)
    trees = {
        file: unpack_tree(content, folder / file).tree
        for file, content in files.items()
        if file.endswith(TREE)
    }
    return Results(as_json(config), tables, trees)


def with_checksums(config: dict[str, Any], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Files, and last the `config.json` that names the checksums of the others."""
    return {**files, CONFIG: _seal_with({**config, "sizes": {}, "checksums": {}}, files)}


def read_config(folder: Path, command: str | None = None) -> dict[str, Any]:
    """The `config.json` of a finished run, of a command or of any.

    Raises FolderError where the folder holds no such run, or it is damaged.
    """
    if not is_plain(folder / CONFIG):
        if is_plain(folder / RECORD):
            raise FolderError(f"the run in {folder} is not finished: go on with what began it")
        raise FolderError(f"{folder} is no {command or 'run'}'s folder: it has no {CONFIG}")
    config = read_sealed(folder / CONFIG)
    if command is not None and (found := config.get("command")) != command:
        raise FolderError(f"{folder} is a {found!s:.20}'s folder, no {command}'s")
    return config


def read_results(folder: Path, command: str, drawings: bool = True) -> Results:
    """Read a finished run back.

    drawings: whether figures and pages must be as they were written, too.

    Raises FolderError where the folder holds no finished run of the command, or a file is missing
    or another than was written.
    """
    config = read_config(folder, command)
    try:
        names = [name for name in {**config["checksums"]} if drawings or name.endswith(RESULTS)]
        files = {name: _read_vouched(folder, name, config) for name in names}
        return unpack(config, files, folder)
    except FolderError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FolderError(f"{folder / CONFIG} is damaged: {error}") from error


def write_drawings(folder: Path, draw: Callable[[], Mapping[str, bytes]]) -> None:
    """Write figures and pages of a finished run anew.

    Raises FolderError, before any is written, where one would replace a file that is not the run's,
    or where they cannot be drawn from what the settings hold.
    """
    config = read_config(folder)
    try:
        drawings = draw()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise FolderError(
            f"{folder} cannot be drawn ({_reason(error)}): was {CONFIG} changed by hand?"
        ) from error
    for name in drawings:
        if name not in config["checksums"] and os.path.lexists(folder / name):
            raise FolderError(f"{folder / name} is not of jaxvae and in the way; move it elsewhere")
    write_files(folder, {**drawings, CONFIG: _seal_with(config, drawings)})


def _seal_with(config: dict[str, Any], files: Mapping[str, bytes]) -> bytes:
    """The configuration with checksums and sizes of further files."""
    sums = config["checksums"] | {name: checksum(content) for name, content in files.items()}
    sizes = config["sizes"] | {name: len(content) for name, content in files.items()}
    return seal({**config, "checksums": sums, "sizes": sizes})


def _read_vouched(folder: Path, name: str, config: dict[str, Any]) -> bytes:
    """A file as it was written."""
    try:
        content = read_file(folder / name, int(config["sizes"][name]))
        if checksum(content) != config["checksums"][name]:
            raise FolderError(f"{folder / name} is damaged, or changed since it was written")
    except FolderError as error:
        again = "" if name.endswith(RESULTS) else f"; draw it again with: jaxvae report {folder}"
        raise FolderError(f"{error}{again}") from error
    return content


def _has_index(table: pd.DataFrame) -> bool:
    """Whether rows have names; else they are only counted."""
    return table.index.names != [None]


def _shape(table: pd.DataFrame) -> dict[str, Any]:
    """What a CSV file does not say: how many of its columns are the index, and the places of those
    that hold dates, text (be it NA) and integers with blanks."""
    named = _has_index(table)
    columns = table.reset_index(drop=not named, allow_duplicates=True).dtypes
    kinds = ["Int64" if dtype == "Int64" else dtype.kind for dtype in columns]
    places = {
        name: [place for place, found in enumerate(kinds) if found == kind]
        for name, kind in (("dates", "M"), ("texts", "O"), ("integers", "Int64"))
    }
    return {"index": table.index.nlevels if named else 0, **places}


def _parse_table(content: bytes, shape: Any, path: Path) -> pd.DataFrame:
    """shape: as `_shape` gives it. Columns go by their places: assets may be named as the index
    is, or NA."""
    try:
        text, n_index = content.decode(), shape["index"]
        header = next(csv.reader(io.StringIO(text, newline="")))
        # Before pandas 3.1 numbers come back to the bit only where it is asked for.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            frame = pd.read_csv(
                io.StringIO(text, newline=""),
                header=0,
                names=range(len(header)),
                index_col=False,
                dtype=dict.fromkeys(shape["texts"], str)
                | dict.fromkeys(shape["integers"], "Int64"),
                keep_default_na=False,
                na_values=[""],
                float_precision="round_trip",
            )
        for place in shape["dates"]:
            frame[place] = pd.to_datetime(frame[place], format="ISO8601")
        if n_index:
            frame = frame.set_index(list(frame.columns[:n_index]))
            frame.index.names = header[:n_index]
        return frame.set_axis(header[n_index:], axis=1)
    except (ValueError, KeyError, TypeError, StopIteration, csv.Error) as error:
        raise FolderError(f"{path} is damaged: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Its first line; pandas says more."""
    return next(iter(str(error).splitlines()), type(error).__name__)
