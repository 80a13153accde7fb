"""What holds for every model that a study can fit, by the presets' names, on a small panel.

Each is trained twice: on the panel, and on one whose test part is another. What is equal in both is
repeatable, and does not look ahead.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest

from jaxvae.data.synthetic import volatility_index_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.fit import train_grid
from jaxvae.fitting.prepare import prepare
from jaxvae.fitting.presets import PRESETS
from jaxvae.inference.evaluation import reconstruct
from jaxvae.inference.members import ask, fitted_members
from jaxvae.scoring.decompose_kl import kl_rows
from jaxvae.scoring.tables import Scored, ScoringData, metrics_table, score_values

PANEL, _ = volatility_index_panel(3, n_dates=140, n_assets=6, n_factors=2, n_sectors=2)
N_FIT = 98
QUICK = ("linear",)
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in PRESETS]


def trained(values, config):
    """The panel with these returns made ready, and members trained on it."""
    prepared = prepare(replace(PANEL, values=values), config)
    return prepared, train_grid(prepared, lambda progress: None)


@pytest.fixture(scope="module", params=NAMES)
def fitted(request):
    """The configuration, the panel made ready, and its members."""
    named = {"preset": "notebook"} if request.param == "notebook" else {"model": request.param}
    config = StudyConfig(
        seeds=2, betas=(1.0,), n_factors=2, epochs=8, likelihood_samples=16, tile_width=2, **named
    )
    return config, *trained(PANEL.values, config)


def test_the_parts_of_the_kl_sum_to_it(fitted):
    _, prepared, grid = fitted
    kl = np.asarray(grid.evaluation.kl, float)[:, :N_FIT]
    assert (kl > -1e-5).all()
    table = metrics_table(kl_rows(prepared, grid))
    if not prepared.model.has_standard_prior:
        assert table.empty
        return
    names = ["index_code_information", "total_correlation", "dimension_kl"]
    total = table[table.metric.isin(names)].groupby("member").value.sum()
    np.testing.assert_allclose(total, kl.sum(axis=2).mean(axis=1), rtol=1e-4)


def test_r2_is_of_the_residual_and_of_the_mean_that_was_known(fitted):
    """1 - Σ (x - x̂)² / Σ (x - mean)² on the test part, with the mean of the training part."""
    _, prepared, grid = fitted
    shared = {"batch": prepared.batch}
    rebuilt = ask(reconstruct, fitted_members(grid.ensemble), shared, model=prepared.model)
    mean = prepared.values[prepared.split.train].mean(axis=0)
    data = ScoringData(prepared.values, prepared.split, None)
    for member, values in enumerate(np.asarray(rebuilt, float)):
        error = np.asarray(grid.evaluation.squared_error[member], float)
        scored = Scored("vae", 2, "train", ("test",), squared_error=error)
        residual, variation = ((prepared.values - x)[N_FIT:] ** 2 for x in (values, mean))
        expected = 1 - residual.sum() / variation.sum()
        assert score_values(scored, "test", data)["r2"] == pytest.approx(expected, rel=1e-4)


def test_the_unit_of_returns_does_not_matter(fitted):
    """A power of two moves no bit of what a model sees, and comes back."""
    config, prepared, _ = fitted
    other = prepare(replace(PANEL, values=4 * PANEL.values), config)
    jax.tree.map(np.testing.assert_array_equal, other.batch, prepared.batch)
    np.testing.assert_allclose(other.scaler.restore(other.values), 4 * PANEL.values, rtol=1e-9)


def test_later_returns_move_no_bit_of_what_was_said_before(fitted):
    """Neither of the members nor of their posteriors, errors and likelihoods of earlier dates."""
    config, _, grid = fitted
    values = PANEL.values.copy()
    values[N_FIT:] = 0.5 * values[N_FIT:][::-1] + 0.001
    _, other = trained(values, config)
    jax.tree.map(np.testing.assert_array_equal, other.ensemble, grid.ensemble)
    for name in ("factors", "log_variance", "kl", "squared_error", "likelihood"):
        one, two = (
            np.asarray(jax.tree.leaves(getattr(g.evaluation, name))[0]) for g in (grid, other)
        )
        np.testing.assert_array_equal(one[:, :N_FIT], two[:, :N_FIT])
        assert (one[:, N_FIT:] != two[:, N_FIT:]).any() or name == "log_variance"
