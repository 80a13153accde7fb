"""What a study would train, and for how long, without training it."""

import numpy as np
import pandas as pd
import pytest

from jaxvae.cli.main import main
from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import DataError, OptionError
from jaxvae.fitting.config import StudyConfig
from jaxvae.study import plan
from jaxvae.study.plan import plan_study

PANEL, _ = linear_panel(3, n_dates=120, n_assets=8, n_factors=2, n_sectors=2)
SETTINGS = {"model": "linear", "n_factors": 2, "seeds": 2, "betas": (1.0, 2.0), "epochs": 30}


def test_where_all_is_given_a_plan_counts_what_the_study_trains():
    found = plan_study(PANEL, **SETTINGS)
    (row,) = found.models.itertuples()
    assert (row.model, row.factors, row.epochs) == ("linear", [2], 30)
    # Two seeds at two betas; the seeds refitted; the seeds with one factor, between none and all.
    assert (row.candidates, row.members, row.refits, row.counting) == (0, 4, 2, 2)
    assert [*found.parts.dates] == [67, 17, 36]
    assert found.parts["last"].iloc[-1] == PANEL.dates[-1]
    assert found.seconds[0] == found.seconds[1] > 0.0
    assert "linear: 120 dates × 8 assets" in repr(found)


@pytest.fixture
def timed(monkeypatch):
    """Every family compiles in two seconds and trains a member in three."""
    monkeypatch.setattr(plan, "_seconds", lambda family, config: (2.0, 3.0))


@pytest.mark.usefixtures("timed")
def test_where_the_model_is_open_a_plan_has_a_row_for_each():
    found = plan_study(PANEL, StudyConfig(epochs=30, n_factors=2))
    models = found.models.set_index("model")
    assert {"linear", "student", "volatility", "static", "additive"} <= {*models.index}
    assert models.factors["linear"] == [2]
    # Candidates are trained twice where something stops them; `linear` trains to the end.
    assert (models.candidates["linear"], models.candidates["student"]) == (2, 4)
    assert models.seconds_to_choose["student"] == 2 * 2.0 + 4 * 3.0
    assert models.seconds["linear"] == 2 * 2.0 + (40 + 8 + 4) * 3.0
    low, high = found.seconds
    assert low == pytest.approx(4 / 3 * (models.seconds_to_choose.sum() + models.seconds.min()))
    assert low < high


@pytest.mark.usefixtures("timed")
def test_a_panel_that_cannot_carry_the_study_is_refused():
    with pytest.raises(OptionError, match="n_factors: 8 is too large for 8 assets"):
        plan_study(PANEL, model="linear", n_factors=8)
    frame = PANEL.to_frame()
    frame.iloc[5, 2] = np.nan
    with pytest.raises(DataError, match="missing='drop-dates'"):
        plan_study(frame)


@pytest.mark.usefixtures("timed")
def test_covariates_of_a_model_that_takes_none_are_refused(returns_csv, capsys):
    covariates = pd.DataFrame({"level": np.arange(PANEL.n_dates)}, index=PANEL.dates)
    with pytest.raises(OptionError, match="covariates: they go with model="):
        plan_study(PANEL, model="linear", covariates=covariates)
    words = ["--model", "linear", "--covariates", "calendar"]
    assert main(["study", "--data", str(returns_csv), "--dry-run", *words]) == 2
    assert "--covariates: they go with --model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0.4 seconds"), (89.0, "89 seconds"), (91.0, "1.5 minutes"), (9000.0, "2.5 hours")],
)
def test_a_duration_has_two_figures(seconds, said):
    assert plan._duration(seconds) == said


@pytest.mark.usefixtures("timed")
def test_a_dry_run_writes_nothing(returns_csv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["--model", "linear", "--factors", "2", "--seeds", "2"]
    assert main(["study", "--data", str(returns_csv), "--dry-run", *words]) == 0
    said = capsys.readouterr()
    assert "test: 36 dates" in said.out
    assert not [*tmp_path.iterdir()]
    assert main(["study", "--data", str(returns_csv), "--dry-run", "--factors", "9"]) == 2
    assert "--factors: 9 is too large" in capsys.readouterr().err


@pytest.mark.usefixtures("timed")
def test_a_dry_run_refuses_the_folder_that_a_run_would(returns_csv, tmp_path, capsys):
    """As the run itself does, before anything is timed; what is there stays."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("kept")
    command = ["study", "--data", str(returns_csv), "--dry-run", "--model", "linear"]
    for words, code, said in (
        (["--out", str(tmp_path / "mine")], 1, "mine exists;"),
        (["--out", str(tmp_path / "none"), "--resume"], 1, "none is no folder"),
        (["--resume"], 2, "--out: name the folder"),
        (["--processes", "2"], 2, "--processes: it goes with --process"),
    ):
        assert main([*command, *words]) == code
        assert said in capsys.readouterr().err
    assert (tmp_path / "mine" / "notes.txt").read_text() == "kept"
    assert main([*command, "--factors", "2", "--out", str(tmp_path / "new")]) == 0
    assert not (tmp_path / "new").exists()
