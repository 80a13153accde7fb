"""Is a study that chooses for itself ever behind the best classical model?

Command: python experiments/auto.py   (hours on 2 cores: two to fifteen minutes a study; --quick: a
minute. --only GROUP ... for some groups. Every study is written down as it ends, and those that
auto.json already holds are not made again: it goes on where it was stopped. First one study
of each kind of panel is made, then a second of each, and so on)

Studies as `jaxvae study --data …` makes them, with no other option: model, number of factors and β
are chosen on validation dates. Groups of panels:

  linear, nonlinear, sp500, french   the named panels (of nonlinear five draws, 42 to 46), each with
                                     three root seeds
  noise, wild                        twenty draws each of noise, 40 assets over 400 dates: Gaussian,
                                     and Student-t with 3 degrees of freedom
  interactions, thresholds, local, switch
                                     five draws each of kinds that no candidate was tuned on:
                                     products of two factors; factors that act beyond a threshold
                                     only; a factor in five assets; factors that begin half way

Of each study: what was chosen and from what, its score on the test dates beside every classical
model's with the widest of the 95 % intervals of the difference, matched correlation and subspace R²
where factors were planted, the oracle's score where the true density is known, and how volatile the
minimum-variance portfolio of its covariance is on the test dates beside what it claims.

Where it is weak: matched correlation on `linear` (.81; its likelihood leaves the axes free, and
over twenty draws none of four conventions matches better: candidates.py) and on `nonlinear` (.80,
above random rotations in three, three and two draws of five, by root: nonlinear.py says what was
tried); the score on `french` (-22.60; `student`, behind on validation dates, is ahead on test
dates, which no choice sees). Of the candidates that were tried beside those that stand none would
have helped on the real panels (candidates.py). The choice takes longer than the grid that follows,
since it trains five families: on `linear` 51 processor seconds with its programs compiled, 42 with
one seed in place of two, 39 with one number of factors for each family; families far behind are
left out, and programs compile side by side.

The figures are in results/auto.json.
"""

import itertools
import json
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from auto_words import by_kind, excess, strongest
from nonlinear import ORACLE_SAMPLES, oracle
from support import parse, use_all_cores, write_json

from jaxvae.data.named import load_named
from jaxvae.data.panel import Panel, Reference
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.study.run import run_study

ROOTS = (0, 1, 2)
SHAPE, NOISE_SHAPE = (1000, 60), (400, 40)
QUICK_SHAPE = (150, 12)
N_FACTORS = 4
FACTOR_SCORES = ("mcc", "mcc_rotation_95", "mcc_chance_95", "subspace_r2")


def made(name, values, factors=None):
    """A panel of values in percent; its factors are known where they are planted."""
    n_dates, n_assets = values.shape
    dates = pd.bdate_range("2010-01-01", periods=n_dates)
    reference = None
    if factors is not None:
        columns = [f"factor {k + 1}" for k in range(factors.shape[1])]
        reference = Reference(pd.DataFrame(factors, dates, columns), None, planted=True)
    assets = tuple(f"STOCK_{k:03d}" for k in range(n_assets))
    return Panel(0.01 * values, dates, assets, reference=reference, name=name)


def noise(draw, shape):
    return made("noise", np.random.default_rng([1, draw]).standard_normal(shape))


def wild(draw, shape):
    return made("wild", np.random.default_rng([2, draw]).standard_t(3, shape))


def planted(draw, shape, kind):
    """Factors, loadings and noise that the four kinds share."""
    rng = np.random.default_rng([3, kind, draw])
    n_dates, n_assets = shape
    factors = rng.standard_normal((n_dates, N_FACTORS))
    loadings = rng.standard_normal((N_FACTORS, n_assets)) * np.array([1.2, 0.9, 0.7, 0.5])[:, None]
    return rng, factors, loadings, 1.5 * rng.standard_normal(shape)


def interactions(draw, shape):
    """Beside their linear parts, the products of the first two factors and of the last two."""
    rng, f, loadings, e = planted(draw, shape, 0)
    products = np.stack([f[:, 0] * f[:, 1], f[:, 2] * f[:, 3]], axis=1)
    bends = 0.7 * rng.standard_normal((2, shape[1]))
    return made("interactions", f @ loadings + products @ bends + e, f)


def thresholds(draw, shape):
    """Factors act only beyond half a standard deviation from zero."""
    _, f, loadings, e = planted(draw, shape, 1)
    beyond = np.sign(f) * np.maximum(np.abs(f) - 0.5, 0.0)
    return made("thresholds", 1.5 * beyond @ loadings + e, f)


def local(draw, shape):
    """The last factor is in five assets only."""
    _, f, loadings, e = planted(draw, shape, 2)
    loadings[-1, 5:] = 0.0
    loadings[-1, :5] = 2.0
    return made("local", f @ loadings + e, f)


def switch(draw, shape):
    """The last two factors begin half way."""
    _, f, loadings, e = planted(draw, shape, 3)
    f[: len(f) // 2, -2:] = 0.0
    return made("switch", f @ loadings + e, f)


KINDS = {f.__name__: f for f in (interactions, thresholds, local, switch)}
NOISES = {f.__name__: f for f in (noise, wild)}
PLANTED = {"linear": linear_panel, "nonlinear": nonlinear_panel}


def studies(quick):
    """Group, key, root seed and what makes the panel and, where it is known, its truth: the first
    of each group, then the second of each, and so on."""
    if quick:
        small = {"n_dates": QUICK_SHAPE[0], "n_assets": QUICK_SHAPE[1], "n_factors": 2}
        return [("nonlinear", "nonlinear 42, root 0", 0, partial(nonlinear_panel, 42, **small))]
    groups = [
        [
            (name, f"{name} {draw}, root {root}", root, partial(PLANTED[name], draw))
            for root in ROOTS
            for draw in draws
        ]
        for name, draws in (("linear", [42]), ("nonlinear", [42, 43, 44, 45, 46]))
    ]
    groups += [
        [
            (name, f"{name}, root {root}", root, lambda name=name: (load_named(name), None))
            for root in ROOTS
        ]
        for name in ("sp500", "french")
    ]
    groups += [
        [
            (
                name,
                f"{name} {draw}",
                0,
                lambda make=make, draw=draw, shape=shape: (make(draw, shape), None),
            )
            for draw in range(n_draws)
        ]
        for makers, n_draws, shape in ((KINDS, 5, SHAPE), (NOISES, 20, NOISE_SHAPE))
        for name, make in makers.items()
    ]
    rounds = itertools.zip_longest(*groups)
    return [study for one_of_each in rounds for study in one_of_each if study is not None]


def row(panel, truth, config, n_samples):
    """What is kept of one study."""
    begun, stages = time.monotonic(), {}

    def note(stage, _):
        stages.setdefault(stage, round(time.monotonic() - begun, 1))

    study = run_study(panel, config, on_progress=note)
    seconds = round(time.monotonic() - begun, 1)
    table = study.comparisons[study.comparisons.model == "vae_ensemble"].set_index("baseline")
    leads = {
        name: [float(one[x]) for x in ("difference", "low_widest", "high_widest")]
        for name, one in table.iterrows()
    }
    config = study.config
    return {
        "model": config["model"],
        "n_factors": config["n_factors"],
        "found": config["selection"]["found"],
        "beta": config["chosen"]["beta"],
        "candidates": study.candidates.round(4).to_dict("records"),
        "log_likelihood": study.metric("vae_ensemble", "log_likelihood", "test"),
        "r2": study.metric("vae_ensemble", "r2", "test"),
        "leads": leads,
        "factors": {name: study.metric("consensus", name, "test") for name in FACTOR_SCORES}
        if panel.reference is not None
        else None,
        "oracle": None if truth is None else oracle(panel, truth, n_samples),
        "portfolio": portfolio(panel, study),
        "notes": config["notes"],
        "stages_begin": stages,
        "seconds": seconds,
    }


def portfolio(panel, study):
    """Daily volatility of the minimum-variance portfolio: claimed, and realised on test dates."""
    covariance = study.covariance.to_numpy()
    weights = np.linalg.solve(covariance, np.ones(len(covariance)))
    weights /= weights.sum()
    held = np.nan_to_num(panel.values[-study.config["panel"]["n_test"] :]) @ weights
    claimed = float(np.sqrt(weights @ covariance @ weights))
    return {"claimed": claimed, "realised": float(held.std())}


def summary(rows):
    """Over the studies of each group: who won, scores, and the lead over the
    strongest classical model."""
    told = {}
    for name, group in by_kind(rows).items():
        scores = np.array([one["log_likelihood"] for one in group])
        leads = np.array([strongest(one)[0] for one in group])
        told[name] = {
            "studies": len(group),
            "chosen": sorted(f"{one['model']} {one['n_factors']}" for one in group),
            "found_none": sum(one["found"] == 0 for one in group),
            "ahead": sum(one["found"] != 0 and strongest(one)[1] > 0 for one in group),
            "log_likelihood": [float(scores.mean()), float(scores.std())],
            "lead_over_strongest": [float(leads.mean()), float(leads.min())],
            "realised_over_claimed": float(np.mean([excess(one) for one in group])),
            "seconds": float(np.mean([one["seconds"] for one in group])),
        }
        if group[0]["factors"]:
            for score in ("mcc", "mcc_rotation_95", "subspace_r2"):
                told[name][score] = float(np.mean([one["factors"][score] for one in group]))
    return told


def main():
    arguments = parse(__doc__, groups=("linear", "nonlinear", "sp500", "french", *KINDS, *NOISES))
    use_all_cores()
    config, n_samples, path = StudyConfig(), ORACLE_SAMPLES, arguments.out / "auto.json"
    if arguments.quick:
        config, n_samples = StudyConfig(seeds=2, betas=(1.0,), model="linear", epochs=20), 64
    kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
    rows = kept["studies"] if kept.get("quick") == arguments.quick else {}
    for group, key, root, make in studies(arguments.quick):
        if key in rows or (arguments.only and group not in arguments.only):
            continue
        panel, truth = make()
        rows[key] = row(panel, truth, replace(config, root_seed=root), n_samples)
        print(key, {k: v for k, v in rows[key].items() if k not in ("candidates", "notes")})
        results = {"quick": arguments.quick, "summary": summary(rows), "studies": rows}
        write_json(arguments.out, "auto", results)


if __name__ == "__main__":
    main()
