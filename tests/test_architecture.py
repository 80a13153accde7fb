"""The rooms of the package import downward only, without circles, and share no public name."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jaxvae"
# From the top floor to the ground; a room imports from those after it.
ROOMS = (
    *("cli", "integrations", "walk", "study", "report", "runs"),
    *("inference", "training", "models", "data", "analysis"),
)
# What each of them may import of those below, where it is less than all.
ALLOWED = {
    "report": {"analysis"},
    "runs": {"training"},
    "inference": {"training", "models", "analysis"},
    "training": {"models"},
    "models": set(),
    "data": set(),
    "analysis": set(),
}
ANYWHERE = {"errors", "xla"}
# Names that two rooms still share; the list may only get shorter.
TWICE = {
    "Context",
    "Factors",
    "KINDS",
    "LAYOUT",
    "LOG_2PI",
    "MOST_MEMBERS",
    "Model",
    "NOISE_FLOOR",
    "PARTS",
    "ROUNDING",
    "Weights",
    "advance",
    "covariance",
    "encode",
    "factor_names",
    "factors_table",
    "impute",
    "loadings_table",
    "model_name",
    "prepare",
    "scenarios",
    "scenarios_given",
    "summarise",
}
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]


def module_name(path):
    """A file's dotted name below the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path) for path in FILES}


def imported(path):
    """The modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxvae"):
            module = node.module.removeprefix("jaxvae").removeprefix(".")
            for alias in node.names:
                whole = f"{module}.{alias.name}".removeprefix(".")
                yield whole if whole in MODULES | ANYWHERE else module
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("jaxvae.") for a in node.names if "jaxvae" in a.name)


def test_every_folder_is_a_room():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == {*ROOMS}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_run_down(path):
    room = module_name(path).split(".")[0]
    below = ALLOWED.get(room, {*ROOMS[ROOMS.index(room) + 1 :]})
    others = {name.split(".")[0] for name in imported(path)} - {room} - ANYWHERE
    assert others <= below


def test_no_circles():
    arrows = {module_name(path): {*imported(path)} & MODULES for path in FILES}
    while free := {name for name, onto in arrows.items() if not onto & arrows.keys() - {name}}:
        for name in free:
            del arrows[name]
    assert not arrows


def test_flax_lives_in_models():
    users = {module_name(p).split(".")[0] for p in FILES if "from flax" in p.read_text("utf-8")}
    assert users == {"models"}


def test_analysis_knows_no_jax():
    for path in sorted((PACKAGE / "analysis").rglob("*.py")):
        text = path.read_text("utf-8")
        assert "import jax\n" not in text, path
        assert "from jax" not in text.replace("from jaxvae", "").replace("from jaxtyping", ""), path


def public_names(path):
    """Functions, classes and constants that a file defines for others."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_a_name_has_one_home():
    """Those that every level of training has aside."""
    homes = defaultdict(set)
    for path in FILES:
        for name in public_names(path):
            if not name.startswith("_"):
                homes[name].add(module_name(path).split(".")[0])
    shared = {name for name, rooms in homes.items() if len(rooms) > 1}
    assert shared == {"init", "step", "fit"} & shared | TWICE
