"""What a study found, as numbers and words chosen by rule; the report's sentences rest on it.

Words are decided on the numbers as they are printed, so that no sentence contradicts its table.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxvae.analysis.survival import is_stable
from jaxvae.report.results import StudyResults
from jaxvae.report.text import Number, is_repeat

MATERIAL = 0.02  # of shares of variance and of correlations, which have no interval
LEAD = ["baseline", "difference", "low_widest", "high_widest"]
AHEAD, LEVEL, BEHIND = "ahead of", "level with", "behind"


def printed(value: Number) -> float:
    """A number as the report prints it."""
    return float(f"{value:.2f}")


def standing(low: Number, high: Number) -> str:
    """Where an interval of a difference leaves its model: ahead, level or behind."""
    return AHEAD if printed(low) > 0 else BEHIND if printed(high) < 0 else LEVEL


class Lead(NamedTuple):
    """The ensemble's test log-likelihood less a baseline's, nats per date, and the widest of its
    95 % intervals: over dates, over dates and comparisons jointly, over seeds."""

    baseline: str
    difference: float
    low: float
    high: float

    @property
    def word(self) -> str:
        """Ahead of, level with or behind the baseline."""
        return standing(self.low, self.high)


class Comparison(NamedTuple):
    """The ensemble beside the classical models, on test dates.

    leads: over the strongest model first. degenerate: models left out, as their likelihood
        explodes.
    rebuilt: share of variance, of the ensemble and of PCA with as many factors.
    matched: mean matched |correlation| with known factors, of the consensus and of that PCA; NaN
        without any.
    """

    leads: tuple[Lead, ...]
    degenerate: tuple[str, ...]
    rebuilt: tuple[float, float]
    matched: tuple[float, float]

    @property
    def pca(self) -> Lead | None:
        """The lead over PCA, of the number of factors that is stronger."""
        return next((lead for lead in self.leads if lead.baseline.startswith("pca")), None)

    def count(self, word: str) -> int:
        """How many models the ensemble is ahead of, level with, or behind."""
        return sum(lead.word == word for lead in self.leads)


class FactorVerdict(NamedTuple):
    """Are the factors real?

    asked: how many the VAEs were given. kept: how many of the consensus survive, 0 too.
    estimated: the verdict on the number of factors; 0 where the study chose none.
    gains: whether any number of factors beats none on validation dates.
    stable: which of those shown are (`survival.is_stable`); None with one seed.
    matched: which of them match a known factor beyond the bar; None where none are known.
    mcc, chance, rotation: the mean matched |correlation|, and 95th percentiles by chance and by
        random rotation; NaN where there is none.
    """

    asked: int
    kept: int
    estimated: int
    gains: bool
    stable: Bool[np.ndarray, " factor"] | None
    matched: Bool[np.ndarray, " factor"] | None
    mcc: float
    chance: float
    rotation: float

    @property
    def real(self) -> Bool[np.ndarray, " factor"] | None:
        """Which factors are real: kept, stable over seeds and, where factors are known, matched
        beyond the bar. None with one seed."""
        if self.stable is None:
            return None
        return self.stable & (self.kept > 0) & (True if self.matched is None else self.matched)

    @property
    def bar(self) -> float:
        """What a match with known factors must exceed to be more than chance or a rotation."""
        return printed(float(np.nanmax([self.chance, self.rotation, 0.0])))

    @property
    def identified(self) -> bool:
        """Whether the mean match exceeds the bar."""
        return printed(self.mcc) > self.bar


def compare_models(study: StudyResults) -> Comparison:
    """The ensemble beside the classical models that can be compared with, each once."""
    table = study.comparisons
    rows = table[(table.model == "vae_ensemble") & (table.split == "test")]
    columns = rows.sort_values("difference", kind="stable")[LEAD]
    leads = [Lead(*row) for row in columns.itertuples(index=False) if not is_repeat(study, row[0])]
    fitted = ("vae_ensemble", *(lead.baseline for lead in leads))
    exploded = tuple(name for name in fitted if study.metric(name, "degenerate", "test") > 0)
    kept = [] if "vae_ensemble" in exploded else leads
    return Comparison(
        tuple(lead for lead in kept if lead.baseline not in exploded),
        exploded,
        (study.metric("vae_ensemble", "r2", "test"), study.metric("pca", "r2", "test")),
        (study.metric("consensus", "mcc", "test"), study.metric("pca", "mcc", "test")),
    )


def has_no_factor(study: StudyResults) -> bool:
    """Whether no number of factors beat none on validation dates, where that was asked."""
    return bool(study.config["selection"]["found"] == 0)


def judge(study: StudyResults) -> FactorVerdict:
    """The factors that are shown, and what speaks for them."""
    reference = study.config["reference"]
    numbers = study.n_factors.set_index("name").factors
    names = ("mcc", "mcc_chance_95", "mcc_rotation_95")
    mcc, chance, rotation = (study.metric("consensus", name, "test") for name in names)
    found = FactorVerdict(
        asked=study.config["n_factors"],
        kept=study.config["consensus"]["survive"],
        estimated=0 if has_no_factor(study) else int(numbers["verdict"]),
        gains=not has_no_factor(study) and int(numbers["held_out"]) > 0,
        stable=is_stable(stabilities(study)) if len(study.config["seeds"]) > 1 else None,
        matched=None,
        mcc=mcc,
        chance=chance,
        # A single factor has no rotation to be confused with.
        rotation=rotation if reference and len(reference["names"]) > 1 else np.nan,
    )
    return found._replace(matched=_matched(study, found)) if reference else found


def _matched(study: StudyResults, found: FactorVerdict) -> Bool[np.ndarray, " factor"]:
    """Where the axes are identified at all, the factors whose own match exceeds the bar. A factor
    that matches no reference factor may be one that the literature has no name for; a planted
    truth is whole."""
    r = np.array([match_of(study, k)[1] for k in range(study.factors.shape[1])])
    above = np.array([printed(abs(one)) > found.bar for one in r])
    return found.identified & (above | (np.isnan(r) & (not study.config["reference"]["planted"])))


def match_of(study: StudyResults, factor: int) -> tuple[int, float]:
    """The known factor that a consensus factor is matched with, −1 for none, and their correlation
    on test dates, NaN for none."""
    matched = np.flatnonzero(study.arrays["match_learned"] == factor)
    if not len(matched):
        return -1, np.nan
    return int(matched[0]), float(study.arrays["correlation"][factor, matched[0]])


def stabilities(study: StudyResults) -> Float[np.ndarray, " factor"]:
    """The stability of each consensus factor over the seeds of the chosen beta."""
    return study.stability.to_numpy(np.float64)[chosen_row(study)]


def chosen_row(study: StudyResults) -> int:
    """The row of the table of stability that belongs to the chosen beta."""
    betas = study.stability.index.to_numpy(np.float64)
    return int(np.abs(betas - study.config["chosen"]["beta"]).argmin())
