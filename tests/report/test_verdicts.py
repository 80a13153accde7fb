"""Awkward studies: what the report says of each is what its numbers bear out."""

import re
from dataclasses import replace

import numpy as np
import pytest
from example_study import make_study
from matplotlib.figure import Figure

from jaxvae.analysis.survival import STABLE
from jaxvae.fitting.presets import PRESETS
from jaxvae.report.answers import answers, more_verdict, real_verdict, which_verdict
from jaxvae.report.score_figures import _draw_levels
from jaxvae.report.study_report import study_document
from jaxvae.report.tables import score_table
from jaxvae.report.text import NONE, row_label
from jaxvae.report.verdicts import AHEAD, BEHIND, LEVEL, compare_models, judge, standing
from jaxvae.report.words import AXES, BY_CONVENTION


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr("jaxvae.report.study_report.drawings", lambda study: {})


def with_metrics(study, **values):
    """The same study with other metrics: `model__metric`, on the test dates."""
    table = study.metrics.copy()
    for name, value in values.items():
        model, metric = name.split("__")
        table = table[
            ~((table.model == model) & (table.metric == metric) & (table.split == "test"))
        ]
        table.loc[len(table) + table.index.max()] = (model, None, None, "test", metric, value)
    return replace(study, metrics=table)


def with_leads(study, leads, width=0.5):
    """The same study with other differences, by baseline, and intervals of that width each way."""
    table = study.comparisons.copy()
    for baseline, difference in leads.items():
        rows = table.baseline == baseline
        table.loc[rows, "difference"] = difference
        for kind, share in (("", 0.5), ("_joint", 0.8), ("_widest", 1.0)):
            table.loc[rows, f"low{kind}"] = difference - share * width
            table.loc[rows, f"high{kind}"] = difference + share * width
    return replace(study, comparisons=table)


def with_stability(study, *values):
    table = study.stability.copy()
    table.loc[:] = np.tile(values, (len(table), 1))
    return replace(study, stability=table)


def with_rule(study, survive):
    rule = {**study.config["consensus"], "survive": survive}
    return replace(study, config={**study.config, "consensus": rule})


def with_counts(study, **found):
    table = study.n_factors.copy()
    for name, number in found.items():
        table.loc[table.name == name, "factors"] = number
    return replace(study, n_factors=table)


def with_correlations(study, r):
    """Consensus factor k matched with known factor k, at r[k]."""
    arrays = {"correlation": np.diag(r), "match_learned": np.arange(len(r))}
    return replace(study, arrays={**study.arrays, **arrays})


ALL = dict.fromkeys(
    ("pca", "pca_best", "factor_analysis", "factor_analysis_best", "ledoit_wolf", "multivariate_t")
)
STABILITIES = (0.97, 0.95, 0.93, 0.91, 0.90)
BASE = make_study(n_assets=12, n_dates=200, n_seeds=3, epochs=3)


def ahead(study=BASE, by=2.0):
    return with_leads(study, dict.fromkeys(ALL, by))


AWKWARD = {
    "as it is": BASE,
    "no stable factor": with_stability(BASE, 0.5, 0.4, 0.3, 0.2, 0.1),
    "stability on the threshold as printed": with_stability(BASE, 0.8951, 0.8949, 0.9, 0.1, 0.1),
    "one seed": make_study(n_assets=12, n_dates=200, n_seeds=1, epochs=3),
    "one seed, one beta, one factor": make_study(
        n_assets=12, n_dates=200, n_seeds=1, betas=(1.0,), n_factors=1, epochs=3
    ),
    "one beta": make_study(n_assets=12, n_dates=200, n_seeds=3, betas=(2.0,), epochs=3),
    "ensemble behind": with_leads(BASE, {"multivariate_t": -3.0}),
    "ensemble ahead": ahead(),
    "ahead alone, level at the widest": with_leads(ahead(), {"multivariate_t": 0.49}),
    "ahead, but PCA rebuilds more": with_metrics(ahead(), pca__r2=0.9, pca__mcc=0.95),
    "level, but PCA rebuilds more": with_metrics(BASE, pca__r2=0.9),
    "more asked for than estimators find": with_counts(
        with_stability(BASE, *STABILITIES), verdict=1
    ),
    "nothing beyond noise": with_counts(BASE, verdict=0, held_out=0),
    "nothing beyond permuted returns": with_counts(BASE, verdict=0, parallel_analysis=0),
    "no factor kept": with_rule(with_stability(BASE, *STABILITIES), 0),
    "some factors kept": with_rule(BASE, 4),
    "all stable, axes not identified": with_metrics(
        with_stability(BASE, *STABILITIES), consensus__mcc=0.75
    ),
    "all stable and identified, one match weak": with_correlations(
        with_stability(BASE, *STABILITIES), [0.99, -0.98, 0.97, -0.96, 0.4]
    ),
    "no more than chance": with_metrics(BASE, consensus__mcc=0.05),
    "known factors that nobody planted": replace(
        BASE, config={**BASE.config, "reference": {"names": list("abcde"), "planted": False}}
    ),
    "no known factors": make_study(
        n_assets=12, n_dates=200, n_seeds=3, epochs=3, reference=False, sectors=False
    ),
    "fewer factors than known ones": make_study(
        n_assets=12, n_dates=200, n_seeds=3, epochs=3, n_factors=2, n_reference=4
    ),
    "a tiny test part": make_study(n_assets=6, n_dates=30, n_seeds=2, epochs=3),
    "diverged members": make_study(
        n_assets=12, n_dates=200, n_seeds=2, epochs=3, betas=(0.5, 1.0), diverged=(0, 3)
    ),
    "a degenerate baseline": with_metrics(
        with_leads(BASE, {"multivariate_t": -40.0}), multivariate_t__degenerate=1.0
    ),
    "the best number of factors is the study's": make_study(
        n_assets=12, n_dates=200, n_seeds=3, epochs=3, n_factors=6
    ),
    "unreliable likelihoods": with_metrics(
        BASE, vae_ensemble__unreliable=1.0, vae_ensemble__effective_samples_min=1.3
    ),
    "missing cells": replace(
        BASE, config={**BASE.config, "panel": {**BASE.config["panel"], "missing_cells": 36}}
    ),
    "too few assets for estimators": replace(
        BASE, n_factors=BASE.n_factors[BASE.n_factors.name.isin(["verdict", "held_out", "vae"])]
    ),
    "no closed form of what β loses": replace(BASE, spectrum=None),
}


@pytest.fixture(params=AWKWARD.values(), ids=AWKWARD.keys())
def study(request):
    return request.param


def texts(study):
    document = study_document(study)
    parts = [part.text for part in document.parts if hasattr(part, "text")]
    spoken = [" ".join(answer) for answer in document.opening.answers]
    tables = [part for part in document.parts if part.kind == "grid"]
    cells = [cell for table in tables for row in (table.header, *table.rows) for cell in row]
    return [*parts, *spoken, *document.limits, document.opening.facts, *cells]


def test_nothing_unsaid_is_printed(study):
    for text in texts(study):
        assert not re.search(r"\bnan\b|None of the None|\binf\b|\{|\}", text), text
        assert "  " not in text


def test_the_word_for_a_lead_follows_its_widest_interval(study):
    found = compare_models(study)
    verdict, words = more_verdict(study, found), answers(study)[2].text
    rows = study.comparisons.set_index(["model", "baseline"])
    for lead in found.leads:
        row = rows.loc[("vae_ensemble", lead.baseline)]
        assert row.low_widest <= min(row.low, row.low_joint)
        assert (lead.low, lead.high) == (row.low_widest, row.high_widest)
        assert (lead.word == AHEAD) == (round(row.low_widest, 2) > 0)
        assert (lead.word == BEHIND) == (round(row.high_widest, 2) < 0)
    strongest = found.leads[0]
    assert strongest.difference == min(lead.difference for lead in found.leads)
    start = {AHEAD: "Yes: VAE +", LEVEL: "Not shown: level, VAE", BEHIND: "No: VAE −"}[
        strongest.word
    ]
    assert verdict.startswith(start)
    assert f"the ensemble is {strongest.word} " in words
    # "Yes" is said of all of them, so that none may be left that is level or ahead of the VAE.
    assert verdict.startswith("Yes") == (found.count(AHEAD) == len(found.leads))


def test_what_pca_does_better_stands_in_the_headline(study):
    found = compare_models(study)
    verdict = more_verdict(study, found)
    behind = found.leads[0].word == BEHIND
    for (ours, pca), words in ((found.rebuilt, "rebuilds more"), (found.matched, "nearer to")):
        assert (words in verdict) == (pca - ours >= 0.02 and not behind)


def test_real_factors_are_stable_matched_and_kept(study):
    """The headline, the sentence and the table count the same factors."""
    found, table = judge(study), study_document(study).parts
    rows = next(
        part for part in table if part.kind == "grid" and "Share of variance" in part.header
    )
    column = {title: [row[k] for row in rows.rows] for k, title in enumerate(rows.header)}
    assert ("Real" in column) == ("Stability" in column) == (len(study.config["seeds"]) > 1)
    if found.real is None:
        assert "one seed" in answers(study)[1].text
        return
    stable = [float(cell) >= STABLE for cell in column["Stability"]]
    np.testing.assert_array_equal(found.stable, stable)
    assert f"{sum(stable)} of {len(stable)} factor" in answers(study)[1].text
    real = [cell == "yes" for cell in column["Real"]]
    np.testing.assert_array_equal(found.real, real)
    bar = max(found.chance, 0.0 if np.isnan(found.rotation) else found.rotation)
    for k, is_real in enumerate(real):
        assert not is_real or (stable[k] and found.kept)
        if is_real and study.config["reference"]:
            assert round(found.mcc, 2) > round(bar, 2)
            r = column["r on test dates"][k].replace("−", "-")
            assert r == "–" or abs(float(r)) > round(bar, 2)
    verdict = real_verdict(found)
    if found.estimated != 0 and found.kept:
        assert f"{sum(real)} of {found.kept}" in verdict
    assert verdict.startswith("Yes") == (
        bool(found.kept) and sum(real) == found.kept and found.estimated >= found.kept
    )
    if found.estimated < sum(real):
        assert f"verdict on their number is {found.estimated}" in verdict or found.estimated == 0


def test_the_number_of_factors_is_one_number_or_both_are_said(study):
    found = judge(study)
    verdict = which_verdict(found)
    assert verdict.startswith(str(found.kept) if found.kept else "None")
    said = re.findall(r"number is (\d+|none)", verdict)
    agree = found.estimated == found.kept
    assert said == ([] if agree else [str(found.estimated or "none")])


def test_the_likeliest_size_is_told_with_what_it_uses():
    """Allowed 5, members may use 4: no sentence says one number where the table has another."""
    table = {row[0]: row[1:] for row in _grid(BASE, "Factors allowed").rows}
    best = max(table, key=lambda size: float(table[size][0].replace("−", "-")))
    assert (best, table[best][2]) == ("5", "4.8")
    estimates = {row[0]: row[1:] for row in _grid(BASE, "Estimator").rows}
    assert "in use" in estimates["VAE ensemble"][0]


def _grid(study, title):
    return next(p for p in study_document(study).parts if p.kind == "grid" and title in p.header)


def test_a_degenerate_baseline_is_named_and_not_compared_with():
    study = AWKWARD["a degenerate baseline"]
    found = compare_models(study)
    assert found.degenerate == ("multivariate_t",)
    assert "multivariate_t" not in {lead.baseline for lead in found.leads}
    assert "ultivariate" not in more_verdict(study, found)
    assert "Multivariate t is left out" in answers(study)[2].text
    (row,) = (row for row in score_table(study).rows if row[0] == "Multivariate t")
    assert set(row[2:]) == {NONE}


def test_the_figure_over_beta_has_no_level_of_a_degenerate_baseline():
    study = AWKWARD["a degenerate baseline"]
    loud = with_metrics(study, multivariate_t__log_likelihood=40.0)
    for one in (study, loud):
        axes = Figure().subplots()
        _draw_levels(one, axes, "log_likelihood", "test")
        assert "ultivariate" not in " ".join(text.get_text() for text in axes.texts)
        assert axes.texts


def test_a_model_stands_once_in_table_and_words():
    study = AWKWARD["the best number of factors is the study's"]
    leads = [lead.baseline for lead in compare_models(study).leads]
    named = {row_label(study, name, start=True) for name in leads}
    assert named == {row[0] for row in score_table(study).rows[2:]}
    assert len(named) == len(leads)
    assert f"the strongest of {len(leads)} classical models" in answers(study)[2].text


def test_one_factor_is_spoken_of_in_the_singular():
    study = AWKWARD["one seed, one beta, one factor"]
    assert "It is in at least 50 % of the members" in answers(study)[0].text
    assert "It is not in at least 50 %" in answers(with_rule(study, 0))[0].text
    two = with_stability(make_study(n_assets=12, n_dates=200, n_factors=1, epochs=3), 0.2)
    assert "0 of 1 factor is stable" in answers(two)[1].text


def test_doubtful_likelihoods_are_called_so():
    spoken = " ".join(texts(AWKWARD["unreliable likelihoods"]))
    assert "at least 1" in spoken
    assert "unreliable" in spoken
    assert "unreliable" not in " ".join(texts(BASE))


def test_the_share_of_missing_cells_is_one_number():
    spoken = " ".join(texts(AWKWARD["missing cells"]))
    assert "1.5 % of the cells missing" in spoken
    assert "cells observed" in spoken


def test_the_best_of_the_seeds_is_judged_on_what_the_baselines_were_fitted_on():
    for lead, words in ((0.4, "0.40 nats per date ahead of"), (-0.4, "0.40 nats per date behind")):
        doubt = {"vae_ensemble__best_seed_lead": lead, "vae_ensemble__best_seed_p_value": 0.03}
        spoken = " ".join(texts(with_metrics(BASE, **doubt)))
        assert f"likeliest on the test dates is {words} the strongest classical model" in spoken
        assert ("probability 0.030" in spoken) == (lead > 0)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.01, 1.0, AHEAD), (0.004, 1.0, LEVEL), (-1.0, -0.004, LEVEL), (-1.0, -0.01, BEHIND),
        (-1.0, 1.0, LEVEL), (0.0, 0.0, LEVEL),
    ],
)  # fmt: skip
def test_words_are_decided_on_the_numbers_that_are_printed(low, high, word):
    assert standing(low, high) == word


def test_whether_the_likelihood_identifies_the_axes_is_said():
    """Of a model that knows; of one factor, which has no axes, and of a caller's own nothing."""
    axes = PRESETS["student"].axes
    for n_factors, known in ((3, ""), (3, axes), (1, axes)):
        study = make_study(n_assets=12, n_dates=120, n_factors=n_factors, n_seeds=2, epochs=10)
        study.config["axes"] = known
        said = bool(known) and n_factors > 1
        real = answers(study)[1]
        assert ("The likelihood is the same in any other axes" in real.text) == said
        assert real.verdict.endswith(", in axes by convention") == said
        assert real.text == real.text.strip()


@pytest.mark.parametrize("name", PRESETS)
def test_axes_are_a_convention_of_those_that_have_one(name):
    preset = PRESETS[name]
    model = preset.model.build(8)
    assert AXES[preset.axes]
    assert (preset.axes in BY_CONVENTION) == (model.principal is not None)
