"""How the equal-weighted portfolio's value at risk, forecast one date ahead, was kept on the test
dates, and what the dates after the panel's last may bring it."""

from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key

from jaxvae.analysis.risk import (
    FILTER_WINDOW,
    Coverage,
    adaptive_quantiles,
    coverage,
    filtered_quantiles,
)
from jaxvae.fitting.fit import TrainedStudy
from jaxvae.fitting.prepare import Prepared
from jaxvae.inference.forecasts import forecast_portfolio, generate_paths
from jaxvae.inference.members import Fitted
from jaxvae.models.model import take_rows
from jaxvae.scoring.tables import MetricRow, metric_rows
from jaxvae.training.streams import Stream
from jaxvae.training.threads import run_at_once

ORDERS = (0.01, 0.05)
DRAWS = 2000
LEAST_TESTED = 50  # dates, for a share of breaches that says something
FAN_DATES = 20
FAN_ORDERS = (0.05, 0.25, 0.5, 0.75, 0.95)


class ValueAtRisk(NamedTuple):
    """The equal-weighted portfolio on the test dates.

    Attributes:
        own, filtered: how the quantile of the model's own forecast was kept, of an order that
            follows past breaches, and that of filtered historical simulation, by order; empty where
            too few dates are known on which no asset is missing, or for the latter too few before
            the test part.
        table: a row a test date, in returns as fractions: `portfolio`, its return (NaN where an
            asset is missing); `mean` and `std`, forecast from the dates before; the quantiles
            `var_5` and `var_1`.
    """

    own: dict[float, Coverage]
    filtered: dict[float, Coverage]
    table: pd.DataFrame


def value_at_risk(key: Key[Array, ""], prepared: Prepared, fitted: Fitted) -> ValueAtRisk:
    """Forecast the portfolio's return on every test date, and compare.

    Args:
        key: of the draws that quantiles rest on.
        prepared: the panel.
        fitted: members, mixed equally.
    """
    split, weights = prepared.split, prepared.scaler.scale / prepared.panel.n_assets
    first, returns = split.test.start, prepared.values @ weights
    before = np.flatnonzero(np.isfinite(returns[:first]))[-FILTER_WINDOW:]
    begun = int(before[0]) if len(before) else first
    rows = take_rows(prepared.batch, slice(begun, None))
    forecast = forecast_portfolio(key, prepared.model, fitted, rows, weights, DRAWS)
    returns, tested = returns[begun:], slice(first - begun, None)
    own = adaptive_quantiles(returns, forecast.draws, ORDERS)[:, tested]
    std = np.sqrt(forecast.variance)
    by_past = filtered_quantiles(returns, forecast.mean, std, ORDERS)[:, tested]
    centre = float(prepared.scaler.mean.mean())
    columns = {"portfolio": returns[tested], "mean": forecast.mean[tested]}
    columns |= {f"var_{round(100 * p)}": q for p, q in zip(ORDERS, own, strict=True)}
    dates = pd.Index(prepared.panel.dates[split.test], name="date")
    table = (pd.DataFrame(columns, index=dates) + centre).assign(std=std[tested])
    return ValueAtRisk(_kept(returns[tested], own), _kept(returns[tested], by_past), table)


def _kept(
    returns: Float[np.ndarray, " date"], quantiles: Float[np.ndarray, "order date"]
) -> dict[float, Coverage]:
    """Coverage by order, on the dates whose return and quantile are known."""
    known = np.isfinite(returns) & np.isfinite(quantiles).all(axis=0)
    if known.sum() < min(LEAST_TESTED, len(returns)) or known.sum() < 2:
        return {}
    return {
        order: coverage(returns[known] < quantile[known], order)
        for order, quantile in zip(ORDERS, quantiles, strict=True)
    }


def risk_rows(risk: ValueAtRisk) -> list[MetricRow]:
    """Rows of the metrics table: share of breaches and p-values, by order."""
    values: dict[str, float] = {}
    for kind, by_order in (("var", risk.own), ("filtered_var", risk.filtered)):
        for order, (rate, *tests) in by_order.items():
            name = f"{kind}_{round(100 * order)}"
            values[f"{name}_breaches"] = rate
            for test, ratio in zip(Coverage._fields[1:], tests, strict=True):
                values[f"{name}_{test}_p"] = ratio.p_value
    return metric_rows("vae_ensemble", "test", values)


def forecast_fan(
    key: Key[Array, ""], prepared: Prepared, fitted: Fitted
) -> Float[np.ndarray, "order date"] | None:
    """Quantiles (`FAN_ORDERS`) of the equal-weighted portfolio's summed return over the next 1 …
    20 dates after the panel's last, as fractions; None for a model without a memory of its own, or
    given covariates, which nobody knows ahead.

    Paths go on from where the panel's returns leave the memory.
    """
    model, n_assets = prepared.model, prepared.panel.n_assets
    if model.recurrence is None or prepared.covariates:
        return None
    drawn = generate_paths(key, model, fitted, n_assets, FAN_DATES, DRAWS, prepared.end)
    returns = prepared.scaler.restore(drawn.reshape(-1, n_assets)).mean(axis=1)
    summed = returns.reshape(-1, FAN_DATES).cumsum(axis=1)
    return np.quantile(summed, FAN_ORDERS, axis=0)


def study_risk(
    trained: TrainedStudy,
) -> tuple[ValueAtRisk, Float[np.ndarray, "order date"] | None]:
    """Value at risk on the test dates and the fan of the dates that follow."""
    asked = trained.prepared, trained.fitted
    # The other half is the paths' of `backtest`.
    key_risk, _ = jax.random.split(Stream.BACKTEST.key(trained.prepared.config.root_seed))
    key_fan = Stream.FAN.key(trained.prepared.config.root_seed)
    risk, fan = run_at_once(
        lambda: value_at_risk(key_risk, *asked), lambda: forecast_fan(key_fan, *asked)
    )
    return risk, fan
