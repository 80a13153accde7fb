"""The optax chain that moves a member's parameters."""

import functools
from typing import Any

import jax
import optax
from jaxtyping import Array, Float

from jaxvae.training.config import TrainConfig

# Below the rounding of Adam's ε = 1e-8, so that no step is another: without it √ν has no gradient
# where a parameter's gradient is 0, and no training could be differentiated.
EPS_ROOT = 1e-32


@functools.cache
def make_optimiser(config: TrainConfig) -> optax.GradientTransformationExtraArgs:
    """The chain of a configuration.

    Clipping by the global norm, Adam's direction (Kingma & Ba 2015), decoupled decay of matrices,
    and the learning rate, which `update` takes as an argument, so that a schedule and members with
    rates of their own share one program. Clipping and Adam see all parameters as one vector: a few
    large operations instead of a few for every layer.

    Args:
        config: whose `optimiser` stands in place of all this where there is one.

    Returns:
        A chain whose `update` takes `learning_rate` and `value`.
    """
    if config.optimiser is not None:
        return optax.with_extra_args_support(config.optimiser)
    parts = [optax.scale_by_adam(eps_root=EPS_ROOT)]
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    chain = [optax.flatten(optax.chain(*parts))]
    if config.weight_decay:
        chain.append(optax.add_decayed_weights(config.weight_decay, mask=_matrices))
    return optax.chain(*chain, scale_by_given_rate())


def scale_by_given_rate() -> optax.GradientTransformationExtraArgs:
    """Updates times -1 and the argument `learning_rate` of `update`; for chains of one's own."""

    def update(
        updates: Any, state: Any, params: Any = None, *, learning_rate: Float[Array, ""], **_: Any
    ) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda update: -learning_rate * update, updates), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def _matrices(parameters: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)
