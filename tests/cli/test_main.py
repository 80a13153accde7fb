"""The command line: what it writes, what it refuses, with which exit code and in one line."""

import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from kept import full_disk
from launch import contents

from jaxvae.cli.main import main
from jaxvae.data.synthetic import linear_panel
from jaxvae.runs.documents import read_sealed, seal
from jaxvae.runs.files import write_files
from jaxvae.runs.interrupts import SECONDS_BETWEEN_LOOKS

SMALL = [
    *("--seeds", "2", "--betas", "1", "--factors", "2", "--model", "static"),
    *("--epochs", "20", "--quiet"),
]
PANEL, _ = linear_panel(3, n_dates=120, n_assets=8, n_factors=2, n_sectors=2)


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "returns.csv"
    PANEL.to_frame().to_csv(path, index_label="date")
    return path


@pytest.fixture(scope="module")
def study(csv, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "study"
    assert main(["study", "--data", str(csv), "--out", str(folder), *SMALL]) == 0
    return folder


def run(*arguments, capsys):
    """Exit code and the lines of standard error."""
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().err.splitlines()


def test_study_reads_a_file_and_writes_a_folder(study):
    assert (study / "report.html").stat().st_size > 100_000
    factors = pd.read_csv(study / "factors.csv", index_col=0)
    assert factors.shape == (120, 2)
    assert factors.index[0] == "2020-01-01"


def test_encode_gives_the_studys_factors(study, csv, tmp_path, capsys):
    out = tmp_path / "factors.csv"
    assert run("encode", study, "--data", csv, "--out", out, capsys=capsys) == (0, [])
    expected = pd.read_csv(study / "factors.csv", index_col=0)
    np.testing.assert_allclose(pd.read_csv(out, index_col=0), expected, atol=1e-4)


@pytest.mark.filterwarnings("default:1 return more than 50 standard deviations:UserWarning")
def test_what_is_asked_about_new_dates_says_what_was_doubtful(study, tmp_path, capsys):
    """Newest first, one cell far out; then the whole of it in another unit."""
    frame = PANEL.to_frame()[:9:-1]
    frame.iloc[5, 1] = 9.0
    frame.to_csv(data := tmp_path / "new.csv")
    (PANEL.to_frame() / 100).to_csv(smaller := tmp_path / "smaller.csv")
    for command in ("encode", "impute", "forecast"):
        out = tmp_path / f"{command}.csv"
        code, lines = run(command, study, "--data", data, "--out", out, capsys=capsys)
        assert code == 0
        assert "note: The rows, newest first, were put in order of date." in lines
        (doubt,) = (line for line in lines if "standard deviations of the study's out" in line)
        assert f"the farthest 9 of {PANEL.assets[1]} on " in doubt
        code, lines = run(command, study, "--data", smaller, capsys=capsys)
        assert code == 1
        assert "in other units than the study's" in lines[-1]


def test_scenarios_given_a_return(study, capsys):
    asset = PANEL.assets[2]
    words = ["--number", "3", "--given", f"{asset}=-0.01"]
    assert main(["scenarios", str(study), *words]) == 0
    shown = capsys.readouterr()
    assert pd.read_csv(io.StringIO(shown.out))[asset].eq(-0.01).all()
    assert shown.err.startswith("effective sample size: ")


def test_scenarios_go_to_standard_output(study, capsys):
    assert main(["scenarios", str(study), "--number", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "scenario," + ",".join(PANEL.assets)
    assert len(lines) == 4


def test_report_draws_again(study, capsys):
    before = (study / "report.html").read_bytes()
    (study / "report.html").unlink()
    assert main(["report", str(study)]) == 0
    assert (study / "report.html").read_bytes() == before
    assert capsys.readouterr().out.endswith("report.html\n")


def test_odd_tickers_stay_text(tmp_path):
    odd = ["<script>alert(1)</script>", "cmd|' /C calc'!A0", *PANEL.assets[2:]]
    frame = PANEL.to_frame().set_axis(odd, axis=1)
    frame.to_csv(tmp_path / "odd.csv", index_label="date")
    out = tmp_path / "odd"
    assert main(["study", "--data", str(tmp_path / "odd.csv"), "--out", str(out), *SMALL]) == 0
    assert list(pd.read_csv(out / "loadings.csv").asset) == odd
    assert "<script" not in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["study", "--seeds", "0"], 2, "--seeds: 0"),
        (["study", "--seeds", "two"], 2, "--seeds: 'two' is not a whole number"),
        (["study", "--betas", "-1"], 2, "--betas: -1.0 is too small; at least 0"),
        (["study", "--betas", "1", "1"], 2, "names one twice"),
        (["study", "--factors", "100"], 2, "--factors: 100 is too large for 100 assets"),
        (["study", "--preset", "best"], 2, "--preset: 'best' is not notebook"),
        (["study", "--model", "deep"], 2, "--model: 'deep'"),
        (["study", "--epochs", "0"], 2, "epochs: 0"),
        (["study", "--capacity", "-1"], 2, "--capacity: -1.0 is too small"),
        (["study", "--free-bits", "nan"], 2, "--free-bits: nan is not finite"),
        (
            ["study", "--warmup", "500", "--model", "static"],
            2,
            "--warmup: 500 exceeds the 200 epochs",
        ),
        (
            ["study", "--capacity", "1", "--free-bits", "1"],
            2,
            "--capacity: leave it or --free-bits out",
        ),
        (["study", "--kind", "odds"], 2, "--kind"),
        (["study", "--kind", "prices"], 2, "--kind: it does not go with --data linear"),
        (["study", "--start", "2020-01-01"], 2, "--start: it goes with --tickers"),
        (
            ["study", "--tickers", "A", "--data", "linear"],
            2,
            "--data: it does not go with --tickers",
        ),
        (["study", "--tickers", "A", "B"], 2, "--start"),
        (["study", "--bogus"], 2, "--bogus"),
        (["stury"], 2, "stury"),
        ([], 2, "COMMAND"),
        (["study", "--data", "nowhere.csv"], 1, "nowhere.csv"),
        (["study", "--data", "."], 1, "directory"),
        (["study", "--data", ""], 1, "directory"),
        (["study", "--seed", "-1"], 2, "--seed: -1"),
        (["study", "--seed", "99999999999999999999"], 2, "--seed: 99999999999999999999"),
        (["scenarios", "nowhere", "--out", "no/where.csv"], 1, "no is no folder"),
        (["encode", "nowhere", "--data", "x.csv"], 1, "no study's folder"),
        (["scenarios", "nowhere", "--given", "A"], 2, "--given: 'A' is not NAME=NUMBER"),
        (["scenarios", "nowhere", "--given", "A=x"], 2, "--given: 'A=x' is not NAME=NUMBER"),
        (["scenarios", "nowhere", "--given", "A=1", "A=2"], 2, "A is given twice; keep one"),
        (["scenarios", "nowhere"], 1, "no study's folder"),
        (["report", "nowhere"], 1, "nowhere is no run's folder"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, code, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found, lines = run(*arguments, capsys=capsys)
    assert found == code
    assert len(lines) == 1
    assert words in lines[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: f.iloc[:, 0].__setitem__(3, np.nan), "missing"),
        (lambda f: f.__setitem__("STOCK_001", 0.0), "STOCK_001"),
        (lambda f: f.__imul__(np.inf), "infinite"),
    ],
)
def test_bad_data_end_in_one_line(spoil, words, tmp_path, capsys):
    frame = PANEL.to_frame().copy()
    if words == "missing":
        frame.iloc[3, 0] = np.nan
    elif words == "STOCK_001":
        frame["STOCK_001"] = 0.0
    else:
        frame.iloc[5, 2] = np.inf
    frame.to_csv(tmp_path / "bad.csv", index_label="date")
    out = tmp_path / "runs" / "study"
    code, lines = run("study", "--data", tmp_path / "bad.csv", "--out", out, *SMALL, capsys=capsys)
    assert (code, len(lines)) == (1, 1)
    assert words in lines[0]
    assert not (tmp_path / "runs").exists()


def test_an_existing_folder_is_refused(study, capsys):
    code, lines = run("study", "--out", study, capsys=capsys)
    assert (code, len(lines)) == (1, 1)
    assert "exists" in lines[0]


def test_debug_shows_the_traceback():
    with pytest.raises(Exception, match="seeds: 0"):
        main(["study", "--seeds", "0", "--debug"])


def test_progress_is_plain_lines_where_there_is_no_terminal(csv, tmp_path, capsys):
    loud = [word for word in SMALL if word != "--quiet"]
    code, lines = run("study", "--data", csv, "--out", tmp_path / "s", *loud, capsys=capsys)
    assert code == 0
    stages = (
        "Fitting classical",
        "Training the ensemble, ",
        "2 of 2 members",
        "Refitting",
        "Aligning",
        "Drawing",
    )
    assert all(any(stage in line for line in lines) for stage in stages)


# Runs that are stopped; in processes of their own in test_interrupts.py


class Tile(NamedTuple):
    values: np.ndarray


def interrupted(keep):
    """A study that is interrupted as it begins, or once a tile is kept."""

    def compute(panel, config, on_progress, stage):
        if keep:
            stage("train", Tile).put(0, Tile(np.ones(2)))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * SECONDS_BETWEEN_LOOKS)
        on_progress("train", None)

    return compute


@pytest.fixture
def stopped(csv, tmp_path, monkeypatch, capsys):
    """The folder of a run that was stopped after a tile, and the words that began it."""
    words = ["study", "--data", str(csv), "--out", str(tmp_path / "runs" / "a run"), *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr("jaxvae.study.run._run", interrupted(keep=True))
        patch.setattr(sys, "argv", ["jaxvae", *words])
        assert main(words) == 130
    return tmp_path / "runs" / "a run", words


def test_an_interrupt_before_anything_was_kept_leaves_nothing(csv, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jaxvae.study.run._run", interrupted(keep=False))
    out = tmp_path / "runs" / "study"
    code, lines = run("study", "--data", csv, "--out", out, *SMALL, capsys=capsys)
    assert (code, lines) == (130, ["jaxvae: interrupted; nothing was written"])
    assert not list(tmp_path.iterdir())


def test_an_interrupt_after_that_leaves_the_folder_and_says_how_to_go_on(stopped, capsys):
    folder, words = stopped
    assert (folder / "work" / "train" / "tile-00000.safetensors").exists()
    last = capsys.readouterr().err.splitlines()[-1]
    start = "jaxvae: interrupted; go on with: jaxvae "
    assert shlex.split(last.removeprefix(start)) == [*words, "--resume"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], "holds an unfinished run; go on with --resume"),
        (["--resume", "--seeds", "3"], "was begun with another seeds: 2, now 3"),
        (["--resume", "--betas", "2"], "was begun with another betas: [1.0], now [2.0]"),
        (["--resume", "--epochs", "21"], "was begun with another epochs: 20, now 21"),
        (["--resume", "--seed", "1"], "was begun with another root seed: 0, now 1"),
        (["--resume", "--model", "linear"], "was begun with another model: static, now linear"),
        (["--resume", "--tile-width", "5"], "was begun with another tile width: "),
        (["--resume", "--data", "linear"], "was begun with another returns: "),
    ],
)
def test_a_run_is_gone_on_with_as_it_was_begun(changes, words, stopped, capsys):
    folder, begun = stopped
    before = contents(folder)
    capsys.readouterr()
    code, lines = run(*begun, *changes, capsys=capsys)
    assert (code, len(lines)) == (1, 1)
    assert words in lines[0]
    assert contents(folder) == before


def test_a_run_of_other_versions_or_devices_is_refused(stopped, monkeypatch, capsys):
    folder, begun = stopped
    monkeypatch.setattr("jaxvae.runs.identity.version", lambda package: "9.9")
    code, lines = run(*begun, "--resume", capsys=capsys)
    assert code == 1
    assert f"another versions jaxvae: {version('jaxvae')}, now 9.9" in lines[-1]
    path = folder / "run.json"
    record = read_sealed(path)
    record["identity"]["device"]["kind"] = "H100"
    monkeypatch.undo()
    path.write_bytes(seal(record))
    code, lines = run(*begun, "--resume", capsys=capsys)
    assert "another device kind: H100, now cpu" in lines[-1]


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("nowhere", "nowhere is no folder; leave --resume out to begin it"),
        (".", ". is no run in work: it has no run.json"),
    ],
)
def test_where_there_is_no_run_none_is_gone_on_with(out, words, csv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    code, lines = run("study", "--data", csv, "--out", out, "--resume", *SMALL, capsys=capsys)
    assert (code, len(lines)) == (1, 1)
    assert words in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_finished_study_needs_no_more(study, csv, capsys):
    before = contents(study)
    words = ["study", "--data", csv, "--out", study, *SMALL, "--resume"]
    assert run(*words, capsys=capsys) == (0, [f"jaxvae: {study} is finished already"])
    assert contents(study) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--epochs", "77"], "was begun with another epochs: 20, now 77"),
        (["--seeds", "5"], "was begun with another seeds: 2, now 5"),
        (["--betas", "1", "2"], "was begun with another betas: [1.0], now [1.0, 2.0]"),
        (["--free-bits", "1"], "was begun with another free bits: None, now 1.0"),
        (["--tile-width", "5"], "was begun with another tile width: 4, now 5"),
        (["--data", "linear"], "was begun with another returns: "),
    ],
)
def test_a_finished_study_of_other_settings_or_data_is_another(study, csv, changes, words, capsys):
    before = contents(study)
    begun = ["study", "--data", csv, "--out", study, *SMALL, *changes, "--resume"]
    code, (line,) = run(*begun, capsys=capsys)
    assert code == 1
    assert words in line
    assert contents(study) == before


def test_a_study_is_no_walk(study, csv, capsys):
    words = ["walk", "--data", csv, "--window", "60", "--out", study, "--resume"]
    code, (line,) = run(*words, capsys=capsys)
    assert (code, line) == (1, f"jaxvae: {study} is a study's folder, no walk's")


def test_a_damaged_study_is_not_finished(study, csv, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(study, copy)
    (copy / "members.csv").write_text("")
    words = ["study", "--data", csv, "--out", copy, *SMALL, "--resume"]
    code, (line,) = run(*words, capsys=capsys)
    assert code == 1
    assert "members.csv is damaged" in line


# What a user calls by the names that a run has for its own.
MINE = {
    "work/notes.txt": b"x",
    "figures/mine.png": b"y",
    "report.md": b"z",
    "members.csv": b"a\n1\n",
    "run.json": b"{}",
}


@pytest.mark.parametrize(
    "words",
    [["--resume"], [], ["--processes", "2", "--process", "0"]],
    ids=["resumed", "begun", "shared"],
)
@pytest.mark.parametrize("command", ["study", "walk", "gather"])
def test_a_users_folder_is_left_as_it_is(command, words, csv, tmp_path, capsys):
    if (command, len(words)) == ("walk", 4) or (command == "gather" and words):
        pytest.skip("there is no such option")
    folder = tmp_path / "proj"
    folder.mkdir()
    write_files(folder, MINE)
    begun = ["--data", csv, *(SMALL if command == "study" else ["--window", "60"])]
    asked = ["gather", folder] if command == "gather" else [command, *begun, "--out", folder]
    code, lines = run(*asked, *words, capsys=capsys)
    assert (code, len(lines)) == (1, 1)
    assert contents(folder) == MINE


def test_tables_do_not_replace_what_is_there(study, csv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("mine")
    (tmp_path / "link.csv").symlink_to(tmp_path / "elsewhere.csv")
    data = shutil.copy(csv, tmp_path / "data.csv")
    for out, words in {
        "mine.csv": "exists; name a new file",
        "link.csv": "exists; name a new file",
        data: "exists; name a new file",
        study / "members.csv": "exists; name a new file",
        ".": "exists; name a new file",
        "..": "is no name for a new file",
        "no/where.csv": "no is no folder",
    }.items():
        for command in (["scenarios", study, "--number", "2"], ["encode", study, "--data", data]):
            code, (line,) = run(*command, "--out", out, capsys=capsys)
            assert code == 1
            assert words in line
    forecast = ["forecast", study, "--data", data, "--out", "new.csv", "--covariance"]
    for same in ("new.csv", "../" + tmp_path.name + "/new.csv"):
        code, (line,) = run(*forecast, same, capsys=capsys)
        assert code == 2
        assert "--covariance" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "link.csv", "mine.csv"]
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_a_table_does_not_replace_what_came_meanwhile(study, tmp_path, monkeypatch, capsys):
    real, out = pd.DataFrame.to_csv, tmp_path / "new.csv"

    def slowly(table, *arguments, **options):
        real(table, *arguments, **options)
        out.write_text("mine")

    monkeypatch.setattr(pd.DataFrame, "to_csv", slowly)
    code, (line,) = run("scenarios", study, "--number", "2", "--out", out, capsys=capsys)
    assert code == 1
    assert "new.csv exists" in line
    assert [path.name for path in tmp_path.iterdir()] == ["new.csv"]
    assert out.read_text() == "mine"


@pytest.mark.parametrize("name", ["report.html", "figures", "figures/loadings.png"])
def test_a_report_is_not_drawn_through_a_link(name, study, tmp_path, capsys):
    copy, victim = tmp_path / "copy", tmp_path / "victim"
    shutil.copytree(study, copy)
    (copy / name).rename(victim)
    (copy / name).symlink_to(victim)
    before = contents(tmp_path)
    code, (line,) = run("report", copy, capsys=capsys)
    assert code == 1
    assert f"{name} is a symbolic link where a plain f" in line
    assert contents(tmp_path) == before


def test_a_report_of_a_copy_is_drawn_in_the_copy(study, tmp_path, capsys):
    copy, link = tmp_path / "copy", tmp_path / "latest"
    shutil.copytree(study, copy)
    link.symlink_to(copy)
    (copy / "report.html").write_text("damaged")
    shutil.rmtree(copy / "figures")
    code, (line,) = run("encode", copy, "--data", tmp_path, capsys=capsys)
    assert code == 1
    assert f"draw it again with: jaxvae report {copy}" in line
    assert run("report", link, capsys=capsys) == (0, [])
    assert contents(copy) == contents(study)


def test_what_a_study_was_not_told_of_is_refused_later(study, csv, capsys):
    for command in ("encode", "impute", "forecast"):
        words = [command, study, "--data", csv, "--covariates", "calendar"]
        assert run(*words, capsys=capsys) == (
            2,
            ["jaxvae: --covariates: the study was given none; leave them out"],
        )


def test_more_scenarios_than_memory_are_refused(study, capsys):
    code, (line,) = run("scenarios", study, "--number", 10**9, capsys=capsys)
    assert code == 2
    assert "--number: 1,000,000,000 draws take " in line
    words = ["--number", 10**9, "--given", f"{PANEL.assets[0]}=0.01"]
    assert run("scenarios", study, *words, capsys=capsys)[0] == 2


def test_what_a_kill_at_the_end_left_of_a_run_is_tidied_up(study, csv, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(study, copy)
    identity = read_sealed(study / "config.json")["identity"]
    (copy / "run.json").write_bytes(seal({"identity": identity, "options": {}}))
    write_files(copy, {"work/train/tile-00000.safetensors": b"x", "work/lock": b"1"})
    words = ["study", "--data", csv, "--out", copy, *SMALL, "--resume"]
    assert run(*words, capsys=capsys)[0] == 0
    assert contents(copy) == contents(study)
    assert not (copy / "work").exists()


def test_a_full_disk_is_one_line(csv, tmp_path, capsys):
    out = tmp_path / "runs" / "study"
    with full_disk(8000):
        code, lines = run("study", "--data", csv, "--out", out, *SMALL, capsys=capsys)
    assert (code, len(lines)) == (1, 1)
    path = out / "work" / "train" / "tile-00000.safetensors"
    assert lines[0] == f"jaxvae: {path} cannot be written: File too large"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["/proc/study", "/dev/null/study"])
def test_a_place_that_takes_nothing_is_one_line(out, csv, capsys):
    code, lines = run("study", "--data", csv, "--out", out, *SMALL, capsys=capsys)
    assert (code, len(lines)) == (1, 1)
    assert f"{out} cannot be written" in lines[0]


def test_help_is_quick_and_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, jaxvae.cli.main\n"
        "try: jaxvae.cli.main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'pandas'} & set(sys.modules)"
    )
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert time.monotonic() - begun < 5.0


def test_version():
    shown = subprocess.run(
        [sys.executable, "-m", "jaxvae", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("jaxvae 0.")
    assert os.linesep in shown.stdout
