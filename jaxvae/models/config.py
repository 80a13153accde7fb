"""The shape of a VAE: a frozen, validated set of settings."""

from dataclasses import dataclass

from jaxvae.errors import OptionError

NORMALISATIONS = ("batch", "layer", "none")
DECODERS = ("perceptron", "additive")
LIKELIHOODS = ("gaussian", "student")
NOISES = ("asset", "scalar", "fixed")


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a VAE.

    n_factors: latent factors.
    n_conditions: covariates of each row that encoder and decoder see.
    widths: the encoder's hidden layers, input side first; a perceptron decoder mirrors them. Empty:
        linear.
    normalisation: "batch", "layer" or "none"; as in the notebook, the decoder's first hidden layer
        goes without.
    decoder: "perceptron", or "additive": a sum of one curve a factor, which has no rotation.
    curve_width: hidden units of each factor's curve in an additive decoder.
    skip: add a linear map beside the network, x to the posterior mean and z to the decoder mean, so
        that the linear factor model is contained.
    likelihood: "gaussian", or "student": one mixing variable a row scales factors and noise, with
        learned degrees of freedom.
    noise: observation variance: "asset" (learned, one an asset), "scalar" (learned, shared) or
        "fixed".
    noise_variance: the fixed variance, or where learning starts, in standard units.
    """

    n_factors: int = 5
    n_conditions: int = 0
    widths: tuple[int, ...] = (64, 32)
    normalisation: str = "batch"
    decoder: str = "perceptron"
    curve_width: int = 8
    skip: bool = False
    likelihood: str = "gaussian"
    noise: str = "asset"
    noise_variance: float = 0.5

    def __post_init__(self) -> None:
        if self.n_factors < 1:
            raise OptionError(f"factors: {self.n_factors} is too few; ask for at least 1")
        if self.n_conditions < 0 or self.curve_width < 1:
            raise OptionError("n_conditions must be at least 0, curve_width at least 1")
        if any(width < 1 for width in self.widths):
            raise OptionError(f"widths: {self.widths} holds a width below 1")
        _require_one_of("normalisation", self.normalisation, NORMALISATIONS)
        _require_one_of("decoder", self.decoder, DECODERS)
        _require_one_of("likelihood", self.likelihood, LIKELIHOODS)
        _require_one_of("noise", self.noise, NOISES)
        if not self.noise_variance > 0:
            raise OptionError(f"noise_variance: {self.noise_variance} is not above 0")


def _require_one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{option}: {value!r} is not one of {', '.join(choices)}")
