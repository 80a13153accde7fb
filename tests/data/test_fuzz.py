"""Whatever a file or a frame holds: one line that says what is wrong, or a sound panel."""

import gzip
import io
import time
import warnings
import zipfile
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
from example_tables import TICKERS, make_long, make_prices, make_returns, make_yfinance
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxvae.data import KINDS, MISSING_POLICIES, panel_from_frame, read_panel
from jaxvae.data.files import BINARY
from jaxvae.errors import JaxvaeError

LONGEST = 10.0  # seconds of the processor
fuzz = settings(
    max_examples=120,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

TEXTS = (
    *("", " ", "-", ".", "NA", "n/a", "NaN", "inf", "-inf", "1e400", "-1e-400", "0", "1", "-1"),
    *("0.01", "-0.02", "100", "-99", "-99.99", "1,5", "1,234", "1.234,5", "5%", "-3 %", "\u22121"),
    *(
        "2020",
        "2020-01-02",
        "2020-13-40",
        "01/02/2020",
        "31JAN2020",
        "2020Q1",
        "20200101",
        "190001",
    ),
    *("1577836800", "1577836800000", "99999999999999999999", "2020-01-01T00:00:00Z", "12:00"),
    *(
        "Date",
        "date",
        "Ticker",
        "Price",
        "Close",
        "sector",
        "Unnamed: 0",
        "A",
        "A.1",
        "XOM",
        "Tech",
    ),
    *("=1+1", "+A", "-USD", "@x", "\t", "a\tb", '"', '""', '"a', "a;b", "a,b", "a|b", "\u00e9"),
    *("\u202e", "\ufeff", "\x00", "\x1b[31m", "X" * 300, "True", "None", "1_000", "0x1A", "(1)"),
)
OBJECTS = (
    *(None, float("nan"), float("inf"), True, 0, -1, 10**400, 10**5000, 1 + 2j, b"x", (1, 2), [3]),
    *(Decimal("0.01"), Decimal("nan"), date(2020, 1, 1), datetime(1600, 1, 1), pd.NaT, pd.NA),
    *(timedelta(1), pd.Timestamp("2020-01-01", tz="UTC"), np.float32(0.1), "\ud800", object()),
)
cells = st.sampled_from(TEXTS) | st.text(max_size=6) | st.floats().map(repr)
objects = st.sampled_from(TEXTS) | st.sampled_from(OBJECTS) | st.floats(-0.1, 0.1)
options = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "missing": st.sampled_from((None, *MISSING_POLICIES)),
        "for_fitting": st.booleans(),
    }
)


def assert_sound(read, given_options):
    """One line, or a panel without a value that is none, in time and without a warning."""
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", "The typical return")
            panel = read(**given_options)
    except JaxvaeError as error:
        line = str(error)
        assert line.isprintable()
        assert 10 < len(line) < 700
        return
    finally:
        assert time.process_time() - start < LONGEST
    assert panel.values.shape == (panel.n_dates, panel.n_assets)
    assert panel.values.dtype == np.float64
    assert not np.isinf(panel.values).any()
    assert given_options["missing"] == "keep" or not np.isnan(panel.values).any()
    assert panel.n_dates > 0
    assert panel.dates.is_monotonic_increasing
    assert panel.dates.is_unique
    assert panel.dates.tz is None
    assert len(set(panel.assets)) == panel.n_assets > 0
    for name in (*panel.assets, *(panel.sectors or ())):
        assert name.strip() == name != ""
        assert name.isprintable()
        assert name[0] not in "=+-@"
    percent = any("percent" in note for note in panel.notes)
    assert np.nanmin(panel.values, initial=0.0) >= (-100 if percent else -1) * (1 + 1e-6)
    assert all(note.isprintable() and note.endswith((".", "?")) for note in panel.notes)
    assert panel == panel_again(panel)
    assert len(repr(panel).splitlines()) <= 10


def panel_again(panel):
    """Its table, read once more."""
    frame = panel.to_frame().rename_axis("date")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = panel_from_frame(frame, missing="keep", for_fitting=False)
    return panel.__class__(**{**vars(panel), "values": again.values, "dates": again.dates})


# Files

BASES = (
    lambda: make_returns(60).to_csv(),
    lambda: make_prices(60).to_csv(sep=";", decimal=","),
    lambda: make_long(make_returns(60)).to_csv(index=False),
    lambda: make_yfinance(make_prices(60)).to_csv(),
    lambda: (
        "Of the CRSP database\n\n" + (100 * make_returns(60)).round(2).to_csv() + "\n\nCopyright"
    ),
)
packings = st.sampled_from(
    [
        lambda x: x,
        gzip.compress,
        lambda x: gzip.compress(x)[:-5],
        lambda x: x.decode("latin-1").encode("utf-16"),
        lambda x: b"\xef\xbb\xbf" + x,
        lambda x: zipped(x),
    ]
)


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", content)
    return file.getvalue()


def to_parquet(frame):
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def to_excel(frame):
    file = io.BytesIO()
    frame.to_excel(file)
    return file.getvalue()


def as_arrow(frame):
    """In Arrow, where it can be."""
    with (
        warnings.catch_warnings(),
        suppress(pa.ArrowException, TypeError, ValueError, OverflowError),
    ):
        warnings.simplefilter("ignore")
        return pa.Table.from_pandas(frame)
    return frame


def write(content, folder):
    path = folder / "panel.csv"
    path.write_bytes(content)
    return path


def to_bytes(text):
    return text.encode("utf-8", "replace")


edits = st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=6) | cells.map(to_bytes))


@fuzz
@given(st.sampled_from(BASES), st.lists(edits, max_size=4), packings, options)
def test_files_with_edits(tmp_path_factory, base, changes, pack, given_options):
    content = base().encode()
    for share, length, new in changes:
        place = int(share * len(content))
        content = content[:place] + new + content[place + length :]
    path = write(pack(content), tmp_path_factory.mktemp("fuzz"))
    assert_sound(partial(read_panel, path), given_options)


@fuzz
@given(
    st.lists(st.lists(cells, min_size=1, max_size=5), max_size=8),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    st.integers(0, 60),
    options,
)
def test_files_of_any_cells(tmp_path_factory, rows, separator, end, n_rows, given_options):
    """Rows of anything above rows of returns."""
    lines = [separator.join(row) for row in rows]
    lines += make_returns(60).to_csv(sep=separator, header=False).splitlines()[:n_rows]
    path = write(to_bytes(end.join(lines)), tmp_path_factory.mktemp("fuzz"))
    assert_sound(partial(read_panel, path), given_options)


@fuzz
@given(
    st.sampled_from([*BINARY, b""]),
    st.binary(max_size=200),
    st.sampled_from(["panel.csv", "panel.parquet", "panel.xlsx", "panel.csv.gz"]),
    options,
)
def test_files_of_bytes(tmp_path_factory, start, content, name, given_options):
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(start + content)
    assert_sound(partial(read_panel, path), given_options)


WHOLE = {"panel.parquet": to_parquet(make_returns(60)), "panel.xlsx": to_excel(make_returns(60))}


@fuzz
@given(st.sampled_from(sorted(WHOLE)), st.lists(edits, min_size=1, max_size=3), options)
def test_damaged_binary_files(tmp_path_factory, name, changes, given_options):
    content = WHOLE[name]
    for share, length, new in changes:
        place = int(share * len(content))
        content = content[:place] + new + content[place + length :]
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_bytes(content)
    assert_sound(partial(read_panel, path), given_options)


# Frames

TABLES = (
    make_returns,
    make_prices,
    lambda n: 100 * make_returns(n),
    lambda n: make_returns(n).reset_index(),
    lambda n: make_long(make_returns(n)),
    lambda n: make_long(make_returns(n)).set_index(["Date", "Ticker"]),
    lambda n: make_yfinance(make_prices(n)),
    lambda n: make_returns(n).set_axis([["a", "a", "b", "b"], TICKERS], axis=1),
)
DTYPES = (object, "float32", "Float64", "category", "int64", "bool", "complex128", "str")
changes = st.tuples(
    st.sampled_from(["cell", "column", "name", "index", "type", "drop", "repeat"]),
    st.integers(0, 100),
    st.integers(0, 100),
    objects,
    st.sampled_from(DTYPES),
)


def change(frame, what, row, column, value, dtype):
    row, column = row % len(frame), column % frame.shape[1]
    if what == "cell":
        frame = frame.astype({frame.columns[column]: object}) if frame.columns.is_unique else frame
        cells_of = frame.iloc[:, column].tolist()
        cells_of[row] = value
        frame.isetitem(column, pd.Series(cells_of, frame.index, dtype=object))
    elif what == "column":
        frame.isetitem(column, pd.Series([value] * len(frame), frame.index, dtype=object))
    elif what == "name" and frame.columns.nlevels == 1:
        frame.columns = [*frame.columns[:column], value, *frame.columns[column + 1 :]]
    elif what == "index" and frame.index.nlevels == 1:
        frame.index = pd.Index([*frame.index[:row], value, *frame.index[row + 1 :]], dtype=object)
    elif what == "type":
        with suppress(TypeError, ValueError, OverflowError):
            frame.isetitem(column, frame.iloc[:, column].astype(dtype))
    elif what == "drop":
        frame = frame.drop(index=frame.index[row]) if len(frame) > 1 else frame
    elif what == "repeat":
        frame = pd.concat([frame, frame.iloc[[row]]])
    return frame


@fuzz
@given(
    st.sampled_from(TABLES),
    st.integers(1, 70),
    st.lists(changes, max_size=4),
    st.sampled_from([lambda x: x, as_arrow, lambda x: x.iloc[:, 0], lambda x: x.T]),
    options,
)
def test_frames_with_changes(table, n_dates, edits_of, form, given_options):
    frame = table(n_dates).copy()
    for one in edits_of:
        with suppress(TypeError, ValueError):
            frame = change(frame, *one)
    before = frame.copy()
    assert_sound(partial(panel_from_frame, form(frame)), given_options)
    assert len(frame) == len(before)


@fuzz
@given(
    st.lists(st.floats(width=32) | st.floats(), min_size=1, max_size=8),
    st.integers(1, 64),
    options,
)
def test_frames_of_any_numbers(numbers, n_dates, given_options):
    values = np.resize(np.array(numbers), (n_dates, 3))
    dates = pd.bdate_range("2020-01-01", periods=n_dates)
    assert_sound(partial(panel_from_frame, pd.DataFrame(values, dates, list("ABC"))), given_options)


@fuzz
@given(
    st.one_of(
        st.dictionaries(st.sampled_from(TICKERS), objects, max_size=4),
        st.lists(st.tuples(objects, objects), max_size=4).map(
            lambda pairs: pd.Series([b for _, b in pairs], [a for a, _ in pairs], dtype=object)
        ),
    ),
    st.lists(objects, min_size=60, max_size=60) | objects.map(lambda x: [x] * 60),
)
def test_sectors_and_covariates(sectors, column):
    frame = make_returns(60)
    known = pd.DataFrame({"x": pd.Series(column, frame.index, dtype=object)})
    plain = {"kind": "returns", "missing": None, "for_fitting": True}
    assert_sound(partial(panel_from_frame, frame, sectors=sectors), plain)
    assert_sound(partial(panel_from_frame, frame, covariates=known), plain)
