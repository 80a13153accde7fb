"""A study of the autoregressive model, from a panel with memory to its report and back."""

import numpy as np
import pandas as pd
import pytest
import state_space

from jaxvae.data.panel import Panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.study.run import run_study

pytestmark = pytest.mark.slow

N_DATES, N_FIT = 200, 140
PERSISTENCE = (0.9, 0.0)
CONFIG = StudyConfig(seeds=2, betas=(1.0,), n_factors=2, model="autoregressive", epochs=150)
VALUES, (LOADINGS, _, NOISE, _) = state_space.planted(3, PERSISTENCE, N_DATES, 6)
DATES = pd.date_range("2020-01-01", periods=N_DATES, freq="B")
PANEL = Panel(0.01 * VALUES, DATES, tuple("ABCDEF"), name="memory")


@pytest.fixture(scope="module")
def study():
    return run_study(PANEL, CONFIG)


def test_memory_pays_against_factor_analysis(study):
    lead = study.comparisons.set_index(["model", "baseline"]).loc["vae_ensemble", "factor_analysis"]
    assert lead.difference > 0.1
    assert study.metric("vae_ensemble", "log_likelihood_se", "test") == 0.0


def test_each_factor_has_its_persistence(study):
    """To .25, three standard errors √((1-φ²)/140) of the one without memory."""
    assert len(study.arrays["persistence"]) == study.factors.shape[1] == 2
    found = np.sort(study.arrays["persistence"])
    np.testing.assert_allclose(found, np.sort(PERSISTENCE), atol=0.25)


def test_the_report_says_one_step_ahead(study, tmp_path):
    study.save(tmp_path / "study")
    report = (tmp_path / "study" / "report.md").read_text("utf-8")
    assert "one step ahead" in report
    assert "| φ |" in report
    assert "importance-weighted" not in report


def test_factors_of_the_dates_before_the_test_part_do_not_see_it(study):
    """Encoding these dates alone gives the study's factors again."""
    before = Panel(PANEL.values[:N_FIT], DATES[:N_FIT], PANEL.assets, name="before")
    found = study.encode(before)
    np.testing.assert_allclose(found, study.factors[:N_FIT], atol=1e-4)


def test_scenarios_have_the_stationary_covariance(study):
    draws = study.scenarios(20_000).to_numpy()
    np.testing.assert_allclose(
        np.cov(draws.T), study.covariance, atol=0.1 * draws.var(axis=0).max()
    )
