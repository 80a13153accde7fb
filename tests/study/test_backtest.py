"""What a study of a temporal model says of the past."""

import inspect
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxvae.study import backtest
from jaxvae.study.config import StudyConfig
from jaxvae.study.portfolio import value_at_risk as risk
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
    nothing = SimpleNamespace(config=StudyConfig(), prepared=None, fitted=None)
    inspect.unwrap(risk.study_risk)(nothing)  # no panel is needed
    with pytest.raises(Stopped):
        inspect.unwrap(backtest.backtest)(nothing, None)
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == 4
