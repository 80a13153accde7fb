"""A distribution of one's own: what it must have, and no more."""

import jax
import jax.numpy as jnp

from jaxvae.models.distributions import Distribution


class Laplace(Distribution):
    """Independent Laplace variables."""

    mean: jax.Array
    scale: jax.Array

    @property
    def variance(self):
        return 2.0 * self.scale**2

    def log_prob(self, values, used):
        distance = jnp.abs(values - self.mean) / self.scale
        return -jnp.sum(used * (jnp.log(2.0 * self.scale) + distance), axis=-1)

    def sample(self, key):
        return self.mean + self.scale * jax.random.laplace(key, self.mean.shape)
