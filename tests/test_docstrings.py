"""Public docstrings say what goes in, what comes out and what is raised."""

import ast
import builtins
import dataclasses
import inspect
import re
import textwrap
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

import pytest

# An attribute that there is not: Python's own word for it.
UNSAID = {"AttributeError"}
# Rooms of functions from arrays to numbers.
NUMERIC = ("jaxvae.analysis.", "jaxvae.baselines.")
# What no docstring names for all errors below it.
ANY_ERROR = {"Exception", "BaseException", "object"}


def sections(doc):
    """The text under each heading of a docstring."""
    _, *parts = re.split(r"(?m)^(Args|Attributes|Returns|Raises):$", doc)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def entries(text):
    """The names that a section has an entry for."""
    lines = re.findall(r"(?m)^ {4}(\w[\w, ]*):", text)
    return {name for line in lines for name in line.split(", ")}


def is_ours(thing):
    """Whether the package defines it, or the example below."""
    return (getattr(thing, "__module__", None) or "").startswith(("jaxvae", __name__))


def function_of(member):
    """The function behind an attribute of a class, and whether it is called by looking at it;
    None for another attribute."""
    if isinstance(member, property):
        return member.fget, True
    if isinstance(member, cached_property):
        return member.func, True
    member = getattr(member, "__func__", member)
    return (member, False) if inspect.isfunction(member) else (None, False)


def members(kind):
    """The public methods and properties of a class that are the package's, its bases' included,
    each with the docstring that is shown for it: its own, or that of what it overrides."""
    for name in dict.fromkeys(name for base in kind.__mro__ for name in vars(base)):
        found = [vars(base)[name] for base in kind.__mro__ if name in vars(base)]
        functions = [function_of(one)[0] for one in found]
        if not name.startswith("_") and is_ours(functions[0]):
            docs = [one.__doc__ for one in functions if is_ours(one) and one.__doc__]
            yield name, *function_of(found[0]), docs[:1]


def raised_in(function):
    """The errors that the body of a function raises by name."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = what.id if isinstance(what, ast.Name) else ""
            if name[:1].isupper() and name not in UNSAID:
                yield name


def with_bases(error):
    """An error's name, and those of the errors that it is one of."""
    import jaxvae.errors

    kind = getattr(jaxvae.errors, error, None) or getattr(builtins, error)
    return {base.__name__ for base in kind.__mro__} - ANY_ERROR


# What a first line leaves open: the parts of a result.
PARTS = ("tuple", "dict", "list")


def faults(function, docs, *, looked_at=False, bound=False):
    """What the docstrings of a function lack, all of them together.

    Of functions from arrays to numbers the first line says what comes out, unless that has parts.

    looked_at: it is a property, whose docstring says what it returns. bound: its first parameter is
    what it belongs to.
    """
    if not docs:
        yield "a docstring"
    said = [sections(inspect.cleandoc(doc)) for doc in docs]
    named, raised = (
        {name for one in said for name in entries(one.get(heading, ""))}
        for heading in ("Args", "Raises")
    )
    signature = inspect.signature(function)
    yield from sorted({*list(signature.parameters)[bound:]} - named)
    result = signature.return_annotation
    silent = looked_at or result in (None, "None")
    numeric = function.__module__.startswith(NUMERIC) and not str(result).startswith(PARTS)
    silent = silent or numeric
    if not silent and not any(one.get("Returns", "").strip() for one in said):
        yield "Returns"
    yield from sorted(error for error in {*raised_in(function)} if not with_bases(error) & raised)


def faults_of_class(kind):
    """What a class and its members lack, by member."""
    docs = [base.__doc__ for base in kind.__mro__ if is_ours(base) and base.__doc__]
    # Without one of its own a record has its signature.
    if (vars(kind).get("__doc__") or f"{kind.__name__}(").startswith(f"{kind.__name__}("):
        yield "", "a docstring"
    known = [one.name for one in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    said = [sections(inspect.cleandoc(doc)) for doc in docs]
    told = [entries(one.get(heading, "")) for one in said for heading in ("Args", "Attributes")]
    for name in [*known, *getattr(kind, "_fields", ())]:
        if not any(name in names for names in told):
            yield "", name
    for name, function, looked_at, docs in members(kind):
        found = faults(function, docs, looked_at=looked_at, bound=True)
        yield from ((f".{name}", fault) for fault in found)


def faults_of(name, public):
    """What a public name's docstrings lack, those of a module's own public names for a module."""
    if isinstance(public, ModuleType):
        for inner, thing in vars(public).items():
            if getattr(thing, "__module__", "") == public.__name__ and not inner.startswith("_"):
                yield from faults_of(f"{name}.{inner}", thing)
    elif inspect.isclass(public):
        yield from (f"{name}{where}: {fault}" for where, fault in faults_of_class(public))
    elif callable(public):
        docs = [public.__doc__] if public.__doc__ else []
        yield from (f"{name}: {fault}" for fault in faults(public, docs))


def test_public_docstrings_are_whole():
    import jaxvae

    found = [x for name in jaxvae.__all__ for x in faults_of(name, getattr(jaxvae, name))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("room", ["analysis", "baselines"])
def test_docstrings_of_numbers_are_whole(room):
    package = import_module(f"jaxvae.{room}")
    names = [f"jaxvae.{room}.{one.name}" for one in iter_modules(package.__path__)]
    found = [x for name in names for x in faults_of(name, import_module(name))]
    assert not found, "\n".join(found)


def test_docstrings_of_the_plugs_are_whole():
    pytest.importorskip("skfolio")
    import jaxvae.integrations.skfolio as plugs

    found = [*faults_of("skfolio", plugs)]
    assert not found, "\n".join(found)


class Base:
    """A class with a method that is documented whole."""

    def whole(self, number: int) -> int:
        """A number and one.

        Args:
            number: that it is more than.

        Returns:
            The next one.

        Raises:
            ValueError: none comes next.
        """
        raise ValueError(number)


class Heir(Base):
    """An heir, of whose methods one rests on the base's docstring."""

    def whole(self, number: int) -> int:
        raise ValueError(number)

    def bare(self, number: int) -> int:
        """A number."""
        raise ValueError(number)

    @property
    def size(self) -> int:
        return 1

    def nothing(self) -> None:
        """Nothing."""


def test_what_is_missing_is_told():
    lacking = [("bare", "number"), ("bare", "Returns"), ("bare", "ValueError")]
    expected = [f"Heir.{name}: {what}" for name, what in [*lacking, ("size", "a docstring")]]
    assert [*faults_of("Heir", Heir)] == expected
