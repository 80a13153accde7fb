"""The settings of a walk: a frozen, validated set."""

import math
from dataclasses import dataclass, replace
from typing import TypedDict

from jaxvae.errors import OptionError, check_options, like, option, show_settings
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.presets import WINDOWS, Preset, make_preset
from jaxvae.training.ensemble import check_grid

_LEAST_WINDOW, _LEAST_SHARED = 20, 9


@dataclass(frozen=True, repr=False)
class WalkConfig:
    """How a panel is cut into windows, and the ensemble of each.

    Args:
        window: dates of a window, of the first one where they expand.
        step: dates from a window's end to the next one's, on which it is judged and its portfolio
            held.
        expanding: windows all begin with the first date, instead of rolling.
        seeds: how many at each beta, numbered from 0; the ensemble of a window is the equal mixture
            over seeds and betas.
        betas: weights of the KL term.
        n_factors: latent factors.
        model: name of the family (`fitting.presets`).
        epochs: the most passes over a window's rows; None for the model's own.
        baseline_factors: of the PCA and factor analysis whose portfolios stand beside the
            ensemble's.
        root_seed: every random number comes from it.
        tile_width: members at once on each device; None for what suits it.

    Raises:
        OptionError: a setting of another type, beyond its limits, or that does not go with another.
    """

    window: int = option(252, "number of dates of a window", least=_LEAST_WINDOW)
    step: int = option(
        21, "number of dates from a window's end to the next one's, on which it is judged", least=1
    )
    expanding: bool = option(
        False, "windows that all begin with the first date, in place of rolling ones"
    )
    seeds: int = like(StudyConfig, "seeds", 2)
    betas: tuple[float, ...] = like(StudyConfig, "betas", (0.5, 1.0, 2.0, 4.0, 8.0))
    n_factors: int = like(StudyConfig, "n_factors", 5, "number of latent factors", choices=())
    model: str = like(StudyConfig, "model", "linear", choices=tuple(WINDOWS))
    epochs: int | None = like(StudyConfig, "epochs", None)
    baseline_factors: int = option(3, "", least=1)
    root_seed: int = like(StudyConfig, "root_seed", 0)
    tile_width: int | None = like(StudyConfig, "tile_width", None)

    __repr__ = show_settings

    def __post_init__(self) -> None:
        check_options(self)
        if self.step > self.window - _LEAST_SHARED:
            raise OptionError(
                "step",
                f"{self.step} leaves consecutive windows of {self.window} dates fewer than "
                f"{_LEAST_SHARED} in common; at most {self.window - _LEAST_SHARED}",
            )
        check_grid(range(self.seeds), self.betas)
        self.preset()

    def preset(self) -> Preset:
        """The model's shape and training for windows.

        Returns:
            The `Preset`: the family's configuration, its training and its learning rate.
        """
        made = make_preset(
            self.model, n_factors=self.n_factors, epochs=self.epochs, presets=WINDOWS
        )
        return for_windows(made, self.window)


class WalkSettings(TypedDict, total=False):
    """The fields of `WalkConfig`, for type checkers, of a function that takes them by keyword."""

    window: int
    step: int
    expanding: bool
    seeds: int
    betas: tuple[float, ...]
    n_factors: int
    model: str
    epochs: int | None
    baseline_factors: int
    root_seed: int
    tile_width: int | None


def for_windows(preset: Preset, window: int) -> Preset:
    """A preset for members that train through, without validation dates, on few rows.

    Short windows get smaller batches, so that an epoch has about four of them at least.
    """
    batch_size = min(preset.train.batch_size, 8 * math.ceil(window / 32))
    return preset._replace(train=replace(preset.train, batch_size=batch_size, patience=None))
