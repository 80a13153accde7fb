"""How long the consensus factors of the autoregressive model last."""

import numpy as np

from jaxvae.models import Model
from jaxvae.study.align import Aligned
from jaxvae.study.config import StudyConfig
from jaxvae.study.fit import Trained


def persistence_arrays(
    model: Model, grid: Trained, aligned: Aligned, chosen: int, config: StudyConfig
) -> dict[str, np.ndarray]:
    """φ of each consensus factor, under the name "persistence": its members' mean at the chosen β.
    Nothing for other models.

    chosen: the member that validation chose.
    """
    if model.persistence is None:
        return {}
    first = chosen - chosen % config.seeds
    seeds = first + np.flatnonzero(aligned.used[first : first + config.seeds])
    places = np.cumsum(aligned.used)[seeds] - 1
    phi = np.asarray(model.persistence(grid.ensemble.variables), np.float64)[seeds]
    of_consensus = np.take_along_axis(phi, aligned.map.alignment.assignment[places], axis=1)
    return {"persistence": of_consensus.mean(axis=0)}
