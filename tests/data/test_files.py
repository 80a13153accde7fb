"""Files round-trip to the last bit; a file that cannot be read ends in one line that says why."""

import csv
import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from example_tables import (
    TICKERS,
    assert_one_line,
    assert_same,
    make_holes,
    make_long,
    make_prices,
    make_returns,
    make_yfinance,
    with_cell,
)

from jaxvae.data import panel_from_frame, read_panel
from jaxvae.errors import DataError


def write_parquet_of_columns(returns, path):
    returns.reset_index().to_parquet(path)


FILES = {
    "wide.csv": lambda returns, path: returns.to_csv(path),
    "unnamed_dates.csv": lambda returns, path: returns.rename_axis(None).to_csv(path),
    "semicolons.csv": lambda returns, path: returns.to_csv(path, sep=";"),
    "tabs.tsv": lambda returns, path: returns.to_csv(path, sep="\t"),
    "bars.txt": lambda returns, path: returns.to_csv(path, sep="|"),
    "windows.csv": lambda returns, path: returns.to_csv(path, lineterminator="\r\n"),
    "bom.csv": lambda returns, path: returns.to_csv(path, encoding="utf-8-sig"),
    "american.csv": lambda returns, path: returns.to_csv(path, date_format="%m/%d/%Y"),
    "european.csv": lambda returns, path: returns.to_csv(path, date_format="%d.%m.%Y"),
    "day_first.csv": lambda returns, path: returns.to_csv(path, date_format="%d/%m/%Y"),
    "compact.csv": lambda returns, path: returns.to_csv(path, date_format="%Y%m%d"),
    "gzip.csv.gz": lambda returns, path: returns.to_csv(path),
    "gzip_without_ending.csv": lambda returns, path: returns.to_csv(path, compression="gzip"),
    "long.csv": lambda returns, path: make_long(returns).to_csv(path, index=False),
    "long.csv.gz": lambda returns, path: make_long(returns).to_csv(path, index=False),
    "wide.parquet": lambda returns, path: returns.to_parquet(path),
    "columns.parquet": write_parquet_of_columns,
    "parquet_without_ending": lambda returns, path: returns.to_parquet(path),
    "long.parquet": lambda returns, path: make_long(returns).to_parquet(path),
}


@pytest.mark.parametrize("name", FILES)
def test_files_round_trip_to_the_last_bit(name, tmp_path):
    returns = make_returns()
    FILES[name](returns, tmp_path / name)
    panel = read_panel(tmp_path / name)
    assert_same(panel, returns)
    assert panel.notes == ()
    assert panel.name == name.split(".")[0]
    assert panel.values.dtype == np.float64
    assert panel.values.flags.c_contiguous
    assert panel.dates.tz is None


def test_trailing_blank_lines_are_no_rows(tmp_path):
    path = tmp_path / "panel.csv"
    path.write_text(make_returns().to_csv() + "\n,,,,\n")
    assert_same(read_panel(path), make_returns())


@pytest.mark.parametrize("separator", [",", ";"])
def test_odd_tickers_stay_text_in_a_file(separator, tmp_path):
    odd = ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "NA", "a, b, c, d, e, f"]
    make_returns().set_axis(odd, axis=1).to_csv(
        tmp_path / "panel.csv", sep=separator, quoting=csv.QUOTE_ALL
    )
    assert read_panel(tmp_path / "panel.csv").assets == tuple(odd)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_yfinance_files_keep_their_two_headers(encoding, tmp_path):
    make_yfinance(make_prices()).to_csv(tmp_path / "yahoo.csv", encoding=encoding)
    panel = read_panel(tmp_path / "yahoo.csv")
    assert panel.assets == tuple(TICKERS)
    np.testing.assert_array_equal(
        panel.values, panel_from_frame(make_prices(), kind="prices").values
    )


# Bad files


def csv_with_header(header):
    return header + make_returns().to_csv(header=False)


BAD_FILES = {
    "utf-16": (
        "panel.csv",
        lambda: make_returns().to_csv().encode("utf-16"),
        ["panel.csv, line 1", "UTF-8"],
    ),
    "utf-16 without a mark": (
        "panel.csv",
        lambda: make_returns().to_csv().encode("utf-16-le"),
        ["null bytes", "UTF-16", "save it as UTF-8"],
    ),
    "latin-1": (
        "panel.csv",
        lambda: make_returns().rename(columns={"XOM": "CRÉDIT"}).to_csv().encode("latin-1"),
        ["panel.csv, line 1", "not UTF-8", "save it as UTF-8"],
    ),
    "no gzip": ("panel.csv.gz", lambda: b"plain", ["not a whole gzip file"]),
    "cut gzip": (
        "panel.csv.gz",
        lambda: gzip.compress(make_returns().to_csv().encode())[:500],
        ["not a whole gzip file"],
    ),
    "no parquet": ("panel.parquet", lambda: b"plain", ["not a readable Parquet file"]),
    "cut parquet": (
        "panel.parquet",
        lambda: make_returns().to_parquet()[:500],
        ["not a readable Parquet file"],
    ),
    "empty": ("panel.csv", lambda: b"", ["panel.csv is empty"]),
    "blank": ("panel.csv", lambda: b"\n \n", ["panel.csv is empty"]),
    "header alone": ("panel.csv", lambda: b"date,A,B\n", ["empty"]),
    "yfinance's headers alone": ("panel.csv", lambda: b"Price,A,B\nTicker,C,D\n", ["'Ticker'"]),
    "one column": ("panel.csv", lambda: b"date\n2020-01-01\n", ["one column", "semicolons"]),
    "no header": (
        "panel.csv",
        lambda: make_returns().to_csv(header=False).encode(),
        ["begins with the date '2020-01-01'", "header"],
    ),
    "ragged": (
        "panel.csv",
        lambda: make_returns().to_csv().encode() + b"2020-06-01,0.1\n",
        ["row 101", "2 cells", "header of 5"],
    ),
    "open quote": (
        "panel.csv",
        lambda: make_returns().to_csv().encode() + b'"2020-06-01,0.1\n',
        ["panel.csv, line", "correct"],
    ),
    "duplicate tickers": (
        "panel.csv",
        lambda: csv_with_header("Date,AAPL,MSFT,AAPL,XOM\n").encode(),
        ["ticker 'AAPL' comes more than once"],
    ),
    "trailing separators": (
        "panel.csv",
        lambda: make_returns().to_csv().replace("\n", ",\n").encode(),
        ["ticker in place 5 is empty"],
    ),
    "index left": (
        "panel.csv",
        lambda: make_returns().reset_index().to_csv().encode(),
        ["column '' only counts the rows", "index=False"],
    ),
    "transposed": ("panel.csv", lambda: make_returns().T.to_csv().encode(), ["transposed"]),
    "text": (
        "panel.csv",
        lambda: with_cell(make_returns(), "halted").to_csv().encode(),
        ["'MSFT'", "2020-01-14", "'halted'"],
    ),
    "booleans": (
        "panel.csv",
        lambda: make_returns().assign(XOM=True).to_csv().encode(),
        ["'XOM'", "'True' is not a number"],
    ),
    "missing": (
        "panel.csv",
        lambda: make_holes().to_csv().encode(),
        ["3 cells missing", "'AAPL' (2", "missing='drop-dates'"],
    ),
    "time zone": (
        "panel.csv",
        lambda: make_returns().tz_localize("America/New_York").to_csv().encode(),
        ["row 1", "time zone"],
    ),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_bad_files_end_in_one_line(fault, tmp_path):
    name, make, words = BAD_FILES[fault]
    (tmp_path / name).write_bytes(make())
    with pytest.raises(DataError) as error:
        read_panel(tmp_path / name)
    assert_one_line(error, words)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_duplicate_tickers_in_parquet_are_named(tmp_path):
    values = pa.array(make_returns()["XOM"])
    dates = pa.array(make_returns().index)
    table = pa.table([dates, values, values], names=["date", "XOM", "XOM"])
    pyarrow.parquet.write_table(table, tmp_path / "panel.parquet")
    with pytest.raises(DataError, match="ticker 'XOM' comes more than once"):
        read_panel(tmp_path / "panel.parquet")


@pytest.mark.parametrize("kind", ["absent", "directory", "null byte"])
def test_paths_that_are_no_file_end_in_one_line(kind, tmp_path):
    path = {"absent": tmp_path / "no.csv", "directory": tmp_path, "null byte": "a\0b"}[kind]
    words = {"absent": "does not exist", "directory": "is a directory", "null byte": "null"}[kind]
    with pytest.raises(DataError) as error:
        read_panel(path)
    assert_one_line(error, [words])


def test_a_file_without_permission_ends_in_one_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(DataError) as error:
        read_panel(tmp_path / "panel.csv")
    assert_one_line(error, ["panel.csv cannot be read (Permission denied)", "permissions"])
