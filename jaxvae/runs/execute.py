"""A run in memory, or in a folder: begun there, gone on with, or read back where it is finished."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxvae.errors import OptionError, check_option, check_path
from jaxvae.runs.identity import require_same
from jaxvae.runs.processes import UNSHARED, Share
from jaxvae.runs.progress import OnProgress
from jaxvae.runs.results import read_config
from jaxvae.runs.work import drop_work, is_finished, open_run
from jaxvae.training.store import Stages, in_memory


class Procedure(NamedTuple):
    """What is run, and how its folder is kept.

    identity: all that its bits depend on, its command first. compute: from progress and stages to
    a result with a `config` of its own, and the `format` in which it is kept. read: it back.
    options: what a later command needs to go on by itself. described: what the result's `config`
    says beside.
    """

    identity: Callable[[], dict[str, Any]]
    compute: Callable[[OnProgress, Stages], Any]
    read: Callable[[Path], Any]
    options: Mapping[str, Any] = {}
    described: Mapping[str, Any] = {}


def execute(
    procedure: Procedure,
    on_progress: OnProgress,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    share: Share = UNSHARED,
) -> tuple[Any, list[str]]:
    """Run a procedure, or go on with it.

    Args:
        procedure: what is run.
        on_progress: called with the stage and where it stands.
        out: the run's folder; None for memory.
        resume: whether to go on with what the folder holds.
        share: what of it this process does.

    Returns:
        The result, once the folder holds it; names of what lies there beside it, which is left
        alone.

    Raises:
        OptionError: no folder is named to go on with.
        FolderError: as `open_run` does, and where a finished folder is another run's or not whole.
    """
    resume = check_option("resume", resume, bool)
    if out is None:
        if resume:
            raise OptionError("out", "name the folder of the run to go on with")
        return procedure.compute(on_progress, in_memory), []
    out, identity = check_path("out", out), procedure.identity()
    if resume and is_finished(out):
        require_same(out, read_config(out, identity["command"])["identity"], identity)
        result = procedure.read(out)
        drop_work(out)
        return result, []
    with open_run(out, identity, {**procedure.options}, resume=resume, share=share) as run:
        result = procedure.compute(on_progress, run.stage)
        result.config.update(procedure.described)
        on_progress("report", None)
        return result, run.finish(result.format.files(result))
