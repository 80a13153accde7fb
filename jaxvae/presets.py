"""Named settings: the notebook's, bit-honest to it, and the default that the evidence chose."""

import math
from dataclasses import replace
from typing import NamedTuple

from jaxvae.errors import OptionError
from jaxvae.models import ModelConfig, static_vae
from jaxvae.models.base import Model
from jaxvae.state import Losses, TrainConfig


class Preset(NamedTuple):
    """A model's shape, its training, and Adam's learning rate."""

    model: ModelConfig
    train: TrainConfig
    learning_rate: float


# The summed squared error is, but for a constant, the likelihood of noise of variance ½.
NOTEBOOK = Preset(
    ModelConfig(widths=(64, 32), normalisation="batch", noise="fixed", noise_variance=0.5),
    TrainConfig(
        epochs=200,
        batch_size=64,
        warmup_epochs=50,
        schedule="cosine",
        clip_norm=1.0,
        reduction="sum",
        patience=None,
    ),
    learning_rate=1e-3,
)

# Chosen on validation over linear, nonlinear and real panels by experiments/defaults.py.
DEFAULT = Preset(
    ModelConfig(widths=(64, 32), normalisation="batch", noise="asset"),
    TrainConfig(weight_decay=0.1),
    learning_rate=1e-2,
)

PRESETS = {"default": DEFAULT, "notebook": NOTEBOOK}
MODELS = ("static", "linear")


def make_preset(
    name: str, *, n_factors: int, epochs: int | None = None, model: str = "static"
) -> Preset:
    """The preset of a name with the number of factors, the epochs and the model asked for.

    epochs: instead of the preset's; β then warms up over a quarter of them at most.
    model: "static" is the preset's perceptrons; "linear" drops their hidden layers.
    """
    if name not in PRESETS:
        raise OptionError(f"--preset: {name!r} is not one of {', '.join(PRESETS)}")
    if model not in MODELS:
        raise OptionError(f"--model: {model!r} is not one of {', '.join(MODELS)}")
    preset = PRESETS[name]
    shape = replace(preset.model, n_factors=n_factors)
    if model == "linear":
        shape = replace(shape, widths=(), normalisation="none", skip=False)
    train = preset.train
    if epochs is not None:
        warmup = min(train.warmup_epochs, epochs // 4)
        train = replace(train, epochs=epochs, warmup_epochs=warmup)
    return Preset(shape, train, preset.learning_rate)


def build_model(preset: Preset, n_assets: int) -> Model:
    """The preset's model for a number of assets."""
    return static_vae(preset.model, n_assets)


def notebook_losses(losses: Losses, n_rows: int, n_batches: int, n_assets: int) -> Losses:
    """The notebook's figures from its preset's: a mean batch sum without the Gaussian's constant;
    the validation objective, nats a row before, becomes a batch's sum too.

    ½ log(2π·½) a cell stands between the summed squared error and the negative log-likelihood.
    """
    constant = 0.5 * math.log(math.pi) * n_assets * n_rows / n_batches
    return losses._replace(
        total=losses.total - constant,
        reconstruction=losses.reconstruction - constant,
        validation=losses.validation * n_rows / n_batches - constant,
    )
