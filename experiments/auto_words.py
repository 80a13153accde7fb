"""What is said of auto.json: by its own summary, and by the READMEs."""

from collections import Counter
from typing import Any

import numpy as np
from pages import claims, interval, number, results, table

Study = dict[str, Any]
NOISES = ("noise", "wild")
ROTATION = "mcc_rotation_95"
MATCHED = ("matched correlation", "95 % of rotations below", "above both nulls")
FACTOR_ANALYSES = ("factor_analysis", "factor_analysis_best")


def by_kind(studies: dict[str, Study]) -> dict[str, list[Study]]:
    """The studies of each kind of panel, in the order of the file."""
    kinds: dict[str, list[Study]] = {}
    for key, one in studies.items():
        kinds.setdefault(key.split()[0].rstrip(","), []).append(one)
    return kinds


def strongest(one: Study) -> tuple[float, float, float]:
    """The lead over the classical model that is strongest on test dates, with its widest
    interval."""
    difference, low, high = min(one["leads"].values())
    return difference, low, high


def excess(one: Study) -> float:
    """How volatile the minimum-variance portfolio is on test dates, of what it claims."""
    return float(one["portfolio"]["realised"] / one["portfolio"]["claimed"])


def has_factors(one: Study) -> bool:
    """Whether a study found any; where it found none its report claims no lead."""
    return bool(one["found"] != 0)


def counted() -> tuple[dict[str, Study], tuple[int, int, int]]:
    """The studies that found factors, and in how many the ensemble is ahead, level and behind."""
    found = {key: one for key, one in results("auto")["studies"].items() if has_factors(one)}
    return found, _standing(list(found.values()))


def without_factors() -> tuple[int, int]:
    """Of the panels of noise: those in which no factor is found, and all."""
    kinds = by_kind(results("auto")["studies"])
    noise = [one for kind in NOISES for one in kinds[kind]]
    return sum(not has_factors(one) for one in noise), len(noise)


def largest_lag() -> str:
    """By how much the ensemble is behind at most, where an interval says that it is."""
    leads = [strongest(one) for one in counted()[0].values()]
    return number(-min(lead for lead, _, high in leads if high < 0))


def largest_shortfall() -> tuple[str, tuple[float, float, float]]:
    """The panel where the ensemble's lead is least, and that lead with its interval."""
    found, _ = counted()
    least, key = min((strongest(one), key) for key, one in found.items())
    return key.split()[0].rstrip(","), least


def auto_claim() -> str:
    """How often the default is ahead, level and behind, and by how much at the worst."""
    found, (ahead, level, behind) = counted()
    panel, worst = largest_shortfall()
    clear = "has zero in" if worst[2] > 0 else "is clear of zero by"
    none, noise = without_factors()
    return claims(
        f"Over {len(found)} studies of {len(by_kind(found))} kinds of panel with factors, the "
        f"ensemble is ahead of the strongest classical model in {ahead}, level with it in {level} "
        f"and behind in {behind}, by at most {largest_lag()} nats a date.",
        f"The largest shortfall, on `{panel}`, {clear} its interval: {interval(*worst)}.",
        f"In {none} of {noise} panels of noise no factor is found and no lead is claimed.",
    )


def bent_claim() -> str:
    """How much of the gap to the true model the default closes, and how well factors match."""
    draws: dict[str, list[float]] = {}
    bent = {
        key: one for key, one in results("auto")["studies"].items() if key.startswith("nonlinear ")
    }
    for key, one in bent.items():
        ahead = min(one["leads"][name][0] for name in FACTOR_ANALYSES)
        gap = one["oracle"]["log_likelihood"] - one["log_likelihood"] + ahead
        draws.setdefault(key.split(",")[0], []).append(ahead / gap)
    means = [float(np.mean(shares)) for shares in draws.values()]
    factors = [one["factors"] for one in bent.values()]
    mcc, rotation = (
        number(float(np.mean([one[name] for one in factors]))) for name in ("mcc", ROTATION)
    )
    return claims(
        f"Where returns bend it closes {number(float(np.mean(means)))} of the gap between the best "
        f"factor analysis and the true model ({number(min(means))} to {number(max(means))} over "
        f"{len(means)} draws, of three root seeds each).",
        f"Its axes are the true ones in some studies only: its factors match the true ones at "
        f"{mcc} on average, 95 % of random rotations stay below {rotation}, and {_above(factors)} "
        f"of {len(factors)} studies exceed theirs.",
    )


def _above(factors: list[dict[str, float]]) -> int:
    """How many matched correlations exceed both of their nulls."""
    return sum(one["mcc"] > max(one[ROTATION], one["mcc_chance_95"]) for one in factors)


def _standing(studies: list[Study]) -> tuple[int, int, int]:
    """Of those with factors: leads whose intervals are above 0, hold it, and are below it."""
    leads = [strongest(one) for one in studies if has_factors(one)]
    ahead, behind = sum(low > 0 for _, low, _ in leads), sum(high < 0 for _, _, high in leads)
    return ahead, len(leads) - ahead - behind, behind


def _standing_words(studies: list[Study]) -> str:
    counts = _standing(studies)
    return " / ".join(map(str, counts)) if sum(counts) else "no factor"


def auto_table() -> str:
    """A row a kind of panel: what the default chose and where it stands."""
    heads = ("panel", "studies", "chosen, factors found (studies)", "VAE ensemble")
    more = ("lead over the strongest, mean (least)", "ahead / level / behind")
    kinds = by_kind(results("auto")["studies"])
    rows = [_row(f"`{name}`", studies) for name, studies in kinds.items()]
    last = "minimum variance: volatility over what is claimed"
    return table((*heads, *more, *MATCHED, last), rows)


def _row(name: str, studies: list[Study]) -> list[str]:
    chosen = Counter(f"{one['model']}, {one['found']}" for one in studies)
    leads = [strongest(one) for one in studies]
    least, mean = (float(f([lead for lead, _, _ in leads])) for f in (min, np.mean))
    factors = [one["factors"] for one in studies if one["factors"]]
    matched = [
        number(float(np.mean([one[name] for one in factors]))) if factors else ""
        for name in ("mcc", ROTATION)
    ]
    return [
        name,
        str(len(studies)),
        "; ".join(f"{what} ({count})" for what, count in chosen.items()),
        number(float(np.mean([one["log_likelihood"] for one in studies]))),
        f"{number(mean, sign=True)} ({number(least, sign=True)})",
        _standing_words(studies),
        *matched,
        f"{_above(factors)} of {len(factors)}" if factors else "",
        number(float(np.mean([excess(one) for one in studies]))),
    ]
