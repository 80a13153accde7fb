"""Reductions of large arrays are right on a CPU, whichever way a program is compiled."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.xla import compiler_options, reductions_are_wrong

ROWS, COLUMNS, SIZE = 8313, 5, 20
VALUES = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def reach(mask, freedom, weights):
    """A sum over few columns of many rows, fused with a broadcast."""
    total = jnp.sum((jnp.asarray(VALUES) * mask[None, :]) ** 2, axis=-1)
    return jnp.log((freedom + total) / (freedom + jnp.sum(mask)))[:, None] + weights[None, :]


def largest_error(**options):
    found = jax.jit(reach, **options)(jnp.ones(COLUMNS), jnp.float32(2.0), jnp.zeros(SIZE))
    total = (VALUES.astype(float) ** 2).sum(axis=1)
    return np.abs(np.asarray(found) - np.log((2 + total) / (2 + COLUMNS))[:, None]).max()


def test_a_users_own_program_is_right():
    assert largest_error() < 1e-5


def test_our_programs_are_right_where_the_package_is_imported_late():
    script = f"""
import os, sys
os.environ.pop("XLA_FLAGS", None)
import jax
jax.numpy.zeros(3).block_until_ready()
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_xla import compiler_options, largest_error
assert largest_error(compiler_options=compiler_options("cpu")) < 1e-5
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_products_are_right_in_every_layout():
    """They stay with the library whose reductions are wrong."""
    rng = np.random.default_rng(1)
    left, right = (rng.normal(size=(3, 300, 200)).astype(np.float32) for _ in range(2))
    for layout in ("mij,mkj->mik", "mij,mik->mjk", "mij,nij->mn"):
        product = jax.jit(lambda a, b, layout=layout: jnp.einsum(layout, a, b))
        expected = np.einsum(layout, left.astype(float), right.astype(float))
        np.testing.assert_allclose(product(left, right), expected, rtol=1e-4, atol=2e-2)


def test_a_gpu_takes_no_option_of_a_cpus():
    assert compiler_options("gpu") == {}


@pytest.mark.parametrize(
    ("version", "wrong"),
    [("0.10.1", False), ("0.10.2", True), ("0.11.1", True), ("0.12.0", False), ("0.12.0.1", False)],
)
def test_which_versions_are_wrong(version, wrong):
    assert reductions_are_wrong(version) is wrong
