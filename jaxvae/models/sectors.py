"""Loadings that are drawn around those of their sector, so that sparse assets borrow from it."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxvae.models.distributions import Gaussian
from jaxvae.models.layers import half_width

FIRST_VARIANCE = 0.01


class SectorLoadings(nn.Module):
    """x_a = w_a · h with uncertain loadings w_a, a hierarchical model fitted by variational Bayes.

        w_a ~ N(M_s(a), diag τ²)        prior, s(a) the asset's sector; M and τ learned
        q(w_a) = N(m_a, diag v_a)       posterior

    Under q the product has mean m_a · h and variance Σ_k h_k² v_ak, both in closed form, and the
    cost of knowing w is KL(q ‖ p), `loadings_divergence`, once a data set (empirical Bayes in the
    manner of Hinton & van Camp 1993; Gelman & Hill 2007 on what the prior does). An asset with many
    dates keeps the loadings that its own returns ask for; one with few falls back on its sector's.

    sectors: each asset's, counted from 0. fan_in: what the first m, uniform on ±1/√fan_in, is by.
    """

    sectors: tuple[int, ...]
    fan_in: int

    @nn.compact
    def __call__(
        self, columns: Float[Array, "row column"]
    ) -> tuple[Float[Array, "row asset"], Float[Array, "row asset"]]:
        """Mean and variance of each product."""
        n_columns, shape = columns.shape[-1], (columns.shape[-1], len(self.sectors))
        first = nn.initializers.constant(jnp.log(FIRST_VARIANCE))
        kernel = self.param("kernel", half_width(self.fan_in), shape)
        log_variance = self.param("log_variance", first, shape)
        self.param("sector_mean", nn.initializers.zeros, (n_columns, max(self.sectors) + 1))
        self.param("log_spread", nn.initializers.zeros, (n_columns,))
        return columns @ kernel, columns**2 @ jnp.exp(log_variance)


def loadings_divergence(parameters: Any, sectors: tuple[int, ...]) -> Float[Array, ""]:
    """KL(q ‖ p) of all loadings, nats, from the parameters of a `SectorLoadings`."""
    centre = parameters["sector_mean"][:, jnp.asarray(sectors)]
    spread = jnp.broadcast_to(parameters["log_spread"][:, None], centre.shape)
    posterior = Gaussian(parameters["kernel"], parameters["log_variance"])
    return jnp.sum(posterior.factor_kl(Gaussian(centre, spread), jnp.ones_like(centre)))
