"""Threads of NumPy's and SciPy's linear algebra while XLA's own threads have the cores."""

from threadpoolctl import threadpool_limits

# From so many assets on a decomposition is worth more than one thread.
MANY_ASSETS = 500


def blas_threads(n_assets: int) -> threadpool_limits:
    """A context in which matrices of so many assets are worked on by as many threads as help: one
    where they are small, since threads that wait for each other there take ten times as long."""
    return threadpool_limits(1 if n_assets < MANY_ASSETS else None, "blas")
