"""What a linear VAE would keep at each β, from the panel's spectrum alone: no training.

A linear VAE, x ~ N(W z + b, Ψ) with a diagonal Gaussian encoder, has its best β-objective in closed
form. With λ_1 ≥ λ_2 ≥ … the eigenvalues of Ψ^(−½) S Ψ^(−½), S the sample covariance (divisor n),

    factor j of K is in use  ⇔  λ_j > β
    left over along its direction: β where it is in use, λ_j elsewhere, in units of the noise

so λ_j, a factor's signal-to-noise, is also the β at which it is lost. Larger β leaves more over,
which noise that is learned takes up: then λ falls as β grows, and the two are solved together.
For noise that is fixed or shared this is Lucas et al. (2019), "Don't blame the ELBO", with β;
see also Wang and Ziyin (2022). Noise an asset follows by the same steps, worked out here.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.metrics import active_units, standardise_columns
from jaxvae.analysis.second_moments import SecondMoments
from jaxvae.baselines import fit_factor_analysis
from jaxvae.baselines.elliptical import LEAST_NOISE_SHARE
from jaxvae.baselines.factor_analysis import own_noise

NOISE_TOLERANCE, NOISE_ROUNDS = 1e-7, 2000  # largest relative change of a variance; rounds


class LinearOptimum(NamedTuple):
    """The linear VAE of the best objective at one β.

    Attributes:
        signal_to_noise: λ_1 … λ_D, largest first.
        directions: asset × factor, of the first K; a factor's score is (x − mean) times its column.
        active: how many factors are in use, the first ones.
        noise: Ψ, the observation variance of each asset, in squared units of the values.
    """

    signal_to_noise: Float[np.ndarray, " asset"]
    directions: Float[np.ndarray, "asset factor"]
    active: int
    noise: Float[np.ndarray, " asset"]


def linear_optima(
    values: Float[np.ndarray, "date asset"],
    n_factors: int,
    betas: Iterable[float],
    noise: str,
    noise_variance: float,
) -> Iterator[LinearOptimum]:
    """The optima on the rows that members train on, one after another, for one of the models' kinds
    of noise.

    Args:
        values: complete rows in standard units.
        n_factors: K, at most the number of assets.
        betas: weights of the KL term, not negative.
        noise: "fixed" at `noise_variance` (of each cell), "scalar" (learned, shared) or "asset"
            (learned, one an asset).
        noise_variance: where noise is fixed.
    """
    sample, n_assets = SecondMoments.of(values), values.shape[1]
    start = np.full(n_assets, noise_variance)
    if noise == "asset":
        start = own_noise(fit_factor_analysis(values, min(n_factors, n_assets - 1)))
    for beta in betas:
        if noise == "fixed":
            yield fixed_noise(sample, n_factors, beta, start)
        elif noise == "scalar":
            yield scalar_noise(sample, n_factors, beta)
        else:
            yield asset_noise(sample, n_factors, beta, start)


def fixed_noise(
    sample: SecondMoments,
    n_factors: int,
    beta: float,
    noise: Float[np.ndarray, " asset"],
) -> LinearOptimum:
    """The optimum where Ψ is given: count the λ_j above β among the first K.

    Args:
        sample: second moments S of the rows.
        n_factors: K.
        beta: weight of the KL term.
        noise: the diagonal of Ψ.
    """
    eigenvalues = sample.eigenvalues(noise)
    _, vectors = sample.leading(noise, n_factors)
    directions = np.zeros((len(noise), n_factors))
    directions[:, : vectors.shape[1]] = vectors / np.sqrt(noise)[:, None]
    active = int((eigenvalues[:n_factors] > beta).sum())
    return LinearOptimum(eigenvalues, directions, active, noise)


def scalar_noise(sample: SecondMoments, n_factors: int, beta: float) -> LinearOptimum:
    """The optimum where one σ² is learned: with l_j the eigenvalues of S and k factors in use,

        σ² = Σ_{j>k} l_j / (D − β k),    l_k > β σ² ≥ l_{k+1}

    The objective is convex in ln σ², so one k solves this: factor j is in use if and only if, at
    σ² = l_j / β, Σ_{i≤K} min(β, l_i / σ²) + Σ_{i>K} l_i / σ² < D.

    Args:
        sample: second moments S of the rows.
        n_factors: K.
        beta: weight of the KL term.
    """
    n_assets = len(sample.variances)
    eigenvalues = sample.eigenvalues(np.ones(n_assets))
    floor = LEAST_NOISE_SHARE * eigenvalues.mean()
    shares = beta * eigenvalues / np.maximum(eigenvalues[:n_factors, None], floor)
    shares[:, :n_factors] = np.minimum(shares[:, :n_factors], beta)
    active = int((shares.sum(axis=1) < n_assets).sum())
    variance = max(eigenvalues[active:].sum() / (n_assets - beta * active), floor)
    return fixed_noise(sample, n_factors, beta, np.full(n_assets, variance))


def asset_noise(
    sample: SecondMoments,
    n_factors: int,
    beta: float,
    start: Float[np.ndarray, " asset"],
) -> LinearOptimum:
    """The optimum where Ψ is learned, one variance an asset; at β = 1 factor analysis.

    Takes turns between the factors given Ψ (`fixed_noise`) and Ψ given the factors, the diagonal
    of what they leave over, until no variance moves by more than a relative 1e-7. No turn makes
    the objective worse; where it has several optima the one found is `start`'s. Below β = 1 it has
    none, since a factor that copies one asset gains without end as that asset's noise goes to 0:
    there Ψ is held at factor analysis's.

    Args:
        sample: second moments S of the rows.
        n_factors: K.
        beta: weight of the KL term.
        start: variances, such as factor analysis's.
    """
    floor = LEAST_NOISE_SHARE * sample.variances
    noise = np.maximum(start, floor)
    for _ in range(NOISE_ROUNDS):
        strength, vectors = sample.leading(noise, n_factors)
        excess = np.maximum(strength - max(beta, 1.0), 0.0)
        # E‖x − W z − b‖² by asset at the optimum of W and the encoder, in units of Ψ the diagonal
        # of U diag(β, …, β, λ_{k+1}, …) Uᵀ: S less the excess of the factors in use.
        left = sample.variances - (vectors**2 @ excess) * noise
        last, noise = noise, np.maximum(left, floor)
        if np.abs(noise / last - 1).max() < NOISE_TOLERANCE:
            break
    return fixed_noise(sample, n_factors, beta, noise)


def r2_of_linear_factors(
    values: Float[np.ndarray, "date asset"],
    optimum: LinearOptimum,
    factors: Float[np.ndarray, "date member_factor"],
) -> Float[np.ndarray, " factor"]:
    """How much of each linear factor a member carries: R² of its scores on the member's factors.

    Least squares with an intercept, on the rows given; rotation within the member costs nothing.
    1 is all of it, 0 nothing.

    Args:
        values: complete rows in standard units.
        optimum: from `linear_optima`, whose directions are looked for.
        factors: the member's posterior means on the same dates; those that it does not use
            (`metrics.active_units`) take no part.
    """
    scores, _, _ = standardise_columns(values @ optimum.directions)
    units = standardise_columns(factors)[0] * active_units(factors)
    fitted = units @ np.linalg.lstsq(units, scores, rcond=None)[0]
    return fitted.var(axis=0)
