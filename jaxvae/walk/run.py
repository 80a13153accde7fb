"""A walk from start to end."""

from pathlib import Path
from typing import Unpack

import pandas as pd

from jaxvae.data.panel import Panel
from jaxvae.fitting.config import read_input
from jaxvae.runs.execute import Procedure, execute
from jaxvae.runs.progress import OnProgress, progress_for_call
from jaxvae.training.blas import blas_threads
from jaxvae.training.store import Stages
from jaxvae.walk.config import WalkConfig, WalkSettings
from jaxvae.walk.prepare import prepare_walk
from jaxvae.walk.summary import summarise_walk, train_walk, walk_identity
from jaxvae.walk.walk import Walk, load_walk


def walk_forward(
    panel: Panel | pd.DataFrame | str | Path,
    config: WalkConfig | None = None,
    *,
    kind: str | None = None,
    missing: str | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    on_progress: OnProgress | None = None,
    **settings: Unpack[WalkSettings],
) -> Walk:
    """Train the ensemble on each window and judge it on the dates that follow.

    Args:
        panel: or a DataFrame or a file of returns.
        config: the settings as a whole; or give them by keyword.
        kind, missing: as `panel_from_frame` takes them.
        out: new folder for the walk, which keeps what is trained as it is; by default memory.
        resume: go on with the unfinished walk in `out`, to the bits that an unbroken one has; a
            finished one is read.
        progress: whether a terminal or a notebook shows how far it is.
        on_progress: in place of that, called with the stage ("train", "score", with a folder
            "report") and where it stands.
        settings: fields of `WalkConfig` by their names: `window=252, step=21`.

    Returns:
        The walk's tables: log-likelihoods, tracked factors, portfolios and covariances.

    Raises:
        DataError: the panel is too short for one window and its step, has missing cells, or an
            asset that stands still in a window.
        FolderError: something stands at `out`; or what is to be gone on with is none, is in use, or
            was begun with other settings, data, versions or devices, of which it names one.
        OptionError: a bad setting.
        TypeError: a setting that there is not, or settings beside a whole `WalkConfig`.
    """
    asked = read_input(WalkConfig, panel, config, settings, kind=kind, missing=missing)
    with progress_for_call(progress, on_progress) as show:
        walk: Walk = execute(walk_procedure(*asked), show, out, resume=resume)[0]
    return walk


def walk_procedure(panel: Panel, config: WalkConfig) -> Procedure:
    """A walk over a panel, to be run in memory or in a folder."""

    def compute(on_progress: OnProgress, stage: Stages) -> Walk:
        with blas_threads(*panel.values.shape):
            prepared = prepare_walk(panel, config)
            on_progress("train", None)
            outputs = train_walk(prepared, lambda where: on_progress("train", where), stage)
            on_progress("score", None)
            return summarise_walk(prepared, outputs)

    return Procedure(
        identity=lambda: walk_identity(panel, config),
        compute=compute,
        read=load_walk,
    )
