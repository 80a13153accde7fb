"""A study of a temporal model from start to end, and what can be asked of it later."""

import numpy as np
import pandas as pd
import pytest

import jaxvae
from jaxvae.cli import main
from jaxvae.errors import OptionError
from jaxvae.fitting import StudyConfig
from jaxvae.folder import load_study
from jaxvae.forecasts import NEXT, forecast, forecast_covariance, paths, portfolio
from jaxvae.foresight import lead_note
from jaxvae.panel import Panel
from jaxvae.study import encode, run_study, scenarios, write_study

CONFIG = StudyConfig(
    seeds=1, betas=(1.0,), n_factors=2, epochs=4, model="temporal", likelihood_samples=16
)
PANEL, _, REGIMES = jaxvae.regimes_panel(3, n_dates=200, n_assets=5, n_factors=1, n_sectors=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "temporal"
    write_study(run_study(PANEL, CONFIG), folder)
    return folder


@pytest.fixture(scope="module")
def study(folder):
    return load_study(folder)


@pytest.fixture(scope="module")
def ahead(study):
    return forecast(study, PANEL, number=400)


def test_study_says_what_the_past_is_worth(study, folder):
    notes = " ".join(study.config["notes"])
    assert "The past " in notes
    assert "breached the value at risk" in notes
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
        columns=["model", "baseline", "difference", "low", "high"],
    )
    assert "does not help" in lead_note(table)
    assert "no better than multivariate t" in lead_note(table)
    assert "The past helps" in lead_note(table.assign(low=table.low + 0.2))


def test_forecast_of_a_date_does_not_know_it(study, ahead):
    """The rows up to a date stay as they are, whatever happens on it and later."""
    values = PANEL.values.copy()
    values[150:] *= 3.0
    other = forecast(study, Panel(values, PANEL.dates, PANEL.assets), number=400)
    pd.testing.assert_frame_equal(other[:151], ahead[:151], rtol=1e-5)
    assert not np.allclose(other["std"][151:], ahead["std"][151:], rtol=1e-2)
    assert ahead.index[-1] == NEXT
    assert len(ahead) == PANEL.n_dates + 1


def test_volatility_forecasts_follow_the_regime(ahead):
    wild = REGIMES.states[1:-1] == 1
    std = ahead["std"].to_numpy()[2:-1]
    assert std[wild].mean() > 1.3 * std[~wild].mean()
    assert (ahead.var_1 < ahead.var_5).all()


def test_covariance_of_the_next_date_agrees_with_its_forecast(study, ahead):
    covariance = forecast_covariance(study, PANEL, number=4000)
    assert list(covariance.index) == list(PANEL.assets)
    share = np.full(5, 0.2)
    assert np.sqrt(share @ covariance @ share) == pytest.approx(ahead["std"].iloc[-1], rel=0.2)


def test_weights_are_a_portfolio(study):
    weights = portfolio(study, {PANEL.assets[1]: 1.0})
    one = forecast(study, PANEL, weights, number=400)
    listed = forecast(study, PANEL, [0.0, 1.0, 0.0, 0.0, 0.0], number=400)
    pd.testing.assert_frame_equal(one, listed)
    assert portfolio(study, {}) is None
    with pytest.raises(OptionError, match="--weights: 'X' is no asset of the study"):
        portfolio(study, {"X": 1.0})
    with pytest.raises(OptionError, match="5 finite numbers"):
        forecast(study, PANEL, [1.0])


def test_paths_repeat_with_their_seed(study):
    drawn = paths(study, 30, number=3, seed=1)
    assert drawn.shape == (3, 30, 5)
    np.testing.assert_array_equal(drawn, paths(study, 30, number=3, seed=1))
    assert not np.array_equal(drawn, paths(study, 30, number=3, seed=2))
    assert np.isfinite(drawn).all()
    assert drawn.std() > 0


def test_factors_of_new_dates_come_from_their_own_past(study):
    """A panel that goes on longer says the same of the dates that it shares."""
    short = Panel(PANEL.values[:120], PANEL.dates[:120], PANEL.assets)
    whole, part = encode(study, PANEL), encode(study, short)
    np.testing.assert_allclose(whole[:120], part, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(whole[:140], study.factors[:140], rtol=1e-3, atol=1e-3)
    assert np.isfinite(scenarios(study, 50)).all(axis=None)


def test_command_writes_forecasts(folder, tmp_path, capsys):
    data, out, matrix = (tmp_path / name for name in ("new.csv", "ahead.csv", "covariance.csv"))
    PANEL.to_frame().to_csv(data, index_label="date")
    words = ["forecast", folder, "--data", data, "--number", "400", "--out", out]
    assert main([str(word) for word in [*words, "--covariance", matrix]]) == 0
    table = pd.read_csv(out)
    of_risk = ["var_1", "var_5", "filtered_var_1", "filtered_var_5"]
    assert list(table.columns) == ["date", "mean", "std", *of_risk]
    # Too few dates come before any for their own quantiles.
    assert table.filtered_var_5.isna().all()
    assert table.date.iloc[-1] == NEXT
    assert pd.read_csv(matrix, index_col=0).shape == (5, 5)
    assert main(["forecast", str(folder), "--data", str(data), "--number", "5"]) == 2
    assert "--number: 5 draws" in capsys.readouterr().err
