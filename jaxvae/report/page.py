"""The report of a study: one self-contained HTML file, its Markdown twin, and the figures as PNG.

Both files come from one context of plain text; all that comes from the data is escaped.
"""

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from jaxvae.report.answers import answers
from jaxvae.report.evidence import (
    Table,
    consensus_words,
    estimates,
    known_factors,
    losses,
    rankings,
    sizes,
    verdict_words,
)
from jaxvae.report.factor_figures import chosen_row
from jaxvae.report.figures import all_figures
from jaxvae.report.results import StudyResults
from jaxvae.report.scores import score_notes, scores
from jaxvae.report.style import (
    count,
    message_of,
    number,
    percent,
    reference_names,
    to_png,
)
from jaxvae.report.words import (
    CAPTIONS,
    KNOWN_NOTE,
    LOSSES_NOTE,
    MOMENTS,
    NUMBERS,
    PERSISTENCE_NOTE,
    REAL,
    SECTIONS,
    SETTINGS,
    TRUST,
)

REPORT = "report.html"
BEST_MEMBERS = 10
EXTREMES = 3
CSS_PIXELS = 96  # an inch, by definition
# Every character that Markdown, as GitHub reads it, may take for markup.
MARKUP = re.compile(r"([\\`*_{}\[\]|~$#])")


def report_files(study: StudyResults) -> dict[str, bytes]:
    """`report.html`, `report.md` and `figures/*.png`, by their paths in the study's folder.

    The same study gives the same bytes.
    """
    drawn = all_figures(study)
    images = {name: to_png(figure) for name, figure in drawn.items()}
    context = _context(study, drawn)
    inline = {name: base64.b64encode(image).decode() for name, image in images.items()}
    html = _environment(html=True).get_template("report.html.j2").render(context, images=inline)
    markdown = _environment(html=False).get_template("report.md.j2").render(context)
    figures = {f"figures/{name}.png": image for name, image in images.items()}
    return {**figures, REPORT: html.encode(), "report.md": markdown.encode()}


def _environment(html: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=html,
        finalize=None if html else _escape_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _escape_markdown(value: object) -> str:
    if isinstance(value, Markup):
        return str(value)
    line = " ".join(str(value).split())
    safe = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\1", safe)


def _context(study: StudyResults, figures: dict[str, Figure]) -> dict[str, Any]:
    """Everything that both templates print, as text; tables are headers and rows."""
    return {
        "name": study.config["name"],
        "facts": _facts(study),
        "answers": answers(study),
        "notes": study.config["notes"],
        "scores": scores(study),
        "score_notes": score_notes(study),
        "factors": _factors(study),
        "factor_notes": [words for words in [consensus_words(study), _memory(study)] if words],
        "sections": _sections(study, figures),
        "members": _members(study),
        "rankings": rankings(study),
        "member_count": len(study.members),
        "settings": _settings(study),
    }


def _facts(study: StudyResults) -> str:
    panel, config = study.config["panel"], study.config
    parts = [
        f"{count(panel['n_assets'], 'asset')} over {count(panel['n_dates'], 'date')}, "
        f"{panel['first_date']} to {panel['last_date']}{_missing_fact(panel)}",
        f"trained on {panel['n_train']}, validated on {panel['n_validation']}, "
        f"tested on the last {count(panel['n_test'], 'date')}",
        f"{count(len(study.members), 'VAE')}: {count(len(config['seeds']), 'seed')} × "
        f"{count(len(config['betas']), 'beta')}",
    ]
    return " · ".join(parts)


def _missing_fact(panel: dict[str, Any]) -> str:
    missing = panel.get("missing_cells", 0)
    share = missing / (panel["n_dates"] * panel["n_assets"])
    return f", {percent(share)} of the cells missing" if missing else ""


def _factors(study: StudyResults) -> dict[str, Any]:
    header = ["Factor", "Stability over seeds"]
    reference = study.config["reference"]
    header += ["φ"] if "persistence" in study.arrays else []
    header += ["Matches", "r on test dates"] if reference else []
    header += ["Moves up most (% per s.d.)", "Moves down most (% per s.d.)"]
    return {
        "header": header,
        "rows": [_factor_row(study, k) for k in range(study.factors.shape[1])],
    }


def _memory(study: StudyResults) -> str:
    return PERSISTENCE_NOTE if "persistence" in study.arrays else ""


def _factor_row(study: StudyResults, factor: int) -> list[str]:
    steady = study.arrays["stability"][chosen_row(study), factor]
    seeds = len(study.config["seeds"])
    row = [study.config["factor_names"][factor], number(steady) if seeds > 1 else "–"]
    if "persistence" in study.arrays:
        row.append(number(study.arrays["persistence"][factor], 2, True))
    if study.config["reference"]:
        row += _match_cells(study, factor)
    if factor in study.config.get("volatility_factors", ()):
        return [*row, "the volatility of all assets", "–"]
    moves = 100 * study.loadings.iloc[:, factor].sort_values(ascending=False, kind="stable")
    up, down = moves[moves > 0][:EXTREMES], moves[moves < 0][::-1][:EXTREMES]
    return [*row, _moves(up), _moves(down)]


def _moves(moves: pd.Series) -> str:
    return (
        ", ".join(
            f"{asset}\N{NO-BREAK SPACE}{number(move, 2, True)}" for asset, move in moves.items()
        )
        or "–"
    )


def _match_cells(study: StudyResults, factor: int) -> list[str]:
    matched = np.flatnonzero(study.arrays["match_learned"] == factor)
    if not len(matched):
        return ["–", "–"]
    known = int(matched[0])
    correlation = study.arrays["correlation"][factor, known]
    return [reference_names(study)[known], number(correlation, 2, True)]


def _sections(study: StudyResults, figures: dict[str, Figure]) -> list[dict[str, Any]]:
    """Title, words, figures and tables of each section that has a figure or table."""
    words = {NUMBERS: verdict_words(study)}
    tables = {
        NUMBERS: [
            _styled(estimates(study), "text narrow"),
            _styled(sizes(study)),
            _styled(losses(study), "text narrow", LOSSES_NOTE),
        ],
        REAL: [_styled(known_factors(study), "", KNOWN_NOTE)],
        TRUST: [_styled(_moments(study))],
    }
    sections = []
    for title, names in SECTIONS.items():
        section = {
            "title": title,
            "words": words.get(title, ""),
            "figures": [_figure(name, figures[name]) for name in names if name in figures],
            "tables": [table for table in tables.get(title, []) if table is not None],
        }
        if section["figures"] or section["tables"]:
            sections.append(section)
    return sections


def _styled(table: Table | None, kind: str = "narrow", note: str = "") -> Table | None:
    return None if table is None else {**table, "kind": kind, "note": note}


def _figure(name: str, figure: Figure) -> dict[str, Any]:
    return {
        "name": name,
        "message": message_of(figure),
        "caption": CAPTIONS[name],
        "width": round(figure.get_figwidth() * CSS_PIXELS),
    }


def _moments(study: StudyResults) -> dict[str, Any]:
    def row(title: str, metric: str) -> list[str]:
        models = ("data", "vae_ensemble")
        return [title, *(number(study.metric(model, metric, "fit"), 3) for model in models)]

    header = ["Pooled returns, standardised", "Data", "Generated"]
    return {"header": header, "rows": [row(title, metric) for metric, title in MOMENTS.items()]}


def _members(study: StudyResults) -> dict[str, Any]:
    columns = {
        "member": ("Member", 0),
        "seed": ("Seed", 0),
        "beta": ("β", 3),
        "best_epoch": ("Best epoch", 0),
        "log_likelihood_validation": ("Validation log-likelihood", 2),
        "log_likelihood_test": ("Test log-likelihood", 2),
        "r2_test": ("Test R²", 3),
        "kl": ("KL", 2),
        "active_units": ("Active factors", 0),
        "beta_noise": ("βσ²", 3),
        "udr": ("UDR", 2),
        "mcc_test": ("Matched |corr.|", 2),
    }
    table = study.members[study.members.ok]
    best = table.sort_values("log_likelihood_validation", ascending=False, kind="stable")
    best = best.head(BEST_MEMBERS)
    cells = [
        [f"{value:g}" if name == "beta" else number(value, digits) for value in best[name]]
        for name, (_, digits) in columns.items()
        if name in best
    ]
    header = [title for name, (title, _) in columns.items() if name in best]
    return {"header": header, "rows": [list(row) for row in zip(*cells, strict=True)]}


def _settings(study: StudyResults) -> list[tuple[str, str]]:
    """What it takes to make the same numbers again, as pairs of a name and its value."""
    config = study.config
    identity = config["identity"]
    device, versions = identity["device"], identity["versions"]
    said = {
        "tile_width": identity["tile_width"],
        "data_hash": identity["data"]["returns"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "device": f"{device['count']} × {device['kind']} ({device['platform']})",
        "betas": ", ".join(f"{beta:g}" for beta in config["betas"]),
        "seeds": ", ".join(str(seed) for seed in config["seeds"]),
        "covariates": ", ".join(config.get("covariates") or ["none"]),
    }
    for part in ("model_config", "train_config"):
        # A number for every asset would fill the page.
        short = {name: value for name, value in config[part].items() if name != "sectors"}
        said[part] = ", ".join(f"{name} = {value}" for name, value in short.items())
    return [(title, str(said.get(name, config.get(name)))) for name, title in SETTINGS.items()]
