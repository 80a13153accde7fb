"""Several processes on one study: through JAX's distributed runtime, or as a job array.

Each process trains the tiles that are its own on its own devices and leaves them in the study's
folder, which all must see. No program talks to another process. With a coordinator the processes
wait for each other's tiles at the end of each stage, and the first one writes the study; in a job
array each ends after its share of the grid, and `jaxvae gather` does the rest.
"""

import re
import time
from collections.abc import Callable
from typing import NamedTuple

from jaxvae.errors import FolderError, Option, OptionError

SECONDS_BETWEEN_LOOKS = 0.2


def _wait_for_nobody(done: Callable[[], bool]) -> None:
    """Come back at once."""


class Share(NamedTuple):
    """What of a run a process does: as number `process` of so many, among whom tiles go round.

    wait: called, once its own tiles are there, with what tells whether all are; comes back then.
    """

    process: int = 0
    processes: int = 1
    wait: Callable[[Callable[[], bool]], None] = _wait_for_nobody


UNSHARED = Share()


class ShareDone(Exception):
    """This process has done its share; another does the rest."""


class Processes(NamedTuple):
    """process: this one, counted from 0. processes: how many. coordinator: its address, "auto" for
    what the cluster says, None in a job array or where there is one process."""

    process: int = 0
    processes: int = 1
    coordinator: str | None = None

    def connect(self) -> "Processes":
        """Join the distributed runtime, before JAX is used; who this process is.

        Raises FolderError where JAX finds no runtime to join; it aborts where it cannot be reached.
        """
        if self.coordinator is None:
            return self
        import jax

        # It would take SIGTERM for itself.
        jax.config.update("jax_enable_preemption_service", False)
        auto = self.coordinator == "auto"
        place = () if auto else (self.coordinator, self.processes, self.process)
        try:
            jax.distributed.initialize(*place)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise FolderError(Option("coordinator"), f": {self.coordinator}: {reason}") from error
        return self._replace(process=jax.process_index(), processes=jax.process_count())

    def disconnect(self) -> None:
        """Leave the distributed runtime together, once all is done: the coordinator waits for
        others, which JAX would abort if it went first."""
        if self.coordinator is not None:
            import jax

            jax.distributed.shutdown()

    def await_others(self, done: Callable[[], bool], check: Callable[[], None]) -> None:
        """Come back once what the others do is done; `check` may raise in the meantime.

        Raises ShareDone in a job array, whose processes do not wait for each other.
        """
        if self.processes == 1:
            return
        if self.coordinator is None:
            raise ShareDone
        while not done():
            check()
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def leave_last(self, is_at_work: Callable[[int], bool]) -> None:
        """Where the coordinator runs, let the others save: JAX ends them with it. Who calls this
        says how long that may take."""
        if self.coordinator is None or self.process > 0:
            return
        while any(is_at_work(other) for other in range(1, self.processes)):
            time.sleep(SECONDS_BETWEEN_LOOKS)
        # They have saved; a moment more, to say how to go on.
        time.sleep(SECONDS_BETWEEN_LOOKS)


def parse_processes(
    coordinator: str | None, processes: int | None, process: int | None
) -> Processes:
    """The options as given. Raises OptionError where they do not make sense together."""
    both = (Option("processes"), " and ", Option("process"))
    if coordinator == "auto":
        if processes is not None or process is not None:
            raise OptionError("coordinator", "auto stands for ", *both, "; leave these out")
        return Processes(coordinator=coordinator)
    if (processes is None) != (process is None):
        raise OptionError("processes", "it goes with ", Option("process"), "; give both or neither")
    if processes is None or process is None:
        if coordinator is not None:
            raise OptionError("coordinator", "give ", *both, " too, or auto")
        return Processes()
    if coordinator is not None and not re.fullmatch(r".+:\d+", coordinator):
        raise OptionError("coordinator", f"{coordinator!r} is neither HOST:PORT nor auto")
    if not 0 <= process < processes:
        raise OptionError("process", f"{process} must lie between 0 and {processes - 1}")
    return Processes(process, processes, coordinator)
