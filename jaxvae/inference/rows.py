"""A function of one row of a fitted member, asked of many rows.

Rows are worked out in blocks of one size, each row as a batch of its own, so that what is said of a
row depends on it alone: to the last bit, it is the same in any place among any other rows. Numbers
of blocks are rounded up, so that those near to each other share a program; the blocks added are not
worked out.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxvae.inference.members import Fitted, ask
from jaxvae.models.model import Variables
from jaxvae.training.tiles import pad

ROWS_A_BLOCK = 32
STEPS_AN_OCTAVE = 4


def padded_size(number: int) -> int:
    """A number of rows rounded up: 32, 64, 96, … by blocks, from 256 on four sizes to each
    doubling."""
    step = (1 << max(number - 1, 0).bit_length()) // (2 * STEPS_AN_OCTAVE)
    step = max(ROWS_A_BLOCK, step)
    return max(ROWS_A_BLOCK, -(-number // step) * step)


def ask_member(
    function: Callable[..., Any], variables: Variables, shared: Mapping[str, Any], /, **static: Any
) -> Any:
    """`function(variables=…, **shared, **static)` of one member, by a program that is compiled once
    for equal static arguments and shapes.

    Args:
        function: of one member, by keyword; a function of a module.
        variables: of the member, without a member axis.
        shared: arrays, by name.
        static: what a program is compiled for.

    Returns:
        What the function returns, as host arrays.
    """
    number: Any = np.uint32(0)
    alone = jax.tree.map(lambda leaf: np.asarray(leaf)[None], Fitted(variables, number))
    device = (jax.local_devices()[0],)
    answer = ask(function, alone, shared, tile_width=1, devices=device, **static)
    return jax.tree.map(lambda leaf: leaf[0], answer)


def ask_rows(
    function: Callable[..., Any],
    variables: Variables,
    rows: Mapping[str, Any],
    shared: Mapping[str, Any] | None = None,
    /,
    *,
    block: int = ROWS_A_BLOCK,
    **static: Any,
) -> Any:
    """`function(variables=…, **one row, **shared, **static)` of every row.

    Args:
        function: of one member and a batch of one row, by keyword; a function of a module. It
            returns arrays with the row axis first.
        variables: of the member.
        rows: what differs between rows, by name: trees of arrays with the row axis first.
        shared: what does not, by name, such as a key: every row then has the same draws.
        block: rows at once, a divisor of 32; 1 where some of them take much longer than others.
        static: what a program is compiled for.

    Returns:
        What the function returns for all rows, as host arrays.
    """
    n_rows = len(jax.tree.leaves(dict(rows))[0])
    given = {
        "rows": pad(dict(rows), padded_size(n_rows), "constant"),
        "n_blocks": np.int32(-(-n_rows // block)),
        "shared": dict(shared or {}),
    }
    settings = tuple(sorted(static.items()))
    answer = ask_member(
        _by_blocks, variables, given, function=function, settings=settings, block=block
    )
    return jax.tree.map(lambda leaf: leaf[:n_rows], answer)


def _by_blocks(
    variables: Variables,
    rows: dict[str, Any],
    n_blocks: Array,
    shared: dict[str, Any],
    function: Callable[..., Any],
    settings: tuple[tuple[str, Any], ...],
    block: int,
) -> Any:
    size = len(jax.tree.leaves(rows)[0])

    def alone(row: dict[str, Any]) -> Any:
        batch_of_one = jax.tree.map(lambda leaf: leaf[None], row)
        answer = function(variables=variables, **batch_of_one, **shared, **dict(settings))
        return jax.tree.map(lambda leaf: leaf[0], answer)

    def answers(number: Array) -> Any:
        start = number * block
        there = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, block), rows)
        return jax.vmap(alone)(there)

    return in_blocks(answers, size // block, (0, n_blocks), 0.0)


def in_blocks(
    function: Callable[[Array], Any],
    n_blocks: int,
    bounds: tuple[int | Array, int | Array],
    blank: float,
) -> Any:
    """A function of blocks of rows, one block after another.

    Args:
        function: of a block's number; it returns arrays with the block's row axis first.
        n_blocks: of all rows.
        bounds: first block to be worked out, and the one after the last.
        blank: stands in the others.

    Returns:
        What the function returns, with the axis of all rows first.
    """

    def put(number: Array, found: Any) -> Any:
        def write(whole: Array, part: Array) -> Array:
            return jax.lax.dynamic_update_index_in_dim(whole, part, number, 0)

        return jax.tree.map(write, found, function(number))

    like = jax.eval_shape(function, jnp.int32(0))
    start = jax.tree.map(lambda leaf: jnp.full((n_blocks, *leaf.shape), blank, leaf.dtype), like)
    found = jax.lax.fori_loop(*bounds, put, start)
    return jax.tree.map(
        lambda leaf: leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:]), found
    )
