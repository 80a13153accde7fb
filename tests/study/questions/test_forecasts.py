"""A study of a temporal model from start to end, and what can be asked of it later."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.stattools import acf

import jaxvae
from jaxvae.analysis.risk import adaptive_quantiles, coverage, filtered_quantiles
from jaxvae.cli.main import main
from jaxvae.data.panel import Panel, fit_scaler
from jaxvae.errors import DataError, OptionError
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.prepare import prepare
from jaxvae.inference import forecasts
from jaxvae.inference.members import Fitted
from jaxvae.models.distributions import Gaussian
from jaxvae.models.model import (
    Model,
    Variables,
    make_batch,
    standard_normal_prior,
    take_rows,
)
from jaxvae.scoring import backtest
from jaxvae.scoring import value_at_risk as risk
from jaxvae.scoring.backtest import lead_note
from jaxvae.study.questions import forecasts as asked_of_a_study
from jaxvae.study.questions.forecasts import BURN_IN, NEXT
from jaxvae.study.run import run_study
from jaxvae.study.study import load_study

pytestmark = pytest.mark.slow

CONFIG = StudyConfig(
    seeds=1, betas=(1.0,), n_factors=2, epochs=4, model="temporal", likelihood_samples=16
)
PANEL, _, REGIMES = jaxvae.regimes_panel(3, n_dates=200, n_assets=5, n_factors=1, n_sectors=2)
SCALER = fit_scaler(PANEL.values[:140])
LONG, *_ = jaxvae.regimes_panel(4, n_dates=400, n_assets=5, n_factors=1, n_sectors=2)
NOBODY = Fitted(None, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "temporal"
    run_study(PANEL, CONFIG).save(folder)
    return folder


@pytest.fixture(scope="module")
def study(folder):
    return load_study(folder)


@pytest.fixture(scope="module")
def ahead(study):
    return study.forecast(PANEL, number=400)


def test_study_says_what_the_past_is_worth(study, folder):
    notes = " ".join(study.config["notes"])
    assert "The past " in notes
    assert "Squared returns of generated paths" in notes
    for metric in ("var_1_breaches", "var_5_conditional_p"):
        assert 0 <= study.metric("vae_ensemble", metric, "test") <= 1
    assert np.isfinite(study.metric("ewma_t", "log_likelihood", "test"))
    assert (study.comparisons.baseline == "ewma_t").any()
    assert "EWMA with t innovations" in (folder / "report.md").read_text("utf-8")


def test_lead_is_called_none_unless_its_interval_is_clear():
    table = pd.DataFrame(
        [
            ("vae_ensemble", "ewma_t", -5.0, -6.0, -4.0),
            ("vae_ensemble", "pca", 3.0, 2.0, 4.0),
            ("vae_ensemble", "multivariate_t", 0.1, -0.1, 0.3),
            ("vae_best", "multivariate_t", 9.0, 8.0, 9.5),
        ],
        columns=["model", "baseline", "difference", "low_widest", "high_widest"],
    )
    assert "does not help" in lead_note(table)
    assert "no better than multivariate t" in lead_note(table)
    assert "The past helps" in lead_note(table.assign(low_widest=table.low_widest + 0.2))


def test_forecast_of_a_date_does_not_know_it(study, ahead):
    """The rows up to a date stay as they are, whatever happens on it and later."""
    values = PANEL.values.copy()
    values[150:] *= 3.0
    other = study.forecast(Panel(values, PANEL.dates, PANEL.assets), number=400)
    pd.testing.assert_frame_equal(other[:151], ahead[:151], rtol=1e-5)
    assert not np.allclose(other["std"][151:], ahead["std"][151:], rtol=1e-2)
    assert ahead.index[-1] == NEXT
    assert len(ahead) == PANEL.n_dates + 1


def test_table_is_in_fractions_of_the_portfolios_return(study, monkeypatch):
    rows, asked = LONG.n_dates + 1, []
    std, draws = np.linspace(0.5, 2.0, rows), np.outer(np.arange(101.0), np.ones(rows))
    found = forecasts.Portfolio(np.full(rows, 0.1), std**2, draws)
    monkeypatch.setattr(asked_of_a_study, "forecast_portfolio", lambda *a: asked.append(a) or found)
    share = np.array([0.5, 0.4, 0.3, -0.2, 0.0])
    table, centre = study.forecast(LONG, [*share], number=100), share @ SCALER.mean
    np.testing.assert_allclose(asked[0][4], share * SCALER.scale)
    np.testing.assert_allclose(table["mean"], centre + 0.1)
    np.testing.assert_allclose(table["std"], std)
    own = adaptive_quantiles(LONG.values @ share - centre, draws, (0.01, 0.05))
    np.testing.assert_allclose(table[["var_1", "var_5"]].T, centre + own)
    mean = np.full(rows, centre + 0.1)
    expected = filtered_quantiles(LONG.values @ share, mean, std, (0.01, 0.05))
    np.testing.assert_allclose(table[["filtered_var_1", "filtered_var_5"]].T, expected)


def test_volatility_forecasts_follow_the_regime(ahead):
    wild = REGIMES.states[1:-1] == 1
    std = ahead["std"].to_numpy()[2:-1]
    assert std[wild].mean() > 1.3 * std[~wild].mean()
    assert (ahead.var_1 < ahead.var_5).all()


def test_covariance_of_the_next_date_agrees_with_its_forecast(study, ahead):
    covariance = study.forecast_covariance(PANEL, number=4000)
    assert list(covariance.index) == list(PANEL.assets)
    share = np.full(5, 0.2)
    assert np.sqrt(share @ covariance @ share) == pytest.approx(ahead["std"].iloc[-1], rel=0.2)


def test_weights_are_a_portfolio(study):
    weights = {PANEL.assets[1]: 1.0}
    one = study.forecast(PANEL, weights, number=400)
    listed = study.forecast(PANEL, [0.0, 1.0, 0.0, 0.0, 0.0], number=400)
    pd.testing.assert_frame_equal(one, listed)
    with pytest.raises(OptionError, match="weights: 'X' is no asset of the study"):
        study.forecast(PANEL, {"X": 1.0})
    few = study.forecast(PANEL.to_frame(), pd.Series({PANEL.assets[1]: 1.0}), number=400)
    pd.testing.assert_frame_equal(one, few)
    with pytest.raises(OptionError, match=f"weights: {PANEL.assets[1]}=nan is not a finite number"):
        study.forecast(PANEL, {PANEL.assets[1]: np.nan})
    for wrong in ([1.0], np.array(["much"] * 5)):
        with pytest.raises(OptionError, match="5 finite numbers"):
            study.forecast(PANEL, wrong)
    with pytest.raises(OptionError, match=f"weights: {PANEL.assets[1]}='much' is not a finite"):
        study.forecast(PANEL, pd.Series({PANEL.assets[1]: "much"}))
    with pytest.raises(OptionError, match=rf"weights: '{PANEL.assets[1]}s' .* did you mean"):
        study.forecast(PANEL, {f"{PANEL.assets[1]}s": 1.0})
    with pytest.raises(OptionError, match="weights: all are 0"):
        study.forecast(PANEL, np.zeros(5))


def test_paths_repeat_with_their_seed(study):
    drawn = study.paths(30, number=3, seed=1)
    assert drawn.shape == (3, 30, 5)
    np.testing.assert_array_equal(drawn, study.paths(30, number=3, seed=1))
    assert not np.array_equal(drawn, study.paths(30, number=3, seed=2))
    assert np.isfinite(drawn).all()
    assert drawn.std() > 0


def test_paths_are_fractions_after_the_burn_in(study, monkeypatch):
    drawn = np.random.default_rng(0).normal(size=(2, BURN_IN + 3, 5))
    monkeypatch.setattr(asked_of_a_study, "generate_paths", lambda *_: drawn)
    expected = SCALER.mean + SCALER.scale * drawn[:, -3:]
    np.testing.assert_allclose(study.paths(3, number=2), expected)


def test_factors_of_new_dates_come_from_their_own_past(study):
    """A panel that goes on longer says the same of the dates that it shares."""
    short = Panel(PANEL.values[:120], PANEL.dates[:120], PANEL.assets)
    whole, part = study.encode(PANEL), study.encode(short)
    np.testing.assert_allclose(whole[:120], part, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole[:140], study.factors[:140], rtol=1e-3, atol=1e-3)
    assert np.isfinite(study.scenarios(50)).all(axis=None)


def test_command_writes_forecasts(folder, tmp_path, capsys):
    data, out, matrix = (tmp_path / name for name in ("new.csv", "ahead.csv", "covariance.csv"))
    PANEL.to_frame().to_csv(data, index_label="date")
    words = ["forecast", folder, "--data", data, "--number", "400", "--out", out]
    assert main([str(word) for word in [*words, "--covariance", matrix]]) == 0
    table = pd.read_csv(out)
    of_risk = ["var_1", "var_5", "filtered_var_1", "filtered_var_5"]
    assert list(table.columns) == ["date", "mean", "std", *of_risk]
    assert table.filtered_var_5.isna().all()
    told = capsys.readouterr().err
    assert "filtered_var_1 and filtered_var_5 are empty on 201 of 201 dates: they need 250" in told
    assert "look at the past" not in told
    assert table.date.iloc[-1] == NEXT
    assert pd.read_csv(matrix, index_col=0).shape == (5, 5)
    assert main(["forecast", str(folder), "--data", str(data), "--number", "5"]) == 2
    assert "--number: 5 is too small; at least 100" in capsys.readouterr().err
    again = ["forecast", str(folder), "--data", str(data), "--covariance"]
    assert main([*again, str(matrix)]) == 1
    assert f"{matrix} exists; name a new file" in capsys.readouterr().err
    both = str(tmp_path / "both.csv")
    assert main([*again, both, "--out", both]) == 2
    assert "is that of --out" in capsys.readouterr().err


def _decode(variables, factors, batch, training=False):
    """Two assets of x ~ N(z + level + condition, .25)."""
    moved = factors + variables.parameters + jnp.sum(batch.conditions, axis=1, keepdims=True)
    mean = jnp.broadcast_to(moved, batch.values.shape)
    return Gaussian(mean, jnp.full_like(mean, jnp.log(0.25))), variables


TOY = Model(1, None, None, _decode, standard_normal_prior)
LEVELS = Fitted(
    Variables(np.float32([-1.0, 2.0]), {}, np.ones((2, 1), np.float32)),
    np.arange(2, dtype=np.uint32),
)


def test_forecasts_of_several_members_are_their_mixtures():
    """Levels of -1 and 2 add their variance 2.25 to that of each member; conditions of 0 and 3 tell
    the rows apart, and moments are the last row's."""
    batch, weights = make_batch(np.zeros((2, 2)), np.array([[0.0], [3.0]])), np.array([1.0, 2.0])
    found = forecasts.forecast_portfolio(jax.random.key(0), TOY, LEVELS, batch, weights, 8000)
    np.testing.assert_allclose(found.mean, [1.5, 10.5], atol=0.15)
    expected = 9 * (1 + 2.25) + 5 * 0.25
    np.testing.assert_allclose(found.variance, expected, rtol=0.05)
    np.testing.assert_allclose(found.draws.var(axis=0), expected, rtol=0.05)
    mean, covariance = forecasts.forecast_moments(jax.random.key(0), TOY, LEVELS, batch, 4000)
    np.testing.assert_allclose(mean, 3.5, atol=0.05)
    np.testing.assert_allclose(covariance, 3.25 + 0.25 * np.eye(2), rtol=0.05)


def test_rows_that_a_model_knows_the_same_of_have_the_same_forecast():
    """To the bit, and those that differ have draws of their own."""
    conditions = np.array([[3.0], [0.0], [3.0], [1.0], [0.0]])
    batch, weights = make_batch(np.zeros((5, 2)), conditions), np.array([1.0, 2.0])
    found = forecasts.forecast_portfolio(jax.random.key(0), TOY, LEVELS, batch, weights, 100)
    for part in found:
        np.testing.assert_array_equal(part[..., 0], part[..., 2])
        np.testing.assert_array_equal(part[..., 1], part[..., 4])
    assert not np.allclose(found.draws[:, 0] - found.draws[:, 1], 9.0)
    distinct = forecasts.forecast_portfolio(
        jax.random.key(0), TOY, LEVELS, take_rows(batch, jnp.array([0, 1, 3])), weights, 100
    )
    np.testing.assert_array_equal(found.draws[:, [0, 1, 3]], distinct.draws)


def test_a_model_without_a_past_says_so_and_forecasts_every_date_alike(unbroken, returns_csv):
    study, panel = load_study(unbroken), jaxvae.read_panel(returns_csv)
    table = study.forecast(panel, number=100)
    # A linear model knows the next date's covariance, which is that of every date, without draws.
    pd.testing.assert_frame_equal(study.forecast_covariance(panel, number=1), study.covariance)
    own = table[["mean", "std"]]
    assert (own == own.iloc[0]).all(axis=None)
    past, empty = table.attrs["notes"]
    assert past.startswith("this model does not look at the past")
    assert "250 earlier dates" in empty


def test_members_take_turns_in_paths():
    drawn = forecasts.generate_paths(jax.random.key(0), TOY, LEVELS, 2, 200, 3)
    assert drawn.shape == (3, 200, 2)
    np.testing.assert_allclose(drawn.mean(axis=1), np.outer([-1, 2, -1], [1, 1]), atol=0.4)
    assert not np.array_equal(drawn[0], drawn[2])


@pytest.fixture(scope="module")
def prepared():
    return prepare(LONG, CONFIG)


def test_value_at_risk_is_judged_on_the_test_dates(prepared, monkeypatch):
    """Of the portfolio with equal weights in returns, here breached on dates that are chosen."""
    n_dates, test = LONG.n_dates, prepared.split.test
    returns = (LONG.values - prepared.scaler.mean).mean(axis=1)
    breached = np.random.default_rng(0).random(n_dates) < 0.2
    std = np.exp(np.sin(np.arange(n_dates) / 9.0))
    draws = np.tile(returns + np.where(breached, 1e-4, -1e-4), (10, 1))
    found = forecasts.Portfolio(np.zeros(n_dates), std**2, draws)
    monkeypatch.setattr(risk, "forecast_portfolio", lambda *_: found)
    kept, filtered, table = risk.value_at_risk(jax.random.key(0), prepared, NOBODY)
    past = filtered_quantiles(returns, found.mean, std, (0.05, 0.01))[:, test]
    for order, quantiles in zip((0.05, 0.01), past, strict=True):
        assert kept[order] == coverage(breached[test], order)
        assert filtered[order] == coverage(returns[test] < quantiles, order)
    assert ((table.portfolio < table.var_5) == breached[test]).all()
    np.testing.assert_allclose(table.portfolio, LONG.values[test].mean(axis=1))
    np.testing.assert_allclose(table["std"], std[test])


def test_clustering_compares_paths_after_the_burn_in_with_the_data_on_fit(prepared, monkeypatch):
    data = prepared.values[prepared.split.fit]
    burnt = np.linspace(0.0, 9.0, BURN_IN)[:, None] * np.ones(5)
    drawn = np.tile(np.concatenate([burnt, data]), (4, 1, 1))
    monkeypatch.setattr(backtest, "generate_paths", lambda *_: drawn)
    found = backtest.clustering(jax.random.key(0), prepared, NOBODY)
    np.testing.assert_allclose(found["vae_ensemble"], found["data"])
    np.testing.assert_allclose(found["data"], backtest.squares_autocorrelation(data))


def test_paths_without_bound_are_neither_given_nor_compared(study, prepared, monkeypatch):
    drawn = np.zeros((4, BURN_IN + 200, 5))
    drawn[1, -1, 2] = np.nan
    monkeypatch.setattr(backtest, "generate_paths", lambda *_: drawn)
    monkeypatch.setattr(asked_of_a_study, "generate_paths", lambda *_: drawn)
    found = backtest.clustering(jax.random.key(0), prepared, NOBODY)
    assert list(found) == ["data"]
    assert "without bound" in backtest._cluster_note(found)
    with pytest.raises(DataError, match="give fewer dates"):
        study.paths(200, 4)


def test_squares_are_cut_and_an_asset_that_stands_still_counts_0():
    values = np.random.default_rng(0).normal(size=(200, 3))
    values[:, 1], values[50, 2] = 1.0, 1e3
    squares = np.minimum(values**2, 100.0)
    expected = [acf(squares[:, asset], nlags=20)[1:] for asset in (0, 2)]
    found = backtest.squares_autocorrelation(values)
    np.testing.assert_allclose(found, np.sum(expected, axis=0) / 3)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda study: study.forecast(PANEL, number=2**31), "number: 2147483648 is too large"),
        (lambda study: study.forecast(PANEL, number=2 * 10**9), "number: .* draws take .* GB"),
        (lambda study: study.forecast_covariance(PANEL, number=0), "number: 0 is too small"),
        (lambda study: study.forecast_covariance(PANEL, number=2 * 10**9), "draws take"),
        (lambda study: study.paths(10**9), "draws take"),
        (lambda study: study.paths(0), "n_dates: 0 is too small"),
        (lambda study: study.paths(1, number=2 * 10**9), "draws take"),
    ],
)
def test_what_no_memory_holds_is_refused_at_once(study, ask, words):
    with pytest.raises(OptionError, match=words):
        ask(study)
