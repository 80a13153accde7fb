"""What several baselines begin with is worked out once."""

import numpy as np

from jaxvae.baselines import (
    BASELINES,
    Development,
    ewma_t,
    ewma_t_two_speeds,
    garch,
    table,
)

VALUES = np.random.default_rng(0).standard_normal((300, 2))


def counted(function):
    asked = []

    def counting(*arguments):
        asked.append(arguments)
        return function(*arguments)

    return counting, asked


def fit(*names):
    known = Development(VALUES, 200, 1)
    return [BASELINES[name].fit(known) for name in names]


def test_margins_are_fitted_once_for_constant_and_moving_correlations(monkeypatch):
    def maximise(column, n_leverage, start):
        return np.array([0.0, 0.1, 0.05, *[0.0] * n_leverage, 0.85, 8.0 + column.mean()])

    counting, asked = counted(maximise)
    monkeypatch.setattr(garch, "_maximise", counting)
    alone = fit("ccc_t") + fit("garch_copula")
    n_alone, asked[:] = len(asked), []
    together = fit("ccc_t", "garch_copula")
    fitted = [(column.tobytes(), n_leverage) for column, n_leverage, _ in asked]
    assert len(fitted) == len(set(fitted)) < n_alone
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.log_likelihood(VALUES), other.log_likelihood(VALUES))


def test_averages_of_two_speeds_start_from_those_of_one(monkeypatch):
    counting, asked = counted(ewma_t.best_of_one_speed)
    for asks in (ewma_t, ewma_t_two_speeds, table):
        monkeypatch.setattr(asks, "best_of_one_speed", counting)
    fit("ewma_t", "ewma_t_two_speeds")
    assert len(asked) == 1
