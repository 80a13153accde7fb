"""Loadings that are drawn around those of their sector, so that sparse assets borrow from it."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxvae.models.distributions import Distribution, Gaussian, UncertainGaussian
from jaxvae.models.layers import dense, uniform_bound
from jaxvae.models.model import Batch
from jaxvae.models.static import Decoder, covariates_for

FIRST_VARIANCE = 0.01


class SectorLoadings(nn.Module):
    """x_a = w_a · z with uncertain loadings w_a, a hierarchical model fitted by variational Bayes.

        w_a ~ N(M_s(a), diag τ²)        prior, s(a) the asset's sector; M and τ learned
        q(w_a) = N(m_a, diag v_a)       posterior

    Under q the product has mean m_a · z and variance Σ_k z_k² v_ak, both in closed form, and the
    cost of knowing w is KL(q ‖ p), `loadings_divergence`, once a data set (empirical Bayes in the
    manner of Hinton & van Camp 1993; Gelman & Hill 2007 on what the prior does). An asset with many
    dates keeps the loadings that its own returns ask for; one with few falls back on its sector's.

    sectors: each asset's, counted from 0.
    """

    sectors: tuple[int, ...]

    @nn.compact
    def __call__(
        self, factors: Float[Array, "row factor"]
    ) -> tuple[Float[Array, "row asset"], Float[Array, "row asset"]]:
        """Mean and variance of each product."""
        n_factors = factors.shape[-1]
        shape = (n_factors, len(self.sectors))
        first = nn.initializers.constant(jnp.log(FIRST_VARIANCE))
        kernel = self.param("kernel", uniform_bound(n_factors), shape)
        log_variance = self.param("log_variance", first, shape)
        self.param("sector_mean", nn.initializers.zeros, (n_factors, max(self.sectors) + 1))
        self.param("log_spread", nn.initializers.zeros, (n_factors,))
        return factors @ kernel, factors**2 @ jnp.exp(log_variance)


class SectorDecoder(Decoder):
    """A linear decoder with Gaussian noise and `SectorLoadings`.

    Training is given the mean and variance of the loadings' part (`UncertainGaussian`), everybody
    else the distribution with the loadings integrated out.

    sectors: each asset's, counted from 0.
    """

    sectors: tuple[int, ...] = ()

    @nn.compact
    def __call__(
        self,
        factors: Float[Array, "row factor"],
        batch: Batch,
        training: bool,
        n_used: Float[Array, ""],
    ) -> Distribution:
        del n_used
        conditions = covariates_for("decoder" in self.conditioned, batch)
        mean, spread = SectorLoadings(self.sectors, name="curves")(factors)
        fan_in = factors.shape[-1] + conditions.shape[-1]
        mean += dense(self.n_assets, fan_in, "mean")(conditions)
        log_noise = jnp.broadcast_to(self.log_noise(batch), mean.shape)
        uncertain = UncertainGaussian(mean, log_noise, spread)
        return uncertain if training else uncertain.predictive


def loadings_divergence(parameters: Any, sectors: tuple[int, ...]) -> Float[Array, ""]:
    """KL(q ‖ p) of all loadings, nats, from the parameters of a `SectorLoadings`."""
    centre = parameters["sector_mean"][:, jnp.asarray(sectors)]
    spread = jnp.broadcast_to(parameters["log_spread"][:, None], centre.shape)
    posterior = Gaussian(parameters["kernel"], parameters["log_variance"])
    return jnp.sum(posterior.factor_kl(Gaussian(centre, spread), jnp.ones_like(centre)))
