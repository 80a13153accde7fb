"""Answers kept, since several baselines begin with the same fit."""

import functools
import hashlib
import pickle
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
MOST_KEPT = 4


def memoised(function: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """A pure function of arrays and numbers that keeps its last 4 answers, by what its arguments
    hold."""
    kept: dict[bytes, Answer] = {}

    @functools.wraps(function)
    def asked(*arguments: Arguments.args, **named: Arguments.kwargs) -> Answer:
        held = pickle.dumps((arguments, named), protocol=pickle.HIGHEST_PROTOCOL)
        key = hashlib.sha256(held).digest()
        if key not in kept:
            kept[key] = function(*arguments, **named)
            while len(kept) > MOST_KEPT:
                kept.pop(next(iter(kept)), None)
        return kept[key]

    return asked
