"""The Protocol of fitted baselines: log-likelihoods, factors and rebuilt returns by date."""

from abc import abstractmethod
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@runtime_checkable
class Law(Protocol):
    """A law of returns, in standard units; by default without factors and of mean 0.

    `n_factors` is 0 where it has none; then `factors` have no columns, and `reconstruct` gives the
    mean.
    """

    @property
    def n_factors(self) -> int:
        return 0

    def factors(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "date factor"]:
        """Factors of each date."""
        return np.zeros((len(values), 0))

    def reconstruct(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Float[np.ndarray, "date asset"]:
        """Returns rebuilt from their factors."""
        return np.zeros_like(values)

    @abstractmethod
    def log_likelihood(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " date"]:
        """ln p(x) of each date, nats; given the dates before it, where the baseline is temporal:
        `values` then begin with the first date fitted."""
