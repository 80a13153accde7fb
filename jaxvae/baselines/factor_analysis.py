"""Maximum-likelihood factor analysis."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from jaxvae.analysis.incomplete import Conditional, expected_moments
from jaxvae.analysis.second_moments import SecondMoments
from jaxvae.baselines.elliptical import (
    Elliptical,
    FactorForm,
    check_sizes,
    maximise,
    noise_floor,
)
from jaxvae.baselines.independent import fit_independent
from jaxvae.baselines.pca import with_largest_positive

# L-BFGS: gains (nats a date and asset), slopes in ln Ψ (nats a date) and rounds at which it ends.
_GAIN_TOLERANCE, _SLOPE_TOLERANCE, _ROUNDS, _MEMORY = 1e-12, 1e-6, 1000, 20


def fit_factor_analysis(values: Float[np.ndarray, "date asset"], n_factors: int) -> Elliptical:
    """Maximum-likelihood factor analysis, x = mean + W z + e, z ~ N(0, I), e ~ N(0, Ψ diagonal).

    Given Ψ the best W is known: with θ_k, u_k the K leading eigenvalues above 1 and eigenvectors
    of Ψ^(−½) S Ψ^(−½), W = Ψ^½ U (Θ − I)^½. What is left is a function of Ψ alone,

        −2/n log L = Σ_a [ln 2πψ_a + s_aa / ψ_a] + Σ_k [ln θ_k + 1 − θ_k]

    climbed by L-BFGS in ln Ψ, whose slopes are ½ (1 + Σ_k W_ak² / ψ_a − s_aa / ψ_a), from Ψ = the
    assets' variances. With missing cells S is the expected one, by EM; a round starts from the last
    one's noise.

    Args:
        values: returns; NaN marks a missing cell.
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
    return next(fit_factor_analysis_sizes(values, [n_factors]))


def fit_factor_analysis_sizes(
    values: Float[np.ndarray, "date asset"], sizes: Sequence[int]
) -> Iterator[Elliptical]:
    """`fit_factor_analysis` at several K, one after another, each from the last one's noise.

    Args:
        values: returns; NaN marks a missing cell.
        sizes: K, each as in `fit_factor_analysis`.
    """
    check_sizes(sizes, values)
    floor, complete = noise_floor(values), np.isfinite(values).all()
    sample = SecondMoments.of(values) if complete else None
    start = None
    for n_factors in sizes:
        if n_factors == 0:
            yield fit_independent(values, "asset", 1.0, student=False)
        elif sample is None:
            yield _fit_incomplete(values, n_factors, floor)
        else:
            law = _maximum(values.mean(axis=0), sample, n_factors, floor, start)
            start = own_noise(law)
            yield law


def _fit_incomplete(
    values: Float[np.ndarray, "date asset"], n_factors: int, floor: float
) -> Elliptical:
    """By EM over the missing cells."""
    start: np.ndarray | None = None

    def refit(given: Conditional) -> Elliptical:
        nonlocal start
        mean, covariance = expected_moments(given)
        law = _maximum(mean, SecondMoments(covariance), n_factors, floor, start)
        start = own_noise(law)
        return law

    return maximise(values, refit)


def own_noise(law: Elliptical) -> Float[np.ndarray, " asset"]:
    """Ψ of a factor analysis.

    Args:
        law: from `fit_factor_analysis`.
    """
    assert isinstance(law.form, FactorForm)
    return law.form.noise


def _maximum(
    mean: Float[np.ndarray, " asset"],
    sample: SecondMoments,
    n_factors: int,
    floor: float,
    start: Float[np.ndarray, " asset"] | None,
) -> Elliptical:
    """The maximum, climbed to from this noise, by default all of the variances."""
    variances, n_assets = np.maximum(sample.variances, floor), len(mean)

    def strong(noise: Float[np.ndarray, " asset"]) -> tuple[np.ndarray, np.ndarray]:
        """The leading eigenvalues above 1, with eigenvectors."""
        values, vectors = sample.leading(noise, n_factors)
        return values[values > 1], vectors[:, values > 1]

    def objective(log_noise: Float[np.ndarray, " asset"]) -> tuple[float, np.ndarray]:
        """−log L a date and asset, up to a constant, and its slopes."""
        noise = np.exp(log_noise)
        strength, directions = strong(noise)
        relative = variances / noise
        loss = (log_noise + relative).sum() + (np.log(strength) + 1 - strength).sum()
        slopes = 1 + directions**2 @ (strength - 1) - relative
        return 0.5 * float(loss) / n_assets, 0.5 * slopes / n_assets

    found = minimize(
        objective,
        np.log(variances if start is None else np.maximum(start, floor)),
        jac=True,
        method="L-BFGS-B",
        # At a maximum Ψ is no larger than the variances; without that line searches overflow.
        bounds=[(np.log(floor), top) for top in np.log(variances)],
        options={
            "maxcor": _MEMORY,
            "maxiter": _ROUNDS,
            "ftol": _GAIN_TOLERANCE,
            "gtol": _SLOPE_TOLERANCE / n_assets,
        },
    )
    noise = np.maximum(np.exp(found.x), floor)
    strength, directions = strong(noise)
    loadings = np.zeros((n_assets, n_factors))
    in_use = with_largest_positive(directions) * np.sqrt(strength - 1) * np.sqrt(noise)[:, None]
    loadings[:, : len(strength)] = in_use
    return Elliptical.of_factors(mean, loadings, noise)
