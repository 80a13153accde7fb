"""All families of models by name, as `config.json` has them, and models of a caller's own."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from jaxvae.errors import OptionError, either, part_name, shown
from jaxvae.models.autoregressive import AutoregressiveConfig
from jaxvae.models.conditional import ConditionalConfig
from jaxvae.models.model import Family, Model
from jaxvae.models.static import AdditiveConfig, PerceptronConfig
from jaxvae.models.temporal import TemporalConfig


@dataclass(frozen=True)
class OwnModel(Family):
    """A model of a caller's own, or the function that makes it for a number of assets."""

    make: Callable[[int], Model] | Model

    def new_model(self, n_assets: int) -> Model:
        return self.make if isinstance(self.make, Model) else self.make(n_assets)


FAMILIES: dict[str, type[Any]] = {
    "perceptron": PerceptronConfig,
    "additive": AdditiveConfig,
    "conditional": ConditionalConfig,
    "autoregressive": AutoregressiveConfig,
    "temporal": TemporalConfig,
}
OWN = "own"


def is_own(family: Family) -> bool:
    """Whether it is a caller's own, whose code no folder holds."""
    return type(family) not in FAMILIES.values()


def describe_family(family: Any) -> dict[str, Any]:
    """A family's name and settings, for `config.json`."""
    for name, kind in FAMILIES.items():
        if type(family) is kind:
            return {"family": name, **dataclasses.asdict(family)}
    return {"family": OWN, "name": part_name(getattr(family, "make", family))}


def read_family(saved: Mapping[str, Any]) -> Family:
    """What `describe_family` has described; a model of a caller's own cannot be built from it.

    Args:
        saved: the name of the family, and its settings.

    Raises:
        OptionError: no such family, or settings that it does not have.
    """
    if saved["family"] == OWN:
        return OwnModel(functools.partial(_refuse_to_build, saved["name"]))
    settings = {key: tuple(x) if isinstance(x, list) else x for key, x in saved.items()}
    name = settings.pop("family")
    if name not in FAMILIES:
        raise OptionError("family", f"{shown(name)} is not {either(FAMILIES)}")
    known = {field.name for field in dataclasses.fields(FAMILIES[name])}
    if unknown := sorted(settings.keys() - known):
        raise OptionError(unknown[0], f"the family {name} has no such setting")
    family: Family = FAMILIES[name](**settings)
    return family


def _refuse_to_build(name: str, n_assets: int) -> Model:
    del n_assets
    raise OptionError("study", f"{name!r} makes its model: give it to load_study, model=…")
