"""The optax chain that moves a member's parameters."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from jaxvae.models.model import is_matrix
from jaxvae.training.config import TrainConfig

# Below the rounding of Adam's ε = 1e-8, so that no step is another: without it √ν has no gradient
# where a parameter's gradient is 0, and no training could be differentiated.
B1, B2, EPS, EPS_ROOT = 0.9, 0.999, 1e-8, 1e-32


@functools.cache
def make_optimiser(
    config: TrainConfig, decayed: Callable[[Any], Any] = is_matrix
) -> optax.GradientTransformationExtraArgs:
    """The chain of a configuration.

    Clipping by the global norm, Adam's direction (Kingma & Ba 2015), decoupled weight decay, and
    the learning rate, which `update` takes as an argument, so that a schedule and members with
    rates of their own share one program. Clipping and Adam see all parameters as one vector: a few
    large operations instead of a few for every layer.

    Args:
        config: whose `optimiser` stands in place of all this where there is one.
        decayed: of the parameters, which leaves decay (`Model.decayed`).

    Returns:
        A chain whose `update` takes `learning_rate`, `value` and `used`, whether the batch has any
        weight: where not, its state stays as it is.
    """
    if config.optimiser is not None:
        return _where_used(config.optimiser)
    parts = [_scale_by_adam()]
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    chain = [optax.flatten(optax.chain(*parts))]
    if config.weight_decay:
        chain.append(optax.add_decayed_weights(config.weight_decay, mask=decayed))
    return optax.chain(*chain, scale_by_given_rate())


def scale_by_given_rate() -> optax.GradientTransformationExtraArgs:
    """Updates times -1 and the argument `learning_rate` of `update`; for chains of one's own."""

    def update(
        updates: Any, state: Any, params: Any = None, *, learning_rate: Float[Array, ""], **_: Any
    ) -> tuple[Any, Any]:
        del params
        return jax.tree.map(lambda update: -learning_rate * update, updates), state

    return optax.GradientTransformationExtraArgs(lambda _: optax.EmptyState(), update)


def _scale_by_adam() -> optax.GradientTransformationExtraArgs:
    """As `optax.scale_by_adam`, to the bit; a batch that is not used decays nothing, by the weights
    of the two means. Choosing between old and new means would cost passes over all parameters."""
    plain = optax.scale_by_adam(B1, B2, EPS, EPS_ROOT)

    def update(
        updates: Any, state: Any, params: Any = None, *, used: Bool[Array, ""], **_: Any
    ) -> tuple[Any, Any]:
        del params

        def moved(means: Any, news: Any, decay: float) -> Any:
            old, new = jnp.where(used, decay, 1.0), jnp.where(used, 1.0 - decay, 0.0)
            return jax.tree.map(lambda one, mean: new * one + old * mean, news, means)

        mu = moved(state.mu, updates, B1)
        nu = moved(state.nu, jax.tree.map(jnp.square, updates), B2)
        count = state.count + used
        done = jnp.maximum(count, 1)
        direction = jax.tree.map(
            lambda m, v: m / (jnp.sqrt(v + EPS_ROOT) + EPS),
            optax.tree.bias_correction(mu, B1, done),
            optax.tree.bias_correction(nu, B2, done),
        )
        return direction, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformationExtraArgs(plain.init, update)


def _where_used(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """A chain that moves nothing for a batch that is not used."""
    inner = optax.with_extra_args_support(inner)

    def update(
        updates: Any, state: Any, params: Any = None, *, used: Bool[Array, ""], **arguments: Any
    ) -> tuple[Any, Any]:
        moved, new = inner.update(updates, state, params, **arguments)
        still = jax.tree.map(jnp.zeros_like, moved)
        return jax.tree.map(functools.partial(jnp.where, used), (moved, new), (still, state))

    return optax.GradientTransformationExtraArgs(inner.init, update)
