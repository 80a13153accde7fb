"""Errors that a user can mend, and the check of options that raises most of them.

An error is one line that says what is wrong and what to do, in its reader's words: `str(error)`
names an option as the argument that it is in Python; the command line names its own.
"""

import difflib
import functools
import importlib
import inspect
import math
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field, fields
from numbers import Integral, Real
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

LARGEST_SEED, LARGEST_INT32, LARGEST_FLOAT32 = 2**32 - 1, 2**31 - 1, (2 - 2**-23) * 2.0**127
LONGEST_PATH, LONGEST_FILE_NAME = 4096, 255  # bytes, with Linux
AnyConfig = TypeVar("AnyConfig")
LONGEST_WORD = 60  # that a hint is looked for
NOUNS = {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}


class Option:
    """An option as a part of an error.

    Args:
        name: of the argument in Python.
        values: those of it that are meant, or that would do.
    """

    def __init__(self, name: str, *values: object) -> None:
        self.name, self.values = name, values

    def __str__(self) -> str:
        return f"{self.name}={either(map(repr, self.values))}" if self.values else self.name


class JaxvaeError(Exception):
    """Base of the errors a user can mend.

    Args:
        args: parts of the line: text, and each `Option` that it names.

    `exit_code` is what the command line ends with: 1 the data, a run folder or a missing extra is
    at fault; 2 an option is.
    """

    exit_code = 1

    @property
    def parts(self) -> tuple[object, ...]:
        """The line in parts, for another error that begins or ends with it."""
        return self.args

    def worded(self, name_option: Callable[[Option], str] = str) -> str:
        """The line.

        Args:
            name_option: what to call each option that it names; by default the argument in Python.

        Returns:
            What is wrong and what to do, in one line.
        """
        return "".join(name_option(x) if isinstance(x, Option) else str(x) for x in self.parts)

    def __str__(self) -> str:
        return self.worded()


class DataError(JaxvaeError, ValueError):
    """A panel, or a file it was to come from, is at fault."""


class FolderError(JaxvaeError, ValueError):
    """A study's folder is at fault: missing, in the way, damaged or of a newer schema."""


class MissingExtraError(JaxvaeError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class OptionError(JaxvaeError, ValueError):
    """An option, or the argument behind it, is at fault.

    Args:
        args: name of the argument, then parts of what is wrong with it and what to do:
            `OptionError("seeds", "0 is too small; at least 1")`.
    """

    exit_code = 2

    def __init__(self, name: str, *what: str | Option) -> None:
        super().__init__(name, *what)

    @property
    def parts(self) -> tuple[object, ...]:
        name, *what = self.args
        return (Option(name), ": ", *what)


def import_extra(package: str, extra: str, use: str = "") -> Any:
    """A package that an extra brings.

    Args:
        package: its name.
        extra: that brings it.
        use: what it does here, a few words.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        what = f"the package {package}, which {use}," if use else f"the package {package}"
        raise MissingExtraError(
            f"{what} is not installed: pip install 'jaxvae[{extra}]'"
        ) from error


def either(words: Iterable[str]) -> str:
    """a; a or b; a, b or c."""
    *before, last = words
    return f"{', '.join(before)} or {last}" if before else last


def first_of(words: Sequence[str], most: int = 5) -> str:
    """a, b; of more, the first so many and how many are left: a, b, c, d, e and 2 more."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return f"{', '.join(words[:most])}{more}"


def counted(number: Any, noun: str) -> str:
    """1 date; 2,000 dates."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of an error's line: the choice that is spelt most alike; nothing where none is."""
    nearest = difflib.get_close_matches(word[:LONGEST_WORD], list(choices), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def option(
    default: Any,
    help: str,
    *,
    otherwise: str | None = None,
    flag: str | None = None,
    metavar: str | None = None,
    **limits: Any,
) -> Any:
    """A field of a configuration, for `check_options` and for the command line.

    Args:
        default: the only place where it is written; `dataclasses.MISSING` where there is none.
        help: what it is, a few words; the command line offers the field only where there are some.
        otherwise: what holds where it is not given, in a few words, if the default does not say so.
        flag: its name there, by default the field's.
        metavar: what stands for its value there.
        limits: as `check_option` takes them.
    """
    words = {"help": help, "otherwise": otherwise, "flag": flag, "metavar": metavar}
    return field(default=default, metadata={**words, "limits": limits})


def like(config: Any, name: str, default: Any, help: str | None = None, **limits: Any) -> Any:
    """A field as another configuration has it, with a default and perhaps a help and limits of its
    own."""
    known = dict(config.__dataclass_fields__[name].metadata)
    limits = known.pop("limits") | limits
    known["help"] = known["help"] if help is None else help
    known["otherwise"] = known["otherwise"] if default is None else None
    return option(default, **known, **limits)


def settings_of(
    kind: type[AnyConfig], config: AnyConfig | None, given: Mapping[str, Any]
) -> AnyConfig:
    """A configuration as it is, or made of settings by keyword.

    Args:
        kind: of configuration.
        config: the whole of it, or None.
        given: its fields by their names, in place of their defaults.

    Raises:
        TypeError: both, or a name that is no field's.
        OptionError: a setting of another type, beyond its limits, or that does not go with another.
    """
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f", which has {', '.join(known)}"
            raise TypeError(f"{name!r} is no setting of {kind.__name__}{hint}")
    if config is None:
        return kind(**given)
    if given:
        raise TypeError(
            f"a whole {kind.__name__} is given, and {', '.join(given)} beside it; give one or the "
            "other (dataclasses.replace changes a whole one)"
        )
    return config


def show_settings(config: Any) -> str:
    """A configuration as the call that makes it, of the settings that are not the default."""
    parts = [
        f"{one.name}={value!r}"
        for one in fields(config)
        if (value := getattr(config, one.name)) != one.default
    ]
    return f"{type(config).__name__}({', '.join(parts)})"


def check_options(config: Any) -> None:
    """Check every field of a frozen configuration by its type and `option`'s limits.

    Numbers become Python's own and sequences tuples, so that the configuration can be saved.

    Raises:
        OptionError: the first field at fault.
    """
    kinds = get_type_hints(type(config))
    for one in fields(config):
        value, limits = getattr(config, one.name), one.metadata.get("limits", {})
        checked = check_option(one.name, value, kinds[one.name], **limits)
        object.__setattr__(config, one.name, checked)


def check_option(name: str, value: Any, kind: Any = int, **limits: Any) -> Any:
    """An option's value as Python's own type.

    Args:
        name: of the argument.
        value: what it was given.
        kind: the type wanted: int, float, bool, str, Path, another class, a tuple of one of these,
            a literal of texts, whose choices are among the limits, a union.
        limits: of numbers, or of a tuple's numbers: least, most (included), above, below (not). Of
            texts: choices. Whole numbers fit into int32 unless a limit says else, others float32.

    Raises:
        OptionError: the value is of another type, not finite, beyond a limit, or no choice.
    """
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    kinds = tuple(str if get_origin(one) is Literal else one for one in kinds)
    items = [get_args(one)[0] for one in kinds if get_origin(one) is tuple]
    choices = tuple(limits.get("choices", ()))
    if isinstance(value, Integral) and int in kinds and not isinstance(value, bool):
        return int(_within(name, value, limits, LARGEST_INT32))
    if isinstance(value, Real) and float in kinds and not isinstance(value, bool):
        return float(_within(name, value, limits, LARGEST_FLOAT32))
    if items and isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping):
        return tuple(check_option(name, item, items[0], **limits) for item in value)
    if Path in kinds and isinstance(value, str | os.PathLike):
        return check_path(name, value)
    others = tuple(one for one in kinds if isinstance(one, type) and one not in (int, float))
    if isinstance(value, others) and not (choices and isinstance(value, str)):
        return value
    if isinstance(value, str) and value in choices:
        return str(value)
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    nouns = [f"a sequence of {NOUNS[item][2:]}s" for item in items if item in NOUNS]
    nouns += [NOUNS[one] for one in kinds if one in NOUNS and not (one is str and choices)]
    nouns += [f"one of {', '.join(choices)}"] if len(choices) > 1 else choices
    raise OptionError(name, f"{shown(value)} is not {either(nouns or ['of the right type'])}{hint}")


def check_numbers(name: str, values: Any, what: str) -> dict[str, float]:
    """Finite numbers by the names that they are given under.

    Args:
        name: of the argument.
        values: a mapping or a Series.
        what: a number is, with its article: "a return".

    Raises:
        OptionError: it is neither, or one of the values is no finite number.
    """
    if not callable(getattr(values, "items", None)):
        raise OptionError(name, f"{shown(values)} is no dict; give {what} by name")
    for key, value in values.items():
        known = isinstance(value, Real) and not isinstance(value, bool)
        if not known or not math.isfinite(value):
            raise OptionError(name, f"{key}={shown(value)} is not a finite number; give {what}")
    return {str(key): float(value) for key, value in values.items()}


def check_path(name: str, value: str | os.PathLike[str]) -> Path:
    """A path that the system can be asked about. Raises OptionError."""
    try:
        path = Path(value)
        sizes = [len(os.fsencode(part)) for part in (str(path), *path.parts)]
    except (TypeError, UnicodeError):
        raise OptionError(name, f"{shown(value)} is not a path") from None
    if "\0" in str(path):
        raise OptionError(name, f"{shown(str(path))} holds a null byte; no path does")
    if sizes[0] > LONGEST_PATH or max(sizes[1:], default=0) > LONGEST_FILE_NAME:
        raise OptionError(name, f"{shown(str(path))} is too long for a path")
    return path


def part_name(part: Any) -> str:
    """What a part of a caller's own is called: a function or a class by its name, an object and
    its methods by its class's, a tuple of functions (a model, an optimiser) by what made the first
    of them that is not this package's, or else by its class's."""
    if isinstance(part, tuple):
        made = (_origin(one) for one in part if callable(one))
        own = (one for one in made if (one.__module__ or "").partition(".")[0] != __package__)
        name: str = next(own, type(part)).__qualname__.partition(".")[0]
        return name
    return str(_origin(part).__name__)


def _origin(part: Any) -> Any:
    """A function or class: the part itself, that of a partial one, or else its class."""
    while isinstance(part, functools.partial):
        part = part.func
    part = part.__self__ if inspect.ismethod(part) else part
    return part if hasattr(part, "__qualname__") else type(part)


def shown(value: object) -> str:
    """A value in an error: its repr in a line, at most some forty letters of it."""
    plain = value.item() if isinstance(value, Real) and hasattr(value, "item") else value
    try:
        return " ".join(reprlib.repr(plain).split())
    except ValueError:  # Python prints no whole number of more than 4,300 digits.
        return "a number of thousands of digits"


def _within(name: str, value: Any, limits: Mapping[str, Any], largest: Any) -> Any:
    """The number, where it lies within its limits."""
    least, most = limits.get("least", -largest), limits.get("most", largest)
    above, below = limits.get("above", -math.inf), limits.get("below", math.inf)
    if value != value or value in (-math.inf, math.inf):
        raise OptionError(name, f"{shown(value)} is not finite")
    for unfit, what in (
        (value < least, f"too small; at least {_figure(least)}"),
        (value > most, f"too large; at most {_figure(most)}"),
        (value <= above, f"too small; it must be above {_figure(above)}"),
        (value >= below, f"too large; it must be below {_figure(below)}"),
    ):
        if unfit:
            raise OptionError(name, f"{shown(value)} is {what}")
    return value


def _figure(limit: Any) -> str:
    return f"{limit:,}" if isinstance(limit, int) else f"{limit:g}"
