"""What a study of a temporal model says of the future: its lead over models without a memory, its
value at risk on the test dates, how volatility clusters in the paths that it generates."""

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key

from jaxvae.analysis.baselines import BASELINES
from jaxvae.analysis.risk import (
    FILTER_WINDOW,
    LEAST_WINDOW,
    Coverage,
    autocorrelation,
    coverage,
    filtered_quantiles,
)
from jaxvae.inference.forecasts import forecast_portfolio, generate_paths
from jaxvae.inference.members import Fitted
from jaxvae.models.model import take_rows
from jaxvae.study.config import StudyConfig
from jaxvae.study.fit import Prepared
from jaxvae.study.tables import metric_rows
from jaxvae.training.streams import Stream

ORDERS = (0.05, 0.01)
DRAWS = 2000
LAGS, PATHS, BURN_IN = 20, 4, 250
LARGEST = 10.0  # squared returns in standard units are cut at its square: one crash is no cluster


def backtest(
    prepared: Prepared, fitted: Fitted, comparisons: pd.DataFrame, config: StudyConfig
) -> tuple[list[pd.DataFrame], list[str]]:
    """Rows of the metrics table, and sentences for the report."""
    key = Stream.BACKTEST.key(config.root_seed)
    key_risk, key_paths = jax.random.split(key)
    kept, filtered = value_at_risk(key_risk, prepared, fitted)
    rows = [
        metric_rows("vae_ensemble", "test", _risk_scores(name, order, found))
        for name, by_order in (("var", kept), ("filtered_var", filtered))
        for order, found in by_order.items()
    ]
    clusters = clustering(key_paths, prepared, fitted)
    for model, lags in clusters.items():
        named = {"squares_autocorrelation_1": lags[0], "squares_autocorrelation": lags.mean()}
        rows.append(metric_rows(model, "fit", {name: float(v) for name, v in named.items()}))
    notes = [lead_note(comparisons), *_risk_notes(kept, filtered), _cluster_note(clusters)]
    return rows, notes


def value_at_risk(
    key: Key[Array, ""], prepared: Prepared, fitted: Fitted
) -> tuple[dict[float, Coverage], dict[float, Coverage]]:
    """How the equal-weighted portfolio's value at risk, forecast one step ahead, was kept on the
    test dates, by order: the model's own quantile, and the one of filtered historical simulation,
    empty where too few dates come before the test part."""
    split, weights = prepared.split, prepared.scaler.scale / prepared.panel.n_assets
    first, returns = split.test.start, prepared.values @ weights
    known = np.flatnonzero(np.isfinite(returns[:first]))[-FILTER_WINDOW:]
    begun = int(known[0]) if len(known) else first
    rows = take_rows(prepared.batch, slice(begun, None))
    forecast = forecast_portfolio(key, prepared.model, fitted, rows, weights, DRAWS)
    returns, tested = returns[begun:], slice(first - begun, None)
    own = np.quantile(forecast.draws[:, tested], ORDERS, axis=0)
    by_past = filtered_quantiles(returns, forecast.mean, np.sqrt(forecast.variance), ORDERS)
    kept, filtered = (
        {
            order: coverage(returns[tested], quantile, order)
            for order, quantile in zip(ORDERS, quantiles, strict=True)
            if np.isfinite(quantile).all()
        }
        for quantiles in (own, by_past[:, tested])
    )
    return kept, filtered


def clustering(
    key: Key[Array, ""], prepared: Prepared, fitted: Fitted
) -> dict[str, Float[np.ndarray, " lag"]]:
    """Autocorrelation of squared standardised returns at lags 1 … 20, the mean over assets: of the
    data on `fit`, and of generated paths as long, the mean over them."""
    data = prepared.values[prepared.split.fit]
    paths = generate_paths(
        key,
        prepared.model,
        fitted,
        prepared.panel.n_assets,
        len(data) + BURN_IN,
        PATHS,
        prepared.past,
    )
    generated = [squares_autocorrelation(path[BURN_IN:]) for path in paths]
    return {"data": squares_autocorrelation(data), "vae_ensemble": np.mean(generated, axis=0)}


def squares_autocorrelation(
    values: Float[np.ndarray, "date asset"],
) -> Float[np.ndarray, " lag"]:
    """Mean over assets of the autocorrelation of x², cut at 100, at lags 1 … 20 (fewer on short
    panels); an asset whose squares do not vary counts 0."""
    squares = np.minimum(values**2, LARGEST**2)
    lags = autocorrelation(squares, min(LAGS, len(values) - 1))
    return np.nan_to_num(lags).mean(axis=1)


def lead_note(comparisons: pd.DataFrame) -> str:
    """Whether the past helps: the ensemble against the closest model that does not know it."""
    without_memory = [name for name, baseline in BASELINES.items() if not baseline.temporal]
    of_ensemble = comparisons[comparisons.model == "vae_ensemble"]
    rows = of_ensemble[of_ensemble.baseline.isin(without_memory)]
    if rows.empty:
        return "No model without a memory can be compared with."
    closest = rows.iloc[int(rows.difference.argmin())]
    name = closest.baseline.replace("_", " ")
    low, high = closest.low_widest, closest.high_widest
    lead = f"{closest.difference:+.2f} [{low:+.2f}, {high:+.2f}] nats per date"
    if low > 0:
        return (
            f"The past helps: one step ahead the ensemble leads {name}, the strongest "
            f"model without a memory, by {lead}."
        )
    return (
        f"The past does not help: one step ahead the ensemble forecasts no better than "
        f"{name}, a model without a memory ({lead})."
    )


def _risk_scores(kind: str, order: float, found: Coverage) -> dict[str, float]:
    name = f"{kind}_{round(100 * order)}"
    return {
        f"{name}_breaches": found.rate,
        f"{name}_unconditional_p": found.unconditional.p_value,
        f"{name}_independence_p": found.independence.p_value,
        f"{name}_conditional_p": found.conditional.p_value,
    }


def _risk_notes(kept: dict[float, Coverage], filtered: dict[float, Coverage]) -> list[str]:
    notes = [f"Of the equal-weighted portfolio, forecast one date ahead, {_breaches(kept)}."]
    if filtered:
        notes.append(
            "By filtered historical simulation, which takes the volatility from the model and the "
            f"tails from the portfolio's last {FILTER_WINDOW} dates, {_breaches(filtered)}."
        )
    else:
        notes.append(
            "Filtered historical simulation is not judged: before the first test date it needs "
            f"{LEAST_WINDOW} dates without a missing cell."
        )
    return notes


def _breaches(kept: dict[float, Coverage]) -> str:
    parts = [
        f"{100 * found.rate:.2f} % of the test dates breached the value at risk at "
        f"{100 * order:g} % (Kupiec's test p = {found.unconditional.p_value:.2g}, independence "
        f"p = {found.independence.p_value:.2g}, both p = {found.conditional.p_value:.2g})"
        for order, found in kept.items()
    ]
    return "; ".join(parts)


def _cluster_note(clusters: dict[str, Float[np.ndarray, " lag"]]) -> str:
    values = {
        model: f"{lags[0]:.2f} at lag 1 and {lags.mean():.2f} on average over {len(lags)} lags"
        for model, lags in clusters.items()
    }
    return (
        f"Squared returns of generated paths have an autocorrelation of {values['vae_ensemble']}; "
        f"the data's is {values['data']}."
    )
