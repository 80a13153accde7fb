"""The family of models; the only place that knows of Flax."""

from jaxvae.models.base import (
    Batch,
    Model,
    Variables,
    factors_used,
    make_batch,
    standard_normal_prior,
    take_rows,
)
from jaxvae.models.config import ModelConfig
from jaxvae.models.static import freedom_of, standard_t_prior, static_vae
from jaxvae.models.temporal import persistence_of, temporal_vae

__all__ = [
    "Batch",
    "Model",
    "ModelConfig",
    "Variables",
    "factors_used",
    "freedom_of",
    "make_batch",
    "persistence_of",
    "standard_normal_prior",
    "standard_t_prior",
    "static_vae",
    "take_rows",
    "temporal_vae",
]
