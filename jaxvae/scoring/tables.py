"""Scores as tidy tables: VAEs and classical baselines pass through the same code.

Every model is first made a `Scored`: what it says of each date of the panel. From there on nobody
asks what made it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis.bootstrap import block_bootstrap_interval, simultaneous_intervals
from jaxvae.analysis.degeneracy import cost_of_jitter, is_degenerate
from jaxvae.analysis.factor_scores import (
    ROTATION_INVARIANT,
    AxisScores,
    MatchedScores,
    axis_scores,
    matched_scores,
)
from jaxvae.analysis.matching import compare_on
from jaxvae.analysis.metrics import active_units, r2
from jaxvae.analysis.nulls import (
    Null,
    null_of,
    rotated_scores,
    shifted_scores,
)
from jaxvae.baselines import Law
from jaxvae.data.panel import Split
from jaxvae.inference.importance import LARGEST_ERROR
from jaxvae.training.streams import Stream

REFIT_SPLITS = ("fit", "test")
MEMBER_SPLITS = ("train", "validation", "test")
COLUMNS = ("model", "member", "factors", "split", "metric", "value")
MetricRow = tuple[str, int | None, int | None, str, str, float]
# One seed of the chosen configuration: `score_ensemble` averages its scores, no table shows them.
SEED_MODEL = "vae_seed"
# Their axes are compared with the true ones on the test part, by scores that cost more.
COMPARED_BY_AXES = ("consensus", "vae_best", SEED_MODEL, "pca", "factor_analysis")
# A likelihood is unreliable where more of the dates than this are estimated from too few effective
# samples: such a date may err by several nats.
MOST_DOUBTFUL = 0.01
IN_PRIOR_UNITS = ("vae", "vae_best", SEED_MODEL)


class FactorScore(NamedTuple):
    """Scores of factors against true ones: a function of what is `Compared`,
    the names of what it says, and how many shifts and rotations its nulls rest on."""

    score: Callable[..., MatchedScores | AxisScores]
    names: tuple[str, ...]
    n_shifts: int
    n_rotations: int


BY_MATCHING = FactorScore(matched_scores, MatchedScores._fields, 200, 500)
BY_AXES = FactorScore(axis_scores, AxisScores._fields, 100, 100)


class Scored(NamedTuple):
    """What a model says of every date, in standard units; None where it says nothing of the kind.

    fitted_on: the split that it was fitted on; the mean there is what R² measures against.
    log_likelihood: of the cells observed, nats a date. standard_error, effective_samples: of its
        Monte-Carlo estimate.
    squared_error: of each date, summed over assets observed.
    of_jittered: log_likelihood of returns moved at random (`degeneracy.jittered`), which finds
        likelihoods that have no bound; None where there is no reason to ask.
    """

    model: str
    n_factors: int | None
    fitted_on: str
    splits: tuple[str, ...]
    log_likelihood: Float[np.ndarray, " date"] | None = None
    standard_error: Float[np.ndarray, " date"] | None = None
    effective_samples: Float[np.ndarray, " date"] | None = None
    squared_error: Float[np.ndarray, " date"] | None = None
    of_jittered: Float[np.ndarray, " date"] | None = None
    factors: Float[np.ndarray, "date factor"] | None = None
    member: int | None = None


class ScoringData(NamedTuple):
    """What scoring needs of the panel: returns in standard units (NaN where missing), the split,
    known factors."""

    values: Float[np.ndarray, "date asset"]
    split: Split
    reference: Float[np.ndarray, "date reference"] | None


def score_baselines(
    laws: Mapping[str, Law],
    values: Float[np.ndarray, "date asset"],
    of_jittered: Float[np.ndarray, "date asset"] | None = None,
) -> list[Scored]:
    """Classical models fitted on `fit`, by name, on all dates; on one BLAS thread.

    of_jittered: the values jittered, where degenerate likelihoods are to be found.
    """
    scored = []
    for name, law in laws.items():
        one = Scored(name, law.n_factors or None, "fit", REFIT_SPLITS, law.log_likelihood(values))
        if law.n_factors:
            error = np.nansum((values - law.reconstruct(values)) ** 2, axis=1)
            one = one._replace(squared_error=error, factors=law.factors(values))
        if of_jittered is not None:
            one = one._replace(of_jittered=law.log_likelihood(of_jittered))
        scored.append(one)
    return scored


def has_degenerate_likelihood(scored: Scored, split: str, data: ScoringData) -> bool:
    """`degeneracy.is_degenerate` of a model on a split; false where nobody asked."""
    if scored.log_likelihood is None or scored.of_jittered is None:
        return False
    rows, n_assets = getattr(data.split, split), data.values.shape[1]
    cost = cost_of_jitter(scored.log_likelihood[rows], scored.of_jittered[rows])
    return is_degenerate(cost, n_assets)


def metrics_table(rows: Sequence[MetricRow]) -> pd.DataFrame:
    """model, member, factors, split, metric, value: a row a number."""
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"member": "Int64", "factors": "Int64", "value": float})


def metric_rows(
    model: str,
    split: str,
    values: Mapping[str, float],
    member: int | None = None,
    n_factors: int | None = None,
) -> list[MetricRow]:
    """Values by metric as rows of the metrics table."""
    return [(model, member, n_factors, split, *item) for item in values.items()]


def score_rows(models: Sequence[Scored], data: ScoringData, root_seed: int) -> list[MetricRow]:
    """All scores of models, on their splits, as rows of the metrics table.

    Beside the factor scores of every model that is no single member's stand their nulls, each with
    mean and 95th percentile: the chance level of a reference shifted in time (`…_chance_mean`,
    `…_chance_95`), and what random rotations of the reference score (`…_rotation_mean`,
    `…_rotation_95`), save for scores that no rotation changes. A score is evidence where it exceeds
    both percentiles. All models meet the same draws.
    """
    rows: list[MetricRow] = []
    splits = {split for scored in models if scored.member is None for split in scored.splits}
    rotated = {split: _rotation_nulls(split, data, root_seed) for split in splits}
    for scored in models:
        for split in scored.splits:
            values = score_values(scored, split, data)
            if scored.member is None:
                chance = _chance_levels(scored, split, data, root_seed)
                values = with_nulls(values, chance=chance, rotation=rotated[split])
            rows += metric_rows(scored.model, split, values, scored.member, scored.n_factors)
    return rows


def score_values(scored: Scored, split: str, data: ScoringData) -> dict[str, float]:
    """All scores of a model on a split, by metric, without nulls."""
    rows, fit = getattr(data.split, split), data.split.fit
    known = data.values[rows]
    found: dict[str, float] = {}
    if scored.log_likelihood is not None:
        likelihood = scored.log_likelihood[rows]
        found["log_likelihood"] = float(likelihood.mean())
        if np.isnan(data.values).any():
            n_cells = np.isfinite(known).sum()
            found["log_likelihood_per_cell"] = float(likelihood.sum() / n_cells)
        if has_degenerate_likelihood(scored, split, data):
            found["degenerate"] = 1.0
    if scored.standard_error is not None:
        error = scored.standard_error[rows]
        found["log_likelihood_se"] = float(np.sqrt((error**2).sum()) / len(error))
        found["unreliable"] = float((error > LARGEST_ERROR).mean() > MOST_DOUBTFUL)
    if scored.effective_samples is not None:
        found["effective_samples"] = float(scored.effective_samples[rows].mean())
        found["effective_samples_min"] = float(scored.effective_samples[rows].min())
    if scored.squared_error is not None:
        mean = np.nanmean(data.values[getattr(data.split, scored.fitted_on)], axis=0)
        squared_error = float(scored.squared_error[rows].sum())
        found["r2"] = r2(squared_error, known, mean)
        found["mse"] = squared_error / np.isfinite(known).sum()
    if scored.factors is not None and scored.model in IN_PRIOR_UNITS:
        found["active_units"] = float(active_units(scored.factors[rows]).sum())
    if scored.factors is not None and data.reference is not None:
        for asked in _factor_scores(scored, split):
            compared = compare_on(scored.factors, data.reference, fit, rows)
            found |= asked.score(compared)._asdict()
    return found


def comparisons_table(
    models: Sequence[Scored],
    baselines: Sequence[Scored],
    split: Split,
    root_seed: int,
    over_seeds: Mapping[str, float] = MappingProxyType({}),
) -> pd.DataFrame:
    """Paired differences in test log-likelihood, nats per date, with 95 % intervals.

    `low` and `high` hold one difference over dates (block bootstrap); `low_joint` and `high_joint`
    all those of the table at once (`bootstrap.simultaneous_intervals`); `low_seeds` and
    `high_seeds` say how far it hangs on the seeds; `low_widest` and `high_widest` are the widest of
    these, which decides whether a model is ahead.

    over_seeds: half the width of the interval over seeds, by model; those without have none.
    """
    pairs = [(model, baseline) for model in models for baseline in baselines]
    gaps = np.stack([test_lead(*pair, split) for pair in pairs], axis=1)
    alone = [
        block_bootstrap_interval(Stream.RESAMPLING.generator(root_seed), gap) for gap in gaps.T
    ]
    half = np.array([over_seeds.get(model.model, np.nan) for model, _ in pairs])
    difference, *over_dates = np.array(alone).T
    joint = simultaneous_intervals(Stream.RESAMPLING.generator(root_seed), gaps)
    ends = np.array([over_dates, joint, (difference - half, difference + half)])
    widest = np.nan_to_num(ends[:, 1] - ends[:, 0], nan=-1.0).argmax(axis=0)
    names = [
        f"{end}{kind}" for kind in ("", "_joint", "_seeds", "_widest") for end in ("low", "high")
    ]
    rows = [(model.model, baseline.model, "test") for model, baseline in pairs]
    table = pd.DataFrame(rows, columns=["model", "baseline", "split"]).assign(difference=difference)
    all_ends = np.concatenate([ends, ends[widest, :, np.arange(len(pairs))].T[None]])
    return table.assign(**dict(zip(names, all_ends.reshape(-1, len(pairs)), strict=True)))


def test_lead(model: Scored, baseline: Scored, split: Split) -> Float[np.ndarray, " date"]:
    """Log-likelihood of one model less another's on each test date, nats."""
    assert model.log_likelihood is not None
    assert baseline.log_likelihood is not None
    return (model.log_likelihood - baseline.log_likelihood)[split.test]


def _factor_scores(scored: Scored, split: str) -> Iterator[FactorScore]:
    yield BY_MATCHING
    if split == "test" and scored.model in COMPARED_BY_AXES:
        yield BY_AXES


def _chance_levels(
    scored: Scored, split: str, data: ScoringData, root_seed: int
) -> dict[str, Null]:
    """By metric: each score against a reference shifted in time."""
    learned, known = scored.factors, data.reference
    if learned is None or known is None:
        return {}
    fit, rows = data.split.fit, getattr(data.split, split)
    levels: dict[str, Null] = {}
    for asked in _factor_scores(scored, split):
        rng = Stream.RESAMPLING.generator(root_seed)
        draws = shifted_scores(rng, asked.score, learned, known, fit, rows, asked.n_shifts)
        levels |= dict(zip(asked.names, map(null_of, draws.T), strict=True))
    return levels


def _rotation_nulls(split: str, data: ScoringData, root_seed: int) -> dict[str, Null]:
    """By metric: the scores of random rotations of the reference, whatever the model."""
    known = data.reference
    if known is None:
        return {}
    fit, rows = data.split.fit, getattr(data.split, split)
    rng = Stream.RESAMPLING.generator(root_seed)
    levels: dict[str, Null] = {}
    for asked in (BY_MATCHING, BY_AXES) if split == "test" else (BY_MATCHING,):
        draws = rotated_scores(rng, asked.score, known, fit, rows, asked.n_rotations)
        levels |= dict(zip(asked.names, map(null_of, draws.T), strict=True))
    return {name: level for name, level in levels.items() if name not in ROTATION_INVARIANT}


def with_nulls(values: Mapping[str, float], **nulls: Mapping[str, Null]) -> dict[str, float]:
    """Scores by metric, after each the mean and 95th percentile of its nulls.

    nulls: of the scores that have them, by kind ("chance", "rotation").
    """
    found: dict[str, float] = {}
    for name, value in values.items():
        found[name] = value
        for null, levels in nulls.items():
            if name in levels:
                mean, percentile_95 = levels[name]
                found |= {f"{name}_{null}_mean": mean, f"{name}_{null}_95": percentile_95}
    return found
