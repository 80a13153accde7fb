"""At what signal strength is the number of factors found, and is noise told from factors?

Command: python experiments/n_factors.py   (about 80 seconds on one core; --quick: under a minute)

Classical part: 20 draws a strength of 700 dates × 100 assets with three planted factors of equal
strength on orthogonal loadings in unit noise, and 20 draws of each of four kinds of pure noise. A
strength is the variance that a factor adds along its loadings, in multiples of √(N / T) times the
noise variance: below 1 it cannot be told from noise at all (Baik, Ben Arous and Péché 2005); 16 is
5 % of the variance. Kept is the share of draws in which each estimator, and the verdict of the
seven, give the planted number: 3, or 0 on noise.

Ensemble part: on five draws of 400 dates × 40 assets, of noise, and of three planted factors of
strength 16, a study's own count: seeds trained with 0, 1, … 5 factors in use at β = 1, the number
that held-out likelihood finds, the combined verdict, and the gain of the best size over none with
its 95 % interval, nats a validation date.

Expected: the verdict is 3 in all draws from strength 16 on and 0 in all draws of noise; edge
distribution and parallel analysis see factors from strength 4 or so, and the latter is misled by
autocorrelation; the ensemble gains nothing on noise. The figures are in results/n_factors.json.
"""

import numpy as np
import pandas as pd
from support import parse, write_json

from jaxvae.analysis.n_factors import combine_estimates, n_factors_table
from jaxvae.data.panel import Panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.fit import Choice, train_grid
from jaxvae.fitting.prepare import prepare
from jaxvae.scoring.evidence import tabulate_n_factors
from jaxvae.selection.count_factors import sweep_factors

PLANTED = 3
STRENGTHS = (0.5, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0)
MOST = 10


def planted(rng, n_dates, n_assets, strength):
    """Equally strong factors on orthogonal loadings, in unit noise."""
    loadings = np.linalg.qr(rng.normal(size=(n_assets, PLANTED)))[0]
    loadings *= np.sqrt(strength * np.sqrt(n_assets / n_dates))
    noise = rng.normal(size=(n_dates, n_assets))
    return rng.normal(size=(n_dates, PLANTED)) @ loadings.T + noise


def persistent(rng, n_dates, n_assets):
    """AR(1) noise, ρ = .3, from its stationary law but for the first date."""
    noise = rng.normal(size=(n_dates, n_assets))
    for date in range(1, n_dates):
        noise[date] += 0.3 * noise[date - 1]
    return noise


NOISES = {
    "Gaussian": lambda rng, *shape: rng.normal(size=shape),
    "Student-t, 3 degrees of freedom": lambda rng, *shape: rng.standard_t(3, size=shape),
    "scales from 0.01 to 9": lambda rng, *shape: (
        rng.normal(size=shape) * np.linspace(0.01, 9, shape[1])
    ),
    "autocorrelation 0.3": persistent,
}


def shares(draw, n_draws, shape, expected):
    """Share of draws in which each estimator finds the expected number."""
    rows = []
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        table = n_factors_table(draw(rng, *shape), MOST, rng)
        rows.append(table | {"verdict": combine_estimates(table)})
    return (pd.DataFrame(rows) == expected).mean().to_dict()


def classical(quick):
    n_draws, shape = (2, (120, 40)) if quick else (20, (700, 100))
    strengths = STRENGTHS[-1:] if quick else STRENGTHS
    by_strength = {
        str(strength): shares(
            lambda rng, *size, strength=strength: planted(rng, *size, strength),
            n_draws,
            shape,
            PLANTED,
        )
        for strength in strengths
    }
    on_noise = {name: shares(draw, n_draws, shape, 0) for name, draw in NOISES.items()}
    for name, row in {**by_strength, **on_noise}.items():
        print(f"{name:32s}", {estimator: round(share, 2) for estimator, share in row.items()})
    settings = {"draws": n_draws, "dates": shape[0], "assets": shape[1]}
    return {**settings, "share_finding_three": by_strength, "share_finding_none": on_noise}


def ensemble_count(values, config):
    """What a study says of a panel, from its sizes alone."""
    dates = pd.bdate_range("2020-01-01", periods=len(values))
    assets = tuple(f"STOCK_{k:03d}" for k in range(values.shape[1]))
    prepared = prepare(Panel(0.01 * values, dates, assets), config)
    grid = train_grid(prepared, lambda progress: None)
    sweep = sweep_factors(prepared, grid, Choice(0, 0, config.seeds), lambda progress: None)
    table = tabulate_n_factors(prepared, sweep)
    numbers = table[table.kind != "size"].set_index("name").factors
    found = table[(table.kind == "size") & (table.factors > 0)]
    best = found.loc[found.log_likelihood.idxmax()]
    # Blank where the members use none of their factors: then there is no gain of theirs.
    gain = best[["gain", "low", "high"]].astype(float)
    return {
        "held_out": int(numbers["held_out"]),
        "verdict": int(numbers["verdict"]),
        "best_size": int(best.factors),
        "gain": None if gain.isna().any() else gain.tolist(),
    }


def ensemble(quick):
    shape, n_draws = ((120, 12), 1) if quick else ((400, 40), 5)
    config = StudyConfig(
        seeds=4,
        betas=(1.0,),
        model="static",
        n_factors=5,
        likelihood_samples=32,
        epochs=20 if quick else None,
    )
    draws = {"noise": NOISES["Gaussian"], "planted": lambda rng, *size: planted(rng, *size, 16.0)}
    results = {}
    for name, draw in draws.items():
        results[name] = []
        for seed in range(n_draws):
            values = draw(np.random.default_rng(100 + seed), *shape)
            results[name].append(ensemble_count(values, config))
            print(name, results[name][-1], flush=True)
    return {"dates": shape[0], "assets": shape[1], **results}


def main():
    arguments = parse(__doc__)
    results = {"classical": classical(arguments.quick), "ensemble": ensemble(arguments.quick)}
    write_json(arguments.out, "n_factors", {"quick": arguments.quick, **results})


if __name__ == "__main__":
    main()
