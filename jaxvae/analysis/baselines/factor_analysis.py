"""Maximum-likelihood factor analysis."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.optimize import minimize

from jaxvae.analysis.baselines.elliptical import (
    LEAST_NOISE_SHARE,
    Elliptical,
    check_n_factors,
    noise_floor,
)
from jaxvae.analysis.baselines.independent import fit_independent
from jaxvae.analysis.baselines.pca import upright
from jaxvae.analysis.incomplete import Conditional, expected_moments, factor_conditional, maximise

# L-BFGS: gains (nats a date and asset), slopes in ln Ψ (nats a date) and rounds at which it ends.
GAIN_TOLERANCE, SLOPE_TOLERANCE, ROUNDS, MEMORY = 1e-12, 1e-6, 1000, 20


class _Sample(NamedTuple):
    """Second moments S: themselves, or, where dates are fewer than assets, rows with RᵀR = S."""

    covariance: Float[np.ndarray, "asset asset"] | None
    rows: Float[np.ndarray, "date asset"] | None

    @property
    def variances(self) -> Float[np.ndarray, " asset"]:
        if self.covariance is not None:
            return np.diag(self.covariance)
        assert self.rows is not None
        return (self.rows**2).sum(axis=0)


def fit_factor_analysis(values: Float[np.ndarray, "date asset"], n_factors: int) -> Elliptical:
    """Maximum-likelihood factor analysis, x = mean + W z + e, z ~ N(0, I), e ~ N(0, Ψ diagonal).

    Given Ψ the best W is known: with θ_k, u_k the K leading eigenvalues above 1 and eigenvectors
    of Ψ^(−½) S Ψ^(−½), W = Ψ^½ U (Θ − I)^½. What is left is a function of Ψ alone,

        −2/n log L = Σ_a [ln 2πψ_a + s_aa / ψ_a] + Σ_k [ln θ_k + 1 − θ_k]

    climbed by L-BFGS in ln Ψ, whose slopes are ½ (1 + Σ_k W_ak² / ψ_a − s_aa / ψ_a), from Ψ = the
    assets' variances. With missing cells S is the expected one, by EM; a round starts from the last
    one's noise.

    Args:
        values: Returns; NaN marks a missing cell.
        n_factors: K, from 0 to one less than the assets.

    Returns:
        The law; its factors are posterior means, E[z | x] = (I + Wᵀ Ψ⁻¹ W)⁻¹ Wᵀ Ψ⁻¹ (x − mean):
        they shrink, so their variance is below the prior's 1.

    Raises:
        OptionError: K is out of range.

    Source: Jöreskog (1967), "Some contributions to maximum likelihood factor analysis"; Lawley and
    Maxwell (1971); for missing cells Rubin and Thayer (1982), "EM algorithms for ML factor
    analysis".
    """
    check_n_factors(n_factors, values)
    if n_factors == 0:
        return fit_independent(values, "asset", 1.0, student=False)
    floor = noise_floor(values)
    n_dates, n_assets = values.shape
    if np.isfinite(values).all():
        mean = values.mean(axis=0)
        rows = (values - mean) / np.sqrt(n_dates)
        sample = _Sample(None, rows) if n_dates < n_assets else _Sample(rows.T @ rows, None)
        return _maximum(mean, sample, n_factors, floor, sample.variances)
    last: list[np.ndarray] = []

    def refit(given: Conditional) -> Elliptical:
        mean, covariance = expected_moments(given)
        start = last.pop() if last else np.diag(covariance)
        law = _maximum(mean, _Sample(covariance, None), n_factors, floor, start)
        last.append(_own_noise(law))
        return law

    def expect(law: Elliptical) -> Conditional:
        return factor_conditional(values, law.mean, law.loadings, _own_noise(law))

    return maximise(values, expect, refit)


def fit_factor_analysis_sizes(
    values: Float[np.ndarray, "date asset"], sizes: Sequence[int]
) -> Iterator[Elliptical]:
    """`fit_factor_analysis` at several K, one after another."""
    yield from (fit_factor_analysis(values, n_factors) for n_factors in sizes)


def _maximum(
    mean: Float[np.ndarray, " asset"],
    sample: _Sample,
    n_factors: int,
    floor: float,
    start: Float[np.ndarray, " asset"],
) -> Elliptical:
    variances, n_assets = np.maximum(sample.variances, floor), len(mean)

    def objective(log_noise: Float[np.ndarray, " asset"]) -> tuple[float, np.ndarray]:
        """−log L a date and asset, up to a constant, and its slopes."""
        noise = np.exp(log_noise)
        strength, directions = _leading(sample, noise, n_factors)
        relative = variances / noise
        loss = (log_noise + relative).sum() + (np.log(strength) + 1 - strength).sum()
        slopes = 1 + directions**2 @ (strength - 1) - relative
        return 0.5 * float(loss) / n_assets, 0.5 * slopes / n_assets

    found = minimize(
        objective,
        np.log(np.maximum(start, floor)),
        jac=True,
        method="L-BFGS-B",
        # At a maximum Ψ is no larger than the variances; without that line searches overflow.
        bounds=[(np.log(floor), top) for top in np.log(variances)],
        options={
            "maxcor": MEMORY,
            "maxiter": ROUNDS,
            "ftol": GAIN_TOLERANCE,
            "gtol": SLOPE_TOLERANCE / n_assets,
        },
    )
    noise = np.maximum(np.exp(found.x), floor)
    strength, directions = _leading(sample, noise, n_factors)
    loadings = np.zeros((n_assets, n_factors))
    in_use = upright(directions) * np.sqrt(strength - 1) * np.sqrt(noise)[:, None]
    loadings[:, : len(strength)] = in_use
    return Elliptical.of_factors(mean, loadings, noise)


def _leading(
    sample: _Sample, noise: Float[np.ndarray, " asset"], n_factors: int
) -> tuple[Float[np.ndarray, " factor"], Float[np.ndarray, "asset factor"]]:
    """Of Ψ^(−½) S Ψ^(−½) the largest eigenvalues, K at most and all above 1, with eigenvectors."""
    root = 1 / np.sqrt(noise)
    if sample.rows is not None:
        rows = sample.rows * root
        matrix = rows @ rows.T
    else:
        assert sample.covariance is not None
        matrix = sample.covariance * np.outer(root, root)
    size = len(matrix)
    values, vectors = eigh(matrix, subset_by_index=[max(size - n_factors, 0), size - 1])
    kept = np.flatnonzero(values > 1)[::-1]
    values, vectors = values[kept], vectors[:, kept]
    if sample.rows is not None:
        vectors = rows.T @ vectors / np.sqrt(values)
    return values, vectors


def _own_noise(law: Elliptical) -> Float[np.ndarray, " asset"]:
    """Ψ of a factor analysis: what the diagonal of the scatter has beyond the loadings."""
    variances = np.diag(law.scatter)
    return np.maximum(variances - (law.loadings**2).sum(axis=1), LEAST_NOISE_SHARE * variances)
