"""What only an ensemble can be asked: spread over seeds, agreement of members, the best of many.

Rows for the metrics table; `tables` scores one model at a time.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis.bootstrap import best_of_many_p_value, student_interval
from jaxvae.analysis.nulls import null_of
from jaxvae.analysis.udr import rotated_udr, shifted_udr, udr
from jaxvae.data.panel import Split
from jaxvae.scoring.tables import (
    BY_AXES,
    BY_MATCHING,
    MetricRow,
    Scored,
    ScoringData,
    metric_rows,
    score_values,
    test_lead,
    with_nulls,
)
from jaxvae.training.streams import Stream

OVER_SEEDS = ("log_likelihood", "r2", "active_units", *BY_MATCHING.names, *BY_AXES.names)
UDR_DRAWS = 100


def seed_rows(seeds: Sequence[Scored], data: ScoringData) -> list[MetricRow]:
    """Test scores over the refitted seeds: `…_seeds_mean`, `…_seeds_low`, `…_seeds_high`.

    Of one seed's own score, never the mixture's. Mean and 95 % Student interval
    (`bootstrap.student_interval`): what the mean over all possible seeds may be, on these dates. No
    rows with fewer than two seeds.
    """
    by_seed = pd.DataFrame([score_values(seed, "test", data) for seed in seeds])
    values: dict[str, float] = {}
    for name in [name for name in OVER_SEEDS if name in by_seed and len(seeds) > 1]:
        interval = student_interval(by_seed[name].to_numpy(np.float64))
        values |= {f"{name}_seeds_{end}": value for end, value in interval._asdict().items()}
    return metric_rows("vae_ensemble", "test", values, n_factors=seeds[0].n_factors)


def udr_rows(
    members: Float[np.ndarray, " member"],
    means: Float[np.ndarray, "seed date factor"],
    kl: Float[np.ndarray, "seed factor"],
    best: int,
    root_seed: int,
) -> list[MetricRow]:
    """UDR on `fit`: of each member, of the refits (`vae_ensemble`: their mean, beside its nulls),
    and of the one at `best` (`vae_best`).

    The nulls are of a single refit's score: chance (`udr_chance_…`) and random rotations of the
    best refit's factors (`udr_rotation_…`). Rows of NaN are left out, and those of the refits
    with fewer than two.

    members: by `udr.udr_by_group`. means, kl: of the refits, as `udr.udr` takes them.
    """
    rows: list[MetricRow] = []
    n_factors = means.shape[2]
    for member in np.flatnonzero(np.isfinite(members)).tolist():
        rows += metric_rows("vae", "fit", {"udr": members[member]}, member, n_factors)
    if len(means) > 1:
        scores, rng = udr(means, kl), Stream.RESAMPLING.generator(root_seed)
        draws = {
            "chance": shifted_udr(rng, means, kl, UDR_DRAWS),
            "rotation": rotated_udr(rng, means[best], kl[best], UDR_DRAWS),
        }
        nulls = {kind: {"udr": null_of(found)} for kind, found in draws.items() if len(found)}
        joint = with_nulls({"udr": scores.mean()}, **nulls)
        rows += metric_rows("vae_ensemble", "fit", joint, n_factors=n_factors)
        rows += metric_rows("vae_best", "fit", {"udr": scores[best]}, n_factors=n_factors)
    return rows


def best_seed_rows(
    seeds: Sequence[Scored], baselines: Sequence[Scored], split: Split, root_seed: int
) -> list[MetricRow]:
    """Does the best of the refitted seeds beat the strongest classical model on the test dates?

    Both were fitted on `fit`. `best_seed_lead`: mean lead of the seed that is best there, nats per
    date, hence flattered. `best_seed_p_value`: of "none beats it", which takes the picking into
    account (`bootstrap.best_of_many_p_value`). The baseline is the model of highest mean there,
    which favours it. No rows where no baseline can be compared with.
    """
    if not baselines:
        return []

    def on_test(scored: Scored) -> float:
        assert scored.log_likelihood is not None
        return float(scored.log_likelihood[split.test].mean())

    strongest = max(baselines, key=on_test)
    leads = np.stack([test_lead(seed, strongest, split) for seed in seeds], axis=1)
    p_value = best_of_many_p_value(Stream.RESAMPLING.generator(root_seed), leads)
    values = {"best_seed_lead": leads.mean(axis=0).max(), "best_seed_p_value": p_value}
    return metric_rows("vae_ensemble", "test", values, n_factors=seeds[0].n_factors)
