"""The algebra of x ~ N(mean + W z, Ψ), z ~ N(0, I), Ψ diagonal: K × K in place of D × D.

    covariance     Σ = W Wᵀ + Ψ
    posterior      z | x ~ N(P⁻¹ Wᵀ Ψ⁻¹ (x − mean), P⁻¹),   P = I + Wᵀ Ψ⁻¹ W
    determinant    ln det Σ = ln det P + ln det Ψ
    inverse        Σ⁻¹ = Ψ⁻¹ − Ψ⁻¹ W P⁻¹ Wᵀ Ψ⁻¹   (Woodbury)

Source: Bishop (2006), "Pattern recognition and machine learning", section 12.2.
"""

import numpy as np
from jaxtyping import Float


def covariance(
    loadings: Float[np.ndarray, "asset factor"], noise: Float[np.ndarray, " asset"]
) -> Float[np.ndarray, "asset asset"]:
    """Σ = W Wᵀ + Ψ.

    Args:
        loadings: W.
        noise: the diagonal of Ψ.
    """
    return loadings @ loadings.T + np.diag(noise)


def posterior_precision(
    loadings: Float[np.ndarray, "asset factor"],
    noise_precision: Float[np.ndarray, "*row asset"],
    prior_precision: Float[np.ndarray, " factor"] | float = 1.0,
) -> Float[np.ndarray, "*row factor factor"]:
    """P = P₀ + Wᵀ Ψ⁻¹ W, of one Ψ or of one a row.

    Args:
        loadings: W.
        noise_precision: the diagonal of Ψ⁻¹; 0 for a cell that is not observed.
        prior_precision: the diagonal of P₀, the prior's.
    """
    n_assets, n_factors = loadings.shape
    # One matrix product for all rows: a row's sum over assets of w_a W_a W_aᵀ.
    products = (loadings[:, :, None] * loadings[:, None, :]).reshape(n_assets, n_factors**2)
    shape = (*noise_precision.shape[:-1], n_factors, n_factors)
    return prior_precision * np.eye(n_factors) + (noise_precision @ products).reshape(shape)


def posterior_weights(
    loadings: Float[np.ndarray, "asset factor"], noise: Float[np.ndarray, " asset"]
) -> Float[np.ndarray, "asset factor"]:
    """Ψ⁻¹ W P⁻¹, so that E[z | x] = (x − mean) times it.

    Args:
        loadings: W.
        noise: the diagonal of Ψ.
    """
    precision = posterior_precision(loadings, 1 / noise)
    return np.linalg.solve(precision, (loadings / noise[:, None]).T).T
