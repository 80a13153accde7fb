"""Dates independent given the factors: perceptrons, or sums of one curve a factor."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jaxvae.errors import OptionError, check_options, option
from jaxvae.models.distributions import Distribution, Gaussian
from jaxvae.models.layers import Affine, Curves, Perceptron, dense, draw_uniform, side_by_side
from jaxvae.models.likelihoods import LIKELIHOODS, NOISE_FLOOR
from jaxvae.models.linear import with_exact_answers
from jaxvae.models.model import (
    Batch,
    Facts,
    Family,
    Model,
    Noise,
    Variables,
    in_use,
    standard_normal_prior,
)
from jaxvae.models.principal_axes import make_principal

NORMALISATIONS = ("batch", "layer", "none")
NOISES = ("asset", "scalar", "fixed")
# A date far outside of what training saw must not make a variance overflow.
LARGEST_LOG_VARIANCE = 10.0


@dataclass(frozen=True)
class PerceptronConfig(Family):
    """A perceptron encodes, and another decodes.

    Args:
        n_factors: latent factors.
        widths: the encoder's hidden layers, input side first, which the decoder mirrors; none is
            linear.
        normalisation: of hidden layers: "batch", "layer" or "none"; as in the notebook, the
            decoder's first one goes without.
        skip: add a linear map beside each perceptron, x to the posterior mean and z to the
            decoder's mean, so that the linear factor model is contained.
        likelihood: "gaussian"; "student": one mixing variable a row scales factors and noise; or
            "volatility": the first factor moves the volatility of each asset, whose noise is
            Student-t (see `likelihoods`).
        noise: observation variance: "asset", learned, one an asset; "scalar", learned, shared; or
            "fixed".
        noise_variance: the fixed variance, or where learning starts, in standard units.
        masked: the encoder sees which cells are observed beside their values.

    Raises:
        OptionError: a setting of another type, beyond its limits, or that does not go with another.
    """

    n_factors: int = option(5, "", least=1)
    widths: tuple[int, ...] = option((64, 32), "", least=1)
    normalisation: str = option("batch", "", choices=NORMALISATIONS)
    skip: bool = False
    likelihood: str = option("gaussian", "", choices=tuple(LIKELIHOODS))
    noise: str = option("asset", "", choices=NOISES)
    noise_variance: float = option(0.5, "", above=0.0)
    masked: bool = False

    def __post_init__(self) -> None:
        check_options(self)
        moves_volatility = LIKELIHOODS[self.likelihood].volatility_factor is not None
        if moves_volatility and self.n_factors < 2:
            raise OptionError("n_factors", "1 is too small; one moves volatility, so at least 2")

    @property
    def linear(self) -> bool:
        """Whether E[x | z] is linear in z."""
        return not self.widths and LIKELIHOODS[self.likelihood].volatility_factor is None

    def for_panel(
        self, n_conditions: int, sectors: tuple[int, ...], incomplete: bool
    ) -> "PerceptronConfig":
        """The configuration for a panel with covariates, sectors or missing cells.

        Args:
            n_conditions: covariates of each date; not looked at.
            sectors: each asset's, counted from 0; not looked at.
            incomplete: whether the dates that models are fitted on have missing cells.

        Returns:
            The same configuration, `masked` where it was or cells are missing.
        """
        del n_conditions, sectors
        return replace(self, masked=self.masked or incomplete)

    def decoder(self, n_assets: int) -> "Decoder":
        """The module that decodes.

        Args:
            n_assets: of the panel.

        Returns:
            A Flax module from factors to p(x | z).
        """
        return PerceptronDecoder(n_assets, self)

    @property
    def axes_are_free(self) -> bool:
        """Whether a rotation of the factors that move returns changes nothing, and is known."""
        return False

    def new_model(self, n_assets: int) -> Model:
        likelihood = LIKELIHOODS[self.likelihood]
        model = assemble(
            self.n_factors,
            Encoder(self),
            self.decoder(n_assets),
            prior=likelihood.prior,
            facts=Facts(
                linear=self.linear,
                volatility_factor=likelihood.volatility_factor,
                noise=Noise(
                    self.noise, self.noise_variance, likelihood.row_tails, likelihood.asset_tails
                ),
            ),
        )
        if self.axes_are_free:
            first = 0 if likelihood.volatility_factor is None else likelihood.volatility_factor + 1
            model = model._replace(principal=make_principal(first))
        return with_exact_answers(model) if self.linear else model


@dataclass(frozen=True)
class AdditiveConfig(PerceptronConfig):
    """A perceptron encodes; the decoder is a sum of one polynomial curve a factor, which fixes the
    axes.

    Args:
        degree: of each factor's curve; 1 is linear.

    The others are as in `PerceptronConfig`, for the encoder.
    """

    normalisation: str = option("none", "", choices=NORMALISATIONS)
    skip: bool = True
    degree: int = option(1, "", least=1)

    def for_panel(
        self, n_conditions: int, sectors: tuple[int, ...], incomplete: bool
    ) -> "PerceptronConfig":
        """As in `PerceptronConfig`; where cells are missing a linear encoder becomes the default
        one, since what an observed cell says of the factors hangs on which others are.

        Args:
            n_conditions: covariates of each date; not looked at.
            sectors: each asset's, counted from 0; not looked at.
            incomplete: whether the dates that models are fitted on have missing cells.

        Returns:
            The configuration with what missing cells need.
        """
        asked = super().for_panel(n_conditions, sectors, incomplete)
        if not incomplete or self.widths:
            return asked
        return replace(asked, widths=AdditiveConfig.widths, skip=True)

    @property
    def linear(self) -> bool:
        return self.degree == 1 and LIKELIHOODS[self.likelihood].volatility_factor is None

    @property
    def axes_are_free(self) -> bool:
        return self.degree == 1

    def decoder(self, n_assets: int) -> "Decoder":
        return AdditiveDecoder(n_assets, self)


class Encoder(nn.Module):
    """q(z | x): posterior mean and log-variance of each row's factors.

    Where rows differ in scale (any likelihood but the Gaussian), the row is divided by its own
    scale c, c² = (1 + Σ x²)/(1 + D), and ln c given beside it, so that a wild row looks like any
    other. Under "student" the posterior is multiplied by c again: in the linear model its mean is
    linear in x and its variance proportional to the row's scale.

    config: the encoder's settings. conditioned: the parts that see covariates, "encoder" this one.
    """

    config: PerceptronConfig
    conditioned: tuple[str, ...] = ("encoder",)

    @nn.compact
    def __call__(self, inputs: Float[Array, "row input"], batch: Batch, training: bool) -> Gaussian:
        config, scale = self.config, _row_scale(batch)
        rows = LIKELIHOODS[config.likelihood].rows
        if rows != "alike":
            inputs = jnp.concatenate([inputs / scale, jnp.log(scale)], axis=-1)
        if config.masked:
            inputs = jnp.concatenate([inputs, batch.observed], axis=-1)
        inputs = jnp.concatenate(
            [inputs, covariates_for("encoder" in self.conditioned, batch)], axis=-1
        )
        hidden = Perceptron(config.widths, config.normalisation, name="hidden")(
            inputs, batch.weights, training
        )
        heads = [Affine(config.n_factors, name=name) for name in ("mean", "log_variance")]
        mean, log_variance = side_by_side(hidden, [head(hidden.shape[-1]) for head in heads])
        if config.skip:
            mean += dense(config.n_factors, inputs.shape[-1], "skip", use_bias=False)(inputs)
        if rows != "restored":
            return Gaussian(mean, log_variance)
        return Gaussian(scale * mean, log_variance + 2.0 * jnp.log(scale))


class Decoder(nn.Module):
    """p(x | z): where each row's returns lie and how they scatter, in standard units.

    The noise variance Ψ is floored at 1e-6, so that noiseless data end there and not in a NaN.

    config: the decoder's settings. conditioned: of "decoder", the mean, and "noise", its
    log-variance, those that see covariates.

    Each kind of decoder adds `location`, which gives g(z), or gives p(x | z) itself.
    """

    n_assets: int
    config: PerceptronConfig
    conditioned: tuple[str, ...] = ("decoder",)

    @nn.compact
    def __call__(
        self,
        factors: Float[Array, "row factor"],
        batch: Batch,
        training: bool,
        n_used: Float[Array, ""],
    ) -> Distribution:
        observe = LIKELIHOODS[self.config.likelihood].observe
        return observe(self, factors, batch, training, n_used)

    def log_noise(self, batch: Batch) -> Float[Array, "rows size"]:
        """ln Ψ: one row for all where no covariate moves it, one column where assets share it."""
        start = jnp.log(jnp.float32(self.config.noise_variance))
        if self.config.noise == "fixed":
            return start[None, None]
        size = self.n_assets if self.config.noise == "asset" else 1
        raw = self.param("log_variance", nn.initializers.constant(start), (size,))[None, :]
        conditions = covariates_for("noise" in self.conditioned, batch)
        if n_conditions := conditions.shape[-1]:
            slopes = self.param("noise_slopes", nn.initializers.zeros, (n_conditions, size))
            raw += jnp.clip(conditions @ slopes, -LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
        return jnp.logaddexp(raw, jnp.log(jnp.float32(NOISE_FLOOR)))


class PerceptronDecoder(Decoder):
    """g(z) by a perceptron that mirrors an encoder's."""

    def location(self, factors: Array, batch: Batch, training: bool) -> Float[Array, "row asset"]:
        config = self.config
        inputs = jnp.concatenate(
            [factors, covariates_for("decoder" in self.conditioned, batch)], axis=-1
        )
        hidden = Perceptron(
            config.widths[::-1], config.normalisation, first_normalised=False, name="hidden"
        )(inputs, batch.weights, training)
        mean = dense(self.n_assets, hidden.shape[-1], "mean")(hidden)
        if config.skip:
            mean += dense(self.n_assets, inputs.shape[-1], "skip", use_bias=False)(inputs)
        return mean


class AdditiveDecoder(Decoder):
    """g(z) = Σ_k curve_k(z_k) + B c + b."""

    config: AdditiveConfig

    def location(self, factors: Array, batch: Batch, training: bool) -> Float[Array, "row asset"]:
        del training
        conditions = covariates_for("decoder" in self.conditioned, batch)
        fan_in = factors.shape[-1] + conditions.shape[-1]
        curves = Curves(self.config.degree, self.n_assets, name="curves")(factors)
        return curves + dense(self.n_assets, fan_in, "mean")(conditions)


def assemble(
    n_factors: int,
    encoder: nn.Module,
    decoder: Decoder,
    first_prior: Callable[[], Any] | None = None,
    turn: Callable[[Variables, Array], Array] = lambda variables, factors: factors,
    **others: Any,
) -> Model:
    """A model of an encoder and a decoder, by default with the prior N(0, I).

    first_prior: gives the parameters that a prior starts with, where it has any.
    turn: what the decoder sees of the factors in use.
    others: what the `Model` has beside them, by its fields.
    """

    def initialise(key: Key[Array, ""], batch: Batch) -> Variables:
        dtype = batch.values.dtype
        mask = jnp.ones(n_factors, dtype)
        factors = jnp.zeros((batch.values.shape[0], n_factors), dtype)
        parts = {
            "encoder": encoder.init(key, batch.values, batch, True),
            "decoder": decoder.init(key, factors, batch, True, jnp.sum(mask)),
        }
        parameters = draw_uniform(key, {name: part["params"] for name, part in parts.items()})
        if first_prior is not None:
            parameters["prior"] = first_prior()
        statistics = {name: part.get("statistics", {}) for name, part in parts.items()}
        return jax.tree.map(
            lambda leaf: leaf.astype(dtype), Variables(parameters, statistics, mask)
        )

    def encode(
        variables: Variables, batch: Batch, training: bool = False
    ) -> tuple[Gaussian, Variables]:
        posterior, variables = _apply(encoder, "encoder", variables, training, batch.values, batch)
        return in_use(variables, posterior), variables

    def decode(
        variables: Variables,
        factors: Float[Array, "row factor"],
        batch: Batch,
        training: bool = False,
    ) -> tuple[Distribution, Variables]:
        mask = variables.factor_mask
        inputs, n_used = turn(variables, factors * mask[None, :]), jnp.sum(mask)
        return _apply(decoder, "decoder", variables, training, inputs, batch, n_used)

    parts = {"prior": standard_normal_prior, **others}
    return Model(n_factors, initialise, encode, decode, **parts)


def _apply(
    module: nn.Module,
    name: str,
    variables: Variables,
    training: bool,
    inputs: Array,
    batch: Batch,
    *others: Array,
) -> tuple[Any, Variables]:
    """Run a module on its own part of the variables; in training, move its statistics."""
    collections = {"params": variables.parameters[name], "statistics": variables.statistics[name]}
    moving = ["statistics"] if training else []
    output: Any
    output, moved = module.apply(collections, inputs, batch, training, *others, mutable=moving)
    if training:
        statistics = {**variables.statistics, name: moved.get("statistics", {})}
        variables = variables._replace(statistics=statistics)
    return output, variables


def covariates_for(conditioned: bool, batch: Batch) -> Float[Array, "row condition"]:
    """The covariates of the rows, none for a part that is not given them."""
    return batch.conditions if conditioned else batch.conditions[:, :0]


def _row_scale(batch: Batch) -> Float[Array, "row 1"]:
    """Root mean square of each row's observed returns, with one cell of 1 added."""
    squares = 1.0 + jnp.sum(batch.observed * batch.values**2, axis=-1, keepdims=True)
    return jnp.sqrt(squares / (1.0 + jnp.sum(batch.observed, axis=-1, keepdims=True)))
