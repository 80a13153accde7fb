"""The member of the family that a configuration describes."""

from jaxvae.models.autoregressive import autoregressive_vae
from jaxvae.models.config import ModelConfig
from jaxvae.models.model import Model
from jaxvae.models.static import static_vae
from jaxvae.models.temporal import temporal_vae


def build(config: ModelConfig, n_assets: int) -> Model:
    """The VAE of a configuration for a number of assets; equal arguments give the same object."""
    if config.memory is not None:
        return temporal_vae(config, n_assets)
    make = autoregressive_vae if config.dynamics == "autoregressive" else static_vae
    return make(config, n_assets)
