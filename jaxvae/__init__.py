"""Latent factors in panels of asset returns: ensembles of VAEs as one compiled JAX program.

What is public is imported when first used, so that a script pays only for what it needs.
"""

import importlib
from typing import Any

from jaxvae.xla import keep_reductions_right

keep_reductions_right()

_PUBLIC = {
    "analysis": ("jaxvae.analysis", None),
    "DataError": ("jaxvae.errors", "DataError"),
    "FolderError": ("jaxvae.errors", "FolderError"),
    "JaxvaeError": ("jaxvae.errors", "JaxvaeError"),
    "MissingExtraError": ("jaxvae.errors", "MissingExtraError"),
    "OptionError": ("jaxvae.errors", "OptionError"),
    "Panel": ("jaxvae.panel", "Panel"),
    "Reference": ("jaxvae.panel", "Reference"),
    "fit_scaler": ("jaxvae.panel", "fit_scaler"),
    "split_dates": ("jaxvae.panel", "split_dates"),
    "panel_from_frame": ("jaxvae.reading", "panel_from_frame"),
    "read_panel": ("jaxvae.reading", "read_panel"),
    "linear_panel": ("jaxvae.synthetic", "linear_panel"),
    "nonlinear_panel": ("jaxvae.synthetic", "nonlinear_panel"),
    "volatility_index_panel": ("jaxvae.synthetic", "volatility_index_panel"),
    "calendar": ("jaxvae.covariates", "calendar"),
    "trailing_volatility": ("jaxvae.covariates", "trailing_volatility"),
    "with_covariates": ("jaxvae.covariates", "with_covariates"),
    "Newcomer": ("jaxvae.newcomers", "Newcomer"),
    "newcomer": ("jaxvae.newcomers", "newcomer"),
    "regimes_panel": ("jaxvae.regimes", "regimes_panel"),
    "load_french": ("jaxvae.market", "load_french"),
    "load_sp500": ("jaxvae.market", "load_sp500"),
    "load_stocks": ("jaxvae.market", "load_stocks"),
    "load_tickers": ("jaxvae.market", "load_tickers"),
    "Gaussian": ("jaxvae.densities", "Gaussian"),
    "IndependentT": ("jaxvae.densities", "IndependentT"),
    "StudentT": ("jaxvae.densities", "StudentT"),
    "Batch": ("jaxvae.models", "Batch"),
    "Model": ("jaxvae.models", "Model"),
    "ModelConfig": ("jaxvae.models", "ModelConfig"),
    "Variables": ("jaxvae.models", "Variables"),
    "autoregressive_vae": ("jaxvae.models", "autoregressive_vae"),
    "kalman": ("jaxvae.kalman", None),
    "make_batch": ("jaxvae.models", "make_batch"),
    "planted_model": ("jaxvae.models.planted", "planted_model"),
    "static_vae": ("jaxvae.models", "static_vae"),
    "Data": ("jaxvae.state", "Data"),
    "Hyperparameters": ("jaxvae.state", "Hyperparameters"),
    "TrainConfig": ("jaxvae.state", "TrainConfig"),
    "fit": ("jaxvae.train", "fit"),
    "make_data": ("jaxvae.state", "make_data"),
    "make_hyperparameters": ("jaxvae.state", "make_hyperparameters"),
    "member_grid": ("jaxvae.ensemble", "member_grid"),
    "train_ensemble": ("jaxvae.ensemble", "train_ensemble"),
    "log_likelihood": ("jaxvae.likelihood", "log_likelihood"),
    "Study": ("jaxvae.folder", "Study"),
    "load_study": ("jaxvae.folder", "load_study"),
    "StudyConfig": ("jaxvae.fitting", "StudyConfig"),
    "encode": ("jaxvae.study", "encode"),
    "forecast": ("jaxvae.forecasts", "forecast"),
    "forecast_covariance": ("jaxvae.forecasts", "forecast_covariance"),
    "paths": ("jaxvae.forecasts", "paths"),
    "impute": ("jaxvae.study", "impute"),
    "run_study": ("jaxvae.study", "run_study"),
    "scenarios": ("jaxvae.study", "scenarios"),
    "scenarios_given": ("jaxvae.what_if", "scenarios_given"),
    "write_study": ("jaxvae.study", "write_study"),
    "Walk": ("jaxvae.walk", "Walk"),
    "WalkConfig": ("jaxvae.walk_config", "WalkConfig"),
    "load_walk": ("jaxvae.walk_folder", "load_walk"),
    "walk_forward": ("jaxvae.walk", "walk_forward"),
    "write_walk": ("jaxvae.walk_folder", "write_walk"),
    "VAEFactors": ("jaxvae.estimator", "VAEFactors"),
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxvae")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jaxvae' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    loaded = importlib.import_module(module)
    return loaded if attribute is None else getattr(loaded, attribute)


def __dir__() -> list[str]:
    return __all__
