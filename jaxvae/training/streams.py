"""Random streams: what random numbers are drawn for, beside the training of members.

Training has keys of its own: a member's comes from the root, its seed and its β (`member_key`).
"""

import enum

import jax
import numpy as np
from jaxtyping import Array, Key


@enum.unique
class Stream(enum.IntEnum):
    """One use of random numbers; with a seed it fixes all that it draws.

    The numbers are part of what a seed gives: another one gives other draws.
    """

    EVALUATION = 2**32 - 1  # importance samples of a study's members on the panel's dates
    SCENARIOS = 2**32 - 2  # draws that scores of scenarios rest on
    COVARIANCE = 2**32 - 3  # draws that a covariance without closed form rests on
    BACKTEST = 2**32 - 4  # value at risk, and paths whose squares are compared
    FAN = 2**32 - 6  # paths of the dates after a panel's last
    WINDOWS = 2**32 - 5  # moments and importance samples of a walk's members
    RESAMPLING = 0  # bootstraps, shifts and rotations of an analysis; picks by weight
    GAPS = 7  # missing cells, for models that need whole rows
    JITTER = 8  # what returns are moved by, to see what it costs a likelihood
    TRACKING = 11  # chance levels of factors followed over windows
    STRATEGIES = 12  # bootstraps of portfolios' variances

    def key(self, seed: int) -> Key[Array, ""]:
        """The JAX key of this stream.

        Args:
            seed: of the study, the walk or the question, from 0 to 2³²-1.
        """
        return self.fold_into(jax.random.key(seed))

    def fold_into(self, root: Key[Array, ""]) -> Key[Array, ""]:
        """The JAX key of this stream under a root key."""
        return jax.random.fold_in(root, int(self))

    def generator(self, seed: int) -> np.random.Generator:
        """The NumPy generator of this stream, for a seed from 0 to 2³²-1."""
        return np.random.default_rng([seed, int(self)])
