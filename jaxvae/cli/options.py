"""Commands whose options are the fields of dataclasses, and the dataclasses that several share."""

import argparse
import functools
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, NoReturn, Union, get_args, get_origin, get_type_hints

from jaxvae.errors import (
    JaxvaeError,
    Option,
    OptionError,
    check_option,
    did_you_mean,
    either,
    option,
)

_LONGEST_MESSAGE, _WIDTH = 1000, 78
AT_FAULT = re.compile(r"invalid choice: '(.*?)'|unrecognized arguments:.*?(--[^\s=]+)")
METAVARS = {int: "N", float: "X", Path: "FILE"}


class UsageError(JaxvaeError):
    """Words that make no command."""

    exit_code = 2


class Parser(argparse.ArgumentParser):
    """A parser that raises its errors, with the command or option that is meant where one is spelt
    much like the word at fault; what it prints keeps its lines."""

    help_of = ""  # whose help shows what is meant, where it is not the parser's own

    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        at_fault = AT_FAULT.search(message)
        hint = did_you_mean(at_fault[at_fault.lastindex or 0], self._words()) if at_fault else ""
        short = textwrap.shorten(message, _LONGEST_MESSAGE)
        raise UsageError(f"{short}{hint}; see {self.help_of or self.prog} --help")

    def _words(self) -> list[str]:
        """Commands and options, those of the commands too."""
        commands = [a.choices for a in self._actions if isinstance(a.choices, Mapping)]
        parsers = [self, *(parser for named in commands for parser in named.values())]
        flags = [f for one in parsers for action in one._actions for f in action.option_strings]
        return [*flags, *(name for named in commands for name in named)]


class Command(NamedTuple):
    """A function of dataclasses, whose docstring is what `--help` says of it.

    run: called with the interrupts and the dataclasses. examples: command lines without the
    program's name, and what each does. titles: what the options of each dataclass stand under, none
    where it is empty. notes: what stands below the options."""

    run: Callable[..., None]
    examples: Mapping[str, str]
    titles: Sequence[str] = ("",)
    notes: str = ""

    @property
    def description(self) -> str:
        """What the command does."""
        return " ".join((self.run.__doc__ or "").split())

    @property
    def groups(self) -> dict[str, Any]:
        """The dataclasses of options, by their titles."""
        kinds = [kind for kind in get_type_hints(self.run).values() if is_dataclass(kind)]
        return dict(zip(self.titles, kinds, strict=True))

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """An option for each field that has a few words of help."""
        shown = "".join(f"\n  jaxvae {x}\n      {what}" for x, what in self.examples.items())
        parser.description = f"{textwrap.fill(self.description, _WIDTH)}\n\nexamples:{shown}"
        parser.epilog = self.notes
        for title, group in self.groups.items():
            target: Any = parser.add_argument_group(title) if title else parser
            kinds = get_type_hints(group)
            for one in fields(group):
                if one.metadata.get("help"):
                    _add_option(target, one, kinds[one.name])

    def read(self, options: argparse.Namespace) -> list[Any]:
        """The dataclasses, made of the words given. Raises what making them does: OptionError, and
        FolderError where a file is in the way."""
        words = vars(options)
        return [
            make_group(group, {x.name: words[x.name] for x in fields(group) if x.name in words})
            for group in self.groups.values()
        ]

    def name_option(self, named: Option) -> str:
        """An option in an error as this command has it, with those of its values that it takes."""
        known = {one.name: one for group in self.groups.values() for one in fields(group)}
        if named.name not in known or not known[named.name].metadata.get("help"):
            return str(named)
        choices = known[named.name].metadata["limits"].get("choices")
        values = [
            str(value)
            for value in named.values
            if value is not True and (not (choices and isinstance(value, str)) or value in choices)
        ]
        flag = _flag(known[named.name])
        return f"{flag} {either(values)}" if values else flag


@dataclass(frozen=True, kw_only=True)
class Debug:
    """The option that shows the traceback of an error."""

    debug: bool = option(False, "traceback of an error, in place of its one line")


@dataclass(frozen=True, kw_only=True)
class InFolder(Debug):
    """The folder of a finished run."""

    folder: Path = option(MISSING, "folder of a finished study", flag="", metavar="DIR")


@dataclass(frozen=True, kw_only=True)
class Output(Debug):
    """The folder of a new run, whether to go on with one, and whether to be quiet."""

    out: Path | None = option(
        None, "new folder for the results", otherwise="runs/NAME-DATE-TIME", metavar="DIR"
    )
    resume: bool = option(False, "go on with the unfinished run in the folder of --out")
    quiet: bool = option(False, "no lines or bars of progress")


def make_group(group: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass of options from values, as words or JSON give them.

    Raises OptionError or FolderError, and KeyError on the name of no option.
    """
    kinds, known = get_type_hints(group), group.__dataclass_fields__
    return group(
        **{
            name: check_option(name, value, kinds[name], **known[name].metadata["limits"])
            for name, value in values.items()
        }
    )


def named_numbers(name: str, words: Sequence[str] | None) -> dict[str, float] | None:
    """NAME=NUMBER, each name once; None where there are none. Raises OptionError."""
    found: dict[str, float] = {}
    for word in words or ():
        key, _, number = word.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            key = ""
        if not key:
            raise OptionError(name, f"{word!r} is not NAME=NUMBER, as XOM=-0.05")
        if key in found:
            raise OptionError(name, f"{key} is given twice; keep one")
        found[key] = value
    return found or None


def _add_option(target: Any, one: Field[Any], kind: Any) -> None:
    words, choices = one.metadata, one.metadata["limits"].get("choices", ())
    kinds: Sequence[Any] = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    # Of what a sequence is one, where the option takes several words.
    items = [get_args(inner)[0] for inner in kinds if get_origin(inner) is tuple]
    what = f"{words['help']}: {', '.join(choices)}" if choices else words["help"]
    if one.default is not MISSING:
        what += f" (default: {words['otherwise'] or _shown_default(one.default)})"
    more: dict[str, Any] = {"help": what.replace("%", "%%"), "default": argparse.SUPPRESS}
    if kind is bool:
        target.add_argument(_flag(one), dest=one.name, action="store_true", **more)
        return
    kinds = items or kinds
    more["metavar"] = words["metavar"] or METAVARS.get(kinds[0], "NAME")
    more["type"] = functools.partial(_value, kinds)
    if items:
        # Given again, names go on, so that none is dropped; numbers take the place of the first.
        more |= {"nargs": "+", "action": "extend" if str in items else "store"}
    if words["flag"] == "":
        target.add_argument(one.name, **more)
        return
    target.add_argument(_flag(one), dest=one.name, required=one.default is MISSING, **more)


def _shown_default(default: Any) -> str:
    """As it would be typed; a flag is not set."""
    if default is False:
        return "no"
    return " ".join(f"{x:g}" for x in default) if isinstance(default, tuple) else str(default)


def _value(kinds: Sequence[Any], word: str) -> Any:
    """A word as a number where one is wanted; what is none stays, for the check to refuse."""
    for number in {int, float}.intersection(kinds):
        with suppress(ValueError):
            return number(word)
    return word


def _flag(one: Field[Any]) -> str:
    flag = one.name if one.metadata["flag"] is None else one.metadata["flag"]
    return f"--{flag.replace('_', '-')}" if flag else one.metadata["metavar"]
