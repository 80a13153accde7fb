"""A function of one fitted member, asked of all."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt32

from jaxvae.models.model import Variables
from jaxvae.training.ensemble import Ensemble
from jaxvae.training.tiles import Devices, compile_for, map_members


class Fitted(NamedTuple):
    """Members ready for use, member axis first: what they learned, and a number each that tells
    their random draws apart."""

    variables: Variables
    seed: UInt32[Array, "*members"]


def fitted_members(ensemble: Ensemble) -> Fitted:
    """All members of an ensemble, the diverged ones at their last good epoch."""
    return Fitted(ensemble.variables, ensemble.members.seed)


def ask(
    function: Callable[..., Any],
    fitted: Fitted,
    shared: Mapping[str, Any],
    /,
    *,
    own_draws: bool = False,
    tile_width: int | None = None,
    devices: Devices | None = None,
    **static: Any,
) -> Any:
    """`function(variables=…, **shared, **static)` of every member.

    Args:
        function: of one member, by keyword; a function of a module, so that it is compiled once for
            equal static arguments.
        fitted: the members.
        shared: arrays that all of them see, by name: a batch, a random key.
        own_draws: each member's "key" is folded with its seed; else all have the same draws.
        tile_width: members at once on each device, by default what suits it.
        devices: by default all of this process.
        static: what a program is compiled for: the model, numbers of draws.

    Returns:
        What the function returns, as host arrays with the member axis first.
    """
    question = function, own_draws, tuple(sorted(static.items()))
    return map_members(
        _ask_member, fitted, dict(shared), *question, tile_width=tile_width, devices=devices
    )


def compile_ask(
    function: Callable[..., Any],
    variables: Variables,
    shared: Mapping[str, Any],
    /,
    *,
    tile_width: int | None = None,
    **static: Any,
) -> None:
    """Compile what `ask` runs for members whose variables have one's shapes."""
    member = Fitted(variables, jnp.uint32(0))
    question = function, False, tuple(sorted(static.items()))
    compile_for(_ask_member, member, dict(shared), *question, tile_width=tile_width)


def _ask_member(
    member: Fitted,
    shared: dict[str, Any],
    function: Callable[..., Any],
    own_draws: bool,
    static: tuple[tuple[str, Any], ...],
) -> Any:
    if own_draws:
        shared = {**shared, "key": jax.random.fold_in(shared["key"], member.seed)}
    return function(variables=member.variables, **shared, **dict(static))
