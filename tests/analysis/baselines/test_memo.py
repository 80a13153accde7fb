"""What several baselines begin with is worked out once."""

import numpy as np

from jaxvae.analysis.baselines import (
    ewma_t,
    fit_ewma_t,
    fit_ewma_t_two_speeds,
    fit_garch_copula,
    garch,
)
from jaxvae.analysis.baselines.ccc_t import fit_ccc_t
from jaxvae.analysis.baselines.memo import MOST_REMEMBERED, memoised

VALUES = np.random.default_rng(0).standard_normal((300, 2))


def counted(function):
    asked = []

    def counting(*arguments):
        asked.append(arguments)
        return function(*arguments)

    return counting, asked


def test_equal_arguments_are_worked_out_once_and_changed_ones_anew():
    total, asked = counted(lambda values, number: values.sum() + number)
    remembered, values = memoised(total), VALUES.copy()
    assert remembered(values, 1) == remembered(VALUES, 1) == VALUES.sum() + 1
    assert len(asked) == 1
    values[0, 0] += 1.0
    assert remembered(values, 1) == values.sum() + 1
    assert remembered(values, 2) == values.sum() + 2
    assert len(asked) == 3


def test_no_more_answers_are_kept_than_a_few():
    double, asked = counted(lambda number: 2 * number)
    remembered = memoised(double)
    for number in range(MOST_REMEMBERED + 1):
        remembered(number)
    assert remembered(MOST_REMEMBERED) == 2 * MOST_REMEMBERED
    assert len(asked) == MOST_REMEMBERED + 1
    assert remembered(0) == 0
    assert len(asked) == MOST_REMEMBERED + 2


def test_margins_are_fitted_once_for_constant_and_moving_correlations(monkeypatch):
    def maximise(column, n_leverage, start):
        return np.array([0.0, 0.1, 0.05, *[0.0] * n_leverage, 0.85, 8.0 + column.mean()])

    counting, asked = counted(maximise)
    monkeypatch.setattr(garch, "_maximise", counting)
    monkeypatch.setattr(garch, "import_extra", lambda *names: None)
    fit_ccc_t(VALUES, 200)
    fitted = [(column.tobytes(), n_leverage) for column, n_leverage, _ in asked]
    assert len(fitted) == len(set(fitted)) >= 6
    fit_garch_copula(VALUES, 200)
    fitted = [(column.tobytes(), n_leverage) for column, n_leverage, _ in asked]
    assert len(fitted) == len(set(fitted))


def test_averages_of_two_speeds_start_from_those_of_one(monkeypatch):
    counting, asked = counted(ewma_t.most_likely)
    monkeypatch.setattr(ewma_t, "most_likely", counting)
    fit_ewma_t(VALUES, 200)
    fit_ewma_t_two_speeds(VALUES, 200)
    assert len(asked) == 1
