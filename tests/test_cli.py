"""The command line: what it writes, what it refuses, with which exit code and in one line."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from jaxvae.cli import main
from jaxvae.synthetic import linear_panel

SMALL = ["--seeds", "2", "--betas", "1", "--factors", "2", "--epochs", "20", "--quiet"]
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
    odd = ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", *PANEL.assets[2:]]
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
        (["study", "--seeds", "two"], 2, "--seeds: invalid int"),
        (["study", "--betas", "-1"], 2, "betas: [-1.0]"),
        (["study", "--betas", "1", "1"], 2, "names one twice"),
        (["study", "--factors", "100"], 2, "100 assets, too few for 100 factors"),
        (["study", "--preset", "best"], 2, "--preset: 'best'"),
        (["study", "--model", "deep"], 2, "--model: 'deep'"),
        (["study", "--epochs", "0"], 2, "epochs: 0"),
        (["study", "--kind", "odds"], 2, "--kind"),
        (["study", "--kind", "prices"], 2, "--kind does not go with --data linear"),
        (["study", "--start", "2020-01-01"], 2, "--start and --end go with --tickers"),
        (["study", "--tickers", "A", "--data", "linear"], 2, "--data does not go with --tickers"),
        (["study", "--tickers", "A", "B"], 2, "--start"),
        (["study", "--bogus"], 2, "--bogus"),
        (["stury"], 2, "stury"),
        ([], 2, "command"),
        (["study", "--data", "nowhere.csv"], 1, "nowhere.csv"),
        (["study", "--data", "."], 1, "directory"),
        (["study", "--data", ""], 1, "directory"),
        (["study", "--seed", "-1"], 2, "--seed: -1"),
        (["study", "--seed", "99999999999999999999"], 2, "--seed: 99999999999999999999"),
        (["scenarios", "nowhere", "--out", "no/where.csv"], 1, "no is no folder"),
        (["encode", "nowhere", "--data", "x.csv"], 1, "no study's folder"),
        (["scenarios", "nowhere"], 1, "no study's folder"),
        (["report", "nowhere"], 1, "no study's folder"),
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
    with pytest.raises(Exception, match="--seeds"):
        main(["study", "--seeds", "0", "--debug"])


def test_progress_is_plain_lines_where_there_is_no_terminal(csv, tmp_path, capsys):
    loud = [word for word in SMALL if word != "--quiet"]
    code, lines = run("study", "--data", csv, "--out", tmp_path / "s", *loud, capsys=capsys)
    assert code == 0
    assert lines[0].startswith("Training the ensemble, ")
    stages = ("2 of 2 members", "Refitting", "Aligning", "Drawing")
    assert all(any(stage in line for line in lines) for stage in stages)


def start(*arguments, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "jaxvae", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("signal_number", "awaited"),
    [(signal.SIGINT, "epoch"), (signal.SIGTERM, "epoch"), (signal.SIGINT, "Training")],
    ids=["int", "term", "int while compiling"],
)
def test_an_interrupt_leaves_nothing_and_exits_130(signal_number, awaited, tmp_path):
    process = start("study", "--epochs", "100000", folder=tmp_path)
    for line in process.stderr:
        if awaited in line:
            break
    time.sleep(0.5)
    process.send_signal(signal_number)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert not list(tmp_path.iterdir())


def test_help_is_quick_and_imports_nothing_heavy(tmp_path):
    code = (
        "import sys, jaxvae.cli\n"
        "try: jaxvae.cli.main(['--help'])\n"
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
