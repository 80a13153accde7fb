"""A study of a panel with a fault names it, flags who rides on it and compares with nobody else."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from jaxvae.data.panel import split_dates
from jaxvae.data.synthetic import linear_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.report.verdicts import compare_models
from jaxvae.scoring.flag_degenerate import cause_notes
from jaxvae.scoring.tables import (
    Scored,
    ScoringData,
    has_degenerate_likelihood,
    metrics_table,
    score_rows,
)
from jaxvae.study.run import run_study

pytestmark = pytest.mark.slow

CONFIG = StudyConfig(
    seeds=2, betas=(1.0,), n_factors=2, model="static", epochs=6, likelihood_samples=32
)
PANEL, _ = linear_panel(3, n_dates=120, n_assets=8, n_factors=2, n_sectors=2)
COPIED = PANEL.values.copy()
COPIED[:, 5] = COPIED[:, 2]


@pytest.fixture(scope="module")
def copied():
    return run_study(replace(PANEL, values=COPIED), CONFIG)


def test_the_study_of_a_copied_asset_flags_factor_analysis_alone(copied):
    flagged = copied.metrics[copied.metrics.metric == "degenerate"]
    assert set(flagged.model) == {"factor_analysis", "factor_analysis_best"}
    assert set(flagged.split) == {"fit", "test"}
    assert (flagged.value == 1).all()
    ours = compare_models(copied)
    assert set(ours.degenerate) == set(flagged.model)
    assert not {lead.baseline for lead in ours.leads} & set(flagged.model)
    best = copied.comparisons.query("baseline == 'factor_analysis'").difference.min()
    assert min(lead.difference for lead in ours.leads) > best


def test_its_notes_name_the_asset_and_the_models(copied):
    notes, name = copied.config["notes"], PANEL.assets
    for dates in ("the dates fitted on", "test dates"):
        (note,) = [note for note in notes if note.startswith(f"On {dates} ")]
        assert f"{name[5]} (a copy of {name[2]})" in note
    (note,) = [note for note in notes if note.startswith("No comparison with ")]
    assert "factor analysis best" in note
    assert "vae" not in note


def test_parts_are_judged_apart():
    values = PANEL.values.copy()
    values[84:, 3] = 0.01
    fit, test = values[:84], values[84:]
    assert cause_notes(fit, PANEL.assets, "the dates fitted on") == []
    (note,) = cause_notes(test, PANEL.assets, "test dates")
    assert f"{PANEL.assets[3]} (100 % of its returns are one value)" in note


def test_a_long_list_is_cut():
    (note,) = cause_notes(np.round(PANEL.values * 0.0), PANEL.assets, "test dates")
    assert " and 3 more: correct or drop them." in note


def test_an_ensemble_that_explodes_is_compared_with_nobody(copied):
    table = copied.metrics
    last = table[table.metric == "degenerate"].iloc[-1:].assign(model="vae_ensemble", split="test")
    found = compare_models(replace(copied, metrics=pd.concat([table, last])))
    assert found.leads == ()
    assert found.degenerate[0] == "vae_ensemble"


def test_a_flag_is_a_row_of_its_split():
    likelihood, moved = np.zeros(10), np.where(np.arange(10) < 7, -0.01, -50.0)
    scored = Scored("m", None, "fit", ("fit", "test"), likelihood, of_jittered=moved)
    context = ScoringData(np.zeros((10, 4)), split_dates(10), None)
    assert not has_degenerate_likelihood(scored, "fit", context)
    table = metrics_table(score_rows([scored], context, 0))
    assert table.query("metric == 'degenerate'").split.tolist() == ["test"]
