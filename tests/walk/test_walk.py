"""Walking forward: nothing looks ahead, scores and portfolios are what they say, refusals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from walking import CONFIG, PANEL, altered

import jaxvae
from jaxvae.analysis import portfolios
from jaxvae.baselines import fit_ledoit_wolf
from jaxvae.baselines.covariances import ESTIMATORS
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.errors import DataError, OptionError
from jaxvae.report.text import NONE
from jaxvae.report.walk_report import walk_opening, walk_report
from jaxvae.walk import prepare
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.prepare import prepare_walk
from jaxvae.walk.run import walk_forward
from jaxvae.walk.summary import NEXT_DATE, _weights, mixture_covariances, train_walk

pytestmark = pytest.mark.slow

N_WINDOWS, WINDOW, STEP = 5, CONFIG.window, CONFIG.step
STOPS = [WINDOW + w * STEP for w in range(N_WINDOWS)]


@pytest.fixture(scope="module")
def walk():
    return walk_forward(PANEL, CONFIG)


def test_tables_have_their_rows(walk):
    assert NEXT_DATE not in walk.config["notes"]
    judged = PANEL.dates[WINDOW : WINDOW + N_WINDOWS * STEP]
    for table in (walk.scores, walk.factors, walk.portfolio):
        assert table.index.equals(pd.DatetimeIndex(judged, name="date"))
    assert list(walk.windows.last_date) == list(PANEL.dates[[stop - 1 for stop in STOPS]])
    assert list(walk.windows.judged_from) == list(PANEL.dates[STOPS])
    assert walk.loadings.shape == (N_WINDOWS * 8, 2)
    assert set(walk.strategies.index) == {"vae", "equal", *ESTIMATORS}
    assert np.isfinite(walk.scores.to_numpy()).all()
    np.testing.assert_allclose(walk.weights.sum(axis=1), 1.0)


def test_nothing_sees_a_later_date(walk):
    """Other returns after the third window leave its weights, and all before, bit for bit."""
    other, last = walk_forward(altered(STOPS[2]), CONFIG), PANEL.dates[STOPS[2] - 1]
    for name in ("weights", "loadings"):
        one, two = getattr(walk, name), getattr(other, name)
        known = one.index.get_level_values("date") <= last
        assert one[known].equals(two[known])
        assert not one[~known].equals(two[~known])
    assert np.array_equal(walk.covariances[:3], other.covariances[:3])
    judged = walk.factors.index <= last
    assert walk.factors[judged].equals(other.factors[judged])
    assert walk.portfolio[judged].equals(other.portfolio[judged])


def test_a_model_that_is_told_of_the_past_walks():
    """Its covariances follow the last dates, and see no later one."""
    config = replace(CONFIG, model="temporal", seeds=1, epochs=2)
    one = walk_forward(PANEL, config)
    other = walk_forward(altered(STOPS[2]), config)
    assert np.isfinite(one.scores.to_numpy()).all()
    assert NEXT_DATE in one.config["notes"]
    assert np.array_equal(one.covariances[:3], other.covariances[:3])
    assert not np.array_equal(one.covariances[3], other.covariances[3])
    wilder = altered(STOPS[0] - 3, size=5.0)
    ratio = np.trace(walk_forward(wilder, config).covariances[0]) / np.trace(one.covariances[0])
    assert ratio > 1.5


def test_weights_are_those_of_the_covariances(walk):
    weights = portfolios.minimum_variance(walk.covariances)
    np.testing.assert_array_equal(walk.weights.loc["vae"], weights)
    returns = PANEL.values[STOPS[1] : STOPS[2]] @ weights[1]
    np.testing.assert_allclose(walk.portfolio["vae"].iloc[STEP : 2 * STEP], returns)


def test_covariances_are_of_the_mixture_in_squared_returns(walk):
    prepared = prepare_walk(PANEL, CONFIG)
    outputs = train_walk(prepared)
    scale = prepared.scalers[3].scale
    seeds = [np.asarray(outputs.covariance[6 + seed], float) for seed in (0, 1)]
    means = np.asarray(outputs.mean[6:8], float)
    mixed = np.mean(seeds, axis=0) + np.cov(means, rowvar=False, bias=True)
    expected = mixed * np.outer(scale, scale)
    np.testing.assert_allclose(walk.covariances[3], expected)
    scales = np.stack([scaler.scale for scaler in prepared.scalers])
    outputs = outputs._replace(ok=np.arange(10) != 7)
    alone = mixture_covariances(outputs, scales)[3]
    np.testing.assert_allclose(alone, seeds[0] * np.outer(scale, scale))


def test_scores_are_in_the_units_of_fit(walk):
    """Ledoit-Wolf's from its density of the raw returns, moved to the units of `fit` at once."""
    rows, judged = PANEL.values[: STOPS[0]], PANEL.values[STOPS[0] : STOPS[1]]
    scaler, unit = fit_scaler(rows), fit_scaler(PANEL.values[split_dates(120).fit])
    fitted = fit_ledoit_wolf(scaler.standardise(rows))
    to_unit = scaler.scale / unit.scale
    mean = (scaler.mean + scaler.scale * fitted.mean - unit.mean) / unit.scale
    law = stats.multivariate_normal(mean, fitted.scatter * np.outer(to_unit, to_unit))
    expected = law.logpdf(unit.standardise(judged))
    np.testing.assert_allclose(walk.scores.ledoit_wolf[:STEP], expected)
    column = walk.windows["log_likelihood, ledoit_wolf"]
    assert column[0] == pytest.approx(expected.mean())


def test_the_ensembles_score_is_its_mixtures(walk):
    prepared = prepare_walk(PANEL, CONFIG)
    outputs = train_walk(prepared)
    unit = fit_scaler(PANEL.values[split_dates(120).fit]).scale
    for w in (0, 4):
        densities = np.exp(np.asarray(outputs.log_likelihood[2 * w : 2 * w + 2], float))
        change = np.log(unit / prepared.scalers[w].scale).sum()
        expected = np.log(densities.mean(axis=0)) + change
        np.testing.assert_allclose(walk.scores.vae[w * STEP : (w + 1) * STEP], expected, rtol=1e-5)


def test_factors_keep_their_identity(walk):
    """Two planted factors, stable over the walk: each matches itself far above chance."""
    later = walk.windows.iloc[1:]
    assert (later.agreement > later.agreement_chance_95 + 0.3).all()
    assert walk.windows["correlation, factor 1"].iloc[1:].min() > 0.8
    assert walk.factors.std().between(0.3, 3.0).all()


def test_strategies_describe_their_returns(walk):
    row, returns = walk.strategies.loc["vae"], walk.portfolio["vae"]
    per_year = walk.config["dates_per_year"]
    assert per_year == pytest.approx(365.25 * 5 / 7, rel=0.01)
    assert row.volatility == pytest.approx(returns.std(ddof=0) * np.sqrt(per_year))
    other = walk.strategies.loc["ledoit_wolf"]
    gap = row.volatility**2 - other.volatility**2
    assert row.variance_difference == pytest.approx(gap)
    assert row.low <= row.variance_difference <= row.high
    assert (other.low, other.high) == (0, 0)
    assert walk.strategies.loc["equal"].turnover == 0


def test_one_judged_date_has_no_volatility_and_says_so():
    config = replace(CONFIG, window=60, step=1, seeds=1, epochs=1)
    one = walk_forward(replace(PANEL, values=PANEL.values[:61], dates=PANEL.dates[:61]), config)
    assert (
        one.strategies[["volatility", "variance_difference", "low", "high"]].isna().all(axis=None)
    )
    assert np.isfinite(one.config["dates_per_year"])
    assert any("One date is judged" in note for note in one.config["notes"])
    opening = walk_opening(one)
    assert opening.answers[0].verdict == "Cannot tell"
    assert {row[-1] for row in opening.scores.rows} == {NONE}
    assert "a new one every 1 date; each judged on as many" in opening.facts


def test_a_single_factor_is_beside_chance_and_no_rotation():
    config = replace(CONFIG, n_factors=1, seeds=1, epochs=5)
    found = walk_forward(PANEL, config)
    assert found.windows.agreement_rotation_95.isna().all()
    assert np.isfinite(found.windows.agreement_chance_95[1:]).all()
    assert "rotation" not in walk_opening(found).answers[2].text


def test_a_model_that_explodes_stands_beside_no_walk():
    """A copied asset: factor analysis has no column, and the notes say why."""
    values = PANEL.values.copy()
    values[:, 3] = values[:, 1]
    found = walk_forward(replace(PANEL, values=values), replace(CONFIG, seeds=1, epochs=1))
    assert list(found.scores) == ["vae", "ledoit_wolf"]
    assert "log_likelihood, factor_analysis" not in found.windows
    notes = "\n".join(found.config["notes"])
    assert f"{PANEL.assets[3]} (a copy of {PANEL.assets[1]})" in notes
    assert "The likelihood of factor analysis is degenerate." in notes
    assert "against Ledoit–Wolf" in walk_report(found)["report.md"].decode("utf-8")


def test_a_walk_is_public():
    assert jaxvae.walk_forward is walk_forward
    assert jaxvae.WalkConfig is WalkConfig


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"window": 10}, "window: 10 is too small"),
        ({"step": 0}, "step: 0 is too small"),
        ({"step": 52}, "step: 52 leaves .* at most 51"),
        ({"seeds": 0}, "seeds: 0"),
        ({"betas": (-1.0,)}, "betas"),
        ({"n_factors": 0}, "n_factors: 0"),
        ({"model": "deep"}, "model: 'deep'"),
        ({"model": "volatility", "n_factors": 1}, "n_factors: 1 is too small"),
        ({"root_seed": -1}, "root_seed: -1"),
        ({"epochs": 0}, "epochs: 0"),
    ],
)
def test_wrong_settings_are_refused(setting, words):
    with pytest.raises(OptionError, match=words):
        replace(CONFIG, **setting)


def test_a_panel_that_cannot_be_walked_is_refused():
    with pytest.raises(DataError, match="120 dates, too few for window=110 and one step=12"):
        prepare_walk(PANEL, replace(CONFIG, window=110))
    with pytest.raises(OptionError, match=r"n_factors: .* pass 7 or less"):
        prepare_walk(PANEL, replace(CONFIG, n_factors=8))
    values = PANEL.values.copy()
    values[20:85, 3] = 0.001
    words = f"'{PANEL.assets[3]}' does not vary in the window that ends {PANEL.dates[83].date()}"
    with pytest.raises(DataError, match=words):
        prepare_walk(replace(PANEL, values=values), CONFIG)


def test_more_assets_than_dates_leave_the_sample_covariance_out():
    config, rng = replace(CONFIG, window=20, step=10), np.random.default_rng(0)
    assets = tuple(f"A{i}" for i in range(30))
    prepared = prepare_walk(
        replace(PANEL, values=rng.normal(size=(120, 30)), assets=assets), config
    )
    covariances = np.broadcast_to(np.eye(30), (len(prepared.spans), 30, 30))
    names = _weights(prepared, covariances).index.unique(0)
    assert "sample" not in names
    assert "ledoit_wolf" in names
    assert "portfolio sample is left out: 20 dates are too few for 30 assets." in prepared.notes[0]


def test_what_cannot_be_held_is_known_before_training(monkeypatch):
    """A sum of two assets has no noise of its own: the sample covariance has no inverse."""
    values = PANEL.values.copy()
    values[:, 7] = values[:, 0] + values[:, 1]
    panel = replace(PANEL, values=values)
    prepared = prepare_walk(panel, CONFIG)
    assert "sample" not in prepared.weights
    assert {"equal", "ledoit_wolf", "oas"} <= prepared.weights.keys()
    (note,) = (note for note in prepared.notes if "sample" in note)
    assert note.startswith("The portfolio sample is left out: a covariance is singular")
    walked = walk_forward(panel, replace(CONFIG, epochs=2))
    assert note in walked.config["notes"]
    assert "sample" not in walked.strategies.index
    singular = {"ledoit_wolf": lambda returns, n_factors: np.ones((8, 8))}
    monkeypatch.setattr(prepare, "ESTIMATORS", singular)
    with pytest.raises(DataError, match="a covariance is singular"):
        prepare_walk(panel, CONFIG)
