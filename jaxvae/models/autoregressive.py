"""The autoregressive VAE: each factor remembers its past, the decoder is linear.

    z_kt = φ_k z_k,t-1 + √(1-φ_k²) η_kt,    x_t = W z_t + b + Ψ^½ ε_t

Rows are consecutive dates. The prior of z_t depends on the past through φ, one a factor, learned;
by itself every date is N(0, I), and φ = 0 is factor analysis. A stationary first-order
autoregression reads the same in both directions of time, so prior and posterior are written
backward, each date given the next, which is how a smoother comes. Factors of different φ cannot be
turned into each other, as those of a static linear model can (Belouchrani et al. 1997).
"""

import functools
from dataclasses import dataclass

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxvae.errors import check_options, option
from jaxvae.models import kalman
from jaxvae.models.cholesky import inverse
from jaxvae.models.distributions import CorrelatedGaussian, Distribution, Gaussian
from jaxvae.models.kalman import Chain
from jaxvae.models.model import (
    Batch,
    Facts,
    Family,
    Model,
    Noise,
    Objective,
    Parameters,
    Variables,
    factors_used,
    standard_normal_prior,
)
from jaxvae.models.static import NOISES, AdditiveConfig, Encoder, assemble

ENCODERS = ("smoother", "filter", "perceptron")
WIDTHS = (64, 32)
LARGEST_PERSISTENCE = 0.999
FIRST_PERSISTENCE = 0.3


@dataclass(frozen=True)
class AutoregressiveConfig(Family):
    """Factors that remember their past, a linear decoder, Gaussian noise.

    The Kalman encoders know the decoder's own W, b and Ψ, and one number of their own, the
    temperature τ by which they take its noise to be larger: q ∝ p(z) p(x | z)^{1/τ} is the best
    posterior of the β-ELBO at τ = β, which they learn; at τ = 1 the smoother is exact.

    Args:
        n_factors: latent factors.
        encoder: "smoother", the posterior of all dates together; "filter", of each date by itself,
            given it and its past, which does not look ahead; "perceptron", of each date by itself,
            amortised from its returns, factors independent.
        noise, noise_variance: as in `PerceptronConfig`.

    Raises:
        OptionError: a setting of another type or beyond its limits.
    """

    n_factors: int = option(5, "", least=1)
    encoder: str = option("smoother", "", choices=ENCODERS)
    noise: str = option("asset", "", choices=NOISES)
    noise_variance: float = option(0.5, "", above=0.0)

    def __post_init__(self) -> None:
        check_options(self)

    def new_model(self, n_assets: int) -> Model:
        """A model as `build` gives it, made anew.

        Dates of weight 0 that follow one of weight above 0 tell it nothing, and its prior does not
        look at theirs: what is said of the dates in use does not look at later ones that are not.

        Args:
            n_assets: of the panel.

        Returns:
            The `Model`.
        """
        amortised = self.encoder == "perceptron"
        static = AdditiveConfig(
            self.n_factors, WIDTHS, noise=self.noise, noise_variance=self.noise_variance
        )
        model = assemble(
            self.n_factors,
            Encoder(static) if amortised else Temperature(),
            static.decoder(n_assets),
            functools.partial(_first_prior, self.n_factors),
            lambda variables, factors: factors @ rotation(variables).T,
            prior=prior_given_next,
            facts=Facts(
                linear=True,
                ordered=True,
                sees_gaps=not amortised,
                noise=Noise(self.noise, self.noise_variance),
            ),
            marginal=standard_normal_prior,
            persistence=persistence,
        )

        def encode(
            variables: Variables, batch: Batch, training: bool = False
        ) -> tuple[Distribution, Variables]:
            parameters = linear_gaussian(model, variables)
            temperature = jnp.exp(variables.parameters["encoder"]["log_temperature"])
            tempered = parameters._replace(noise=temperature * parameters.noise)
            return _kalman_posterior(self.encoder, tempered, batch), variables

        return _with_kalman_answers(model if amortised else model._replace(encode=encode))


class Temperature(nn.Module):
    """What stands for the encoder where the Kalman recursion knows the posterior: ln τ."""

    @nn.compact
    def __call__(self, inputs: Float[Array, "row input"], batch: Batch, training: bool) -> Array:
        return jnp.asarray(self.param("log_temperature", nn.initializers.zeros, ()))


def _with_kalman_answers(model: Model) -> Model:
    """The model with what the Kalman filter and smoother say exactly of its decoder."""

    def filtered(variables: Variables, batch: Batch) -> kalman.Filtered:
        parameters = linear_gaussian(model, variables)
        return kalman.kalman_filter(parameters, batch.values, batch.observed)

    def log_likelihood(variables: Variables, batch: Batch) -> Float[Array, " row"]:
        return filtered(variables, batch).log_likelihood

    def posterior(variables: Variables, batch: Batch) -> Chain:
        return _kalman_posterior("smoother", linear_gaussian(model, variables), batch)

    def objective(variables: Variables, batch: Batch) -> Objective:
        found, _ = model.encode(variables, batch, False)
        parameters = linear_gaussian(model, variables)
        chain = found if isinstance(found, Chain) else kalman.independent_rows(found)
        spread = kalman.covariances(chain)
        cells = batch.values, batch.observed
        fit = kalman.expected_log_density(parameters, *cells, chain.mean, spread)
        kl = kalman.expected_divergence(parameters, chain, spread, linked_rows(batch))
        return Objective(-fit, factors_used(variables, kl) * kl)

    def moments(
        variables: Variables, batch: Batch
    ) -> tuple[Float[Array, " asset"], Float[Array, "asset asset"]]:
        del batch
        loadings, bias, noise, _ = linear_gaussian(model, variables)
        return bias, loadings @ loadings.T + jnp.diag(noise)

    def ahead(variables: Variables, batch: Batch) -> CorrelatedGaussian:
        found = filtered(variables, batch)
        return CorrelatedGaussian(found.predicted_means, found.predicted_roots)

    return model._replace(
        log_likelihood=log_likelihood,
        posterior=posterior,
        moments=moments,
        objective=objective,
        ahead=ahead,
    )


def _first_prior(n_factors: int) -> Parameters:
    """Every factor at the same φ, and loadings that nothing turns."""
    first = jnp.full(n_factors, FIRST_PERSISTENCE / LARGEST_PERSISTENCE, jnp.float32)
    square = jnp.zeros((n_factors, n_factors), jnp.float32)
    return {"persistence": jnp.arctanh(first), "rotation": square}


def prior_given_next(
    variables: Variables, factors: Float[Array, "row factor"], batch: Batch
) -> Gaussian:
    """N(φ z_{t+1}, 1-φ²) for every row; N(0, 1) for one that is not linked to the next."""
    phi = linked_rows(batch)[:, None] * persistence(variables)[None, :]
    return Gaussian(phi * kalman.next_row(factors), jnp.log1p(-phi * phi))


def persistence(variables: Variables) -> Float[Array, "*members factor"]:
    """φ of each factor, within ±.999."""
    return LARGEST_PERSISTENCE * jnp.tanh(variables.parameters["prior"]["persistence"])


def rotation(variables: Variables) -> Float[Array, "factor factor"]:
    """The orthogonal R between the decoder's matrix V and the loadings W = V R.

    R = (I + S)(I - S)⁻¹ with S skew-symmetric (Cayley). It adds nothing to what can be said: W is
    any matrix without it. But turning factors leaves W Wᵀ as it is, along a narrow valley in W that
    Adam hardly moves in; here it is a direction of its own.
    """
    upper = jnp.triu(variables.parameters["prior"]["rotation"], 1)
    skew, unit = upper - upper.T, jnp.eye(upper.shape[0], dtype=upper.dtype)
    # (I - S)⁻¹ = (I + S)(I + SSᵀ)⁻¹: a symmetric matrix to invert.
    return (unit + skew) @ (unit + skew) @ inverse(unit + skew @ skew.T)


def linear_gaussian(model: Model, variables: Variables) -> kalman.StateSpace:
    """A member's parameters as `kalman` takes them; a factor not in use loads on nothing."""
    kernel = variables.parameters["decoder"]["curves"]["terms"]["kernel"]
    row = jnp.zeros((1, kernel.shape[1]), kernel.dtype)
    nothing = Batch(row, row, row[:, :0], row[:, 0])
    at_zero, _ = model.decode(variables, jnp.zeros_like(kernel[:, :1]).T, nothing, False)
    return kalman.StateSpace(
        kernel.T @ rotation(variables) * variables.factor_mask[None, :],
        at_zero.mean[0],
        at_zero.variance[0],
        persistence(variables),
    )


def linked_rows(batch: Batch) -> Float[Array, " row"]:
    """0 for a row in use that one not in use follows, and for the last; else 1."""
    weights = batch.weights
    ends = (weights > 0.0) & ~(kalman.next_row(weights) > 0.0)
    return jnp.where(ends, 0.0, 1.0).astype(weights.dtype).at[-1].set(0.0)


def _kalman_posterior(encoder: str, parameters: kalman.StateSpace, batch: Batch) -> Chain:
    filtered = kalman.kalman_filter(parameters, batch.values, batch.observed)
    if encoder == "filter":
        return kalman.filter_posterior(filtered)
    return kalman.smoother(parameters, filtered, linked_rows(batch))
