"""Files round-trip to the last bit; a file that cannot be read ends in one line that says why."""

import csv
import gzip
import io
import os
import pickle
import socket
import subprocess
import sys
import zipfile
from functools import partial

import numpy as np
import pandas as pd
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
    with_index,
)

from jaxvae.data import panel_from_frame, read_panel
from jaxvae.errors import DataError, MissingExtraError


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
    odd = ["<script>alert(1)</script>", "cmd|' /C calc'!A0", "NA", "a, b, c, d, e, f"]
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


def zipped(*names, content=None):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, make_returns().to_csv() if content is None else content)
    return file.getvalue()


def excel(frame, startrow=0, title=None, other=None, index=True):
    file = io.BytesIO()
    with pd.ExcelWriter(file) as writer:
        frame.to_excel(writer, sheet_name="Returns", startrow=startrow, index=index)
        if title:
            writer.sheets["Returns"].cell(1, 1, title)
        if other:
            frame.to_excel(writer, sheet_name=other)
    return file.getvalue()


def make_parquet_bomb():
    column = pa.chunked_array([pa.nulls(2**24, pa.float64())] * 9)
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"a": column}), file)
    return file.getvalue()


def csv_with_header(header):
    return header + make_returns().to_csv(header=False)


BAD_FILES = {
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
        ["panel.csv, line 102", "close the quote"],
    ),
    "open quote in the header": (
        "panel.csv",
        lambda: make_returns().to_csv().replace("AAPL", '"AAPL').encode(),
        ["panel.csv, line 102", "close all quotes"],
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
        ["3 cells missing", "'AAPL' (2", "missing="],
    ),
    "prose above": (
        "panel.csv",
        lambda: b"Returns, of four\nstocks\n\n" + make_returns().to_csv().encode(),
        ["text above its table", "header is line 4"],
    ),
    "prose below": (
        "panel.csv",
        lambda: make_returns().to_csv().encode() + b"\nSource: own\n",
        ["text below its table", "'Source: own'"],
    ),
    "header too short": (
        "panel.csv",
        lambda: make_returns().to_csv().removeprefix("Date,").encode(),
        ["row 1", "5 cells", "header of 4"],
    ),
    "two rows of names": (
        "panel.csv",
        lambda: csv_with_header(
            "Date,AAPL,MSFT,BRK.B,XOM\n,Apple,Microsoft,Berkshire,Exxon\n"
        ).encode(),
        ["two header rows", "leave one"],
    ),
    "four header rows": (
        "panel.csv",
        lambda: csv_with_header("Date,A,B,C,D\nx,a,b,c,d\ny,a,b,c,d\nz,a,b,c,d\n").encode(),
        ["4 header rows", "leave one"],
    ),
    "many columns": ("panel.csv", lambda: b"," * 200_000, ["200,001 columns"]),
    "zip of two": ("panel.zip", lambda: zipped("a.csv", "b.csv"), ["zip file of 2 files"]),
    "cut zip": ("panel.zip", lambda: zipped("a.csv")[:200], ["not a whole zip file"]),
    "Word document": ("panel.docx", lambda: zipped("word/document.xml", "x"), ["2 files"]),
    "cut Excel file": (
        "panel.xlsx",
        lambda: zipped("xl/workbook.xml", "[Content_Types].xml"),
        ["not a readable Excel file"],
    ),
    "Excel with prose": (
        "panel.xlsx",
        lambda: excel(make_returns(), startrow=4, title="Returns"),
        ["text above its table", "header is row 5"],
    ),
    "empty Excel file": ("panel.xlsx", lambda: excel(make_returns()[:0][[]]), ["is empty"]),
    "pickle": ("panel.csv", lambda: pickle.dumps(make_returns()), ["is a pickle", "as CSV"]),
    "Arrow": ("panel.csv", lambda: b"ARROW1\0\0", ["is an Arrow or Feather file"]),
    "PNG": ("panel.csv", lambda: b"\x89PNG\r\n\x1a\n", ["is a PNG picture"]),
    "PDF": ("panel.csv", lambda: b"%PDF-1.7\n", ["is a PDF document"]),
    "old Excel": ("panel.xls", lambda: b"\xd0\xcf\x11\xe0\xa1", ["Excel file of before 2007"]),
    "HTML": ("panel.csv", lambda: b"\n<!DOCTYPE html>", ["is HTML or XML"]),
    "JSON": ("panel.csv", lambda: b'{"a": [1, 2]}', ["is JSON"]),
    "packed picture": ("panel.csv.gz", lambda: gzip.compress(b"\x89PNG"), ["is a PNG picture"]),
    "noise": ("panel.csv", lambda: np.random.default_rng(0).bytes(5000), ["is no text"]),
    "bomb": ("panel.csv.gz", lambda: gzip.compress(b"0," * 2**26), ["unpacks to more than 64 MiB"]),
    "zip bomb": (
        "panel.zip",
        lambda: zipped("a.csv", content=b"0," * 2**26),
        ["unpacks to more than 64 MiB"],
    ),
    "Parquet bomb": ("panel.parquet", make_parquet_bomb, ["unpacks to more than 1,024 MiB"]),
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


PATHS = {
    "absent": (lambda folder: folder / "no.csv", "does not exist"),
    "directory": (lambda folder: folder, "is a directory"),
    "null byte": (lambda folder: "a\0b", "null byte"),
    "long path": (lambda folder: "a/" * 5000, "too long"),
    "long name": (lambda folder: folder / ("a" * 300), "too long"),
    "empty": (lambda folder: "", "is a directory"),
    "device": (lambda folder: "/dev/zero", "is a device"),
    "pipe": (lambda folder: os.mkfifo(folder / "pipe") or folder / "pipe", "is a pipe"),
    "link to a pipe": (lambda folder: link_to_pipe(folder), "is a pipe"),
    "socket": (lambda folder: make_socket(folder), "is a socket"),
    "large": (lambda folder: make_sparse(folder), "holds more than 1,024 MiB"),
}


def link_to_pipe(folder):
    os.mkfifo(folder / "pipe")
    (folder / "link.csv").symlink_to(folder / "pipe")
    return folder / "link.csv"


def make_socket(folder):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(folder / "socket"))
    return folder / "socket"


def make_sparse(folder):
    with open(folder / "large.csv", "wb") as file:
        file.truncate(2**40)
    return folder / "large.csv"


@pytest.mark.parametrize("option", ["data", "sectors", "covariates"])
@pytest.mark.parametrize("kind", PATHS)
def test_paths_that_are_no_file_end_in_one_line(kind, option, tmp_path):
    make, words = PATHS[kind]
    path = make(tmp_path)
    read = read_panel if option == "data" else partial(panel_from_frame, make_returns())
    given = {option: path}
    with pytest.raises(DataError) as error:
        read(**given)
    assert_one_line(error, [words, "" if option == "data" else f"{option}: "])


def test_a_file_without_permission_ends_in_one_line(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    make_returns().to_csv(tmp_path / "panel.csv")
    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(DataError) as error:
        read_panel(tmp_path / "panel.csv")
    assert_one_line(error, ["panel.csv cannot be read (Permission denied)", "permissions"])


def test_excel_without_openpyxl_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "panel.xlsx").write_bytes(excel(make_returns()))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtraError, match=r"jaxvae\[excel\]"):
        read_panel(tmp_path / "panel.xlsx")


# Files that are read with a note


def assert_read(content, tmp_path, notes, name="panel.csv", expected=None, **options):
    (tmp_path / name).write_bytes(content)
    panel = read_panel(tmp_path / name, **options)
    returns = make_returns() if expected is None else expected
    np.testing.assert_allclose(panel.values, returns, rtol=1e-12, atol=1e-14)
    assert list(panel.dates) == list(returns.index)
    assert panel.assets == tuple(returns.columns)
    assert len(panel.notes) == len(notes)
    for note, words in zip(panel.notes, notes, strict=True):
        assert words in note
    return panel


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_read_with_a_note(encoding, tmp_path):
    assert_read(make_returns().to_csv().encode(encoding), tmp_path, ["read as UTF-16"])


@pytest.mark.parametrize(("letter", "encoding"), [("É", "latin-1"), ("€", "cp1252")])
def test_latin_1_is_read_with_a_note(letter, encoding, tmp_path):
    returns = make_returns().rename(columns={"XOM": f"{letter}XOM"})
    content = returns.to_csv().encode(encoding)
    assert_read(content, tmp_path, ["read as Latin-1"], expected=returns)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read_with_a_note(separator, tmp_path):
    content = make_returns().to_csv(sep=separator, decimal=",").encode()
    assert_read(content, tmp_path, ["4 of 4 columns were read with decimal commas"])


@pytest.mark.parametrize("comma", [False, True])
def test_percent_signs_are_read_with_a_note(comma, tmp_path):
    text = make_returns().map(lambda x: f"{100 * x:.17g}{' ' * comma}%")
    text.iloc[3, 2] = "0"
    expected = make_returns()
    expected.iloc[3, 2] = 0.0
    content = text.to_csv(sep=";").replace(".", "," if comma else ".").replace("BRK,B", "BRK.B")
    notes = ["decimal commas", "percent signs"] if comma else ["percent signs, divided by 100"]
    assert_read(content.encode(), tmp_path, notes, expected=expected)


NUMBERS = {
    "a comma among points": ("0,01", "'0,01' is not a number"),
    "a percent sign among none": ("1.2%", "'1.2%' has a percent sign, which other cells"),
    "thousands": ("1,234.5", "'1,234.5' is not a number"),
    "underscore": ("1_0", "'1_0' is not a number"),
}


@pytest.mark.parametrize("fault", NUMBERS)
def test_numbers_that_are_not_written_alike_are_refused(fault, tmp_path):
    cell, words = NUMBERS[fault]
    with_cell(make_returns(), cell).to_csv(tmp_path / "panel.csv")
    with pytest.raises(DataError) as error:
        read_panel(tmp_path / "panel.csv")
    assert_one_line(error, ["'MSFT', row 2020-01-14", words])


def test_of_marked_numbers_the_one_at_fault_is_named(tmp_path):
    text = make_returns().map(lambda x: f"{100 * x:.4f}%".replace(".", ","))
    with_cell(text, "abc%").to_csv(tmp_path / "panel.csv", sep=";")
    with pytest.raises(DataError) as error:
        read_panel(tmp_path / "panel.csv")
    assert_one_line(error, ["'MSFT', row 2020-01-14", "'abc%' is not a number"])


def test_commas_that_may_be_thousands_are_refused(tmp_path):
    prices = (100 * make_prices()).map("{:,.0f}".format)
    prices.to_csv(tmp_path / "panel.csv", sep=";")
    with pytest.raises(DataError, match=r"'AAPL', .* is not a number: .* without thousands"):
        read_panel(tmp_path / "panel.csv", kind="prices")


def test_commas_beside_points_are_refused(tmp_path):
    text = make_returns().assign(XOM=lambda x: x["XOM"].map(lambda x: f"{x:f}".replace(".", ",")))
    text.to_csv(tmp_path / "panel.csv")
    with pytest.raises(DataError, match="'AAPL' has decimal points, column 'XOM' decimal commas"):
        read_panel(tmp_path / "panel.csv")


@pytest.mark.parametrize("headers", [0, 1])
def test_sectors_above_or_below_the_tickers_are_sectors(headers, tmp_path):
    rows = ["Date,AAPL,MSFT,BRK.B,XOM\n", ",Tech,Tech,Finance,Energy\n"]
    text = "".join(rows[::-1] if headers else rows) + make_returns().to_csv(header=False)
    panel = assert_read(text.encode(), tmp_path, [])
    assert panel.sectors == ("Tech", "Tech", "Finance", "Energy")


def test_a_row_of_units_is_left_out(tmp_path):
    assert_read(
        csv_with_header("Date,AAPL,MSFT,BRK.B,XOM\n,USD,USD,USD,USD\n").encode(), tmp_path, []
    )


def test_tickers_that_are_numbers_are_no_second_header(tmp_path):
    returns = make_returns().set_axis(["2002", "10001", "600519", "2330"], axis=1)
    assert_read(returns.to_csv().encode(), tmp_path, [], expected=returns)
    content = make_long(returns).to_csv(index=False).encode()
    (tmp_path / "long.csv").write_bytes(content)
    assert read_panel(tmp_path / "long.csv").assets == tuple(returns.columns)


def test_tickers_of_a_long_file_keep_their_zeros_and_the_text_na(tmp_path):
    returns = make_returns().set_axis(["0700", "NA", "1e5", "TRUE"], axis=1)
    make_long(returns).to_csv(tmp_path / "long.csv", index=False)
    assert_same(read_panel(tmp_path / "long.csv"), returns)


def test_a_first_row_without_values_is_a_row(tmp_path):
    returns = make_returns()
    returns.iloc[0] = np.nan
    returns.to_csv(tmp_path / "panel.csv")
    assert read_panel(tmp_path / "panel.csv", missing="drop-dates").n_dates == 99


@pytest.mark.parametrize("pack", [lambda x: x, gzip.compress, lambda x: zipped("a.csv", content=x)])
def test_packed_files_are_read_whatever_they_are_called(pack, tmp_path):
    assert_read(pack(make_returns().to_csv().encode()), tmp_path, [])


def test_excel_files_are_read(tmp_path):
    assert_read(excel(make_returns()), tmp_path, [], name="panel.xlsx")
    content = excel(make_long(make_returns()), index=False, other="Notes")
    assert_read(content, tmp_path, ["Of 2 sheets the first, Returns"], name="long.xlsx")
    yahoo = excel(make_yfinance(make_prices()))
    expected = make_prices().pct_change().iloc[1:]
    notes = ["yfinance's Close", "simple returns"]
    assert_read(yahoo, tmp_path, notes, name="yahoo.xlsx", expected=expected)


# Kenneth French's library

PROSE = """This file was created by CMPT_IND_RETS using the 202012 CRSP database.
It contains value- and equal-weighted returns, for 3 industry portfolios.

Missing data are indicated by -99.99 or -999.


"""
COPYRIGHT = "\nCopyright 2020 Kenneth R. French\n"


def make_french(scale=1.0):
    months = pd.period_range("1926-07", periods=90, freq="M").to_timestamp()
    percents = np.random.default_rng(5).normal(0.9, 5.0, (90, 3)).round(2) * scale
    return pd.DataFrame(percents, months.rename("date"), ["NoDur", "Durbl", "Mkt-RF"])


def french_table(title, table, form="%Y%m"):
    rows = [
        ",".join([date.strftime(form), *(f"{cell:8.2f}" for cell in row)])
        for date, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return "\n".join([title, "," + ",".join(table.columns), *rows]) + "\n\n"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", ["%Y%m", "%Y%m%d"])
def test_french_files_give_their_first_table(form, end, tmp_path):
    table = make_french()
    table.iloc[3, 1], table.iloc[4, 2] = -99.99, -999
    text = PROSE + french_table("  Average Value Weighted Returns -- Monthly", table, form)
    text += french_table("  Average Equal Weighted Returns -- Monthly", make_french(2.0), form)
    text += french_table("  Average Value Weighted Returns -- Annual", make_french().iloc[:6], "%Y")
    expected = (make_french() / 100).where((table > -99).to_numpy())
    content = zipped(
        "Industry.CSV", content=(text + COPYRIGHT).replace("\n", end).encode("latin-1")
    )
    assert_read(
        content,
        tmp_path,
        ["library the first table (Average Value Weighted Returns -- Monthly)"],
        name="Industry_CSV.zip",
        expected=expected,
        missing="keep",
    )


def test_french_factors_are_covariates(tmp_path):
    text = "The 1-month TBill rate is from Ibbotson. Kenneth R. French\n\n"
    text += french_table("", make_french()) + french_table(" Annual", make_french().iloc[:5], "%Y")
    (tmp_path / "factors.CSV").write_text(text)
    dates = make_french().index[:60]
    panel = panel_from_frame(
        with_index(make_returns(60), dates), covariates=tmp_path / "factors.CSV"
    )
    np.testing.assert_allclose(panel.covariates, make_french().iloc[:60] / 100)
    assert "Covariates: Of a file of Kenneth French's library" in panel.notes[0]


# Speed

COMPARE = """
import sys, time
import pandas as pd
from jaxvae.data import read_panel
def seconds(read):
    start = time.process_time()
    read(sys.argv[1])
    return time.process_time() - start
ours, theirs = ([seconds(read) for _ in range(7)] for read in (read_panel, pd.read_csv))
print(min(ours) / min(theirs))
"""


@pytest.mark.slow
def test_reading_takes_at_most_twice_as_long_as_pandas(tmp_path):
    """By the processor's clock, the fastest of several, without checks of shapes."""
    values = np.random.default_rng(0).normal(0.0, 0.02, (3000, 400))
    dates = pd.bdate_range("2000-01-03", periods=3000, name="date")
    frame = pd.DataFrame(values, dates, [f"A{number}" for number in range(400)])
    path = tmp_path / "large.csv"
    frame.to_csv(path)
    np.testing.assert_array_equal(read_panel(path).values, values)
    words = [sys.executable, "-c", COMPARE, str(path)]
    assert float(subprocess.run(words, check=True, capture_output=True).stdout) < 2.0


@pytest.mark.parametrize("width", [6, 10])
@pytest.mark.parametrize("row", [2, 9, 20])
def test_a_row_of_another_width_is_named(width, row, tmp_path):
    """Wherever it stands, also where the longer part of the table follows it."""
    lines = ["date," + ",".join("ABCDEFG")]
    lines += [f"2024-01-{day:02}," + ",".join(["0.01"] * 7) for day in range(1, 31)]
    lines[row] = f"2024-01-{row:02}," + ",".join(["0.01"] * (width - 1))
    (tmp_path / "returns.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=f"row {row}: {width} cells under a header of 8"):
        read_panel(tmp_path / "returns.csv")
