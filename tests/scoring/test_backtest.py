"""What a study of a temporal model says of the past."""

import inspect
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxvae.data.synthetic import linear_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.prepare import prepare
from jaxvae.models.model import remember
from jaxvae.scoring import backtest
from jaxvae.scoring import value_at_risk as risk
from jaxvae.training.streams import Stream


class Stopped(Exception):
    """Where the test has seen enough."""


def test_value_at_risk_fan_and_paths_have_draws_of_their_own(monkeypatch):
    """No key is used twice, that of the stream included, which all are made from."""
    keys = [Stream.BACKTEST.key(0)]

    def keep(key, *_):
        keys.append(key)

    def clustering(key, *_):
        keys.append(key)
        raise Stopped

    monkeypatch.setattr(risk, "value_at_risk", keep)
    monkeypatch.setattr(risk, "forecast_fan", keep)
    monkeypatch.setattr(backtest, "clustering", clustering)
    recurrent = SimpleNamespace(recurrence=True)
    remembers = SimpleNamespace(model=recurrent, config=StudyConfig())
    nothing = SimpleNamespace(prepared=remembers, fitted=None)
    inspect.unwrap(risk.study_risk)(nothing)  # no panel is needed
    with pytest.raises(Stopped):
        inspect.unwrap(backtest.study_clusters)(nothing)
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == 4


def test_a_study_remembers_its_panel_through():
    """The dates of the test part go on from those of `fit`."""
    panel, _ = linear_panel(3, n_dates=60, n_assets=6, n_factors=2)
    prepared = prepare(panel, StudyConfig(model="temporal", n_factors=2, seeds=1))
    found = prepared.batch.past, prepared.end
    whole = remember(prepared.model, prepared.values)
    for one, other in zip(*map(jax.tree.leaves, (found, whole)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    _, first = remember(prepared.model, prepared.values[prepared.split.fit])
    for one, other in zip(*map(jax.tree.leaves, (prepared.end_of_fit, first)), strict=True):
        np.testing.assert_array_equal(one, other)
