"""Numbers and names as a person reads them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from jaxvae.baselines import BASELINES
from jaxvae.errors import counted as counted
from jaxvae.report.fonts import drawable
from jaxvae.report.results import StudyResults

Number = float | int | np.number
NONE = "–"
MODEL_NAMES = {
    "vae_ensemble": "VAE ensemble",
    "vae_best": "VAE, likeliest seed",
    "consensus": "consensus factors",
    **{name: baseline.label for name, baseline in BASELINES.items()},
}


def number(value: Number, digits: int = 2, sign: bool = False) -> str:
    """A number for a person: a true minus sign, and an en dash where there is none."""
    if not np.isfinite(value):
        return NONE
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    zero = float(text) == 0
    return (text.lstrip("+-") if zero else text).replace("-", "−")


def interval(low: Number, high: Number, digits: int = 2) -> str:
    """An interval in brackets; an en dash where there is none."""
    return f"[{number(low, digits)}, {number(high, digits)}]" if np.isfinite(low) else NONE


def with_interval(
    value: Number, low: Number, high: Number, digits: int = 2, sign: bool = True
) -> str:
    """A difference, or without a sign another number, and its interval; an en dash where there is
    none."""
    if not np.isfinite(value):
        return NONE
    return f"{number(value, digits, sign)} {interval(low, high, digits)}"


def numbers(values: Iterable[Number], digits: int = 2, sign: bool = False) -> list[str]:
    """Each of several numbers for a person."""
    return [number(value, digits, sign) for value in values]


def signed(values: pd.Series, digits: int = 2) -> str:
    """Names with their numbers in a line; an en dash where there are none."""
    pairs = [f"{name}\N{NO-BREAK SPACE}{number(x, digits, True)}" for name, x in values.items()]
    return ", ".join(pairs) or NONE


def percent(share: Number, digits: int = 0) -> str:
    """A share as a percentage; rounded as `number` rounds the share itself."""
    return f"{number(100 * float(f'{share:.{digits + 2}f}'), digits)} %"


def as_label(text: object, width: int = 18) -> str:
    """Text from the data as a label: cut to a width, drawable in the font, never mathematics."""
    known = drawable()
    line = "".join(c if ord(c) in known else "□" for c in " ".join(str(text).split()))
    cut = line if len(line) <= width else line[: width - 1] + "…"
    # matplotlib reads an escaped dollar as a dollar, and a pair of bare ones as mathematics.
    return cut.replace("$", r"\$")


def beta_label(beta: float) -> str:
    """A beta as a label: β = 0.5."""
    return f"β = {beta:.3g}"


def row_label(study: StudyResults, model: str, start: bool = False) -> str:
    """What a model is called, with its number of factors where it has one of its own; with a
    capital at the start of a line."""
    name, factors = MODEL_NAMES.get(model, model.replace("_", " ")), factors_of(study, model)
    if factors and not model.startswith(("vae", "consensus")):
        name = f"{name}{' ' if model.endswith('_best') else ', '}K = {factors}"
    return name[:1].upper() + name[1:] if start else name


def factors_of(study: StudyResults, model: str) -> int | None:
    """The number of factors a model has in the metrics; None where it has none."""
    rows = study.metrics[study.metrics.model == model]
    factors = pd.to_numeric(rows.factors, errors="coerce").dropna()
    return int(factors.iloc[0]) if len(factors) and factors.iloc[0] > 0 else None


def is_repeat(study: StudyResults, model: str) -> bool:
    """Whether a model of the best number of factors has as many as the study asks for: it then is
    the model beside it once more."""
    plain = model.removesuffix("_best")
    of_the_best = plain in BASELINES and plain != model
    return of_the_best and factors_of(study, model) == factors_of(study, plain)


def reference_names(study: StudyResults) -> list[str]:
    """The known factors' names; planted ones are called true, to tell them from learned ones."""
    reference = study.config["reference"]
    return [f"true {name}" if reference["planted"] else name for name in reference["names"]]


def reference_kind(study: StudyResults) -> str:
    """What the known factors are: true, since planted, or reference."""
    return "true" if study.config["reference"]["planted"] else "reference"
