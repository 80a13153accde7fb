"""The tables of a study's report; None where the study has nothing for one."""

from collections.abc import Callable, Mapping
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
    numbers,
    percent,
    reference_names,
    row_label,
    signed,
    with_interval,
)
from jaxvae.report.verdicts import chosen_row, compare_models, judge, match_of, stabilities

OURS = ("vae_ensemble", "vae_best")
MATCHED_MODELS = ("consensus", "vae_best", "pca", "factor_analysis")
BEST_MEMBERS = 10
EXTREMES = 3
LOST = 0.5


def score_table(study: StudyResults) -> Grid:
    """Scores on the test dates: the VAEs, then the classical models, the likeliest first; one of
    the best number of factors is left out where that is the study's number. Beside a degenerate
    likelihood stands no lead."""
    models = [*OURS, *(model for model in classical(study) if not is_repeat(study, model))]
    table = study.comparisons[study.comparisons.model == "vae_ensemble"].set_index("baseline")
    compared = [lead.baseline for lead in compare_models(study).leads]
    leads = table.loc[compared].reindex(models)
    names = ("log_likelihood", "log_likelihood_se", "log_likelihood_per_cell", "r2")
    scores = ([study.metric(model, name, "test") for model in models] for name in names)
    values, errors, per_cell, r2 = scores
    cells = {
        "Model": [row_label(study, model, start=True) for model in models],
        "Log-likelihood": [
            f"{number(value)} ± {number(error, 3)}" if error > 0 else number(value)
            for value, error in zip(values, errors, strict=True)
        ],
        "Per cell": numbers(per_cell, 3),
        "Ensemble − model [95 %]": _by_row(with_interval, leads, "difference", "low", "high"),
        "Jointly [95 %]": _by_row(interval, leads, "low_joint", "high_joint"),
        "Over seeds [95 %]": _by_row(interval, leads, "low_seeds", "high_seeds"),
        "R²": numbers(r2, 3),
    }
    return Grid.of(cells, "first", "comparisons.csv", blanks=False)


def _by_row(write: Callable[..., str], table: pd.DataFrame, *columns: str) -> list[str]:
    """What a function writes of each row's numbers in some columns."""
    return [write(*row) for row in table[[*columns]].to_numpy(np.float64)]


def classical(study: StudyResults) -> list[str]:
    """The baselines, the likeliest on test dates first."""
    table = study.metrics
    rows = table[(table.metric == "log_likelihood") & (table.split == "test") & table.member.isna()]
    ordered = rows.sort_values("value", ascending=False, kind="stable").model
    return [model for model in ordered if not model.startswith("vae")]


def factor_table(study: StudyResults) -> Grid:
    """A row a consensus factor: what it explains, how stable it is, what it matches and moves."""
    rows = [_factor_row(study, k) for k in range(study.factors.shape[1])]
    return Grid.of(rows, "text", "loadings.csv", blanks=False)


def _factor_row(study: StudyResults, k: int) -> dict[str, str]:
    real, arrays, loadings = judge(study).real, study.arrays, study.loadings.iloc[:, k]
    known, r = match_of(study, k) if study.config["reference"] else (-1, np.nan)
    matched = reference_names(study)[known] if known >= 0 else NONE
    moves = 100 * loadings.sort_values(ascending=False, kind="stable")
    up, down = signed(moves[moves > 0][:EXTREMES]), signed(moves[moves < 0][::-1][:EXTREMES])
    if k in study.config["volatility_factors"]:
        up, down = "the volatility of all assets", NONE
    share = float(((loadings / arrays["scaler_scale"]) ** 2).mean())
    return {
        "Factor": study.config["factor_names"][k],
        "Share of variance": percent(share, 1),
        "Stability": NONE if real is None else number(stabilities(study)[k]),
        "φ": number(arrays["persistence"][k], 2, True) if "persistence" in arrays else NONE,
        "Matches": matched.replace(" ", "\N{NO-BREAK SPACE}"),
        "r on test dates": number(r, 2, True),
        "Real": NONE if real is None else "yes" if real[k] else "no",
        "Moves up most (% per s.d.)": up,
        "Moves down most (% per s.d.)": down,
    }


def known_factor_table(study: StudyResults) -> Grid | None:
    """Scores against known factors, a row a score, beside what chance and rotation reach."""
    names = [n for n in words.FACTOR_SCORES if np.isfinite(study.metric("consensus", n, "test"))]
    if not study.config["reference"] or not names:
        return None
    models = [m for m in MATCHED_MODELS if np.isfinite(study.metric(m, "mcc", "test"))]
    # No line break within "K = 5".
    titles = {m: row_label(study, m, start=True).replace(" = ", "\u00a0=\u00a0") for m in models}
    rows = [_known_row(study, name, titles) for name in names]
    return Grid.of(rows, "", "metrics.csv", blanks=False)


def _known_row(study: StudyResults, name: str, titles: Mapping[str, str]) -> dict[str, str]:
    def metric(model: str, suffix: str = "") -> float:
        return study.metric(model, f"{name}{suffix}", "test")

    mean, low, high = (metric("vae_ensemble", f"_seeds_{end}") for end in ("mean", "low", "high"))
    chance = [level for m in titles if np.isfinite(level := metric(m, "_chance_95"))]
    rotation = metric("consensus", "_rotation_95")
    return {
        "Score": words.FACTOR_SCORES[name],
        **{title: number(metric(model)) for model, title in titles.items()},
        "VAE, mean over seeds [95 %]": with_interval(mean, low, high, sign=False),
        "By chance": number(max(chance, default=np.nan)),
        "By rotation": "unmoved" if chance and not np.isfinite(rotation) else number(rotation),
    }


def estimate_table(study: StudyResults) -> Grid:
    """Every estimator's number of factors, the verdict first."""
    table = study.n_factors.set_index("name").factors
    asked = words.NUMBER_ESTIMATORS
    rows = [[*asked[name], str(int(table[name]))] for name in asked if name in table]
    return Grid(["Estimator", "What it asks", "Factors"], rows, "text narrow", "n_factors.csv")


def size_table(study: StudyResults) -> Grid:
    """The ensemble by its number of factors: validation likelihood and factors in use."""
    sizes = study.n_factors[study.n_factors.kind == "size"]
    gained = sizes.mask(sizes.factors == 0)
    cells = {
        "Factors allowed": numbers(sizes.factors, 0),
        "Validation log-likelihood": numbers(sizes.log_likelihood),
        "Gain over none [95 %]": _by_row(with_interval, gained, "gain", "low", "high"),
        "Factors in use": numbers(sizes.active_units, 1),
    }
    return Grid.of(cells, "narrow", "n_factors.csv")


def loss_table(study: StudyResults) -> Grid | None:
    """A row a β: the factors that a linear model keeps and loses, and what members did."""
    if study.spectrum is None:
        return None
    rows = [_loss_row(study, beta, part) for beta, part in study.spectrum.groupby("beta")]
    return Grid.of(rows, "text narrow", "spectrum.csv")


def _loss_row(study: StudyResults, beta: Any, part: pd.DataFrame) -> dict[str, str]:
    used = study.members[study.members.ok & np.isclose(study.members.beta, beta)].active_units
    lost = part[~part.linear.astype(bool)]
    levels = zip(lost.factor, lost.signal_to_noise, strict=True)
    noisy = [f"{factor} ({number(level, 1)})" for factor, level in levels]
    missed = [str(factor) for factor in part.factor[part.members < LOST]]
    among = f"{number(used.median(), 1)} {interval(used.min(), used.max(), 0)}"
    return {
        "β": f"{beta:g}",
        "Linear model keeps": f"{int(part.linear.sum())} of {len(part)}",
        "It loses (signal-to-noise)": ", ".join(noisy) or "none",
        "Members use: median [range]": among if len(used) else NONE,
        "Fewer than half carry": ", ".join(missed) or "none",
    }


def stability_table(study: StudyResults) -> Grid | None:
    """Stability of each consensus factor over the seeds of each β; None with one seed."""
    if len(study.config["seeds"]) < 2:
        return None
    table, chosen = study.stability, chosen_row(study)
    betas = [f"{beta:.3g}{', chosen' if k == chosen else ''}" for k, beta in enumerate(table.index)]
    cells = {"Stability at β": betas, **{str(name): numbers(table[name]) for name in table}}
    return Grid.of(cells, "narrow", "stability.csv")


def kl_table(study: StudyResults) -> Grid | None:
    """The parts of the members' mean KL at each β, medians over seeds; None without parts."""
    parts = words.KL_PARTS
    members = study.members[study.members.ok]
    if not {*parts} <= {*members}:
        return None
    medians = members.groupby("beta")[[*parts]].median()
    cells = {"β": [f"{beta:g}" for beta in medians.index]}
    cells |= {title: numbers(medians[name]) for name, title in parts.items()}
    return Grid.of(cells, "narrow", "members.csv")


def file_table(tables: Mapping[str, tuple[str, str]]) -> list[Grid | Prose]:
    """The files of a folder that hold tables, with what a row of each is and its units."""
    rows = [[f"{name}.csv", *text] for name, text in tables.items()]
    return [Grid(["File", "A row is", "Units"], rows, "text links"), Prose(words.FILES_NOTE)]


def study_files(study: StudyResults) -> list[Grid | Prose]:
    """The files of a study's folder; that of a wide panel has its covariance among its arrays."""
    if len(study.loadings) <= words.MOST_COVARIANCE_ASSETS:
        return file_table(study.tables)
    in_files = {name: text for name, text in study.tables.items() if name != words.COVARIANCE}
    return [*file_table(in_files), Prose(words.WIDE_NOTE)]


def ranking_table(study: StudyResults) -> Grid:
    """Ways to rank members without the truth, and how well they did where it is known."""
    table = study.rankings
    cells = {
        "Ranked by": [words.CRITERIA[name] for name in table.criterion],
        "Members": [str(members) for members in table.members],
        "First": [f"member {member}" for member in table.best_member],
        "Rank correlation with matched |corr.|": numbers(table.correlation),
        "Of the first": numbers(table.best_score),
        "Of the median member": numbers(table.median_score),
    }
    return Grid.of(cells, "narrow", "rankings.csv", blanks=False)


def moment_table(study: StudyResults) -> Grid:
    """Moments of pooled returns, of the data and of scenarios."""
    names = words.MOMENT_NAMES
    cells = {"Pooled returns, standardised": [*names.values()]}
    for title, model in (("Data", "data"), ("Generated", "vae_ensemble")):
        cells[title] = numbers((study.metric(model, name, "fit") for name in names), 3)
    return Grid.of(cells, "narrow", "metrics.csv")


def member_table(study: StudyResults) -> Grid:
    """The best members on validation."""
    table = study.members[study.members.ok]
    best = table.sort_values("log_likelihood_validation", ascending=False, kind="stable")
    best = best.head(BEST_MEMBERS).assign(beta=lambda rows: rows.beta.map("{:g}".format))
    columns = {name: shown for name, shown in words.MEMBER_COLUMNS.items() if name in best}
    cells = {
        title: [*best[name]] if name == "beta" else numbers(best[name], digits)
        for name, (title, digits) in columns.items()
    }
    return Grid.of(cells, "", "members.csv")


def setting_table(study: StudyResults) -> Grid:
    """What it takes to make the same numbers again."""
    config, identity = study.config, study.config["identity"]
    device, versions = identity["device"], identity["versions"]
    settings = {
        "Preset": config["preset"],
        "Model": config["model"],
        "Factors": config["n_factors"],
        "Covariates": ", ".join(config["covariates"] or ["none"]),
        "Betas": ", ".join(f"{beta:g}" for beta in config["betas"]),
        "Seeds": ", ".join(str(seed) for seed in config["seeds"]),
        "Root seed": config["root_seed"],
        "Epochs, at most": config["epochs"],
        "Likelihood samples": config["likelihood_samples"],
        "Tile width": identity["tile_width"],
        "Network": _parts_of(config["model_config"]),
        "Training": _parts_of(config["train_config"]),
        "Device": f"{device['count']} × {device['kind']} ({device['platform']})",
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Data, SHA-256": identity["data"]["returns"],
    }
    rows = [[title, str(value)] for title, value in settings.items()]
    return Grid(["Setting", "Value"], rows, "text wrap")


def _parts_of(settings: Mapping[str, Any]) -> str:
    # A number for every asset would fill the page.
    short = {name: value for name, value in settings.items() if name != "sectors"}
    return ", ".join(f"{name} = {value}" for name, value in short.items())
