"""Named settings: the notebook's, bit-honest to it, and the default that the evidence chose."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

from jaxvae.errors import Option, OptionError
from jaxvae.models import ModelConfig, build
from jaxvae.models.memory import Speeds
from jaxvae.models.model import Model
from jaxvae.training.state import Losses, TrainConfig


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

# Networks that contain the linear factor model, for `model`: what each changes of the preset's
# network and of its training. Chosen on validation dates, of other draws of the synthetic panels
# than the ones that are reported.
SHAPES: dict[str, dict[str, Any]] = {
    "static": {},
    "linear": {"decoder": "additive", "degree": 1},
    "additive": {"decoder": "additive", "degree": 3},
    "student": {"decoder": "additive", "degree": 1, "likelihood": "student"},
    "volatility": {"decoder": "additive", "degree": 1, "likelihood": "volatility"},
    "conditional": {
        "decoder": "additive",
        "degree": 1,
        "conditioned": ("encoder", "decoder", "prior", "noise"),
    },
    "autoregressive": {
        "decoder": "additive",
        "degree": 1,
        "dynamics": "autoregressive",
        "encoder": "smoother",
    },
    "temporal": {
        "likelihood": "volatility",
        "memory": Speeds(squares=(1.0, 5.0, 20.0, 60.0, 250.0), base=3, products=70.0),
    },
}
ADDITIVE: dict[str, Any] = {"widths": (64, 32), "normalisation": "none", "skip": True}
ALL_ROWS = 2**31 - 1  # a batch never exceeds the training rows
TRAINING: dict[str, dict[str, Any]] = {
    "linear": {"epochs": 300, "warmup_epochs": 0},
    "additive": {"epochs": 800, "unfold_epochs": 500, "warmup_epochs": 0, "patience": None},
    "student": {"epochs": 400, "warmup_epochs": 20},
    "volatility": {"epochs": 400, "warmup_epochs": 20},
    "conditional": {"epochs": 400, "warmup_epochs": 20},
    "autoregressive": {
        "epochs": 400,
        "warmup_epochs": 0,
        "batch_size": ALL_ROWS,
        "patience": None,
    },
    "temporal": {"epochs": 30, "batch_size": 128, "warmup_epochs": 0, "weight_decay": 2.0},
}
# Full batches and an objective without noise bear a larger one.
LEARNING_RATES = {"autoregressive": 2e-2}
# Models that take a panel's covariates as conditions and its sectors for their loadings.
CONDITIONAL = ("conditional",)
PRESETS = {"default": DEFAULT, "notebook": NOTEBOOK}
MODELS = tuple(SHAPES)


def make_preset(
    name: str,
    *,
    n_factors: int,
    epochs: int | None = None,
    model: str = "static",
    warmup: int | None = None,
    capacity: float | None = None,
    free_bits: float | None = None,
) -> Preset:
    """The preset of a name with the number of factors, the epochs and the model asked for.

    epochs: instead of the model's; β then warms up over a quarter of them at most, and factors
        unfold in the same share of them.
    model: "static" is the preset's perceptrons. The others train without weight decay, save the
        last: "linear" decodes linearly; "additive" a sum of one cubic curve a factor, factors
        coming into use one at a time; "student" and "volatility" linearly with the likelihoods of
        these names; "conditional" linearly, told of a panel's covariates and sectors;
        "autoregressive" linearly, and its factors remember their past; "temporal" forecasts each
        date from those before (`models.temporal`).
    warmup, capacity, free_bits: epochs of KL warm-up, and nats, as `TrainConfig` has them, in place
        of the preset's; a capacity rises over half of the epochs, without warm-up unless asked for.
    """
    if name not in PRESETS:
        raise OptionError("preset", f"{name!r} is not one of {', '.join(PRESETS)}")
    if model not in MODELS:
        raise OptionError("model", f"{model!r} is not one of {', '.join(MODELS)}")
    if name == "notebook" and model != "static":
        raise OptionError(
            "model",
            f"{model!r} does not go with ",
            Option("preset", "notebook"),
            ", which is static",
        )
    preset, changes = PRESETS[name], SHAPES[model]
    shape, train = replace(preset.model, n_factors=n_factors), preset.train
    if model in TRAINING:
        shape = replace(shape, **ADDITIVE)
        train = replace(train, **{"weight_decay": 0.0, **TRAINING[model]})
    shape = replace(shape, **changes)
    train = train if epochs is None else _shortened(train, epochs)
    charged = _charged(train, model, warmup, capacity, free_bits)
    return Preset(shape, charged, LEARNING_RATES.get(model, preset.learning_rate))


def _charged(
    train: TrainConfig,
    model: str,
    warmup: int | None,
    capacity: float | None,
    free_bits: float | None,
) -> TrainConfig:
    """The training with its KL charged as asked for."""
    asked = {"warmup": warmup, "capacity": capacity, "free_bits": free_bits}
    for option, value in asked.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise OptionError(option, f"{value} must be finite and not negative")
    if warmup is not None and warmup > train.epochs:
        raise OptionError("warmup", f"{warmup} exceeds the {train.epochs} epochs")
    if capacity is not None and free_bits is not None:
        raise OptionError(
            "capacity", "leave it or ", Option("free_bits"), " out: both say what the KL costs"
        )
    if free_bits and SHAPES[model].get("likelihood") == "student":
        raise OptionError(
            "free_bits", "does not go with ", Option("model", model), ", whose prior is no normal"
        )
    if capacity is not None:
        train = replace(
            train, capacity=capacity, capacity_epochs=train.epochs // 2, warmup_epochs=0
        )
    warmup = train.warmup_epochs if warmup is None else warmup
    return replace(train, warmup_epochs=warmup, free_bits=free_bits or train.free_bits)


def _shortened(train: TrainConfig, epochs: int) -> TrainConfig:
    """The training in another number of epochs."""
    warmup = min(train.warmup_epochs, epochs // 4)
    unfold = train.unfold_epochs * epochs // train.epochs
    return replace(train, epochs=epochs, warmup_epochs=warmup, unfold_epochs=unfold)


def build_model(preset: Preset, n_assets: int) -> Model:
    """The preset's model for a number of assets."""
    return build(preset.model, n_assets)


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
