"""The API reference: what docstrings of public names say, as one static page.

Command: python .ci/reference.py OUT.html   (needs the extra `docs`)

A public name that does not resolve, one without a docstring, and a word in backticks that looks
like a name and is none of ours end the command with exit code 1, and are listed.
"""

import builtins
import inspect
import re
import sys
import tokenize
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

import pdoc.doc
import pdoc.render

import jaxvae
from jaxvae.integrations.skfolio import VAECovariance, VAEDistribution

NAME = re.compile(r"`([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:\(\))?`")
ROUTING = re.compile(r"set_\w+_request$")  # methods that scikit-learn adds
OURS = "jaxvae"
PACKAGE = Path(jaxvae.__file__).parent
# Names of other packages that docstrings refer to and our code does not.
OF_OTHERS = {"FactorAnalysis", "datasets", "load_sp500_dataset", "rbg", "VineCopula"}


def public_module() -> pdoc.doc.Module:
    """`jaxvae` as if it had imported all that it offers, the plugs for skfolio too; whole modules
    are left out."""
    module = types.ModuleType("jaxvae", jaxvae.__doc__)
    public = {name: getattr(jaxvae, name) for name in jaxvae.__all__}
    public |= {plug.__name__: plug for plug in (VAECovariance, VAEDistribution)}
    offered = {name: thing for name, thing in public.items() if not inspect.ismodule(thing)}
    vars(module).update(offered, __all__=[*offered])
    page = pdoc.doc.Module(module)
    for doc in page.members.values():
        if isinstance(doc, pdoc.doc.Class):
            show_inherited(doc)
    return page


def show_inherited(doc: pdoc.doc.Class) -> None:
    """Members that a class has from bases of ours are shown with its own, those that hold data with
    what the bases' docstrings say of them."""
    said = [entry for base in doc.obj.__mro__[1:] if is_ours(base) for entry in attributes(base)]
    for name, what in said:
        if name in doc.members and not doc.members[name].docstring:
            doc.members[name].docstring = what
    # Settings that fill what pdoc works out when first asked for.
    doc.own_members = [one for one in doc.members.values() if one.taken_from[0].startswith(OURS)]
    doc.inherited_members = {}


def is_ours(kind: type) -> bool:
    return kind.__module__.startswith(OURS)


def attributes(kind: type) -> Iterator[tuple[str, str]]:
    """Each name under `Attributes` in a class's docstring, and what is said of it."""
    _, _, text = inspect.cleandoc(vars(kind).get("__doc__") or "").partition("Attributes:\n")
    section = re.split(r"(?m)^\S", text)[0]
    for names, what in re.findall(r"(?ms)^ {4}(\w[\w, ]*): (.+?)(?=^ {4}\w|\Z)", section):
        yield from ((name, " ".join(what.split())) for name in names.split(", "))


def documented(page: pdoc.doc.Module) -> Iterator[tuple[str, pdoc.doc.Doc, set[str]]]:
    """Everything with a docstring of ours: its full name, itself, and the names that it may use."""
    for name, doc in page.members.items():
        fields = {*doc.members} if isinstance(doc, pdoc.doc.Class) else set()
        yield name, doc, fields | parameters(doc)
        for part in fields:
            inner = doc.members[part]
            ours = inner.taken_from[0].startswith(OURS) and not ROUTING.match(part)
            if inner.docstring and ours:
                yield f"{name}.{part}", inner, fields | parameters(inner)


def parameters(doc: pdoc.doc.Doc) -> set[str]:
    """Of a function, or of what makes a class."""
    try:
        return {*inspect.signature(doc.obj).parameters}
    except (TypeError, ValueError):
        return set()


def known_words() -> set[str]:
    """Names and one-word texts in the package's code, its files, and Python's own."""
    words = {*dir(builtins), *jaxvae.__all__, *OF_OTHERS, "py"}
    for path in PACKAGE.rglob("*.py"):
        words |= {path.stem, path.parent.name, path.name}
        with tokenize.open(path) as file:
            tokens = tokenize.generate_tokens(file.readline)
            kinds = (tokenize.NAME, tokenize.STRING)
            words |= {token.string.strip("'\"") for token in tokens if token.type in kinds}
    return words


def faults(page: pdoc.doc.Module) -> list[str]:
    """What a reader could not follow."""
    known, found = known_words(), []
    modules = {*sys.modules}
    for name, doc, own in documented(page):
        if not doc.docstring:
            found.append(f"{name} has no docstring")
        for word in NAME.findall(doc.docstring):
            parts = word.split(".")
            if parts[0] not in known | own | modules or not {*parts[1:]} <= known | own:
                found.append(f"{name}: `{word}` is no name")
    return found


def main() -> int:
    (out,) = sys.argv[1:]
    pdoc.render.configure(docformat="google", search=False, show_source=False)
    with warnings.catch_warnings(record=True) as unresolved:
        warnings.simplefilter("always", UserWarning)
        page = public_module()
        text = pdoc.render.html_module(page, {"jaxvae": page})
        found = faults(page) + [str(one.message) for one in unresolved]
    # As Python 3.12 and later write the type of keywords.
    text = re.sub(r"\*&lt;class &#x27;[\w.]+?(\w+)&#x27;&gt;", r"Unpack[\1]", text)
    Path(out).write_text(text, "utf-8")
    print("\n".join(found) or f"{out}: {len(page.members)} names")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
