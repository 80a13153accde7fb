"""Jobs in threads of one process: while one's program is compiled another trains."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from jaxvae.training.ensemble import Progress

THREADS = "jaxvae"  # their names begin so
SECONDS_BETWEEN_REPORTS = 0.2
Result = TypeVar("Result")
Job = Callable[[Callable[[Progress], None]], Result]


class _Stopped(Exception):
    """The caller has given up."""


def in_threads(
    jobs: Sequence[Job[Result]], n_members: int, on_progress: Callable[[Progress], None]
) -> Iterator[tuple[int, Result]]:
    """Run jobs, as many at once as there are cores.

    Args:
        jobs: each is called with an `on_progress` of its own, which it calls at its edges and whose
            errors it lets pass.
        n_members: of all jobs together.
        on_progress: called in the caller's thread, with the sum of what the jobs reported. Where it
            raises no further job begins, and those in work end at their next edge.

    Yields:
        The place of each job with its result, in the order in which they end.
    """
    stopped, latest = threading.Event(), dict[int, Progress]()

    def run(place: int) -> Result:
        def note(progress: Progress) -> None:
            latest[place] = progress
            if stopped.is_set():
                raise _Stopped

        return jobs[place](note)

    pool = _pool(len(jobs))
    places: dict[Future[Result], int] = {pool.submit(run, i): i for i in range(len(jobs))}
    waiting = set(places)
    try:
        while waiting:
            ended, waiting = wait(waiting, SECONDS_BETWEEN_REPORTS, FIRST_COMPLETED)
            for future in ended:
                yield places[future], future.result()
            # Before any job has reported, too: a caller may have to end while programs compile.
            on_progress(_sum_of(list(latest.values()), n_members))
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def run_at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """What the jobs return, worked on as many at once as there are cores; where one fails, no
    further one begins."""
    pool = _pool(len(jobs))
    try:
        return list(pool.map(lambda job: job(), jobs))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def in_background(job: Callable[[], Any]) -> Iterator[None]:
    """A job in a thread while a block runs, and waited for where that ends well; nobody is told of
    the job's own error."""
    pool = _pool(1)
    pool.submit(job)
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False)
        raise
    pool.shutdown()


def _pool(n_jobs: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(n_jobs, os.cpu_count() or 1) or 1, THREADS)


def _sum_of(parts: Sequence[Progress], n_members: int) -> Progress:
    """Members done and in work of all jobs; epochs of those in work, mean over members."""
    done = sum(part.done for part in parts)
    in_work = sum(part.in_work for part in parts)
    epoch = sum(part.in_work * part.epoch for part in parts) // max(in_work, 1)
    epochs = sum(part.in_work * part.epochs for part in parts) // max(in_work, 1)
    return Progress(done, in_work, n_members, epoch, max(epochs, 1))
