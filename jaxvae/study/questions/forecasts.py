"""What a saved study forecasts, one date ahead, and the paths of returns that it generates.

Every model can be asked. Only `temporal` and `autoregressive` know of the past; the forecasts of
the others differ between dates by their covariates, or not at all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis.risk import LEAST_WINDOW, adaptive_quantiles, filtered_quantiles
from jaxvae.data import as_panel
from jaxvae.data.panel import Panel
from jaxvae.errors import DataError, OptionError, check_numbers, check_option
from jaxvae.inference.forecasts import forecast_moments, forecast_portfolio, generate_paths
from jaxvae.scoring.value_at_risk import DRAWS, ORDERS
from jaxvae.study.dataset import with_units
from jaxvae.study.draws import check_draws
from jaxvae.study.fitted import Asked, FittedStudy

LEAST_DRAWS = 100  # for a quantile at 1 %
BURN_IN = 250
NEXT = "next"
Weights = Mapping[Any, float] | Sequence[float] | np.ndarray | pd.Series | None


def forecast(
    study: Asked,
    panel: Panel | pd.DataFrame | str | Path,
    weights: Weights = None,
    *,
    number: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """One-step-ahead forecasts of a portfolio, a row a date of the panel and one for the next.

    A row says what was forecast for its date from the dates before it *in this panel*: give a panel
    that starts well before the dates of interest, as the memory starts blank. The last row, "next",
    is for the date after the last, under the last one's covariates.

    Args:
        panel: or a DataFrame or a file of returns, as `read_panel` takes them.
        weights: by asset, 0 for those not named, or a number for each in the study's order; by
            default equal.
        number: draws a date, from the equal mixture of the chosen configuration's refits. A
            quantile has the Monte-Carlo error of so many draws.
        seed: of the draws; the same one gives the same forecasts.

    Returns:
        Dates × columns, in returns as fractions: "mean", "std", and the value at risk at 1 and 5 %,
        "var_1" and "var_5": quantiles of what the model forecasts, negative where the portfolio may
        lose, of an order that follows how often they were breached before
        (`analysis.risk.adaptive_quantiles`); "filtered_var_1" and "filtered_var_5": by filtered
        historical simulation, empty until 250 dates are known on which no asset held is missing.
        `attrs["notes"]` holds sentences on what may surprise: a model that does not look at the
        past, the covariates that the row of the next date assumes, cells that are empty.

    Raises:
        DataError: the panel lacks an asset or covariate of the study, or is in other units.
        OptionError: weights that do not fit, fewer than 100 draws, or more than memory holds.
    """
    fitted, panel = study.fitted, as_panel(panel)
    check_draws(number, seed, panel.n_dates + 1, LEAST_DRAWS)
    scaler, share, returns = fitted.scaler, _weights(fitted, weights), fitted.returns(panel)
    outputs = forecast_portfolio(
        jax.random.key(seed),
        fitted.model,
        fitted.refits,
        fitted.rows(panel, returns, n_ahead=1),
        share * scaler.scale,
        number,
    )
    centre = float(share @ scaler.mean)
    held = share != 0.0
    own = returns[:, held] @ share[held]
    quantiles = centre + adaptive_quantiles(own - centre, outputs.draws, ORDERS)
    columns = {"mean": centre + outputs.mean, "std": np.sqrt(outputs.variance)}
    columns |= {f"var_{round(100 * p)}": q for p, q in zip(ORDERS, quantiles, strict=True)}
    by_past = filtered_quantiles(own, columns["mean"], columns["std"], ORDERS)
    columns |= {f"filtered_var_{round(100 * p)}": q for p, q in zip(ORDERS, by_past, strict=True)}
    dates = [*panel.dates.astype(str), NEXT]
    table = pd.DataFrame(columns, index=pd.Index(dates, name="date"))
    table.attrs["notes"] = [*_past_notes(fitted), *_next_notes(fitted), *_empty_notes(table)]
    return with_units(table)


def _next_notes(fitted: FittedStudy) -> list[str]:
    """What is assumed of the date that nobody knows the covariates of."""
    if not fitted.covariates:
        return []
    return [f"the row {NEXT!r} is drawn under the covariates of the last date"]


def _past_notes(fitted: FittedStudy) -> list[str]:
    """That rows are alike, where they must be."""
    if fitted.model.ahead is not None or fitted.model.recurrence is not None:
        return []
    alike = "are those of every date"
    if fitted.covariates:
        alike = "differ between dates by their covariates alone"
    return [f"this model does not look at the past: its mean and deviation {alike}"]


def _empty_notes(table: pd.DataFrame) -> list[str]:
    """Why cells of filtered historical simulation are empty."""
    filtered = [str(name) for name in table if str(name).startswith("filtered_")]
    empty = int(table[filtered].isna().any(axis=1).sum())
    if not empty:
        return []
    return [
        f"{' and '.join(filtered)} are empty on {empty} of {len(table)} dates: they need "
        f"{LEAST_WINDOW} earlier dates on which no asset held is missing"
    ]


def forecast_covariance(
    study: Asked, panel: Panel | pd.DataFrame | str | Path, *, number: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Covariance of all returns on the date after the panel's last: Cov_z E[x | z] + E_z Var(x | z)
    with z drawn from its prior given the past; exact where the model knows it.

    Args:
        panel: or a DataFrame or a file of returns.
        number: of draws.
        seed: the same one gives the same covariance.

    Returns:
        Assets × assets, in squared fractions.

    Raises:
        DataError: the panel lacks an asset or covariate of the study, or is in other units.
        OptionError: fewer than one draw, or more than memory holds.
    """
    fitted, panel = study.fitted, as_panel(panel)
    scale, assets = fitted.scaler.scale, fitted.assets
    check_draws(number, seed, len(assets))
    batch = fitted.rows(panel, fitted.returns(panel), n_ahead=1)
    model, refits = fitted.model, fitted.refits
    _, standard = forecast_moments(jax.random.key(seed), model, refits, batch, number)
    values = standard * np.outer(scale, scale)
    return fitted.table(values, pd.Index(assets, name="asset"), "covariance")


def paths(
    study: Asked, n_dates: int, number: int = 1, seed: int = 0
) -> Float[np.ndarray, "path date asset"]:
    """Paths of returns that the study's chosen models generate: every date is drawn given those
    drawn before it.

    The memory starts as it is after the last date of `fit`; 250 dates are drawn and dropped before
    the first. Members take turns. For a model without a memory dates are independent.

    Args:
        n_dates: of a path.
        number: of paths.
        seed: the same one gives the same paths.

    Returns:
        Paths × dates × assets in the study's order, as fractions.

    Raises:
        OptionError: fewer than one date or path, a study with covariates, or more draws than memory
            holds.
        DataError: a path leaves the range of numbers.
    """
    fitted = study.fitted
    check_option("n_dates", n_dates, least=1)
    if fitted.covariates:
        raise OptionError("study", "nobody knows its covariates ahead; use scenarios")
    n_drawn, n_assets = n_dates + BURN_IN, len(fitted.assets)
    check_draws(number, seed, n_drawn * n_assets)
    key, model, refits = jax.random.key(seed), fitted.model, fitted.refits
    after = fitted.end_of_fit
    kept = generate_paths(key, model, refits, n_assets, n_drawn, number, after)[:, BURN_IN:]
    if not np.isfinite(kept).all():
        raise DataError(
            "volatility grows without bound on paths so long: give fewer dates, or train on more"
        )
    return fitted.scaler.restore(kept.reshape(-1, kept.shape[-1])).reshape(kept.shape)


def _weights(fitted: FittedStudy, weights: Weights) -> Float[np.ndarray, " asset"]:
    """Of each asset; 0 for those that names leave out."""
    assets = fitted.assets
    if weights is None:
        return np.full(len(assets), 1.0 / len(assets))
    if isinstance(weights, Mapping | pd.Series):
        named = check_numbers("weights", weights, "a weight")
        if unknown := [name for name in named if name not in assets]:
            raise OptionError("weights", fitted.no_asset(unknown[0]))
        weights = [named.get(asset, 0.0) for asset in assets]
    try:
        values = np.asarray(weights, np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (len(assets),) or not np.isfinite(values).all():
        raise OptionError("weights", f"give {len(assets)} finite numbers, one an asset")
    if not values.any():
        raise OptionError("weights", "all are 0; give one asset at least a weight")
    return values
