"""Cells and labels of a table, as text or objects, converted to numbers and names.

Columns are converted whole; single cells are looked at only to word an error.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from pandas.api import types

from jaxvae.data.dates import DATE_NAMES, looks_like_date, row_name, text_of
from jaxvae.errors import DataError, shown

MISSING_WORDS = ("", "-", ".", "na", "n/a", "#n/a", "nan", "<na>", "nat", "null", "none")
NO_NAMES = frozenset({"", "nan", "None", "<NA>", "NaT"})
LONGEST_NAME = 200
FORMULA_MARKS = tuple("=+-@")
DECIMAL_COMMA = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
THOUSANDS = r"^[+-]?[1-9]\d{0,2},\d{3}$"


def quote(text: object) -> str:
    """Text from a table for a message: quoted, on one line and not too long."""
    return shown(text_of(text))


# Names of tickers, covariates and sectors


def clean_name(label: object, place: int, noun: str = "ticker") -> str:
    """A label as text on one line without outer blanks, safe to write into a CSV file.

    Args:
        label: of a column, or a cell that names an asset or a sector.
        place: of the label among the others, from 1.
        noun: what an error calls it.

    Raises:
        DataError: it is empty, longer than LONGEST_NAME, not printable, or begins as a
            spreadsheet's formula does.
    """
    name = " ".join(text_of(label).split())
    if name in NO_NAMES or (name.startswith("Unnamed: ") and name[9:].isdigit()):
        cause = ""
        if not isinstance(label, str):
            cause = " (pandas takes the text NA for missing: read with keep_default_na=False)"
        raise DataError(
            f"the {noun} in place {place} is empty{cause}: name it, or delete its cells"
        )
    if name.startswith(FORMULA_MARKS):
        fault = f"begins with {name[0]}, which a spreadsheet takes for a formula: rename it"
    elif len(name) > LONGEST_NAME:
        fault = f"has {len(name):,} letters: keep at most {LONGEST_NAME}"
    elif not name.isprintable():
        fault = "holds a control character: rename it"
    else:
        return name
    raise DataError(f"the {noun} {quote(name)} in place {place} {fault}")


def check_names_differ(names: pd.Index, noun: str = "ticker") -> None:
    """Raise where a name comes twice, or was renamed by `read_csv` because it came twice."""
    if names.has_duplicates:
        twice = names[names.duplicated()][0]
        raise DataError(f"the {noun} {quote(twice)} comes more than once: keep one column")
    for name in names:
        first, _, number = name.rpartition(".")
        if number.isdigit() and first in names and not first.isdigit():
            raise DataError(
                f"the {noun} {quote(name)} is a second {quote(first)} that read_csv renamed: keep "
                "one column, or give it a name of its own"
            )


# Numbers


class Numbers(NamedTuple):
    """A column's numbers, NaN where missing, and how its text wrote them.

    percent: every number had a percent sign, and was divided by 100.
    comma: the decimal mark was a comma.
    """

    values: Float[np.ndarray, " row"]
    percent: bool = False
    comma: bool = False


def to_matrix(cells: pd.DataFrame) -> tuple[Float[np.ndarray, "row column"], tuple[str, ...]]:
    """Numbers of a table's columns, and the notes on how text was read.

    Raises:
        DataError: as `to_numbers`; or decimal commas stand beside decimal points.
    """
    if all(dtype == np.float64 for dtype in cells.dtypes):
        return cells.to_numpy(), ()
    columns = [to_numbers(cells.iloc[:, place]) for place in range(cells.shape[1])]
    commas = [place for place, column in enumerate(columns) if column.comma]
    percents = [place for place, column in enumerate(columns) if column.percent]
    if commas:
        _check_no_points(cells, commas)
    how = {"with decimal commas": commas, "with percent signs, divided by 100": percents}
    notes = tuple(
        f"Numbers of {len(places):,} of {len(columns):,} columns were read {words}."
        for words, places in how.items()
        if places
    )
    return np.column_stack([column.values for column in columns]), notes


def to_numbers(column: pd.Series) -> Numbers:
    """A column as floats; sparse, nullable and text columns too.

    Raises:
        DataError: text that is no number, dates, booleans or complex numbers.
    """
    if str(column.name).casefold() in DATE_NAMES or types.is_datetime64_any_dtype(column.dtype):
        raise _date_column_error(column.name)
    if types.is_bool_dtype(column.dtype) or types.is_complex_dtype(column.dtype):
        raise DataError(
            f"column {quote(column.name)} holds {column.dtype} values: give it real numbers, or "
            "delete it"
        )
    if types.is_numeric_dtype(column.dtype):
        return Numbers(column.to_numpy(dtype=float, na_value=np.nan))
    text = _without_missing(to_text(column))
    percent = _has_percent(text)
    plain = pc.utf8_rtrim(text, "% ") if percent else text
    comma = _has_comma(plain)
    if comma:
        plain = pc.replace_substring(plain, ",", ".")
    try:
        values = _cast(plain)
    except pa.ArrowInvalid:
        raise _unfit_error(text, plain, column) from None
    return Numbers(values / 100 if percent else values, percent, comma)


def row_number_error(name: object) -> DataError:
    """The error for a column that only counts the rows."""
    return DataError(
        f"column {quote(name)} only counts the rows: delete it, or write the file with index=False"
    )


def is_missing(cell: object) -> bool:
    """Whether a cell is empty or a word for missing."""
    return text_of(cell).casefold() in MISSING_WORDS


def is_number(cell: object) -> bool:
    """Whether a cell stands for one number by itself, with a percent sign or decimal comma too."""
    text = text_of(cell).removesuffix("%").replace(",", ".")
    try:
        float(text)
    except ValueError:
        return False
    return any(map(str.isdigit, text))


def is_word(cell: object) -> bool:
    """Whether a cell is text with a letter in it that stands for no number."""
    return isinstance(cell, str) and any(map(str.isalpha, cell)) and not is_number(cell)


def to_text(column: pd.Series) -> pa.Array:
    """A column's cells as text; what cannot be encoded comes with its escapes."""
    # Arrow takes bytes for text, too.
    cells = column if types.infer_dtype(column) == "string" else [text_of(cell) for cell in column]
    try:
        return pa.array(cells, pa.string(), from_pandas=True)
    except UnicodeEncodeError:
        return pa.array([ascii(text_of(cell))[1:-1] for cell in column], pa.string())


def _cast(text: pa.Array) -> Float[np.ndarray, " row"]:
    return pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)


def _without_missing(text: pa.Array) -> pa.Array:
    trimmed = pc.replace_substring(pc.utf8_trim_whitespace(text), "\N{MINUS SIGN}", "-")
    missing = pc.is_in(pc.ascii_lower(trimmed), pa.array(MISSING_WORDS))
    return pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)


def _has_percent(text: pa.Array) -> bool:
    """Whether every number has a percent sign; zeros may do without."""
    signed = pc.ends_with(text, "%")
    return bool(pc.any(signed).as_py() and pc.all(pc.or_(signed, pc.equal(text, "0"))).as_py())


def _has_comma(text: pa.Array) -> bool:
    """Whether the decimal mark is a comma: no point, and one comma that splits no thousands."""
    if pc.any(pc.match_substring(text, ".")).as_py():
        return False
    commas = pc.filter(text, pc.match_substring(text, ","))
    return bool(
        pc.all(pc.match_substring_regex(commas, DECIMAL_COMMA)).as_py()
        and not pc.all(pc.match_substring_regex(commas, THOUSANDS)).as_py()
    )


def _check_no_points(cells: pd.DataFrame, commas: list[int]) -> None:
    """Raise where text has decimal points, though columns at other places have decimal commas."""
    with_commas = set(commas)
    for place, dtype in enumerate(cells.dtypes):
        if place in with_commas or types.is_numeric_dtype(dtype):
            continue
        if pc.any(pc.match_substring(to_text(cells.iloc[:, place]), ".")).as_py():
            raise DataError(
                f"column {quote(cells.columns[place])} has decimal points, column "
                f"{quote(cells.columns[commas[0]])} decimal commas: write all numbers alike"
            )


def _unfit_error(text: pa.Array, plain: pa.Array, column: pd.Series) -> DataError:
    """The error for the first cell, as it is written, that without marks is no number."""
    row = next(row for row, cell in enumerate(plain.to_pylist()) if _is_unfit(cell))
    cell = text[row].as_py()
    if looks_like_date(cell):
        return _date_column_error(column.name)
    fault = (
        "is not a number: write numbers with a decimal point, without thousands, and leave missing "
        "cells empty"
    )
    if cell.endswith("%") and is_number(cell):
        fault = (
            "has a percent sign, which other cells of the column have not: write all numbers alike"
        )
    place = f"column {quote(column.name)}, row {row_name(column.index[row])}"
    return DataError(f"{place}: {quote(cell)} {fault}")


def _is_unfit(cell: str | None) -> bool:
    try:
        return cell is not None and _cast(pa.array([cell])) is None
    except pa.ArrowInvalid:
        return True


def _date_column_error(name: object) -> DataError:
    return DataError(
        f"column {quote(name)} holds dates among the returns: make it the index or the first "
        "column, and keep one column of dates"
    )
