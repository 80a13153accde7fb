"""What is said of auto.json: by its own summary, and by the READMEs."""

from collections import Counter
from typing import Any

import numpy as np
from pages import interval, number, results, table

Study = dict[str, Any]
NAMED = ("linear", "nonlinear", "sp500", "french")
UNSEEN = ("interactions", "thresholds", "local", "switch")
NOISES = ("noise", "wild")
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


def auto_claim() -> str:
    """How often the default is ahead, level and behind, and by how much at the worst."""
    studies = results("auto")["studies"]
    found = {key: one for key, one in studies.items() if has_factors(one)}
    ahead, level, behind = _standing(list(found.values()))
    worst, key = min((strongest(one), key) for key, one in found.items())
    noise = [one for kind in NOISES for one in by_kind(studies)[kind]]
    none = sum(not has_factors(one) for one in noise)
    return (
        f"**Asked for nothing, over {len(found)} studies of {len(by_kind(found))} kinds of panel "
        f"with factors, the ensemble is ahead of the strongest classical model in {ahead}, level "
        f"in {level}, behind in {behind}; at the worst {interval(*worst)} nats a date, on "
        f"`{key.split()[0].rstrip(',')}`. In {none} of {len(noise)} panels of noise it finds no "
        "factor, and claims no lead.**"
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
    mcc, rotation = (
        number(float(np.mean([one["factors"][name] for one in bent.values()])))
        for name in ("mcc", "mcc_rotation_95")
    )
    return (
        f"**Where returns bend it closes {number(float(np.mean(means)))} of the gap between the "
        f"best factor analysis and the true model ({number(min(means))} to {number(max(means))} "
        f"over {len(means)} draws, of three root seeds each); its factors match the true ones at "
        f"{mcc}, and 95 % of random rotations of these stay below {rotation}.**"
    )


def _standing(studies: list[Study]) -> tuple[int, int, int]:
    """Of those with factors: leads whose intervals are above 0, hold it, and are below it."""
    leads = [strongest(one) for one in studies if has_factors(one)]
    ahead, behind = sum(low > 0 for _, low, _ in leads), sum(high < 0 for _, _, high in leads)
    return ahead, len(leads) - ahead - behind, behind


def _standing_words(studies: list[Study]) -> str:
    counts = _standing(studies)
    return " / ".join(map(str, counts)) if sum(counts) else "no factor"


def short_table() -> str:
    """The named panels, the kinds that nothing was tuned on together, and noise."""
    heads = ("panel", "chosen (studies)", "lead over the strongest, mean (least)")
    kinds = by_kind(results("auto")["studies"])
    rows = [(f"`{name}`", [name]) for name in NAMED]
    rows += [("four kinds never tuned on", UNSEEN), ("noise, Gaussian and heavy-tailed", NOISES)]
    cells = []
    for label, names in rows:
        studies = [one for name in names for one in kinds[name]]
        chosen = Counter(one["model"] for one in studies)
        leads = [strongest(one)[0] for one in studies]
        lead = f"{number(float(np.mean(leads)), sign=True)} ({number(min(leads), sign=True)})"
        found = any(map(has_factors, studies))
        cells.append(
            [
                label,
                ", ".join(f"`{model}` ({count})" for model, count in chosen.most_common()),
                lead if found else "none claimed",
                _standing_words(studies),
            ]
        )
    return table((*heads, "ahead / level / behind"), cells)


def auto_table() -> str:
    """A row a kind of panel: what the default chose and where it stands."""
    heads = ("panel", "studies", "chosen, factors found (studies)", "VAE ensemble")
    more = ("lead over the strongest, mean (least)", "ahead / level / behind")
    kinds = by_kind(results("auto")["studies"])
    rows = [_row(f"`{name}`", studies) for name, studies in kinds.items()]
    last = ("matched correlation", "minimum variance: volatility over what is claimed")
    return table((*heads, *more, *last), rows)


def _row(name: str, studies: list[Study]) -> list[str]:
    chosen = Counter(f"{one['model']}, {one['found']}" for one in studies)
    leads = [strongest(one) for one in studies]
    least, mean = (float(f([lead for lead, _, _ in leads])) for f in (min, np.mean))
    matched = [one["factors"]["mcc"] for one in studies if one["factors"]]
    return [
        name,
        str(len(studies)),
        "; ".join(f"{what} ({count})" for what, count in chosen.items()),
        number(float(np.mean([one["log_likelihood"] for one in studies]))),
        f"{number(mean, sign=True)} ({number(least, sign=True)})",
        _standing_words(studies),
        number(float(np.mean(matched))) if matched else "",
        number(float(np.mean([excess(one) for one in studies]))),
    ]
