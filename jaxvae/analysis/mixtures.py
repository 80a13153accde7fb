"""The equal mixture of an ensemble's laws: its density and its moments."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp


def mixture_log_density(
    log_densities: Float[np.ndarray, "..."],
    included: Bool[np.ndarray, "..."] | bool = True,
    axis: int = 0,
) -> Float[np.ndarray, "..."]:
    """log (1/m) Σ_i p_i(x) over the m members that are included, NaN where none is.

    Args:
        log_densities: log p_i(x).
        included: whether a member counts there.
        axis: of the members.
    """
    counted = np.broadcast_to(included, log_densities.shape)
    total = logsumexp(np.where(counted, log_densities, -np.inf), axis=axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(total - np.log(counted.sum(axis=axis)))


def mixture_moments(
    means: Float[np.ndarray, "member asset"], covariances: Float[np.ndarray, "member asset asset"]
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    """Mean and covariance of the mixture.

    Args:
        means: of each member.
        covariances: of each member.

    Returns:
        The mean of the means; the mean of the covariances plus the covariance of the means.
    """
    means, covariances = (np.asarray(part, np.float64) for part in (means, covariances))
    between = means - means.mean(axis=0)
    return means.mean(axis=0), covariances.mean(axis=0) + between.T @ between / len(means)
