"""Whatever words a command is given, it ends in an exit code and a line, and leaves no trace."""

import contextlib
import io
import shutil
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args
from unittest.mock import create_autospec

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxvae.cli.main import COMMANDS, find_command, main
from jaxvae.errors import DataError, MissingExtraError
from jaxvae.study.study import Study, load_study

EXAMPLES = 60
LONGEST = 6000  # a path at its longest, and the words around it

NUMBERS = (
    *("0", "1", "2", "3", "60", "-1", "-0", "2.0", ".5", "1e3", "1e39", "-1e39", "1e-50", "nan"),
    *("inf", "-inf", "True", "", " ", "1 ", "4294967296", "2147483648", "9" * 5000, "٣", "1_0"),
    *("0x10", "1,5", "½", "1e400", "--", "None"),
)
PATHS = (
    *("returns.csv", "study", "walk", ".", "..", "", " ", "nowhere.csv", "no/where", "new"),
    *("a\0b", "x" * 300, "x/" * 3000, "~", "*", "\ud800", "new\n.csv", "🦄.csv", "linear", "sp500"),
    *("study/members.csv", "study/config.json", "returns.csv/x", "link"),
)
NAMES = ("STOCK_000=0.01", "STOCK_001=nan", "=", "a=b=1", "calendar", "volatility", "2020-01-01")
TEXTS = st.text(st.characters(exclude_characters="/"), max_size=8)
WORDS = st.one_of(*map(st.sampled_from, (NUMBERS, PATHS, NAMES)), TEXTS)


def options_of(name):
    """Options with their words: some that fit, some that do not; the positional one as None."""
    for group in find_command(name).groups.values():
        for one in fields(group):
            words, kinds = one.metadata, get_args(one.type) or (one.type,)
            if not words["help"] or one.name == "debug":
                continue
            choices = words["limits"].get("choices", ())
            fit = PATHS if {str, Path} & {*kinds} else NUMBERS
            word = st.one_of(st.sampled_from((*choices, *fit)), WORDS)
            most = 0 if one.type is bool else 1
            if any("tuple" in str(kind) for kind in kinds):
                most, word = 3, st.one_of(word, st.sampled_from(NAMES))
            flag = words["flag"] or one.name
            flag = None if words["flag"] == "" else f"--{flag}".replace("_", "-")
            lists = st.lists(word, min_size=min(most, 1), max_size=most)
            yield flag, one.default is MISSING, lists


@st.composite
def command_lines(draw, name, known):
    """A command with a handful of its options."""
    needed = [one for one in known if one[1]]
    others = st.lists(st.sampled_from(known), max_size=3, unique_by=lambda one: one[0])
    words = [name]
    for flag, _, lists in (*draw(others), *needed):
        words += [*([flag] if flag else []), *draw(lists)]
    return words + draw(st.one_of(st.just([]), st.just([]), st.lists(WORDS, max_size=2)))


@pytest.fixture(scope="module")
def place(returns_csv, tmp_path_factory):
    """A folder with data, something that is no study, and a link that leads nowhere."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copy(returns_csv, folder / "returns.csv")
    for name in ("study", "walk"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
    (folder / "study" / "members.csv").write_text("member,seed\n0,0\n")
    (folder / "link").symlink_to(folder / "nothing")
    return folder


def no_training(*arguments, **options):
    raise DataError("it stops where training would begin")


def no_download(*_):
    raise MissingExtraError("there is no yfinance here")


@pytest.fixture
def shell(place, monkeypatch):
    """The command line in that place, up to where models are trained or asked."""
    monkeypatch.chdir(place)
    monkeypatch.setattr("jaxvae.study.run._run", no_training)
    monkeypatch.setattr("jaxvae.walk.run.prepare_walk", no_training)
    monkeypatch.setattr("jaxvae.cli.task.Processes.connect", lambda processes: processes)
    monkeypatch.setattr("jaxvae.data.named.import_extra", no_download)
    study, table = create_autospec(Study, instance=True), pd.DataFrame({"A": [0.5]})
    study.config = {"covariates": ["VIX"], "assets": ["A"]}
    table.attrs = {"effective_samples": 2.0, "draws": 3}
    for name in ("scenarios", "encode", "impute", "forecast", "forecast_covariance"):
        getattr(study, name).return_value = table
    known = {Path("study"): study}
    monkeypatch.setattr(
        "jaxvae.cli.ask.load_study", lambda path: known.get(path) or load_study(path)
    )
    return place


@pytest.mark.parametrize("name", COMMANDS)
def test_any_words_end_in_a_code_and_a_line(name, shell):
    before = {path: path.lstat().st_mtime_ns for path in shell.rglob("*")}
    known = list(options_of(name))  # Which imports the command.

    @settings(
        derandomize=True,
        deadline=None,
        max_examples=EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(command_lines(name, known))
    def run(words):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as asked:
                code = asked.code
                assert out.getvalue().startswith("usage: ")
        warned = "jaxvae: warning: "
        lines = [line for line in err.getvalue().splitlines() if not line.startswith(warned)]
        assert code in (0, 1, 2), words
        assert "Traceback" not in err.getvalue()
        if code:
            assert len(lines) == 1, (words, lines)
            assert lines[0].startswith("jaxvae: ")
            assert len(lines[0]) < LONGEST, (words, lines[0])
        new = {path for path in shell.rglob("*") if path not in before}
        assert not new or code == 0, (words, new)
        for path in new:
            path.unlink()
        assert {path: path.lstat().st_mtime_ns for path in before} == before, words

    run()
