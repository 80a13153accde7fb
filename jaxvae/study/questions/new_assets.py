"""Loadings of an asset that training never saw, from its sector's label and a short history.

The label says where such loadings lie and how far they scatter, the history moves them from there
as far as it has something to say. Everything is in the units of returns: an asset's own scale, by
which training standardised the others, is not known from a few dates.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from jaxvae.analysis.new_assets import Design, Prior, prior_of_group, regress
from jaxvae.data import as_panel
from jaxvae.data.knowledge import sector_labels
from jaxvae.data.panel import Panel
from jaxvae.errors import DataError, Option, OptionError, check_option
from jaxvae.inference.new_assets import asset_coefficients, regressors
from jaxvae.study.fitted import Asked, FittedStudy


class NewAsset(NamedTuple):
    """What is known of an asset after some dates; returns as fractions.

    Attributes:
        names: of the columns: the factors of the best refit as the study reports them, each in its
            prior's standard deviations; the covariates in standard units; "constant".
        mean, covariance: of its coefficients on them, returns a unit.
        noise: standard deviation of its own shocks, on a date of average conditions.
        n_dates: how many dates of its history counted.
    """

    names: tuple[str, ...]
    mean: Float[np.ndarray, " column"]
    covariance: Float[np.ndarray, "column column"]
    noise: float
    n_dates: int

    @property
    def loadings(self) -> pd.DataFrame:
        """Coefficients and their standard deviations, by column."""
        spread = np.sqrt(np.diag(self.covariance))
        return pd.DataFrame({"mean": self.mean, "sd": spread}, index=list(self.names))


def new_asset(
    study: Asked, panel: Panel | pd.DataFrame | str | Path, returns: pd.Series, sector: str
) -> NewAsset:
    """Loadings and noise of a new asset under the best refit of a study with sectors.

        y_t ~ N(w · d_t, w·C_t w + ψ r_t),    w ~ N(M_sector, T²)

    d_t holds the factors as the study's own assets say they were, with covariance C_t, the
    covariates and a constant; r_t is how noisy the date is. M and T are the sector's mean over its
    assets and the scatter around it, pooled over sectors; ψ has the scatter of noise over assets as
    its prior. Without a history the answer is the sector's mean.

    Args:
        panel: the study's assets, and its covariates, on the dates of the history; other dates
            too. Or a DataFrame or a file of returns.
        returns: the new asset's, as fractions, by date; NaN where missing, and dates that the
            panel lacks, do not count.
        sector: its label, one of the study's.

    Returns:
        Mean and covariance of its loadings, and its noise.

    Raises:
        DataError: the panel lacks an asset or covariate, or a date comes twice.
        OptionError: an unknown label, or a study that was fitted without sectors.
    """
    fitted, panel = study.fitted, as_panel(panel)
    prior = sector_prior(fitted, sector)
    if returns.index.has_duplicates:
        twice = returns.index[returns.index.duplicated()][0]
        raise DataError(f"the new asset's history has {twice} twice; keep one")
    history = returns.reindex(panel.dates).to_numpy(np.float64)
    seen = np.isfinite(history)
    if not seen.any() and returns.notna().any():
        raise DataError("the panel has no date of the new asset's history; give it some")
    design = Design(*(part[seen] for part in designs(fitted, panel)))
    mean, covariance, noise = regress(design, history[seen], prior)
    names = _names(fitted, len(mean))
    return NewAsset(names, mean, covariance, noise**0.5, int(seen.sum()))


def sector_prior(fitted: FittedStudy, sector: str) -> Prior:
    """The prior of a sector's assets, from the posterior of the study's own
    (`analysis.new_assets.prior_of_group`)."""
    if not fitted.model.facts.n_sectors:
        raise OptionError(
            "study",
            "it knows no sectors' loadings; fit one with ",
            Option("model", "conditional"),
            " and sectors",
        )
    labels = sector_labels(fitted.config["sectors"])
    check_option("sector", sector, str, choices=labels)
    of_asset = np.array(fitted.config["sectors"])
    coefficients, variances, noises = asset_coefficients(
        fitted.model, fitted.best_refit, *fitted.scaler
    )
    order, signs = _as_reported(fitted, coefficients.shape[1])
    members = np.array(labels)[:, None] == of_asset[None, :]
    known = (signs * coefficients[:, order], variances[:, order], noises)
    return prior_of_group(*known, members, labels.index(sector))


def designs(fitted: FittedStudy, panel: Panel) -> Design:
    """The regressors of all dates of a panel, under the best refit."""
    found = regressors(fitted.model, fitted.best_refit, fitted.rows(panel, fitted.returns(panel)))
    order, signs = _as_reported(fitted, found.mean.shape[1])
    covariance = np.outer(signs, signs) * found.covariance[:, order][:, :, order]
    return Design(signs * found.mean[:, order], covariance, found.relative_noise)


def _as_reported(
    fitted: FittedStudy, n_columns: int
) -> tuple[Int[np.ndarray, " column"], Float[np.ndarray, " column"]]:
    """Order and signs of the columns: the best refit's factors as the study reports them, the
    conditions and the constant as they are."""
    order, signs = np.arange(n_columns), np.ones(n_columns)
    k = len(fitted.arrays["refit_order"])
    order[:k], signs[:k] = fitted.arrays["refit_order"], fitted.arrays["refit_signs"]
    return order, signs


def _names(fitted: FittedStudy, n_columns: int) -> tuple[str, ...]:
    factors = fitted.config["refit_factors"]
    covariates = fitted.covariates[: n_columns - len(factors) - 1]
    return (*factors, *covariates, "constant")
