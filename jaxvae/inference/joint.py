"""The law p(x, z) of a batch's rows under one member, which posteriors are looked for under."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxvae.models.distributions import Distribution
from jaxvae.models.model import Batch, Model, Variables, factors_used, inform


class Joint(NamedTuple):
    """log p(x, z) as a function of the factors z, with its parts.

    model, variables: one member.
    batch: the rows.
    """

    model: Model
    variables: Variables
    batch: Batch

    def informed(self) -> "Joint":
        """The same, with the rows as the model is informed of them."""
        return self._replace(batch=inform(*self))

    def observation(self, factors: Float[Array, "row factor"]) -> Distribution:
        """p(x | z)."""
        return self.model.decode(self.variables, factors, self.batch, False)[0]

    def prior(self, factors: Float[Array, "row factor"]) -> Distribution:
        """p(z)."""
        return self.model.prior(self.variables, factors, self.batch)

    def used(self, factors: Float[Array, "row factor"]) -> Float[Array, "row factor"]:
        """1 where a factor is in use, else 0."""
        return factors_used(self.variables, factors)

    def log_prob(self, factors: Float[Array, "row factor"]) -> Float[Array, " row"]:
        """log p(x, z) over the observed cells and the factors in use, nats."""
        observation = self.observation(factors)
        log_prior = self.prior(factors).log_prob(factors, self.used(factors))
        return log_prior + observation.log_prob(self.batch.values, self.batch.observed)

    def slope(self, factors: Float[Array, "row factor"]) -> Float[Array, "row factor"]:
        """∇ log p(x, z) in z."""
        return jax.grad(lambda at: jnp.sum(self.log_prob(at)))(factors)
