"""Classical models of standardised returns, all behind one interface.

Every model is a `Baseline`: an elliptical density with its own noise, and a linear map from
returns to factors and back. Values are returns in units standardised on the rows fitted; NaN marks
a missing cell. Fits are by maximum likelihood of the observed cells, through EM over the missing
ones (`incomplete.maximise`); likelihoods are in nats a date.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning

from jaxvae.analysis.incomplete import (
    Conditional,
    Moments,
    conditional,
    expected_moments,
    factor_conditional,
    independent,
    log_density,
    maximise,
)
from jaxvae.analysis.student import fit_student
from jaxvae.errors import DataError, OptionError

# Noise variance never falls below this share of the returns': noiseless data keeps a density.
NOISE_FLOOR = 1e-6
SINGULAR_SHARE = 1e-12  # of the largest eigenvalue: smaller ones are rounding
FACTOR_ANALYSIS_TOLERANCE, FACTOR_ANALYSIS_ROUNDS = 1e-7, 1000  # nats a date; rounds


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
    """Exact log density of each date's observed returns, nats, under the model's own noise."""
    said = conditional(values, baseline.mean, baseline.scatter)
    return log_density(said, baseline.degrees_of_freedom)


def fill(
    baseline: Baseline, values: Float[np.ndarray, "date asset"]
) -> Float[np.ndarray, "date asset"]:
    """The returns, missing cells filled by their conditional mean given the date's others."""
    return conditional(values, baseline.mean, baseline.scatter).values


def factors(
    baseline: Baseline, values: Float[np.ndarray, "date asset"]
) -> Float[np.ndarray, "date factor"]:
    """Factors of each date: PCA's by projection, factor analysis's the posterior mean; where cells
    are missing of the date filled, which for the posterior mean is exact."""
    return (fill(baseline, values) - baseline.mean) @ baseline.projection


def reconstruct(
    baseline: Baseline, values: Float[np.ndarray, "date asset"]
) -> Float[np.ndarray, "date asset"]:
    """Returns rebuilt from their factors; the mean where the model has no factors."""
    return baseline.mean + factors(baseline, values) @ baseline.loadings.T


def explained_variance_ratio(
    values: Float[np.ndarray, "date asset"],
) -> Float[np.ndarray, " component"]:
    """Each principal component's share of the total variance, largest first; of complete rows."""
    eigenvalues, _ = _spectrum(_covariance(values))
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
    floor = _noise_floor(values)

    def refit(said: Conditional) -> Baseline:
        return _pca_of(expected_moments(said), n_factors, floor)

    def expect(baseline: Baseline) -> Conditional:
        variances = (baseline.loadings**2).sum(axis=0)
        n_others = len(baseline.mean) - n_factors
        noise = max((np.trace(baseline.scatter) - variances.sum()) / n_others, floor)
        loadings = baseline.loadings * np.sqrt(np.maximum(1 - noise / variances, 0.0))
        return factor_conditional(values, baseline.mean, loadings, np.full(len(loadings), noise))

    return maximise(values, expect, refit)


def _pca_of(moments: Moments, n_factors: int, floor: float) -> Baseline:
    mean, covariance = moments
    eigenvalues, vectors = _spectrum(covariance)
    noise = max(eigenvalues[n_factors:].mean(), floor)
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
    With missing cells those moments are expected ones (Rubin and Thayer 1982), and a round starts
    from the last one's noise.
    """
    _check_n_factors(n_factors, values)
    if n_factors == 0:
        return fit_independent(values, "asset", 1.0, student=False)
    floor = _noise_floor(values)
    last: dict[str, np.ndarray] = {}

    def refit(said: Conditional) -> Baseline:
        baseline = _factor_analysis_of(expected_moments(said), n_factors, floor, **last)
        last["noise_variance_init"] = _own_noise(baseline)
        return baseline

    def expect(baseline: Baseline) -> Conditional:
        return factor_conditional(values, baseline.mean, baseline.loadings, _own_noise(baseline))

    return maximise(values, expect, refit)


def _factor_analysis_of(
    moments: Moments, n_factors: int, floor: float, **start: np.ndarray
) -> Baseline:
    rows = _equivalent_rows(moments)
    model = FactorAnalysis(
        n_factors,
        svd_method="lapack",
        tol=FACTOR_ANALYSIS_TOLERANCE * len(rows),
        max_iter=FACTOR_ANALYSIS_ROUNDS,
        **start,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows)
    noise = np.maximum(model.noise_variance_, floor)
    loadings = model.components_.T
    precise = loadings / noise[:, None]
    projection = precise @ np.linalg.inv(np.eye(n_factors) + loadings.T @ precise)
    return Baseline(model.mean_, loadings @ loadings.T + np.diag(noise), loadings, projection)


def _own_noise(baseline: Baseline) -> Float[np.ndarray, " asset"]:
    """Ψ of a factor analysis: what the diagonal of the scatter has beyond the loadings."""
    variances = np.diag(baseline.scatter)
    return np.maximum(variances - (baseline.loadings**2).sum(axis=1), NOISE_FLOOR * variances)


def fit_gaussian(values: Float[np.ndarray, "date asset"]) -> Baseline:
    """A Gaussian with the full covariance (of complete rows the sample's, divisor n); no factors.

    Raises DataError where dates are too few or the covariance is singular.
    """
    return _fit_full(values, lambda said: _regular(*expected_moments(said), len(values)))


def fit_ledoit_wolf(values: Float[np.ndarray, "date asset"]) -> Baseline:
    """A Gaussian whose covariance is shrunk to a multiple of I (Ledoit and Wolf 2004).

    With missing cells each round of EM estimates the shrinkage from the filled rows and shrinks the
    expected covariance: a fixed point, where Ledoit and Wolf know complete rows only.
    """

    def refit(said: Conditional) -> Baseline:
        model = LedoitWolf().fit(said.values)
        spread, n_assets = said.spread / len(values), values.shape[1]
        level = model.shrinkage_ * np.trace(spread) / n_assets
        shrunk = (1 - model.shrinkage_) * spread + level * np.eye(n_assets)
        return _without_factors(model.location_, model.covariance_ + shrunk)

    return _fit_full(values, refit)


def _fit_full(
    values: Float[np.ndarray, "date asset"], refit: Callable[[Conditional], Baseline]
) -> Baseline:
    def expect(baseline: Baseline) -> Conditional:
        return conditional(values, baseline.mean, baseline.scatter)

    with _regularly(values):
        return maximise(values, expect, refit)


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

    def refit(said: Conditional) -> Baseline:
        mean, covariance = expected_moments(said)
        return _without_factors(mean, diagonal(covariance))

    def expect(baseline: Baseline) -> Conditional:
        return factor_conditional(
            values, baseline.mean, baseline.loadings, np.diag(baseline.scatter)
        )

    gaussian = maximise(values, expect, refit)
    if not student:
        return gaussian
    return _student(values, gaussian, diagonal)


def fit_multivariate_t(values: Float[np.ndarray, "date asset"]) -> Baseline:
    """Multivariate Student-t by maximum likelihood in mean, scale matrix and ν; no factors.

    The algorithm is that of `student.fit_student`. Raises DataError where dates are too few or the
    covariance is singular.
    """
    start = _regular(*expected_moments(independent(values)), len(values))
    with _regularly(values):
        return _student(values, start, lambda free: free)


def _student(
    values: Float[np.ndarray, "date asset"],
    start: Baseline,
    restrict: Callable[[np.ndarray], np.ndarray],
) -> Baseline:
    mean, scatter, freedom = fit_student(values, start.mean, start.scatter, restrict)
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


def _spectrum(
    covariance: Float[np.ndarray, "asset asset"],
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    """Eigenvalues, largest first, and eigenvectors of a covariance.

    An eigenvector's sign is such that its largest entry is positive.
    """
    eigenvalues, vectors = np.linalg.eigh(covariance)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    vectors = vectors * np.sign(largest)
    return np.maximum(eigenvalues[::-1], 0.0), vectors[:, ::-1]


def _equivalent_rows(moments: Moments) -> Float[np.ndarray, "row asset"]:
    """Rows mean ± √(D λ_j) u_j: their mean and covariance (divisor n) are the moments."""
    mean, covariance = moments
    eigenvalues, vectors = _spectrum(covariance)
    steps = np.sqrt(len(mean) * eigenvalues)[:, None] * vectors.T
    return np.concatenate([mean + steps, mean - steps])


def _without_factors(
    mean: Float[np.ndarray, " asset"], scatter: Float[np.ndarray, "asset asset"]
) -> Baseline:
    none = np.zeros((len(mean), 0))
    return Baseline(mean, scatter, none, none)


def _noise_floor(values: Float[np.ndarray, "date asset"]) -> float:
    return NOISE_FLOOR * float(np.nanvar(values, axis=0).mean())


def _check_n_factors(n_factors: int, values: Float[np.ndarray, "date asset"]) -> None:
    n_assets = values.shape[1]
    if not 0 <= n_factors < n_assets:
        raise OptionError(
            "n_factors", f"{n_factors} of {n_assets} assets must lie between 0 and {n_assets - 1}"
        )


def _covariance(values: Float[np.ndarray, "date asset"]) -> Float[np.ndarray, "asset asset"]:
    centred = values - values.mean(axis=0)
    return centred.T @ centred / len(values)


def _regular(
    mean: Float[np.ndarray, " asset"], covariance: Float[np.ndarray, "asset asset"], n_dates: int
) -> Baseline:
    """A Gaussian, refused where its covariance has no inverse."""
    n_assets = len(mean)
    if n_dates <= n_assets + 1:
        raise DataError(
            f"{n_dates} dates are too few for a full covariance of {n_assets} assets: "
            f"give at least {n_assets + 2}"
        )
    eigenvalues = np.linalg.eigvalsh(covariance)
    if eigenvalues[0] <= SINGULAR_SHARE * eigenvalues[-1]:
        raise DataError(
            f"the covariance of the {n_assets} assets is singular: "
            "drop assets that are sums or copies of others"
        )
    return _without_factors(mean, covariance)


@contextmanager
def _regularly(values: Float[np.ndarray, "date asset"]) -> Iterator[None]:
    """DataError where a matrix met on the way has no Cholesky factor."""
    try:
        yield
    except np.linalg.LinAlgError:
        raise DataError(
            f"the covariance of the {values.shape[1]} assets is singular given the cells observed: "
            "drop assets that share few dates with others"
        ) from None
