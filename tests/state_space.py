"""A linear-Gaussian state-space model written out as one large normal, in float64: the oracle.

All of z and x, row by row, are jointly normal: Cov(z_sk, z_tk) = φ_k^|s-t|,  x = W z + b + Ψ^½ ε.
"""

import numpy as np
from scipy import stats
from scipy.linalg import block_diag


def planted(seed, persistence, n_rows, n_assets, strength=1.0):
    """Returns of a panel drawn from the model, and its W, b, Ψ and φ."""
    rng, phi = np.random.default_rng(seed), np.asarray(persistence, float)
    loadings = strength * rng.normal(size=(n_assets, len(phi)))
    bias, noise = rng.normal(size=n_assets), rng.uniform(0.3, 0.9, n_assets)
    factors = rng.normal(size=(n_rows, len(phi)))
    for row in range(1, n_rows):
        factors[row] = phi * factors[row - 1] + np.sqrt(1 - phi**2) * factors[row]
    values = factors @ loadings.T + bias
    values += np.sqrt(noise) * rng.normal(size=values.shape)
    return values, (loadings, bias, noise, phi)


def prior_covariance(phi, n_rows):
    """Of all z, row by row."""
    apart = np.abs(np.subtract.outer(np.arange(n_rows), np.arange(n_rows)))
    return sum(np.kron(one**apart, np.diag(np.arange(len(phi)) == k)) for k, one in enumerate(phi))


def log_density(parameters, values):
    """ln p of all observed cells together; NaN marks a missing one."""
    loadings, bias, noise, phi = parameters
    n_rows, seen = len(values), np.isfinite(values).ravel()
    design = np.kron(np.eye(n_rows), loadings)
    covariance = design @ prior_covariance(phi, n_rows) @ design.T
    covariance += np.kron(np.eye(n_rows), np.diag(noise))
    mean = np.tile(bias, n_rows)[seen]
    return stats.multivariate_normal.logpdf(
        values.ravel()[seen], mean, covariance[np.ix_(seen, seen)]
    )


def precision(parameters, observed):
    """Of all z given x: the prior's plus WᵀΨ⁻¹W over the cells observed."""
    loadings, _, noise, phi = parameters
    seen = [(row / noise)[:, None] * loadings for row in observed]
    prior = np.linalg.inv(prior_covariance(phi, len(observed)))
    return prior + block_diag(*(loadings.T @ part for part in seen))


def posterior_mean(parameters, values):
    loadings, bias, noise, _ = parameters
    observed = np.isfinite(values)
    centred = np.where(observed, values - bias, 0.0)
    pulls = (centred / noise) @ loadings
    joint = precision(parameters, observed)
    return np.linalg.solve(joint, pulls.ravel()).reshape(pulls.shape)


def elbo(parameters, values, mean, covariance):
    """E_q [ln p(x, z) - ln q(z)] for a q over all z, normal with the moments given."""
    loadings, bias, noise, phi = parameters
    observed, size = np.isfinite(values), mean.size
    residual = np.where(observed, values - bias - mean @ loadings.T, 0.0)
    misfit = (residual**2 / noise).sum() + (observed * np.log(2 * np.pi * noise)).sum()
    prior = prior_covariance(phi, len(values))
    distance = mean.ravel() @ np.linalg.solve(prior, mean.ravel())
    spread = np.trace(precision(parameters, observed) @ covariance)
    log_determinants = np.linalg.slogdet(prior)[1] - np.linalg.slogdet(covariance)[1]
    return -0.5 * (misfit + distance + spread + log_determinants - size)


def forecast(parameters, mean, covariance, n_steps):
    """Means and covariances of the returns 1 … n_steps rows after one whose z is N(mean,
    covariance)."""
    loadings, bias, noise, phi = parameters
    powers = phi ** np.arange(1, n_steps + 1)[:, None]
    spread = powers[:, :, None] * covariance * powers[:, None, :]
    spread = spread + (1 - powers**2)[:, :, None] * np.eye(len(phi))
    means = (powers * mean) @ loadings.T + bias
    return means, loadings @ spread @ loadings.T + np.diag(noise)
