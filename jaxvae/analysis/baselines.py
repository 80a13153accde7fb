"""Classical models of standardised returns, all behind one interface.

Every model is a `Baseline`: an elliptical density with its own noise, and a linear map from
returns to factors and back. Values are returns in units standardised on the rows fitted, complete
(no missing cells); likelihoods are in nats a date.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import solve_triangular
from scipy.optimize import brentq
from scipy.special import digamma, gammaln
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning

from jaxvae.errors import DataError, OptionError

# Noise variance never falls below this share of the returns': noiseless data keeps a density.
NOISE_FLOOR = 1e-6
SINGULAR_SHARE = 1e-12  # of the largest eigenvalue: smaller ones are rounding
FACTOR_ANALYSIS_TOLERANCE, FACTOR_ANALYSIS_ROUNDS = 1e-7, 1000  # nats a date; rounds
STUDENT_TOLERANCE, STUDENT_ROUNDS = 1e-8, 500  # nats a date; rounds
# Below 1 the likelihood may have no maximum; at 1e6 the density is a Gaussian's.
DEGREES_OF_FREEDOM = (1.0, 1e6)


class Baseline(NamedTuple):
    """An elliptical density, and a linear map to factors and back.

    mean: asset.
    scatter: asset × asset, positive definite: the covariance of a Gaussian, the scale matrix of a
        Student-t.
    loadings: asset × factor, returns per unit of a factor; no columns where there are no factors.
    projection: asset × factor, so that factors = (x − mean) projection.
    degrees_of_freedom: of the Student-t; infinite for a Gaussian.
    """

    mean: Float[np.ndarray, " asset"]
    scatter: Float[np.ndarray, "asset asset"]
    loadings: Float[np.ndarray, "asset factor"]
    projection: Float[np.ndarray, "asset factor"]
    degrees_of_freedom: float = np.inf

    @property
    def n_factors(self) -> int:
        return self.loadings.shape[1]

    @property
    def covariance(self) -> Float[np.ndarray, "asset asset"]:
        """Covariance of the returns, ν / (ν − 2) times the scatter; NaN where ν ≤ 2 has none."""
        freedom = self.degrees_of_freedom
        if np.isinf(freedom):
            return self.scatter
        return self.scatter * (freedom / (freedom - 2) if freedom > 2 else np.nan)


def log_likelihood(
    baseline: Baseline, values: Float[np.ndarray, "date asset"]
) -> Float[np.ndarray, " date"]:
    """Exact joint log density of each date's returns, nats, under the model's own noise."""
    distances, log_determinant = _distances(values, baseline.mean, baseline.scatter)
    return _log_density(distances, log_determinant, values.shape[1], baseline.degrees_of_freedom)


def factors(
    baseline: Baseline, values: Float[np.ndarray, "date asset"]
) -> Float[np.ndarray, "date factor"]:
    """Factors of each date: PCA's by projection, factor analysis's the posterior mean."""
    return (values - baseline.mean) @ baseline.projection


def reconstruct(
    baseline: Baseline, values: Float[np.ndarray, "date asset"]
) -> Float[np.ndarray, "date asset"]:
    """Returns rebuilt from their factors; the mean where the model has no factors."""
    return baseline.mean + factors(baseline, values) @ baseline.loadings.T


def explained_variance_ratio(
    values: Float[np.ndarray, "date asset"],
) -> Float[np.ndarray, " component"]:
    """Each principal component's share of the total variance, largest first."""
    _, eigenvalues, _ = _spectrum(values)
    return eigenvalues / eigenvalues.sum()


def fit_pca(values: Float[np.ndarray, "date asset"], n_factors: int) -> Baseline:
    """Probabilistic PCA by maximum likelihood (Tipping and Bishop 1999).

        σ² = mean of λ_j, j > K;    covariance = U_K (Λ_K − σ²) U_Kᵀ + σ² I

    with λ, U the eigenvalues and eigenvectors of the sample covariance (divisor n). Factors are
    the K principal components, each scaled to unit variance on the rows fitted, and reconstruct by
    orthogonal projection.

    n_factors: K, from 0 to one less than the assets (OptionError otherwise).
    """
    _check_n_factors(n_factors, values)
    mean, eigenvalues, vectors = _spectrum(values)
    noise = max(eigenvalues[n_factors:].mean(), _noise_floor(values))
    variances = np.maximum(eigenvalues[:n_factors], noise)
    directions = vectors[:, :n_factors]
    covariance = (directions * (variances - noise)) @ directions.T + noise * np.eye(len(mean))
    scale = np.sqrt(variances)
    return Baseline(mean, covariance, directions * scale, directions / scale)


def fit_factor_analysis(values: Float[np.ndarray, "date asset"], n_factors: int) -> Baseline:
    """Maximum-likelihood factor analysis, x = mean + W z + e, z ~ N(0, I), e ~ N(0, Ψ diagonal).

    Factors are posterior means, E[z | x] = (I + Wᵀ Ψ⁻¹ W)⁻¹ Wᵀ Ψ⁻¹ (x − mean): they shrink, so
    their variance is below the prior's 1.

    n_factors: from 0 to one less than the assets (OptionError otherwise).

    Fitted by scikit-learn's FactorAnalysis (Barber 2012, algorithm 21.1) with exact SVDs, on 2 D
    rows that share the panel's mean and covariance: the likelihood sees no more of it. It stops
    quietly after 1,000 rounds: where a noise variance tends to zero the likelihood keeps creeping.
    """
    _check_n_factors(n_factors, values)
    if n_factors == 0:
        return _without_factors(values.mean(axis=0), np.diag(values.var(axis=0)))
    rows = _equivalent_rows(values)
    model = FactorAnalysis(
        n_factors,
        svd_method="lapack",
        tol=FACTOR_ANALYSIS_TOLERANCE * len(rows),
        max_iter=FACTOR_ANALYSIS_ROUNDS,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows)
    noise = np.maximum(model.noise_variance_, _noise_floor(values))
    loadings = model.components_.T
    precise = loadings / noise[:, None]
    projection = precise @ np.linalg.inv(np.eye(n_factors) + loadings.T @ precise)
    return Baseline(model.mean_, loadings @ loadings.T + np.diag(noise), loadings, projection)


def fit_gaussian(values: Float[np.ndarray, "date asset"]) -> Baseline:
    """A Gaussian with the full sample covariance (divisor n); no factors.

    Raises DataError where dates are too few or the covariance is singular.
    """
    return _without_factors(values.mean(axis=0), _regular_covariance(values))


def fit_ledoit_wolf(values: Float[np.ndarray, "date asset"]) -> Baseline:
    """A Gaussian whose covariance is shrunk to a multiple of I (Ledoit and Wolf 2004)."""
    model = LedoitWolf().fit(values)
    return _without_factors(model.location_, model.covariance_)


def fit_independent(
    values: Float[np.ndarray, "date asset"], noise: str, noise_variance: float, student: bool
) -> Baseline:
    """What a VAE is without factors: constant means, and noise that assets do not share.

    noise: variances "asset" by asset, one for all ("scalar"), or "fixed" at `noise_variance`.
    student: a date's noise shares one mixing variable, as in `fit_multivariate_t`; else Gaussian.
    """

    def diagonal(scatter: Float[np.ndarray, "asset asset"]) -> Float[np.ndarray, "asset asset"]:
        variances = np.diag(scatter)
        if noise != "asset":
            variances = np.full_like(variances, variances.mean())
        return np.diag(variances) if noise != "fixed" else noise_variance * np.eye(len(scatter))

    mean, scatter = values.mean(axis=0), diagonal(_covariance(values))
    if not student:
        return _without_factors(mean, scatter)
    return _fit_student(values, mean, scatter, diagonal)


def fit_multivariate_t(values: Float[np.ndarray, "date asset"]) -> Baseline:
    """Multivariate Student-t by maximum likelihood in mean, scale matrix and ν; no factors.

    A round weights each date by w = (ν + D) / (ν + δ), δ its squared Mahalanobis distance; takes
    the weighted mean and the weighted scatter, divided by Σ w; and then the root in ν of the
    likelihood's own derivative. This is ECME (Liu and Rubin 1995) with the divisor of Kent, Tyler
    and Vardi (1994) in place of n: the same maximum in fewer rounds. It ends when a round gains
    less than 1e-8 nats a date. ν is kept from 1 to 1,000,000.

    Raises DataError where dates are too few or the covariance is singular.
    """
    return _fit_student(values, values.mean(axis=0), _regular_covariance(values), lambda free: free)


def _fit_student(
    values: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
    scatter: Float[np.ndarray, "asset asset"],
    restrict: Callable[[np.ndarray], np.ndarray],
) -> Baseline:
    """From a start; `restrict` makes of any scale matrix the likeliest of those allowed."""
    n_assets = values.shape[1]
    freedom, last = 8.0, -np.inf
    for _ in range(STUDENT_ROUNDS):
        distances, _ = _distances(values, mean, scatter)
        mean, scatter = _weighted_moments(values, (freedom + n_assets) / (freedom + distances))
        scatter = restrict(scatter)
        distances, log_determinant = _distances(values, mean, scatter)
        freedom = _solve_freedom(distances, n_assets)
        score = _log_density(distances, log_determinant, n_assets, freedom).mean()
        if score - last < STUDENT_TOLERANCE:
            break
        last = score
    return _without_factors(mean, scatter)._replace(degrees_of_freedom=freedom)


def choose_n_factors(
    fit_function: Callable[[np.ndarray, int], Baseline],
    train: Float[np.ndarray, "date asset"],
    validation: Float[np.ndarray, "later asset"],
    candidates: Sequence[int],
) -> tuple[int, Float[np.ndarray, " candidate"]]:
    """The number of factors whose fit on `train` makes `validation` likeliest.

    fit_function: `fit_pca` or `fit_factor_analysis`.
    candidates: numbers of factors to try, at least one; the first of equals wins.

    Returns the number chosen and each candidate's mean validation log-likelihood (nats a date).
    """
    scores = np.array(
        [log_likelihood(fit_function(train, k), validation).mean() for k in candidates]
    )
    return candidates[int(scores.argmax())], scores


def _distances(
    values: Float[np.ndarray, "date asset"],
    mean: Float[np.ndarray, " asset"],
    scatter: Float[np.ndarray, "asset asset"],
) -> tuple[Float[np.ndarray, " date"], float]:
    """Squared Mahalanobis distances δ = (x − m)ᵀ S⁻¹ (x − m), and ln det S, by Cholesky."""
    factor = np.linalg.cholesky(scatter)
    white = solve_triangular(factor, (values - mean).T, lower=True)
    return (white**2).sum(axis=0), float(2 * np.log(np.diag(factor)).sum())


def _log_density(
    distances: Float[np.ndarray, " date"], log_determinant: float, n_assets: int, freedom: float
) -> Float[np.ndarray, " date"]:
    """Log density from distances δ: Student-t with ν = `freedom`, Gaussian where it is infinite.

    Gaussian:   −½ [D ln 2π + ln det S + δ]
    Student-t:  ln Γ((ν+D)/2) − ln Γ(ν/2) − ½ [D ln νπ + ln det S + (ν+D) ln(1 + δ/ν)]
    """
    if np.isinf(freedom):
        return -0.5 * (n_assets * np.log(2 * np.pi) + log_determinant + distances)
    normaliser = gammaln((freedom + n_assets) / 2) - gammaln(freedom / 2)
    spread = n_assets * np.log(freedom * np.pi) + log_determinant
    return normaliser - 0.5 * (spread + (freedom + n_assets) * np.log1p(distances / freedom))


def _weighted_moments(
    values: Float[np.ndarray, "date asset"], weights: Float[np.ndarray, " date"]
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    """Weighted mean and scatter, both divided by the sum of the weights."""
    mean = np.average(values, axis=0, weights=weights)
    scaled = (values - mean) * np.sqrt(weights / weights.sum())[:, None]
    return mean, scaled.T @ scaled


def _solve_freedom(distances: Float[np.ndarray, " date"], n_assets: int) -> float:
    """The ν at which the likelihood's derivative is zero, within its bounds.

    2/n ∂L/∂ν = ln(ν/2) − ψ(ν/2) + ψ((ν+D)/2) − ln((ν+D)/2) + 1 + mean(ln w − w),
    w = (ν + D) / (ν + δ)   (Liu and Rubin 1995).
    """

    def slope(log_freedom: float) -> float:
        freedom = np.exp(log_freedom)
        above = freedom + n_assets
        weights = above / (freedom + distances)
        gap = np.log(freedom / above) - digamma(freedom / 2) + digamma(above / 2)
        return float(gap + 1 + np.mean(np.log(weights) - weights))

    low, high = np.log(DEGREES_OF_FREEDOM)
    if slope(low) <= 0:
        return DEGREES_OF_FREEDOM[0]
    if slope(high) >= 0:
        return DEGREES_OF_FREEDOM[1]
    return float(np.exp(brentq(slope, low, high)))


def _spectrum(
    values: Float[np.ndarray, "date asset"],
) -> tuple[
    Float[np.ndarray, " asset"], Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]
]:
    """Mean, and eigenvalues (largest first) and eigenvectors of the covariance (divisor n).

    An eigenvector's sign is such that its largest entry is positive.
    """
    eigenvalues, vectors = np.linalg.eigh(_covariance(values))
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    vectors = vectors * np.sign(largest)
    return values.mean(axis=0), np.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1]


def _equivalent_rows(values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "row asset"]:
    """Rows mean ± √(D λ_j) u_j: their mean and covariance (divisor n) are those of `values`."""
    mean, eigenvalues, vectors = _spectrum(values)
    steps = np.sqrt(len(mean) * eigenvalues)[:, None] * vectors.T
    return np.concatenate([mean + steps, mean - steps])


def _without_factors(
    mean: Float[np.ndarray, " asset"], scatter: Float[np.ndarray, "asset asset"]
) -> Baseline:
    none = np.zeros((len(mean), 0))
    return Baseline(mean, scatter, none, none)


def _noise_floor(values: Float[np.ndarray, "date asset"]) -> float:
    return NOISE_FLOOR * float(values.var(axis=0).mean())


def _check_n_factors(n_factors: int, values: Float[np.ndarray, "date asset"]) -> None:
    n_assets = values.shape[1]
    if not 0 <= n_factors < n_assets:
        raise OptionError(
            f"n_factors is {n_factors} for {n_assets} assets: choose from 0 to {n_assets - 1}"
        )


def _covariance(values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "asset asset"]:
    centred = values - values.mean(axis=0)
    return centred.T @ centred / len(values)


def _regular_covariance(
    values: Float[np.ndarray, "date asset"],
) -> Float[np.ndarray, "asset asset"]:
    """The sample covariance (divisor n), refused where it has no inverse."""
    n_dates, n_assets = values.shape
    if n_dates <= n_assets + 1:
        raise DataError(
            f"{n_dates} dates are too few for a full covariance of {n_assets} assets: "
            f"give at least {n_assets + 2}"
        )
    covariance = _covariance(values)
    eigenvalues = np.linalg.eigvalsh(covariance)
    if eigenvalues[0] <= SINGULAR_SHARE * eigenvalues[-1]:
        raise DataError(
            f"the covariance of the {n_assets} assets is singular: "
            "drop assets that are sums or copies of others"
        )
    return covariance
