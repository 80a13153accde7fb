"""Student-t distributions: one mixing variable a row, or one a variable."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.models.distributions import (
    Distribution,
    Gaussian,
    PerRow,
    PortfolioWeights,
    RandomKey,
    Returns,
    Row,
    RowValues,
    Values,
    mahalanobis,
    move_onto,
    scaled_squares,
)


class LocationScale(Distribution):
    """The base of distributions with a squared scale of each variable that is not its variance.

    Attributes:
        mean, log_scale: location and the logarithm of the squared scale.
    """

    mean: Values
    log_scale: Values

    @property
    def log_squared_scale(self) -> Values:
        return self.log_scale


class StudentT(LocationScale):
    """A multivariate Student-t in each row: uncorrelated variables that share one mixing variable.

        x = mean + √s · scale · ε,    ε ~ N(0, I),    s ~ InverseGamma(ν/2, ν/2)

    Attributes:
        mean, log_scale: location and the logarithm of the squared scale.
        df: degrees of freedom ν > 0 of each row.
    """

    df: PerRow

    @property
    def variance(self) -> Values:
        """σ² ν/(ν-2), infinite where ν ≤ 2."""
        return jnp.exp(self.log_scale) * _variance_ratio(self.df)[..., None]

    def log_prob(self, values: Values, used: Values) -> PerRow:
        """ln Γ((ν+n)/2) - ln Γ(ν/2) - ½ [n ln νπ + Σ ln σ² + (ν+n) ln(1 + δ/ν)]

        over the n values used, δ = Σ (x-μ)²/σ². A marginal of a multivariate t keeps its ν (Kotz &
        Nadarajah 2004).

        Args:
            values: x, of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            ln p(x) of each row, nats.
        """
        squares = scaled_squares(self.mean, self.log_scale, values)
        count, log_scales = jnp.sum(used, axis=-1), jnp.sum(used * self.log_scale, axis=-1)
        return log_student_t(self.df, count, log_scales, jnp.sum(used * squares, axis=-1))

    def sample(self, key: RandomKey) -> Values:
        key_noise, key_mixing = jax.random.split(key)
        half = 0.5 * self.df
        mixing = half / jax.random.gamma(key_mixing, half, dtype=self.mean.dtype)
        noise = jax.random.normal(key_noise, self.mean.shape, self.mean.dtype)
        return self.mean + jnp.exp(0.5 * self.log_scale) * noise * jnp.sqrt(mixing)[..., None]

    @property
    def scale_information(self) -> Values:
        """0: `precision` follows the shared scale already."""
        return jnp.zeros_like(self.mean)

    def precision(self, values: Values, used: Values) -> Values:
        """(ν+n)/(ν+δ)/σ²: the mixing variable held at what the n values used say of it, the weights
        of iteratively reweighted least squares (Lange, Little & Taylor 1989).

        Args:
            values: where; of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            Of each value, in its units to the power -2.
        """
        squares = scaled_squares(self.mean, self.log_scale, values)
        weight = self.df + jnp.sum(used, axis=-1)
        weight = weight / (self.df + jnp.sum(used * squares, axis=-1))
        return jnp.exp(-self.log_scale) * weight[..., None]

    def portfolios(self, weights: PortfolioWeights) -> "StudentT":
        log_scale = jnp.log(jnp.exp(self.log_scale) @ (weights**2).T)
        return StudentT(self.mean @ weights.T, log_scale, self.df)

    def complete(
        self, key: RandomKey, weights: PortfolioWeights, returns: Returns
    ) -> tuple[RowValues, Row]:
        """Exact: s | y ~ InverseGamma((ν+n)/2, (ν+δ)/2) scales the row, then Matheron's rule.

        Args:
            key: of the draw.
            weights: A; no column has two entries that are not 0.
            returns: y = A x, the same for all rows.

        Returns:
            The draw of x of every row, and the log of its importance weight less the log density of
            y under `portfolios`: 0, since the draw is exact.
        """
        key_noise, key_mixing = jax.random.split(key)
        portfolios = self.portfolios(weights)
        squares = scaled_squares(portfolios.mean, portfolios.log_scale, returns[None, :])
        shape = 0.5 * (self.df + len(returns))
        mixing = (
            0.5
            * (self.df + jnp.sum(squares, axis=-1))
            / jax.random.gamma(key_mixing, shape, dtype=shape.dtype)
        )
        variances = mixing[:, None] * jnp.exp(self.log_scale)
        values = move_onto(key_noise, self.mean, variances, weights, returns)
        return values, jnp.zeros_like(mixing)


class CorrelatedT(Distribution):
    """A multivariate Student-t in each row: mean + √s root ε, ε ~ N(0, I), s as in `StudentT`."""

    mean: Values
    root: Float[Array, "*rows size size"]
    df: PerRow

    @property
    def variance(self) -> Values:
        """The diagonal of root rootᵀ times ν/(ν-2), infinite where ν ≤ 2."""
        return jnp.sum(self.root**2, axis=-1) * _variance_ratio(self.df)[..., None]

    def log_prob(self, values: Values, used: Values) -> PerRow:
        """As of a `StudentT`, with δ = (x-μ)ᵀΣ⁻¹(x-μ), Σ = root rootᵀ.

        Args:
            values: x, of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            ln p(x) of each row, nats.
        """
        distance, log_determinant = mahalanobis(self.root, used * (values - self.mean), used)
        return log_student_t(self.df, jnp.sum(used, axis=-1), log_determinant, distance)

    def sample(self, key: RandomKey) -> Values:
        unit = jnp.zeros_like(self.mean)
        draw = StudentT(unit, unit, self.df).sample(key)
        return self.mean + jnp.einsum("...ij,...j->...i", self.root, draw)


class IndependentT(LocationScale):
    """Independent Student-t variables, each with its own mixing variable.

    Attributes:
        mean, log_scale: location and the logarithm of the squared scale.
        df: degrees of freedom ν > 0 of each; one row where all rows have the same, for which the
            gamma functions are then computed once.
    """

    df: Float[Array, "*#rows size"]

    @property
    def variance(self) -> Values:
        """σ² ν/(ν-2), infinite where ν ≤ 2."""
        return jnp.exp(self.log_scale) * _variance_ratio(self.df)

    def log_prob(self, values: Values, used: Values) -> PerRow:
        """Each value's `StudentT.log_prob` at n = 1, summed over the values used.

        Args:
            values: x, of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            ln p(x) of each row, nats.
        """
        squares = scaled_squares(self.mean, self.log_scale, values)
        cells = log_student_t(self.df, jnp.ones_like(self.df), self.log_scale, squares)
        return jnp.sum(used * cells, axis=-1)

    def sample(self, key: RandomKey) -> Values:
        """mean + σ √(ν (U^{-2/ν} - 1)) cos 2πV with U and V uniform, exact (Bailey 1994, "Polar
        generation of random variates with the t-distribution"): no draw is ever rejected, as those
        of gamma variables are, and ν → ∞ is Box and Muller's normal.

        Args:
            key: of the draw.

        Returns:
            Values of the shape of `mean`.
        """
        key_radius, key_angle = jax.random.split(key)
        shape, dtype = self.mean.shape, self.mean.dtype
        exponential = jax.random.exponential(key_radius, shape, dtype)
        angle = jax.random.uniform(key_angle, shape, dtype, maxval=2.0 * jnp.pi)
        radius = jnp.sqrt(self.df * jnp.expm1(2.0 * exponential / self.df))
        return self.mean + jnp.exp(0.5 * self.log_scale) * radius * jnp.cos(angle)

    @property
    def scale_information(self) -> Float[Array, "*#rows size"]:
        """½ ν/(ν+3)."""
        return 0.5 * self.df / (self.df + 3.0)

    def precision(self, values: Values, used: Values) -> Values:
        """(ν+1)/(ν+(x-μ)²/σ²)/σ²: as `StudentT.precision`, each value by itself.

        Args:
            values: where; of the shape of `mean`.
            used: 1 for the values that count, 0 for the rest.

        Returns:
            Of each value, in its units to the power -2.
        """
        del used
        squares = scaled_squares(self.mean, self.log_scale, values)
        return jnp.exp(-self.log_scale) * ((self.df + 1.0) / (self.df + squares))

    def portfolios(self, weights: PortfolioWeights) -> "IndependentT":
        """Exact for one asset alone; several are stood in for by the heaviest of them, at the sum
        of their squared scales.

        Args:
            weights: A; no column has two entries that are not 0.

        Returns:
            Of the portfolios' returns A x, one variable a portfolio.
        """
        log_scale = jnp.log(jnp.exp(self.log_scale) @ (weights**2).T)
        held = jnp.where(weights[None] != 0.0, self.df[:, None, :], jnp.inf)
        return IndependentT(self.mean @ weights.T, log_scale, jnp.min(held, axis=-1))

    def complete(
        self, key: RandomKey, weights: PortfolioWeights, returns: Returns
    ) -> tuple[RowValues, Row]:
        """Mixing variables from their prior, then Matheron's rule. A portfolio of several assets is
        Gaussian once they are known: that density takes the place of the stand-in's.

        Args:
            key: of the draw.
            weights: A; no column has two entries that are not 0.
            returns: y = A x, the same for all rows.

        Returns:
            The draw of x of every row, and the log of its importance weight less the log density of
            y under `portfolios`.
        """
        key_noise, key_mixing = jax.random.split(key)
        half = jnp.broadcast_to(0.5 * self.df, self.mean.shape)
        variances = (
            jnp.exp(self.log_scale) * half / jax.random.gamma(key_mixing, half, dtype=half.dtype)
        )
        portfolios = self.portfolios(weights)
        known = jnp.broadcast_to(returns[None, :], portfolios.mean.shape)
        several = jnp.sum(weights != 0.0, axis=-1) > 1
        used = jnp.broadcast_to(several[None, :].astype(known.dtype), known.shape)
        exact = Gaussian(portfolios.mean, jnp.log(variances @ (weights**2).T))
        values = move_onto(key_noise, self.mean, variances, weights, returns)
        return values, exact.log_prob(known, used) - portfolios.log_prob(known, used)


def _variance_ratio(df: Array) -> Array:
    """ν/(ν-2), infinite where ν ≤ 2."""
    excess = df - 2.0
    return jnp.where(excess > 0.0, df / jnp.where(excess > 0.0, excess, 1.0), jnp.inf)


def log_student_t(df: Array, count: Array, log_scales: Array, distance: Array) -> Array:
    """log density of a Student-t over `count` values whose log squared scales sum to `log_scales`
    and whose scaled squares sum to `distance`.

    ln Γ((ν+n)/2) - ln Γ(ν/2) goes through the beta function: at a large ν the difference of two
    large numbers would be lost in float32. 0 where n is 0.
    """
    half = 0.5 * jnp.maximum(count, 1.0)
    ratio = jax.scipy.special.gammaln(half) - jax.scipy.special.betaln(0.5 * df, half)
    spread = count * jnp.log(df * jnp.pi) + log_scales
    log_density = ratio - 0.5 * (spread + (df + count) * jnp.log1p(distance / df))
    return jnp.where(count > 0.0, log_density, 0.0)
