"""The families of models; the only room that knows of Flax."""

from jaxvae.models.autoregressive import AutoregressiveConfig, linear_gaussian, persistence
from jaxvae.models.conditional import ConditionalConfig
from jaxvae.models.families import FAMILIES, OwnModel, describe_family, read_family
from jaxvae.models.likelihoods import df_of, standard_t_prior
from jaxvae.models.model import (
    Batch,
    Facts,
    Family,
    Model,
    Noise,
    Objective,
    Recurrence,
    Variables,
    factors_used,
    make_batch,
    standard_normal_prior,
    take_rows,
)
from jaxvae.models.static import AdditiveConfig, PerceptronConfig
from jaxvae.models.temporal import TemporalConfig

__all__ = [
    "FAMILIES",
    "AdditiveConfig",
    "AutoregressiveConfig",
    "Batch",
    "ConditionalConfig",
    "Facts",
    "Family",
    "Model",
    "Noise",
    "Objective",
    "OwnModel",
    "PerceptronConfig",
    "Recurrence",
    "TemporalConfig",
    "Variables",
    "describe_family",
    "df_of",
    "factors_used",
    "linear_gaussian",
    "make_batch",
    "persistence",
    "read_family",
    "standard_normal_prior",
    "standard_t_prior",
    "take_rows",
]
