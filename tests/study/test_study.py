"""The pipeline on a small panel: tables, choices that never see the test part, and the way back."""

import json
from dataclasses import replace

import jax
import jaxtyping
import numpy as np
import pandas as pd
import pytest
from small import same_bits
from threadpoolctl import threadpool_info

import jaxvae
from jaxvae.analysis.ranking import LEAST_GAIN
from jaxvae.baselines import BASELINES
from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import DataError, FolderError, OptionError
from jaxvae.fitting.config import StudyConfig, preset_of, tile_width_of
from jaxvae.fitting.fit import Choice, best_beta, likeliest, refit, train_grid
from jaxvae.fitting.prepare import prepare
from jaxvae.report import words
from jaxvae.scoring.score import mix_estimates
from jaxvae.study import describe
from jaxvae.study.run import run_study
from jaxvae.study.study import load_study
from jaxvae.training.blas import blas_threads
from jaxvae.training.objective import LikelihoodEstimate

CONFIG = StudyConfig(
    seeds=3, betas=(0.5, 1.0), n_factors=2, model="static", epochs=40, likelihood_samples=32
)
PANEL, _ = linear_panel(3, n_dates=160, n_assets=12, n_factors=2, n_sectors=3)
N_FIT = 112


@pytest.fixture(scope="module")
def study():
    return run_study(PANEL, CONFIG)


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "one"
    study.save(folder)
    return folder


@pytest.mark.slow
def test_a_row_a_member(study):
    members = study.members
    assert list(members.columns[:5]) == ["member", "seed", "beta", "ok", "best_epoch"]
    assert members.beta.tolist() == [0.5] * 3 + [1.0] * 3
    assert members.seed.tolist() == [0, 1, 2] * 2
    assert members.ok.all()
    assert members.notna().all(axis=None)


@pytest.mark.slow
def test_metrics_are_tidy_and_complete(study):
    table = study.metrics
    assert list(table.columns) == ["model", "member", "factors", "split", "metric", "value"]
    assert np.isfinite(table.value).all()
    members = table[(table.model == "vae") & (table.metric == "log_likelihood")]
    assert set(members.split) == {"train", "validation", "test"}
    static = {name for name, baseline in BASELINES.items() if not baseline.temporal}
    fitted = {"vae_best", "vae_ensemble", *static}
    rows = table[(table.metric == "log_likelihood") & table.model.isin(fitted)]
    assert set(rows.model) == fitted
    assert set(rows.split) == {"fit", "test"}
    assert not table.duplicated(["model", "member", "split", "metric"]).any()


@pytest.mark.slow
def test_scores_stand_beside_chance_rotation_and_seeds(study):
    levels = ("chance_mean", "chance_95", "rotation_mean", "rotation_95")
    for model in ("consensus", "vae_best", "pca", "factor_analysis"):
        for name in ("mcc", "dci_disentanglement", "mig", "sap", "modularity"):
            assert all(np.isfinite(study.metric(model, f"{name}_{x}", "test")) for x in levels)
        assert np.isfinite(study.metric(model, "subspace_r2_chance_95", "test"))
        assert np.isnan(study.metric(model, "subspace_r2_rotation_95", "test"))
    for name in ("log_likelihood", "r2", "mcc", "subspace_r2", "mutual_information"):
        mean, low, high = (
            study.metric("vae_ensemble", f"{name}_seeds_{end}", "test")
            for end in ("mean", "low", "high")
        )
        assert low < mean < high
    assert 0 < study.metric("vae_ensemble", "best_seed_p_value", "test") <= 1
    assert study.metric("vae_best", "active_units", "test") in (0, 1, 2)


@pytest.mark.slow
def test_members_are_ranked_by_udr_among_the_seeds_of_their_beta(study):
    for member, score in enumerate(study.members.udr):
        assert study.metric("vae", "udr", "fit", member) == score
        assert 0 <= score <= 1
    chance = study.metric("vae_ensemble", "udr_chance_95", "fit")
    assert chance < study.metric("vae_ensemble", "udr", "fit") <= 1


@pytest.mark.slow
def test_the_parts_of_the_kl_sum_to_it(study):
    parts = ("index_code_information", "total_correlation", "dimension_kl")
    members = study.members
    np.testing.assert_allclose(members[list(parts)].sum(axis=1), members.kl, rtol=1e-4)
    assert (members.index_code_information <= np.log(N_FIT) + 0.5).all()
    for name in (*parts, *(f"{part}_se" for part in parts), "total_correlation_chance_mean"):
        values = [study.metric("vae", name, "fit", member) for member in members.member]
        assert np.isfinite(values).all()
        if name in members:
            np.testing.assert_array_equal(values, members[name])


@pytest.mark.slow
def test_a_vae_beats_no_information(study):
    """Independent unit normals are the model of someone who knows scaler and nothing else."""
    values = study.arrays["reconstruction_data"]
    assert values.shape[1] == 4
    nothing = -0.5 * PANEL.n_assets * (np.log(2 * np.pi) + 1)
    assert study.metric("vae_ensemble", "log_likelihood", "test") > nothing + 1


def test_a_mixture_is_the_mean_of_densities():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 50))
    bounds = LikelihoodEstimate(values, np.full((3, 50), 0.1), np.full((3, 50), 20.0))
    mixed = mix_estimates(bounds)
    np.testing.assert_allclose(mixed.value, np.log(np.exp(values).mean(axis=0)))
    noise = 0.1 * rng.normal(size=(4000, 3, 50))
    spread = np.log(np.exp(values + noise).mean(axis=1)).std(axis=0)
    np.testing.assert_allclose(mixed.standard_error, spread, rtol=0.1)
    np.testing.assert_allclose(mixed.effective_samples, 20.0)


@pytest.mark.slow
def test_order_and_signs_are_those_of_the_convention(study):
    explained = (study.loadings.div(study.arrays["scaler_scale"], axis=0) ** 2).sum()
    assert (np.diff(explained) <= 0).all()
    assert (study.loadings.mean() > 0).all()
    mean = study.arrays["mean_loadings"] * study.arrays["scaler_scale"][:, None]
    assert study.config["refit_factors"] == ["factor 1", "factor 2"]
    along = [np.corrcoef(study.loadings.to_numpy()[:, k], mean[:, k])[0, 1] for k in range(2)]
    assert min(along) > 0.9


@pytest.mark.slow
def test_the_truth_turns_nothing(study):
    """Known factors that are turned over and exchanged change what is said of them alone."""
    reference = PANEL.reference
    assert reference is not None
    other = reference._replace(
        factors=-reference.factors.iloc[:, ::-1],
        loadings=-reference.loadings.iloc[:, ::-1],
    )
    again = run_study(replace(PANEL, reference=other), CONFIG)
    for name in ("factors", "loadings"):
        np.testing.assert_array_equal(getattr(again, name), getattr(study, name))
    for name in ("unit_loadings", "mean_loadings"):
        np.testing.assert_array_equal(again.arrays[name], study.arrays[name])
    np.testing.assert_allclose(again.arrays["correlation"], -study.arrays["correlation"][:, ::-1])


@pytest.mark.slow
def test_pca_scores_are_the_baselines_own(study):
    from jaxvae.baselines import fit_pca
    from jaxvae.data.panel import fit_scaler

    values = fit_scaler(PANEL.values[:N_FIT]).standardise(PANEL.values)
    expected = fit_pca(values[:N_FIT], 2).log_likelihood(values)[N_FIT:].mean()
    assert study.metric("pca", "log_likelihood", "test") == pytest.approx(expected)


@pytest.mark.slow
def test_factors_loadings_and_covariance_have_their_units(study):
    assert study.factors.shape == (160, 2)
    np.testing.assert_allclose(study.factors.iloc[:N_FIT].std(ddof=0), 1.0, rtol=1e-6)
    assert study.loadings.shape == (12, 2)
    model = study.covariance.to_numpy()
    assert (np.linalg.eigvalsh(model) > 0).all()
    data = np.var(PANEL.values[:N_FIT], axis=0)
    assert 0.7 < np.trace(model) / data.sum() < 1.3


@pytest.mark.slow
def test_factors_rise_with_the_assets_they_move(study):
    in_units = study.loadings.to_numpy() / study.arrays["scaler_scale"][:, None]
    assert (in_units.sum(axis=0) >= 0).all()
    means = (PANEL.values / PANEL.values[:N_FIT].std(axis=0)).mean(axis=1)
    moved = study.factors.to_numpy()[:N_FIT].T @ (means - means.mean())[:N_FIT]
    strongest = np.argmax(np.abs(in_units.sum(axis=0)))
    assert moved[strongest] > 0


@pytest.mark.slow
def test_history_has_every_epoch_of_every_member(study):
    counts = study.history.groupby("member").epoch.agg(["count", "max"])
    assert (counts["count"] == counts["max"]).all()
    assert study.history.notna().all(axis=None)


@pytest.mark.slow
def test_the_best_member_was_chosen_on_validation(study):
    chosen, members = study.config["chosen"], study.members
    at_beta = members[members.beta == chosen["beta"]]
    means = members.groupby("beta").log_likelihood_validation.mean()
    assert chosen["beta"] == 1.0 or means[1.0] < means[0.5] - LEAST_GAIN
    assert chosen["member"] == at_beta.log_likelihood_validation.idxmax()


@pytest.mark.parametrize(
    ("by_beta", "beta"),
    [
        ([[5.0, 4.9], [5.0, 4.88], [1.0, 1.0]], 1),  # level: the one nearest to 1
        ([[5.0, 5.2], [4.0, 4.1], [4.0, 4.0]], 0),  # ahead by far
        ([[4.0, 4.0], [np.nan, 4.5], [4.3, 4.2]], 1),  # what diverged does not count
        ([[4.0, 4.0], [np.nan, np.nan], [4.0, 3.99]], 2),  # as far from 1: the larger
    ],
)
def test_beta_is_nearest_to_1_of_those_that_are_level(by_beta, beta):
    scores = np.repeat(np.array(by_beta)[..., None], 14, axis=2)
    assert best_beta(np.random.default_rng(0), scores, (0.5, 1.0, 2.0)) == beta


def test_a_model_has_a_grid_of_its_own_where_none_is_asked_for():
    """Slow ones a smaller one; what is asked for stands."""
    grids = {name: preset_of(StudyConfig(model=name)) for name in ("linear", "volatility")}
    assert {name: (one.seeds, len(one.betas)) for name, one in grids.items()} == {
        "linear": (8, 5),
        "volatility": (4, 3),
    }
    asked = preset_of(StudyConfig(model="volatility", seeds=2, betas=(1.0,)))
    assert (asked.seeds, asked.betas) == (2, (1.0,))


def test_a_model_of_large_rows_has_fewer_members_at_once_on_a_cpu(monkeypatch):
    named = StudyConfig(model="temporal")
    assert tile_width_of(named) == 2
    assert tile_width_of(replace(named, tile_width=3)) == 3
    assert tile_width_of(StudyConfig(model="linear")) is None
    assert tile_width_of(StudyConfig()) is None
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert tile_width_of(named) is None


@pytest.mark.parametrize(("n_assets", "threads"), [(8, 1), (5000, None)])
def test_small_matrices_take_one_thread(n_assets, threads):
    def in_use():
        return [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]

    before = in_use()
    with blas_threads(1000, n_assets):
        assert in_use() == (before if threads is None else [threads] * len(before))
    assert in_use() == before


@pytest.mark.slow
def test_studies_compare_on_validation_dates(study):
    """Whatever their test dates say."""
    better = study.members.assign(log_likelihood_validation=1.0, log_likelihood_test=-1e9)
    table = jaxvae.compare({"one": study, "two": replace(study, members=better)})
    assert table.study.tolist() == ["two", "one"]
    at_beta = study.members[study.members.beta == study.config["chosen"]["beta"]]
    assert table.log_likelihood[1] == at_beta.log_likelihood_validation.mean()
    assert not [name for name in table if "test" in name]
    identity = {**study.config["identity"], "data": {"returns": "other"}}
    other = replace(study, config={**study.config, "identity": identity})
    with pytest.raises(DataError, match="1 is of other returns than 0"):
        jaxvae.compare([study, other])
    informed = {"returns": study.config["identity"]["data"]["returns"], "covariates": "other"}
    identity = {**study.config["identity"], "data": informed}
    jaxvae.compare([study, replace(study, config={**study.config, "identity": identity})])
    with pytest.raises(DataError, match="nothing to be compared with"):
        jaxvae.compare([study])


@pytest.mark.slow
def test_nothing_but_test_scores_sees_the_test_part(study):
    values = PANEL.values.copy()
    values[N_FIT:] = values[N_FIT:][::-1] * 2.0 + 0.01
    altered = run_study(replace(PANEL, values=values), CONFIG)
    assert same_bits(altered.parameters, study.parameters)
    assert altered.config["chosen"] == study.config["chosen"]
    assert altered.config["factor_names"] == study.config["factor_names"]
    for table in ("history", "loadings", "covariance", "n_factors", "spectrum"):
        pd.testing.assert_frame_equal(
            getattr(altered, table), getattr(study, table), check_exact=True
        )
    before = study.metrics[study.metrics.split != "test"]
    after = altered.metrics[altered.metrics.split != "test"]
    pd.testing.assert_frame_equal(after, before, check_exact=True)
    assert altered.metric("pca", "mse", "test") != study.metric("pca", "mse", "test")


@pytest.mark.slow
def test_another_model_goes_from_panel_to_scenarios(tmp_path):
    """The one whose factors are not all of a kind, and whose noise is not Gaussian."""
    config = replace(CONFIG, model="volatility", seeds=2, betas=(1.0,), epochs=20)
    study = run_study(PANEL, config)
    assert study.members.ok.all()
    for name in ("vae_best", "vae_ensemble"):
        assert np.isfinite(study.metric(name, "log_likelihood", "test"))
    study.save(tmp_path / "heavy")
    again = load_study(tmp_path / "heavy")
    assert again.config["model_config"]["likelihood"] == study.config["model_config"]["likelihood"]
    np.testing.assert_allclose(again.encode(PANEL), study.factors, atol=1e-4)
    draws = again.scenarios(4000).to_numpy()
    assert np.isfinite(draws).all()
    spread = draws.std(axis=0) / PANEL.values[:N_FIT].std(axis=0)
    assert 0.5 < np.median(spread) < 2.0
    moves = [note for note in study.config["notes"] if "moves the volatility" in note]
    assert len(moves) == len(study.config["volatility_factors"]) <= 1
    page = (tmp_path / "heavy" / "report.md").read_text("utf-8")
    assert ("the volatility of all assets |" in page) == bool(moves)


@pytest.mark.slow
def test_a_study_comes_back_whole(study, folder):
    again = load_study(folder)
    config = json.loads(json.dumps(study.config))
    assert {name: again.config[name] for name in config} == config
    assert again.config.keys() - config.keys() == {
        *("schema", "command", "tables", "checksums", "sizes")
    }
    assert again.candidates is None
    for name in words.TABLES.keys() - {"candidates"}:
        pd.testing.assert_frame_equal(
            *(getattr(one, name) for one in (again, study)),
            check_dtype=False,
            check_freq=False,
            check_column_type=False,
        )
    assert same_bits(again.arrays, study.arrays)
    assert same_bits(again.parameters, study.parameters)


@pytest.mark.slow
def test_a_wide_panels_covariance_is_among_the_arrays(study, tmp_path, monkeypatch):
    monkeypatch.setattr(words, "MOST_COVARIANCE_ASSETS", len(study.covariance) - 1)
    study.save(tmp_path / "wide")
    assert not (tmp_path / "wide" / "covariance.csv").exists()
    again = load_study(tmp_path / "wide")
    pd.testing.assert_frame_equal(again.covariance, study.covariance, check_exact=True)
    assert again.covariance.attrs == study.covariance.attrs
    assert same_bits(again.arrays, study.arrays)
    page = (tmp_path / "wide" / "report.md").read_text("utf-8")
    assert "covariance.csv" not in page
    assert "stand for the covariance" in page


@pytest.mark.slow
def test_the_folder_holds_what_was_promised(folder):
    files = {path.name for path in folder.iterdir()}
    assert files >= {"config.json", "members.csv", "metrics.csv", "history.csv", "factors.csv",
                     "loadings.csv", "covariance.csv", "checkpoints", "figures", "report.html",
                     "report.md"}  # fmt: skip
    assert not [path for path in folder.parent.iterdir() if path.name != "one"]


@pytest.mark.slow
def test_encoding_the_same_dates_gives_the_same_factors(study, folder):
    encoded = load_study(folder).encode(PANEL)
    np.testing.assert_allclose(encoded, study.factors, atol=1e-4)


@pytest.mark.slow
def test_encoding_one_new_date_needs_no_others(study):
    frame = PANEL.to_frame().iloc[[-1], ::-1]
    last = jaxvae.panel_from_frame(frame, for_fitting=False)
    np.testing.assert_allclose(study.encode(last), study.factors.iloc[[-1]], atol=1e-4)


@pytest.mark.slow
def test_encoding_needs_every_asset(study):
    fewer = jaxvae.panel_from_frame(PANEL.to_frame().iloc[:, 1:])
    with pytest.raises(DataError, match=r"1 of the study's 12 assets .* 'STOCK_000'"):
        study.encode(fewer)


@pytest.mark.slow
def test_scenarios_are_calibrated_and_repeatable(study, folder):
    drawn = load_study(folder).scenarios(6000, seed=1)
    assert drawn.shape == (6000, 12)
    np.testing.assert_allclose(drawn.std(), np.sqrt(np.diag(study.covariance)), rtol=0.06)
    pd.testing.assert_frame_equal(study.scenarios(6000, seed=1), drawn, check_exact=True)
    assert not study.scenarios(6000, seed=2).equals(drawn)
    with pytest.raises(OptionError, match="number: 0"):
        study.scenarios(0)


@pytest.mark.slow
def test_an_existing_folder_is_refused(study, folder):
    with pytest.raises(FolderError, match="exists"):
        study.save(folder)


def test_a_panel_that_carries_no_baseline_is_refused_before_training(monkeypatch):
    def refuse(known):
        raise DataError("no factor model")

    refused = BASELINES["factor_analysis"]._replace(fit=refuse)
    monkeypatch.setitem(BASELINES, "factor_analysis", refused)
    begun = []
    with pytest.raises(DataError, match="no factor model"):
        run_study(PANEL, CONFIG, on_progress=lambda stage, where: begun.append(stage))
    assert begun == ["baselines"]


@pytest.mark.slow
def test_a_collapsed_factor_is_named():
    """At β = 60 on weak factors nothing is worth its KL."""
    config = replace(CONFIG, betas=(60.0,), epochs=60)
    notes = " ".join(run_study(PANEL, config).config["notes"])
    assert "collapsed or unused" in notes


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds: 0"),
        ({"n_factors": 0}, "n_factors: 0"),
        ({"preset": "best"}, "preset: 'best' is not notebook"),
        ({"model": "deep"}, "model: 'deep' is not one of"),
        ({"epochs": 0}, "epochs: 0"),
        ({"likelihood_samples": 1}, "likelihood_samples: 1"),
        ({"root_seed": -1}, "root_seed: -1"),
        ({"root_seed": 2**32}, "root_seed: 4294967296"),
        ({"betas": (float("nan"),)}, "betas"),
    ],
)
def test_wrong_settings_are_refused(wrong, words, monkeypatch):
    """As users have it, whose calls no type is checked of."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(OptionError, match=words):
        StudyConfig(**wrong)


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [(np.nan, "STOCK_003.*0 values"), (0.01, "STOCK_003"), (np.inf, "infinite")],
)
def test_a_panel_made_by_hand_is_checked_too(spoilt, words):
    values = np.where(np.arange(12) == 3, spoilt, PANEL.values)
    with pytest.raises(DataError, match=words):
        run_study(replace(PANEL, values=values), CONFIG)


def test_a_batch_is_clamped_to_the_training_rows():
    short = linear_panel(3, n_dates=60, n_assets=12, n_factors=2, n_sectors=3)[0]
    assert prepare(PANEL, CONFIG).preset.train.batch_size == 64
    assert prepare(short, CONFIG).preset.train.batch_size == 33


@pytest.fixture(scope="module")
def refits():
    prepared = prepare(PANEL, CONFIG)
    grid = train_grid(prepared, lambda progress: None)
    return prepared, refit(prepared, grid, Choice(0, 1, CONFIG.seeds), lambda progress: None)


@pytest.mark.slow
def test_refits_that_diverged_are_noted(refits):
    assert describe._refit_notes(refits[1], CONFIG.seeds) == []
    lost = jax.tree.map(lambda leaf: leaf[np.array([0, 2])], refits[1])
    (note,) = describe._refit_notes(lost, CONFIG.seeds)
    assert note.startswith("1 of 3 refits diverged")


@pytest.mark.slow
def test_the_best_refit_is_the_likeliest_on_the_dates_it_saw(refits):
    """However well another does on test dates."""
    prepared, trained = refits
    scores = np.zeros((3, PANEL.n_dates), np.float32)
    scores[1, :N_FIT], scores[2, N_FIT:] = 1.0, 9.0
    evaluation = trained.evaluation._replace(likelihood=LikelihoodEstimate(scores, scores, scores))
    assert likeliest(prepared, trained._replace(evaluation=evaluation)) == 1


def test_too_many_factors_for_the_assets():
    with pytest.raises(
        OptionError, match="n_factors: 12 is too large for 12 assets: pass 11 or less"
    ):
        run_study(PANEL, replace(CONFIG, n_factors=12))
