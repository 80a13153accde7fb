"""What a user of Python meets: settings by keyword, progress, what is shown, figures, one page."""

import io
import json
import pickle
import sys
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pandas as pd
import pytest
from example_study import ODD_TICKERS, make_study
from launch import contents
from matplotlib.figure import Figure

from jaxvae.cli.main import main
from jaxvae.cli.study import gather
from jaxvae.data import as_panel, read_panel
from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import DataError, FolderError, OptionError
from jaxvae.fitting.config import StudyConfig
from jaxvae.runs import progress
from jaxvae.study.compare import compare
from jaxvae.study.plan import plan_study
from jaxvae.study.run import run_study
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import Progress
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.run import walk_forward

PANEL, _ = linear_panel(3, n_dates=160, n_assets=12, n_factors=2, n_sectors=3)
RETURNS = PANEL.to_frame()
GAPPED = RETURNS.mask(np.random.default_rng(0).uniform(size=RETURNS.shape) < 0.05)
SECTORS = dict(zip(RETURNS.columns, 4 * ("Banks", "Energy", "Utilities"), strict=True))
WHERE = Progress(done=0, in_work=2, members=2, epoch=1, epochs=4)


@pytest.fixture
def asked(monkeypatch, study):
    """What `run_study` is about to run: panel, configuration, the report of progress."""
    asked = []
    monkeypatch.setattr("jaxvae.study.run._run", lambda *parts: asked.append(parts) or study)
    return asked


@pytest.fixture(scope="module")
def study():
    return make_study(n_assets=12, n_dates=200, n_factors=3, n_seeds=3, tickers=ODD_TICKERS[:2])


def test_settings_and_what_is_known_are_given_by_keyword(asked):
    known = RETURNS.iloc[:, :2]
    told = {"sectors": SECTORS, "covariates": known}
    run_study(GAPPED, model="conditional", seeds=2, missing="keep", **told)
    ((panel, config, *_),) = asked
    assert config == StudyConfig(model="conditional", seeds=2)
    assert np.isnan(panel.values).any()
    assert panel.sectors == tuple(SECTORS.values())
    assert panel.covariates.shape == (160, 2)


@pytest.mark.parametrize("settings", [{"model": "linear"}, {"preset": "notebook"}])
def test_covariates_that_no_model_would_see_are_refused(asked, settings):
    with pytest.raises(OptionError, match=r"^covariates: they go with model='auto' or"):
        run_study(RETURNS, covariates=RETURNS.iloc[:, :2], **settings)
    assert not asked


def test_prices_become_returns(asked):
    run_study(100 * (1 + RETURNS).cumprod(), kind="prices")
    np.testing.assert_allclose(asked[0][0].values, RETURNS.to_numpy()[1:], atol=1e-12)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_is_given_by_its_path(kind, asked, tmp_path):
    csv = tmp_path / "mine.2020.csv"
    GAPPED.to_csv(csv, index_label="date")
    run_study(kind(csv), seeds=3, missing="keep", sectors=SECTORS)
    ((panel, config, *_),) = asked
    assert panel == replace(read_panel(GAPPED, missing="keep", sectors=SECTORS), name="mine")
    assert config.seeds == 3
    # Of new dates, too.
    np.testing.assert_array_equal(as_panel(kind(csv)).values, GAPPED)


@pytest.mark.parametrize("function", [run_study, walk_forward, plan_study, as_panel])
def test_a_path_that_does_not_exist_is_named(function, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv does not exist: check the path$"):
        function(tmp_path / "none.csv")
    with pytest.raises(DataError, match="is a directory: name a CSV, Excel or Parquet file"):
        function(str(tmp_path))


def test_a_walk_reads_a_file(monkeypatch, tmp_path):
    walked = []

    def stop(panel, config):
        walked.append(panel)
        raise KeyboardInterrupt

    RETURNS.to_csv(tmp_path / "mine.csv", index_label="date")
    monkeypatch.setattr("jaxvae.walk.run.prepare_walk", stop)
    with pytest.raises(KeyboardInterrupt):
        walk_forward(tmp_path / "mine.csv")
    np.testing.assert_array_equal(walked[0].values, RETURNS)


def test_a_panel_is_told_what_is_known_and_read_no_second_time(asked):
    run_study(PANEL, StudyConfig(seeds=3), sectors=SECTORS)
    assert asked[0][0].sectors == tuple(SECTORS.values())
    assert asked[0][1].seeds == 3
    for name, value in (("missing", "keep"), ("kind", "prices")):
        with pytest.raises(OptionError, match=f"^{name}: '{value}' says how a table is read"):
            run_study(PANEL, **{name: value})


@pytest.mark.parametrize("function", [run_study, walk_forward])
def test_settings_that_there_are_not_are_named(function):
    with pytest.raises(TypeError, match=r"'seed' is no setting of .*Config; did you mean seeds\?"):
        function(RETURNS, seed=2)
    with pytest.raises(TypeError, match=r"'colour' is no setting of .*, which has"):
        function(RETURNS, colour=2)
    whole = StudyConfig() if function is run_study else WalkConfig()
    with pytest.raises(TypeError, match="and seeds beside it"):
        function(RETURNS, whole, seeds=2)
    with pytest.raises(OptionError, match=r"^seeds: 0 is too small"):
        function(RETURNS, seeds=0)


@pytest.fixture
def without_checks_of_types(monkeypatch):
    """As users have the package, whose own checks are all there are."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_settings_of_another_type_are_refused_in_words(without_checks_of_types):
    for function in (run_study, plan_study, walk_forward):
        with pytest.raises(OptionError, match=r"^seeds: 'many' is not a whole number$"):
            function(RETURNS, seeds="many")
    with pytest.raises(OptionError, match=r"^n_factors: 'many' is not a whole number or auto$"):
        run_study(RETURNS, n_factors="many")
    with pytest.raises(OptionError, match=r"^preset: 'notebok' is not notebook; did you mean"):
        run_study(RETURNS, preset="notebok")
    with pytest.raises(OptionError, match=r"^optimiser: 3 is not of the right type$"):
        TrainConfig(optimiser=3)
    with pytest.raises(OptionError, match=r"^reduction: 'median' is not one of mean, sum"):
        TrainConfig(reduction="median")


def test_an_error_speaks_of_arguments():
    with pytest.raises(ValueError, match="missing='drop-dates'") as caught:
        run_study(GAPPED)
    assert "--" not in str(caught.value)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def reported_to(stream, monkeypatch, **how):
    """What is written while something is in work."""
    monkeypatch.setattr(sys, "stderr", stream)
    with progress.progress_for_call(how.pop("shown", True), **how) as report:
        report("train", WHERE)
    return stream.getvalue()


def test_a_terminal_is_shown_bars_and_a_file_nothing(monkeypatch):
    assert "Training the ensemble" in reported_to(Terminal(), monkeypatch)
    assert reported_to(Terminal(), monkeypatch, shown=False) == ""
    assert reported_to(io.StringIO(), monkeypatch) == ""
    told = []
    note = lambda *where: told.append(where)  # noqa: E731
    assert reported_to(Terminal(), monkeypatch, on_progress=note) == ""
    assert told == [("train", WHERE)]


def test_a_notebook_is_shown_bars_where_it_has_widgets_and_else_lines(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    assert "epoch 1 of 4" in reported_to(io.StringIO(), monkeypatch)
    monkeypatch.setattr(progress, "find_spec", lambda name: name)
    assert "epoch 1, " in reported_to(io.StringIO(), monkeypatch)


def test_things_are_shown_in_ten_lines(study):
    config = StudyConfig(model="linear", train=TrainConfig(epochs=7), betas=(1.0, 2.0))
    for thing in (study, PANEL, config, WalkConfig(step=5), TrainConfig()):
        text = repr(thing)
        assert len(text.splitlines()) <= 10
        assert len(text) < 1000


def test_a_notebook_is_shown_the_answers_of_a_study(study):
    odd = replace(study, config={**study.config, "name": "<script>"})
    page = odd._repr_html_()
    assert page.startswith("<pre>Study of &#x27;&lt;script&gt;")
    assert "Are they real?" in page
    assert "<script>" not in page
    assert len(page) < 5000


def test_a_configuration_is_shown_as_the_call_that_makes_it():
    config = StudyConfig(model="linear", seeds=3, train=TrainConfig(epochs=7))
    assert repr(config) == "StudyConfig(seeds=3, model='linear', train=TrainConfig(epochs=7))"
    assert eval(repr(config)) == config
    assert repr(WalkConfig()) == "WalkConfig()"


def test_figures_are_drawn_one_by_one(study):
    assert {"factors", "loadings", "scores"} <= {*study.plot()}
    assert [*dir(study.plot)] == sorted(study.plot())
    for name in study.plot():
        plot = getattr(study.plot, name)
        assert isinstance(plot(), Figure)
        assert plot.__name__ == name
        assert plot.__doc__.endswith(".")
    # A notebook shows it, without pyplot too.
    assert study.plot.loadings()._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(AttributeError, match="no figure 'scree'; it has"):
        study.plot.scree()
    with pytest.raises(AttributeError, match="did you mean loadings"):
        study.plot.loading()


@pytest.mark.slow
def test_the_report_is_one_page_that_needs_nothing_else(study, tmp_path):
    path = tmp_path / "page.html"
    study.report(path)
    page = path.read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "data:image/png;base64," in page
    assert 'src="figures' not in page
    assert [*tmp_path.iterdir()] == [path]
    with pytest.raises(FolderError, match="exists"):
        study.report(path)
    with pytest.raises(FolderError, match="is no folder"):
        study.report(tmp_path / "none" / "page.html")


def test_tables_have_units(study):
    tables = {
        one.name: table
        for one in fields(study)
        if isinstance(table := getattr(study, one.name), pd.DataFrame)
    }
    assert {"metrics", "members", "assets", "exposures", "stability"} <= {*tables}
    assert all(table.attrs["units"] for table in tables.values())
    assert all(name in repr(study) for name in tables)
    assert study.covariance.attrs["units"] == "returns squared"
    assert "standard deviation" in study.loadings.attrs["units"]
    assert "standard deviation" in study.factors.attrs["units"]


def test_tables_as_a_dataset(study):
    xarray = pytest.importorskip("xarray")
    found = study.to_xarray()
    assert {"member", "date", "asset", "factor"} <= {*found.sizes}
    assert found.loadings.attrs["units"] == study.loadings.attrs["units"]
    name, asset = study.factors.columns[1], study.loadings.index[3]
    assert float(found.loadings.sel(asset=asset, factor=name)) == study.loadings.loc[asset, name]
    day = study.factors.index[5]
    assert float(found.factors.sel(date=day, factor=name)) == study.factors.loc[day, name]
    best = found.where(found.beta == 1.0, drop=True)
    assert best.sizes["member"] == (study.members.beta == 1.0).sum()
    expected = study.covariance.loc[asset, asset]
    assert float(found.covariance.sel(asset=asset, other_asset=asset)) == expected
    assert found.kl.attrs["units"] == found.log_likelihood_test.attrs["units"] == "nats per date"
    assert "units" not in found.active_units.attrs
    assert isinstance(found, xarray.Dataset)


def test_without_xarray_the_extra_is_named(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"jaxvae\[xarray\]"):
        study.to_xarray()


@pytest.mark.slow
def test_five_lines_from_a_frame_to_a_decision(tmp_path):
    study = run_study(
        GAPPED, model="linear", n_factors=2, seeds=2, betas=(1.0,), epochs=30, missing="keep",
        sectors=SECTORS,
    )  # fmt: skip
    asset = RETURNS.columns[0]
    drawn = study.scenarios(200, given={asset: -0.1})
    np.testing.assert_allclose(drawn[asset], -0.1, atol=1e-6)
    assert drawn.shape == (200, 12)
    assert drawn.attrs["units"] == "returns"
    recent = GAPPED.iloc[-80:]
    recent.to_csv(tmp_path / "new.csv", index_label="date")
    pd.testing.assert_frame_equal(study.encode(tmp_path / "new.csv"), study.encode(recent))
    assert study.encode(recent).attrs["units"] == study.factors.attrs["units"]
    filled = study.impute(recent)
    assert not filled.isna().any(axis=None)
    forecast = study.forecast(recent)
    assert len(forecast) == 81
    assert filled.attrs["units"] == forecast.attrs["units"] == "returns"
    assert study.forecast_covariance(recent).attrs["units"] == "returns squared"
    again = pickle.loads(pickle.dumps(study))
    pd.testing.assert_frame_equal(again.encode(recent), study.encode(recent))
    assert isinstance(study.plot.loadings(), Figure)
    study.save(tmp_path / "mine")
    study.report(tmp_path / "page.html")
    table = compare([tmp_path / "mine", study])
    assert table.study.tolist() == [str(tmp_path / "mine"), 1]
    assert table.attrs["units"].startswith("nats per date")
    walk = walk_forward(
        RETURNS, window=60, step=30, seeds=1, betas=(1.0,), n_factors=2, epochs=10,
        baseline_factors=2,
    )  # fmt: skip
    assert len(repr(walk).splitlines()) <= 10
    walk.report(tmp_path / "walk.html")
    walk.save(tmp_path / "walk")


# A study and a walk, and the stages that they are stopped in.
STOPPED = {
    run_study: ({"model": "linear", "n_factors": 2}, ("train", "refit", "score")),
    walk_forward: ({"window": 60, "step": 30, "n_factors": 2}, ("train", "train", "report")),
}
SHORT = {"seeds": 3, "betas": (1.0, 2.0), "epochs": 40, "tile_width": 1}


def stop_in(stage):
    """Ctrl-C at the third report of a stage that trains, or as another begins."""
    left = 3 if stage in ("train", "refit") else 1

    def on_progress(name, where):
        nonlocal left
        left -= name == stage
        if not left:
            raise KeyboardInterrupt

    return on_progress


@pytest.fixture(scope="module", params=STOPPED, ids=lambda function: function.__name__)
def resumed(request, tmp_path_factory):
    """The function, its settings, and the folder of one that was stopped again and again."""
    function, out = request.param, tmp_path_factory.mktemp("runs") / "new" / "mine"
    settings, stages = STOPPED[function]
    for number, stage in enumerate(stages):
        with pytest.raises(KeyboardInterrupt):
            function(
                RETURNS, **settings, **SHORT, out=out, resume=number > 0, on_progress=stop_in(stage)
            )
    assert any((out / "work").rglob("*.safetensors"))
    return function, settings | SHORT, out


@pytest.mark.slow
def test_what_was_interrupted_is_gone_on_with_to_the_same_bits(resumed, tmp_path):
    function, settings, out = resumed
    before = contents(out)
    with pytest.raises(FolderError, match="holds an unfinished run; go on with resume=True"):
        function(RETURNS, **settings, out=out)
    with pytest.raises(FolderError, match="was begun with another epochs: 40, now 41"):
        function(RETURNS, **settings | {"epochs": 41}, out=out, resume=True)
    with pytest.raises(FolderError, match="was begun with another returns: "):
        function(2 * RETURNS, **settings, out=out, resume=True)
    with pytest.raises(FolderError, match="was begun in Python, by one process; go on with"):
        gather(out)
    assert contents(out) == before
    result = function(RETURNS, **settings, out=str(out), resume=True)
    function(RETURNS, **settings).save(tmp_path / "unbroken")
    assert contents(out) == contents(tmp_path / "unbroken")
    told = []
    again = function(
        RETURNS, **settings, out=out, resume=True, on_progress=lambda *where: told.append(where)
    )
    assert not told
    pd.testing.assert_frame_equal(again.loadings, result.loadings, check_index_type=False)
    with pytest.raises(FolderError, match="exists; name a new folder"):
        function(RETURNS, **settings, out=out)


@pytest.mark.slow
def test_a_folder_is_what_the_command_leaves(tmp_path):
    """But for where the returns came from."""
    csv, small = tmp_path / "returns.csv", {"model": "linear", "n_factors": 2, "seeds": 2}
    RETURNS.to_csv(csv, index_label="date")
    run_study(read_panel(csv), **small, betas=(1.0,), epochs=20, out=tmp_path / "mine")
    words = [
        "--model",
        "linear",
        "--factors",
        "2",
        "--seeds",
        "2",
        "--betas",
        "1",
        "--epochs",
        "20",
    ]
    assert main(["study", "--data", str(csv), *words, "--out", str(tmp_path / "its")]) == 0
    mine, its = contents(tmp_path / "mine"), contents(tmp_path / "its")
    source = json.loads(its["config.json"])["source"]
    assert source["data"] == "returns.csv"
    assert {name for name in its if mine.get(name) != its[name]} == {"config.json"}
    assert len(mine) == len(its)
