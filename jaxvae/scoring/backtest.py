"""What a study of a temporal model says of the past: its lead over models without a memory, how
volatility clusters in the paths that it generates."""

import jax
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key

from jaxvae.analysis.risk import autocorrelation
from jaxvae.baselines import BASELINES
from jaxvae.fitting.fit import TrainedStudy
from jaxvae.fitting.prepare import Prepared
from jaxvae.inference.forecasts import generate_paths
from jaxvae.inference.members import Fitted
from jaxvae.scoring.tables import MetricRow, metric_rows
from jaxvae.training.streams import Stream

_LAGS, _PATHS, _BURN_IN = 20, 4, 250
LARGEST = 10.0  # squared returns in standard units are cut at its square: one crash is no cluster


Clusters = dict[str, Float[np.ndarray, " lag"]]


def study_clusters(trained: TrainedStudy) -> Clusters:
    """`clustering` of a study's refits; nothing of a model without a memory."""
    if trained.prepared.model.recurrence is None:
        return {}
    key_paths = jax.random.split(Stream.BACKTEST.key(trained.prepared.config.root_seed))[1]
    return clustering(key_paths, trained.prepared, trained.fitted)


def backtest(clusters: Clusters, comparisons: pd.DataFrame) -> tuple[list[MetricRow], list[str]]:
    """Rows of the metrics table, and sentences for the report; none without clusters."""
    if not clusters:
        return [], []
    rows: list[MetricRow] = []
    for model, lags in clusters.items():
        named = {"squares_autocorrelation_1": lags[0], "squares_autocorrelation": lags.mean()}
        rows += metric_rows(model, "fit", named)
    return rows, [lead_note(comparisons), _cluster_note(clusters)]


def clustering(key: Key[Array, ""], prepared: Prepared, fitted: Fitted) -> Clusters:
    """Autocorrelation of squared standardised returns at lags 1 … 20, the mean over assets: of the
    data on `fit`, and of generated paths as long, the mean over them."""
    data = prepared.values[prepared.split.fit]
    paths = generate_paths(
        key,
        prepared.model,
        fitted,
        prepared.panel.n_assets,
        len(data) + _BURN_IN,
        _PATHS,
        prepared.end_of_fit,
    )
    found = {"data": squares_autocorrelation(data)}
    if np.isfinite(paths).all():
        generated = [squares_autocorrelation(path[_BURN_IN:]) for path in paths]
        found["vae_ensemble"] = np.mean(generated, axis=0)
    return found


def squares_autocorrelation(
    values: Float[np.ndarray, "date asset"],
) -> Float[np.ndarray, " lag"]:
    """Mean over assets of the autocorrelation of x², cut at 100, at lags 1 … 20 (fewer on short
    panels); an asset whose squares do not vary counts 0."""
    squares = np.minimum(values**2, LARGEST**2)
    lags = autocorrelation(squares, min(_LAGS, len(values) - 1))
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


def _cluster_note(clusters: Clusters) -> str:
    if "vae_ensemble" not in clusters:
        return (
            "Volatility of generated paths grows without bound: they say nothing of long spans, "
            "and how squares cluster in them is not compared with the data."
        )
    values = {
        model: f"{lags[0]:.2f} at lag 1 and {lags.mean():.2f} on average over {len(lags)} lags"
        for model, lags in clusters.items()
    }
    return (
        f"Squared returns of generated paths have an autocorrelation of {values['vae_ensemble']}; "
        f"the data's is {values['data']}."
    )
