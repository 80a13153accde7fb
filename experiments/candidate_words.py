"""What is said of candidates.json by the READMEs."""

from typing import Any

import numpy as np
from pages import claims, listed, number, results, table

TRIALS = {
    "bent_student": "curves, `student`",
    "bent_volatility": "curves, `volatility`",
    "three_volatilities": "three volatilities",
    "residual 1": "residual, decay 1",
    "residual 10": "residual, decay 10",
}
BENT = ("interactions", "nonlinear")  # kinds of panel
AXES = {
    "information": "where Wᵀ Ψ⁻¹ W is diagonal, as studies report them",
    "variance": "where Wᵀ W is diagonal",
    "varimax": "after varimax",
    "pca": "as principal components of returns",
}


def candidates_claim() -> str:
    """How many trials lead by more than an error, and the best of them elsewhere."""
    panels = results("candidates")["panels"]
    leads = [
        (row["lead"], row["error"], name, panel)
        for panel, found in panels.items()
        for name, row in found["rows"].items()
        if name in TRIALS or ", " in name
    ]
    ahead = [one for one in leads if one[0] > one[1]]
    lead, error, name, panel = max(leads)
    others = [
        number(found["rows"][name]["lead"], sign=True)
        for other, found in panels.items()
        if other != panel and other.split(",")[0] in BENT
    ]
    return claims(
        f"Of {len(leads)} trials {len(ahead)} are ahead of a study's own families by more than a "
        "standard error.",
        f"The largest lead, {number(lead, sign=True)} ± {number(error)} nats a date, is of "
        f'"{TRIALS.get(name, name)}" on {panel}; on the other {len(others)} draws of panels that '
        f"bend it is {listed(others)}.",
    )


def candidates_table() -> str:
    """A row a panel: leads over the best of a study's own families, on validation dates."""
    heads = (
        "panel",
        "best of a study's own",
        *TRIALS.values(),
        "best shrunk `linear` or `student`",
    )
    rows = []
    for panel, found in results("candidates")["panels"].items():
        of_trials = [_lead(found["rows"].get(name)) for name in TRIALS]
        shrunk = {name: row for name, row in found["rows"].items() if ", " in name}
        best = max(shrunk, key=lambda name: shrunk[name]["lead"])
        name = f"`{found['best']}`"
        rows.append((panel, name, *of_trials, f"{best}: {_lead(shrunk[best])}"))
    return table(heads, rows)


def _lead(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    return f"{number(row['lead'], sign=True)} ± {number(row['error'])}"


def axes_claim() -> str:
    """How well the axes of one factor analysis match the true factors, by how they are turned."""
    draws = results("candidates")["axes"]
    means = {name: [draw[name] for draw in draws] for name in AXES}
    words = ", ".join(
        f"{number(float(np.mean(means[name])))} {label}" for name, label in AXES.items()
    )
    spread = number(float(np.std(means["information"])))
    return (
        f"**On {len(draws)} linear draws the axes of a factor analysis, which its likelihood "
        f"leaves free, match the true factors at {words}; from draw to draw the first varies by "
        f"{spread} (standard deviation).**"
    )
