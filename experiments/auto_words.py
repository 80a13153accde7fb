"""What the READMEs say of auto.json."""

from collections import Counter
from typing import Any

import numpy as np

KINDS = ("interactions", "thresholds", "local", "switch")
NOISES = ("noise", "wild")


def groups(found: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The studies of each group, in the order of the file."""
    by_group: dict[str, list[dict[str, Any]]] = {}
    for key, one in found["studies"].items():
        by_group.setdefault(key.split()[0].rstrip(","), []).append(one)
    return by_group


def strongest(one: dict[str, Any]) -> tuple[float, float, float]:
    """The lead over the classical model that is strongest on test dates, with its widest
    interval."""
    difference, low, high = min(one["leads"].values())
    return difference, low, high


def row(name: str, studies: list[dict[str, Any]]) -> list[str]:
    """Panel, studies, what was chosen, score, lead, behind, matched correlation, minutes."""

    def number(value: float, digits: int = 2, sign: bool = False) -> str:
        return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")

    chosen = Counter(f"{one['model']}, {one['found']}" for one in studies)
    leads = [strongest(one) for one in studies]
    matched = [one["factors"]["mcc"] for one in studies if one["factors"]]
    behind = sum(high < 0 for _, _, high in leads)
    ahead = sum(low > 0 for _, low, _ in leads)
    return [
        name,
        str(len(studies)),
        "; ".join(f"{what} ({count})" for what, count in chosen.items()),
        number(float(np.mean([one["log_likelihood"] for one in studies]))),
        f"{number(float(np.mean([lead for lead, _, _ in leads])), sign=True)} "
        f"({number(min(leads)[0], sign=True)})",
        f"{ahead} / {len(studies) - ahead - behind} / {behind}",
        number(float(np.mean(matched))) if matched else "",
        number(float(np.mean([one["seconds"] for one in studies])) / 60, 1),
    ]
