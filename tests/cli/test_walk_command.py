"""The command `walk`: what it writes, what comes back, what it refuses in one line."""

import base64
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from launch import contents

from jaxvae.cli.main import main
from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import DataError, FolderError
from jaxvae.report.draw import message_of
from jaxvae.report.text import NONE
from jaxvae.report.walk_report import strategy_name, walk_figure, walk_opening, walk_report
from jaxvae.runs.documents import SCHEMA, seal
from jaxvae.runs.interrupts import Interrupts
from jaxvae.study.study import load_study
from jaxvae.training import ensemble
from jaxvae.walk.run import walk_forward
from jaxvae.walk.walk import load_walk

# The settings of `walking`, so that nothing is compiled anew.
SMALL = [
    *("--window", "60", "--step", "12", "--seeds", "2", "--betas", "1", "--factors", "2"),
    *("--epochs", "100", "--quiet"),
]
PANEL, _ = linear_panel(3, n_dates=120, n_assets=8, n_factors=2, n_sectors=2)


@pytest.fixture(scope="module")
def folder(returns_csv, tmp_path_factory):
    out = tmp_path_factory.mktemp("walks") / "walk"
    assert main(["walk", "--data", str(returns_csv), "--out", str(out), *SMALL]) == 0
    return out


def test_the_folder_holds_the_tables(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        "arrays.safetensors",
        "config.json",
        "factors.csv",
        "figures",
        "loadings.csv",
        "portfolio.csv",
        "report.html",
        "report.md",
        "scores.csv",
        "strategies.csv",
        "weights.csv",
        "windows.csv",
    ]
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert (config["window"], config["step"], config["n_windows"]) == (60, 12, 5)
    assert config["source"]["data"] == "returns.csv"
    assert config["identity"]["versions"]["jax"]
    assert len(pd.read_csv(folder / "windows.csv")) == 5


def test_what_was_written_comes_back(folder, tmp_path):
    walk = load_walk(folder)
    assert walk.covariances.shape == (5, 8, 8)
    assert walk.portfolio.index.dtype.kind == "M"
    assert walk.weights.loc["vae"].shape == (5, 8)
    walk.save(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)


def test_the_report_says_what_the_tables_say(folder):
    walk, page = load_walk(folder), (folder / "report.md").read_text("utf-8")
    for name in walk.strategies.index:
        words = strategy_name(walk, name)
        assert f"| {words} | {100 * walk.strategies.volatility[name]:.2f} |" in page
    assert "5 windows of 60 dates" in page
    assert "(figures/walk.png)" in page
    html = (folder / "report.html").read_bytes()
    assert base64.b64encode((folder / "figures" / "walk.png").read_bytes()) in html
    for answer in walk_opening(walk).answers:
        assert answer.verdict in page
        assert answer.verdict.encode() in html


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-2.0, -1.0, "Yes: calmer"), (1.0, 2.0, "No: less calm"), (-1.0, 1.0, "Not shown: level")],
)
def test_the_verdict_follows_the_interval(folder, low, high, words):
    walk = load_walk(folder)
    walk.strategies.loc["vae", ["low", "high"]] = low, high
    answer = walk_opening(walk).answers[0]
    assert answer.verdict.startswith(words)
    assert f"{100 * walk.strategies.volatility['vae']:.2f} %" in answer.text
    assert answer.verdict in message_of(walk_figure(walk))


@pytest.mark.parametrize(
    ("ours", "rotation", "words"),
    [
        (0.9, 0.8, "Yes"),
        (0.8, 0.8, "Not shown: no more than a rotation"),
        (0.9, np.nan, "Yes"),
        (0.1, np.nan, "Not shown: no more than chance"),
        (np.nan, np.nan, "Cannot tell"),
    ],
)
def test_factors_are_the_same_where_they_agree_beyond_a_rotation(folder, ours, rotation, words):
    walk = load_walk(folder)
    names = ("agreement", "agreement_rotation_95", "agreement_chance_95")
    columns = dict(zip(names, (ours, rotation, 0.1), strict=True))
    walk = replace(walk, windows=walk.windows.assign(**columns))
    answer = walk_opening(walk).answers[2]
    assert answer.verdict.startswith(words)
    assert NONE not in answer.text


def test_every_table_of_a_walk_is_linked_and_has_units(folder, tmp_path):
    walk, names = load_walk(folder), {path.name for path in folder.glob("*.csv")}
    page = (folder / "report.html").read_text("utf-8")
    assert {*re.findall(r'href="([^#"]+)"', page)} == names
    for name in names:
        assert getattr(walk, name.removesuffix(".csv")).attrs["units"] in page
    walk.report(tmp_path / "page.html")
    assert not re.search(r'href="[^#]', (tmp_path / "page.html").read_text("utf-8"))


def test_a_single_window_is_reported(folder):
    walk = load_walk(folder)
    files = walk_report(replace(walk, windows=walk.windows[:1]))
    assert set(files) == {"report.html", "report.md", "figures/walk.png"}
    page = files["report.md"].decode()
    assert "nan" not in page
    assert "No two can be compared." in page


@pytest.fixture
def interrupted(returns_csv, tmp_path, monkeypatch):
    """A walk stopped in the middle of its second tile."""
    out, left = tmp_path / "walk", iter(range(9))
    with monkeypatch.context() as patch:

        def check(self):
            if next(left, None) is None:
                raise KeyboardInterrupt

        patch.setattr(Interrupts, "check", check)
        words = ["walk", "--data", str(returns_csv), "--out", str(out), *SMALL]
        assert main([*words, "--tile-width", "2"]) == 130
    return out


@pytest.mark.slow
def test_an_interrupted_walk_goes_on_to_the_same_bits(
    interrupted, returns_csv, tmp_path, monkeypatch, capsys
):
    kept = {path.name for path in (interrupted / "work" / "windows-0").iterdir()}
    assert "tile-00000.safetensors" in kept
    assert any(name.startswith("tile-00001.epoch-") for name in kept)
    words = ["walk", "--data", str(returns_csv), *SMALL, "--tile-width", "2"]
    assert main([*words, "--out", str(interrupted)]) == 1
    assert "holds an unfinished run; go on with --resume" in capsys.readouterr().err
    assert main([*words, "--out", str(interrupted), "--seed", "1", "--resume"]) == 1
    assert "was begun with another root seed: 0, now 1" in capsys.readouterr().err
    trained, begin = [], ensemble._train_tile
    monkeypatch.setattr(
        ensemble,
        "_train_tile",
        lambda run, index, *more: trained.append(index) or begin(run, index, *more),
    )
    assert main([*words, "--out", str(interrupted), "--resume"]) == 0
    assert trained == [1, 2]
    assert main([*words, "--out", str(tmp_path / "unbroken")]) == 0
    assert contents(interrupted) == contents(tmp_path / "unbroken")
    assert main([*words, "--out", str(interrupted), "--resume"]) == 0
    assert "is finished already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--resume"], 2, "--out: name the folder of the run to go on with"),
        (["--window", "5"], 2, "--window: 5 is too small; at least 20"),
        (["--window", "ten"], 2, "--window: 'ten' is not a whole number"),
        (["--step", "0"], 2, "--step: 0"),
        (["--step", "250"], 2, "--step: 250 leaves"),
        (["--seeds", "0"], 2, "--seeds: 0"),
        (["--betas", "1", "1"], 2, "names one twice"),
        (["--model", "deep"], 2, "--model: 'deep'"),
        (["--factors", "100"], 2, "--factors: 100 is too large for 100 assets"),
        (["--window", "990"], 1, "too few for --window 990"),
        (["--kind", "prices"], 2, "--kind: it does not go with --data linear"),
        (["--data", "nowhere.csv"], 1, "nowhere.csv"),
        (["--out", "."], 1, "exists"),
        (["--missing", "keep"], 2, "--missing: 'keep' is not one of drop-dates, drop-assets, mean"),
        (["--sectors", "sectors.csv"], 2, "--sectors"),
        (["--bogus"], 2, "--bogus"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, code, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["walk", *arguments]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert words in lines[0]
    assert not list(tmp_path.iterdir())


def test_windows_with_holes_are_refused(tmp_path, capsys):
    frame = PANEL.to_frame()
    frame.iloc[70, 3] = np.nan
    with pytest.raises(DataError, match=r"column 'STOCK_003' has missing cells, the panel's first"):
        walk_forward(replace(PANEL, values=frame.to_numpy()))
    frame.to_csv(tmp_path / "holes.csv", index_label="date")
    words = ["--data", str(tmp_path / "holes.csv"), "--out", str(tmp_path / "walk")]
    assert main(["walk", *words, *SMALL]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "walk").exists()


def test_a_walk_is_no_study(folder, returns_csv, capsys):
    with pytest.raises(FolderError, match="is a walk's folder, no study's"):
        load_study(folder)
    words = ["study", "--data", str(returns_csv), "--factors", "2", "--out", str(folder)]
    assert main([*words, "--resume"]) == 1
    assert "is a walk's folder, no study's" in capsys.readouterr().err


def test_a_folder_that_holds_no_walk_is_refused(folder, tmp_path):
    with pytest.raises(FolderError, match=r"is no walk's folder: it has no config\.json"):
        load_walk(tmp_path)
    (tmp_path / "run.json").write_bytes(seal({}))
    with pytest.raises(FolderError, match=r"is not finished: go on with what began it"):
        load_walk(tmp_path)
    (tmp_path / "config.json").write_bytes(seal({"command": "study"}))
    with pytest.raises(FolderError, match="is a study's folder, no walk's"):
        load_walk(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"command": "walk", "schema": 1}))
    with pytest.raises(
        FolderError, match=f"has schema 1; this version reads {SCHEMA}: run it again"
    ):
        load_walk(tmp_path)
    assert np.isfinite(load_walk(folder).covariances).all()


def test_a_report_is_drawn_again(folder, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "report.md").write_text("damaged")
    (copy / "figures" / "walk.png").unlink()
    with pytest.raises(FolderError, match=r"draw it again with: jaxvae report"):
        load_walk(copy)
    assert main(["report", str(copy)]) == 0
    assert capsys.readouterr().out == f"{copy / 'report.html'}\n"
    assert contents(copy) == contents(folder)
