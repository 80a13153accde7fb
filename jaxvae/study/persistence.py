"""How long the consensus factors of the autoregressive model last."""

import numpy as np

from jaxvae.models import Model
from jaxvae.study.align import Aligned
from jaxvae.study.fit import Choice, Trained


def persistence_arrays(
    model: Model, grid: Trained, aligned: Aligned, chosen: Choice
) -> dict[str, np.ndarray]:
    """φ of each consensus factor, under the name "persistence": its members' mean at the chosen β.
    Nothing for other models.

    chosen: the member that validation chose.
    """
    if model.persistence is None:
        return {}
    seeds = chosen.seeds.start + np.flatnonzero(aligned.used[chosen.seeds])
    places = np.cumsum(aligned.used)[seeds] - 1
    phi = np.asarray(model.persistence(grid.ensemble.variables), np.float64)[seeds]
    of_consensus = np.take_along_axis(phi, aligned.map.alignment.assignment[places], axis=1)
    return {"persistence": of_consensus.mean(axis=0)}
