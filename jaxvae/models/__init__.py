"""The family of models; the only place that knows of Flax."""

from jaxvae.models.base import (
    Batch,
    Model,
    Variables,
    make_batch,
    standard_normal_prior,
    take_rows,
)
from jaxvae.models.static import ModelConfig, static_vae

__all__ = [
    "Batch",
    "Model",
    "ModelConfig",
    "Variables",
    "make_batch",
    "standard_normal_prior",
    "static_vae",
    "take_rows",
]
