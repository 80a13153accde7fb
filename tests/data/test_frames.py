"""Prices, missing cells, sectors and covariates on the way to a panel; options and what is left."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from example_tables import (
    DATE,
    SECTORS,
    TICKERS,
    assert_one_line,
    assert_same,
    make_holes,
    make_long,
    make_prices,
    make_returns,
    with_cell,
)

from jaxvae.data import panel_from_frame
from jaxvae.data.checks import MINIMUM_DATES
from jaxvae.errors import DataError, Option, OptionError

# Missing cells


@pytest.mark.parametrize("word", ["", " ", "NA", "nan", "NaN", "NULL", "None", "#N/A", "-", "."])
def test_words_for_missing_are_missing(word):
    with pytest.raises(DataError, match=r"^1 cell missing, .*'MSFT' .*2020-01-14"):
        panel_from_frame(with_cell(make_returns(), word))


@pytest.mark.parametrize("nothing", [None, pd.NA, pd.NaT, float("nan"), Decimal("nan")])
def test_objects_for_missing_are_missing(nothing):
    with pytest.raises(DataError, match="1 cell missing"):
        panel_from_frame(with_cell(make_returns().astype(object), nothing))
    with pytest.raises(DataError, match="1 cell missing"):
        panel_from_frame(with_cell(make_returns(), np.nan).astype("Float64"))


def test_long_tables_with_an_absent_pair_have_a_missing_cell():
    with pytest.raises(DataError, match="1 cell missing, most in column 'AAPL'"):
        panel_from_frame(make_long(make_returns()).drop(index=9))


# Sectors and covariates


def write_sectors(path):
    pd.Series(SECTORS).rename_axis("asset").rename("sector").to_csv(path)
    return path


@pytest.mark.parametrize("form", ["mapping", "series", "file", "long table"])
def test_sectors_come_along_in_the_order_of_the_assets(form, tmp_path):
    frame, sectors = make_returns(), {**SECTORS, "UNUSED": "Tech"}
    if form == "series":
        sectors = pd.Series(SECTORS)[::-1]
    if form == "file":
        sectors = write_sectors(tmp_path / "sectors.csv")
    if form == "long table":
        frame = make_long(frame)
        frame, sectors = frame.assign(Sector=frame["Ticker"].map(SECTORS)), None
    panel = panel_from_frame(frame, sectors=sectors)
    assert panel.sectors == ("Tech", "Tech", "Finance", "Energy")
    assert_same(panel, make_returns())


def test_sectors_of_dropped_assets_go():
    panel = panel_from_frame(make_holes(), missing="drop-assets", sectors=SECTORS)
    assert panel.sectors == ("Tech", "Finance", "Energy")


def test_a_sector_argument_replaces_the_long_tables_own():
    long = make_long(make_returns()).assign(sector="Other")
    assert panel_from_frame(long, sectors=SECTORS).sectors[0] == "Tech"


def make_covariates():
    dates = pd.date_range("2019-12-01", "2020-12-31", name="date")
    return pd.DataFrame({"vix": np.linspace(10, 40, len(dates)), "term": 1.5}, dates)


@pytest.mark.parametrize("form", ["frame", "date column", "file"])
def test_covariates_are_cut_to_the_panels_dates(form, tmp_path):
    covariates = make_covariates()
    expected = covariates.loc[make_returns().index]
    if form == "date column":
        covariates = covariates.reset_index()
    if form == "file":
        covariates.to_csv(tmp_path / "covariates.csv")
        covariates = tmp_path / "covariates.csv"
    panel = panel_from_frame(make_returns(), covariates=covariates)
    np.testing.assert_array_equal(panel.covariates, expected)
    assert list(panel.covariates.columns) == ["vix", "term"]
    assert list(panel.covariates.index) == list(panel.dates)


# Bad prices, options, labels and covariates


BAD_PRICES = {
    "zero": (
        lambda: with_cell(make_prices(), 0.0),
        ["1 cell at or below zero", "'MSFT'", "2020-01-14"],
    ),
    "negative": (lambda: with_cell(make_prices(), -3.0), ["1 cell at or below zero"]),
    "returns as prices": (make_returns, ["at or below zero", "kind='returns'"]),
    "infinite": (lambda: with_cell(make_prices(), np.inf), ["1 cell infinite"]),
    "returns that overflow": (
        lambda: make_prices().assign(XOM=np.tile([1e-300, 1e30], 50)),
        ["too large for float32", "'XOM'"],
    ),
    "one return too few": (lambda: make_prices(MINIMUM_DATES), ["49 dates"]),
    "unchanging": (lambda: make_prices().assign(XOM=7), ["'XOM' is constant (0)"]),
}


@pytest.mark.parametrize("fault", BAD_PRICES)
def test_bad_prices_end_in_one_line(fault):
    make, words = BAD_PRICES[fault]
    with pytest.raises(DataError) as error:
        panel_from_frame(make(), kind="prices")
    assert_one_line(error, words)


BAD_OPTIONS = {
    "kind": ({"kind": "logs"}, ["kind: 'logs'", "returns, prices"]),
    "missing": ({"missing": "zero"}, ["missing: 'zero'", "drop-dates, drop-assets, mean"]),
    "no factors": ({"n_factors": 0}, ["n_factors: 0", "at least 1"]),
}


@pytest.mark.parametrize("option", BAD_OPTIONS)
def test_bad_options_end_in_one_line(option):
    arguments, words = BAD_OPTIONS[option]
    with pytest.raises(OptionError) as error:
        panel_from_frame(make_returns(), **arguments)
    assert_one_line(error, words, exit_code=2)


def test_more_assets_than_factors_are_needed():
    assert panel_from_frame(make_returns(), n_factors=3).n_assets == 4
    with pytest.raises(OptionError) as error:
        panel_from_frame(make_returns(), n_factors=4)
    assert_one_line(error, ["n_factors: 4", "4 assets", "pass 3 or less"], exit_code=2)


AFTER_POLICIES = {
    "too few dates": (
        {"missing": "drop-dates"},
        lambda: make_returns().assign(XOM=lambda x: x["XOM"].where(np.arange(100) % 3 == 0)),
        ["34 dates after missing='drop-dates'", str(MINIMUM_DATES)],
    ),
    "no assets": (
        {"missing": "drop-assets"},
        lambda: with_cell(make_returns(), np.nan, column=TICKERS),
        ["0 assets after missing='drop-assets'"],
    ),
    "infinite": (
        {"missing": "mean"},
        lambda: with_cell(make_returns(), np.inf),
        ["1 cell infinite"],
    ),
    "all missing": (
        {"missing": "mean"},
        lambda: make_returns().assign(XOM=np.nan),
        ["'XOM' has no value"],
    ),
}


@pytest.mark.parametrize("fault", AFTER_POLICIES)
def test_what_a_policy_leaves_is_checked_again(fault):
    arguments, make, words = AFTER_POLICIES[fault]
    with pytest.raises(DataError) as error:
        panel_from_frame(make(), **arguments)
    assert_one_line(error, words)


def test_too_few_assets_after_a_policy_are_the_options_fault():
    with pytest.raises(OptionError) as error:
        panel_from_frame(make_holes(), missing="drop-assets", n_factors=3)
    assert_one_line(error, ["3 assets after missing='drop-assets'", "pass 2 or less"], exit_code=2)


def test_percent_is_warned_of_and_noted():
    with pytest.warns(UserWarning, match="divide it by 100") as warned:
        panel = panel_from_frame(100 * make_returns())
    assert panel.notes == (str(warned[0].message),)
    np.testing.assert_array_equal(panel.values, 100 * make_returns())


BAD_SECTORS = {
    "formula": (
        lambda path: dict.fromkeys(TICKERS, "=A1"),
        ["sectors: the sector '=A1'", "formula"],
    ),
    "no label": (
        lambda path: {"AAPL": "Tech", "MSFT": "Tech", "XOM": None},
        ["sectors: 2 assets without a label", "'BRK.B'"],
    ),
    "two labels": (
        lambda path: path.write_text("asset,sector\nAAPL,a\nAAPL,b\n") and path,
        ["sectors: 'AAPL' has two sectors, 'a' and 'b'"],
    ),
    "three columns": (
        lambda path: path.write_text("asset,sector,x\nAAPL,a,1\n") and path,
        ["sectors: ", "3 columns", "asset and sector"],
    ),
    "no rows": (
        lambda path: path.write_text("asset,sector\n") and path,
        ["sectors: ", "empty"],
    ),
    "no file": (lambda path: path, ["sectors: ", "does not exist"]),
}


@pytest.mark.parametrize("fault", BAD_SECTORS)
def test_bad_sectors_end_in_one_line(fault, tmp_path):
    make, words = BAD_SECTORS[fault]
    with pytest.raises(DataError) as error:
        panel_from_frame(make_returns(), sectors=make(tmp_path / "sectors.csv"))
    assert_one_line(error, words)


BAD_COVARIATES = {
    "absent dates": (
        lambda: make_covariates().drop(index=[DATE, DATE + pd.Timedelta(days=1)]),
        ["covariates: no row for 2 dates", "first 2020-01-14"],
    ),
    "missing cell": (
        lambda: with_cell(make_covariates(), np.nan, column="vix"),
        ["covariates: 1 cell missing or infinite", "'vix'", "2020-01-14"],
    ),
    "infinite cell": (
        lambda: with_cell(make_covariates(), np.inf, column="vix"),
        ["covariates: 1 cell missing or infinite", "'vix'"],
    ),
    "text": (
        lambda: with_cell(make_covariates(), "calm", column="vix"),
        ["covariates: column 'vix'", "'calm' is not a number"],
    ),
    "formula": (
        lambda: make_covariates().rename(columns={"vix": "@vix"}),
        ["covariates: the covariate '@vix'", "formula"],
    ),
    "duplicate dates": (
        lambda: pd.concat([make_covariates(), make_covariates().tail(1)]),
        ["covariates: the date 2020-12-31 comes more than once"],
    ),
}


@pytest.mark.parametrize("fault", BAD_COVARIATES)
def test_bad_covariates_end_in_one_line(fault):
    make, words = BAD_COVARIATES[fault]
    with pytest.raises(DataError) as error:
        panel_from_frame(make_returns(), covariates=make())
    assert_one_line(error, words)


def test_covariates_need_no_row_before_the_first_return_of_prices():
    covariates = make_covariates().loc[make_prices().index[1:]]
    assert panel_from_frame(make_prices(), kind="prices", covariates=covariates).n_dates == 99


@pytest.mark.parametrize(
    ("for_fitting", "choices"),
    [(True, ("drop-dates", "drop-assets", "mean", "keep")), (False, ("drop-dates", "keep"))],
)
def test_errors_name_options_that_there_are_as_their_reader_does(for_fitting, choices):
    with pytest.raises(DataError) as error:
        panel_from_frame(make_holes(), for_fitting=for_fitting)
    (named,) = [part for part in error.value.parts if isinstance(part, Option)]
    assert (named.name, named.values) == ("missing", choices)
    assert "--" not in str(error.value)


def test_the_text_na_is_a_sector():
    sectors = {**SECTORS, "XOM": "NA"}
    assert panel_from_frame(make_returns(), sectors=sectors).sectors[3] == "NA"


def test_covariates_may_be_percent_and_newest_first():
    text = make_covariates().assign(rate="1.5%")[::-1]
    panel = panel_from_frame(make_returns(), covariates=text)
    assert (panel.covariates["rate"] == 0.015).all()
    assert panel.covariates["vix"].is_monotonic_increasing
    assert [note[:12] for note in panel.notes] == ["Covariates: "] * 2
