"""Threads of NumPy's and SciPy's linear algebra while XLA's own threads have the cores."""

import functools
from contextlib import AbstractContextManager
from typing import Any

import scipy.linalg  # noqa: F401  (its library must be loaded when libraries are looked for)
from threadpoolctl import ThreadpoolController

# From so many rows and columns on a decomposition is worth more than one thread.
_LARGE = 500


def blas_threads(n_dates: int, n_assets: int) -> AbstractContextManager[Any]:
    """A context in which so many dates and assets, whose smaller number is a decomposition's size,
    are worked on by as many threads as help: one where that is small, since threads that wait for
    each other there take ten times as long."""
    limits = 1 if min(n_dates, n_assets) < _LARGE else None
    context: AbstractContextManager[Any] = _controller().limit(limits=limits, user_api="blas")
    return context


@functools.cache
def _controller() -> ThreadpoolController:
    """Looking for libraries takes longer than many a fit: once a process."""
    return ThreadpoolController()
