"""Tables in text: where the table begins, how its cells are separated, which rows name columns.

No column is renamed and no label is guessed at; columns of plain numbers become floats.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from jaxvae.data.cells import MISSING_WORDS, is_missing, is_number, quote, to_matrix
from jaxvae.data.dates import DATE_NAMES, looks_like_date, text_of
from jaxvae.data.layout import ASSET_NAMES, SECTOR_NAMES
from jaxvae.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
QUOTED = re.compile(r'"[^"]*"')
SAMPLE = 2**16
"""Bytes of the lines after the first, among which the table begins."""

MOST_HEADERS = 5
MOST_COLUMNS = 100_000
BLOCK = 2**22
"""Bytes that are parsed at once where columns are guessed to be numbers."""

LABELS = DATE_NAMES | ASSET_NAMES | SECTOR_NAMES
MISSING_CASES = sorted(
    {case(word) for word in MISSING_WORDS for case in (str.lower, str.upper, str.title)} | {"NaN"}
)
FRENCH = re.compile(rb"CRSP|French")
FRENCH_END = re.compile(rb"\r?\n[ ,]*\r?\n|\r?\n(?=[^,\n]*(?:\n|$))")
FRENCH_MISSING = (-99.99, -999.0)


class RawTable(NamedTuple):
    """A table with named columns, the notes on how it was read, and what its panel is called."""

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    name: str = "panel"


class Place(NamedTuple):
    """Where a table is in its text.

    separator: of cells. width: cells a row. first: lines above the table. rows: its first.
    n_headers: how many of them name columns. body: lines above the others.
    """

    separator: str
    width: int
    first: int
    rows: list[list[str]]
    n_headers: int
    body: int


def parse_text(content: bytes, source: str, *, labels: bool = False) -> RawTable:
    """A table in text.

    A data file of Kenneth French's library, which has several tables under prose, gives its first:
    percents as fractions, -99.99 and -999 missing.

    Args:
        content: text in UTF-8, with any line ends.
        source: what an error calls it.
        labels: the table holds labels alone, under one header.

    Raises:
        DataError: the text is empty, has prose above or below its table, no header, one column, an
            open quote, or rows of different lengths.
    """
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    file = io.BytesIO(content)
    head = [*islice(file, MOST_HEADERS + 1), *file.readlines(SAMPLE)]
    lines = b"".join(head).decode(errors="replace").replace("\r\n", "\n").split("\n")
    place = _find_table(lines, source, labels)
    prose = [line.strip() for line in lines[: place.first] if line.strip()]
    body = memoryview(content)[sum(map(len, head[: place.body])) :]
    if prose and FRENCH.search(content):
        return _parse_french(body, prose[-1], place, source)
    if prose:
        raise DataError(
            f"{source} has text above its table, whose header is line {place.first + 1}: delete "
            "the lines before"
        )
    if b'"' in content and content.count(b'"') % 2:
        _check_quotes(content, place.separator, source)
    return RawTable(_parse_body(body, place, source))


def name_rows(rows: list[list[object]], source: str, *, labels: bool = False) -> pd.DataFrame:
    """A table in rows of cells, of one width, under its header.

    Args:
        rows: those that name columns, then the others; None where a cell is blank.
        source: what an error calls it.
        labels: the table holds labels alone, under one header.

    Raises:
        DataError: the first row is no header.
    """
    grid = pd.DataFrame(rows, dtype=object)
    n_headers = _count_headers(rows[: MOST_HEADERS + 1], source, labels)
    return _name_columns(rows[:n_headers], grid.iloc[n_headers:].reset_index(drop=True))


def empty_error(source: str) -> DataError:
    """The error for a file without a cell."""
    return DataError(f"{source} is empty: a header and a row a date are needed")


def is_blank(cell: object) -> bool:
    """Whether a cell is empty."""
    return cell is None or bool(cell != cell) or not text_of(cell)


def _count_headers(rows: Sequence[Sequence[object]], source: str, labels: bool) -> int:
    """How many of a table's first rows name columns: those before the first date or number."""
    if looks_like_date(rows[0][0]):
        raise DataError(
            f"{source} begins with the date {quote(rows[0][0])}: put a header with the tickers "
            "above"
        )
    values = (number for number, row in enumerate(rows[1:], start=1) if _has_values(row))
    return 1 if labels else next(values, 1)


def _name_columns(headers: Sequence[Sequence[object]], body: pd.DataFrame) -> pd.DataFrame:
    """A table under its header; two header rows give two levels of columns."""
    # A row of blanks under two levels is where pandas writes the name of the index.
    named = [row for row in headers if not all(map(is_blank, row[1:]))] or headers[:1]
    cells = [["" if is_blank(cell) else cell for cell in row] for row in named]
    if len(cells) == 1:
        return body.set_axis(cells[0], axis=1)
    body = body.set_index(body.columns[0]).rename_axis(None)
    names = [text_of(row[0]) or None for row in cells]
    # A label over several columns, as of merged cells, stands above the first.
    levels = [pd.Series(row[1:], dtype=object).replace("", None).ffill() for row in cells]
    return body.set_axis(pd.MultiIndex.from_arrays(levels, names=names), axis=1)


def _has_values(row: Sequence[object]) -> bool:
    return any(map(looks_like_date, row[:3])) or any(map(is_number, row[1:]))


def _find_table(lines: list[str], source: str, labels: bool) -> Place:
    """The longest run of lines of one width, with the separator that gives most of them."""
    plain = QUOTED.sub("", "\n".join(lines)).split("\n")
    filled = [number for number, line in enumerate(plain) if line.strip()]
    if not filled:
        raise empty_error(source)
    candidates = []
    for separator in SEPARATORS:
        widths = Counter(plain[number].count(separator) + 1 for number in filled)
        width, n_lines = widths.most_common(1)[0]
        candidates.append((width > 1, n_lines, width, separator))
    found, _, width, separator = max(candidates)
    if not found:
        raise DataError(
            f"{source} has one column: separate the columns by commas, semicolons, tabs or bars"
        )
    if width > MOST_COLUMNS:
        raise DataError(f"{source} has {width:,} columns: keep at most {MOST_COLUMNS:,}")
    sizes = {number: plain[number].count(separator) + 1 for number in filled}
    runs = groupby(filled, key=lambda number: sizes[number] == width)
    first = max((list(run) for fits, run in runs if fits), key=len)[0]
    by_end = _first_rows(lines[first:], separator, source, first)
    if not by_end:
        raise empty_error(source)
    rows, ends = list(by_end.values()), list(by_end)
    above = [sizes[number] for number in filled if number < first]
    if above and above[-1] > 1 and _has_values(rows[0]):
        if width not in above:
            raise _width_error(1, width, above[-1], source)
        # The header stands further up, and a row in between is of another width.
        begun = above.index(width)
        row = next(row for row, size in enumerate(above[begun:]) if size != width)
        raise _width_error(row, above[begun + row], width, source)
    n_headers = _count_headers(rows, source, labels)
    return Place(separator, width, first, rows, n_headers, first + ends[n_headers - 1])


def _first_rows(lines: list[str], separator: str, source: str, first: int) -> dict[int, list[str]]:
    """The cells of the first rows, by the number of lines to the end of each."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    rows = {}
    try:
        for row in reader:
            if not all(map(is_blank, row)):
                rows[reader.line_num] = row
            if len(rows) > MOST_HEADERS:
                break
    except csv.Error as error:
        raise DataError(
            f"{source}, line {first + reader.line_num}: {error}: close all quotes, and end all "
            "lines alike"
        ) from None
    return rows


def _parse_body(content: memoryview, place: Place, source: str) -> pd.DataFrame:
    """The table, without rows of blanks alone: columns of floats where that does, else text."""
    headers, text = place.rows[: place.n_headers], pa.string()
    kinds = [text if _holds_labels(k, place) else pa.float64() for k in range(place.width)]
    types = {str(column): kind for column, kind in enumerate(kinds)}
    if not bytes(content[:SAMPLE]).strip():
        return _name_columns(headers, pd.DataFrame(columns=list(types)))
    try:
        table = _parse_cells(content, types, BLOCK, place, source)
    except pa.ArrowInvalid:
        texts = dict.fromkeys(types, text)
        table = _parse_cells(content, texts, len(content) + 1, place, source)
    frame = table.to_pandas(types_mapper={text: pd.ArrowDtype(text)}.get)
    blank = np.flatnonzero(pc.equal(pc.utf8_trim_whitespace(table[0]), ""))
    empty = [row for row in blank if all(map(is_blank, frame.iloc[row]))]
    if empty:
        frame = frame.drop(index=empty).reset_index(drop=True)
    return _name_columns(headers, frame)


def _holds_labels(column: int, place: Place) -> bool:
    """Whether a column is the first, is called after labels, or begins with one."""
    names = {row[column].strip().casefold() for row in place.rows[: place.n_headers]}
    cells = [row[column] for row in place.rows[place.n_headers :][:1]]
    words = any(not is_missing(cell) and not is_number(cell) for cell in cells)
    return column == 0 or words or not names.isdisjoint(LABELS)


def _parse_cells(
    content: memoryview, types: dict[str, pa.DataType], block: int, place: Place, source: str
) -> pa.Table:
    """Rows of one cell a type. Raises DataError where another row is among them."""
    others: list[pa.csv.InvalidRow] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        others.append(row)
        return "skip"

    table = pa.csv.read_csv(
        pa.BufferReader(pa.py_buffer(content)),
        # Arrow numbers rows only where it has one thread.
        pa.csv.ReadOptions(use_threads=False, block_size=block, column_names=list(types)),
        pa.csv.ParseOptions(
            delimiter=place.separator, newlines_in_values=True, invalid_row_handler=skip
        ),
        pa.csv.ConvertOptions(column_types=types, null_values=MISSING_CASES),
    )
    if others:
        row = others[0]
        if row.number > table.num_rows and row.actual_columns == 1:
            raise DataError(
                f"{source} has text below its table, from {quote(row.text.strip())} on: delete it"
            )
        raise _width_error(row.number, row.actual_columns, place.width, source)
    return table


def _check_quotes(content: bytes, separator: str, source: str) -> None:
    reader, end = csv.reader(content.decode().split("\n"), delimiter=separator, strict=True), 0
    try:
        for _ in reader:
            end = reader.line_num
    except csv.Error as error:
        raise DataError(f"{source}, line {end + 1}: {error}: close the quote") from None


def _width_error(row: int, width: int, header: int, source: str) -> DataError:
    return DataError(
        f"{source}, row {row}: {width} cells under a header of {header}: give every row a cell a "
        "column"
    )


def _parse_french(content: memoryview, title: str, place: Place, source: str) -> RawTable:
    """The first table, under its title, of a file of Kenneth French's library."""
    frame = _parse_body(memoryview(FRENCH_END.split(content, maxsplit=1)[0]), place, source)
    values, _ = to_matrix(frame.iloc[:, 1:])
    values = np.where(np.isin(values, FRENCH_MISSING), np.nan, values / 100)
    returns = pd.DataFrame(values, columns=frame.columns[1:])
    returns.insert(0, "date", frame.iloc[:, 0])
    note = (
        f"Of a file of Kenneth French's library the first table ({title}) was read: percents "
        "became fractions, and -99.99 and -999 missing cells."
    )
    return RawTable(returns, (note,))
