"""Panels with missing cells: what a study of them does differently.

Nothing here touches a panel without any. Models are fitted to the cells observed (`densities`,
`analysis.incomplete`); what only knows complete returns, such as a spectrum, gets them with the
missing cells drawn by factor analysis.
"""

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.baselines import Elliptical
from jaxvae.analysis.incomplete import draw_missing
from jaxvae.data.panel import Panel, Split

# Chosen on validation dates of draws of the synthetic panels that are not reported; see
# experiments/missing.py.
HIDDEN_CELLS = 0.25
MOST_NAMED = 5
DRAW_STREAM = 7


def is_incomplete(values: Float[np.ndarray, "date asset"]) -> bool:
    """Whether any cell is missing."""
    return bool(np.isnan(values).any())


def completed(
    values: Float[np.ndarray, "date asset"], factor_analysis: Elliptical, root_seed: int
) -> Float[np.ndarray, "date asset"]:
    """The values, missing cells drawn from a factor analysis given what is observed of the date;
    the values themselves where none is missing."""
    if not is_incomplete(values):
        return values
    rng = np.random.default_rng((root_seed, DRAW_STREAM))
    return draw_missing(rng, values, factor_analysis.mean, factor_analysis.scatter)


def missing_notes(panel: Panel) -> list[str]:
    """How many cells are missing, which assets begin late or end early, and the gaps between: a
    sentence each; none where no cell is missing."""
    returns = panel.to_frame()
    if not (missing := int(returns.isna().sum().sum())):
        return []
    share = f"{100 * missing / returns.size:.1f} %"
    notes = [
        f"{missing:,} of {returns.size:,} cells ({share}) are missing, not filled: models are "
        "fitted to the cells observed and scored on them, per date and per cell."
    ]
    seen = returns.notna()
    first, last = seen.idxmax(), seen[::-1].idxmax()
    for words, days, edge in (("Late to begin", first, 0), ("Early to end", last, -1)):
        beyond = days[days != returns.index[edge]].sort_values(ascending=edge == -1)
        if len(beyond):
            named = [f"{asset} ({day.date()})" for asset, day in beyond[:MOST_NAMED].items()]
            more = f" and {len(beyond) - MOST_NAMED} more" if len(beyond) > MOST_NAMED else ""
            notes.append(f"{words}: {', '.join(named)}{more}.")
    within = returns.ffill().notna() & returns.bfill().notna() & ~seen
    if gaps := int(within.sum().sum()):
        notes.append(
            f"{gaps:,} missing cells are gaps between an asset’s first value and its last, in "
            f"{int(within.any().sum())} of {panel.n_assets} assets."
        )
    return notes


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
    shares = {f"missing_in_{part}": float(gaps[rows].mean()) for part, rows in _parts(split)}
    return {"missing_cells": int(gaps.sum()), **shares}


def _parts(split: Split) -> list[tuple[str, slice]]:
    return [(name, getattr(split, name)) for name in ("train", "validation", "test")]
