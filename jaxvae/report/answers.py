"""The report's answers to the three questions of a study, from its numbers alone."""

import pandas as pd

from jaxvae.report.factor_figures import chosen_row
from jaxvae.report.results import StudyResults
from jaxvae.report.style import beta_label, count, model_name, number, percent

# Random rotations of three factors agree by .83 on average, of more factors by less.
STABLE = 0.9
RELATIONS = {
    "Yes": "more than",
    "No": "less than",
    "Too close to tell": "too close to tell against",
}


def answers(study: StudyResults) -> list[dict[str, str]]:
    """Question, verdict and text: which factors, are they real, does a VAE find more."""
    return [_which(study), _real(study), _more(study)]


def _which(study: StudyResults) -> dict[str, str]:
    n_factors = study.config["n_factors"]
    kept = study.config.get("consensus", {}).get("survive", n_factors)
    found = count(n_factors, "factor")
    if kept < n_factors:
        found = f"{kept} of {count(n_factors, 'factor')} kept"
    ensemble, pca = (study.metric(model, "r2", "test") for model in ("vae_ensemble", "pca"))
    return {
        "question": "Which latent factors drive the panel?",
        "verdict": f"{found}, {percent(ensemble)} of the variance",
        "text": f"With {count(n_factors, 'factor')} the VAE ensemble rebuilds {percent(ensemble)} "
        f"of the returns’ variance on dates it never saw; PCA with as many rebuilds "
        f"{percent(pca)}. The factors and the assets they move are listed below.",
    }


def _real(study: StudyResults) -> dict[str, str]:
    steady, kept = _steady(study), study.factors.shape[1]
    marks = [steady == kept] if steady is not None else []
    words = [_number_words(study), _stability_words(study, steady)]
    if study.config["reference"]:
        above, sentence = _reference_words(study)
        marks, words = [*marks, above], [*words, sentence]
    else:
        words.append("No known factors come with this panel, so nothing else can vouch for them.")
    if _number(study) == 0:
        verdict = "Not shown: nothing beyond noise"
    elif steady is None:
        verdict = "Cannot tell from one seed"
    else:
        word = "Yes" if all(marks) else "In part" if any(marks) or steady else "Not shown"
        verdict = f"{word}: {steady} of {kept} stable"
    return {"question": "Are they real?", "verdict": verdict, "text": " ".join(words).strip()}


def _number(study: StudyResults) -> int | None:
    """The verdict on the number of factors; None in studies that did not count."""
    if study.n_factors is None:
        return None
    return int(study.n_factors.set_index("name").factors["verdict"])


def _number_words(study: StudyResults) -> str:
    found = _number(study)
    if found is None:
        return ""
    return f"Estimators of the number of factors find {found or 'none'}."


def _steady(study: StudyResults) -> int | None:
    if len(study.config["seeds"]) < 2 or "stability" not in study.arrays:
        return None
    return int((study.arrays["stability"][chosen_row(study)] >= STABLE).sum())


def _stability_words(study: StudyResults, steady: int | None) -> str:
    if steady is None:
        return "One seed cannot show whether another would find the same factors."
    return (
        f"Found again whatever the seed: {steady} of {count(study.factors.shape[1], 'factor')} "
        f"(mean correlation with the other members’ consensus at least {number(STABLE, 1)}, at "
        f"{beta_label(study.config['chosen']['beta'])})."
    )


def _reference_words(study: StudyResults) -> tuple[bool, str]:
    names = ("mcc", "mcc_chance_95", "mcc_rotation_95")
    mcc, chance, floor = (study.metric("consensus", name, "test") for name in names)
    kind = "planted" if study.config["reference"]["planted"] else "reference"
    start = f"Matched with the {kind} factors they correlate {number(mcc)} on test dates, "
    levels = f"(chance reaches {number(chance)}, a random rotation {number(floor)})"
    if mcc <= chance:
        return False, f"{start}no more than chance would {levels}."
    # A single factor has no rotation to confuse it with.
    if mcc <= floor and len(study.config["reference"]["names"]) > 1:
        end = "more than chance but no more than a random rotation of the right space would"
        return False, f"{start}{end} {levels}: the axes are not identified."
    return True, f"{start}more than chance or a random rotation would {levels}."


def _more(study: StudyResults) -> dict[str, str]:
    table = study.comparisons
    rows = table[(table.model == "vae_ensemble") & (table.split == "test")].sort_values(
        "difference"
    )
    strongest = rows.iloc[0]
    pca = rows[rows.baseline.isin(["pca", "pca_best"])]
    words = []
    if len(pca):
        words.append(f"On test dates, against {_against(study, pca.iloc[0])}.")
    if not len(pca) or strongest.baseline != pca.iloc[0].baseline:
        words.append(f"Against the strongest classical model there, {_against(study, strongest)}.")
    return {
        "question": "Does a VAE find more than PCA and factor analysis?",
        "verdict": _verdict_over_all(strongest, pca.iloc[0] if len(pca) else strongest),
        "text": " ".join([*words, "Intervals: 95 %, block bootstrap."]),
    }


def _against(study: StudyResults, row: pd.Series) -> str:
    return (
        f"{model_name(study, row.baseline)}, the ensemble is at "
        f"{number(row.difference, 2, True)} nats a date "
        f"[{number(row.low)}, {number(row.high)}]: {_verdict(row).lower()}"
    )


def _verdict(row: pd.Series) -> str:
    return "Yes" if row.low > 0 else "No" if row.high < 0 else "Too close to tell"


def _verdict_over_all(strongest: pd.Series, pca: pd.Series) -> str:
    overall, over_pca = _verdict(strongest), _verdict(pca)
    if overall == over_pca:
        return overall
    return f"{RELATIONS[over_pca].capitalize()} PCA; {RELATIONS[overall]} the best classical model"
