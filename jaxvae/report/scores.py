"""The report's table of scores on the test part, and the notes under it."""

from typing import Any

import numpy as np
import pandas as pd

from jaxvae.report.results import StudyResults
from jaxvae.report.style import beta_label, count, model_name, number
from jaxvae.report.words import ALL_EXACT, ONE_STEP_AHEAD, SCORE_COLUMNS

SCORED = (
    "vae_ensemble",
    "vae_best",
    "factor_analysis_best",
    "factor_analysis",
    "pca_best",
    "pca",
    "ledoit_wolf",
    "multivariate_t",
    "ewma_t",
)


def scores(study: StudyResults) -> dict[str, Any]:
    """Key scores on the test part, a row a model; columns that no model fills are left out."""
    models = [model for model in SCORED if (study.metrics.model == model).any()]
    cells = {
        "model": [model_name(study, model) for model in models],
        "log_likelihood": [_likelihood(study, model) for model in models],
        "difference": [_difference(study, model) for model in models],
        "joint": [_joint_interval(study, model) for model in models],
    }
    for metric in SCORE_COLUMNS:
        if metric not in cells:
            values = [study.metric(model, metric, "test") for model in models]
            cells[metric] = [number(value, 3) for value in values]
    shown = [name for name in SCORE_COLUMNS if any(cell != "–" for cell in cells[name])]
    rows = zip(*(cells[name] for name in shown), strict=True)
    return {"header": [SCORE_COLUMNS[name] for name in shown], "rows": [list(row) for row in rows]}


def _likelihood(study: StudyResults, model: str) -> str:
    error = study.metric(model, "log_likelihood_se", "test")
    value = number(study.metric(model, "log_likelihood", "test"))
    return f"{value} ± {number(error, 3)}" if error > 0 else value


def _comparison(study: StudyResults, model: str) -> pd.Series | None:
    table = study.comparisons
    rows = table[(table.model == "vae_ensemble") & (table.baseline == model)]
    return None if rows.empty else rows.iloc[0]


def _difference(study: StudyResults, model: str) -> str:
    row = _comparison(study, model)
    if row is None:
        return "–"
    return f"{number(row.difference, 2, True)} [{number(row.low)}, {number(row.high)}]"


def _joint_interval(study: StudyResults, model: str) -> str:
    """That holds all differences at once; studies of earlier versions have none."""
    row = _comparison(study, model)
    if row is None or "low_joint" not in row:
        return "–"
    return f"[{number(row.low_joint)}, {number(row.high_joint)}]"


def score_notes(study: StudyResults) -> list[str]:
    """What the scores are, and how they came about."""
    samples = study.config["likelihood_samples"]
    effective = number(study.metric("vae_ensemble", "effective_samples", "test"), 0)
    members, chosen = study.members, study.config["chosen"]
    how = (
        f"A VAE’s is an importance-weighted bound from {samples} samples ({effective} effective), "
        "± its Monte-Carlo standard error; the others’ are exact."
    )
    if study.config["model_facts"]["exact_likelihood"]:
        how = ONE_STEP_AHEAD if study.config["model_facts"]["ordered"] else ALL_EXACT
    return [
        f"Of {count(len(members), 'member')}, the β of the best mean score over seeds on the "
        "validation dates was chosen "
        f"({beta_label(chosen['beta'])}; its best member: seed {chosen['seed']}, "
        f"{count(chosen['best_epoch'], 'epoch')}) and its seeds refitted on training and "
        "validation dates together; the best VAE is the refit likeliest there. The baselines saw "
        "the same dates. The test dates were opened once, for the figures shown here.",
        "Likelihoods are in nats a date, of standardised returns. " + how,
        *_missing_note(study),
        *_best_member_note(study),
    ]


def _missing_note(study: StudyResults) -> list[str]:
    if not study.config["panel"].get("missing_cells"):
        return []
    return [
        "Likelihoods and R² are of the cells observed: a date with fewer counts less, and a figure "
        "per cell stands beside the one per date."
    ]


def _best_member_note(study: StudyResults) -> list[str]:
    p_value = study.metric("vae", "best_member_p_value", "test")
    if not np.isfinite(p_value):
        return []
    lead = study.metric("vae", "best_member_lead", "test")
    if lead <= 0:
        return [
            "No member reaches the strongest classical model on the test dates: the best is "
            f"{number(-lead)} nats a date behind it."
        ]
    return [
        "The member that is best on the test dates leads the strongest classical model by "
        f"{number(lead, 2, True)} nats a date. Were none of the "
        f"{count(len(study.members), 'member')} better, the best of so many would lead by as much "
        f"with probability {number(p_value, 3)}."
    ]
