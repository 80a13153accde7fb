"""Distributions as values: a decoder gives one for returns, a prior and an encoder for factors.

A distribution holds arrays whose last axis is the variables of a row, and answers by its methods.
`used` is 1 for the values that count and 0 for the rest. Log densities are in nats.
"""

import math
from typing import TYPE_CHECKING, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Key

from jaxvae.models.cholesky import cholesky, inverse_lower

LOG_2PI = math.log(2.0 * math.pi)
Values = Float[Array, "*rows size"]
PerRow = Float[Array, "*rows"]
RowValues = Float[Array, "row size"]
Row = Float[Array, " row"]
PortfolioWeights = Float[Array, "portfolio size"]
Returns = Float[Array, " portfolio"]
RandomKey = Key[Array, ""]


class Distribution(struct.PyTreeNode):
    """The base of every distribution: a frozen dataclass and a pytree of arrays.

    One of your own has `mean`, `variance`, `log_prob` and `sample`; the other methods rest on these
    and may be overridden by closed forms.

        class Laplace(Distribution):
            mean: Array
            scale: Array

            @property
            def variance(self):
                return 2.0 * self.scale**2

            def log_prob(self, values, used):
                distance = jnp.abs(values - self.mean) / self.scale
                return -jnp.sum(used * (jnp.log(2.0 * self.scale) + distance), axis=-1)

            def sample(self, key):
                return self.mean + self.scale * jax.random.laplace(key, self.mean.shape)

    Attributes:
        mean, variance: of each variable, the last axis those of a row.
        kl_by_factor: whether `factor_kl` from this as a prior is exact and adds up to `kl`.
    """

    kl_by_factor: ClassVar[bool] = False

    if TYPE_CHECKING:

        @property
        def mean(self) -> Values: ...

        @property
        def variance(self) -> Values: ...

    def log_prob(self, values: Values, used: Values) -> PerRow:
        """Joint log density of the values of each row that are used, the others integrated out.

        Args:
            values: x, of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            ln p(x) of each row, nats.

        Raises:
            TypeError: of a distribution that does not define it.
        """
        raise TypeError(f"{type(self).__name__} has no method log_prob(values, used)")

    def sample(self, key: RandomKey) -> Values:
        """A draw of every row, through which gradients may pass.

        Args:
            key: of the draw.

        Returns:
            Values of the shape of `mean`.

        Raises:
            TypeError: of a distribution that does not define it.
        """
        raise TypeError(f"{type(self).__name__} has no method sample(key)")

    def draw(self, noise: Values, key: RandomKey) -> Values:
        """A draw as a smooth map of standard normal noise where there is one, else by `sample`.

        Args:
            noise: draws of N(0, 1), of the shape of `mean`.
            key: of the draw where there is no such map.

        Returns:
            Values of the shape of `mean`.
        """
        del noise
        return self.sample(key)

    @property
    def log_squared_scale(self) -> Values:
        """Logarithm of each variable's squared scale, up to a constant; of its variance."""
        return jnp.log(self.variance)

    @property
    def scale_information(self) -> Values:
        """Fisher information of each variable's log squared scale; a normal variable's ½."""
        return jnp.full_like(self.mean, 0.5)

    def precision(self, values: Values, used: Values) -> Values:
        """Curvature of -log density in each value; 1/variance.

        Args:
            values: where; of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            Of each value, in its units to the power -2.
        """
        del values, used
        return 1.0 / self.variance

    def kl(self, prior: "Distribution", draw: Values, used: Values) -> PerRow:
        """KL(self ‖ prior) of each row over the factors used; log q - log p at a draw of self:
        without bias, and not above zero for certain.

        Args:
            prior: p.
            draw: of self.
            used: 1 for the factors that count, 0 for the rest.

        Returns:
            Of each row, nats.
        """
        return self.log_prob(draw, used) - prior.log_prob(draw, used)

    def factor_kl(self, prior: "Distribution", used: Values) -> Values:
        """KL(self ‖ prior) factor by factor: of the normal distributions that stand for both,
        self's with its moments.

        Args:
            prior: p.
            used: 1 for the factors that count, 0 for the rest.

        Returns:
            Of each row and factor, nats; 0 for a factor not used.
        """
        return Gaussian(self.mean, jnp.log(self.variance)).factor_kl(prior, used)

    def as_gaussian(self, posterior: "Gaussian", used: Values) -> "Gaussian":
        """The Gaussian that this prior is where its mixing variables are known, at their precision
        one posterior standard deviation beyond the posterior mean.

        Args:
            posterior: q(z | x).
            used: 1 for the factors that count, 0 for the rest.

        Returns:
            A `Gaussian` with this prior's mean.
        """
        reach = posterior.mean - self.mean
        spread = jnp.exp(0.5 * posterior.log_variance)
        at_reach = self.mean + jnp.sqrt(reach * reach + spread * spread)
        return Gaussian(self.mean, -jnp.log(self.precision(at_reach, used)))

    def portfolios(self, weights: PortfolioWeights) -> "Distribution":
        """The distribution of portfolios A x that share no asset: mean A μ, squared scale A² σ².

        Independent given what they depend on; where A x has another shape than normal, a stand-in
        whose error `complete` weighs.

        Args:
            weights: A; no column has two entries that are not 0.

        Returns:
            Of the portfolios' returns A x, one variable a portfolio.
        """
        variance = self.variance @ (weights**2).T
        return Gaussian(self.mean @ weights.T, jnp.log(variance))

    def complete(
        self, key: RandomKey, weights: PortfolioWeights, returns: Returns
    ) -> tuple[RowValues, Row]:
        """A draw of x given the returns y = A x of portfolios that share no asset.

        One asset of each portfolio, the one that moves it most, takes the place x_j that the draws
        of all others leave it, which weighs p(x_j | the others)/|w_j|.

        Args:
            key: of the draw.
            weights: A, as `portfolios` takes them.
            returns: y, the same for all rows.

        Returns:
            The draw of every row, and the log of its importance weight less the log density of y
            under `portfolios`.
        """
        moves = jnp.abs(weights)[None] * jnp.sqrt(self.variance)[:, None]
        pivots = jax.nn.one_hot(jnp.argmax(moves, axis=-1), weights.shape[-1], dtype=moves.dtype)
        free = 1.0 - jnp.sum(pivots, axis=1)
        drawn = free * self.sample(key)
        own = jnp.sum(pivots * weights[None], axis=-1)
        known = jnp.broadcast_to(returns[None, :], own.shape)
        values = drawn + jnp.einsum("rp,rpa->ra", (known - drawn @ weights.T) / own, pivots)
        given = self.log_prob(values, jnp.ones_like(values)) - self.log_prob(values, free)
        given -= jnp.sum(jnp.log(jnp.abs(own)), axis=-1)
        return values, given - self.portfolios(weights).log_prob(known, jnp.ones_like(known))


class Gaussian(Distribution):
    """Independent normal variables, x = mean + σ ε, ε ~ N(0, I).

    Attributes:
        mean, log_variance: μ and ln σ², of the same shape.
    """

    kl_by_factor: ClassVar[bool] = True

    mean: Values
    log_variance: Values

    @property
    def variance(self) -> Values:
        """σ²."""
        return jnp.exp(self.log_variance)

    def log_prob(self, values: Values, used: Values) -> PerRow:
        """-½ Σ [ln 2πσ² + (x-μ)²/σ²] over the values used.

        Args:
            values: x, of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            ln p(x) of each row, nats.
        """
        scaled = scaled_squares(self.mean, self.log_variance, values)
        return -0.5 * jnp.sum(used * (LOG_2PI + self.log_variance + scaled), axis=-1)

    def sample(self, key: RandomKey) -> Values:
        return self.draw(jax.random.normal(key, self.mean.shape, self.mean.dtype), key)

    def draw(self, noise: Values, key: RandomKey) -> Values:
        """μ + σε (Kingma & Welling 2014).

        Args:
            noise: ε, draws of N(0, 1) of the shape of `mean`.
            key: not used.

        Returns:
            Values of the shape of `mean`.
        """
        del key
        return self.mean + jnp.exp(0.5 * self.log_variance) * noise

    @property
    def log_squared_scale(self) -> Values:
        return self.log_variance

    def precision(self, values: Values, used: Values) -> Values:
        del values, used
        return jnp.exp(-self.log_variance)

    def kl(self, prior: Distribution, draw: Values, used: Values) -> PerRow:
        """In closed form for a Gaussian prior; else E_q log q in closed form less log p.

        Args:
            prior: p.
            draw: of self; used where p is not Gaussian.
            used: 1 for the factors that count, 0 for the rest.

        Returns:
            KL(self ‖ p) of each row, nats.
        """
        if isinstance(prior, Gaussian):
            return jnp.sum(self.factor_kl(prior, used), axis=-1)
        entropy = 0.5 * jnp.sum(used * (LOG_2PI + 1.0 + self.log_variance), axis=-1)
        return -entropy - prior.log_prob(draw, used)

    def factor_kl(self, prior: Distribution, used: Values) -> Values:
        """½ [log σ_p² - log σ_q² + (σ_q² + (μ_q - μ_p)²)/σ_p² - 1].

        Another prior stands as the Gaussian that it is once its mixing variables are known: for a
        Student-t the terms of the variational bound, which are not negative.

        Args:
            prior: p.
            used: 1 for the factors that count, 0 for the rest.

        Returns:
            Of each row and factor, nats; 0 for a factor not used.
        """
        normal = prior.as_gaussian(self, used)
        gap = self.mean - normal.mean
        spread = jnp.exp(self.log_variance - normal.log_variance)
        shift = gap * gap * jnp.exp(-normal.log_variance)
        log_ratio = normal.log_variance - self.log_variance
        return used * (0.5 * (log_ratio + spread + shift - 1.0))

    def as_gaussian(self, posterior: "Gaussian", used: Values) -> "Gaussian":
        del posterior, used
        return self

    def complete(
        self, key: RandomKey, weights: PortfolioWeights, returns: Returns
    ) -> tuple[RowValues, Row]:
        """Exact, by Matheron's rule (Hoffman & Ribak 1991).

        Args:
            key: of the draw.
            weights: A; no column has two entries that are not 0.
            returns: y = A x, the same for all rows.

        Returns:
            The draw of x of every row, and the log of its importance weight less the log density of
            y under `portfolios`: 0, since the draw is exact.
        """
        key_noise, _ = jax.random.split(key)
        values = move_onto(key_noise, self.mean, self.variance, weights, returns)
        return values, jnp.zeros_like(values[:, 0])


class CorrelatedGaussian(Distribution):
    """Normal variables that are correlated within a row: mean + root ε, ε ~ N(0, I)."""

    mean: Values
    root: Float[Array, "*rows size size"]

    @property
    def variance(self) -> Values:
        """The diagonal of root rootᵀ."""
        return jnp.sum(self.root**2, axis=-1)

    def log_prob(self, values: Values, used: Values) -> PerRow:
        """-½ [n ln 2π + ln|Σ| + (x-μ)ᵀΣ⁻¹(x-μ)] over the n values used.

        Args:
            values: x, of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            ln p(x) of each row, nats.
        """
        distance, log_determinant = mahalanobis(self.root, used * (values - self.mean), used)
        return -0.5 * (jnp.sum(used, axis=-1) * LOG_2PI + log_determinant + distance)

    def sample(self, key: RandomKey) -> Values:
        return self.draw(jax.random.normal(key, self.mean.shape, self.mean.dtype), key)

    def draw(self, noise: Values, key: RandomKey) -> Values:
        del key
        return self.mean + jnp.einsum("...ij,...j->...i", self.root, noise)


class UncertainGaussian(Distribution):
    """Independent normal variables whose means are not known but as N(mean, spread) themselves.

    Its log density is the expectation over them, which a variational bound asks for: no density of
    the values, but a bound on the log of the one that integrates the means out, `predictive`. It is
    met in training alone.

    Attributes:
        mean, log_variance: as of a `Gaussian`.
        spread: variance of the mean, not a logarithm.
    """

    mean: Values
    log_variance: Values
    spread: Values

    @property
    def predictive(self) -> Gaussian:
        """N(mean, σ² + spread)."""
        return Gaussian(self.mean, jnp.log(jnp.exp(self.log_variance) + self.spread))

    def log_prob(self, values: Values, used: Values) -> PerRow:
        """-½ Σ [ln 2πσ² + ((x-μ)² + spread)/σ²] over the values used.

        Args:
            values: x, of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            ln p(x) of each row, nats.
        """
        known = Gaussian(self.mean, self.log_variance).log_prob(values, used)
        blur = self.spread * jnp.exp(-self.log_variance)
        return known - 0.5 * jnp.sum(used * blur, axis=-1)


def standard_normal(key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Independent draws from N(0, 1), by pairs √(-2 ln u) (cos 2πv, sin 2πv) of uniform u and v
    (Box & Muller 1958): on a CPU in half the time of JAX's own, which invert the error function."""
    half = -(-math.prod(shape) // 2)
    uniform = jax.random.uniform(key, (2, half), jnp.float32)
    # 1 - u lies in (0, 1].
    radius, angle = jnp.sqrt(-2.0 * jnp.log1p(-uniform[0])), 2.0 * jnp.pi * uniform[1]
    pairs = jnp.concatenate([radius * jnp.cos(angle), radius * jnp.sin(angle)])
    return pairs[: math.prod(shape)].reshape(shape)


def scaled_squares(mean: Values, log_scale: Values, values: Float[Array, "*#rows size"]) -> Values:
    """(x-μ)²/σ²."""
    residual = values - mean
    return residual * residual * jnp.exp(-log_scale)


def mahalanobis(
    root: Float[Array, "*rows size size"], residual: Values, used: Values
) -> tuple[PerRow, PerRow]:
    """rᵀΣ⁻¹r and ln|Σ| over the values used, Σ = root rootᵀ."""
    covariance = jnp.einsum("...ik,...jk->...ij", root, root)
    covariance *= used[..., :, None] * used[..., None, :]
    unit = jnp.broadcast_to(jnp.eye(used.shape[-1], dtype=used.dtype), covariance.shape)
    factor = cholesky(covariance + (1.0 - used)[..., None] * unit)
    scaled = jnp.einsum("...ij,...j->...i", inverse_lower(factor), residual)
    log_root = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), axis=-1)
    return jnp.sum(scaled**2, axis=-1), 2.0 * log_root


def move_onto(
    key: RandomKey,
    mean: RowValues,
    variances: RowValues,
    weights: PortfolioWeights,
    returns: Returns,
) -> RowValues:
    """A draw x̃ of N(mean, Ψ) moved onto y = A x: x̃ + Ψ Aᵀ (A Ψ Aᵀ)⁻¹ (y - A x̃)."""
    values = mean + jnp.sqrt(variances) * jax.random.normal(key, mean.shape, mean.dtype)
    gap = (returns[None, :] - values @ weights.T) / (variances @ (weights**2).T)
    return values + variances * (gap @ weights)
