"""The report of a study: what the reader sees, in order."""

from collections.abc import Callable

import numpy as np

from jaxvae.errors import first_of
from jaxvae.report import holdings, tables, words
from jaxvae.report.answers import answers
from jaxvae.report.candidates import (
    CANDIDATES_NOTE,
    candidate_table,
    choice_words,
)
from jaxvae.report.content import Document, Grid, Heading, Opening, Part, Plot, Prose, render
from jaxvae.report.figures import drawings
from jaxvae.report.fonts import undrawable
from jaxvae.report.results import StudyResults
from jaxvae.report.score_figures import scree_words
from jaxvae.report.text import beta_label, counted, number, percent


def study_report(study: StudyResults, linked: bool = True) -> dict[str, bytes]:
    """The files of a study's report by their paths; linked: to the tables (`content.render`)."""
    return render(study_document(study, linked), linked)


def study_opening(study: StudyResults) -> Opening:
    """Title, facts, the three answers and the scores."""
    panel, config = study.config["panel"], study.config
    missing = panel.get("missing_cells", 0) / (panel["n_dates"] * panel["n_assets"])
    facts = (
        f"{counted(panel['n_assets'], 'asset')} over {counted(panel['n_dates'], 'date')}, "
        f"{panel['first_date']} to {panel['last_date']}"
        f"{f', {percent(missing, 1)} of the cells missing' if missing else ''} · trained on "
        f"{panel['n_train']:,}, validated on {panel['n_validation']:,}, tested on the last "
        f"{counted(panel['n_test'], 'date')} · {counted(len(study.members), 'VAE')}: "
        f"{counted(len(config['seeds']), 'seed')} × {counted(len(config['betas']), 'beta')} of "
        f"{config['model']}"
    )
    if study.candidates is not None:
        facts += f". {choice_words(study)}"
    title = f"Latent factors in “{config['name']}”"
    return Opening(title, facts, answers(study), tables.score_table(study))


def study_document(study: StudyResults, linked: bool = True) -> Document:
    """The whole report; what the study has not is left out, with its heading."""
    captions = {**words.CAPTIONS}
    captions["risk"] += words.AHEAD if "fan" in study.arrays else ""
    plots = {
        name: Plot(name, captions[name], draw(study)) for name, draw in drawings(study).items()
    }
    opening, parts = study_opening(study), list[Part]()
    for title, terms, section in _sections(study, opening.scores, plots.get, linked):
        there = [part for part in section if part is not None]
        if any(part.kind != "prose" for part in there):
            explained = {term: words.TERMS[term] for term in terms.split(", ") if term}
            parts += [Heading(title, explained), *there]
    return Document(opening, [*study.config["notes"], *_font_note(study)], parts)


def _sections(
    study: StudyResults, scores: Grid, plot: Callable[[str], Plot | None], linked: bool
) -> list[tuple[str, str, list[Part | None]]]:
    """The title of each section, the terms that it explains, and its parts in order."""
    scree, of_portfolios = scree_words(study), holdings.portfolio_table(study)
    return [
        ("Scores on the test dates", "nat", [scores, *_score_notes(study)]),
        ("Which model, and how many factors?", "", [
            plot("candidates"), candidate_table(study), Prose(CANDIDATES_NOTE),
        ]),
        ("The factors, one by one", "consensus, stability", [
            tables.factor_table(study), *_factor_notes(study), holdings.exposure_table(study),
        ]),
        ("How many factors are there?", "", [
            _number_words(study), plot("n_factors"), Prose(f"{scree[:1].upper()}{scree[1:]}."),
            tables.estimate_table(study), tables.size_table(study),
        ]),
        ("Does a VAE find more?", "β, KL, member", [
            plot("comparison"), plot("score_over_beta"),
            *with_note(tables.kl_table(study), words.KL_NOTE),
            *with_note(tables.loss_table(study), words.LOSS_NOTE),
        ]),
        ("Are the factors real?", "chance, rotation null", [
            *with_note(tables.stability_table(study), words.STABILITY_NOTE), plot("agreement"),
            plot("matched_factors"),
            *with_note(tables.known_factor_table(study), words.KNOWN_NOTE),
        ]),
        ("What are the factors?", "", [plot("factor_series"), plot("loadings")]),
        ("What do they mean for risk?", "value at risk, specific", [
            plot("risk"), *with_note(holdings.breach_table(study), words.BREACH_NOTE),
            *with_note(holdings.share_table(study), words.SHARE_NOTE),
            *(holdings.pair_table(study, by) for by in ("correlation", "residual_fit")),
        ]),
        ("How can a factor be held?", "", with_note(of_portfolios, words.PORTFOLIO_NOTE)),
        ("The assets, one by one", "", with_note(holdings.asset_table(study), words.ASSET_NOTE)),
        ("Can the models be trusted?", "", [
            plot("training_curves"), plot("reconstruction"), plot("generated"),
            tables.moment_table(study),
        ]),
        ("The best members", "", [
            tables.member_table(study), Prose(words.MEMBER_NOTE),
            tables.ranking_table(study), Prose(words.RANKING_NOTE),
        ]),
        ("All tables", "", [*tables.study_files(study)] if linked else []),
        ("To make it again", "", [tables.setting_table(study)]),
    ]  # fmt: skip


def with_note(grid: Grid | None, note: str) -> list[Part | None]:
    """A table with the note that explains it; nothing where there is no table."""
    return [] if grid is None else [grid, Prose(note)]


def _font_note(study: StudyResults) -> list[str]:
    """That figures lack characters, where no font on this machine draws them."""
    names = undrawable([*study.config["assets"], *map(str, study.config["sectors"] or [])])
    if not names:
        return []
    return [
        f"No font on this machine draws {first_of([f'“{x}”' for x in names], 1)}: figures show □ "
        "for such characters, tables the names as they are."
    ]


def _score_notes(study: StudyResults) -> list[Prose]:
    """What the scores are, and how they came about."""
    beta, betas = beta_label(study.config["chosen"]["beta"]), len(study.config["betas"])
    best = (
        f"Of {betas} β tried {beta} is the one nearest to 1 whose validation score, a mean over "
        "seeds, is level with the best. "
    )
    notes = [
        f"{best if betas > 1 else ''}Its {counted(len(study.config['seeds']), 'seed')} were then "
        "trained anew on all dates before the test part, on which the classical models were fitted "
        "too; the ensemble is the equal mixture of these VAEs. Test dates took no part in any "
        "choice.",
        f"Log-likelihoods: nats per date, of standardised returns. {_likelihood_words(study)}",
        "Intervals: 95 %, block bootstrap over dates; jointly, for all models at once; and over "
        "seeds. The verdicts rest on the widest.",
        words.MISSING_NOTE if study.config["panel"].get("missing_cells") else "",
        _best_seed_words(study),
    ]
    return [Prose(note) for note in notes if note]


def _likelihood_words(study: StudyResults) -> str:
    """How the VAEs' likelihoods were found, and whether to trust them."""
    names = ("effective_samples", "effective_samples_min", "unreliable")
    mean, least, doubt = (study.metric("vae_ensemble", name, "test") for name in names)
    if study.config["model_facts"]["exact_likelihood"]:
        ordered = study.config["model_facts"]["ordered"]
        return words.ONE_STEP_AHEAD if ordered else "All are exact, in closed form."
    at_least = f", at least {number(least, 0)}" if np.isfinite(least) else ""
    errs = " So few effective samples make it unreliable: it errs low." if doubt > 0 else ""
    return (
        f"A VAE’s is estimated from {study.config['likelihood_samples']:,} importance samples "
        f"({number(mean, 0)} effective on average{at_least}), ± its standard error; the classical "
        f"models’ are exact.{errs}"
    )


def _best_seed_words(study: StudyResults) -> str:
    """Whether the best of the seeds beats the strongest classical model, on the same dates."""
    names = ("best_seed_lead", "best_seed_p_value")
    lead, p_value = (study.metric("vae_ensemble", name, "test") for name in names)
    if not np.isfinite(p_value):
        return ""
    luck = (
        "; if none of them were better than that, the best would lead by as much with probability "
        f"{number(p_value, 3)}"
    )
    return (
        f"The one of these VAEs that is likeliest on the test dates is {number(abs(lead))} nats "
        f"per date {'ahead of' if lead > 0 else 'behind'} the strongest classical model"
        f"{luck if lead > 0 else ''}."
    )


def _factor_notes(study: StudyResults) -> list[Prose]:
    """Order and sign, the rule that kept factors, and what φ is."""
    rule = study.config["consensus"]
    chance = rule["chance_stability"]
    bar = f" and their stability exceeds chance ({number(chance)})" if chance >= 0 else ""
    notes = [
        "Factors come in the order of the variance they explain; a factor’s sign is such that its "
        "mean loading is positive.",
        f"{rule['survive']} of {counted(rule['factors'], 'consensus factor')} kept: those that at "
        f"least {percent(rule['least_presence'])} of the members at the chosen β have{bar}. On a "
        f"date a factor is the mean of the middle {percent(1 - 2 * rule['trim'])} of the members, "
        "matched one-to-one and weighted by agreement and validation likelihood.",
    ]
    notes += [words.PERSISTENCE_NOTE] if "persistence" in study.arrays else []
    return [Prose(note) for note in notes]


def _number_words(study: StudyResults) -> Prose:
    """How the number of factors was reached."""
    table, why = study.n_factors.set_index("name").factors, words.MEDIAN
    if table["held_out"] == 0:
        why = "no number of factors beats none on the validation dates beyond its error"
    elif not any(name in table for name in words.CLASSICAL):
        why = "held-out likelihood alone decides, as assets are too few for eigenvalues"
    elif table["parallel_analysis"] == 0:
        why = "no eigenvalue exceeds those of permuted returns"
    return Prose(f"The verdict is {counted(int(table['verdict']), 'factor')}: {why}.", note=False)
