"""Answers kept, since several baselines begin with the same fit."""

import functools
import hashlib
import pickle
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Remembered = TypeVar("Remembered")
MOST_REMEMBERED = 4


def memoised(function: Callable[Arguments, Remembered]) -> Callable[Arguments, Remembered]:
    """A pure function of arrays and numbers that keeps its last 4 answers, by what its arguments
    hold."""
    kept: dict[bytes, Remembered] = {}
    lock = threading.RLock()

    @functools.wraps(function)
    def asked(*arguments: Arguments.args, **named: Arguments.kwargs) -> Remembered:
        held = pickle.dumps((arguments, named), protocol=pickle.HIGHEST_PROTOCOL)
        key = hashlib.sha256(held).digest()
        with lock:
            if key not in kept:
                kept[key] = function(*arguments, **named)
                while len(kept) > MOST_REMEMBERED:
                    del kept[next(iter(kept))]
            return kept[key]

    return asked
