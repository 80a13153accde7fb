"""The benchmarks run and write what the README needs; what they count and compare is right."""

import importlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxvae.fitting.presets import make_preset
from jaxvae.models import make_batch
from jaxvae.training import member
from jaxvae.training.state import Data, make_hyperparameters

FOLDER = Path(__file__).parent.parent / "benchmarks"
SCRIPTS = (
    *("throughput", "scaling", "study_scaling", "accelerator", "time_to_report"),
    *("temporal_study", "before_and_after"),
)


@pytest.fixture
def load(monkeypatch):
    """A module of the folder, by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Quick runs of all scripts, side by side: each one's JSON and what it printed."""
    folder = tmp_path_factory.mktemp("benchmarks")

    def run(name):
        command = [sys.executable, FOLDER / f"{name}.py", "--quick", "--out", f"{name}.json"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stderr
        results = json.loads((folder / f"{name}.json").read_text("utf-8"))
        return SimpleNamespace(results=results, printed=done.stdout)

    with ThreadPoolExecutor(len(SCRIPTS)) as threads:
        return dict(zip(SCRIPTS, threads.map(run, SCRIPTS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_quick_runs_say_so_and_what_they_ran_on(runs, name):
    results = runs[name].results
    assert results["quick"] is True
    assert {"processor", "cores", "versions", "flags"} <= set(results["ran_on"])
    assert "jax" in results["ran_on"]["versions"]


@pytest.mark.slow
def test_throughput_keeps_all_that_a_row_is(runs, load):
    results = runs["throughput"].results
    assert not {"jaxvae_tiles"} - set(results["rows"])
    for row in results["rows"].values():
        assert row["seconds_a_member"]["median"] > 0
        assert {"round", "seconds", "load"} == set(row["samples"][0])
        assert row["share_of_peak"] > 0
        assert row["peak_memory_mb"] >= row["memory_before_mb"] > 0
        assert not row["compiled_while_timed"]
        assert len(row["mse_by_seed"]) == results["size"]["seeds"]
    tiles = results["rows"]["jaxvae_tiles"]
    assert tiles["compile_cold_s"]["median"] > tiles["compile_cached_s"]["median"] > 0
    for row in load("throughput").table_rows(results):
        assert row in runs["throughput"].printed
        assert row.count("|") == load("throughput").HEADER.count("|")


@pytest.mark.slow
def test_throughput_says_what_it_skipped(runs, load):
    missing = {"torch", "pythae"} - set(runs["throughput"].results["ran_on"]["versions"])
    skipped = runs["throughput"].results["skipped"]
    for name, spec in load("row").ROWS.items():
        if spec.needs in missing and name in load("throughput").QUICK_ROWS:
            assert skipped[name] == f"{spec.needs} is not installed"


@pytest.mark.slow
def test_a_cold_start_is_the_sum_of_its_laps(runs):
    starts = runs["throughput"].results["cold_start"]
    for laps in starts.values():
        seconds = {name: lap["median"] for name, lap in laps.items()}
        parts = [seconds[name] for name in ("import", "data", "lower", "compile", "run")]
        assert seconds["total"] == pytest.approx(sum(parts))
        assert seconds["process"] > seconds["total"]
    assert starts["cached"]["compile"]["median"] < 0.5 * starts["cold"]["compile"]["median"]


@pytest.mark.slow
def test_scaling_keeps_its_points_and_the_race(runs, load):
    results = runs["scaling"].results
    points = results["sweeps"]["members"]["points"]
    assert [point["members"] for point in points] == [2]
    assert results["sweeps"]["members"]["stopped"] is None
    assert results["races"]["many"]["epochs_to_target"] == [2, 2]
    for row in load("scaling").table_rows(results) + load("scaling").race_rows(results):
        assert row in runs["scaling"].printed


@pytest.mark.slow
def test_a_studys_stages_add_up(runs, load):
    (point,) = runs["study_scaling"].results["sweeps"]["assets"]
    assert "failed" not in point
    assert (point["assets"], point["dates"], point["members"]) == (12, 120, 4)
    assert {"select", "train", "refit", "score", "save", "report"} <= set(point["stages"])
    assert point["seconds"] == pytest.approx(sum(point["stages"].values()))
    parts = [
        sum(point["stages"].get(name, 0.0) for name in part)
        for part in load("study_scaling").PARTS.values()
    ]
    assert point["seconds"] == pytest.approx(sum(parts))
    assert point["analysis"] == pytest.approx(sum(parts[2:]))


@pytest.mark.slow
def test_a_temporal_studys_stages_add_up_in_seconds_and_in_processor_seconds(runs, load):
    script = load("temporal_study")
    rows = runs["temporal_study"].results["rows"]
    assert list(rows) == ["regimes"]
    row = rows["regimes"]["after"]
    for whole, part in (("seconds", "stage"), ("processor", "processor")):
        spent = [row[f"{part} {stage}"] for stage in script.STAGES]
        assert min(spent) >= 0
        assert row[whole] == pytest.approx(sum(spent))
    cells = script.table_cells("regimes", "after", row)
    assert len(cells) == len(script.HEADS)
    assert " ".join(cells) in runs["temporal_study"].printed


@pytest.mark.slow
def test_a_study_of_one_code_is_its_own_twin(runs):
    results = runs["before_and_after"].results
    assert list(results["rows"]) == ["linear"]
    row = results["rows"]["linear"]
    assert row["equal_to_the_bit"]
    assert row["largest_difference_of_a_member"] == row["covariance"] == 0
    assert row["least_correlation_of_twins"] == pytest.approx(1)
    before, after = row["test"]["log_likelihood"]
    assert before == after < 0


@pytest.mark.slow
def test_the_accelerator_run_names_what_it_left_out(runs, load):
    results = runs["accelerator"].results
    (piece,) = results["pieces"]["float32"]
    assert piece["quality_held"] is True
    assert piece["share_of_product"] > 0
    assert results["skipped"]["bfloat16"] == "no such products on a cpu"
    for what in results["skipped"]:
        assert f"skipped {what}" in runs["accelerator"].printed
    for row in load("accelerator").table_rows(results):
        assert row in runs["accelerator"].printed


def test_a_row_of_another_quality_is_void(load):
    rows = {
        "notebook_loop": {"mse": 0.300},
        "jaxvae_vmap": {"mse": 0.3029},
        "jaxvae_tiles": {"mse": 0.296},
        "pythae": {"mse": float("nan")},
    }
    summary = load("summary")
    summary.judge(rows)
    void = {name: row["void"] for name, row in rows.items()}
    assert void == {
        "notebook_loop": False,
        "jaxvae_vmap": False,
        "jaxvae_tiles": True,
        "pythae": True,
    }
    of_row = {"samples": [{"seconds": 8.0}], "members": 2}
    rounds = [{"rows": {"notebook_loop": of_row, "jaxvae_tiles": of_row}, "starts": {}}]
    assert summary.ratios(rounds, rows) == {}
    rows["jaxvae_tiles"]["void"] = False
    ratio = summary.ratios(rounds, rows)["tiles_over_notebook_loop"]
    assert ratio == {"by_round": [1.0], "median": 1.0, "goal": "at least 30", "met": False}
    del rows["notebook_loop"]
    summary.judge(rows)
    assert {row["void"] for row in rows.values()} == {None}


def test_a_sweep_stops_before_time_or_memory_ends(load, monkeypatch):
    scaling = load("scaling")
    point = {
        "members": 4,
        "seconds": 2.0,
        "samples": [{"seconds": 2.0}],
        "process": 5.0,
        "memory_before_mb": 300.0,
        "peak_memory_mb": 400.0,
    }
    monkeypatch.setattr(scaling, "available_memory_mb", lambda: 1000.0)
    assert scaling.too_much([], "members", 1, 10.0) is None
    assert scaling.too_much([point], "members", 8, 10.0) is None
    assert "7 s" in scaling.too_much([point], "members", 8, 6.0)
    assert "900 MB" in scaling.too_much([point], "members", 24, 100.0)
    swept = scaling.run_sweep(lambda axis, value: {**point, axis: value}, "members", (4, 400), 1e12)
    assert [one["members"] for one in swept["points"]] == [4]
    assert swept["stopped"].startswith("400 members: would take")


def test_time_to_target_waits_until_errors_stay_within_it(load):
    errors = np.array([[2.0, 1.0, 1.0], [1.005, 1.0, 1.1], [1.0, 1.0, 1.0]])
    assert load("point").first_within(errors, 0.01) == [1, 0, 2]


def test_nested_intervals_count_once(load):
    assert load("jax_measure").union_length([(0, 4), (1, 2), (3, 5), (7, 8)]) == 6


def test_the_problem_is_the_notebooks(load):
    problem = load("notebook_problem")
    preset = make_preset("notebook", n_factors=problem.N_FACTORS)
    assert preset.model.widths == problem.WIDTHS
    assert preset.train.batch_size == problem.BATCH_SIZE
    assert preset.train.clip_norm == problem.CLIP_NORM
    assert preset.train.warmup_epochs == problem.WARMUP_EPOCHS
    assert preset.learning_rate == problem.LEARNING_RATE
    assert (problem.n_weights(100), problem.n_parameters(100)) == (17_376, 17_998)
    betas = [problem.beta_at(epoch, 200) for epoch in (0, 25, 50, 199)]
    assert betas == pytest.approx([0.0, 0.05, 0.1, 0.1])


def test_flops_are_those_of_a_compiled_step(load):
    """XLA counts all operations of a loop's body once; an epoch of one batch is one step. What the
    count leaves out (Adam, batch norm, random numbers) is less than .3 of it."""
    values = np.zeros((64, 100))
    preset = make_preset("notebook", n_factors=5)
    model, batch = preset.model.build(100), make_batch(values)
    data = Data(batch, make_batch(values[:0]))
    hyperparameters = make_hyperparameters(data, model, preset.train)
    key = jax.random.key(0)
    state = member.init(key, data, hyperparameters, model, preset.train)

    def epoch(key, state, data, hyperparameters):
        return member.epoch(key, state, member.Setup(data, hyperparameters, model, preset.train))

    compiled = jax.jit(epoch).lower(key, state, data, hyperparameters).compile()
    counted = compiled.cost_analysis()["flops"]
    assert 1.0 < counted / load("notebook_problem").product_flops(100, 64) < 1.3


def test_fresh_dates_follow_the_training_datess_law(load):
    problem = load("notebook_problem")
    size = problem.QUICK._replace(n_dates=20_000, n_fresh=20_000)
    values, fresh, _ = problem.notebook_problem(size)
    off = np.cov(fresh.T) - np.cov(values.T)
    assert np.abs(off).max() < 6 * np.sqrt(2 * 2 / len(fresh))
    assert np.abs(np.corrcoef(values[:, 0], fresh[:, 0])[0, 1]) < 6 / np.sqrt(len(fresh))


def test_torchs_batched_member_is_the_loops(load):
    """Three steps, the last short, from the same weights with the same batches and noise.

    A bias before a batch norm has no gradient but rounding's, which Adam makes a step of: running
    means, and so errors, differ a little more than losses.
    """
    torch = pytest.importorskip("torch")
    rows = load("torch_rows")
    data = torch.tensor(np.random.default_rng(0).standard_normal((168, 12)), dtype=torch.float32)
    loops = [rows.make_vae(seed, 12) for seed in (0, 1)]
    for vae in loops:
        alone = rows.StackedVAE([vae])
        optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
        fused = torch.optim.Adam(alone.parameters(), lr=1e-3, fused=True)
        vae.train()
        for batch in data.split(64):
            torch.manual_seed(2)
            total, *_ = rows.loop_step(vae, optimizer, batch, 0.1)
            torch.manual_seed(2)
            loss = rows.stacked_step(alone, fused, batch.T[None], 0.1)
            assert loss.item() == pytest.approx(total.item(), rel=1e-5)
        error = rows.vae_error(vae, data)
        assert rows.stacked_errors(alone, data) == pytest.approx([error], rel=1e-3)


def test_torch_clips_by_member(load):
    torch = pytest.importorskip("torch")
    rows = load("torch_rows")
    stacked = rows.StackedVAE([rows.make_vae(seed, 12) for seed in (0, 1)])
    data = torch.tensor(np.random.default_rng(0).standard_normal((2, 12, 64)), dtype=torch.float32)
    stacked.loss(data, 0.1).backward()
    rows.clip_by_member(stacked)
    gradients = torch.cat([p.grad.view(2, -1) for p in stacked.parameters()], dim=1)
    assert gradients.norm(dim=1).tolist() == pytest.approx([1.0, 1.0], rel=1e-4)


def test_all_ways_train_the_same_members(load, monkeypatch):
    """A loop, `lax.map` and `vmap`, with a stand-in for the training that returns its key."""
    rows, problem = load("jaxvae_rows"), load("notebook_problem")

    def fit(key, data, hyperparameters, model, config):
        return SimpleNamespace(best=(jax.random.key_data(key), hyperparameters.beta)), None

    monkeypatch.setattr(rows, "fit", fit)
    trained = []
    for way in (rows.one_by_one, rows.lax_map, rows.vmap):
        row = way(problem.notebook_problem(problem.QUICK))
        assert row.prepare(range(3))["precision"] == "float32, products default"
        trained.append(row.train(range(3)))
    keys, betas = trained[0]
    assert len({tuple(key) for key in keys.tolist()}) == 3
    assert betas == pytest.approx(problem.BETA)
    for other, _ in trained[1:]:
        np.testing.assert_array_equal(other, keys)


def test_a_row_that_fails_is_skipped_and_the_rest_goes_on(load, monkeypatch, tmp_path):
    throughput = load("throughput")

    def run_part(script, arguments, out, **settings):
        if "pythae" in arguments:
            return {"failed": "it broke"}
        return {"compile": 1.0}

    monkeypatch.setattr(throughput, "run_part", run_part)
    monkeypatch.setattr(throughput, "installed", lambda package: package != "torch")
    (one,), skipped = throughput.measure(True, tmp_path)
    compiled = {"compile_cold": 1.0, "compile_cached": 1.0}
    assert one["rows"] == {"jaxvae_tiles": compiled, "tiles_kept": compiled}
    assert skipped.pop("pythae") == "it broke"
    assert set(skipped.values()) == {"torch is not installed"}


def test_a_part_that_fails_says_why(load, tmp_path):
    part = load("measure").run_part("row.py", ["--no-such"], tmp_path / "part.json", limit=60)
    assert "required: --row" in part["failed"]
    late = load("measure").run_part("row.py", [], tmp_path / "part.json", limit=0.0)
    assert late["failed"] == "not done in 0 s"


def test_an_accelerator_run_keeps_its_time(load):
    accelerator = load("accelerator")
    piece = {"members": 64, "process": 30.0, "seconds": 4.0, "samples": [{"seconds": 4.0}] * 2}
    assert accelerator.too_long([], 64, 1.0) is None
    assert accelerator.too_long([], 64, 0.0) == "no time left"
    assert accelerator.too_long([piece], 1024, 87.0) is None
    assert accelerator.too_long([piece], 1024, 85.0) == "would take 86 s of 85 s"


def test_a_precision_that_loses_quality_does_not_hold_it(load):
    roof = {"product": {"flops_per_second": 4.0}, "copy": {"bytes_per_second": 8.0}}
    rates = {"flops_per_second": 1.0, "bytes_per_second": 1.0}
    pieces = {
        "float32": [{"members": 64, "mse_by_seed": [0.3, 0.3], **rates}],
        "bfloat16": [
            {"members": 64, "mse_by_seed": [0.3, 0.307], **rates},
            {"members": 16, "mse_by_seed": [0.3, 0.3], **rates},
        ],
    }
    load("accelerator").judge(pieces, {"float32": roof, "bfloat16": roof})
    (true,), (low, unjudged) = pieces["float32"], pieces["bfloat16"]
    assert (true["quality_held"], low["quality_held"], unjudged["quality_held"]) == (
        True,
        False,
        None,
    )
    assert (true["share_of_product"], true["share_of_copy"]) == (0.25, 0.125)


@pytest.mark.slow
def test_time_to_report_has_every_stage_of_a_run(runs):
    rows = runs["time_to_report"].results["rows"]
    assert list(rows) == ["linear, cold", "linear, cached"]
    for row in rows.values():
        stages = [row[part]["median"] for part in row if part.startswith("stage ")]
        assert len(stages) >= 5
        assert sum(stages) == pytest.approx(row["seconds"]["median"])
        assert 0 < row["scoring_and_drawing"] < 1
    assert "notebook" in runs["time_to_report"].results["left_out"]


def test_the_notebooks_script_is_its_code_cells_alone(load):
    text = (
        "# Title\n\nWords\n\nIn [None]:\na = 1  # one\n\n# a comment\nb = 2\n\n## Next\n\nWords\n"
    )
    text += "\nIn [None]:\nprint(a + b)\n\n### Words\n"
    code = load("time_to_report").code_cells(text)
    assert [line for line in code.splitlines() if line] == [
        "a = 1  # one",
        "# a comment",
        "b = 2",
        "print(a + b)",
    ]
