"""The linear-Gaussian state-space model: exact likelihood, filter, smoother and ELBO.

    z_t = φ z_{t-1} + √(1-φ²) η_t,   z_0, η_t ~ N(0, I)      factors, each with its own φ
    x_t = W z_t + b + Ψ^½ ε_t,       ε_t ~ N(0, I)           returns

Every row of z is N(0, I) by itself, so that φ = 0 is factor analysis. Parameters and arrays in,
arrays out: no model in sight. All that is K × K and no more: D assets enter by WᵀΨ⁻¹W and WᵀΨ⁻¹x
over the cells observed. Covariances are kept as products of square roots, and quadratic forms as
sums of squares, so that float32 loses nothing to cancellation (see `linear_gaussian`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.models.cholesky import cholesky
from jaxvae.models.distributions import LOG_2PI, Distribution
from jaxvae.models.linear_gaussian import condition, information


class Chain(Distribution):
    """Normal variables of consecutive rows, each row given the next.

        z_t = mean_t + gain_t (z_{t+1} - mean_{t+1}) + root_t ε_t,    ε_t ~ N(0, I)

    A row of gain 0, as the last one's is, does not depend on the next.

    Attributes:
        mean: of each row by itself.
        gain: what a row takes of the next.
        root: lower triangular, root rootᵀ the covariance given the next row.
    """

    mean: Float[Array, "row size"]
    gain: Float[Array, "row size size"]
    root: Float[Array, "row size size"]

    @property
    def variance(self) -> Float[Array, "row size"]:
        """Of each row by itself."""
        return jnp.diagonal(covariances(self), axis1=-2, axis2=-1)


class StateSpace(NamedTuple):
    """Parameters of the model of this module.

    Attributes:
        loadings: W.
        bias: b.
        noise: the diagonal of Ψ.
        persistence: φ, |φ| < 1.
    """

    loadings: Float[Array, "asset factor"]
    bias: Float[Array, " asset"]
    noise: Float[Array, " asset"]
    persistence: Float[Array, " factor"]


class Filtered(NamedTuple):
    """The factors of each row given the returns up to it. A root L stands for a covariance LLᵀ.

    Attributes:
        predicted_means, predicted_roots: of z_t given x of the rows before.
        filtered_means, filtered_roots: of z_t given these and x_t.
        log_likelihood: ln p(x_t | x_{<t}) over the cells observed, in nats.
    """

    predicted_means: Float[Array, "row factor"]
    predicted_roots: Float[Array, "row factor factor"]
    filtered_means: Float[Array, "row factor"]
    filtered_roots: Float[Array, "row factor factor"]
    log_likelihood: Float[Array, " row"]


def kalman_filter(
    parameters: StateSpace,
    values: Float[Array, "row asset"],
    observed: Float[Array, "row asset"],
) -> Filtered:
    """The Kalman filter (Kalman 1960) over consecutive rows, from the stationary law.

    With m and P = LLᵀ predicted, Λ = WᵀΨ⁻¹W, h = WᵀΨ⁻¹(x - b) and M = I + LᵀΛL = NNᵀ, over the
    cells observed:

        a = M⁻¹Lᵀ(h - Λm),   m + La the filtered mean,   LN⁻ᵀ the filtered root
        ln p(x_t | x_{<t}) = -½ [Σ ln 2πΨ + ln|M| + rᵀΨ⁻¹r + aᵀa],   r = x - b - W(m + La)

    Args:
        parameters: of the model.
        values: x; what stands in a missing cell does not matter.
        observed: 1 where a cell is observed, else 0.

    Returns:
        Of each row the factors' law before and after its returns are known, and their
        log-likelihood, nats.
    """
    phi = parameters.persistence
    precision, centred = _precision_and_centred(parameters, values, observed)
    scores = (precision * centred) @ parameters.loadings
    innovation = jnp.diag(1.0 - phi * phi)

    def advance(
        filtered: tuple[Array, Array], row: tuple[Array, Array]
    ) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        (m, L), (Lambda, h) = filtered, row
        # Predicted: φ m, and a triangular root of φ P φ + 1 - φ², which is never near singular.
        m, L = phi * m, phi[:, None] * L
        L = cholesky(L @ L.T + innovation)
        a, root, log_determinant = condition(L, Lambda, h - Lambda @ m)
        filtered = (m + L @ a, root)
        return filtered, (m, L, *filtered, log_determinant + a @ a)

    start = (jnp.zeros_like(phi), jnp.eye(len(phi), dtype=phi.dtype))
    rows = (information(parameters.loadings, precision), scores)
    _, steps = jax.lax.scan(advance, start, rows)
    predicted_means, predicted_roots, means, roots, penalty = steps
    # Against the filtered mean: the residual against the predicted one is far larger where the
    # signal is strong, and what makes up for it would cancel.
    residual = centred - means @ parameters.loadings.T
    misfit = jnp.sum(precision * residual * residual, axis=-1)
    log_likelihood = -0.5 * (_log_noise(parameters, observed) + penalty + misfit)
    return Filtered(predicted_means, predicted_roots, means, roots, log_likelihood)


def smoother(
    parameters: StateSpace, filtered: Filtered, linked: Float[Array, " row"] | None = None
) -> Chain:
    """p(z | x) of all rows together (Rauch, Tung & Striebel 1965): given the next row,

        z_t ~ N(m + G (z_{t+1} - φm), C),   C = (P⁻¹ + φ²/(1-φ²))⁻¹,   G = Cφ/(1-φ²)

    with m and P filtered. The last row has none after it.

    Args:
        parameters: of the model.
        filtered: what `kalman_filter` gives.
        linked: 0 for a row that is to learn nothing from the rows after it, else 1; by default all
            are 1.

    Returns:
        The `Chain` of all rows.
    """
    m, L = filtered.filtered_means, filtered.filtered_roots
    phi = persistence_by_row(parameters, m, linked)
    variance = 1.0 - phi * phi
    # The next row's factors observe these ones, by φ with noise 1 - φ².
    of_next = (phi * phi / variance)[..., None] * jnp.eye(phi.shape[-1], dtype=phi.dtype)[None]
    root = condition(L, of_next, jnp.zeros_like(m)).root
    C = jnp.einsum("rik,rjk->rij", root, root)
    G = C * (phi / variance)[:, None, :]

    def back(s: Array, row: tuple[Array, ...]) -> tuple[Array, Array]:
        m, phi, G = row
        s = m + G @ (s - phi * m)
        return s, s

    # s_t = m_t + G_t (s_{t+1} - φ m_t), from the last row, whose gain is 0, to the first.
    _, means = jax.lax.scan(back, jnp.zeros_like(m[0]), (m, phi, G), reverse=True)
    return Chain(means, G, cholesky(C))


def filter_posterior(filtered: Filtered) -> Chain:
    """Every row's N(z_t; m, P) given its past and itself, rows independent.

    Args:
        filtered: what `kalman_filter` gives.

    Returns:
        A `Chain` of gain 0.
    """
    L = filtered.filtered_roots
    P = jnp.einsum("rik,rjk->rij", L, L)
    return Chain(filtered.filtered_means, jnp.zeros_like(P), cholesky(P))


def independent_rows(posterior: Distribution) -> Chain:
    """Independent rows as a chain, with their means and variances.

    Args:
        posterior: of the factors, a row at a time; what is correlated within a row is taken apart.

    Returns:
        A `Chain` of gain 0.
    """
    deviations = jnp.sqrt(posterior.variance)
    root = deviations[..., None] * jnp.eye(deviations.shape[-1], dtype=deviations.dtype)[None]
    return Chain(posterior.mean, jnp.zeros_like(root), root)


def covariances(chain: Chain) -> Float[Array, "row size size"]:
    """Covariance of each row by itself: S_t = gain_t S_{t+1} gain_tᵀ + root_t root_tᵀ.

    Args:
        chain: of the factors.

    Returns:
        S_t of each row.
    """

    def back(S: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        gain, root = row
        S = gain @ S @ gain.T + root @ root.T
        return S, S

    start = jnp.zeros_like(chain.root[0])
    return jax.lax.scan(back, start, (chain.gain, chain.root), reverse=True)[1]


def expected_log_density(
    parameters: StateSpace,
    values: Float[Array, "row asset"],
    observed: Float[Array, "row asset"],
    mean: Float[Array, "row factor"],
    covariance: Float[Array, "row factor factor"],
) -> Float[Array, " row"]:
    """E ln p(x_t | z_t) over the cells observed, of factors with the moments given.

    Args:
        parameters: of the model.
        values: x; what stands in a missing cell does not matter.
        observed: 1 where a cell is observed, else 0.
        mean: E z_t.
        covariance: Cov z_t.

    Returns:
        Of each row, nats.
    """
    precision, centred = _precision_and_centred(parameters, values, observed)
    residual = centred - mean @ parameters.loadings.T
    misfit = jnp.sum(precision * residual * residual, axis=-1)
    spread = jnp.einsum("rij,rji->r", information(parameters.loadings, precision), covariance)
    return -0.5 * (_log_noise(parameters, observed) + misfit + spread)


def expected_divergence(
    parameters: StateSpace,
    posterior: Chain,
    covariance: Float[Array, "row factor factor"],
    linked: Float[Array, " row"] | None = None,
) -> Float[Array, "row factor"]:
    """KL(q ‖ p) of each row and factor given the next row, the mean over that row's draws.

        ½ [ln σ_p² - 2 ln L_kk + (Σ_j L_kj² + E (μ_q - μ_p)_k²)/σ_p² - 1],   L the chain's root

    A stationary autoregression reads the same in both directions of time, so that given the next
    row its mean is μ_p = φ z_{t+1} and its variance σ_p² = 1 - φ². With G the chain's gain and S
    the next row's covariance, E (μ_q - μ_p)² = d² + diag(A S Aᵀ), where d is the difference at the
    next row's mean and A = G - φ I. By the chain rule a factor's
    term is that of the factor given the ones before it: none is negative, and all together add up
    to the divergence of q from the prior over all rows.

    Args:
        parameters: of the model.
        posterior: q.
        covariance: of each row by itself, `covariances(posterior)`.
        linked: as in `smoother`.

    Returns:
        Of each row and factor, nats.
    """
    phi = persistence_by_row(parameters, posterior.mean, linked)
    variance = 1.0 - phi * phi
    d = posterior.mean - phi * next_row(posterior.mean)
    a = posterior.gain - phi[..., None] * jnp.eye(phi.shape[-1], dtype=phi.dtype)[None]
    asa = jnp.einsum("rki,rij,rkj->rk", a, next_row(covariance), a)
    spread = jnp.sum(posterior.root**2, axis=-1) + d * d + asa
    log_pivot = jnp.log(jnp.diagonal(posterior.root, axis1=-2, axis2=-1))
    return 0.5 * (jnp.log(variance) - 2.0 * log_pivot + spread / variance - 1.0)


def next_row(rows: Float[Array, "row *size"]) -> Float[Array, "row *size"]:
    """Every row's next one.

    Args:
        rows: the row axis first.

    Returns:
        The same shape; zeros for the last row.
    """
    return jnp.concatenate([rows[1:], jnp.zeros_like(rows[:1])])


def _precision_and_centred(
    parameters: StateSpace,
    values: Float[Array, "row asset"],
    observed: Float[Array, "row asset"],
) -> tuple[Float[Array, "row asset"], Float[Array, "row asset"]]:
    """Ψ⁻¹ and x - b of the cells observed; else 0."""
    centred = jnp.where(observed > 0.0, values - parameters.bias[None, :], 0.0)
    return observed / parameters.noise[None, :], centred


def _log_noise(parameters: StateSpace, observed: Float[Array, "row asset"]) -> Float[Array, " row"]:
    """Σ ln 2πΨ over the cells observed."""
    return observed @ (LOG_2PI + jnp.log(parameters.noise))


def persistence_by_row(
    parameters: StateSpace,
    rows: Float[Array, "row factor"],
    linked: Float[Array, " row"] | None,
) -> Float[Array, "row factor"]:
    """φ of each row's step from the next one.

    Args:
        parameters: of the model.
        rows: of as many rows.
        linked: as in `smoother`.

    Returns:
        Of each row and factor; 0 where a row is not linked, and for the last.
    """
    links = jnp.ones_like(rows[:, 0]) if linked is None else linked
    return links.at[-1].set(0.0)[:, None] * parameters.persistence[None, :]
