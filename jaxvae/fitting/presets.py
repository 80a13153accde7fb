"""Named models: each with its training, Adam's learning rate, and what to know of it to choose it.

Networks beside the notebook's contain the linear factor model. Their settings were chosen on
validation dates, of other draws of the synthetic panels than the ones that are reported; those of
`static` over linear, nonlinear and real panels by experiments/defaults.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from jaxvae.errors import OptionError, check_option, part_name, shown
from jaxvae.models import Family, Model, OwnModel
from jaxvae.models.autoregressive import AutoregressiveConfig
from jaxvae.models.conditional import ConditionalConfig
from jaxvae.models.static import AdditiveConfig, PerceptronConfig
from jaxvae.models.temporal import TemporalConfig
from jaxvae.training.config import TrainConfig

ALL_ROWS = 2**31 - 1  # a batch never exceeds the training rows


class Preset(NamedTuple):
    """A model and how it is trained.

    model: the family's configuration. train: its training. learning_rate: Adam's.
    meaning: what it is, in a few words.
    rank: of simplicity, from 0; of two that are level the simpler is preferred.
    races: whether it is among the families that a study chooses from. Those whose likelihoods are
        given the dates before, and so answer another question, are not.
    needs_context: whether it takes a panel's covariates and sectors, and needs one of them.
    kind: of a panel whose validation dates it wins; use: what that means for who uses the study.
    axes: what its likelihood says of the factors' axes, a key of `report.words.AXES`.
    seeds, betas: of a study's grid; fewer of a model that takes long.
    tile_width: members at once on each device of a CPU; None for the usual number. Fewer of a model
        whose rows are large, so that a cache holds a step, or of few seeds, whose refits would
        leave most places of a tile empty.
    """

    model: Family
    train: TrainConfig
    learning_rate: float
    rank: int
    meaning: str
    races: bool = True
    needs_context: bool = False
    kind: str = ""
    use: str = ""
    axes: str = ""
    seeds: int = 8
    betas: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    tile_width: int | None = None


LARGE_MOVES = (
    "Loadings hold for small moves, and no covariance shows the bend: take large moves from "
    "scenarios."
)
PRESETS = {
    # The summed squared error is, but for a constant, the likelihood of noise of variance ½.
    "notebook": Preset(
        PerceptronConfig(noise="fixed", noise_variance=0.5),
        TrainConfig(epochs=200, warmup_epochs=50, reduction="sum", patience=None),
        learning_rate=1e-3,
        rank=8,
        meaning="the notebook's own perceptrons",
        races=False,
        axes="free",
    ),
    "static": Preset(
        PerceptronConfig(),
        TrainConfig(epochs=200, warmup_epochs=50, weight_decay=0.1),
        learning_rate=1e-2,
        rank=6,
        meaning="perceptrons encode and decode; factors may act together",
        kind="Bent: returns bend with factors that act together",
        use=LARGE_MOVES,
        axes="free",
    ),
    # The posterior's mean is linear, and the likelihood is that of a factor analysis, which no
    # early stopping holds back either.
    "linear": Preset(
        AdditiveConfig(degree=1, widths=(), skip=False),
        TrainConfig(epochs=500, warmup_epochs=0, patience=None),
        learning_rate=3e-2,
        rank=0,
        meaning="linear in the factors, as a factor analysis",
        kind="Linear: returns are linear in the factors, nothing bends",
        use="Loadings and covariance say all there is to say, as those of factor analysis do.",
        axes="convention",
    ),
    # Factors come into use one at a time.
    "additive": Preset(
        AdditiveConfig(degree=3),
        TrainConfig(epochs=800, warmup_epochs=0, curriculum_epochs=500, patience=None),
        learning_rate=1e-2,
        rank=4,
        meaning="a curve a factor",
        kind="Bent: returns are curves of the factors",
        use=LARGE_MOVES,
        axes="curves",
    ),
    # The posterior's mean is linear in the row divided by its own scale.
    "student": Preset(
        AdditiveConfig(degree=1, widths=(), skip=False, likelihood="student"),
        TrainConfig(epochs=400, warmup_epochs=20),
        learning_rate=2e-2,
        rank=1,
        meaning="linear, with dates that are wild for all assets at once",
        kind="Heavy-tailed: linear in the factors, and some dates are wild for all assets at once",
        use="The covariance holds on average; losses in the tail exceed a normal's, so take them "
        "from scenarios.",
        axes="convention",
    ),
    "volatility": Preset(
        AdditiveConfig(degree=1, likelihood="volatility"),
        TrainConfig(epochs=400, warmup_epochs=20),
        learning_rate=1e-2,
        rank=3,
        meaning="linear, with a volatility that all share and wild dates of each asset",
        kind="Volatile: all assets share a volatility that moves, and each has wild dates of its "
        "own",
        use="The covariance is a mean over calm and wild dates; take tails from scenarios.",
        axes="volatility",
        seeds=4,
        betas=(0.5, 1.0, 2.0),
        tile_width=2,
    ),
    "conditional": Preset(
        ConditionalConfig(),
        TrainConfig(epochs=400, warmup_epochs=20),
        learning_rate=1e-2,
        rank=5,
        meaning="linear, given a date's covariates and sectors",
        needs_context=True,
        kind="Conditional: what is known of a date says how its factors move",
        use="Covariance and scenarios are averages over what was known of the dates; ask for "
        "scenarios under what you assume.",
        axes="conditions",
    ),
    # Full batches and an objective without noise bear a larger learning rate.
    "autoregressive": Preset(
        AutoregressiveConfig(),
        TrainConfig(epochs=400, warmup_epochs=0, batch_size=ALL_ROWS, patience=None),
        learning_rate=2e-2,
        rank=2,
        meaning="linear, with factors that remember: a Kalman filter",
        races=False,
        axes="memory",
    ),
    "temporal": Preset(
        TemporalConfig(),
        TrainConfig(epochs=30, batch_size=128, warmup_epochs=0, weight_decay=2.0),
        learning_rate=1e-2,
        rank=7,
        meaning="forecasts each date from those before it",
        races=False,
        axes="variances",
        seeds=4,
        betas=(0.5, 1.0, 2.0),
        tile_width=2,
    ),
}
# Windows of a walk have few rows, on which stopping early steadies a covariance.
WINDOWS = {
    "linear": PRESETS["linear"]._replace(
        train=TrainConfig(epochs=300, warmup_epochs=0), learning_rate=2e-2
    ),
    **{name: PRESETS[name] for name in ("student", "static", "additive", "volatility", "temporal")},
}
MODELS = tuple(name for name in PRESETS if name != "notebook")
# The family of a preset that is no model of its own.
MODEL_OF: dict[str | None, str] = {"notebook": "static"}


def make_preset(
    model: Any,
    *,
    n_factors: int | None = None,
    epochs: int | None = None,
    train: TrainConfig | None = None,
    presets: Mapping[str, Preset] = PRESETS,
) -> Preset:
    """A model and its training with what is asked for.

    Args:
        model: a preset's name; or a model of the caller's own, trained as `static` is: a family's
            configuration, a `Model` of the panel's assets, or what makes one for a number of
            assets: a function, or an object with a method `build`.
        n_factors: latent factors of a preset, None for its own; a caller's own model has its own.
        epochs: instead of the preset's; β then warms up over a quarter of them at most, and factors
            come into use in the same share of them.
        train: in place of the preset's.
        presets: by their names.

    Raises:
        OptionError: no such preset, or settings that do not go together.
    """
    if not isinstance(model, str):
        preset = PRESETS["static"]._replace(model=family_of(model), axes="")
    else:
        preset = presets[check_option("model", model, str, choices=presets)]
        if n_factors is not None:
            family: Any = preset.model
            preset = preset._replace(model=replace(family, n_factors=n_factors))
    return preset._replace(train=_in_epochs(preset.train if train is None else train, epochs))


def family_of(model: Any) -> Family:
    """The family of a model that is given as such, or as what makes it for a number of assets.

    Raises:
        OptionError: it makes no model.
    """
    if isinstance(model, Family):
        return model
    make = getattr(model, "build", model)
    if not (isinstance(make, Model) or callable(make)):
        raise OptionError("model", f"{shown(model)} makes no model; give a name, or what makes one")
    return OwnModel(make)


def model_name(model: Any) -> str:
    """What tables and reports call a model that `make_preset` takes."""
    return model if isinstance(model, str) else part_name(model)


def _in_epochs(train: TrainConfig, epochs: int | None) -> TrainConfig:
    """The training in another number of epochs."""
    if epochs is None:
        return train
    warmup = min(train.warmup_epochs, epochs // 4)
    curriculum = train.curriculum_epochs * epochs // train.epochs
    return replace(train, epochs=epochs, warmup_epochs=warmup, curriculum_epochs=curriculum)
