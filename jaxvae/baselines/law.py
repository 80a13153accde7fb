"""The Protocol of fitted baselines: log-likelihoods, factors and rebuilt returns by date."""

from abc import abstractmethod
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@runtime_checkable
class Law(Protocol):
    """A law of returns, in standard units; by default without factors and of mean 0."""

    @property
    def n_factors(self) -> int:
        """0 where it has none."""
        return 0

    def factors(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "date factor"]:
        """Factors of each date; no columns where there are none.

        Args:
            values: standardised returns; NaN marks a missing cell.
        """
        return np.zeros((len(values), 0))

    def reconstruct(
        self, values: Float[np.ndarray, "date asset"]
    ) -> Float[np.ndarray, "date asset"]:
        """Returns rebuilt from their factors; the mean where there are none.

        Args:
            values: standardised returns; NaN marks a missing cell.
        """
        return np.zeros_like(values)

    @abstractmethod
    def log_likelihood(self, values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, " date"]:
        """ln p(x) of each date, nats; given the dates before it, where the baseline is temporal.

        Args:
            values: standardised returns; NaN marks a missing cell. They begin with the first date
                fitted where the baseline is temporal.
        """
