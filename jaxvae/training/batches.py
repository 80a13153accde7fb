"""How an epoch's rows are cut into batches: rows at random, or blocks of consecutive ones."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxvae.models.model import Batch


def shuffle(
    key: Key[Array, ""], row_weights: Float[Array, " row"], batch_size: int
) -> tuple[Int[Array, "batch slot"], Float[Array, "batch slot"]]:
    """Rows in random order, those in use first, cut into batches.

    A short batch is filled with its first row at weight 0, so that nothing in it is a row that is
    not in use, nor one that batch norm has not seen; an empty one with the first of all.
    """
    n_rows = row_weights.shape[0]
    n_batches = math.ceil(n_rows / batch_size)
    order = _random_order(key, row_weights > 0.0)
    padding = (0, n_batches * batch_size - n_rows)
    rows = jnp.pad(order, padding).reshape(n_batches, batch_size)
    weights = jnp.pad(row_weights[order], padding).reshape(n_batches, batch_size)
    filling = jnp.where(weights[:, :1] > 0.0, rows[:, :1], order[0])
    return jnp.where(weights > 0.0, rows, filling), weights


def blocks(
    key: Key[Array, ""], row_weights: Float[Array, " row"], batch_size: int
) -> tuple[Int[Array, "batch slot"], Float[Array, "batch slot"]]:
    """Blocks of consecutive rows from the first in use on, in random order, those with rows in use
    first. Rows of weight 0 keep their place in time.

    The likelihood of blocks that are taken as independent is a composite likelihood: each block has
    its own exact law, so that its optimum is the right one (Varin, Reid & Firth 2011).
    """
    n_rows = row_weights.shape[0]
    n_batches = math.ceil(n_rows / batch_size)
    places = jnp.argmax(row_weights > 0.0) + jnp.arange(n_batches * batch_size)
    rows = jnp.minimum(places, n_rows - 1)
    weights = jnp.where(places < n_rows, row_weights[rows], 0.0).reshape(n_batches, batch_size)
    order = _random_order(key, jnp.any(weights > 0.0, axis=1))
    return rows.reshape(n_batches, batch_size)[order], weights[order]


def unobserve(batch: Batch) -> Batch:
    """Rows of weight 0 tell those in use nothing."""
    in_use = jnp.where(batch.weights > 0.0, 1.0, 0.0)[:, None]
    return batch._replace(values=in_use * batch.values, observed=in_use * batch.observed)


def _random_order(key: Key[Array, ""], used: Bool[Array, " row"]) -> Int[Array, " row"]:
    """Row indices, those in use first and in uniformly random order.

    A row's index stands in the low bits of its random number, so that numbers are sorted alone,
    which is many times faster than sorting pairs. Rows whose bits above are equal stay in the order
    they were in, so sorting is repeated until the bits drawn tell n³ places apart: no two rows tie
    each time but in one of 2n shuffles.
    """
    n_rows = used.shape[0]
    n_low = max(1, (n_rows - 1).bit_length())
    low = jnp.uint32((1 << n_low) - 1)
    unused = jnp.where(used, jnp.uint32(0), jnp.uint32(1 << 31))
    order = jnp.arange(n_rows, dtype=jnp.uint32)
    for drawn in jax.random.bits(key, (-(-3 * n_low // (31 - n_low)), n_rows), jnp.uint32):
        rank = (drawn >> 1 & ~low) | unused[order]
        order = order[jnp.sort(rank | jnp.arange(n_rows, dtype=jnp.uint32)) & low]
    return order.astype(jnp.int32)
