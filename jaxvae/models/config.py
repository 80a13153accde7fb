"""The shape of a VAE: a frozen, validated set of settings."""

from dataclasses import dataclass

from jaxvae.errors import OptionError
from jaxvae.models.memory import Speeds

NORMALISATIONS = ("batch", "layer", "none")
DECODERS = ("perceptron", "additive")
LIKELIHOODS = ("gaussian", "student", "volatility")
NOISES = ("asset", "scalar", "fixed")
CONDITIONED = ("encoder", "decoder", "prior", "noise")
DYNAMICS = ("none", "autoregressive")
ENCODERS = ("perceptron", "smoother", "filter")


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a VAE.

    n_factors: latent factors.
    n_conditions: covariates of each row.
    conditioned: what sees them: "encoder"; "decoder", the mean of returns; "prior", mean and
        log-variance of each factor, linear in the covariates; "noise", its log-variance, linear
        too. Encoder and prior alone make the identifiable VAE of Khemakhem et al. (2020).
    sectors: each asset's sector, counted from 0: the loadings of an additive decoder are then drawn
        around those of their sector (see `sectors.SectorLoadings`). Empty: each asset by itself.
    widths: the encoder's hidden layers, input side first; a perceptron decoder mirrors them. Empty:
        linear.
    normalisation: "batch", "layer" or "none"; as in the notebook, the decoder's first hidden layer
        goes without.
    decoder: "perceptron", or "additive": a sum of one polynomial curve a factor, which fixes the
        axes.
    degree: of each factor's curve in an additive decoder; 1 is linear.
    skip: add a linear map beside the perceptron, x to the posterior mean and z to the decoder mean,
        so that the linear factor model is contained.
    likelihood: "gaussian"; "student": one mixing variable a row scales factors and noise, with
        learned degrees of freedom; or "volatility": the first factor moves the volatility of each
        asset, and the noise of each asset is Student-t with its own degrees of freedom.
    noise: observation variance: "asset" (learned, one an asset), "scalar" (learned, shared) or
        "fixed".
    noise_variance: the fixed variance, or where learning starts, in standard units.
    dynamics: "none", dates independent; or "autoregressive": each factor remembers its past, with a
        linear decoder and Gaussian noise.
    encoder: "perceptron"; or where dates depend on each other "smoother" or "filter", the Kalman
        ones of the model's own parameters: from all dates, or from the past alone.
    memory: how fast a temporal model forgets; it has an encoder and decoder of its own, so that
        widths, normalisation, decoder, degree, skip and noise say nothing, and takes the likelihood
        "volatility". None: dates know nothing of those before.
    masked: the encoder sees which cells are observed beside their values, for panels with missing
        cells.
    """

    n_factors: int = 5
    n_conditions: int = 0
    widths: tuple[int, ...] = (64, 32)
    normalisation: str = "batch"
    decoder: str = "perceptron"
    degree: int = 3
    skip: bool = False
    likelihood: str = "gaussian"
    noise: str = "asset"
    conditioned: tuple[str, ...] = ("encoder", "decoder")
    sectors: tuple[int, ...] = ()
    noise_variance: float = 0.5
    dynamics: str = "none"
    encoder: str = "perceptron"
    memory: Speeds | None = None
    masked: bool = False

    def __post_init__(self) -> None:
        least = 2 if self.likelihood == "volatility" else 1
        if self.n_factors < least:
            raise OptionError("n_factors", f"{self.n_factors} is too small; at least {least}")
        if self.n_conditions < 0:
            raise OptionError("n_conditions", f"{self.n_conditions} is below 0")
        if self.degree < 1:
            raise OptionError("degree", f"{self.degree} is too small; at least 1, which is linear")
        if any(width < 1 for width in self.widths):
            raise OptionError("widths", f"{self.widths} holds a width below 1")
        _require_one_of("normalisation", self.normalisation, NORMALISATIONS)
        _require_one_of("decoder", self.decoder, DECODERS)
        _require_one_of("likelihood", self.likelihood, LIKELIHOODS)
        _require_one_of("noise", self.noise, NOISES)
        if not self.noise_variance > 0:
            raise OptionError("noise_variance", f"{self.noise_variance} is not above 0")
        self._check_conditions()
        self._check_dynamics()
        if self.memory is not None:
            _check_memory(self.memory, self.likelihood)

    def _check_conditions(self) -> None:
        for part in self.conditioned:
            _require_one_of("conditioned", part, CONDITIONED)
        if "prior" in self.conditioned and self.likelihood == "student":
            raise OptionError("conditioned", "'prior' does not go with likelihood student")
        if "noise" in self.conditioned and self.noise == "fixed":
            raise OptionError("conditioned", "'noise' does not go with noise fixed")
        if self.sectors and (self.decoder, self.likelihood) != ("additive", "gaussian"):
            raise OptionError("sectors", "they go with decoder additive and likelihood gaussian")
        if any(sector < 0 for sector in self.sectors):
            raise OptionError("sectors", "count them from 0")

    @property
    def n_sectors(self) -> int:
        return max(self.sectors, default=-1) + 1

    def _check_dynamics(self) -> None:
        _require_one_of("dynamics", self.dynamics, DYNAMICS)
        _require_one_of("encoder", self.encoder, ENCODERS)
        if self.dynamics == "none":
            if self.encoder != "perceptron":
                raise OptionError("encoder", f"{self.encoder!r} needs dynamics 'autoregressive'")
            return
        linear = (self.decoder, self.degree, self.likelihood, self.n_conditions)
        if linear != ("additive", 1, "gaussian", 0):
            raise OptionError(
                "dynamics",
                "'autoregressive' needs an additive decoder of degree 1, a gaussian likelihood and "
                "no conditions",
            )

    @property
    def sees_gaps(self) -> bool:
        """Whether the encoder knows which cells are missing."""
        return self.masked or self.encoder != "perceptron"

    @property
    def linear_gaussian(self) -> bool:
        """Whether x = W z + b + noise, all Gaussian: posteriors are then a K × K solve."""
        additive = self.decoder == "additive" and self.degree == 1
        linear = additive or (self.decoder == "perceptron" and not self.widths)
        certain = self.likelihood == "gaussian" and not self.sectors
        return linear and certain and self.dynamics == "none"


def _require_one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(option, f"{value!r} is not one of {', '.join(choices)}")


def _check_memory(memory: Speeds, likelihood: str) -> None:
    if likelihood != "volatility":
        raise OptionError(
            "likelihood", f"{likelihood!r} does not go with a memory; take volatility"
        )
    if not memory.squares or not all(life > 0 for life in (*memory.squares, memory.products)):
        raise OptionError("memory", f"{memory} holds a half-life that is not above 0, or none")
    if not 0 <= memory.base < len(memory.squares):
        raise OptionError("memory", f"base {memory.base} is no place in {memory.squares}")
