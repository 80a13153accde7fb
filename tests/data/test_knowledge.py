"""Covariates and sectors, from the command line to a saved study and back."""

from dataclasses import replace

import jaxtyping
import numpy as np
import pandas as pd
import pytest
from context import KEPT, N_FIT, OTHERS, TRUTH, WITH_CONTEXT

from jaxvae.cli.main import main
from jaxvae.data.covariates import (
    MONTHS,
    VOLATILITY,
    VOLATILITY_DECAY,
    WEEKDAYS,
    calendar,
    trailing_volatility,
    with_covariates,
)
from jaxvae.data.knowledge import sector_numbers, with_knowledge
from jaxvae.data.panel import Scaler, knowledge_hash
from jaxvae.data.synthetic import INDEX, linear_panel, volatility_index_panel
from jaxvae.errors import DataError, OptionError
from jaxvae.fitting.conditions import fit_conditions, row_conditions
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.prepare import prepare
from jaxvae.models.model import Facts
from jaxvae.study.assumptions import assumed_conditions
from jaxvae.study.study import load_study

PANEL, _ = volatility_index_panel(3, n_dates=140, n_assets=8, n_factors=2, n_sectors=2)
CONFIG = StudyConfig(
    seeds=2, betas=(1.0,), n_factors=2, model="conditional", epochs=20, likelihood_samples=16
)
FIT = slice(0, 98)


# Covariates that a panel brings along


def test_the_calendar_is_known_before_the_date():
    dates = pd.DatetimeIndex(["2024-01-01", "2024-03-05", "2024-12-29"])
    table = calendar(dates)
    assert list(table.columns) == [*MONTHS, *WEEKDAYS]
    ones = [set(table.columns[row > 0]) for row in table.to_numpy()]
    assert ones == [set(), {"March", "Tuesday"}, {"December", "Sunday"}]


def test_only_what_varies_in_training_is_kept():
    names = set(with_covariates(PANEL, ["calendar"]).covariates) - {INDEX}
    assert names == {*MONTHS[:3], *WEEKDAYS[:4]}  # January to mid-April, Monday to Friday
    monthly = replace(PANEL, dates=pd.date_range("2000-01-01", periods=140, freq="MS"))
    monthly = replace(monthly, covariates=None)
    assert set(with_covariates(monthly, ["calendar"]).covariates) == set(MONTHS)
    everything = with_covariates(monthly, ["calendar"], for_fitting=False).covariates
    assert set(everything) == {*MONTHS, *WEEKDAYS}


def test_trailing_volatility_sees_the_dates_before_alone():
    before = trailing_volatility(PANEL)[VOLATILITY]
    level = np.exp(2 * before.to_numpy())
    squares = (PANEL.values**2).mean(axis=1)
    np.testing.assert_allclose(
        level[1:], VOLATILITY_DECAY * level[:-1] + (1 - VOLATILITY_DECAY) * squares[:-1]
    )
    later = PANEL.values.copy()
    later[120:] *= 7.0
    after = trailing_volatility(replace(PANEL, values=later))[VOLATILITY]
    np.testing.assert_array_equal(after[:121], before[:121])
    assert after.iloc[121] > before.iloc[121]
    alone = replace(PANEL, values=PANEL.values[:1], dates=PANEL.dates[:1])
    assert np.isfinite(trailing_volatility(alone)).all(axis=None)


def test_a_blank_date_leaves_the_trailing_volatility_as_it_is():
    values = PANEL.values.copy()
    values[[0, 50]] = np.nan
    values[::7, 2] = np.nan
    found = trailing_volatility(replace(PANEL, values=values))[VOLATILITY].to_numpy()
    assert np.isfinite(found).all()
    assert found[1] == found[0]
    assert found[51] == found[50]
    squares = np.nanmean(np.delete(values, [0, 50], axis=0) ** 2, axis=1)
    level = np.exp(2 * np.delete(found, [1, 51]))
    np.testing.assert_allclose(
        level[1:], VOLATILITY_DECAY * level[:-1] + (1 - VOLATILITY_DECAY) * squares[:-1]
    )


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_no_volatility_can_be_told_without_returns(fill):
    still = replace(PANEL, values=np.full_like(PANEL.values, fill))
    with pytest.raises(DataError, match="no volatility can be told"):
        trailing_volatility(still)


@pytest.mark.parametrize("level", [0.1, 1e6, -3.0])
def test_a_covariate_that_is_constant_up_to_rounding_does_not_vary(level):
    """140 copies of 0.1 have a standard deviation of 1e-17."""
    rounding = level * (1 + 1e-16 * np.arange(140))
    panel = replace(PANEL, covariates=pd.DataFrame({"rate": rounding}, PANEL.dates))
    with pytest.raises(DataError, match="'rate' does not vary"):
        fit_conditions(panel, FIT, Facts(conditioned=("prior",)))
    with pytest.raises(DataError, match="'rate' does not vary"):
        prepare(panel, CONFIG)


@pytest.mark.parametrize(
    ("named", "words"), [(["weather"], "'weather' is not one of"), (["calendar"] * 2, "twice")]
)
def test_covariates_that_cannot_be_had(named, words):
    with pytest.raises((OptionError, DataError), match=words):
        with_covariates(PANEL, named)


def test_the_planted_index_moves_the_variances():
    panel, truth = volatility_index_panel(1, n_dates=20_000, n_assets=3, n_factors=2)
    index = panel.covariates[INDEX].to_numpy()
    logs = np.log(truth.factors**2 / truth.volatilities**2)
    slopes = [np.polyfit(index, column, 1)[0] for column in logs.T]
    np.testing.assert_allclose(slopes, truth.response, atol=0.1)
    np.testing.assert_allclose(truth.factors.std(axis=0), truth.volatilities, rtol=0.15)
    constant = volatility_index_panel(1, n_dates=20_000, n_assets=3, n_factors=2, varying=False)[1]
    assert not constant.response.any()
    assert (truth.loadings == constant.loadings).all()


# Conditions


def test_conditions_are_standardised_by_the_dates_of_fit_alone():
    prepared = prepare(PANEL, CONFIG)
    np.testing.assert_allclose(prepared.conditions[FIT].mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(prepared.conditions[FIT].std(axis=0), 1.0)
    spoilt = PANEL.covariates.copy()
    spoilt.iloc[FIT.stop :] = 1e3
    other = prepare(replace(PANEL, covariates=spoilt), CONFIG)
    np.testing.assert_array_equal(other.conditions[FIT], prepared.conditions[FIT])
    assert (other.conditions[FIT.stop :] > 100).all()


def test_a_model_that_takes_none_is_told_nothing():
    plain = prepare(PANEL, replace(CONFIG, model="linear"))
    assert plain.conditions.shape == (140, 0)
    with_context = prepare(PANEL, CONFIG)
    assert with_context.conditions.shape == (140, 1)
    assert (plain.model.facts.n_sectors, with_context.model.facts.n_sectors) == (0, 2)


@pytest.mark.parametrize("wrong", [["X"] * 8, 5, {1, 2}], ids=["list", "int", "set"])
def test_sectors_of_no_kind_are_refused_by_name(wrong, monkeypatch):
    """As users have it, whose calls no type is checked of."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(OptionError, match=r"^sectors: .* is no file, mapping or Series of labels"):
        with_knowledge(PANEL, sectors=wrong)


def test_sectors_are_counted_in_alphabetical_order():
    panel = replace(PANEL, sectors=("b", "a", "c", "a", "b", "b", "a", "c"))
    assert sector_numbers(panel) == (1, 0, 2, 0, 1, 1, 0, 2)
    assert sector_numbers(replace(panel, sectors=None)) == ()


def test_a_panel_that_tells_nothing_is_refused():
    with pytest.raises(DataError, match="'volatility index' does not vary"):
        prepare(replace(PANEL, covariates=PANEL.covariates * 0.0), CONFIG)
    with pytest.raises(OptionError, match="give covariates, sectors or both"):
        prepare(replace(PANEL, covariates=None, sectors=None), CONFIG)


def test_other_knowledge_is_another_run():
    same = replace(PANEL, covariates=PANEL.covariates.copy())
    assert knowledge_hash(same) == knowledge_hash(PANEL)
    for other in (
        replace(PANEL, covariates=PANEL.covariates + 1e-9),
        replace(PANEL, covariates=PANEL.covariates.rename(columns={INDEX: "x"})),
        replace(PANEL, sectors=PANEL.sectors[::-1]),
    ):
        assert knowledge_hash(other) != knowledge_hash(PANEL)


SCALER = Scaler(np.array([1.0, 0.2, 0.3]), np.array([2.0, 0.5, 0.5]))
NAMES = ["index", "March", "April"]
STANDARD = np.random.default_rng(0).normal(size=(5, 3))


def test_what_is_assumed_is_in_the_covariates_own_units():
    found = SCALER.restore(assumed_conditions(STANDARD, NAMES, SCALER, {"index": 7.0}))
    np.testing.assert_allclose(found[:, 0], 7.0)
    np.testing.assert_allclose(found[:, 1:], SCALER.restore(STANDARD)[:, 1:])
    found = SCALER.restore(assumed_conditions(STANDARD, NAMES, SCALER, {"April": 1.0}))
    np.testing.assert_allclose(found[:, 1:], np.tile([0.0, 1.0], (5, 1)), atol=1e-12)
    table = pd.DataFrame({"April": [1.0], "index": [3.0], "March": [0.0], "other": [9.0]})
    with pytest.raises(OptionError, match="'other' is not one of the study's"):
        assumed_conditions(STANDARD, NAMES, SCALER, table)
    found = assumed_conditions(STANDARD, NAMES, SCALER, table.drop(columns="other"))
    np.testing.assert_allclose(SCALER.restore(found), [[3.0, 0.0, 1.0]], atol=1e-12)


@pytest.mark.parametrize(
    ("assumed", "words"),
    [
        ({"vix": 1.0}, "'vix' is not one of the study's; it knows index, March, April"),
        ({"indx": 1.0}, "did you mean index"),
        ({"index": float("nan")}, "index=nan is not a finite number"),
        (pd.DataFrame({"index": [1.0]}), "no column 'March'"),
        (
            pd.DataFrame({"index": [1.0, 2.0], "March": 0.0, "April": [0.0, "x"]}),
            "row 1, column 'April' holds no finite number",
        ),
    ],
)
def test_what_cannot_be_assumed(assumed, words):
    with pytest.raises(OptionError, match=words):
        assumed_conditions(STANDARD, NAMES, SCALER, assumed)
    with pytest.raises(OptionError, match="without any"):
        assumed_conditions(np.zeros((5, 0)), [], Scaler(np.zeros(0), np.zeros(0)), {"vix": 1.0})


# From the command line to a saved study and back


@pytest.fixture(scope="module")
def study(context_folder):
    return load_study(context_folder)


@pytest.mark.slow
def test_a_study_says_what_it_was_told(study, context_folder):
    kept = WITH_CONTEXT.covariates
    assert study.config["covariates"] == list(kept)
    assert len(kept.columns) == 12
    assert study.config["model_config"]["sectors"] == list(TRUTH.sectors[KEPT])
    assert study.config["source"]["covariates"] == ["index.csv", "calendar"]
    np.testing.assert_allclose(study.arrays["covariate_mean"], kept[:N_FIT].mean())
    report = (context_folder / "report.html").read_text()
    assert INDEX in report
    assert "sectors = (0" not in report


@pytest.mark.slow
def test_encoding_takes_the_studys_covariates_in_their_own_units(
    study, context_folder, context_files, tmp_path
):
    out = tmp_path / "factors.csv"
    words = [
        "encode",
        context_folder,
        "--data",
        context_files / "returns.csv",
        "--out",
        out,
        "--covariates",
    ]
    assert main([str(word) for word in [*words, context_files / "index.csv", "calendar"]]) == 0
    found = pd.read_csv(out, index_col=0)
    np.testing.assert_allclose(found, study.factors, atol=1e-4)
    known = with_covariates(OTHERS, ["calendar"], for_fitting=False)
    last = replace(known, values=known.values[-1:], dates=known.dates[-1:],
                   covariates=known.covariates[-1:])  # fmt: skip
    np.testing.assert_allclose(study.encode(last), study.factors.iloc[[-1]], atol=1e-4)
    moved = replace(last, covariates=last.covariates.assign(**{INDEX: 5.0}))
    assert np.abs(study.encode(moved) - study.factors.iloc[[-1]].to_numpy()).max().max() > 1e-3
    bare = replace(last, covariates=None)
    with pytest.raises(DataError, match=r"12 of the study's 12 are missing, 'volatility index'"):
        study.encode(bare)


@pytest.mark.slow
def test_forecasts_take_the_covariates_of_their_dates(context_folder, context_files, tmp_path):
    """The variance of a date follows its index; the next date's is that of the last."""
    out = tmp_path / "ahead.csv"
    words = ["forecast", context_folder, "--data", context_files / "returns.csv", "--number", "200"]
    words += ["--out", out, "--covariates", context_files / "index.csv", "calendar"]
    assert main([str(word) for word in words]) == 0
    found = pd.read_csv(out, index_col=0)
    assert found["std"].std() > 0.01 * found["std"].mean()
    assert found["std"].iloc[-1] == pytest.approx(found["std"].iloc[-2], rel=0.5)


@pytest.mark.slow
def test_scenarios_move_with_what_is_assumed_of_the_date(study):
    known = WITH_CONTEXT.covariates[:N_FIT]
    pd.testing.assert_frame_equal(study.scenarios(300, covariates=known), study.scenarios(300))
    low, high = (study.scenarios(4000, covariates={INDEX: value}) for value in (-3.0, 3.0))
    spread = np.log(high.std() / low.std())
    assert np.abs(spread).max() > 0.1
    assert not np.allclose(low.iloc[:10], high.iloc[:10])


@pytest.mark.slow
def test_what_is_assumed_may_be_far_out_and_dates_that_were_fitted_on_may_not(study):
    spiked = study.arrays["conditions"].copy()
    spiked[0, 0] = 60.0
    fitted = replace(study.fitted, arrays={**study.arrays, "conditions": spiked})
    fitted.rows_under({study.config["covariates"][1]: 1.0})
    for assumed in ({INDEX: 1e6}, WITH_CONTEXT.covariates[:3].assign(**{INDEX: [0.0, 1.0, 1e6]})):
        with pytest.warns(UserWarning, match="1 covariate more than 50 .* on the assumed date"):
            fitted.rows_under(assumed)


@pytest.mark.slow
def test_scenarios_from_the_command_line(context_folder, capsys):
    words = ["scenarios", str(context_folder), "--number", "2"]
    assert main([*words, "--covariates", f"{INDEX}=1.5"]) == 0
    one = capsys.readouterr().out
    assert main(words) == 0
    assert capsys.readouterr().out != one


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("study --data {}/returns.csv --model conditional", 2, "give --covariates, --sectors"),
        (
            "study --covariates calendar --model linear",
            2,
            "--covariates: they go with --model auto or conditional",
        ),
        ("study --model conditional --covariates vix", 2, "'vix' is no file, and not one of"),
        ("study --model conditional --covariates {0}/index.csv {0}/returns.csv", 2, "into one"),
        ("study --model conditional --covariates {}/returns.csv --data sp500", 1, "no row for"),
        ("encode {folder} --data {}/returns.csv", 1, "are missing, 'volatility index'"),
        ("scenarios {folder} --covariates vix=20", 2, "'vix' is not one of the study's"),
        ("scenarios {folder} --covariates March=x", 2, "'March=x' is not NAME=NUMBER"),
        ("scenarios {folder} --covariates a b=1", 2, "'a' is not NAME=NUMBER"),
        ("scenarios {folder} --covariates nowhere.csv", 1, "nowhere.csv does not exist"),
    ],
)
def test_what_is_wrong_is_one_line(
    words, code, said, context_folder, context_files, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    given = [word.format(context_files, folder=context_folder) for word in words.split()]
    assert main(given) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_a_linear_panel_has_sectors_enough(tmp_path):
    panel, _ = linear_panel(3, n_dates=100, n_assets=8, n_factors=2, n_sectors=2)
    prepared = prepare(panel, CONFIG)
    assert prepared.covariates == []
    assert row_conditions(panel, [], SCALER).shape == (100, 0)
    assert set(sector_numbers(panel)) == {0, 1}
