"""Missing cells: what a study says of them, and what it puts in their place where it must.

Nothing here touches a panel without any. Models are fitted to the cells observed (`models`,
`analysis.incomplete`); what only knows complete returns, such as a spectrum, gets them with the
missing cells drawn by factor analysis.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis.incomplete import draw_missing, is_incomplete
from jaxvae.baselines import Elliptical
from jaxvae.data.panel import Panel, Split
from jaxvae.errors import first_of
from jaxvae.training.streams import Stream

LEAST_ABSENCE = 5  # dates at either end of the panel; an asset that lacks fewer has a gap there


def completed(
    values: Float[np.ndarray, "date asset"],
    split: Split,
    factor_analysis: Elliptical,
    root_seed: int,
) -> Float[np.ndarray, "date asset"]:
    """The values, missing cells drawn from a factor analysis given what is observed of the date;
    the values themselves where none is missing. The draws on `fit` come first, whatever the test
    part lacks."""
    if not is_incomplete(values):
        return values
    rng = Stream.GAPS.generator(root_seed)
    mean, scatter = factor_analysis.mean, factor_analysis.scatter
    parts = (values[split.fit], values[split.test])
    return np.concatenate([draw_missing(rng, part, mean, scatter) for part in parts])


def missing_notes(panel: Panel) -> list[str]:
    """How many cells are missing, which assets begin late or end early by `LEAST_ABSENCE` dates or
    more, and the gaps that are left: a sentence each; none where no cell is missing."""
    returns = panel.to_frame()
    absent = returns.isna()
    if not (missing := int(absent.sum().sum())):
        return []
    share = f"{100 * missing / returns.size:.1f} %"
    notes = [
        f"{missing:,} of {returns.size:,} cells ({share}) are missing, not "
        "filled: models are fitted to the cells observed and scored on them, per date and per cell."
    ]
    seen = ~absent
    edges = {
        "Late to begin": (absent.cummin(), seen.idxmax(), False),
        "Early to end": (absent[::-1].cummin(), seen[::-1].idxmax(), True),
    }
    for words, (run, days, soonest) in edges.items():
        lengths = run.sum()[lambda dates: dates >= LEAST_ABSENCE]
        missing -= int(lengths.sum())
        if len(lengths):
            beyond = days[lengths.index].sort_values(ascending=soonest, kind="stable")
            shown = zip(beyond.index, pd.DatetimeIndex(beyond), strict=True)
            named = first_of([f"{asset} ({day.date()})" for asset, day in shown])
            notes.append(f"{words}: {named}.")
    if missing:
        notes.append(f"{missing:,} missing cells are gaps in the histories of assets.")
    return notes


def unforeseen_note(values: Float[np.ndarray, "date asset"], split: Split) -> list[str]:
    """What the report must say of an encoder that was trained on complete returns alone, where the
    test part lacks cells."""
    if is_incomplete(values[split.fit]) or not is_incomplete(values[split.test]):
        return []
    return [
        "Cells are missing in the test part alone, so that the encoder was not trained to do "
        "without any: it takes a missing return for the mean, and factors on those dates are less "
        "certain. Likelihoods rest on the cells observed."
    ]


def completion_note(
    values: Float[np.ndarray, "date asset"], factor_analysis: Elliptical
) -> list[str]:
    """What the report must say where `completed` had cells to draw."""
    if not is_incomplete(values):
        return []
    n_factors = factor_analysis.n_factors
    return [
        "Estimators of the number of factors, the spectrum and the principal components’ shares "
        "know complete returns only: there, missing cells are one draw from factor analysis with "
        f"{n_factors} factor{'' if n_factors == 1 else 's'}, given the cells observed that date. "
        "Everything else rests on observed cells alone."
    ]


def describe_missing(
    values: Float[np.ndarray, "date asset"], split: Split
) -> dict[str, float | int]:
    """For `config.json`: missing cells, and their share in each part; nothing where none is."""
    if not is_incomplete(values):
        return {}
    gaps = np.isnan(values)
    parts = {"train": split.train, "validation": split.validation, "test": split.test}
    shares = {f"missing_in_{part}": float(gaps[rows].mean()) for part, rows in parts.items()}
    return {"missing_cells": int(gaps.sum()), **shares}
