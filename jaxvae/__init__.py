"""Latent factors in panels of asset returns: ensembles of VAEs as one compiled JAX program.

What is public is imported when first used, so that a script pays only for what it needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxvae.xla import keep_reductions_right

keep_reductions_right()

if TYPE_CHECKING:
    from jaxvae import analysis as analysis
    from jaxvae.data import panel_from_frame as panel_from_frame
    from jaxvae.data import read_panel as read_panel
    from jaxvae.data.covariates import calendar as calendar
    from jaxvae.data.covariates import trailing_volatility as trailing_volatility
    from jaxvae.data.covariates import with_covariates as with_covariates
    from jaxvae.data.named import load_french as load_french
    from jaxvae.data.named import load_sp500 as load_sp500
    from jaxvae.data.named import load_stocks as load_stocks
    from jaxvae.data.named import load_tickers as load_tickers
    from jaxvae.data.panel import Panel as Panel
    from jaxvae.data.panel import Reference as Reference
    from jaxvae.data.panel import fit_scaler as fit_scaler
    from jaxvae.data.panel import split_dates as split_dates
    from jaxvae.data.regimes import regimes_panel as regimes_panel
    from jaxvae.data.synthetic import linear_panel as linear_panel
    from jaxvae.data.synthetic import nonlinear_panel as nonlinear_panel
    from jaxvae.data.synthetic import volatility_index_panel as volatility_index_panel
    from jaxvae.errors import DataError as DataError
    from jaxvae.errors import FolderError as FolderError
    from jaxvae.errors import JaxvaeError as JaxvaeError
    from jaxvae.errors import MissingExtraError as MissingExtraError
    from jaxvae.errors import OptionError as OptionError
    from jaxvae.inference.importance import log_likelihood as log_likelihood
    from jaxvae.integrations.sklearn import VAEFactors as VAEFactors
    from jaxvae.models import Batch as Batch
    from jaxvae.models import Model as Model
    from jaxvae.models import ModelConfig as ModelConfig
    from jaxvae.models import Variables as Variables
    from jaxvae.models import autoregressive_vae as autoregressive_vae
    from jaxvae.models import kalman as kalman
    from jaxvae.models import make_batch as make_batch
    from jaxvae.models import static_vae as static_vae
    from jaxvae.models.distributions import Gaussian as Gaussian
    from jaxvae.models.distributions import IndependentT as IndependentT
    from jaxvae.models.distributions import StudentT as StudentT
    from jaxvae.study.conditional_scenarios import scenarios_given as scenarios_given
    from jaxvae.study.config import StudyConfig as StudyConfig
    from jaxvae.study.folder import Study as Study
    from jaxvae.study.folder import load_study as load_study
    from jaxvae.study.forecasts import forecast as forecast
    from jaxvae.study.forecasts import forecast_covariance as forecast_covariance
    from jaxvae.study.forecasts import paths as paths
    from jaxvae.study.new_assets import NewAsset as NewAsset
    from jaxvae.study.new_assets import new_asset as new_asset
    from jaxvae.study.study import encode as encode
    from jaxvae.study.study import impute as impute
    from jaxvae.study.study import run_study as run_study
    from jaxvae.study.study import scenarios as scenarios
    from jaxvae.study.study import write_study as write_study
    from jaxvae.training.ensemble import member_grid as member_grid
    from jaxvae.training.ensemble import train_ensemble as train_ensemble
    from jaxvae.training.member import fit as fit
    from jaxvae.training.state import Data as Data
    from jaxvae.training.state import Hyperparameters as Hyperparameters
    from jaxvae.training.state import TrainConfig as TrainConfig
    from jaxvae.training.state import make_data as make_data
    from jaxvae.training.state import make_hyperparameters as make_hyperparameters
    from jaxvae.walk.config import WalkConfig as WalkConfig
    from jaxvae.walk.folder import load_walk as load_walk
    from jaxvae.walk.folder import write_walk as write_walk
    from jaxvae.walk.walk import Walk as Walk
    from jaxvae.walk.walk import walk_forward as walk_forward

_MODULES = {"analysis": "jaxvae.analysis", "kalman": "jaxvae.models.kalman"}
_NAMES = {
    "jaxvae.data": ("panel_from_frame", "read_panel"),
    "jaxvae.data.covariates": ("calendar", "trailing_volatility", "with_covariates"),
    "jaxvae.data.named": ("load_french", "load_sp500", "load_stocks", "load_tickers"),
    "jaxvae.data.panel": ("Panel", "Reference", "fit_scaler", "split_dates"),
    "jaxvae.data.regimes": ("regimes_panel",),
    "jaxvae.data.synthetic": ("linear_panel", "nonlinear_panel", "volatility_index_panel"),
    "jaxvae.errors": (
        "DataError",
        "FolderError",
        "JaxvaeError",
        "MissingExtraError",
        "OptionError",
    ),
    "jaxvae.inference.importance": ("log_likelihood",),
    "jaxvae.integrations.sklearn": ("VAEFactors",),
    "jaxvae.models": (
        "Batch",
        "Model",
        "ModelConfig",
        "Variables",
        "autoregressive_vae",
        "make_batch",
        "static_vae",
    ),
    "jaxvae.models.distributions": ("Gaussian", "IndependentT", "StudentT"),
    "jaxvae.study.conditional_scenarios": ("scenarios_given",),
    "jaxvae.study.config": ("StudyConfig",),
    "jaxvae.study.folder": ("Study", "load_study"),
    "jaxvae.study.forecasts": ("forecast", "forecast_covariance", "paths"),
    "jaxvae.study.new_assets": ("NewAsset", "new_asset"),
    "jaxvae.study.study": ("encode", "impute", "run_study", "scenarios", "write_study"),
    "jaxvae.training.ensemble": ("member_grid", "train_ensemble"),
    "jaxvae.training.member": ("fit",),
    "jaxvae.training.state": (
        "Data",
        "Hyperparameters",
        "TrainConfig",
        "make_data",
        "make_hyperparameters",
    ),
    "jaxvae.walk.config": ("WalkConfig",),
    "jaxvae.walk.folder": ("load_walk", "write_walk"),
    "jaxvae.walk.walk": ("Walk", "walk_forward"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted([*_MODULES, *_HOMES])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxvae")
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'jaxvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
