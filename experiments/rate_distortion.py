"""The rate–distortion curve of a linear VAE over β, from the panel's spectrum alone: no training.

Rate is the mean KL, distortion the mean of −E_q log p(x | z), both in nats a date; their sum is the
negative ELBO, and β is the price at which one is traded for the other (Alemi et al. 2018, "Fixing a
broken ELBO"). At the linear optimum (`spectrum`), with λ_j in units of the noise and k factors in
use,

    R(β) = ½ Σ_{j≤k} ln(λ_j / β),    D(β) = ½ [Σ_a ln 2πψ_a + k β + Σ_{j>k} λ_j],    dD/dR = −β

where the noise is held fixed: reverse water-filling of a Gaussian source, with β for the water
level (Cover & Thomas 2006, chapter 10). Worked out here; tests hold trained members against it.
"""

from typing import NamedTuple

import numpy as np

from jaxvae.baselines.spectrum import LinearOptimum, linear_optima


class RateDistortion(NamedTuple):
    """Mean KL and mean −E_q log p(x | z), nats a date."""

    rate: float
    distortion: float


def linear_optimum(values, n_factors, beta, noise, noise_variance) -> LinearOptimum:
    """`linear_optima` at one β."""
    return next(linear_optima(values, n_factors, [beta], noise, noise_variance))


def linear_rate_distortion(optimum: LinearOptimum, beta: float) -> RateDistortion:
    """The point of the curve at β, on the rows that the optimum is of.

    Args:
        optimum: Of that β, with noise of any kind.
        beta: Above 0.
    """
    strong, rest = np.split(optimum.signal_to_noise, [optimum.active])
    unexplained = beta * len(strong) + rest.sum()
    constant = np.log(2 * np.pi * optimum.noise).sum()
    rate = 0.5 * np.log(strong / beta).sum()
    return RateDistortion(float(rate), float(0.5 * (constant + unexplained)))


def beta_at_rate(optimum: LinearOptimum, n_factors: int, rate: float) -> float:
    """The β at which a linear VAE of K factors and fixed noise has a given rate, nats a date, above
    0: with k factors in use ln β = (Σ_{j≤k} ln λ_j − 2 R) / k, and the k is the largest whose last
    factor exceeds its β. A capacity C asks for the optimum at the β of R = C.
    """
    strong = np.maximum(optimum.signal_to_noise[:n_factors], np.finfo(float).tiny)
    levels = (np.cumsum(np.log(strong)) - 2 * rate) / np.arange(1, len(strong) + 1)
    used = np.flatnonzero(np.log(strong) > levels)
    return float(np.exp(levels[used[-1]]))
