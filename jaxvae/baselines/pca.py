"""Probabilistic principal components."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from jaxvae.analysis.incomplete import Conditional, expected_moments
from jaxvae.baselines.elliptical import (
    Elliptical,
    FactorForm,
    check_sizes,
    maximise,
    noise_floor,
)


def fit_pca(values: Float[np.ndarray, "date asset"], n_factors: int) -> Elliptical:
    """Probabilistic PCA by maximum likelihood.

        σ² = mean of λ_j, j > K;    covariance = U_K (Λ_K − σ²) U_Kᵀ + σ² I

    with λ, U the eigenvalues and eigenvectors of the sample covariance (divisor n). Factors are
    the K principal components, each scaled to unit variance on the rows fitted, and reconstruct by
    orthogonal projection.

    Args:
        values: returns; NaN marks a missing cell.
        n_factors: K, from 0 to one less than the assets.

    Raises:
        OptionError: K is out of range.

    Source: Tipping and Bishop (1999), "Probabilistic principal component analysis".
    """
    return next(fit_pca_sizes(values, [n_factors]))


def fit_pca_sizes(
    values: Float[np.ndarray, "date asset"], sizes: Sequence[int]
) -> Iterator[Elliptical]:
    """`fit_pca` at several K, one after another; of complete rows from one decomposition.

    Args:
        values: returns; NaN marks a missing cell.
        sizes: K, each as in `fit_pca`.
    """
    check_sizes(sizes, values)
    floor = noise_floor(values)
    if np.isfinite(values).all():
        mean, axes = values.mean(axis=0), principal_axes(values, max(sizes))
        yield from (_law(mean, *axes, n_factors, floor) for n_factors in sizes)
    else:
        yield from (maximise(values, partial(_refit, n_factors, floor)) for n_factors in sizes)


def explained_variance_ratio(
    values: Float[np.ndarray, "date asset"],
) -> Float[np.ndarray, " component"]:
    """Each principal component's share of the total variance, largest first; of complete rows.

    Args:
        values: complete rows.
    """
    eigenvalues, _ = principal_axes(values, 0)
    return eigenvalues / eigenvalues.sum()


def principal_axes(
    values: Float[np.ndarray, "date asset"], most: int
) -> tuple[Float[np.ndarray, " component"], Float[np.ndarray, "asset component"]]:
    """Eigenvalues, largest first, and eigenvectors of the sample covariance (divisor n).

    Args:
        values: complete rows.
        most: how many eigenvectors are needed. At least as many are returned; where dates are
            fewer than assets, no more than dates, since the other eigenvalues are 0.

    Returns:
        The eigenvalues, and a column of each eigenvector.
    """
    centred = values - values.mean(axis=0)
    n_dates, n_assets = values.shape
    if most <= n_dates < n_assets:
        _, singular, right = np.linalg.svd(centred, full_matrices=False)
        return singular**2 / n_dates, with_largest_positive(right.T)
    return _axes_of(centred.T @ centred / n_dates)


def _axes_of(
    covariance: Float[np.ndarray, "asset asset"],
) -> tuple[Float[np.ndarray, " asset"], Float[np.ndarray, "asset asset"]]:
    eigenvalues, vectors = np.linalg.eigh(covariance)
    return np.maximum(eigenvalues[::-1], 0.0), with_largest_positive(vectors[:, ::-1])


def with_largest_positive(
    vectors: Float[np.ndarray, "asset component"],
) -> Float[np.ndarray, "asset component"]:
    """Each column with the sign that makes its largest entry positive.

    Args:
        vectors: a column each.
    """
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return vectors * np.sign(largest)


def _law(
    mean: Float[np.ndarray, " asset"],
    eigenvalues: Float[np.ndarray, " component"],
    vectors: Float[np.ndarray, "asset component"],
    n_factors: int,
    floor: float,
) -> Elliptical:
    noise = max(eigenvalues[n_factors:].sum() / (len(mean) - n_factors), floor)
    variances = np.maximum(eigenvalues[:n_factors], noise)
    directions = vectors[:, :n_factors]
    form = FactorForm(directions * np.sqrt(variances - noise), np.full(len(mean), noise))
    scale = np.sqrt(variances)
    return Elliptical(mean, form, directions * scale, directions / scale)


def _refit(n_factors: int, floor: float, given: Conditional) -> Elliptical:
    mean, covariance = expected_moments(given)
    return _law(mean, *_axes_of(covariance), n_factors, floor)
