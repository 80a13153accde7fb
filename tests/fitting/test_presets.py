"""Models and optimisers of a caller's own: what is taken, and what it is called."""

import functools
import json

import optax
import pytest

from jaxvae.errors import OptionError, part_name
from jaxvae.fitting.config import StudyConfig, recorded
from jaxvae.fitting.presets import family_of, make_preset, model_name
from jaxvae.models import AdditiveConfig, Model, PerceptronConfig, describe_family, is_own
from jaxvae.training.config import TrainConfig


def small_model(n_assets, n_factors=2):
    return AdditiveConfig(n_factors).build(n_assets)._replace(initialise=lambda key, batch: None)


def two_factors(n_assets):
    return small_model(n_assets)


class Own(AdditiveConfig):
    """A family of one's own."""


class Builder:
    def build(self, n_assets):
        return small_model(n_assets)


MODEL = two_factors(3)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (two_factors, "two_factors"),
        (functools.partial(small_model, n_factors=2), "small_model"),
        (Builder(), "Builder"),
        (MODEL, "small_model"),
        (Own(2), "Own"),
    ],
    ids=["function", "partial", "object", "model", "family"],
)
def test_a_model_of_ones_own_is_taken_and_named(given, name):
    family = make_preset(given).model
    assert isinstance(family.build(3), Model)
    assert is_own(family)
    assert model_name(given) == describe_family(family)["name"] == name


def test_a_part_is_named_by_what_is_ones_own_of_it():
    """Not by what this package made it of, nor by how it is called."""
    ready = PerceptronConfig(n_factors=2).build(3)
    changed = [
        ready._replace(decode=one)
        for one in (two_factors, functools.partial(two_factors, n_assets=3), Builder().build)
    ]
    assert [part_name(model) for model in changed] == ["two_factors", "two_factors", "Builder"]
    assert part_name(ready) == "Model"


def test_runs_are_told_apart_by_the_names_of_ones_own_models():
    class Other(Builder):
        pass

    asked = (two_factors, small_model, Builder(), Other())
    kept = {json.dumps(recorded(StudyConfig(model=one, n_factors=2))) for one in asked}
    assert len(kept) == len(asked)


def test_what_is_the_packages_is_not_ones_own():
    assert not is_own(AdditiveConfig(2))
    assert describe_family(AdditiveConfig(2))["family"] == "additive"
    assert describe_family(Own(2)) == {"family": "own", "name": "Own"}


def test_a_model_is_its_familys_own():
    assert family_of(MODEL).build(3) is MODEL
    assert describe_family(family_of(MODEL))["name"] == "small_model"


def test_what_makes_no_model_is_refused():
    with pytest.raises(OptionError, match="5 makes no model"):
        family_of(5)


def test_an_optimiser_is_named_by_what_made_it():
    init = functools.partial(optax.adam(0.1).init)
    whole = optax.GradientTransformation(init, optax.adam(0.1).update)
    assert TrainConfig(optimiser=whole).optimiser_name == part_name(optax.adam(0.1)) == "chain"
    assert TrainConfig().optimiser_name is None
