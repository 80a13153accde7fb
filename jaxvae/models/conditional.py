"""Linear decoders that are given covariates of the dates and sectors of the assets."""

import functools
from dataclasses import dataclass, replace

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.errors import OptionError, check_options, option
from jaxvae.models.distributions import Gaussian
from jaxvae.models.linear import with_exact_answers
from jaxvae.models.model import Batch, Facts, Family, Model, Noise, Parameters, Variables
from jaxvae.models.sectors import SectorDecoder, loadings_divergence
from jaxvae.models.static import (
    LARGEST_LOG_VARIANCE,
    NOISES,
    AdditiveConfig,
    AdditiveDecoder,
    Encoder,
    assemble,
)

PARTS = ("encoder", "decoder", "prior", "noise")


@dataclass(frozen=True)
class ConditionalConfig(Family):
    """A linear decoder with Gaussian noise, given covariates and sectors.

    Args:
        n_factors: latent factors.
        widths: the encoder's hidden layers, beside a linear map; none is linear.
        conditioned: what sees the covariates: "encoder"; "decoder", the mean of returns; "prior",
            mean and log-variance of each factor, linear in them; "noise", its log-variance, linear
            too. Encoder and prior alone make the identifiable VAE of Khemakhem et al. (2020).
        n_conditions: covariates of each date.
        sectors: each asset's, counted from 0: loadings are drawn around those of their sector (see
            `sectors.SectorDecoder`). Empty: each asset by itself.
        noise, noise_variance, masked: as in `PerceptronConfig`.

    Raises:
        OptionError: a setting of another type, beyond its limits, or that does not go with another.
    """

    n_factors: int = option(5, "", least=1)
    widths: tuple[int, ...] = option((64, 32), "", least=1)
    conditioned: tuple[str, ...] = option(PARTS, "", choices=PARTS)
    n_conditions: int = option(0, "", least=0)
    sectors: tuple[int, ...] = option((), "", least=0)
    noise: str = option("asset", "", choices=NOISES)
    noise_variance: float = option(0.5, "", above=0.0)
    masked: bool = False

    def __post_init__(self) -> None:
        check_options(self)
        if "noise" in self.conditioned and self.noise == "fixed":
            raise OptionError("conditioned", "'noise' does not go with noise fixed")

    @property
    def n_sectors(self) -> int:
        """How many sectors there are; 0 where each asset is by itself."""
        return max(self.sectors, default=-1) + 1

    def for_panel(
        self, n_conditions: int, sectors: tuple[int, ...], incomplete: bool
    ) -> "ConditionalConfig":
        """The configuration for a panel with covariates, sectors or missing cells.

        Args:
            n_conditions: covariates of each date; 0 for none.
            sectors: each asset's, counted from 0; empty where they are not known.
            incomplete: whether the dates that models are fitted on have missing cells.

        Returns:
            The configuration with these, `masked` where it was or cells are missing.
        """
        masked = self.masked or incomplete
        return replace(self, n_conditions=n_conditions, sectors=sectors, masked=masked)

    def new_model(self, n_assets: int) -> Model:
        """A model as `build` gives it, made anew.

        Args:
            n_assets: of the panel.

        Returns:
            The `Model`.

        Raises:
            OptionError: there are sectors, and not one for each asset.
        """
        if self.sectors and len(self.sectors) != n_assets:
            raise OptionError("sectors", f"{len(self.sectors)} for {n_assets} assets; one for each")
        static = AdditiveConfig(
            self.n_factors,
            self.widths,
            skip=bool(self.widths),
            noise=self.noise,
            noise_variance=self.noise_variance,
            masked=self.masked,
        )
        parts = (n_assets, static, self.conditioned)
        conditional = "prior" in self.conditioned and self.n_conditions > 0
        first = functools.partial(first_prior, self.n_conditions, self.n_factors)
        model = assemble(
            self.n_factors,
            Encoder(static, self.conditioned),
            SectorDecoder(*parts, self.sectors) if self.sectors else AdditiveDecoder(*parts),
            first if conditional else None,
            facts=Facts(
                linear=True,
                conditioned=self.conditioned,
                n_sectors=self.n_sectors,
                noise=Noise(self.noise, self.noise_variance),
            ),
        )
        model = model._replace(prior=conditional_prior) if conditional else model
        if not self.sectors:
            return with_exact_answers(model)

        def complexity(variables: Variables) -> Float[Array, ""]:
            return loadings_divergence(variables.parameters["decoder"]["curves"], self.sectors)

        return model._replace(complexity=complexity)


def first_prior(n_conditions: int, n_factors: int) -> Parameters:
    """The slopes of `conditional_prior`, all 0: N(0, I) on every date."""
    return {
        name: jnp.zeros((n_conditions, n_factors), jnp.float32) for name in ("mean", "log_variance")
    }


def conditional_prior(
    variables: Variables, factors: Float[Array, "row factor"], batch: Batch
) -> Gaussian:
    """p(z | c) = N(A c, diag exp(B c)) with learned slopes A and B.

    Without intercepts: conditions are centred, so a typical date has N(0, I), and what scale and
    place a factor has is in the decoder alone. Factors whose variances move differently with the
    conditions are identified up to order, sign and scale, where N(0, I) leaves any rotation free
    (Khemakhem et al. 2020; for linear decoders, as non-stationary variances in Matsuoka et al.
    1995).
    """
    slopes = variables.parameters["prior"]
    log_variance = batch.conditions @ slopes["log_variance"]
    bounded = jnp.clip(log_variance, -LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)
    return Gaussian(batch.conditions @ slopes["mean"], bounded)
