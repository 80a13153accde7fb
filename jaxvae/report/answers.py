"""The report's answers to the three questions of a study, in words that its verdicts choose."""

import numpy as np

from jaxvae.analysis.survival import LEAST_PRESENCE, STABLE
from jaxvae.report.candidates import kind_answer
from jaxvae.report.content import Answer
from jaxvae.report.results import StudyResults
from jaxvae.report.text import (
    beta_label,
    counted,
    interval,
    number,
    percent,
    reference_kind,
    row_label,
)
from jaxvae.report.verdicts import (
    BEHIND,
    LEVEL,
    MATERIAL,
    Comparison,
    FactorVerdict,
    Lead,
    compare_models,
    has_no_factor,
    judge,
)
from jaxvae.report.words import AXES, BY_CONVENTION


def answers(study: StudyResults) -> list[Answer]:
    """What kind of panel it is, where that was looked at; which factors there are, whether they
    are real, whether a VAE finds more than PCA."""
    found, beside = judge(study), compare_models(study)
    more = "Does a VAE find more than PCA and factor analysis?"
    which = which_words(study, found, beside)
    return [
        *kind_answer(study),
        Answer("Which latent factors drive the panel?", which_verdict(found), which),
        Answer("Are they real?", _real_in_axes(study, found), real_words(study, found)),
        Answer(more, more_verdict(study, beside), more_words(study, beside)),
    ]


def which_verdict(found: FactorVerdict) -> str:
    """How many factors the study keeps, and the verdict on their number where that differs."""
    kept = counted(found.kept, "factor") if found.kept else "None that holds"
    if found.estimated == found.kept:
        return kept
    return f"{kept}; the verdict on their number is {found.estimated or 'none'}"


def which_words(study: StudyResults, found: FactorVerdict, beside: Comparison) -> str:
    """What the factors rebuild, and how many were kept."""
    ours, pca = (percent(share, 1) for share in beside.rebuilt)
    kept = {0: "None", found.asked: "All"}.get(found.kept, str(found.kept))
    verb, them = ("is", "it") if found.kept == 1 else ("are", "them")
    those = f"{kept} of the {found.asked} {verb}"
    if found.asked == 1:
        those, them = ("It is" if found.kept else "It is not"), "it"
    return (
        f"Given {counted(found.asked, 'factor')}, the VAE ensemble rebuilds {ours} of the returns’ "
        f"variance on test dates; PCA with as many rebuilds {pca}. {those} "
        f"in at least {percent(LEAST_PRESENCE)} of the members at "
        f"{beta_label(study.config['chosen']['beta'])}, which agree on {them} beyond chance."
    )


def real_verdict(found: FactorVerdict) -> str:
    """Yes, in part, not shown, or cannot tell."""
    if found.estimated == 0 and not found.gains:
        return "Not shown: factors gain no likelihood on validation dates"
    if found.estimated == 0:
        return "Not shown: the estimators find nothing beyond noise"
    if not found.kept:
        return "Not shown: no factor is kept"
    if found.real is None:
        return "Cannot tell from one seed"
    real = int(found.real.sum())
    share = f"{real} of {found.kept}"
    if not real:
        return f"Not shown: {share}"
    if found.estimated < real:
        return f"In part: {share}, but the verdict on their number is {found.estimated}"
    return f"Yes: {share}" if real == found.kept else f"In part: {share}"


def _real_in_axes(study: StudyResults, found: FactorVerdict) -> str:
    """The verdict, with whether the axes in which factors are real are theirs by convention."""
    some = found.asked > 1 and found.real is not None and found.real.any()
    by_convention = some and study.config["axes"] in BY_CONVENTION
    return f"{real_verdict(found)}{', in axes by convention' if by_convention else ''}"


def real_words(study: StudyResults, found: FactorVerdict) -> str:
    """Stability over seeds, and the match with known factors beside what a rotation reaches."""
    words = "With one seed nobody can say whether another would find the same factors."
    if found.stable is not None:
        stable, shown = int(found.stable.sum()), counted(len(found.stable), "factor")
        verb = "is" if 1 in (stable, len(found.stable)) else "are"
        words = (
            f"{stable} of {shown} {verb} stable: found by all seeds, "
            f"with a stability of at least {number(STABLE, 1)} (a member’s correlation with the "
            "consensus of the others)."
        )
    if found.asked > 1:
        words = f"{words} {AXES[study.config['axes']]}".rstrip()
    if found.matched is None:
        return f"{words} No known factors come with this panel to compare them with."
    levels = f"chance reaches {number(found.chance)}"
    if np.isfinite(found.rotation):
        levels += f" and a random rotation of the right space {number(found.rotation)}"
    end = f"{int(found.matched.sum())} on their own exceed that, too"
    if not found.identified:
        end = "no more than that, so the axes are not identified"
    return (
        f"{words} Matched one-to-one with the {reference_kind(study)} factors they correlate "
        f"{number(found.mcc)} on test dates, where {levels} (95th percentiles): {end}."
    )


def more_verdict(study: StudyResults, beside: Comparison) -> str:
    """Where the ensemble stands beside the strongest classical model, and what PCA does better."""
    if not beside.leads:
        return "Cannot tell: no classical model can be compared with"
    if has_no_factor(study):
        return "Not shown: there is no factor to be found"
    strongest = beside.leads[0]
    over = f"{number(strongest.difference, 2, True)} over {row_label(study, strongest.baseline)}"
    if strongest.word == BEHIND:
        return f"No: VAE {over}"
    pairs = ((beside.rebuilt, "rebuilds more"), (beside.matched, "is nearer to the known factors"))
    better = [words for (ours, pca), words in pairs if pca - ours >= MATERIAL]
    but = f", but PCA {' and '.join(better)}" if better else ""
    if strongest.word == LEVEL:
        return f"Not shown: level, VAE {over}{but}"
    return f"Yes: VAE {over}, the strongest of {counted(len(beside.leads), 'classical model')}{but}"


def more_words(study: StudyResults, beside: Comparison) -> str:
    """The leads over the strongest classical model and over PCA, and PCA's other scores."""
    words = []
    if beside.leads:
        strongest, pca = beside.leads[0], beside.pca
        of_pca = "" if pca in (None, strongest) else f", and {lead_words(study, pca)}"
        words.append(
            f"On test dates the ensemble is {lead_words(study, strongest)}, the strongest of "
            f"{counted(len(beside.leads), 'classical model')} in hindsight{of_pca}."
        )
        if len(study.config["seeds"]) == 1:
            words.append("Intervals are over dates alone: another seed may give another lead.")
    ours, theirs = (percent(share, 1) for share in beside.rebuilt)
    match = ""
    if np.isfinite(beside.matched).all():
        consensus, of_pca = (number(r) for r in beside.matched)
        match = f" and is matched with the known factors at {of_pca} against {consensus}"
    words.append(f"PCA with as many factors rebuilds {theirs} against {ours}{match}.")
    exploded = [row_label(study, name, start=True) for name in beside.degenerate]
    words += [f"{name} is left out: its likelihood is degenerate." for name in exploded]
    return " ".join(words)


def lead_words(study: StudyResults, lead: Lead) -> str:
    """Ahead of, level with or behind a model, with the numbers."""
    size = f"{number(lead.difference, 2, True)} nats per date {interval(lead.low, lead.high)}"
    return f"{lead.word} {row_label(study, lead.baseline)} ({size})"
