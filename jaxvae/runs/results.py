"""The folder of a finished run: tables as CSV, arrays as safetensors, figures and pages, and the
`config.json` that names the checksum of every other file."""

import csv
import io
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from jaxvae.errors import FolderError
from jaxvae.runs.checkpoint import pack_tree, unpack_tree
from jaxvae.runs.documents import as_json, checksum, read_sealed, seal
from jaxvae.runs.files import is_plain, make_folder, read_file, write_files, write_new

CONFIG = "config.json"


@dataclass(frozen=True)
class TableLayout:
    """How a table is kept. index: its index's columns, none where rows are only counted. Of the
    columns, names: those whose words are names, be they NA; dates; integers: with blanks."""

    index: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    integers: tuple[str, ...] = ()


class Layout(NamedTuple):
    """What the runs of a command keep for later ones: tables, each in a CSV file of its name, and
    nested dicts of arrays, each in a file."""

    command: str
    tables: Mapping[str, TableLayout]
    trees: Mapping[str, str]

    @property
    def files(self) -> dict[str, str]:
        """The file of each table and tree."""
        return {**{name: f"{name}.csv" for name in self.tables}, **self.trees}


class Results(NamedTuple):
    """Settings, tables and arrays of a finished run, the latter by their names in the layout."""

    config: dict[str, Any]
    tables: Mapping[str, pd.DataFrame]
    trees: Mapping[str, dict[str, Any]]


class Format(NamedTuple):
    """How the results of a command are kept in a folder.

    words: what a row of each table's file is, and its units. take: a result's settings, tables and
    arrays. restore: the fields of a result again; KeyError where one is missing. draw: figures and
    pages by file; linked: whether these link to the tables' files. page: that which stands alone.
    """

    layout: Layout
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
        data = pack(self.layout, self.take(result))
        again = type(result)(**self.restore(unpack(self.layout, result.config, data)))
        return with_checksums(self.layout, result.config, {**data, **self.draw(again)})

    def read(self, folder: Path, drawings: bool = True) -> dict[str, Any]:
        """The fields of the result in a folder; arguments and errors as `read_results` has them."""
        results = read_results(folder, self.layout, drawings)
        try:
            return self.restore(results)
        except KeyError as error:
            raise FolderError(f"{folder} is not whole: it has no {error}") from error


class SavedResults:
    """The base of results that a folder keeps, dataclasses with a field for each table."""

    format: ClassVar[Format]

    def __post_init__(self) -> None:
        for file, (_, units) in self.format.words.items():
            if (table := getattr(self, file.removesuffix(".csv"))) is not None:
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


def pack(layout: Layout, results: Results) -> dict[str, bytes]:
    """Tables and arrays as the content of files."""
    tables = {}
    for name, table in results.tables.items():
        index = list(layout.tables[name].index)
        text = table.to_csv(index=bool(index), index_label=index or None, lineterminator="\n")
        tables[layout.files[name]] = text.encode()
    return tables | {layout.trees[name]: pack_tree(tree) for name, tree in results.trees.items()}


def unpack(
    layout: Layout, config: dict[str, Any], files: Mapping[str, bytes], folder: Path = Path()
) -> Results:
    """`pack` undone; what is not among the files is left out.

    Raises FolderError, which names the file in its folder, where one cannot be read.
    """
    tables, trees = {}, {}
    for name, file in layout.files.items():
        if file in files and name in layout.tables:
            tables[name] = _parse_table(files[file], layout.tables[name], folder / file)
        elif file in files:
            trees[name] = unpack_tree(files[file], folder / file).tree
    return Results(as_json(config), tables, trees)


def with_checksums(
    layout: Layout, config: dict[str, Any], files: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Files, and last the `config.json` that names the checksums of the others."""
    described = {"command": layout.command, **config, "sizes": {}, "checksums": {}}
    return {**files, CONFIG: _seal_with(described, files)}


def read_config(folder: Path, layout: Layout | None = None) -> dict[str, Any]:
    """The `config.json` of a finished run, of a layout's command or of any.

    Raises FolderError where the folder holds no such run, or it is damaged.
    """
    kind = "run" if layout is None else layout.command
    if not is_plain(folder / CONFIG):
        raise FolderError(f"{folder} is no {kind}'s folder: it has no {CONFIG}")
    config = read_sealed(folder / CONFIG)
    if layout is not None and (found := config.get("command")) != layout.command:
        raise FolderError(f"{folder} is a {found!s:.20}'s folder, no {layout.command}'s")
    return config


def read_results(folder: Path, layout: Layout, drawings: bool = True) -> Results:
    """Read a finished run back.

    drawings: whether figures and pages must be as they were written, too.

    Raises FolderError where the folder holds no finished run of the command, or a file is missing
    or another than was written.
    """
    config, kept = read_config(folder, layout), {*layout.files.values()}
    try:
        names = [name for name in {**config["checksums"]} if drawings or name in kept]
        files = {name: _read_vouched(folder, name, config, name in kept) for name in names}
    except FolderError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FolderError(f"{folder / CONFIG} is damaged: {error}") from error
    return unpack(layout, config, files, folder)


def write_drawings(folder: Path, layout: Layout, draw: Callable[[], Mapping[str, bytes]]) -> None:
    """Write figures and pages of a finished run anew.

    Raises FolderError, before any is written, where one would replace a file that is not the run's,
    or where they cannot be drawn from what the settings hold.
    """
    config = read_config(folder, layout)
    try:
        drawings = draw()
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise FolderError(
            f"{folder} cannot be drawn ({reason}): was {CONFIG} changed by hand?"
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


def _read_vouched(folder: Path, name: str, config: dict[str, Any], kept: bool) -> bytes:
    """A file as it was written. kept: whether it is more than a drawing."""
    try:
        content = read_file(folder / name, int(config["sizes"][name]))
        if checksum(content) != config["checksums"][name]:
            raise FolderError(f"{folder / name} is damaged, or changed since it was written")
    except FolderError as error:
        again = "" if kept else f"; draw it again with: jaxvae report {folder}"
        raise FolderError(f"{error}{again}") from error
    return content


def _parse_table(content: bytes, table: TableLayout, path: Path) -> pd.DataFrame:
    """Columns go by their places: assets may be named as the index is, or NA."""
    try:
        text = content.decode()
        header = next(csv.reader(io.StringIO(text, newline="")))
        names, index = (header.index(name) for name in table.names), range(len(table.index))
        # Before pandas 3.1 numbers come back to the bit only where it is asked for.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            frame = pd.read_csv(
                io.StringIO(text, newline=""),
                header=0,
                names=range(len(header)),
                index_col=False,
                dtype=dict.fromkeys(names, str),
                keep_default_na=False,
                na_values=[""],
                float_precision="round_trip",
            )
        for place in map(header.index, table.dates):
            frame[place] = pd.to_datetime(frame[place], format="ISO8601")
        for place in map(header.index, table.integers):
            frame[place] = frame[place].astype("Int64")
        if index:
            frame = frame.set_index(list(index))
            frame.index.names = header[: len(index)]
        return frame.set_axis(header[len(index) :], axis=1)
    except (ValueError, KeyError, TypeError, StopIteration, csv.Error) as error:
        raise FolderError(f"{path} is damaged: {error}") from error
