"""Walk forward: the ensemble trained anew on window after window, judged on the dates that follow.

Nothing of a window sees a later date: its rows, its mean and standard deviation, its members, its
baselines and its portfolios stop where it ends.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis import portfolios
from jaxvae.analysis.degeneracy import cost_of_jitter, is_degenerate, jittered
from jaxvae.analysis.mixtures import mixture_log_density, mixture_moments
from jaxvae.analysis.portfolios import BASELINE, ENSEMBLE
from jaxvae.baselines import BASELINES, Development
from jaxvae.data.panel import Panel, fit_scaler, panel_hash, split_dates
from jaxvae.errors import DataError
from jaxvae.models import describe_family
from jaxvae.runs.identity import identify
from jaxvae.scoring.align import tabulate_factors
from jaxvae.scoring.flag_degenerate import cause_notes
from jaxvae.training.ensemble import Progress
from jaxvae.training.store import Stages, in_memory
from jaxvae.training.streams import Stream
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.factors import TrackedFactors, track_consensus
from jaxvae.walk.members import Outputs, train_windows, walk_members
from jaxvae.walk.prepare import PreparedWalk
from jaxvae.walk.walk import Walk

COMPARED_WITH = ("factor_analysis", BASELINE)
ONE_DATE = "One date is judged: it has no volatility, and differences no interval."
NEXT_DATE = "A window's covariance is that of the first date after it, held for the whole step."


def walk_identity(panel: Panel, config: WalkConfig) -> dict[str, Any]:
    """What the bits of a walk depend on, as `config.json` keeps it."""
    return identify("walk", asdict(config), {"returns": panel_hash(panel)}, config.tile_width)


def train_walk(
    prepared: PreparedWalk,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stage: Stages = in_memory,
) -> Outputs:
    """All members, windows × betas × seeds, trained and asked."""
    values, config = prepared.panel.values, prepared.config
    members = walk_members(values, prepared.spans, prepared.scalers, config)
    outputs = train_windows(values, members, config, on_progress, stage)
    sound = np.asarray(outputs.ok).reshape(len(prepared.spans), -1).any(axis=1)
    if not sound.all():
        raise DataError(
            f"every member of the window that ends {prepared.ends[int(sound.argmin())].date()} "
            "diverged: look for outliers in the data"
        )
    return outputs


def summarise_walk(prepared: PreparedWalk, outputs: Outputs) -> Walk:
    """Scores, factors and portfolios of trained windows."""
    panel, config, scale = prepared.panel, prepared.config, prepared.scale
    judged, ends = prepared.judged, prepared.ends
    tracked = track_consensus(outputs, scale, config)
    of_assets = pd.MultiIndex.from_product([ends, panel.assets], names=["date", "asset"])
    in_returns = tracked.loadings * scale[:, :, None]
    covariances = mixture_covariances(outputs, scale)
    scores, degenerate = _scores(prepared, outputs)
    weights = _weights(prepared, covariances)
    held = np.stack([panel.values[span.stop : span.until] for span in prepared.spans])
    portfolio = pd.DataFrame(
        {
            name: portfolios.hold(weights.loc[name].to_numpy(), held)
            for name in weights.index.unique("strategy")
        },
        index=judged,
    )
    per_year = portfolios.dates_per_year(panel.dates)
    return Walk(
        config=_describe(prepared, degenerate),
        windows=_windows(prepared, scores, tracked),
        scores=scores,
        factors=tabulate_factors(tracked.factors.reshape(len(judged), -1), judged),
        loadings=tabulate_factors(in_returns.reshape(len(of_assets), -1), of_assets),
        portfolio=portfolio,
        weights=weights,
        strategies=describe_strategies(portfolio, weights, per_year, config.root_seed),
        covariances=covariances,
    )


def mixture_covariances(
    outputs: Outputs, scale: Float[np.ndarray, "window asset"]
) -> Float[np.ndarray, "window asset asset"]:
    """Covariance of the equal mixture of each window's sound members, in squared returns."""
    asked = (outputs.ok, outputs.mean, outputs.covariance)
    parts = (np.asarray(part).reshape(len(scale), -1, *part.shape[1:]) for part in asked)
    windows = zip(*parts, strict=True)
    mixed = [mixture_moments(mean[ok], within[ok])[1] for ok, mean, within in windows]
    return np.stack(mixed) * scale[:, :, None] * scale[:, None, :]


def describe_strategies(
    portfolio: pd.DataFrame, weights: pd.DataFrame, per_year: float, seed: int
) -> pd.DataFrame:
    """A row a strategy: what it would have done, and its variance beside Ledoit-Wolf's.

    per_year: dates a year, by which moments are annualised.
    """
    other, rows = portfolio[BASELINE].to_numpy(), {}
    for name in portfolio.columns:
        series = portfolio[name].to_numpy()
        rng = Stream.STRATEGIES.generator(seed)
        gap = portfolios.variance_difference(rng, series, other)
        rows[name] = {
            "volatility": portfolios.annual_volatility(series, per_year),
            "mean": float(series.mean() * per_year),
            "turnover": portfolios.turnover(weights.loc[name].to_numpy()),
            "variance_difference": gap.mean * per_year,
            "low": gap.low * per_year,
            "high": gap.high * per_year,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("strategy")


def _scores(prepared: PreparedWalk, outputs: Outputs) -> tuple[pd.DataFrame, list[str]]:
    """Judged dates × models: the mixture, and its baselines fitted on the same windows; and notes
    on baselines left out, whose likelihoods are degenerate."""
    panel, config = prepared.panel, prepared.config
    unit = fit_scaler(panel.values[split_dates(panel.n_dates).fit]).scale
    # Change of variables: from each window's standard deviations to those of `fit`.
    change = np.log(unit / prepared.scale).sum(axis=1)[:, None]
    ok = np.asarray(outputs.ok).reshape(len(change), -1, 1)
    members = np.asarray(outputs.log_likelihood, np.float64).reshape(*ok.shape[:2], -1)
    mixed = mixture_log_density(members, ok, axis=1)
    table, notes = {ENSEMBLE: (mixed + change).ravel()}, []
    of_windows: dict[str, list[np.ndarray]] = {name: [] for name in COMPARED_WITH}
    costs: dict[str, list[float]] = {name: [] for name in COMPARED_WITH}
    rng = Stream.JITTER.generator(config.root_seed)
    for span, scaler in zip(prepared.spans, prepared.scalers, strict=True):
        window = scaler.standardise(panel.values[span.start : span.stop])
        judged = scaler.standardise(panel.values[span.stop : span.until])
        known, moved = Development(window, len(window), config.n_factors), jittered(rng, judged)
        for name in COMPARED_WITH:
            law = BASELINES[name].fit(known)
            likelihood = law.log_likelihood(judged)
            of_windows[name].append(likelihood)
            costs[name].append(cost_of_jitter(likelihood, law.log_likelihood(moved)))
    for name in COMPARED_WITH:
        if is_degenerate(float(np.mean(costs[name])), panel.n_assets):
            notes.append(f"The likelihood of {BASELINES[name].label} is degenerate.")
        else:
            table[name] = (np.stack(of_windows[name]) + change).ravel()
    return pd.DataFrame(table, index=prepared.judged), notes


def _weights(
    prepared: PreparedWalk, covariances: Float[np.ndarray, "window asset asset"]
) -> pd.DataFrame:
    """Minimum-variance weights of every strategy at every window's end."""
    by_strategy = {ENSEMBLE: portfolios.minimum_variance(covariances), **prepared.weights}
    index = pd.MultiIndex.from_product([by_strategy, prepared.ends], names=["strategy", "date"])
    stacked = np.concatenate(list(by_strategy.values()))
    return pd.DataFrame(stacked, index=index, columns=list(prepared.panel.assets))


def _windows(prepared: PreparedWalk, scores: pd.DataFrame, tracked: TrackedFactors) -> pd.DataFrame:
    """A row a window."""
    dates, spans = prepared.panel.dates, prepared.spans
    start, stop, until = np.array(spans).T
    by_window = scores.to_numpy().reshape(len(spans), prepared.config.step, -1).mean(axis=1)
    columns: dict[str, Any] = {
        "first_date": dates[start],
        "last_date": prepared.ends,
        "judged_from": dates[stop],
        "judged_to": dates[until - 1],
    }
    columns |= {f"log_likelihood, {n}": by_window[:, k] for k, n in enumerate(scores)}
    return pd.DataFrame(columns | tracked.agreement).rename_axis("window")


def _describe(prepared: PreparedWalk, degenerate: list[str]) -> dict[str, Any]:
    """Everything that the numbers depend on; and notes, those on `degenerate` baselines too."""
    panel, config, judged = prepared.panel, prepared.config, prepared.judged
    preset = config.preset()
    forecasts = preset.model.build(panel.n_assets).recurrence is not None
    return {
        "name": panel.name,
        **asdict(config),
        "betas": list(config.betas),
        "epochs": preset.train.epochs,
        "learning_rate": preset.learning_rate,
        "model_config": describe_family(preset.model),
        "train_config": preset.train.record(),
        "n_windows": len(prepared.spans),
        "dates_per_year": portfolios.dates_per_year(panel.dates),
        "judged_from": str(judged[0].date()),
        "judged_to": str(judged[-1].date()),
        "assets": list(panel.assets),
        "identity": walk_identity(panel, config),
        "notes": [
            *panel.notes,
            *cause_notes(panel.values, panel.assets, "the panel's dates"),
            *degenerate,
            *prepared.notes,
            *([ONE_DATE] if len(judged) == 1 else []),
            *([NEXT_DATE] if forecasts and config.step > 1 else []),
        ],
    }
