"""What a study of a temporal model says of the future."""

import inspect

import jax
import numpy as np
import pytest

from jaxvae.study import backtest
from jaxvae.study.config import StudyConfig
from jaxvae.training.streams import Stream


class Stopped(Exception):
    """Where the test has seen enough."""


def test_value_at_risk_and_paths_have_draws_of_their_own(monkeypatch):
    """No key is used twice, that of the stream included, which both are split from."""
    keys = [Stream.BACKTEST.key(0)]

    def value_at_risk(key, *_):
        keys.append(key)
        return {}, {}

    def clustering(key, *_):
        keys.append(key)
        raise Stopped

    monkeypatch.setattr(backtest, "value_at_risk", value_at_risk)
    monkeypatch.setattr(backtest, "clustering", clustering)
    with pytest.raises(Stopped):
        inspect.unwrap(backtest.backtest)(None, None, None, StudyConfig())  # no panel is needed
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == 3
