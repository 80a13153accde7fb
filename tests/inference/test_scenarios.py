"""Rows that scenarios are drawn under."""

import numpy as np

from jaxvae.inference.scenarios import even_rows
from jaxvae.models import make_batch


def test_rows_are_taken_evenly_however_many_are_asked_for():
    """400,000 of 6,000 rows: the product of the two is beyond 32 bits."""
    n_rows, number = 6000, 400_000
    batch = make_batch(np.arange(float(n_rows))[:, None])
    taken = np.asarray(even_rows(batch, number).values)[:, 0].astype(int)
    assert (np.diff(taken) >= 0).all()
    counts = np.bincount(taken, minlength=n_rows)
    assert set(counts) == {number // n_rows, number // n_rows + 1}
    few = np.asarray(even_rows(batch, 3).values)[:, 0]
    assert few.tolist() == [0, 2000, 4000]
