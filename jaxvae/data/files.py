"""Files to tables: CSV as text, Parquet with its types; no column is renamed, no cell guessed."""

import csv
import gzip
import io
import re
import zlib
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from jaxvae.data.cells import looks_like_date, quote
from jaxvae.errors import DataError

SEPARATORS = (",", ";", "\t", "|")
QUOTED = re.compile(r'"[^"]*"')
GZIP_MAGIC, PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"
PARQUET_ENDINGS = (".parquet", ".pq")


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV or Parquet file; text cells stay text, and column names stay as they are.

    CSV is UTF-8 (with or without a byte order mark) with a header row, separated by commas,
    semicolons, tabs or bars, plain or gzipped. One written from a yfinance frame, with a row of
    prices and a row of tickers above, keeps both as column levels.

    Raises DataError where the file is missing, unreadable, damaged, empty, not UTF-8 or ragged.
    """
    path = Path(path)
    content = _read_bytes(path)
    if content.startswith(PARQUET_MAGIC) or path.suffix in PARQUET_ENDINGS:
        return _from_parquet(content, path)
    if content.startswith(GZIP_MAGIC) or path.suffix == ".gz":
        content = _unzip(content, path)
    return _from_rows(_split_rows(_decode(content, path), path), path)


def _read_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise DataError(f"{path} is a directory: name a CSV or Parquet file in it")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({reason}): check its permissions") from error


def _from_parquet(content: bytes, path: Path) -> pd.DataFrame:
    try:
        # pandas' own reader refuses a repeated column without naming it.
        return pa.parquet.ParquetFile(io.BytesIO(content)).read().to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: write it again") from error


def _unzip(content: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a whole gzip file: compress it again") from error


def _decode(content: bytes, path: Path) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: this is not UTF-8 text: save it as UTF-8") from error
    if "\x00" in text:
        raise DataError(f"{path} holds null bytes, as UTF-16 does: save it as UTF-8")
    return text


def _split_rows(text: str, path: Path) -> list[list[str]]:
    lines = io.StringIO(text, newline=None)
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise DataError(f"{path} is empty: a header and a row a date are needed")
    lines.seek(0)
    reader = csv.reader(lines, delimiter=_separator(first), skipinitialspace=True, strict=True)
    try:
        return [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}: correct the line") from error


def _separator(header: str) -> str:
    return max(SEPARATORS, key=QUOTED.sub("", header).count)


def _from_rows(rows: list[list[str]], path: Path) -> pd.DataFrame:
    header, *body = rows
    _check_rows(header, body, path)
    if header[0] == "Price" and len(body) > 1 and body[0][0] == "Ticker":
        return _from_yfinance_rows(header, body)
    return pd.DataFrame(body, columns=header, dtype=object)


def _check_rows(header: list[str], body: list[list[str]], path: Path) -> None:
    if len(header) < 2:
        raise DataError(
            f"{path} has one column: separate the columns by commas, semicolons, tabs or bars"
        )
    if looks_like_date(header[0]):
        raise DataError(
            f"{path} begins with the date {quote(header[0])}: put a header with the tickers above"
        )
    for number, row in enumerate(body, start=1):
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(row)} cells under a header of {len(header)}: give "
                "every row a cell a column"
            )


def _from_yfinance_rows(header: list[str], body: list[list[str]]) -> pd.DataFrame:
    tickers, _, *rows = body
    return pd.DataFrame(
        [row[1:] for row in rows],
        index=[row[0] for row in rows],
        columns=pd.MultiIndex.from_arrays([header[1:], tickers[1:]]),
        dtype=object,
    )
