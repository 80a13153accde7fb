"""The settings of a study: a frozen, validated set."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

import jax
import pandas as pd

from jaxvae.data import as_panel
from jaxvae.data.panel import Panel
from jaxvae.errors import (
    LARGEST_SEED,
    AnyConfig,
    Option,
    OptionError,
    check_option,
    check_options,
    either,
    option,
    settings_of,
    show_settings,
)
from jaxvae.fitting.presets import MODEL_OF, MODELS, PRESETS, Preset, make_preset, model_name
from jaxvae.inference.importance import LIKELIHOOD_SAMPLES
from jaxvae.models import describe_family
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import check_grid
from jaxvae.training.tiles import TILE_WIDTHS, WIDE

_NARROW = " and ".join(name for name, preset in PRESETS.items() if preset.tile_width == 2)
TILE_WIDTH_WORDS = f"{TILE_WIDTHS['cpu']} on a CPU, 2 of {_NARROW}, {WIDE} elsewhere"
AUTO: Final = "auto"  # the study chooses (`selection`)
MOST_SEEDS = 100_000
MOST_EPOCHS = 1_000_000
MOST_WIDTH = 1_000_000
# What models have where nothing is asked for, in the words of `--help`.
BY_MODEL = "the model's own"
OWN_SEEDS = sorted({str(preset.seeds) for preset in PRESETS.values()})
OWN_BETAS = sorted({" ".join(f"{beta:g}" for beta in p.betas) for p in PRESETS.values()})


@dataclass(frozen=True, repr=False)
class StudyConfig:
    """The grid of members that a study trains, its model, and how it is scored.

    Args:
        seeds: how many at each beta, numbered from 0; None for the model's own number, 8 of most.
        betas: weights of the KL term; None for the model's own.
        n_factors: latent factors; "auto" for as many as validation dates have use for, or as a
            model of one's own has.
        model: name of a preset (`fitting.presets`); "auto" for the one that validation dates are
            likeliest under; or a model of one's own: a family's configuration, a `Model` of the
            panel's assets, or what makes one for a number of assets, a function or an object with a
            method `build`.
        epochs: the most passes over the training rows; None for the model's own.
        root_seed: every random number of the study comes from it.
        likelihood_samples: importance samples a date for log p(x).
        tile_width: members at once on each device, None for what suits it; floats may differ in the
            last place between widths.
        preset: "notebook" for the settings of the notebook, bit by bit, which are of the model
            `static` with 5 factors; else None.
        warmup: epochs over which β rises from 0; None for the model's own.
        capacity: nats a date at which the KL is held (see `TrainConfig`).
        free_bits: nats a date that each factor may carry without charge (see `TrainConfig`).
        train: in place of the model's own training; None for that.
        learning_rate: in place of the model's own; None for that.

    Raises:
        OptionError: a setting of another type, beyond its limits, or that does not go with another.
    """

    seeds: int | None = option(
        None,
        "number of seeds at each β",
        otherwise=f"the model's own, {either(OWN_SEEDS)}",
        least=1,
        most=MOST_SEEDS,
    )
    betas: tuple[float, ...] | None = option(
        None,
        "weights β of the KL term, each trained with every seed",
        otherwise=f"the model's own, {either(OWN_BETAS)}",
        least=0,
    )
    n_factors: int | Literal["auto"] = option(
        AUTO,
        "number of latent factors, or as many as validation dates have use for",
        flag="factors",
        metavar="K",
        least=1,
        choices=(AUTO,),
    )
    model: str | object = option(AUTO, "model to fit", choices=(AUTO, *MODELS))
    epochs: int | None = option(
        None,
        "most passes over the training dates",
        otherwise=BY_MODEL,
        least=1,
        most=MOST_EPOCHS,
    )
    root_seed: int = option(
        0, "root of all random numbers", flag="seed", metavar="S", least=0, most=LARGEST_SEED
    )
    likelihood_samples: int = option(LIKELIHOOD_SAMPLES, "", least=8)
    tile_width: int | None = option(
        None,
        "number of members that a device trains at once",
        otherwise=TILE_WIDTH_WORDS,
        least=1,
        most=MOST_WIDTH,
    )
    preset: Literal["notebook"] | None = option(
        None, "settings to take as a whole", otherwise="none", choices=("notebook",)
    )
    warmup: int | None = option(
        None, "epochs over which β rises from 0", otherwise=BY_MODEL, least=0, most=MOST_EPOCHS
    )
    capacity: float | None = option(
        None,
        "nats a date at which the KL is held, at the cost of β |KL - C|",
        otherwise="the KL costs β KL",
        least=0,
    )
    free_bits: float | None = option(
        None, "nats a date that each factor may carry at no cost", otherwise=BY_MODEL, least=0
    )
    train: TrainConfig | None = option(None, "")
    learning_rate: float | None = option(None, "", above=0)

    __repr__ = show_settings

    def __post_init__(self) -> None:
        check_options(self)
        for preset in presets_of(self).values():
            check_grid(range(preset.seeds), preset.betas)


class StudySettings(TypedDict, total=False):
    """The fields of `StudyConfig`, for type checkers, of a function that takes them by keyword."""

    seeds: int | None
    betas: tuple[float, ...] | None
    n_factors: int | Literal["auto"]
    model: str | object
    epochs: int | None
    root_seed: int
    likelihood_samples: int
    tile_width: int | None
    preset: Literal["notebook"] | None
    warmup: int | None
    capacity: float | None
    free_bits: float | None
    train: TrainConfig | None
    learning_rate: float | None


def presets_of(config: StudyConfig) -> dict[str, Preset]:
    """The models that may be fitted, by their names, with what the configuration changes of them:
    the one asked for; or those that a study chooses from and that the other settings go with.

    Raises:
        OptionError: they go with none.
    """
    if config.preset is not None or config.model != AUTO:
        return {model_name(config.model): preset_of(config)}
    found, errors = {}, []
    for name in (name for name, preset in PRESETS.items() if preset.races):
        try:
            found[name] = preset_of(replace(config, model=name))
        except OptionError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found


def preset_of(config: StudyConfig) -> Preset:
    """The model that is asked for and its training, with what the configuration changes of them;
    with as many factors as the preset has where none are asked for."""
    if config.preset is not None and config.model not in (AUTO, MODEL_OF[config.preset]):
        raise OptionError(
            "model",
            f"{config.model!r} does not go with ",
            Option("preset", config.preset),
            f", which is {MODEL_OF[config.preset]}",
        )
    n_factors = None if isinstance(config.n_factors, str) else config.n_factors
    name = config.preset or config.model
    preset = make_preset(name, n_factors=n_factors, epochs=config.epochs, train=config.train)
    own = {name: getattr(config, name) for name in ("learning_rate", "seeds", "betas")}
    return preset._replace(train=_with_charges(preset.train, config), **_given(own))


def tile_width_of(config: StudyConfig) -> int | None:
    """Members at once on each device: as asked for, or on a CPU what suits the model; None for what
    suits the device. Models that a study chooses from have no number of their own."""
    given = config.tile_width is not None or config.model == AUTO
    if given or jax.default_backend() != "cpu":
        return config.tile_width
    return preset_of(config).tile_width


def _with_charges(train: TrainConfig, config: StudyConfig) -> TrainConfig:
    """The training with its KL charged as asked for; a capacity rises over half of the epochs,
    without warm-up unless that is asked for."""
    warmup, capacity = config.warmup, config.capacity
    if warmup is not None and warmup > train.epochs:
        raise OptionError("warmup", f"{warmup} exceeds the {train.epochs} epochs")
    if capacity is not None:
        rise = train.epochs // 2
        train = replace(train, capacity=capacity, capacity_epochs=rise, warmup_epochs=0)
    return replace(train, **_given({"warmup_epochs": warmup, "free_bits": config.free_bits}))


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    """Those that are asked for."""
    return {name: value for name, value in settings.items() if value is not None}


def read_input(
    of: type[AnyConfig],
    panel: Panel | pd.DataFrame | str | Path,
    config: AnyConfig | None,
    settings: Mapping[str, Any],
    **known: Any,
) -> tuple[Panel, AnyConfig]:
    """The panel and the settings that a study or a walk is asked for, checked.

    Args:
        of: the class of the settings.
        panel, known: as `as_panel` takes them; covariates only beside a `StudyConfig`.
        config, settings: as `settings_of` takes them.

    Raises:
        DataError, OptionError, TypeError: as these do, and `check_covariates`.
    """
    made: Any = settings_of(of, config, settings)
    if known.get("covariates") is not None:
        check_covariates(made.preset or made.model)
    return as_panel(panel, for_fitting=True, **known), made


def check_covariates(model: str | object) -> None:
    """OptionError where covariates are given to a model of the package that takes none.

    Args:
        model: the name of a preset, "auto", or a caller's own, which is not asked.
    """
    informed = [AUTO, *(name for name, preset in PRESETS.items() if preset.needs_context)]
    if isinstance(model, str) and model not in informed:
        raise OptionError(
            "covariates", "they go with ", Option("model", *informed), "; leave them out, or add it"
        )


def recorded(config: StudyConfig) -> dict[str, Any]:
    """The settings as numbers and texts, what a caller's own parts are called included."""
    settings: dict[str, Any] = {one.name: getattr(config, one.name) for one in fields(config)}
    if settings["model"] not in (AUTO, *MODELS):
        settings["model"] = describe_family(preset_of(config).model)
    if config.train is not None:
        settings["train"] = config.train.record()
    return settings


def check_seed(seed: int) -> None:
    """OptionError unless the seed of what is drawn fits in 32 bits."""
    check_option("seed", seed, least=0, most=LARGEST_SEED)
