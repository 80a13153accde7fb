"""Held-out log p(x) of a fitted model and means under its posterior, by importance sampling.

An encoder is a poor proposal: trained at β its variance is about β times the posterior's, and below
β ≈ ½ the weights' variance is infinite. So its mean is only where the search for each row's modes
starts (`modes`), and draws come from a mixture around these (`proposal`). With a linear decoder and
Gaussian noise that is the exact posterior. Rows with few effective samples are drawn again, more
often, from a mixture that is adapted to them. A mode that nobody found is not in any error.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxvae.inference.adaptation import PER_ROUND, adapted, adapted_strata
from jaxvae.inference.joint import Joint
from jaxvae.inference.modes import Modes, posterior_modes
from jaxvae.inference.proposal import Proposal, propose, strata, weighted_draw
from jaxvae.inference.rows import in_blocks
from jaxvae.models.model import Batch, Model, Variables, take_rows
from jaxvae.training.objective import LikelihoodEstimate

# The logarithm of a mean weight errs by about -½ its squared standard error, here -.03 nats: above
# this it is not to be trusted.
LARGEST_ERROR = 0.25
LIKELIHOOD_SAMPLES = 128  # a date, where nobody asks for another number
# A row is drawn again where a smaller share of its samples than this is effective.
EFFECTIVE_SHARE = 0.25
# Rows at once: what a CPU's caches hold, so that no draw goes through the memory of all rows.
ROWS_AT_ONCE = {"cpu": 256}


class Mean(NamedTuple):
    """Of each row: the estimate of its log p(x), and a mean under its posterior."""

    likelihood: LikelihoodEstimate
    value: Float[Array, "row size"]


Statistic = Callable[[Joint, Float[Array, "row factor"]], Float[Array, "row size"]]


def log_likelihood(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
) -> LikelihoodEstimate:
    """Each row's log p(x) over its observed cells, in nats, from `n_samples` importance samples.

    The mixture is stratified: every component gives its share of the samples, and every sample is
    weighed against the whole mixture. The standard error ignores the strata and so errs upward; it
    is infinite for one sample. A row of whose samples less than a quarter are effective is drawn
    again: 1,792 samples adapt its mixture, as many come from that. Of a model that knows its
    likelihood no sample is drawn: the error is 0, every sample effective.

    Args:
        key: of the draws.
        model: with `variables`, one member.
        variables: of the member.
        batch: rows in standard units.
        n_samples: importance samples a row.

    Returns:
        Of each row the estimate and its standard error, in nats, and how many samples are effective
        (`LikelihoodEstimate`).
    """
    if model.log_likelihood is not None:
        return first_estimate(key, model, variables, batch, n_samples)[0]
    joint = Joint(model, variables, batch)
    return _posterior_mean(key, joint, n_samples, _nothing).likelihood


def first_estimate(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
    asked: Int[Array, "2"] | None = None,
) -> tuple[LikelihoodEstimate, Modes | None]:
    """`log_likelihood` before any row is drawn again, and the modes that the draws lie around, with
    the row axis first; None for a model that knows its likelihood.

    Args:
        key, model, variables, batch, n_samples: as `log_likelihood` takes them.
        asked: start and stop of the rows that matter; others may be left NaN. Which they are
            changes no draw.
    """
    if model.log_likelihood is not None:
        value = model.log_likelihood(variables, batch)
        return LikelihoodEstimate(
            value, jnp.zeros_like(value), jnp.full_like(value, n_samples)
        ), None
    key_first, _ = jax.random.split(key)
    joint = Joint(model, variables, batch)
    found, modes = _first_mean(key_first, joint, n_samples, _nothing, asked)
    return found.likelihood, modes


def second_estimate(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    row: Batch,
    number: Int[Array, ""] | int,
    modes: Modes,
) -> LikelihoodEstimate:
    """The log p(x) of one row that is hard to estimate, with the draws of `log_likelihood`.

    Args:
        key: as `first_estimate` had it.
        model: with `variables`, one member.
        variables: of the member.
        row: the row, alone in a batch.
        number: its place among the rows of the first estimate, which tells its draws from theirs.
        modes: of the row, from the first estimate.
    """
    _, key_again = jax.random.split(key)
    joint = Joint(model, variables, row)
    return _drawn_again(key_again, joint, number, modes, _nothing).likelihood


def is_hard(
    estimate: LikelihoodEstimate, n_samples: int
) -> Bool[Array | np.ndarray, "*members row"]:
    """Rows that want more samples: of theirs less than a quarter are effective.

    Args:
        estimate: of each row, from the first draws.
        n_samples: how many these were.
    """
    return estimate.effective_samples < EFFECTIVE_SHARE * n_samples


def _nothing(joint: Joint, factors: Float[Array, "row factor"]) -> Float[Array, "row 0"]:
    del joint
    return factors[:, :0]


def posterior_mean_of_returns(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
    """E[E[x | z] | x_o] of each row, z given its observed cells, and its log p(x_o), nats.

    Self-normalised importance sampling with the draws of `log_likelihood`, Σ w g(z)/Σ w. With a
    decoder whose cells are uncorrelated given z this is E[x | x_o] for the cells that are missing.
    """

    def expected(joint: Joint, factors: Float[Array, "row factor"]) -> Float[Array, "row asset"]:
        return joint.observation(factors).mean

    joint = Joint(model, variables, batch)
    found = _posterior_mean(key, joint, n_samples, expected)
    return found.value, found.likelihood.value


def _posterior_mean(
    key: Key[Array, ""], joint: Joint, n_samples: int, statistic: Statistic
) -> Mean:
    """Means of a statistic under each row's posterior; hard rows are drawn again, one by one.

    Where every row is easy, and where rows depend on each other, there is no second pass.
    """
    key_first, key_again = jax.random.split(key)
    found, modes = _first_mean(key_first, joint, n_samples, statistic)
    if joint.model.facts.ordered:
        return found

    def again(carry: tuple[Bool[Array, " row"], Mean]) -> tuple[Array, Mean]:
        left, found = carry
        row = jnp.argmax(left)
        alone = joint._replace(batch=take_rows(joint.batch, row[None]))
        its_modes = Modes(*(part[row[None]] for part in modes))
        drawn = _drawn_again(key_again, alone, row, its_modes, statistic)
        put = jax.tree.map(lambda old, new: old.at[row].set(new[0]), found, drawn)
        return left.at[row].set(False), put

    hard = jnp.asarray(is_hard(found.likelihood, n_samples))
    return jax.lax.while_loop(lambda carry: jnp.any(carry[0]), again, (hard, found))[1]


def _first_mean(
    key: Key[Array, ""],
    joint: Joint,
    n_samples: int,
    statistic: Statistic,
    asked: Int[Array, "2"] | None = None,
) -> tuple[Mean, Modes]:
    """Means from draws around each row's modes, and these modes with the row axis first; blocks of
    rows one after another where rows do not depend on each other."""

    def draw_rows(key: Key[Array, ""], batch: Batch) -> tuple[Mean, Modes]:
        informed = joint._replace(batch=batch).informed()
        modes = posterior_modes(*informed)
        proposal, components = propose(modes, n_samples), strata(n_samples)
        found = _weigh(key, informed, proposal, components, 1, statistic)
        return found, _swapped(modes)

    if joint.model.facts.ordered:
        return draw_rows(key, joint.batch)
    found: tuple[Mean, Modes] = _by_blocks(draw_rows, key, joint.batch, asked)
    return found


def _swapped(modes: Modes) -> Modes:
    """With row and mode, the first two axes, in each other's place."""
    return Modes(*(jnp.swapaxes(leaf, 0, 1) for leaf in modes))


def _by_blocks(
    function: Callable[[Key[Array, ""], Batch], Any],
    key: Key[Array, ""],
    batch: Batch,
    asked: Int[Array, "2"] | None,
) -> Any:
    """A function of independent rows, so many at a time as suit the device; NaN for blocks with no
    row between those asked for."""
    n_rows = len(batch.values)
    size = ROWS_AT_ONCE.get(jax.default_backend(), n_rows)
    if n_rows <= size:
        return function(key, batch)
    n_blocks = -(-n_rows // size)
    places = jnp.minimum(jnp.arange(n_blocks * size), n_rows - 1).reshape(n_blocks, size)

    def of_block(number: Int[Array, ""]) -> Any:
        return function(jax.random.fold_in(key, number), take_rows(batch, places[number]))

    # The bounds are data, so that one program serves all rows and some.
    bounds = (0, n_blocks) if asked is None else (asked[0] // size, -(-asked[1] // size))
    found = in_blocks(of_block, n_blocks, bounds, jnp.nan)
    return jax.tree.map(lambda leaf: leaf[:n_rows], found)


def _drawn_again(
    key: Key[Array, ""],
    joint: Joint,
    number: Int[Array, ""] | int,
    modes: Modes,
    statistic: Statistic,
) -> Mean:
    """The mean of one row from a mixture that is adapted to it; its draws do not depend on which
    others are hard. modes: of the row, with the row axis first."""
    key_adapt, key_draw = jax.random.split(jax.random.fold_in(key, number))
    joint = joint.informed()
    better = adapted(key_adapt, joint, propose(_swapped(modes), PER_ROUND))
    return _weigh(key_draw, joint, better, adapted_strata(), PER_ROUND, statistic)


class _Sums(NamedTuple):
    """Over the draws so far: their largest log weight, and relative to it Σw, Σw² and Σw g."""

    top: Float[Array, " row"]
    total: Float[Array, " row"]
    squares: Float[Array, " row"]
    products: Float[Array, "row size"]


def _weigh(
    key: Key[Array, ""],
    joint: Joint,
    proposal: Proposal,
    components: Int[np.ndarray, " draw"],
    block: int,
    statistic: Statistic,
) -> Mean:
    """Importance-weighted means over draws from the components named, so many at once as `block`
    says; memory does not grow with their number."""

    def weighted(key: Key[Array, ""], component: Int[Array, ""]) -> tuple[Array, Array]:
        factors, log_weight = weighted_draw(key, joint, proposal, component)
        return log_weight, statistic(joint, factors)

    def weigh_one(keys: Array, components: Array) -> tuple[Array, Array]:
        # Not by `vmap`, under which both branches of `draw` would run for every draw.
        log_weight, value = weighted(keys[0], components[0])
        return log_weight[None], value[None]

    weigh_block = jax.vmap(weighted) if block > 1 else weigh_one

    def add(sums: _Sums, draws: tuple[Array, Array]) -> tuple[_Sums, None]:
        log_weights, values = weigh_block(*draws)
        top = jnp.maximum(sums.top, jnp.max(log_weights, axis=0))
        old, weights = jnp.exp(sums.top - top), jnp.exp(log_weights - top[None])
        return _Sums(
            top,
            old * sums.total + jnp.sum(weights, axis=0),
            old**2 * sums.squares + jnp.sum(weights**2, axis=0),
            old[:, None] * sums.products + jnp.einsum("dr,dra->ra", weights, values),
        ), None

    n_draws, values = len(components), joint.batch.values
    keys = jax.random.split(key, n_draws).reshape(-1, block)
    draws = keys, jnp.asarray(components).reshape(-1, block)
    shape = jax.eval_shape(lambda: weighted(keys[0, 0], draws[1][0, 0])[1]).shape
    zeros = jnp.zeros(len(values), values.dtype)
    start = _Sums(zeros - jnp.inf, zeros, zeros, jnp.zeros(shape, values.dtype))
    sums, _ = jax.lax.scan(add, start, draws)
    effective = sums.total**2 / sums.squares
    spread = jnp.maximum(n_draws / effective - 1.0, 0.0)
    # Of one sample nothing is known.
    error = jnp.sqrt(spread / (n_draws - 1)) if n_draws > 1 else zeros + jnp.inf
    value = sums.top + jnp.log(sums.total / n_draws)
    return Mean(LikelihoodEstimate(value, error, effective), sums.products / sums.total[:, None])
