"""Options are the fields of dataclasses: their defaults, limits and names are written once."""

import ast
import inspect
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

import jaxvae
from jaxvae.cli.main import COMMANDS, find_command, main, make_parser
from jaxvae.data import read_panel
from jaxvae.errors import DataError, Option, OptionError
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.presets import MODELS, PRESETS, WINDOWS
from jaxvae.study.study import Study
from jaxvae.walk.config import WalkConfig

PACKAGE = Path(__file__).parents[2] / "jaxvae"


def read(*words):
    """The dataclasses that a command is called with."""
    command = find_command(words[0])
    return command.read(make_parser(words[0], command).parse_args(words))


def offered(name):
    """The fields that a command offers."""
    groups = find_command(name).groups.values()
    return [one for group in groups for one in fields(group) if one.metadata["help"]]


def flags():
    """Every option of every command."""
    for name in COMMANDS:
        for one in offered(name):
            yield f"--{one.metadata['flag'] or one.name}".replace("_", "-")


def test_without_words_the_configurations_are_pythons():
    assert StudyConfig() in read("study")
    assert WalkConfig() in read("walk")


def test_names_given_again_go_on_and_numbers_take_the_first_ones_place():
    words = ("--betas", "1", "2", "--betas", "4")
    assert StudyConfig(betas=(4.0,)) in read("study", *words)
    (asked,) = read("scenarios", "folder", "--given", "A=-0.1", "--given", "B=0.1", "C=0")
    assert asked.given == ("A=-0.1", "B=0.1", "C=0")


def test_words_become_the_fields_types():
    words = ("--factors", "3", "--betas", ".5", "1e1", "--seed", "7", "--capacity", "2")
    expected = StudyConfig(n_factors=3, betas=(0.5, 10.0), root_seed=7, capacity=2.0)
    assert expected in read("study", *words)
    assert StudyConfig(preset="notebook", warmup=9) in read(
        *("study", "--preset", "notebook", "--warmup", "9")
    )
    assert WalkConfig(expanding=True, step=5) in read("walk", "--expanding", "--step", "5")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_of_each_option_what_it_takes(name, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "999")
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = capsys.readouterr().out
    for one in offered(name):
        choices = ", ".join(one.metadata["limits"].get("choices", ()))
        said = f"{one.metadata['help']}: {choices}".removesuffix(": ")
        assert said in shown
        assert one.default is MISSING or f"{said} (default: " in shown
        assert f"{said} (default: None" not in shown
    if name == "study":
        assert "root of all random numbers (default: 0)" in shown
        assert "each trained with every seed (default: the model's own, 0.25 0.5 1 2 4 or" in shown
    if name == "walk":
        assert "each trained with every seed (default: 0.5 1 2 4 8)" in shown
        assert "number of seeds at each β (default: 2)" in shown


def test_an_option_of_a_command_is_an_argument_of_its_twin():
    """By the same name, so that one error serves both."""
    twins = {
        "scenarios": (Study.scenarios,),
        "impute": (Study.impute, read_panel),
        "encode": (read_panel,),
        "forecast": (Study.forecast, read_panel),
        "study": (StudyConfig, jaxvae.run_study),
        "walk": (WalkConfig, jaxvae.walk_forward),
        "compare": (jaxvae.compare,),
        "gather": (jaxvae.gather,),
        "report": (jaxvae.draw_report, jaxvae.draw_walk_report),
    }
    assert {*twins} == {*COMMANDS}
    shell = {"data", "folder", "debug", "quiet", "covariance", "folders", "dry_run"}
    shell |= {"tickers", "start", "end", "coordinator", "processes", "process"}
    for name, functions in twins.items():
        known = {key for function in functions for key in inspect.signature(function).parameters}
        answers = {"out"} if name not in ("study", "walk") else set()
        assert {one.name for one in offered(name)} - shell - answers <= known, name


def test_no_text_of_the_package_names_an_option_of_the_command_line():
    """An error names an `Option`, which each reader sees in their own words."""
    known = {flag for flag in flags() if len(flag) > 2}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        described = (ast.Module, ast.ClassDef, ast.FunctionDef)
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, described) and node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Raise | ast.Call):
                continue
            texts = [one for one in ast.walk(node) if isinstance(one, ast.Constant)]
            for text in texts:
                if isinstance(text.value, str) and id(text) not in docstrings:
                    named = known & {*text.value.replace(":", " ").replace(",", " ").split()}
                    assert not named or path.parent.name == "cli", (path, text.lineno, named)
                    assert not named or not isinstance(node, ast.Raise), (path, text.lineno, named)


def test_an_error_names_an_option_as_the_command_has_it():
    study, walk = find_command("study"), find_command("walk")
    advice = Option("missing", "drop-dates", "mean", "keep")
    assert study.name_option(advice) == "--missing drop-dates, mean or keep"
    assert walk.name_option(advice) == "--missing drop-dates or mean"
    assert study.name_option(Option("n_factors", 3)) == "--factors 3"
    assert study.name_option(Option("resume", True)) == "--resume"
    assert study.name_option(Option("likelihood_samples")) == "likelihood_samples"
    assert find_command("encode").name_option(Option("folder")) == "DIR"
    assert walk.name_option(Option("sectors")) == "sectors"


def test_a_study_of_missing_cells_advises_what_the_command_has(returns_csv, tmp_path, capsys):
    lines = returns_csv.read_text().splitlines()
    lines[9] = lines[9].rsplit(",", 1)[0] + ","
    path = tmp_path / "gap.csv"
    path.write_text("\n".join(lines))
    said = {}
    for name in ("study", "walk"):
        assert main([name, "--data", str(path), "--out", str(tmp_path / "out")]) == 1
        said[name] = capsys.readouterr().err
    assert "--missing drop-dates, drop-assets, mean or keep\n" in said["study"]
    assert "--missing drop-dates, drop-assets or mean\n" in said["walk"]
    with pytest.raises(DataError, match="missing='drop-dates', 'drop-assets', 'mean' or 'keep'"):
        read_panel(path)


@pytest.mark.parametrize("config", [StudyConfig, WalkConfig])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds: 0 is too small; at least 1"),
        ({"seeds": 2**32 + 1}, "seeds: 4294967297 is too large"),
        ({"seeds": True}, "seeds: True is not a whole number"),
        ({"seeds": 2.0}, "seeds: 2.0 is not a whole number"),
        ({"betas": (1e39,)}, "betas: 1e+39 is too large"),
        ({"betas": (float("nan"),)}, "betas: nan is not finite"),
        ({"betas": ()}, "betas: none is given"),
        ({"epochs": 2**31}, "epochs: 2147483648 is too large"),
        ({"epochs": 10.0}, "epochs: 10.0 is not a whole number"),
        ({"tile_width": 2**31}, "tile_width: 2147483648 is too large"),
        ({"n_factors": 2**40}, "n_factors: 1099511627776 is too large"),
        ({"root_seed": 2**32}, "root_seed: 4294967296 is too large; at most 4,294,967,295"),
        ({"model": "deep"}, "model: 'deep' is not one of"),
    ],
)
def test_what_no_run_can_hold_is_refused_at_once(config, wrong, words):
    unchecked = object.__new__(config)  # by the tests' own checks of types
    for name, value in (vars(config()) | wrong).items():
        object.__setattr__(unchecked, name, value)
    with pytest.raises(OptionError) as caught:
        unchecked.__post_init__()
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--seeds 4294967297", "--seeds: 4294967297 is too large"),
        ("--betas 1e39", "--betas: 1e+39 is too large"),
        ("--betas inf", "--betas: inf is not finite"),
        ("--epochs 4294967296", "--epochs: 4294967296 is too large"),
        ("--epochs 1e3", "--epochs: '1e3' is not a whole number"),
        ("--tile-width 99999999999", "--tile-width: 99999999999 is too large"),
        ("--seeds " + "9" * 5000, "is not a whole number"),
        ("--out " + "x" * 300, "is too long for a path"),
        ("--out " + "x/" * 3000, "is too long for a path"),
        ("--out a\0b", "holds a null byte"),
    ],
)
@pytest.mark.parametrize("name", ["study", "walk"])
def test_the_command_line_refuses_it_in_a_line(name, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([name, *words.split(" ")]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("stdy", "study"),
        ("study --modle linear", "--model"),
        ("scenarios runs/mine --nmber 3", "--number"),
        ("walk --stp 3", "--step"),
        ("study --model volatilty", "volatility"),
        ("study --missing drop-date", "drop-dates"),
        ("study --data sp50", "sp500"),
        ("study --model conditional --covariates calendr", "calendar"),
    ],
)
def test_a_word_that_is_spelt_wrong_is_met_with_the_right_one(words, meant, capsys):
    assert main(words.split()) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"; did you mean {meant}?" in line


@pytest.mark.parametrize("name", ["study", "walk", "scenarios"])
def test_a_word_that_is_no_option_is_met_with_the_help_of_its_command(name, capsys):
    words = [name, "runs/mine"] if name == "scenarios" else [name]
    assert main([*words, "--colour", "red"]) == 2
    assert capsys.readouterr().err.endswith(f"; see jaxvae {name} --help\n")


def test_what_resembles_nothing_is_met_with_no_guess(capsys):
    assert main(["study", "--model", "qqqq"]) == 2
    assert "did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("name", list(COMMANDS))
def test_help_begins_with_commands_that_run(name, capsys):
    """Each example is one that the parser takes."""
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = capsys.readouterr().out
    assert said.index("\nexamples:\n") < said.index("\noptions:\n")
    command = find_command(name)
    for words in command.examples:
        command.read(make_parser(name, command).parse_args(words.split()))


@pytest.mark.parametrize(("name", "models"), [("study", MODELS), ("walk", WINDOWS)])
def test_help_says_what_each_model_is(name, models, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = capsys.readouterr().out
    for model in models:
        assert PRESETS[model].meaning in said


@pytest.mark.parametrize("name", ["scenarios", "encode", "impute", "forecast", "compare"])
def test_help_says_what_a_table_s_numbers_are_in(name):
    said = find_command(name).description
    assert any(unit in said for unit in ("as fractions", "standard deviations", "nats per date"))
