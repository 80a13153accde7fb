"""Loadings of a stock that training never saw, from its sector's label and a short history.

The label says where such loadings lie and how far they scatter, the history moves them from there
as far as it has something to say. Everything is in the units of returns: a stock's own scale, by
which training standardised the others, is not known from a few dates.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from jaxvae.data import as_panel
from jaxvae.data.panel import Panel
from jaxvae.errors import DataError, Option, OptionError
from jaxvae.inference.importance import posterior_modes
from jaxvae.models.model import Batch, make_batch
from jaxvae.study.conditions import sector_labels
from jaxvae.study.fit import saved_model
from jaxvae.study.folder import Study
from jaxvae.study.study import fitted, known_conditions, standardised

SWEEPS = 50
FREEDOMS = (1.0, 1e4)  # of the noise's prior; beyond, all assets have the same


class Newcomer(NamedTuple):
    """What is known of a stock after some dates; returns as fractions.

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


class Prior(NamedTuple):
    """What a sector's label alone says of a stock: coefficients ~ N(mean, diag variance), noise
    variance ~ InverseGamma(freedom/2, freedom·noise/2)."""

    mean: Float[np.ndarray, " column"]
    variance: Float[np.ndarray, " column"]
    freedom: float
    noise: float


class Design(NamedTuple):
    """The dates of a history: mean d and covariance C of its regressors (factors, conditions, 1)
    given the study's own assets, and the noise variance of each date over an average one's."""

    mean: Float[np.ndarray, "date column"]
    covariance: Float[np.ndarray, "date column column"]
    relative_noise: Float[np.ndarray, " date"]


def newcomer(
    study: Study, panel: Panel | pd.DataFrame, returns: pd.Series, sector: str
) -> Newcomer:
    """Loadings and noise of a new stock under the best refit of a study with sectors.

        y_t ~ N(w · d_t, w·C_t w + ψ r_t),    w ~ N(M_sector, T²)

    d_t holds the factors as the study's own assets say they were, with covariance C_t, the
    covariates and a constant; r_t is how noisy the date is. M and T are the sector's mean over its
    assets and the scatter around it, pooled over sectors; ψ has the scatter of noise over assets as
    its prior. Without a history the answer is the sector's mean.

    panel: the study's assets, and its covariates, on the dates of the history; other dates too. Or
        a DataFrame of returns.
    returns: the new stock's, as fractions, by date; NaN where missing, and dates that the panel
        lacks, do not count.
    sector: its label, one of the study's.

    Raises DataError where the panel lacks an asset or covariate or a date comes twice, OptionError
    on an unknown label or a study that was fitted without sectors.
    """
    panel, prior = as_panel(panel), sector_prior(study, sector)
    if returns.index.has_duplicates:
        twice = returns.index[returns.index.duplicated()][0]
        raise DataError(f"the new stock's history has {twice} twice; keep one")
    history = returns.reindex(panel.dates).to_numpy(np.float64)
    seen = np.isfinite(history)
    if not seen.any() and returns.notna().any():
        raise DataError("the panel has no date of the new stock's history; give it some")
    design = Design(*(part[seen] for part in designs(study, panel)))
    mean, covariance, noise = regress(design, history[seen], prior)
    names = _names(study, len(mean))
    return Newcomer(names, mean, covariance, noise**0.5, int(seen.sum()))


def regress(
    design: Design, returns: Float[np.ndarray, " date"], prior: Prior
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, "column column"], float]:
    """Mean and covariance of the coefficients, and noise variance, by sweeps of

        v = ψ r + m·C m,   S = (T⁻² + Σ d dᵀ/v)⁻¹,   m = S (T⁻² M + Σ d y/v),
        ψ = (ν ψ_0 + Σ E[e²]/r)/(ν + n)

    where E[e²] is the noise's share of (y - m·d)² + d·S d, (ψ r/v)² of it and ψ r m·C m/v more: an
    EM step. The factors' error is independent of d, not of the factors (Berkson 1950), so that it
    adds noise and does not shrink coefficients.
    """
    mean, covariance, noise = prior.mean, np.diag(prior.variance), prior.noise
    for _ in range(SWEEPS):
        blur = np.einsum("i,tij,j->t", mean, design.covariance, mean)
        own = noise * design.relative_noise
        weighted = design.mean / (own + blur)[:, None]
        covariance = np.linalg.inv(np.diag(1.0 / prior.variance) + weighted.T @ design.mean)
        mean = covariance @ (prior.mean / prior.variance + weighted.T @ returns)
        error = (returns - design.mean @ mean) ** 2
        error += np.einsum("ti,ij,tj->t", design.mean, covariance, design.mean)
        share = own / (own + blur)
        squares = (share**2 * error + share * blur) / design.relative_noise
        noise = (prior.freedom * prior.noise + squares.sum()) / (prior.freedom + len(returns))
    return mean, covariance, noise


def sector_prior(study: Study, sector: str) -> Prior:
    """The prior of a sector's stocks, from the posterior of the study's assets.

    A sector of n assets gives its mean up to T²/n, which the variance includes; the uncertainty of
    every asset's own loadings counts into T².
    """
    config = study.config["model_config"]
    if not config.get("sectors") or config["degree"] != 1:
        raise OptionError(
            "study",
            "it knows no sectors' loadings; fit one with ",
            Option("model", "conditional"),
            " and sectors",
        )
    labels = sector_labels(study.config["sectors"])
    if sector not in labels:
        raise OptionError("sector", f"{sector!r} is not one of the study's: {', '.join(labels)}")
    coefficients, variances, noises = _asset_coefficients(study)
    of_asset = np.array(study.config["sectors"])
    by_sector = [coefficients[of_asset == label] for label in labels]
    centred = np.concatenate([rows - rows.mean(axis=0) for rows in by_sector])
    freedom = max(len(of_asset) - len(labels), 1)
    scatter = (centred**2).sum(axis=0) / freedom + variances.mean(axis=0)
    here = of_asset == sector
    spread = scatter * (1.0 + 1.0 / here.sum())
    # A covariate that moves nothing would leave its coefficient without any room.
    floor = 1e-12 * np.mean(noises)
    return Prior(coefficients[here].mean(axis=0), spread + floor, *_noise_prior(noises))


def designs(study: Study, panel: Panel) -> Design:
    """The regressors of all dates of a panel, under the best refit."""
    model = saved_model(study.config)
    values = standardised(study, panel)
    conditions = known_conditions(study, panel, values)
    variables, batch = best_refit(study), make_batch(values, conditions)
    modes = jax.jit(posterior_modes, static_argnames="model")(model, variables, batch)
    roots = np.asarray(modes.cholesky[0], np.float64)
    order, signs = study.arrays["refit_order"], study.arrays["refit_signs"]
    inverse = np.linalg.inv(roots)[:, :, order] * signs
    factors = np.asarray(modes.mean[0], np.float64)[:, order] * signs
    told = conditions[:, : _n_seen(variables)]
    mean = np.column_stack([factors, told, np.ones(len(values))])
    k, n_columns = model.n_factors, mean.shape[1]
    covariance = np.zeros((len(values), n_columns, n_columns))
    covariance[:, :k, :k] = np.einsum("tji,tjk->tik", inverse, inverse)
    return Design(mean, covariance, _relative_noise(variables, batch))


def best_refit(study: Study) -> Any:
    """The variables of the likeliest refit, without a member axis."""
    refits = fitted(study, "refits")
    place = list(np.asarray(refits.seed)).index(study.config["chosen"]["refit_seed"])
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[place]), refits.variables)


def _relative_noise(variables: Any, batch: Batch) -> Float[np.ndarray, " date"]:
    """The noise of each date over an average one's, the same for all assets: their mean slopes."""
    slopes = variables.parameters["decoder"].get("noise_slopes")
    if slopes is None:
        return np.ones(len(batch.values))
    return np.asarray(jnp.exp(batch.conditions @ jnp.mean(slopes, axis=1)), np.float64)


def _asset_coefficients(
    study: Study,
) -> tuple[Float[np.ndarray, "asset column"], Float[np.ndarray, "asset column"], np.ndarray]:
    """Coefficients of the study's assets on (factors, conditions, 1), their posterior variances
    (none are known but the loadings'), and noise variances, all in the units of returns."""
    decoder = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64), best_refit(study).parameters["decoder"]
    )
    scale, place = study.arrays["scaler_scale"], study.arrays["scaler_mean"]
    on_conditions, constant = decoder["mean"]["kernel"], decoder["mean"]["bias"]
    order, signs = study.arrays["refit_order"], study.arrays["refit_signs"]
    loadings = decoder["curves"]["kernel"][order] * signs[:, None]
    columns = np.concatenate([loadings, on_conditions, constant[None]])
    coefficients = scale[:, None] * columns.T
    coefficients[:, -1] += place
    variances = np.zeros_like(coefficients)
    uncertainty = np.exp(decoder["curves"]["log_variance"][order])
    variances[:, : len(order)] = scale[:, None] ** 2 * uncertainty.T
    return coefficients, variances, scale**2 * np.exp(decoder["log_variance"])


def _noise_prior(noises: Float[np.ndarray, " asset"]) -> tuple[float, float]:
    """ν and ψ_0 of an InverseGamma(ν/2, νψ_0/2) with the mean and variance of ln ψ over assets:

    Var = trigamma(ν/2),   E = ln(νψ_0/2) - digamma(ν/2)
    """
    logs = np.log(noises)
    low, high = FREEDOMS
    spread = np.clip(np.var(logs), polygamma(1, high / 2), polygamma(1, low / 2))
    freedom = brentq(lambda nu: polygamma(1, nu / 2) - spread, 0.99 * low, 1.01 * high)
    return freedom, float(2.0 / freedom * np.exp(logs.mean() + digamma(freedom / 2)))


def _n_seen(variables: Any) -> int:
    """How many conditions the decoder's mean sees: all of them or none."""
    return len(variables.parameters["decoder"]["mean"]["kernel"])


def _names(study: Study, n_columns: int) -> tuple[str, ...]:
    factors = study.config["refit_factors"]
    told = study.config.get("covariates", [])[: n_columns - len(factors) - 1]
    return (*factors, *told, "constant")
