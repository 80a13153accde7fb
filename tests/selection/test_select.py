"""What a study is of where that is left open: chosen on validation, whatever the test dates say."""

import threading
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from jaxvae.data.covariates import with_covariates
from jaxvae.data.panel import Panel, split_dates
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.errors import DataError, OptionError
from jaxvae.fitting.config import StudyConfig, presets_of
from jaxvae.fitting.prepare import prepare
from jaxvae.fitting.presets import PRESETS
from jaxvae.runs.disk import OnDisk
from jaxvae.runs.processes import Share
from jaxvae.selection import candidates, select
from jaxvae.selection.candidates import CandidateScores, mixture_of_seeds
from jaxvae.selection.select import first_sizes, near_sizes
from jaxvae.study.describe import study_identity
from jaxvae.study.plan import plan_study
from jaxvae.study.run import run_study
from jaxvae.study.study import load_study
from jaxvae.training import threads
from jaxvae.training.ensemble import Ensemble, Progress
from jaxvae.training.threads import in_threads, run_at_once

CONFIG = StudyConfig(seeds=2, betas=(1.0,), epochs=200, learning_rate=3e-2, likelihood_samples=16)
DATES = pd.bdate_range("2020-01-01", periods=200)


def two_factors(seed=2, n_assets=10):
    """Two strong factors, and noise."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(200, 2)) @ rng.normal(size=(2, n_assets))
    values = 0.01 * (values + 0.7 * rng.normal(size=values.shape))
    return Panel(values, DATES, tuple(f"A{k}" for k in range(n_assets)))


PANEL = two_factors()
COLUMNS = [
    *("family", "factors", "seeds", "log_likelihood", "standard_error"),
    *("difference", "difference_error", "chosen"),
]


@pytest.fixture(scope="module", autouse=True)
def two_families():
    """Those whose programs are compiled soonest."""
    with pytest.MonkeyPatch.context() as patch:
        for name, preset in PRESETS.items():
            races = name in ("linear", "student")
            patch.setitem(PRESETS, name, preset._replace(races=races))
        yield patch


@pytest.fixture(scope="module")
def chosen():
    return select.select(PANEL, CONFIG)


@pytest.mark.slow
def test_a_linear_panel_is_linear_and_has_its_factors(chosen):
    assert (chosen.config.model, chosen.config.n_factors, chosen.n_found) == ("linear", 2, 2)
    assert chosen.asked == CONFIG
    assert replace(chosen.config, model="auto", n_factors="auto") == CONFIG


@pytest.mark.slow
def test_the_table_says_who_ran_and_who_won(chosen):
    table = chosen.candidates
    assert list(table.columns) == COLUMNS
    assert {*table.family} == {"linear", "student"}
    assert not table.duplicated(["family", "factors"]).any()
    (won,) = table[table.chosen].itertuples()
    assert (won.family, won.factors) == ("linear", 2)
    assert table.difference.max() == 0
    assert (table.difference >= -table.difference_error)[table.chosen].all()
    linear = table[table.family == "linear"].factors
    assert linear.iloc[0] == 0
    assert linear.is_monotonic_increasing


@pytest.mark.slow
def test_what_the_test_dates_say_changes_nothing(chosen):
    values = PANEL.values.copy()
    values[140:] = 0.3 * values[140:][::-1] + 0.01
    again = select.select(replace(PANEL, values=values), CONFIG)
    pd.testing.assert_frame_equal(again.candidates, chosen.candidates, check_exact=True)
    assert (again.config, again.notes) == (chosen.config, chosen.notes)


def test_dates_that_rank_a_candidate_neither_train_nor_stop_it(monkeypatch):
    """Four fifths of the training dates train it first, the last fifth stops it; then all of them
    train it and nothing stops it."""
    seen = []

    def look(root, data, members, **options):
        seen.append((data, members.hyperparameters))
        n = len(members.seed)
        return Ensemble(members, None, np.ones(n, bool), np.arange(n), np.arange(n), None)

    monkeypatch.setattr(candidates, "train_ensemble", look)
    monkeypatch.setattr(candidates, "fitted_members", lambda ensemble: ensemble)
    monkeypatch.setattr(candidates, "compiled_ahead", lambda *_, **__: nullcontext())
    scored = SimpleNamespace(value=np.zeros((4, 28)))
    monkeypatch.setattr(candidates, "estimate_members", lambda *_, **__: scored)
    config = replace(CONFIG, model="student", n_factors=4)
    family = candidates.CandidateModel("student", prepare(PANEL, config), 0)
    scores = candidates.train_candidate(family, [1, 3], lambda progress: None)
    assert scores.log_likelihood.shape == (2, 2, 28)
    values = family.prepared.values.astype(np.float32)
    (first, stopped), (whole, refitted) = seen
    for data in (first, whole):
        np.testing.assert_array_equal(data.training.values, values[:112])
        np.testing.assert_array_equal(data.validation.values, values[89:112])
    assert split_dates(200).validation == slice(112, 140)
    assert (int(first.n_batches), int(whole.n_batches)) == (2, 2)
    np.testing.assert_array_equal(stopped.row_weights, [[1.0] * 89 + [0.0] * 23] * 4)
    assert stopped.validation_weights.all()
    np.testing.assert_array_equal(stopped.factor_mask.sum(axis=1), [1, 1, 3, 3])
    assert refitted.row_weights.all()
    assert not refitted.validation_weights.any()
    np.testing.assert_array_equal(refitted.last_epoch, [1, 1, 2, 3])


@pytest.mark.slow
def test_one_of_the_two_may_be_given():
    linear = select.select(PANEL, replace(CONFIG, model="linear"))
    assert {*linear.candidates.family} == {"linear"}
    with_four = select.select(PANEL, replace(CONFIG, n_factors=4))
    assert with_four.candidates.factors.tolist() == [4, 4]
    assert (with_four.config.n_factors, with_four.n_found) == (4, None)


@pytest.mark.parametrize(
    ("config", "model", "n_factors"),
    [
        (StudyConfig(model="additive", n_factors=3), "additive", 3),
        (StudyConfig(preset="notebook"), "static", 5),
        (StudyConfig(preset="notebook", n_factors=2), "static", 2),
        (StudyConfig(model=PRESETS["additive"].model), PRESETS["additive"].model, 5),
    ],
)
def test_what_is_given_is_taken(config, model, n_factors):
    found = select.select(PANEL, config)
    assert (found.config.model, found.config.n_factors) == (model, n_factors)
    assert found.candidates is None
    assert found.n_found is None


def test_what_does_not_go_together_is_refused_before_anything_is_said():
    said = []
    for ask in (run_study, plan_study):
        with pytest.raises(OptionError, match="give covariates"):
            ask(PANEL, model="conditional", on_progress=lambda *where: said.append(where))
    assert not said


@pytest.mark.slow
def test_few_dates_are_of_the_simplest_family():
    short, _ = linear_panel(3, n_dates=58, n_assets=6, n_factors=1, n_sectors=2)
    found = select.select(short, CONFIG)
    assert {*found.candidates.family} == {"linear"}
    assert "58 dates are too few to choose among models" in found.notes[0]
    given = select.select(short, replace(CONFIG, n_factors=2))
    assert (given.config.model, given.config.n_factors) == ("linear", 2)
    assert given.candidates is None


@pytest.mark.slow
def test_noise_has_no_factors():
    rng = np.random.default_rng(0)
    panel = replace(PANEL, values=0.01 * rng.normal(size=(200, 10)))
    found = select.select(panel, replace(CONFIG, model="linear"))
    assert (found.n_found, found.config.n_factors) == (0, 1)


@pytest.mark.slow
def test_finished_candidates_are_not_trained_again(tmp_path, chosen, monkeypatch):
    def stage(name, kind):
        return OnDisk(tmp_path / name, kind, "this run")

    first = select.select(PANEL, CONFIG, stage=stage)
    monkeypatch.setattr(select, "train_candidate", None)
    again = select.select(PANEL, CONFIG, stage=stage)
    for found in (first, again):
        pd.testing.assert_frame_equal(found.candidates, chosen.candidates, check_exact=True)


def test_every_process_chooses_and_one_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(
        select,
        "train_candidate",
        lambda family, sizes, report: CandidateScores(np.zeros((len(sizes), 2, 28))),
    )
    found = [
        select.select(
            PANEL,
            CONFIG,
            stage=lambda name, kind, me=me: OnDisk(tmp_path / f"{me}", kind, "run", Share(me, 2)),
        )
        for me in range(2)
    ]
    assert found[0].config == found[1].config
    assert list((tmp_path / "0").iterdir())
    assert not (tmp_path / "1").exists()


@pytest.mark.slow
def test_settings_that_a_family_does_not_go_with_leave_it_out(two_families):
    two_families.setitem(PRESETS, "volatility", PRESETS["volatility"]._replace(races=True))
    assert "volatility" in presets_of(CONFIG)
    assert "volatility" not in presets_of(replace(CONFIG, n_factors=1))
    two_families.setitem(PRESETS, "volatility", PRESETS["volatility"]._replace(races=False))
    with pytest.raises(OptionError, match="warmup: 220 exceeds the 200 epochs"):
        replace(CONFIG, warmup=220)
    with pytest.raises(OptionError, match="n_factors: 10 is too large for 10 assets"):
        select.select(PANEL, replace(CONFIG, n_factors=10))


def test_the_panel_decides_which_families_stand(two_families):
    """Covariates let in the one that is given them, sectors alone do not, and gaps make every
    encoder one that sees which cells are there."""
    preset = PRESETS["conditional"]
    config, split = StudyConfig(n_factors=2), split_dates(PANEL.n_dates)
    sectors = ("x", "y") * (PANEL.n_assets // 2)
    gaps = np.where(
        np.random.default_rng(0).random(PANEL.values.shape) < 0.05, np.nan, PANEL.values
    )

    def standing(panel):
        field = select.search_space(panel, config, split, lambda progress: None)
        return {family.name: family.prepared.preset.model for family in field.families}

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "conditional", preset._replace(races=True))
        for panel in (PANEL, replace(PANEL, sectors=sectors)):
            assert {*standing(panel)} == {"linear", "student"}
        known = standing(with_covariates(replace(PANEL, sectors=sectors), ["volatility"]))
        assert {*known} == {"linear", "student", "conditional"}
        assert not any(model.masked for model in standing(PANEL).values())
        assert all(model.masked for model in standing(replace(PANEL, values=gaps)).values())


@pytest.mark.parametrize(("behind", "n_tried"), [(5.0, 1), (0.5, 2)])
def test_a_family_that_is_far_behind_is_tried_with_the_most_factors_alone(
    monkeypatch, behind, n_tried
):
    rng = np.random.default_rng(0)

    def scored(family, sizes, report):
        scores = 0.1 * rng.normal(size=(len(sizes), 2, 28))
        return CandidateScores(scores - behind * (family.name == "student"))

    monkeypatch.setattr(select, "train_candidate", scored)
    table = select.select(PANEL, CONFIG).candidates.set_index("family")
    assert len(table.loc[["student"]]) == n_tried
    assert table.loc[["student"]].factors.max() == table.loc[["linear"]].factors.iloc[2]
    assert len(table.loc[["linear"]]) > 2


def test_seeds_that_diverged_do_not_count(monkeypatch):
    scores = np.zeros((2, 2, 3))
    scores[0, 1], scores[1] = np.nan, np.nan
    both = mixture_of_seeds(CandidateScores(np.array([[[0.0], [np.log(3.0)]]])))
    np.testing.assert_allclose(both, [[np.log(2.0)]])
    means = mixture_of_seeds(CandidateScores(scores))
    np.testing.assert_array_equal(means, [[0, 0, 0], [np.nan] * 3])
    monkeypatch.setattr(
        select,
        "train_candidate",
        lambda family, sizes, report: CandidateScores(np.full((len(sizes), 2, 28), np.nan)),
    )
    with pytest.raises(DataError, match="every candidate diverged"):
        select.select(PANEL, CONFIG)


def test_numbers_of_factors_that_are_tried():
    assert [first_sizes(k) for k in (1, 2, 5, 10)] == [[1], [1, 2], [3, 4, 5], [5, 8, 10]]
    assert near_sizes(5, 6) == [0, 3, 4, 5, 6]
    assert near_sizes(1, 9) == [0, 1, 2, 3]


@pytest.mark.slow
def test_the_past_is_said_to_help_where_it_does(chosen):
    assert not any("past" in note for note in chosen.notes)
    rng, calm = np.random.default_rng(0), np.repeat([0.2, 2.0, 0.2, 2.0], [50, 40, 40, 70])
    values = 0.01 * calm[:, None] * rng.normal(size=(200, 10))
    wild = select.select(replace(PANEL, values=values), replace(CONFIG, model="linear"))
    assert any(note.startswith("The past would help") for note in wild.notes)


# A whole study


@pytest.mark.slow
def test_a_study_chooses_by_itself_and_says_so(chosen, tmp_path):
    config = replace(CONFIG, epochs=20, learning_rate=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxvae.study.run.select", lambda *_: chosen._replace(asked=config))
        study = run_study(PANEL, config)
    study.save(tmp_path / "study")
    again = load_study(tmp_path / "study")
    assert (again.config["model"], again.config["n_factors"]) == ("linear", 2)
    said = again.config["selection"]
    assert (said["model"], said["n_factors"], said["found"]) == ("auto", "auto", 2)
    assert said["kind"][0].startswith("Linear")
    report = (tmp_path / "study" / "report.md").read_text("utf-8")
    assert "nothing bends" in report
    assert "Of 2 families (linear, student) on validation dates, linear with 2 factors" in report
    assert (tmp_path / "study" / "figures" / "candidates.png").exists()
    assert again.config["identity"] == study_identity(PANEL, config)
    assert "candidates.csv" in again.config["checksums"]
    assert again.candidates.chosen.dtype == bool
    pd.testing.assert_frame_equal(again.candidates, chosen.candidates, check_dtype=False)


def test_what_was_asked_for_is_what_tells_runs_apart():
    """And not what was chosen: a run is gone on with by the command that began it."""
    same, other = CONFIG, replace(CONFIG, model="linear", n_factors=2)
    assert study_identity(PANEL, same) != study_identity(PANEL, other)


# Jobs in threads


def test_jobs_give_their_results_by_their_places():
    jobs = [lambda report, k=k: (report(Progress(k, 1, 2, 3, 3)), k)[1] for k in range(5)]
    reports = []
    assert dict(in_threads(jobs, 10, reports.append)) == {k: k for k in range(5)}
    assert reports[-1] == Progress(10, 5, 10, 3, 3)
    assert list(in_threads([], 0, reports.append)) == []


def test_epochs_are_those_of_the_members_in_work():
    """A job that is done, or between two trainings, has none."""
    at_work = Progress(1, 4, 8, 40, 400)
    whole = threads._sum_of([Progress(4, 0, 4, 400, 400), at_work], 12)
    assert whole == Progress(5, 4, 12, 40, 400)
    assert whole.members_trained == pytest.approx(5.4)
    assert threads._sum_of([at_work, Progress(0, 12, 12, 120, 200)], 20) == Progress(
        *(1, 16, 20, 100, 250)
    )
    assert not threads._sum_of([], 5).members_trained


def test_the_callers_interrupt_and_a_jobs_error_end_all_jobs():
    def endless(report):
        while True:
            report(Progress(0, 1, 1, 1, 2))

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(in_threads([endless], 1, interrupt))

    ended = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        list(in_threads([lambda report: ended.wait(20)], 1, interrupt))
    ended.set()

    def fails(report):
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        list(in_threads([endless, fails], 2, lambda progress: None))


def test_what_is_done_at_once_comes_back_in_order_and_overlaps(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=20)
    assert run_at_once(lambda: both.wait() * 0, lambda: both.wait() * 0 + 1, lambda: 2) == [0, 1, 2]
    with pytest.raises(DataError, match="no"):
        run_at_once(lambda: 0, fails_at_once)


def fails_at_once():
    raise DataError("no")


# Each family where it was planted


def planted(kind):
    rng = np.random.default_rng(7)
    if kind in ("linear", "additive"):
        make, draw = (linear_panel, 11) if kind == "linear" else (nonlinear_panel, 11)
        return make(draw, n_dates=800, n_assets=20, n_factors=2, n_sectors=4)[0]
    n_dates, n_assets = 800, 20
    loadings, factors = rng.normal(size=(n_assets, 2)), rng.normal(size=(n_dates, 2))
    if kind == "student":
        scale = np.sqrt(5 / rng.chisquare(5, size=(n_dates, 1)))
        values = scale * (factors @ loadings.T + rng.normal(size=(n_dates, n_assets)))
    else:
        scale = np.exp(0.6 * rng.normal(size=(n_dates, 1)))
        values = scale * (factors @ loadings.T + rng.standard_t(4, size=(n_dates, n_assets)))
    dates = pd.bdate_range("2015-01-01", periods=n_dates)
    return Panel(0.01 * values, dates, tuple(f"A{k}" for k in range(n_assets)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "additive", "student", "volatility"])
def test_each_family_is_picked_where_it_was_planted(kind, two_families):
    for name in ("linear", "additive", "student", "volatility"):
        two_families.setitem(PRESETS, name, PRESETS[name]._replace(races=True))
    found = select.select(planted(kind), StudyConfig())
    for name in ("additive", "volatility"):
        two_families.setitem(PRESETS, name, PRESETS[name]._replace(races=False))
    assert found.config.model == kind
    if kind != "additive":
        assert found.n_found == 2
        return
    # Room for more curves than were planted lets each find its whole curve. How many are then
    # likeliest is a matter of rounding, which differs between processors, but never more than a
    # factor analysis has use for, which bends a curve into several lines.
    assert 2 <= found.n_found <= found.classical
