"""Does knowing the past make better forecasts, and does volatility cluster in what is generated?

Command: python experiments/temporal.py   (about ten minutes on 2 cores; --quick: half a minute)
"""

import dataclasses
import time

import jax
import numpy as np
from support import parse, use_all_cores, write_json

from jaxvae import apply, fitting, predictive, summary
from jaxvae.analysis import baselines
from jaxvae.analysis.risk import coverage
from jaxvae.fitting import StudyConfig
from jaxvae.foresight import BURN_IN, PATHS, score_ewma, squares_autocorrelation
from jaxvae.market import load_named
from jaxvae.models.base import take_rows
from jaxvae.panel import Panel
from jaxvae.regimes import regimes_log_likelihood, regimes_panel
from jaxvae.synthetic import linear_panel
from jaxvae.tables import REFIT_SPLITS, Scored, comparisons_table, score_baseline

ORDERS = (0.05, 0.01)
DRAWS = 4000
SEEDS = 2
# Factors of the temporal model, one of which is the surprise in volatility; and its static rival.
PANELS = {
    "regimes": (4, StudyConfig(model="volatility", n_factors=4, epochs=150)),
    "sp500": (9, StudyConfig(model="volatility", n_factors=9, epochs=150)),
    "french": (13, StudyConfig(model="volatility", n_factors=12, epochs=150)),
    "noise": (4, StudyConfig(model="linear", n_factors=3, epochs=150)),
    "linear": (6, StudyConfig(model="linear", n_factors=5, epochs=150)),
}
KNOWN = ("sp500", "french")


def panel_of(name, quick):
    """A panel, and its true model's one-step log-likelihood as a function of a scaler, or None."""
    n_dates = 200 if quick else 2000
    if name == "regimes":
        panel, truth, regimes = regimes_panel(42, n_dates=n_dates)
        return panel, lambda scaler: regimes_log_likelihood(panel, truth, regimes, scaler)
    if name in KNOWN:
        return load_named(name), None
    panel, _ = linear_panel(42, n_dates=n_dates // 2, n_assets=20)
    if name == "noise":
        drawn = np.random.default_rng(42).normal(size=panel.values.shape)
        panel = Panel(0.01 * drawn, panel.dates, panel.assets, name="noise")
    return panel, None


def fitted(panel, config):
    """A configuration trained, chosen and refitted as in a study: what is prepared, and refits."""
    prepared = fitting.prepare(panel, config)
    grid = fitting.train_grid(prepared, config, lambda progress: None)
    chosen = fitting.choose(grid, prepared.split, config)
    refits = fitting.refit(prepared, grid, chosen, config, lambda progress: None)
    return prepared, refits


def mixture(refits, name):
    bounds = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), refits.evaluation.likelihood)
    value = summary.mix_bounds(bounds).value
    return Scored(name, None, "fit", REFIT_SPLITS, log_likelihood=value)


def risk(prepared, refits, key):
    """Coverage of the equal-weighted portfolio's value at risk on the test dates, by order."""
    test, weights = prepared.split.test, prepared.scaler.scale / prepared.panel.n_assets
    batch, everyone = take_rows(prepared.batch, test), apply.everyone(refits.ensemble)
    said = predictive.forecast_portfolio(key, prepared.model, everyone, batch, weights, DRAWS)
    quantiles = np.quantile(said.draws, ORDERS, axis=0)
    kept = {}
    for order, quantile in zip(ORDERS, quantiles, strict=True):
        found = coverage(prepared.values[test] @ weights, quantile, order)
        tests = ("unconditional", "independence", "conditional")
        p_values = {f"{name}_p": getattr(found, name).p_value for name in tests}
        kept[f"{100 * order:g} %"] = {"breaches": found.rate, **p_values}
    return kept


def clusters(prepared, refits, key):
    """Autocorrelation of squared returns of generated paths as long as `fit`."""
    n_dates = prepared.split.fit.stop
    shape, n_assets = prepared.preset.model, prepared.panel.n_assets
    everyone = apply.everyone(refits.ensemble)
    paths = predictive.generate_paths(
        key, prepared.model, everyone, shape.memory, n_assets, n_dates + BURN_IN, PATHS
    )
    found = np.mean([squares_autocorrelation(path[BURN_IN:]) for path in paths], axis=0)
    return found.round(4).tolist()


def digest(name, quick):
    panel, oracle = panel_of(name, quick)
    n_factors, static = PANELS[name]
    short = {"seeds": 1 if quick else SEEDS, "betas": (1.0,)}
    temporal = StudyConfig(model="temporal", n_factors=2 if quick else n_factors, **short)
    short["seeds"] = 1
    if quick:
        temporal = dataclasses.replace(temporal, epochs=3)
        short |= {"n_factors": 2, "epochs": 3}
    static = dataclasses.replace(static, **short)
    key, (prepared, refits) = jax.random.key(1), fitted(panel, temporal)
    prepared_static, refits_static = fitted(panel, static)
    values, split = prepared.values, prepared.split
    student = baselines.fit_multivariate_t(values[split.fit])
    rivals = [
        mixture(refits_static, f"static VAE, {static.model}"),
        score_baseline("multivariate_t", student, values),
        score_ewma(prepared),
    ]
    if oracle is not None:
        truth = oracle(prepared.scaler)
        rivals.append(Scored("oracle", None, "fit", REFIT_SPLITS, log_likelihood=truth))
    model = mixture(refits, "temporal")
    table = comparisons_table([model], rivals, split, 0).drop(columns=["model", "split"])
    data = squares_autocorrelation(values[split.fit])
    return {
        "configs": [dataclasses.asdict(config) for config in (temporal, static)],
        "best_epochs": np.asarray(refits.ensemble.best_epoch).tolist(),
        "test": {
            scored.model: float(scored.log_likelihood[split.test].mean())
            for scored in (model, *rivals)
        },
        "leads": table.to_dict(orient="records"),
        "squares_autocorrelation": {
            "data": data.round(4).tolist(),
            "temporal": clusters(prepared, refits, key),
            "static": clusters(prepared_static, refits_static, key),
        },
        "value_at_risk": {
            "temporal": risk(prepared, refits, key),
            "static": risk(prepared_static, refits_static, key),
        },
    }


def main():
    arguments = parse(__doc__)
    use_all_cores()
    results = {}
    for name in ["regimes"] if arguments.quick else PANELS:
        begun = time.monotonic()
        results[name] = digest(name, arguments.quick)
        print(f"{name}: {time.monotonic() - begun:.0f} s", results[name]["test"], flush=True)
    write_json(arguments.out, "temporal", {"quick": arguments.quick, "panels": results})


if __name__ == "__main__":
    main()
