"""Random streams: one number each, named in one place."""

import ast
import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxvae
from jaxvae.training.streams import Stream

FILES = sorted(Path(jaxvae.__file__).parent.rglob("*.py"))


def test_no_two_streams_share_a_number():
    assert len({int(stream) for stream in Stream.__members__.values()}) == len(Stream.__members__)


def test_streams_of_a_seed_differ_and_come_again():
    keys = {jax.random.key_data(stream.key(3)).tobytes() for stream in Stream}
    draws = {stream.generator(3).random() for stream in Stream}
    assert len(keys) == len(draws) == len(Stream)
    for stream in Stream:
        assert stream.generator(3).random() in draws
        assert stream.generator(4).random() not in draws
        under = jax.random.key_data(stream.fold_into(jax.random.key(3)))
        np.testing.assert_array_equal(under, jax.random.key_data(stream.key(3)))


def drawn_from_a_number(path):
    """Calls that fold a number into a key, or make a generator of one, where it stands written out:
    as itself or as a constant of the module."""
    tree = ast.parse(path.read_text("utf-8"))
    constants = {
        name.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.BinOp)
        for name in node.targets
        if isinstance(name, ast.Name)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in ("fold_in", "default_rng", "SeedSequence"):
            continue
        numbers = node.args[1:] if node.func.attr == "fold_in" else node.args
        for part in itertools.chain.from_iterable(map(ast.walk, numbers)):
            number = isinstance(part, ast.Constant) and isinstance(part.value, int)
            if number or (isinstance(part, ast.Name) and part.id in constants):
                yield f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_number_of_a_stream_stands_elsewhere(path):
    assert not list(drawn_from_a_number(path))


def test_a_number_would_be_found(tmp_path):
    path = tmp_path / "module.py"
    for line in ("np.random.default_rng([7, seed])", "jax.random.fold_in(key, STREAM)"):
        path.write_text(f"STREAM = 2**32 - 1\nx = {line}\n", "utf-8")
        assert len(list(drawn_from_a_number(path))) == 1
