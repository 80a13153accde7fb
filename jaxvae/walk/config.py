"""The settings of a walk: a frozen, validated set."""

from dataclasses import dataclass

from jaxvae.errors import OptionError
from jaxvae.study.fit import check_root_seed
from jaxvae.study.presets import Preset, make_preset
from jaxvae.training.ensemble import check_grid
from jaxvae.walk.members import for_windows

MODELS = ("linear", "student", "static", "additive", "volatility")
BETAS = (0.5, 1.0, 2.0, 4.0, 8.0)
LEAST_WINDOW, LEAST_SHARED = 20, 9


@dataclass(frozen=True)
class WalkConfig:
    """What to walk with.

    window: dates of a window, of the first one where they expand. step: dates from a window's end
        to the next one's, on which it is judged and its portfolio held.
    expanding: windows all begin with the first date, instead of rolling.
    seeds: how many, 0 … seeds-1. betas: weights of the KL term; the ensemble of a window is the
        equal mixture over seeds and betas.
    n_factors: latent factors. model, epochs: as `presets.make_preset` takes them.
    baseline_factors: of the PCA and factor analysis whose portfolios stand beside the ensemble's.
    root_seed: every random number comes from it.
    tile_width: members at once on each device; by default what suits it.
    """

    window: int = 252
    step: int = 21
    expanding: bool = False
    seeds: int = 2
    betas: tuple[float, ...] = BETAS
    n_factors: int = 5
    model: str = "linear"
    epochs: int | None = None
    baseline_factors: int = 3
    root_seed: int = 0
    tile_width: int | None = None

    def __post_init__(self) -> None:
        for option, value, least in (
            ("--window", self.window, LEAST_WINDOW),
            ("--step", self.step, 1),
            ("--seeds", self.seeds, 1),
            ("--factors", self.n_factors, 1),
            ("baseline_factors", self.baseline_factors, 1),
            ("--tile-width", 1 if self.tile_width is None else self.tile_width, 1),
        ):
            if value < least:
                raise OptionError(f"{option}: {value} is too few; at least {least}")
        if self.step > self.window - LEAST_SHARED:
            raise OptionError(
                f"--step: {self.step} leaves consecutive windows of {self.window} dates fewer than "
                f"{LEAST_SHARED} in common; at most {self.window - LEAST_SHARED}"
            )
        if self.model not in MODELS:
            raise OptionError(f"--model: {self.model!r} is not one of {', '.join(MODELS)}")
        check_root_seed(self.root_seed)
        check_grid(range(self.seeds), self.betas)
        self.preset()

    def preset(self) -> Preset:
        """The model's shape and training for windows."""
        made = make_preset(
            "default", n_factors=self.n_factors, epochs=self.epochs, model=self.model
        )
        return for_windows(made, self.window)
