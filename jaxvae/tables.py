"""Scores as tidy tables: VAEs and classical baselines pass through the same code.

Every model is first made a `Scored`: what it says of each date of the panel. From there on nobody
asks what made it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis.baselines import Baseline, factors, log_likelihood, reconstruct
from jaxvae.analysis.matching import match, mcc, subspace_r2
from jaxvae.analysis.metrics import block_bootstrap_interval, describe, r2_of_residual
from jaxvae.analysis.nulls import held_out_chance_level, rotation_floor
from jaxvae.panel import Split

REFIT_SPLITS = ("fit", "test")
MEMBER_SPLITS = ("train", "validation", "test")


class Scored(NamedTuple):
    """What a model says of every date, in standard units; None where it says nothing of the kind.

    fitted_on: the split that it was fitted on; the mean there is the rival in R².
    log_likelihood: nats a date. standard_error, effective_samples: of its Monte-Carlo estimate.
    squared_error: of each date, summed over assets.
    """

    model: str
    n_factors: int | None
    fitted_on: str
    splits: tuple[str, ...]
    log_likelihood: Float[np.ndarray, " date"] | None = None
    standard_error: Float[np.ndarray, " date"] | None = None
    effective_samples: Float[np.ndarray, " date"] | None = None
    squared_error: Float[np.ndarray, " date"] | None = None
    factors: Float[np.ndarray, "date factor"] | None = None
    member: int | None = None


class Context(NamedTuple):
    """What scoring needs of the panel: returns in standard units, the split, known factors."""

    values: Float[np.ndarray, "date asset"]
    split: Split
    reference: Float[np.ndarray, "date reference"] | None


def score_baseline(
    name: str, baseline: Baseline, values: Float[np.ndarray, "date asset"]
) -> Scored:
    """A classical model fitted on `fit`."""
    scored = Scored(
        model=name,
        n_factors=baseline.n_factors or None,
        fitted_on="fit",
        splits=REFIT_SPLITS,
        log_likelihood=log_likelihood(baseline, values),
    )
    if not baseline.n_factors:
        return scored
    error = ((values - reconstruct(baseline, values)) ** 2).sum(axis=1)
    return scored._replace(squared_error=error, factors=factors(baseline, values))


def metrics_table(models: Iterable[Scored], context: Context, root_seed: int) -> pd.DataFrame:
    """model, member, factors, split, metric, value: a row a number.

    Nulls of the matched correlation (`mcc_chance_mean`, `mcc_chance_95`, `mcc_rotation_floor`)
    stand beside every model that is no single member's.
    """
    rows = []
    for scored in models:
        for split in scored.splits:
            for metric, value in _scores(scored, split, context, root_seed):
                rows.append((scored.model, scored.member, scored.n_factors, split, metric, value))
    table = pd.DataFrame(rows, columns=["model", "member", "factors", "split", "metric", "value"])
    return table.astype({"member": "Int64", "factors": "Int64", "value": float})


def describe_rows(model: str, split: str, values: Float[np.ndarray, "date asset"]) -> pd.DataFrame:
    """Moments of pooled returns, in standard units, as rows of the metrics table."""
    moments = describe(values)._asdict()
    names = {"skew": "skewness"}
    return pd.DataFrame(
        {
            "model": model,
            "member": pd.array([pd.NA] * len(moments), dtype="Int64"),
            "factors": pd.array([pd.NA] * len(moments), dtype="Int64"),
            "split": split,
            "metric": [names.get(name, name) for name in moments],
            "value": list(moments.values()),
        }
    )


def comparisons_table(
    models: Sequence[Scored], rivals: Sequence[Scored], split: Split, root_seed: int
) -> pd.DataFrame:
    """Paired differences in test log-likelihood, nats a date, with 95 % block-bootstrap intervals.

    Blocks of √n dates, longer than the usual n^⅓: leads over Gaussian models cluster with
    volatility.
    """
    rows = []
    for model in models:
        for rival in rivals:
            assert model.log_likelihood is not None
            assert rival.log_likelihood is not None
            gap = (model.log_likelihood - rival.log_likelihood)[split.test]
            rng = np.random.default_rng(root_seed)
            length = int(np.ceil(len(gap) ** 0.5))
            interval = block_bootstrap_interval(rng, gap, length)
            rows.append((model.model, rival.model, "test", *interval))
    return pd.DataFrame(rows, columns=["model", "baseline", "split", "difference", "low", "high"])


def _scores(
    scored: Scored, split: str, context: Context, root_seed: int
) -> Iterator[tuple[str, float]]:
    rows = getattr(context.split, split)
    if scored.log_likelihood is not None:
        yield "log_likelihood", float(scored.log_likelihood[rows].mean())
    if scored.standard_error is not None:
        error = scored.standard_error[rows]
        yield "log_likelihood_se", float(np.sqrt((error**2).sum()) / len(error))
    if scored.effective_samples is not None:
        yield "effective_samples", float(scored.effective_samples[rows].mean())
    if scored.squared_error is not None:
        yield from _reconstruction_scores(scored, rows, context)
    if scored.factors is not None and context.reference is not None:
        yield from _matching_scores(scored, rows, context, root_seed)


def _reconstruction_scores(
    scored: Scored, rows: slice, context: Context
) -> Iterator[tuple[str, float]]:
    assert scored.squared_error is not None
    values = context.values[rows]
    mean = context.values[getattr(context.split, scored.fitted_on)].mean(axis=0)
    residual = float(scored.squared_error[rows].sum())
    yield "r2", r2_of_residual(residual, values, mean)
    yield "mse", residual / values.size


def _matching_scores(
    scored: Scored, rows: slice, context: Context, root_seed: int
) -> Iterator[tuple[str, float]]:
    """Assignment, signs and regressions are learned on `fit` and scored on `rows`."""
    assert scored.factors is not None
    assert context.reference is not None
    fit = context.split.fit
    learned, reference = scored.factors, context.reference
    matching = match(learned[fit], reference[fit])
    yield "mcc", mcc(matching, learned[rows], reference[rows])
    r2 = subspace_r2(learned[fit], reference[fit], learned[rows], reference[rows])
    yield "subspace_r2", r2
    if scored.member is None:
        rng = np.random.default_rng(root_seed)
        chance = held_out_chance_level(rng, learned, reference, fit, rows)
        yield "mcc_chance_mean", chance.mean
        yield "mcc_chance_95", chance.percentile_95
        yield "mcc_rotation_floor", rotation_floor(rng, reference[rows]).mean


def members_table(
    metrics: pd.DataFrame, columns: dict[str, Any], has_reference: bool
) -> pd.DataFrame:
    """A row a member: `columns`, then its scores by split, taken from the metrics table."""
    rows = metrics[metrics.model == "vae"]
    names = [(m, s) for m in ("log_likelihood", "r2") for s in MEMBER_SPLITS]
    if has_reference:
        names += [("mcc", "test"), ("subspace_r2", "test")]
    scores = {
        f"{metric}_{split}": rows[(rows.metric == metric) & (rows.split == split)].value.to_numpy()
        for metric, split in names
    }
    first = {name: columns[name] for name in ("member", "seed", "beta", "ok", "best_epoch")}
    return pd.DataFrame({**first, **scores, **{k: v for k, v in columns.items() if k not in first}})
