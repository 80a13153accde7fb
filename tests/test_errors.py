"""Errors name options as their reader does, and one check of options serves every configuration."""

import math
import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from jaxvae.errors import (
    DataError,
    Option,
    OptionError,
    check_numbers,
    check_option,
    check_options,
    check_path,
    option,
)


@dataclass(frozen=True)
class Config:
    seeds: int = option(8, "seeds a beta", least=1)
    betas: tuple[float, ...] = option((0.5,), "weights", least=0)
    share: float = option(0.5, "a share", above=0, below=1)
    model: str = option("static", "which", choices=("static", "linear"))
    factors: int | str = option("auto", "how many", least=1, choices=("auto",))
    epochs: int | None = option(None, "the most", least=1)
    quick: bool = False

    def __post_init__(self) -> None:
        check_options(self)


def flagged(named):
    return f"--{named.name.replace('_', '-')} {'/'.join(map(str, named.values))}".strip()


def test_an_option_is_named_as_its_reader_does():
    error = OptionError("tile_width", "0 is too small; leave ", Option("model", "static"), " out")
    assert str(error) == "tile_width: 0 is too small; leave model='static' out"
    assert error.worded(flagged) == "--tile-width: 0 is too small; leave --model static out"
    assert error.args[0] == "tile_width"
    choose = Option("missing", "drop-dates", "mean", "keep")
    assert str(DataError("choose ", choose)) == "choose missing='drop-dates', 'mean' or 'keep'"


def test_another_error_may_hold_the_parts_of_one():
    outer = DataError("a.csv: ", *OptionError("seeds", "0").parts)
    assert outer.worded(flagged) == "a.csv: --seeds: 0"
    assert str(outer) == "a.csv: seeds: 0"


def test_errors_survive_pickling():
    error = OptionError("seeds", "0 is too small; see ", Option("epochs"))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_numbers_become_pythons_own_and_sequences_tuples():
    config = Config(seeds=np.int64(3), betas=[1, np.float32(0.5)], share=np.float64(0.25))
    assert config == Config(seeds=3, betas=(1.0, 0.5), share=0.25)
    assert [type(config.seeds), *map(type, config.betas), type(config.share)] == [
        *(int, float, float, float)
    ]
    assert Config(betas=np.array([1.0, 2.0])).betas == (1.0, 2.0)
    assert Config(factors=3, epochs=2).factors == 3


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"seeds": 0}, "seeds: 0 is too small; at least 1"),
        ({"seeds": True}, "seeds: True is not a whole number"),
        ({"seeds": 2.0}, "seeds: 2.0 is not a whole number"),
        ({"seeds": None}, "seeds: None is not a whole number"),
        ({"seeds": 2**31}, "seeds: 2147483648 is too large; at most 2,147,483,647"),
        ({"seeds": 10**5000}, "seeds: a number of thousands of digits is too large"),
        ({"betas": (math.nan,)}, "betas: nan is not finite"),
        ({"betas": (1.0, math.inf)}, "betas: inf is not finite"),
        ({"betas": (1e39,)}, "betas: 1e+39 is too large; at most 3.40282e+38"),
        ({"betas": (np.float64(1e39),)}, "betas: 1e+39 is too large"),
        ({"betas": (10**400,)}, "is too large"),
        ({"betas": (-1,)}, "betas: -1 is too small; at least 0"),
        ({"betas": (True,)}, "betas: True is not a number"),
        ({"betas": 1.0}, "betas: 1.0 is not a sequence of numbers"),
        ({"betas": "12"}, "betas: '12' is not a sequence of numbers"),
        ({"share": 0}, "share: 0 is too small; it must be above 0"),
        ({"share": 1.0}, "share: 1.0 is too large; it must be below 1"),
        ({"model": "deep"}, "model: 'deep' is not one of static, linear"),
        ({"model": 3}, "model: 3 is not one of static, linear"),
        ({"model": "x" * 10_000}, "model: 'xxxxxxxxxxxx...xxxxxxxxxxxxx' is not one of"),
        ({"factors": "many"}, "factors: 'many' is not a whole number or auto"),
        ({"factors": 0}, "factors: 0 is too small"),
        ({"epochs": "two"}, "epochs: 'two' is not a whole number"),
        ({"quick": 1}, "quick: 1 is not True or False"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(wrong, words):
    with pytest.raises(OptionError) as caught:
        Config(**wrong)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_a_functions_argument_is_checked_alike():
    assert check_option("number", 3, least=1) == 3
    with pytest.raises(OptionError, match="number: 0 is too small; at least 1"):
        check_option("number", 0, least=1)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a\0b", r"'a\\x00b' holds a null byte"),
        ("x" * 300, "too long"),
        ("a/" * 3000, "too long"),
        ("\ud800", "not a path"),
    ],
)
def test_a_path_that_no_system_takes_is_refused(path, words):
    with pytest.raises(OptionError, match=words):
        check_path("out", path)


def test_a_path_comes_back(tmp_path):
    assert check_path("out", str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"A": "much"}, "given: A='much' is not a finite number; give a return"),
        ({"A": True}, "given: A=True is not a finite number; give a return"),
        ({"A": None}, "given: A=None is not a finite number; give a return"),
        ({"A": np.inf}, "given: A=inf is not a finite number; give a return"),
        (["A"], "given: ['A'] is no dict; give a return by name"),
        (-0.1, "given: -0.1 is no dict; give a return by name"),
    ],
)
def test_numbers_by_name_are_finite(values, line):
    with pytest.raises(OptionError) as raised:
        check_numbers("given", values, "a return")
    assert str(raised.value) == line
    assert check_numbers("given", {"A": np.float32(0.5), 3: 1}, "a return") == {"A": 0.5, "3": 1.0}
