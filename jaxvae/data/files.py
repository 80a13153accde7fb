"""Files to tables: CSV and Excel with cells as they are written, Parquet with its types."""

import codecs
import gzip
import io
import os
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from jaxvae.data.layout import require_frame
from jaxvae.data.text import RawTable, empty_error, is_blank, name_rows, parse_text
from jaxvae.errors import DataError, JaxvaeError, OptionError, check_path, import_extra

MOST_FILE_BYTES = 2**30
"""Of a file, and of what it unpacks to."""

CELL_BYTES = 8
_MOST_SHRUNK, _SMALL = 50, 2**26
"""A packed file above so many bytes unpacks to at most so many times its size: tables do."""

ZIP, GZIP, PARQUET = b"PK\x03\x04", b"\x1f\x8b", b"PAR1"
BINARY = {
    ZIP: "a zip file",
    GZIP: "a gzip file",
    PARQUET: "a Parquet file",
    b"ARROW1": "an Arrow or Feather file",
    b"\x89PNG": "a PNG picture",
    b"GIF8": "a GIF picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an Excel file of before 2007",
    b"\x89HDF": "an HDF5 file",
    b"SQLite format 3": "an SQLite database",
    b"\x93NUMPY": "a NumPy array",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"7z\xbc\xaf": "a 7-Zip file",
    b"Rar!": "a RAR file",
    **{bytes([0x80, protocol]): "a pickle" for protocol in (2, 3, 4, 5)},
}
_PATHS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
MARKED_TEXT = {b"<": "HTML or XML", b"{": "JSON", b"[": "JSON"}
CONTROL = bytes({*range(32)} - set(b"\t\n\r"))


def load_table(data: object) -> RawTable:
    """The table of a file, as `read_table` reads it, or one in memory, as `require_frame` takes it.

    Raises:
        DataError, MissingExtraError: as these do.
    """
    if not isinstance(data, str | os.PathLike):
        return RawTable(require_frame(data))
    raw, name = read_table(data), Path(data).name.split(".")[0]
    return raw._replace(frame=require_frame(raw.frame), name=name or "panel")


def read_table(path: str | os.PathLike[str], *, labels: bool = False) -> RawTable:
    """A table with named columns from a CSV, Excel or Parquet file.

    CSV is text in UTF-8, UTF-16 or Latin-1 as `parse_text` takes it, plain, gzipped or alone in a
    zip file. Of an Excel file the first sheet is read.

    Args:
        path: of the file.
        labels: the table holds labels alone, under one header.

    Raises:
        DataError: the file is missing, unreadable, damaged, too large, no regular file, of another
            type, or its table is at fault.
        MissingExtraError: openpyxl, which reads Excel files, is not installed.
    """
    path, content = _read_bytes(path)
    if content.startswith(PARQUET) or path.suffix in (".parquet", ".pq"):
        return RawTable(_from_parquet(content, path))
    if content.startswith(ZIP):
        if not (unzipped := _unzip(content, path)):
            return _from_excel(content, path, labels)
        content = unzipped
    elif content.startswith(GZIP) or path.suffix == ".gz":
        with _damage(path, "whole gzip file"), gzip.open(io.BytesIO(content)) as file:
            limit = _most_unpacked(content)
            content = file.read(limit + 1)
            _check_size(path, "unpacks to", len(content), limit)
    text, notes = _decode(content, path)
    loaded = parse_text(text, str(path), labels=labels)
    return loaded._replace(notes=notes + loaded.notes)


@contextmanager
def _damage(path: Path, kind: str) -> Iterator[None]:
    """What the readers of other formats raise on a damaged or locked file, in one line."""
    try:
        yield
    except JaxvaeError:
        raise
    except Exception as error:  # Arrow, zlib, zipfile and openpyxl share no base class.
        raise DataError(f"{path} is not a {kind}: write it again, without a password") from error


def _read_bytes(name: str | os.PathLike[str]) -> tuple[Path, bytes]:
    try:
        path = check_path("path", name)
    except OptionError as error:
        raise DataError(*error.args[1:]) from None
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = _PATHS.get(stat.S_IFMT(status.st_mode), "no regular file")
            raise DataError(f"{path} is {kind}: name a CSV, Excel or Parquet file")
        _check_size(path, "holds", status.st_size)
        return path, path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path") from None
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read ({reason}): check its permissions") from error


def _most_unpacked(packed: bytes) -> int:
    return min(MOST_FILE_BYTES, max(_SMALL, _MOST_SHRUNK * len(packed)))


def _check_size(path: Path, what: str, n_bytes: int, limit: int = MOST_FILE_BYTES) -> None:
    if n_bytes > limit:
        raise DataError(
            f"{path} {what} more than {limit >> 20:,} MiB: keep the dates and assets that are "
            "needed"
        )


def _unzip(content: bytes, path: Path) -> bytes:
    """The one file in a zip file; nothing where that is an Excel file."""
    with _damage(path, "whole zip file"), zipfile.ZipFile(io.BytesIO(content)) as archive:
        n_bytes = sum(one.file_size for one in archive.infolist())
        _check_size(path, "unpacks to", n_bytes, _most_unpacked(content))
        if "xl/workbook.xml" in archive.namelist():
            return b""
        names = [name for name in archive.namelist() if not name.endswith("/")]
        names = [name for name in names if not name.startswith("__MACOSX/")]
        if len(names) != 1:
            raise DataError(f"{path} is a zip file of {len(names):,} files: unpack it and name one")
        return archive.read(names[0]) or b" "


def _from_parquet(content: bytes, path: Path) -> pd.DataFrame:
    with _damage(path, "readable Parquet file"):
        file = pa.parquet.ParquetFile(io.BytesIO(content))
        n_cells = file.metadata.num_rows * file.metadata.num_columns
        _check_size(path, "unpacks to", n_cells * CELL_BYTES)
        # pandas' own reader refuses a repeated column without naming it.
        return file.read().to_pandas()


def _from_excel(content: bytes, path: Path, labels: bool) -> RawTable:
    openpyxl = import_extra("openpyxl", "excel", "reads Excel files")
    with _damage(path, "readable Excel file"):
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()
        rows = list(sheet.iter_rows(values_only=True))
    rows = [_without_end(row) for row in rows]
    filled = [number for number, row in enumerate(rows) if row]
    if not filled:
        raise empty_error(str(path))
    width = max(map(len, rows))
    _check_size(path, "unpacks to", len(filled) * width * CELL_BYTES)
    first = next(number for number in filled if len(rows[number]) > 1 or width == 1)
    if first > filled[0]:
        raise DataError(
            f"{path} has text above its table, whose header is row {first + 1}: delete the rows "
            "before"
        )
    padded = [[*rows[number], *[None] * (width - len(rows[number]))] for number in filled]
    frame = name_rows(padded, str(path), labels=labels)
    notes = (f"Of {len(book.worksheets):,} sheets the first, {sheet.title}, was read.",)
    return RawTable(frame, notes if len(book.worksheets) > 1 else ())


def _without_end(row: Sequence[object]) -> Sequence[object]:
    """A row up to its last cell that is not blank."""
    filled = [place for place, cell in enumerate(row) if not is_blank(cell)]
    return row[: filled[-1] + 1] if filled else ()


def _decode(content: bytes, path: Path) -> tuple[bytes, tuple[str, ...]]:
    """Text in UTF-8, and the note where it was not."""
    kind = next((kind for start, kind in BINARY.items() if content.startswith(start)), "")
    text, name = (b"", "") if kind else _to_utf8(content.removeprefix(codecs.BOM_UTF8))
    kind = kind or MARKED_TEXT.get(text[:100].lstrip()[:1], "")
    if b"\0" in text or (name and len(text) > len(text.translate(None, CONTROL))):
        kind = "no text"
    if kind:
        raise DataError(f"{path} is {kind}: save the table as CSV, .xlsx or Parquet")
    return text, (f"The file was read as {name}.",) if name else ()


def _to_utf8(content: bytes) -> tuple[bytes, str]:
    """Text in UTF-8, and the name of the encoding it had where another."""
    if content.isascii() and b"\0" not in content[:1000]:
        return content, ""
    for encoding, name in _encodings(content):
        try:
            return content.decode(encoding).encode(), name
        except UnicodeDecodeError:
            continue
    return b"\0", ""


def _encodings(content: bytes) -> tuple[tuple[str, str], ...]:
    """Encodings to try, each with its name for the note."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return (("utf-16", "UTF-16"),)
    for place, encoding in enumerate(("utf-16-be", "utf-16-le")):
        letters = content[place:1000:2]
        if letters.count(0) > len(letters) / 2:
            return ((encoding, "UTF-16"),)
    return ("utf-8", ""), ("cp1252", "Latin-1"), ("latin-1", "Latin-1")
