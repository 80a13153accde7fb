"""The tables of a study's report; None where the study has nothing for one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from jaxvae.report import words
from jaxvae.report.content import Grid, Prose
from jaxvae.report.results import StudyResults
from jaxvae.report.text import (
    NONE,
    interval,
    is_repeat,
    number,
    percent,
    reference_names,
    row_label,
)
from jaxvae.report.verdicts import chosen_row, compare_models, judge, match_of, stabilities

OURS = ("vae_ensemble", "vae_best")
MATCHED_MODELS = ("consensus", "vae_best", "pca", "factor_analysis")
BEST_MEMBERS = 10
EXTREMES = 3
INTERVALS = ("", "_joint", "_seeds")  # of intervals: over dates, jointly, over seeds
LOST = 0.5


def without_blanks(header: list[str], rows: list[list[str]], style: str, file: str = "") -> Grid:
    """A table without the columns in which no row has anything; file: that holds all of it."""
    kept = [k for k in range(len(header)) if any(row[k] != NONE for row in rows)]
    return Grid([header[k] for k in kept], [[row[k] for k in kept] for row in rows], style, file)


def score_table(study: StudyResults) -> Grid:
    """Scores on the test dates: the VAEs, then the classical models, the likeliest first; one of
    the best number of factors is left out where that is the study's number. Beside a degenerate
    likelihood stands no lead."""
    table = study.comparisons[study.comparisons.model == "vae_ensemble"].set_index("baseline")
    table = table.loc[[lead.baseline for lead in compare_models(study).leads]]
    shown = [model for model in classical(study) if not is_repeat(study, model)]
    rows = [_score_row(study, table, model) for model in (*OURS, *shown)]
    header = ["Model", "Log-likelihood", "Per cell", "Ensemble − model [95 %]"]
    header += ["Jointly [95 %]", "Over seeds [95 %]", "R²"]
    return without_blanks(header, rows, "first", "comparisons.csv")


def classical(study: StudyResults) -> list[str]:
    """The baselines, the likeliest on test dates first."""
    table = study.metrics
    rows = table[(table.metric == "log_likelihood") & (table.split == "test") & table.member.isna()]
    ordered = rows.sort_values("value", ascending=False, kind="stable").model
    return [model for model in ordered if not model.startswith("vae")]


def _score_row(study: StudyResults, table: pd.DataFrame, model: str) -> list[str]:
    names = ("log_likelihood", "log_likelihood_se", "log_likelihood_per_cell", "r2")
    value, error, per_cell, r2 = (study.metric(model, name, "test") for name in names)
    row: Any = table.loc[model] if model in table.index else {}
    ends = [(row.get(f"low{x}", np.nan), row.get(f"high{x}", np.nan)) for x in INTERVALS]
    alone, joint, seeds = (interval(*pair) for pair in ends)
    return [
        row_label(study, model, start=True),
        f"{number(value)} ± {number(error, 3)}" if error > 0 else number(value),
        number(per_cell, 3),
        NONE if alone == NONE else f"{number(row['difference'], 2, True)} {alone}",
        joint,
        seeds,
        number(r2, 3),
    ]


def factor_table(study: StudyResults) -> Grid:
    """A row a consensus factor: what it explains, how stable it is, what it matches and moves."""
    header = ["Factor", "Share of variance", "Stability", "φ", "Matches", "r on test dates"]
    header += ["Real", "Moves up most (% per s.d.)", "Moves down most (% per s.d.)"]
    rows = [_factor_row(study, k) for k in range(study.factors.shape[1])]
    return without_blanks(header, rows, "text", "loadings.csv")


def _factor_row(study: StudyResults, k: int) -> list[str]:
    real, arrays, loadings = judge(study).real, study.arrays, study.loadings.iloc[:, k]
    known, r = match_of(study, k) if study.config["reference"] else (-1, np.nan)
    matched = f"{reference_names(study)[known]}" if known >= 0 else NONE
    moves = 100 * loadings.sort_values(ascending=False, kind="stable")
    up, down = _moves(moves[moves > 0][:EXTREMES]), _moves(moves[moves < 0][::-1][:EXTREMES])
    if k in study.config["volatility_factors"]:
        up, down = "the volatility of all assets", NONE
    return [
        study.config["factor_names"][k],
        percent(float(((loadings / arrays["scaler_scale"]) ** 2).mean()), 1),
        number(stabilities(study)[k]) if real is not None else NONE,
        number(arrays["persistence"][k], 2, True) if "persistence" in arrays else NONE,
        matched.replace(" ", "\N{NO-BREAK SPACE}"),
        number(r, 2, True),
        NONE if real is None else "yes" if real[k] else "no",
        up,
        down,
    ]


def _moves(moves: pd.Series) -> str:
    pairs = [f"{asset}\N{NO-BREAK SPACE}{number(move, 2, True)}" for asset, move in moves.items()]
    return ", ".join(pairs) or NONE


def known_factor_table(study: StudyResults) -> Grid | None:
    """Scores against known factors, a row a score, beside what chance and rotation reach."""
    scores = words.FACTOR_SCORES
    names = [name for name in scores if np.isfinite(study.metric("consensus", name, "test"))]
    if not study.config["reference"] or not names:
        return None
    models = [m for m in MATCHED_MODELS if np.isfinite(study.metric(m, "mcc", "test"))]
    # No line break within "K = 5".
    titles = [row_label(study, m, start=True).replace(" = ", "\u00a0=\u00a0") for m in models]
    header = ["Score", *titles, "VAE, mean over seeds [95 %]", "By chance", "By rotation"]
    return without_blanks(
        header, [_known_row(study, name, models) for name in names], "", "metrics.csv"
    )


def _known_row(study: StudyResults, name: str, models: list[str]) -> list[str]:
    def metric(model: str, suffix: str = "") -> float:
        return study.metric(model, f"{name}{suffix}", "test")

    mean, low, high = (metric("vae_ensemble", f"_seeds_{end}") for end in ("mean", "low", "high"))
    chance = [level for m in models if np.isfinite(level := metric(m, "_chance_95"))]
    rotation = metric("consensus", "_rotation_95")
    return [
        words.FACTOR_SCORES[name],
        *(number(metric(model)) for model in models),
        f"{number(mean)} {interval(low, high)}" if np.isfinite(mean) else NONE,
        number(max(chance, default=np.nan)),
        "unmoved" if chance and not np.isfinite(rotation) else number(rotation),
    ]


def estimate_table(study: StudyResults) -> Grid:
    """Every estimator's number of factors, the verdict first."""
    table = study.n_factors.set_index("name").factors
    asked = words.NUMBER_ESTIMATORS
    rows = [[*asked[name], str(int(table[name]))] for name in asked if name in table]
    return Grid(["Estimator", "What it asks", "Factors"], rows, "text narrow", "n_factors.csv")


def size_table(study: StudyResults) -> Grid:
    """The ensemble by its number of factors: validation likelihood and factors in use."""
    header = ["Factors allowed", "Validation log-likelihood", "Gain over none [95 %]"]
    sizes = study.n_factors[study.n_factors.kind == "size"]
    rows = [
        [
            str(int(row.factors)),
            number(row.log_likelihood),
            f"{number(row.gain, 2, True)} {interval(row.low, row.high)}"
            if row.factors and np.isfinite(row.gain)
            else NONE,
            number(row.active_units, 1),
        ]
        for _, row in sizes.iterrows()
    ]
    return Grid([*header, "Factors in use"], rows, "narrow", "n_factors.csv")


def loss_table(study: StudyResults) -> Grid | None:
    """A row a β: the factors that a linear model keeps and loses, and what members did."""
    if study.spectrum is None:
        return None
    header = ["β", "Linear model keeps", "It loses (signal-to-noise)"]
    header += ["Members use: median [range]", "Fewer than half carry"]
    rows = [_loss_row(study, beta, part) for beta, part in study.spectrum.groupby("beta")]
    return Grid(header, rows, "text narrow", "spectrum.csv")


def _loss_row(study: StudyResults, beta: Any, part: pd.DataFrame) -> list[str]:
    used = study.members[study.members.ok & np.isclose(study.members.beta, beta)].active_units
    lost = part[~part.linear.astype(bool)]
    levels = zip(lost.factor, lost.signal_to_noise, strict=True)
    noisy = [f"{factor} ({number(level, 1)})" for factor, level in levels]
    missed = [str(factor) for factor in part.factor[part.members < LOST]]
    return [
        f"{beta:g}",
        f"{int(part.linear.sum())} of {len(part)}",
        ", ".join(noisy) or "none",
        f"{number(used.median(), 1)} {interval(used.min(), used.max(), 0)}" if len(used) else NONE,
        ", ".join(missed) or "none",
    ]


def stability_table(study: StudyResults) -> Grid | None:
    """Stability of each consensus factor over the seeds of each β; None with one seed."""
    if len(study.config["seeds"]) < 2:
        return None
    chosen = chosen_row(study)
    rows = [
        [f"{beta:.3g}{', chosen' if k == chosen else ''}", *(number(value) for value in values)]
        for k, (beta, values) in enumerate(study.stability.iterrows())
    ]
    return Grid(["Stability at β", *study.stability], rows, "narrow", "stability.csv")


def kl_table(study: StudyResults) -> Grid | None:
    """The parts of the members' mean KL at each β, medians over seeds; None without parts."""
    parts = words.KL_PARTS
    members = study.members[study.members.ok]
    if not {*parts} <= {*members}:
        return None
    medians = members.groupby("beta")[[*parts]].median()
    rows = [
        [f"{beta:g}", *(number(row[name]) for name in parts)] for beta, row in medians.iterrows()
    ]
    return Grid(["β", *parts.values()], rows, "narrow", "members.csv")


def file_table(files: Mapping[str, tuple[str, str]]) -> list[Grid | Prose]:
    """The files of a folder that hold tables, with what a row of each is and its units."""
    rows = [[name, *text] for name, text in files.items()]
    return [Grid(["File", "A row is", "Units"], rows, "text links"), Prose(words.FILES_NOTE)]


def study_files(study: StudyResults) -> list[Grid | Prose]:
    """The files of a study's folder; that of a wide panel has its covariance among its arrays."""
    if len(study.loadings) <= words.MOST_COVARIANCE_ASSETS:
        return file_table(study.files)
    left_out = f"{words.COVARIANCE}.csv"
    files = {name: text for name, text in study.files.items() if name != left_out}
    return [*file_table(files), Prose(words.WIDE_NOTE)]


def ranking_table(study: StudyResults) -> Grid:
    """Ways to rank members without the truth, and how well they did where it is known."""
    header = ["Ranked by", "Members", "First", "Rank correlation with matched |corr.|"]
    scores = ["correlation", "best_score", "median_score"]
    rows = [
        [words.CRITERIA[row.criterion], str(row.members), f"member {row.best_member}"]
        + [number(row[name]) for name in scores]
        for _, row in study.rankings.iterrows()
    ]
    return without_blanks(
        [*header, "Of the first", "Of the median member"], rows, "narrow", "rankings.csv"
    )


def moment_table(study: StudyResults) -> Grid:
    """Moments of pooled returns, of the data and of scenarios."""
    rows = [
        [title, *(number(study.metric(m, metric, "fit"), 3) for m in ("data", "vae_ensemble"))]
        for metric, title in words.MOMENT_NAMES.items()
    ]
    return Grid(
        ["Pooled returns, standardised", "Data", "Generated"], rows, "narrow", "metrics.csv"
    )


def member_table(study: StudyResults) -> Grid:
    """The best members on validation."""
    table = study.members[study.members.ok]
    best = table.sort_values("log_likelihood_validation", ascending=False, kind="stable")
    columns = {name: shown for name, shown in words.MEMBER_COLUMNS.items() if name in best}
    rows = [
        [f"{row[c]:g}" if c == "beta" else number(row[c], d) for c, (_, d) in columns.items()]
        for _, row in best.head(BEST_MEMBERS).iterrows()
    ]
    return Grid([title for title, _ in columns.values()], rows, "", "members.csv")


def setting_table(study: StudyResults) -> Grid:
    """What it takes to make the same numbers again."""
    config = study.config
    identity = config["identity"]
    device, versions = identity["device"], identity["versions"]
    values = {
        **{name: config.get(name) for name in words.SETTING_NAMES},
        "tile_width": identity["tile_width"],
        "data_hash": identity["data"]["returns"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "device": f"{device['count']} × {device['kind']} ({device['platform']})",
        "betas": ", ".join(f"{beta:g}" for beta in config["betas"]),
        "seeds": ", ".join(str(seed) for seed in config["seeds"]),
        "covariates": ", ".join(config["covariates"] or ["none"]),
    }
    for part in ("model_config", "train_config"):
        # A number for every asset would fill the page.
        short = {name: value for name, value in config[part].items() if name != "sectors"}
        values[part] = ", ".join(f"{name} = {value}" for name, value in short.items())
    rows = [[title, str(values[name])] for name, title in words.SETTING_NAMES.items()]
    return Grid(["Setting", "Value"], rows, "text wrap")
