"""The family of models; the only place that knows of Flax."""

from jaxvae.models.autoregressive import autoregressive_vae, linear_gaussian, persistence
from jaxvae.models.build import build
from jaxvae.models.config import ModelConfig
from jaxvae.models.model import (
    Batch,
    Exact,
    Model,
    Variables,
    factors_used,
    make_batch,
    standard_normal_prior,
    take_rows,
)
from jaxvae.models.static import df_of, standard_t_prior, static_vae
from jaxvae.models.temporal import persistence_of, temporal_vae

__all__ = [
    "Batch",
    "Exact",
    "Model",
    "ModelConfig",
    "Variables",
    "autoregressive_vae",
    "build",
    "df_of",
    "factors_used",
    "linear_gaussian",
    "make_batch",
    "persistence",
    "persistence_of",
    "standard_normal_prior",
    "standard_t_prior",
    "static_vae",
    "take_rows",
    "temporal_vae",
]
