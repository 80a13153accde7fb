"""What is said of auto.json: by its own summary, and by the READMEs."""

from collections import Counter
from typing import Any

import numpy as np
from pages import number, results, table

Study = dict[str, Any]


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


def auto_claim() -> str:
    """How often the default is ahead, level and behind, and by how much at the worst."""
    studies = results("auto")["studies"]
    leads = [strongest(one) for one in studies.values()]
    ahead, level, behind = _standing(leads)
    worst = min(zip(leads, studies, strict=True))
    lost, low, high = worst[0]
    lead = f"{number(lost, sign=True)} [{number(low, sign=True)}, {number(high, sign=True)}]"
    return (
        f"**Asked for nothing, over {len(studies)} studies of {len(by_kind(studies))} kinds of "
        f"panel, the ensemble is ahead of the strongest classical model in {ahead}, level in "
        f"{level}, behind in {behind}; at the worst {lead} nats a date, on "
        f"`{worst[1].split()[0].rstrip(',')}`.**"
    )


def _standing(leads: list[tuple[float, float, float]]) -> tuple[int, int, int]:
    """Leads whose intervals are above 0, hold it, and are below it."""
    ahead, behind = sum(low > 0 for _, low, _ in leads), sum(high < 0 for _, _, high in leads)
    return ahead, len(leads) - ahead - behind, behind


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
        " / ".join(str(count) for count in _standing(leads)),
        number(float(np.mean(matched))) if matched else "",
        number(float(np.mean([excess(one) for one in studies]))),
    ]
