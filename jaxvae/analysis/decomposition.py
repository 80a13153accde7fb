"""What a KL term is made of: information about the date, dependence of the factors, and the rest.

With q(z) = (1/N) Σ_n q(z | x_n) the aggregate posterior of N dates and p(z) = N(0, I),

    (1/N) Σ_n KL(q(z | x_n) ‖ p(z)) = I_q(z; n) + KL(q(z) ‖ Π_k q(z_k)) + Σ_k KL(q(z_k) ‖ p(z_k))

that is index-code information, total correlation and dimension-wise KL: β charges for all three,
where one would charge for the second alone to have factors independent.

Source: Chen et al. (2018), "Isolating sources of disentanglement in VAEs" (arXiv:1802.04942), who
estimate q(z) from minibatches; here every date of the panel is in it.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.nulls import random_shifts

N_POINTS = 512
BLOCK_CELLS = 250_000  # point × date at once, so that they stay in a cache
_LOG_2PI = float(np.log(2 * np.pi))


class Codes(NamedTuple):
    """q(z | x) of each date: independent Gaussian factors.

    Attributes:
        mean, log_variance: of each factor.
    """

    mean: Float[np.ndarray, "date factor"]
    log_variance: Float[np.ndarray, "date factor"]


class Decomposition(NamedTuple):
    """The parts of the mean KL, nats a date; they sum to it.

    Attributes:
        index_code_information: what a code says of which date it is; at most ln N.
        total_correlation: dependence between factors, 0 where q(z) is the product of its marginals.
        dimension_kl: distance of single factors' aggregate posteriors from the prior.
        index_code_information_se, total_correlation_se, dimension_kl_se: their Monte-Carlo standard
            errors.
    """

    index_code_information: float
    total_correlation: float
    dimension_kl: float
    index_code_information_se: float
    total_correlation_se: float
    dimension_kl_se: float


def decompose(rng: np.random.Generator, codes: Codes, n_points: int = N_POINTS) -> Decomposition:
    """The parts of the mean KL under the prior N(0, I).

    Total correlation and dimension-wise KL are means of log-density ratios over draws z from q(z),
    whose N Gaussians are all evaluated at each; the information is what they leave of the KL, which
    is in closed form.

    The empirical q(z) is N bumps. Where they hardly overlap (many factors, narrow posteriors) the
    information stands at its ceiling ln N and the rest shows as total correlation, be the factors
    independent or not: compare `chance_correlation`.

    Args:
        rng: source of the draws of z.
        codes: q(z | x) of each date.
        n_points: draws of z, spread evenly over the dates.
    """
    points = _draw(rng, codes, n_points)
    marginal = _log_marginals(codes, points)
    ratios = np.stack(
        [
            _log_joint(codes, points) - marginal.sum(axis=1),
            (marginal + 0.5 * (_LOG_2PI + points**2)).sum(axis=1),
        ]
    )
    correlation, dimension = ratios.mean(axis=1).tolist()
    errors = np.std([ratios.sum(axis=0), *ratios], axis=1) / np.sqrt(n_points)
    information = mean_kl(codes) - correlation - dimension
    return Decomposition(information, correlation, dimension, *errors.tolist())


def mean_kl(codes: Codes) -> float:
    """(1/N) Σ_n KL(q(z | x_n) ‖ N(0, I)), in closed form, nats a date.

    Args:
        codes: q(z | x) of each date.
    """
    mean, log_variance = codes
    by_factor = 0.5 * (mean**2 + np.exp(log_variance) - log_variance - 1)
    return float(by_factor.sum(axis=1).mean())


def chance_correlation(rng: np.random.Generator, codes: Codes, n_points: int = N_POINTS) -> float:
    """Total correlation of the same factors without their links: each shifted in time by itself.

    Of one draw of circular shifts, nats. What is left is of the N bumps alone.

    Args:
        rng: source of the shifts and of the draws of z.
        codes: q(z | x) of each date.
        n_points: as in `decompose`.

    Raises:
        DataError: there are fewer than 9 dates.
    """
    n_dates, n_factors = codes.mean.shape
    rows = (np.arange(n_dates)[:, None] - random_shifts(rng, n_dates, n_factors)) % n_dates
    shifted = Codes(*(np.take_along_axis(part, rows, axis=0) for part in codes))
    points = _draw(rng, shifted, n_points)
    gaps = _log_joint(shifted, points) - _log_marginals(shifted, points).sum(axis=1)
    return float(gaps.mean())


def _draw(
    rng: np.random.Generator, codes: Codes, n_points: int
) -> Float[np.ndarray, "point factor"]:
    """Draws from q(z), every date as often as any other, give or take one."""
    rows = np.resize(rng.permutation(len(codes.mean)), n_points)
    noise = rng.standard_normal((n_points, codes.mean.shape[1]))
    return codes.mean[rows] + np.exp(0.5 * codes.log_variance[rows]) * noise


def _log_joint(
    codes: Codes, points: Float[np.ndarray, "point factor"]
) -> Float[np.ndarray, " point"]:
    """ln q(z) at each point. The squares are multiplied out, so that a matrix product does it."""
    mean, log_variance = codes
    precision = np.exp(-log_variance)
    constant = -0.5 * (_LOG_2PI + log_variance + mean**2 * precision).sum(axis=1)
    terms = np.concatenate([(mean * precision).T, -0.5 * precision.T, constant[None]])
    powers = np.concatenate([points, points**2, np.ones_like(points[:, :1])], axis=1)
    size = max(1, BLOCK_CELLS // len(mean))
    blocks = (powers[start : start + size] for start in range(0, len(powers), size))
    return np.concatenate([_log_mean_exp(block @ terms) for block in blocks])


def _log_marginals(
    codes: Codes, points: Float[np.ndarray, "point factor"]
) -> Float[np.ndarray, "point factor"]:
    """ln q(z_k) of each factor at each point."""
    alone = ([k] for k in range(points.shape[1]))
    columns = [_log_joint(Codes(*(part[:, k] for part in codes)), points[:, k]) for k in alone]
    return np.stack(columns, axis=1)


def _log_mean_exp(logs: Float[np.ndarray, "point date"]) -> Float[np.ndarray, " point"]:
    """ln of the mean of each row. Relative to the largest, single precision is enough, in half the
    time."""
    top = logs.max(axis=1)
    relative = (logs - top[:, None]).astype(np.float32)
    return top + np.log(np.exp(relative).mean(axis=1, dtype=np.float64))
