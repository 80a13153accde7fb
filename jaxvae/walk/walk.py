"""Walk forward: the ensemble trained anew on window after window, judged on the dates that follow.

Nothing of a window sees a later date: its rows, its mean and standard deviation, its members, its
baselines and its portfolios stop where it ends.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import logsumexp

from jaxvae.analysis import portfolios
from jaxvae.analysis.baselines import BASELINES, Development
from jaxvae.analysis.degeneracy import cost_of_jitter, is_degenerate, jittered
from jaxvae.analysis.metrics import ROUNDING
from jaxvae.analysis.portfolios import BASELINE, ENSEMBLE
from jaxvae.data.checks import check_panel
from jaxvae.data.panel import Panel, Scaler, fit_scaler, panel_hash, split_dates
from jaxvae.errors import DataError, Option
from jaxvae.models import describe_family
from jaxvae.runs.identity import identify
from jaxvae.study.flag_degenerate import cause_notes
from jaxvae.training.ensemble import Progress
from jaxvae.training.store import Stages, in_memory
from jaxvae.training.streams import Stream
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.factors import (
    TrackedFactors,
    agreement_columns,
    track_consensus,
    tracked_factors_table,
    tracked_loadings_table,
)
from jaxvae.walk.members import (
    Outputs,
    Span,
    cut_windows,
    train_windows,
    walk_members,
)
from jaxvae.walk.results import Walk

COMPARED_WITH = ("factor_analysis", BASELINE)
ONE_DATE = "One date is judged: it has no volatility, and differences no interval."
NEXT_DATE = "A window's covariance is that of the first date after it, held for the whole step."


class PreparedWalk(NamedTuple):
    """A panel cut into windows. scalers: mean and standard deviation of each window's dates.
    weights: of the portfolios that need no training, by strategy. notes: which of these are left
    out, and why."""

    panel: Panel
    spans: list[Span]
    scalers: list[Scaler]
    weights: dict[str, Float[np.ndarray, "window asset"]]
    notes: list[str]


def walk_identity(panel: Panel, config: WalkConfig) -> dict[str, Any]:
    """What the bits of a walk depend on, as `config.json` keeps it."""
    return identify("walk", asdict(config), {"returns": panel_hash(panel)}, config.tile_width)


def prepare_walk(panel: Panel, config: WalkConfig) -> PreparedWalk:
    """Check the panel and cut it."""
    check_panel(panel.to_frame(), config.n_factors)
    gaps = np.isnan(panel.values)
    if gaps.any():
        asset, row = int(gaps.any(axis=0).argmax()), int(gaps.any(axis=1).argmax())
        raise DataError(
            f"a walk needs whole windows, and column {panel.assets[asset]!r} has missing cells, "
            f"the panel's first on {panel.dates[row].date()}: choose ",
            Option("missing", "drop-dates", "drop-assets", "mean"),
        )
    spans = cut_windows(panel.n_dates, config.window, config.step, config.expanding)
    if not spans:
        raise DataError(
            f"the panel has {panel.n_dates:,} dates, too few for ",
            Option("window", config.window),
            " and one ",
            Option("step", config.step),
            f": shorten them to {panel.n_dates:,} together, or add dates",
        )
    parts = [panel.values[span.start : span.stop] for span in spans]
    scalers = [fit_scaler(part) for part in parts]
    for part, scaler, span in zip(parts, scalers, spans, strict=True):
        # A spread below this share of the largest value is rounding.
        still = scaler.scale <= ROUNDING * np.abs(part).max(axis=0)
        if still.any():
            raise DataError(
                f"column {panel.assets[int(still.argmax())]!r} does not vary in the window that "
                f"ends {panel.dates[span.stop - 1].date()}: delete it, or take a longer ",
                Option("window"),
            )
    return PreparedWalk(panel, spans, scalers, *_baseline_weights(panel, spans, config))


def train_walk(
    prepared: PreparedWalk,
    config: WalkConfig,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stage: Stages = in_memory,
) -> Outputs:
    """All members, windows × betas × seeds, trained and asked."""
    preset = config.preset()
    members = walk_members(
        prepared.panel.values,
        prepared.spans,
        config.betas,
        range(config.seeds),
        preset,
        config.expanding,
    )
    outputs = train_windows(
        jax.random.key(config.root_seed),
        prepared.panel.values,
        members,
        preset.model.build(prepared.panel.n_assets),
        preset,
        config.window,
        config.step,
        tile_width=config.tile_width,
        on_progress=on_progress,
        stage=stage,
    )
    sound = np.asarray(outputs.ok).reshape(len(prepared.spans), -1).any(axis=1)
    if not sound.all():
        stop = prepared.spans[int(sound.argmin())].stop
        raise DataError(
            f"every member of the window that ends {prepared.panel.dates[stop - 1].date()} "
            "diverged: look for outliers in the data"
        )
    return outputs


def summarise_walk(prepared: PreparedWalk, config: WalkConfig, outputs: Outputs) -> Walk:
    """Scores, factors and portfolios of trained windows."""
    panel, spans, scalers, *_ = prepared
    scale = np.stack([scaler.scale for scaler in scalers])
    tracked = track_consensus(outputs, scale, config.window, config.step, config.root_seed)
    covariances = mixture_covariances(outputs, scale)
    scores, exploded = _scores(prepared, config, outputs)
    weights = _weights(prepared, covariances)
    portfolio = _portfolio(prepared, weights)
    return Walk(
        config=_describe(prepared, config, exploded),
        windows=_windows(prepared, config, scores, tracked),
        scores=scores,
        factors=tracked_factors_table(tracked, _judged(panel, spans), config.window),
        loadings=tracked_loadings_table(tracked, _ends(panel, spans), panel.assets, scale),
        portfolio=portfolio,
        weights=weights,
        strategies=describe_strategies(
            portfolio, weights, portfolios.dates_per_year(panel.dates), config.root_seed
        ),
        covariances=covariances,
    )


def mixture_covariances(
    outputs: Outputs, scale: Float[np.ndarray, "window asset"]
) -> Float[np.ndarray, "window asset asset"]:
    """Covariance of the equal mixture of each window's sound members, in squared returns: the mean
    of their covariances plus the covariance of their means."""
    n_windows = len(scale)
    share = _shares(outputs, n_windows)
    mean = np.asarray(outputs.mean, np.float64).reshape(n_windows, -1, scale.shape[1])
    within = np.asarray(outputs.covariance, np.float64).reshape(*mean.shape, -1)
    off = mean - np.einsum("wm,wma->wa", share, mean)[:, None]
    mixed = np.einsum("wm,wmab->wab", share, within)
    mixed += np.einsum("wm,wma,wmb->wab", share, off, off)
    return mixed * scale[:, :, None] * scale[:, None, :]


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


def _shares(outputs: Outputs, n_windows: int) -> Float[np.ndarray, "window member"]:
    """What each member counts in its window's mixture; a diverged one nothing."""
    ok = np.asarray(outputs.ok, np.float64).reshape(n_windows, -1)
    return ok / ok.sum(axis=1, keepdims=True)


def _scores(
    prepared: PreparedWalk, config: WalkConfig, outputs: Outputs
) -> tuple[pd.DataFrame, list[str]]:
    """Judged dates × models: the mixture, and its baselines fitted on the same windows; and notes
    on baselines left out, whose likelihoods are degenerate."""
    panel, spans, scalers, *_ = prepared
    unit = fit_scaler(panel.values[split_dates(panel.n_dates).fit]).scale
    shares = _shares(outputs, len(spans))
    members = np.asarray(outputs.log_likelihood, np.float64).reshape(*shares.shape, -1)
    members = np.where(shares[:, :, None] > 0, members, 0.0)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in (ENSEMBLE, *COMPARED_WITH)}
    costs: dict[str, list[float]] = {name: [] for name in COMPARED_WITH}
    rng = Stream.JITTER.generator(config.root_seed)
    for w, (span, scaler) in enumerate(zip(spans, scalers, strict=True)):
        window = scaler.standardise(panel.values[span.start : span.stop])
        judged = scaler.standardise(panel.values[span.stop : span.until])
        # Change of variables: from the window's standard deviations to those of `fit`.
        change = np.log(unit / scaler.scale).sum()
        known = Development(window, len(window), config.n_factors)
        moved = jittered(rng, judged)
        columns[ENSEMBLE].append(logsumexp(members[w], axis=0, b=shares[w][:, None]) + change)
        for name in COMPARED_WITH:
            law = BASELINES[name].fit(known)
            likelihood = law.log_likelihood(judged)
            columns[name].append(likelihood + change)
            costs[name].append(cost_of_jitter(likelihood, law.log_likelihood(moved)))
    exploded = [
        name for name, lost in costs.items() if is_degenerate(float(np.mean(lost)), panel.n_assets)
    ]
    table = {name: np.concatenate(p) for name, p in columns.items() if name not in exploded}
    notes = [f"The likelihood of {BASELINES[name].label} is degenerate." for name in exploded]
    return pd.DataFrame(table, index=_judged(panel, spans)), notes


def _baseline_weights(
    panel: Panel, spans: Sequence[Span], config: WalkConfig
) -> tuple[dict[str, Float[np.ndarray, "window asset"]], list[str]]:
    """Weights at every window's end by strategy, and notes on those that cannot be had; DataError
    where the one that all are compared with cannot."""
    n_factors = min(config.baseline_factors, panel.n_assets - 1)
    weights, notes = {"equal": np.full((len(spans), panel.n_assets), 1.0 / panel.n_assets)}, []
    for name, estimate in portfolios.ESTIMATORS.items():
        estimates = [estimate(panel.values[s.start : s.stop], n_factors) for s in spans]
        try:
            if name == "sample" and config.window <= panel.n_assets + 1:
                raise DataError(f"{config.window} dates are too few for {panel.n_assets} assets")
            weights[name] = portfolios.minimum_variance(np.stack(estimates))
        except DataError as error:
            if name == BASELINE:
                raise
            notes.append(f"The portfolio {name} is left out: {error}.")
    return weights, notes


def _weights(
    prepared: PreparedWalk, covariances: Float[np.ndarray, "window asset asset"]
) -> pd.DataFrame:
    """Minimum-variance weights of every strategy at every window's end."""
    panel, spans = prepared.panel, prepared.spans
    by_strategy = {ENSEMBLE: portfolios.minimum_variance(covariances), **prepared.weights}
    ends = _ends(panel, spans)
    index = pd.MultiIndex.from_product([by_strategy, ends], names=["strategy", "date"])
    stacked = np.concatenate(list(by_strategy.values()))
    return pd.DataFrame(stacked, index=index, columns=list(panel.assets))


def _portfolio(prepared: PreparedWalk, weights: pd.DataFrame) -> pd.DataFrame:
    """What each strategy returned on each judged date."""
    panel, spans = prepared.panel, prepared.spans
    held = np.stack([panel.values[span.stop : span.until] for span in spans])
    names = weights.index.unique("strategy")
    table = {name: portfolios.hold(weights.loc[name].to_numpy(), held) for name in names}
    return pd.DataFrame(table, index=_judged(panel, spans))


def _windows(
    prepared: PreparedWalk, config: WalkConfig, scores: pd.DataFrame, tracked: TrackedFactors
) -> pd.DataFrame:
    """A row a window."""
    panel, spans = prepared.panel, prepared.spans
    start, stop, until = np.array(spans).T
    by_window = scores.to_numpy().reshape(len(spans), config.step, -1).mean(axis=1)
    columns: dict[str, Any] = {
        "first_date": panel.dates[start],
        "last_date": panel.dates[stop - 1],
        "judged_from": panel.dates[stop],
        "judged_to": panel.dates[until - 1],
    }
    columns |= {f"log_likelihood, {n}": by_window[:, k] for k, n in enumerate(scores)}
    columns |= agreement_columns(tracked, -(-config.window // config.step))
    return pd.DataFrame(columns).rename_axis("window")


def _describe(prepared: PreparedWalk, config: WalkConfig, exploded: list[str]) -> dict[str, Any]:
    """Everything that the numbers depend on; and notes, those on `exploded` baselines too."""
    panel, spans = prepared.panel, prepared.spans
    preset = config.preset()
    judged = _judged(panel, spans)
    forecasts = preset.model.build(panel.n_assets).recurrence is not None
    return {
        "name": panel.name,
        **asdict(config),
        "betas": list(config.betas),
        "epochs": preset.train.epochs,
        "learning_rate": preset.learning_rate,
        "model_config": describe_family(preset.model),
        "train_config": preset.train.record(),
        "n_windows": len(spans),
        "dates_per_year": portfolios.dates_per_year(panel.dates),
        "judged_from": str(judged[0].date()),
        "judged_to": str(judged[-1].date()),
        "assets": list(panel.assets),
        "identity": walk_identity(panel, config),
        "notes": [
            *panel.notes,
            *cause_notes(panel.values, panel.assets, "the panel's dates"),
            *exploded,
            *prepared.notes,
            *([ONE_DATE] if len(judged) == 1 else []),
            *([NEXT_DATE] if forecasts and config.step > 1 else []),
        ],
    }


def _ends(panel: Panel, spans: Sequence[Span]) -> pd.DatetimeIndex:
    """The last date of each window."""
    return panel.dates[[span.stop - 1 for span in spans]]


def _judged(panel: Panel, spans: Sequence[Span]) -> pd.DatetimeIndex:
    dates = np.concatenate([panel.dates[span.stop : span.until] for span in spans])
    return pd.DatetimeIndex(dates, name="date")
