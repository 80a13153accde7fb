"""The rooms of the package import downward only, without circles, and share no public name."""

import ast
import io
import tokenize
from collections import Counter, defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jaxvae"
# From the top floor to the ground; a room imports from those after it.
ROOMS = (
    *("cli", "integrations", "walk", "study", "report", "runs", "scoring", "selection"),
    *("fitting", "inference", "training", "models", "data", "baselines", "analysis"),
)
# What each of them may import of those below, where it is less than all.
ALLOWED = {
    "report": {"baselines", "analysis"},
    "runs": {"training"},
    "inference": {"training", "models", "analysis"},
    "training": {"models"},
    "models": set(),
    "data": set(),
    "baselines": {"analysis"},
    "analysis": set(),
    "errors": set(),
    "xla": set(),
}
ANYWHERE = {"errors", "xla"}
# Every level of training has these.
SHARED = {"init", "step", "fit"}
ROOTS = [PACKAGE / f"{name}.py" for name in sorted(ANYWHERE)]
FILES = [*ROOTS, *(path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py")))]


def module_name(path):
    """A file's dotted name below the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path) for path in FILES}


def imported(path):
    """The modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jaxvae"):
            module = node.module.removeprefix("jaxvae").removeprefix(".")
            for alias in node.names:
                whole = f"{module}.{alias.name}".removeprefix(".")
                yield whole if whole in MODULES | ANYWHERE else module
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("jaxvae.") for a in node.names if "jaxvae" in a.name)


def libraries(path):
    """The packages that a file imports from, wherever in it."""
    for_all = ast.walk(ast.parse(path.read_text("utf-8")))
    nodes = [node for node in for_all if isinstance(node, ast.Import | ast.ImportFrom)]
    whole = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    whole += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in whole}


def test_every_folder_is_a_room():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()} == {*ROOMS}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_run_down(path):
    room = module_name(path).split(".")[0]
    below = ALLOWED[room] if room in ALLOWED else {*ROOMS[ROOMS.index(room) + 1 :]}
    others = {name.split(".")[0] for name in imported(path)} - {room} - ANYWHERE
    assert others <= below


def test_no_circles():
    arrows = {module_name(path): {*imported(path)} & MODULES for path in FILES}
    while free := {name for name, onto in arrows.items() if not onto & arrows.keys() - {name}}:
        for name in free:
            del arrows[name]
    assert not arrows


def test_flax_lives_in_models():
    users = {module_name(path).split(".")[0] for path in FILES if "flax" in libraries(path)}
    assert users == {"models"}


def test_analysis_and_baselines_know_no_jax():
    for path in FILES:
        if module_name(path).startswith(("analysis", "baselines")):
            assert not libraries(path) & {"jax", "jaxlib", "flax", "optax"}, path


def public_names(path):
    """Functions, classes and constants that a file defines for others."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = (part for target in targets for part in ast.walk(target))
            yield from (part.id for part in parts if is_made(part))


def is_made(node):
    """Whether an expression is a name that is given a value, alone or in a tuple."""
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def test_a_name_has_one_home():
    homes = defaultdict(set)
    for path in FILES:
        for name in public_names(path):
            if not name.startswith("_"):
                homes[name].add(module_name(path).split(".")[0])
    assert {name for name, rooms in homes.items() if len(rooms) > 1} <= SHARED


def names_in(node):
    """Names and attributes in an expression, and its texts."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name | ast.Attribute):
            yield part.id if isinstance(part, ast.Name) else part.attr
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def kinds_asked(path):
    """What a file checks instances against, and the texts that it compares with."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and {*names_in(node.func)} & {"isinstance", "issubclass"}:
            yield from names_in(node.args[-1])
        if isinstance(node, ast.Compare):
            yield from (name for side in (node.left, *node.comparators) for name in names_in(side))
        if isinstance(node, ast.MatchValue):
            yield from names_in(node.value)


def test_nobody_asks_of_what_kind_a_model_is():
    """Neither by an instance nor by a name, outside of where the kinds are."""
    from jaxvae.fitting.presets import PRESETS
    from jaxvae.models import FAMILIES, distributions, kalman, student_t
    from jaxvae.models.autoregressive import ENCODERS
    from jaxvae.models.likelihoods import LIKELIHOODS

    classes = {
        name
        for module in (distributions, kalman, student_t)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, distributions.Distribution)
    }
    texts = {*FAMILIES, *LIKELIHOODS, *ENCODERS, *PRESETS}
    families = {kind.__name__ for kind in FAMILIES.values()}
    kinds = classes | texts | families | {"Model", "Family", "OwnModel"}
    for path in FILES:
        if not module_name(path).startswith(("models", "fitting.presets")):
            assert not {*kinds_asked(path)} & kinds, path


def code_lines(source):
    """The lines of a file that hold code: no blanks, comments or docstrings."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            lines -= {*range(node.body[0].lineno, node.body[0].end_lineno + 1)}
    return lines


NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
NO_CODE |= {tokenize.ENDMARKER}
LONGEST_FILE, LONGEST_FUNCTION, LARGEST_ROOM = 300, 60, 2500


def test_files_functions_and_rooms_are_short():
    rooms = Counter()
    for path in FILES:
        source = path.read_text("utf-8")
        lines = code_lines(source)
        rooms[module_name(path).split(".")[0]] += len(lines)
        assert len(lines) <= LONGEST_FILE, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                own = lines & {*range(node.lineno, node.end_lineno + 1)}
                assert len(own) <= LONGEST_FUNCTION, f"{path}: {node.name}"
    assert max(rooms.values()) <= LARGEST_ROOM, rooms.most_common(1)
