"""The report's tables of evidence: known factors, how many there are, what β loses, rankings.

Each is None, and left out, where a study has not what it takes.
"""

from typing import Any

import numpy as np
import pandas as pd

from jaxvae.report.results import StudyResults
from jaxvae.report.style import count, model_name, number, percent
from jaxvae.report.words import CLASSICAL, CRITERIA, ESTIMATORS, KNOWN_SCORES

Table = dict[str, Any]
COMPARED = ("consensus", "vae_best", "pca", "factor_analysis")
LOST = 0.5


def known_factors(study: StudyResults) -> Table | None:
    """Scores against known factors, a row a score, beside what chance and rotation reach."""
    if not study.config["reference"]:
        return None
    names = [name for name in KNOWN_SCORES if np.isfinite(study.metric("consensus", name, "test"))]
    models = [model for model in COMPARED if np.isfinite(study.metric(model, "mcc", "test"))]
    seeds = any(np.isfinite(study.metric("vae_ensemble", f"{n}_seeds_low", "test")) for n in names)
    # No line break within "K = 5".
    names_of_models = (model_name(study, model).replace(" = ", "\u00a0=\u00a0") for model in models)
    header = ["Score", *names_of_models]
    header += ["VAE, mean over seeds [95 %]"] if seeds else []
    header += ["By chance (95 %)", "By random rotation"]
    rows = [_known_row(study, name, models, seeds) for name in names]
    return {"header": header, "rows": rows} if rows else None


def _known_row(study: StudyResults, name: str, models: list[str], seeds: bool) -> list[str]:
    row = [KNOWN_SCORES[name], *(number(study.metric(m, name, "test")) for m in models)]
    if seeds:
        ends = ("mean", "low", "high")
        mean, low, high = (
            number(study.metric("vae_ensemble", f"{name}_seeds_{end}", "test")) for end in ends
        )
        row.append(f"{mean} [{low}, {high}]" if mean != "–" else "–")
    chance = [study.metric(model, f"{name}_chance_95", "test") for model in models]
    known = [level for level in chance if np.isfinite(level)]
    floor = study.metric("consensus", f"{name}_rotation_95", "test")
    invariant = bool(known) and not np.isfinite(floor)
    return [*row, number(max(known, default=np.nan)), "unmoved" if invariant else number(floor)]


def estimates(study: StudyResults) -> Table | None:
    """Every estimator's number of factors, the verdict first."""
    if study.n_factors is None:
        return None
    table = study.n_factors.set_index("name").factors
    names = [name for name in ESTIMATORS if name in table]
    rows = [[*ESTIMATORS[name], str(int(table[name]))] for name in names]
    return {"header": ["Estimator", "What it asks", "Factors"], "rows": rows}


def sizes(study: StudyResults) -> Table | None:
    """The ensemble by its number of factors: held-out likelihood and factors in use."""
    if study.n_factors is None:
        return None
    header = ["Factors", "Validation log-likelihood", "Gain over none [95 %]", "Factors in use"]
    table = study.n_factors[study.n_factors.kind == "size"]
    return {"header": header, "rows": [_size_row(row) for _, row in table.iterrows()]}


def _size_row(row: pd.Series) -> list[str]:
    gain = "–"
    if row.factors and np.isfinite(row.gain):
        gain = f"{number(row.gain, 2, True)} [{number(row.low)}, {number(row.high)}]"
    return [str(int(row.factors)), number(row.log_likelihood), gain, number(row.active_units, 1)]


def losses(study: StudyResults) -> Table | None:
    """A row a β: the factors that a linear model keeps and loses, and what members did."""
    if study.spectrum is None:
        return None
    header = [
        "β",
        "Linear model keeps",
        "It loses (signal-to-noise)",
        "Members use: median [range]",
        "Fewer than half carry",
    ]
    table = study.spectrum
    betas = sorted(table.beta.unique())
    rows = [_losses_row(study, float(beta), table[table.beta == beta]) for beta in betas]
    return {"header": header, "rows": rows}


def _losses_row(study: StudyResults, beta: float, part: pd.DataFrame) -> list[str]:
    members = study.members[study.members.ok & np.isclose(study.members.beta, beta)]
    used = members.active_units
    words = f"{number(used.median(), 1)} [{number(used.min(), 0)}, {number(used.max(), 0)}]"
    lost = part[~part.linear.astype(bool)]
    levels = zip(lost.factor, lost.signal_to_noise, strict=True)
    noisy = [f"{factor} ({number(level, 1)})" for factor, level in levels]
    missed = [str(factor) for factor in part.factor[part.members < LOST]]
    kept = f"{int(part.linear.sum())} of {len(part)}"
    cells = ", ".join(noisy) or "none", words if len(used) else "–", ", ".join(missed) or "none"
    return [f"{beta:g}", kept, *cells]


def rankings(study: StudyResults) -> Table | None:
    """Ways to rank members without the truth, and how well they did where it is known."""
    if study.rankings is None or study.rankings.empty:
        return None
    known = study.rankings.correlation.notna().any()
    header = ["Ranked by", "Members", "First"]
    header += ["Rank correlation with matched |corr.|", "Of the first", "Of the median member"]
    rows = [_ranking_row(row) for _, row in study.rankings.iterrows()]
    width = len(header) if known else 3
    return {"header": header[:width], "rows": [row[:width] for row in rows]}


def _ranking_row(row: pd.Series) -> list[str]:
    scores = [number(row[name]) for name in ("correlation", "best_score", "median_score")]
    return [CRITERIA[row.criterion], str(row.members), f"member {row.best_member}", *scores]


def verdict_words(study: StudyResults) -> str:
    """The number of factors and how it was reached; empty where nobody counted."""
    if study.n_factors is None:
        return ""
    table = study.n_factors.set_index("name").factors
    answer = f"The verdict is {count(int(table['verdict']), 'factor')}: "
    if table["held_out"] == 0:
        return f"{answer}no number of factors beats none on the validation dates beyond its error."
    if not any(name in table for name in CLASSICAL):
        return f"{answer}held-out likelihood alone decides, as assets are too few for eigenvalues."
    if table["parallel_analysis"] == 0:
        return f"{answer}no eigenvalue exceeds those of permuted returns."
    return (
        f"{answer}the median of the seven classical estimators, hence the largest number that most "
        "of them reach. It would be 0 if parallel analysis found none, or if no number of factors "
        "beat none on the validation dates beyond its error."
    )


def consensus_words(study: StudyResults) -> str:
    """The rule that kept and dropped consensus factors; empty for studies before it."""
    rule = study.config.get("consensus")
    if not rule:
        return ""
    bar = f"at least {percent(rule['least_presence'])} of the members at the chosen β have it"
    if rule["chance_stability"] >= 0:
        level = number(rule["chance_stability"])
        bar += f" and its stability exceeds what independent members reach ({level})"
    trim = percent(1 - 2 * rule["trim"])
    return (
        f"{rule['survive']} of {count(rule['factors'], 'consensus factor')} kept: a factor is kept "
        f"where {bar}. On each date it is the mean of the middle {trim} of the members, matched "
        "one-to-one and weighted by agreement and validation likelihood."
    )
