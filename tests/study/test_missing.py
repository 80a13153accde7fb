"""Members on panels with missing cells: the exact solve, the mask, imputation, a whole study."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from linear import log_density, sampled, solution, with_exact_encoder
from small import linear_gaussian, same_bits

from jaxvae import baselines
from jaxvae.cli.main import main
from jaxvae.data.panel import Panel, split_dates
from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import DataError
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.prepare import HIDDEN_CELLS, prepare
from jaxvae.inference.evaluation import posterior_means
from jaxvae.inference.importance import (
    log_likelihood,
    posterior_mean_of_returns,
)
from jaxvae.inference.imputation import complete_rows
from jaxvae.models import AdditiveConfig, make_batch
from jaxvae.study import missing
from jaxvae.study.run import run_study
from jaxvae.study.study import load_study
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.objective import _hide_cells, row_terms
from jaxvae.training.state import Data

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(8)
MODEL, VARIABLES, LOADINGS, BIAS, NOISE = linear_gaussian()
N_ASSETS, N_FACTORS = LOADINGS.shape
WHOLE = BIAS + RNG.normal(size=(80, N_FACTORS)) @ LOADINGS.T
WHOLE = WHOLE + np.sqrt(NOISE) * RNG.normal(size=WHOLE.shape)
VALUES = np.where(RNG.random(WHOLE.shape) < 0.4, np.nan, WHOLE)
VALUES[5] = np.nan
BATCH = make_batch(VALUES)
GAPS = np.isnan(VALUES)


IMPUTE = jax.jit(complete_rows, static_argnums=(1, 4))
ENCODE = jax.jit(posterior_means, static_argnums=0)
TERMS = jax.jit(row_terms, static_argnums=(4, 5, 6))


def closed_form(row):
    """E[z | x_o], Cov[z | x_o] and E[x | x_o] of a row (form 9), in float64."""
    o = np.isfinite(row)
    weighted = LOADINGS[o] / NOISE[o, None]
    covariance = np.linalg.inv(np.eye(N_FACTORS) + weighted.T @ LOADINGS[o])
    mean = covariance @ weighted.T @ (row - BIAS)[o]
    return mean, covariance, np.where(o, row, BIAS + LOADINGS @ mean)


def test_the_exact_posterior_is_exact_to_rounding():
    posterior = jax.jit(MODEL.posterior)(VARIABLES, BATCH)
    roots = np.asarray(posterior.root, float)
    for row, found, root in zip(VALUES, posterior.mean, roots, strict=True):
        expected, covariance, _ = closed_form(row)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        np.testing.assert_allclose(root @ root.T, covariance, atol=2e-5)


def test_exact_likelihood_and_imputation_are_exact_to_rounding():
    filled, likelihood = IMPUTE(jax.random.key(0), MODEL, VARIABLES, BATCH, 8)
    expected = np.array([closed_form(row)[2] for row in VALUES])
    np.testing.assert_allclose(filled, expected, atol=2e-5)
    np.testing.assert_array_equal(np.asarray(filled)[~GAPS], np.asarray(BATCH.values)[~GAPS])
    some = ~GAPS.all(axis=1)
    found = solution(MODEL, VARIABLES, BATCH)
    density = log_density(found._replace(bias=found.bias[some]), VALUES[some])
    np.testing.assert_allclose(np.asarray(likelihood)[some], density, atol=1e-4)
    np.testing.assert_allclose(np.asarray(likelihood)[~some], 0.0, atol=1e-5)


def test_factors_that_are_not_in_use_take_no_part():
    few = VARIABLES._replace(factor_mask=jnp.array([1.0, 0.0]))
    found = solution(MODEL, few, BATCH)
    some = ~GAPS.all(axis=1)
    density = log_density(found._replace(bias=found.bias[some]), VALUES[some])
    likelihood = np.asarray(jax.jit(MODEL.log_likelihood)(few, BATCH))[some]
    np.testing.assert_allclose(likelihood, density, atol=1e-4)


def test_sampled_imputation_agrees_with_the_exact():
    """Within six standard errors of importance sampling, of 512 draws."""
    run = jax.jit(posterior_mean_of_returns, static_argnums=(1, 4))
    filled, likelihood = run(jax.random.key(1), MODEL, VARIABLES, BATCH, 512)
    run = jax.jit(log_likelihood, static_argnums=(1, 4))
    estimate = run(jax.random.key(1), sampled(MODEL), VARIABLES, BATCH, 512)
    np.testing.assert_allclose(likelihood, estimate.value, atol=1e-4)
    for found, row, effective in zip(filled, VALUES, estimate.effective_samples, strict=True):
        _, covariance, expected = closed_form(row)
        spread = np.sqrt(np.diag(LOADINGS @ covariance @ LOADINGS.T) / float(effective))
        gaps = np.isnan(row)
        assert (np.abs(np.asarray(found) - expected)[gaps] < 6 * spread[gaps] + 1e-4).all()


def test_filling_first_makes_a_linear_encoder_exact():
    """What `encode` does for a study that was trained without missing cells."""
    exact = with_exact_encoder(VARIABLES, LOADINGS, BIAS, NOISE)
    filled, _ = IMPUTE(jax.random.key(0), MODEL, exact, BATCH, 8)
    factors = ENCODE(MODEL, exact, make_batch(np.asarray(filled)))
    expected = np.array([closed_form(row)[0] for row in VALUES])
    np.testing.assert_allclose(factors, expected, atol=5e-5)
    naive = ENCODE(MODEL, exact, BATCH)
    assert np.abs(np.asarray(naive) - expected).max() > 0.3


# The mask


@pytest.mark.parametrize("likelihood", ["gaussian", "student"])
def test_a_mask_of_ones_is_the_plain_model(likelihood):
    """One code path: with every cell observed the mask's weights are part of the bias."""
    shape = AdditiveConfig(N_FACTORS, widths=(8,), normalisation="batch", likelihood=likelihood)
    plain = shape.build(N_ASSETS)
    masked = replace(shape, masked=True).build(N_ASSETS)
    batch = make_batch(WHOLE)
    variables = masked.initialise(jax.random.key(0), batch)
    encoder = dict(variables.parameters["encoder"])
    hidden = encoder["hidden"]["dense_0"]
    values, ones = np.split(np.asarray(hidden["kernel"]), [-N_ASSETS])
    moved = {"kernel": jnp.asarray(values), "bias": hidden["bias"] + ones.sum(axis=0)}
    encoder["hidden"] = {**encoder["hidden"], "dense_0": moved}
    values, ones = np.split(np.asarray(encoder["skip"]["kernel"]), [-N_ASSETS])
    encoder["skip"] = {"kernel": jnp.asarray(values)}
    mean = encoder["mean"]
    encoder["mean"] = {**mean, "bias": mean["bias"] + ones.sum(axis=0)}
    same = variables._replace(parameters={**variables.parameters, "encoder": encoder})
    key = jax.random.key(1)
    beta, config = jnp.float32(1.0), TrainConfig()
    found, _ = TERMS(key, variables, batch, beta, masked, config, True)
    expected, _ = TERMS(key, same, batch, beta, plain, config, True)
    np.testing.assert_allclose(found.total, expected.total, rtol=1e-5)


def test_complete_panels_are_prepared_as_ever():
    panel = linear_panel(0, n_dates=80, n_assets=6, n_factors=2)[0]
    config = StudyConfig(n_factors=2, model="static")
    assert prepare(panel, config).preset.model.masked is False
    assert prepare(panel, config).preset.train.hidden_cells == 0
    values = panel.values.copy()
    values[50, 2] = np.nan
    preset = prepare(replace(panel, values=values), config).preset
    assert preset.model.masked
    assert preset.train.hidden_cells == HIDDEN_CELLS
    model = baselines.fit_pca(panel.values, 1)
    assert missing.completed(panel.values, split_dates(panel.n_dates), model, 0) is panel.values
    assert missing.completion_note(panel.values, model) == missing.missing_notes(panel) == []


def test_hidden_cells_are_a_uniform_share_of_each_row():
    batch = make_batch(np.where(np.arange(50) == 7, np.nan, RNG.normal(size=(4000, 50))))
    fewer = _hide_cells(jax.random.key(0), batch, 0.5)
    observed, values = np.asarray(fewer.observed), np.asarray(fewer.values)
    assert (observed <= np.asarray(batch.observed)).all()
    np.testing.assert_array_equal(values, np.where(observed > 0, np.asarray(batch.values), 0.0))
    shares = 1 - np.delete(observed, 7, axis=1).mean(axis=1)
    assert shares.mean() == pytest.approx(0.25, abs=6 * 0.15 / np.sqrt(4000))
    assert shares.std() == pytest.approx(np.sqrt(0.25 / 12 + 0.25 / 49 - 1 / 12 / 49), abs=0.01)


# A trained encoder


@pytest.fixture(scope="module")
def amortised():
    """A linear member trained on 600 rows with three cells in ten missing; 400 fresh rows."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1000, N_FACTORS)) @ LOADINGS.T
    values = values + np.sqrt(NOISE) * rng.normal(size=values.shape)
    values = np.where(rng.random(values.shape) < 0.3, np.nan, values)
    model = AdditiveConfig(N_FACTORS, widths=(32,), masked=True).build(N_ASSETS)
    config = TrainConfig(epochs=150, batch_size=100, warmup_epochs=0, patience=None)
    data = Data(make_batch(values[:600]), make_batch(values[600:]))
    members = member_grid((0,), (1.0,), data, model, 1e-2, config.epochs)
    one = tuple(jax.local_devices()[:1])
    ensemble = train_ensemble(
        jax.random.key(0), data, members, model, config, tile_width=1, devices=one
    )
    return model, jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), ensemble.variables), data


def test_an_amortised_encoder_keeps_its_tolerance(amortised):
    """On fresh rows: means within .35 posterior standard deviations of the exact ones, root mean
    square, and a mean ELBO within .25 nats of the exact log-likelihood."""
    model, variables, data = amortised
    batch = data.validation
    exact = jax.jit(model.posterior)(variables, batch)
    gap = np.asarray(ENCODE(model, variables, batch) - exact.mean, float)
    distance = np.linalg.solve(np.asarray(exact.root, float), gap[..., None])[..., 0]
    assert np.sqrt((distance**2).mean()) < 0.35
    config, one, bound = TrainConfig(), jnp.float32(1.0), []
    for index in range(16):
        key = jax.random.key(index)
        bound.append(-TERMS(key, variables, batch, one, model, config, False)[0].total)
    gap = np.asarray(model.log_likelihood(variables, batch)).mean() - np.mean(bound)
    assert 0 < gap < 0.25


# What the test part lacks is no ground for a choice


@pytest.fixture(scope="module", params=["complete", "gaps in fit"])
def blanked(request):
    """Studies of panels that are equal up to the test part: as it was, with other returns there,
    and with the cells of one asset and of the last date blank."""
    panel = linear_panel(4, n_dates=100, n_assets=5, n_factors=2)[0]
    if request.param == "gaps in fit":
        values = panel.values.copy()
        values[3:9, 1] = values[20:30, 2] = np.nan
        panel = replace(panel, values=values)
    other, blank = panel.values.copy(), panel.values.copy()
    other[70:] = -2.0 * other[70:]
    blank[80:, 0] = blank[-1] = np.nan
    config = StudyConfig(
        seeds=2, betas=(0.5, 1.0), n_factors=2, epochs=4, model="static", likelihood_samples=8
    )
    return [
        run_study(replace(panel, values=values), config) for values in (panel.values, other, blank)
    ]


def test_test_rows_change_neither_what_is_learned_nor_what_is_chosen(blanked):
    """Neither their values nor which of them are missing: bit by bit."""
    first, *others = blanked
    before = ("chosen", "model_config", "train_config", "learning_rate")
    for study in others:
        assert same_bits(study.parameters, first.parameters)
        assert {name: study.config.get(name) for name in before} == {
            name: first.config.get(name) for name in before
        }
        on_fit = [_before_the_test_part(one.metrics) for one in (study, first)]
        pd.testing.assert_frame_equal(*on_fit)
        pd.testing.assert_frame_equal(study.n_factors, first.n_factors)


def _before_the_test_part(metrics):
    """Scores there; those a cell are told wherever a cell of the panel is missing."""
    early = metrics[metrics.split.isin(["validation", "fit"])]
    return early[early.metric != "log_likelihood_per_cell"].reset_index(drop=True)


def test_cells_missing_in_the_test_part_alone_are_left_out_of_its_likelihood(blanked):
    _, _, blank = blanked
    test = blank.metrics[blank.metrics.split == "test"]
    assert "vae_ensemble" in set(test[test.metric == "log_likelihood_per_cell"].model)
    assert test.value.notna().all()
    told = any("test part alone" in note for note in blank.config["notes"])
    assert told is not blank.config["model_config"]["masked"]


# A study from end to end


@pytest.fixture(scope="module")
def panel():
    """A late listing, a delisting, gaps, and a date with one value."""
    whole = linear_panel(3, n_dates=160, n_assets=10, n_factors=2, n_sectors=2)[0]
    values = whole.values.copy()
    values[:50, 0] = values[120:, 1] = values[40:50, 2] = np.nan
    values[100, 1:] = np.nan
    return replace(whole, values=values)


@pytest.fixture(scope="module")
def study(panel):
    config = StudyConfig(
        seeds=2, betas=(1.0,), n_factors=2, epochs=15, model="linear", likelihood_samples=16
    )
    return run_study(panel, config)


def test_a_study_scores_observed_cells(panel, study):
    test = study.metrics[study.metrics.split == "test"]
    joint = test[test.metric == "log_likelihood"].set_index("model").value
    cells = test[test.metric == "log_likelihood_per_cell"].set_index("model").value
    seen = np.isfinite(panel.values[112:]).sum()
    assert {"vae_ensemble", "factor_analysis", "pca_best", "ledoit_wolf"} <= set(cells.index)
    np.testing.assert_allclose(cells, joint * (48 / seen), rtol=1e-12)
    assert study.metrics.value.notna().all()
    best = study.metric("factor_analysis", "r2", "test")
    assert 0.2 < best < 1


def test_a_study_says_what_is_missing(study):
    notes = " ".join(study.config["notes"])
    assert "109 of 1,600 cells (6.8 %) are missing, not filled" in notes
    assert "Late to begin: STOCK_000 (2020-03-11)." in notes
    assert "Early to end: STOCK_001 (2020-06-16)." in notes
    assert "19 missing cells are gaps" in notes
    assert "one draw from factor analysis" in notes
    assert study.config["panel"]["missing_cells"] == 109
    json.dumps(study.config, allow_nan=False)


def test_an_asset_that_lacks_a_row_at_the_edge_has_a_gap_there():
    """Neither late nor early; and every missing cell is told of once."""
    values = np.random.default_rng(0).normal(size=(100, 4))
    values[-1, 0] = values[:4, 1] = values[:30, 2] = values[40:42, 2] = values[-5:, 3] = np.nan
    dates = pd.bdate_range("2020-01-01", periods=100)
    notes = missing.missing_notes(Panel(values, dates, tuple("abcd")))
    assert notes[0].startswith("42 of 400 cells (10.5 %) are missing")
    assert notes[1:] == [
        f"Late to begin: c ({dates[30].date()}).",
        f"Early to end: d ({dates[94].date()}).",
        "7 missing cells are gaps in the histories of assets.",
    ]


def test_a_study_encodes_and_fills_the_panel(panel, study, tmp_path):
    study.save(tmp_path / "study")
    kept = load_study(tmp_path / "study")
    filled = kept.impute(panel)
    gaps = np.isnan(panel.values)
    assert filled.notna().all(axis=None)
    np.testing.assert_array_equal(filled.to_numpy()[~gaps], panel.values[~gaps])
    empty = panel.to_frame()
    empty.iloc[7] = np.nan
    assert kept.impute(empty).notna().all(axis=None)
    np.testing.assert_array_equal(kept.impute(panel.to_frame()), filled)
    factors = kept.encode(panel)
    pd.testing.assert_frame_equal(factors, kept.factors, atol=1e-5, rtol=0, check_freq=False)
    panel.to_frame().to_csv(tmp_path / "panel.csv", index_label="date")
    for command, expected in ((["encode", "--missing", "keep"], factors), (["impute"], filled)):
        out = tmp_path / f"{command[0]}.csv"
        words = [*command, tmp_path / "study", "--data", tmp_path / "panel.csv", "--out", out]
        assert main([str(word) for word in words]) == 0
        written = pd.read_csv(out, index_col="date", parse_dates=True)
        pd.testing.assert_frame_equal(written, expected, atol=1e-5, rtol=0, check_freq=False)
    assert kept.scenarios(10).notna().all(axis=None)
    assert kept.covariance.notna().all(axis=None)
    words = (tmp_path / "study" / "report.md").read_text("utf-8")
    assert "Late to begin" in words
    assert " nan" not in words


def test_filling_is_the_mixture_of_the_refits(panel, study):
    """By responsibilities, from the closed form of each linear refit."""
    scaler = missing_scaler(study)
    cells = (panel.values - scaler[0]) / scaler[1]
    parts, weights = [], []
    for index in range(2):
        decoder = jax.tree.map(
            lambda leaf, k=index: np.asarray(leaf[k], float),
            study.parameters["refits"]["parameters"]["decoder"],
        )
        loadings, bias = decoder["curves"]["terms"]["kernel"].T, decoder["mean"]["bias"]
        noise = np.exp(np.logaddexp(decoder["log_variance"], np.log(1e-6)))
        scatter = loadings @ loadings.T + np.diag(noise)
        model = baselines.Elliptical.without_factors(bias, scatter)
        parts.append(model.given(cells).values)
        weights.append(model.log_likelihood(cells))
    shares = np.exp(weights - np.max(weights, axis=0))
    shares = shares / shares.sum(axis=0)
    expected = scaler[0] + scaler[1] * np.einsum("mr,mra->ra", shares, np.array(parts))
    np.testing.assert_allclose(study.impute(panel), expected, atol=1e-5 * scaler[1].max())


def missing_scaler(study):
    return study.arrays["scaler_mean"], study.arrays["scaler_scale"]


def test_a_member_cannot_learn_an_asset_that_is_not_there_yet(panel):
    values = panel.values.copy()
    values[:70, 4] = np.nan
    with pytest.raises(DataError, match=r"'STOCK_004' has 19 values .* at least 30 are needed"):
        prepare(replace(panel, values=values), StudyConfig(n_factors=2, model="static"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "drop-dates, drop-assets, mean or keep"),
        (["--missing", "keep"], "'STOCK_004' has 0 values"),
    ],
)
def test_the_command_line_says_what_to_do(panel, tmp_path, capsys, options, words):
    frame = panel.to_frame()
    if options:
        frame["STOCK_004"] = np.nan
    frame.to_csv(tmp_path / "panel.csv", index_label="date")
    out = tmp_path / "study"
    command = ["study", "--data", str(tmp_path / "panel.csv"), "--factors", "2", *options]
    assert main([*command, "--out", str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not out.exists()
