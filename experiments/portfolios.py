"""Do VAEs make calmer portfolios in skfolio than its own priors do?

Command: python experiments/portfolios.py   (five minutes of one core; --quick: a minute)

Panel `sp500`, skfolio's `WalkForward`: fitted to 504 dates, weights (0 or more, summing to 1) held
until the next refit, over all years from 1992 on. Minimum variance is refitted every 126 dates;
minimum CVaR at 95 % every 252, since a vine copula takes seconds each time. Synthetic priors draw
2,000 scenarios. Beside the VAEs stand equal weights, the empirical prior, Ledoit–Wolf and, for the
CVaR, `VineCopula` at its defaults.

The VAEs: `linear` with 8 factors, the equal mixture of β = ½, 1, 2, 4 and 8, 300 epochs; and
`volatility` with 6 factors. Nothing was tried here: windows, steps and scenarios were fixed before
the run; the rest is as in walk_forward.py, which chose the betas on dates before 2013-05-03, for
portfolios that may be short. So every figure is given for all dates, and for the late ones, the
last 30 %, from 2013-02-04 on: but for their first three months no choice saw them. That
`volatility` is likelier than the baselines there was known (panels.json).

A third part was added after a first run had been seen, which gave the same figures for the other
two. One stock's price (RRC, in quotes that are rounded) stood still on half to nine tenths of the
dates of the first years: the vine gives it a marginal without variance, holds nothing else for
three years and moves 124 % in the first of them; `volatility`, whose tails are each stock's own,
puts up to 40 % into it. That part, "moving", begins 252 dates after the last on which some price
had stood still on a fifth of the 504 dates before.

Realised: volatility, % a year, with the difference in variance to Ledoit–Wolf's; CVaR at 95 %, % a
date, with the difference to the empirical prior's and to the vine's. Intervals are 95 %, by the
circular block bootstrap over dates; of the CVaR, q + E[(-r - q)⁺] / 0.05, at its own quantile q, on
which it does not depend to first order. Seconds are of a processor, a refit, compiling left out.

The figures are in results/portfolios.json.
"""

import time
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
from skfolio import RiskMeasure
from skfolio.distribution import VineCopula
from skfolio.model_selection import WalkForward, cross_val_predict
from skfolio.moments import LedoitWolf
from skfolio.optimization import EqualWeighted, MeanRisk
from skfolio.prior import EmpiricalPrior, SyntheticData
from support import parse, write_json

from jaxvae.analysis.bootstrap import block_bootstrap_interval
from jaxvae.analysis.portfolios import (
    annual_volatility,
    dates_per_year,
    turnover,
    variance_difference,
)
from jaxvae.data.named import load_named
from jaxvae.data.panel import split_dates
from jaxvae.data.synthetic import linear_panel
from jaxvae.integrations.skfolio import VAECovariance, VAEDistribution

TRAIN, STEPS, SCENARIOS = 504, {"variance": 126, "cvar": 252}, 2000
TAIL, STILL = 0.05, 0.2
VAES = {
    "vae_linear": {"n_components": 8, "model": "linear", "beta": (0.5, 1.0, 2.0, 4.0, 8.0)},
    "vae_volatility": {"n_components": 6, "model": "volatility"},
}
EPOCHS = {"vae_linear": 300, "vae_volatility": None}
BASELINES = {"variance": ("ledoit_wolf",), "cvar": ("empirical", "vine")}


def of_least_variance(covariance=None):
    return MeanRisk(prior_estimator=EmpiricalPrior(covariance_estimator=covariance))


def of_least_cvar(distribution=None, scenarios=SCENARIOS):
    measure = {"risk_measure": RiskMeasure.CVAR, "cvar_beta": 1 - TAIL}
    if distribution is None:
        return MeanRisk(**measure)
    prior = SyntheticData(distribution, n_samples=scenarios)
    return MeanRisk(**measure, prior_estimator=prior)


def strategies(quick):
    """Estimators of portfolios by what they minimise and by name."""
    vaes = {name: {**settings, "epochs": EPOCHS[name]} for name, settings in VAES.items()}
    if quick:
        vaes = {name: {**one, "n_components": 2, "epochs": 5} for name, one in vaes.items()}
    scenarios = SCENARIOS // 10 if quick else SCENARIOS
    return {
        "variance": {
            "equal": EqualWeighted(),
            "empirical": of_least_variance(),
            "ledoit_wolf": of_least_variance(LedoitWolf()),
            **{name: of_least_variance(VAECovariance(**one)) for name, one in vaes.items()},
        },
        "cvar": {
            "equal": EqualWeighted(),
            "empirical": of_least_cvar(),
            "ledoit_wolf_variance": of_least_variance(LedoitWolf()),
            "vine": of_least_cvar(VineCopula(random_state=0), scenarios),
            **{n: of_least_cvar(VAEDistribution(**one), scenarios) for n, one in vaes.items()},
        },
    }


def walk(estimator, returns, train, step):
    """A portfolio's returns by date, its turnover and seconds a refit."""
    cv = WalkForward(train_size=train, test_size=step)
    begun = time.process_time()
    cross_val_predict(estimator, returns.iloc[: train + step], cv=cv)
    first = time.process_time() - begun
    walked = cross_val_predict(estimator, returns, cv=cv)
    spent = time.process_time() - begun - first
    held = pd.concat([pd.Series(one.returns, one.observations) for one in walked])
    figures = {
        "refits": len(walked),
        "first_seconds": round(first, 2),
        "seconds": round(spent / len(walked), 3),
        "turnover": round(turnover(np.stack([one.weights for one in walked])), 3),
    }
    return held, figures


def tail_losses(returns):
    """Of each date; their mean is the CVaR, as a loss."""
    value_at_risk = -np.quantile(returns, TAIL)
    return value_at_risk + np.maximum(-returns - value_at_risk, 0.0) / TAIL


def judge(held, baselines, per_year):
    """A portfolio's volatility and CVaR in %, and differences to baselines on the same dates."""
    losses = tail_losses(held)
    differences = {}
    for name, other in baselines.items():
        rng = np.random.default_rng(0)
        variance = np.array(variance_difference(rng, held, other)) * per_year * 1e4
        cvar = np.array(block_bootstrap_interval(rng, losses - tail_losses(other))) * 100
        differences[name] = {"variance": variance.round(2).tolist(), "cvar": cvar.round(4).tolist()}
    return {
        "dates": len(held),
        "volatility": round(100 * annual_volatility(held, per_year), 3),
        "cvar": round(100 * float(losses.mean()), 4),
        "differences": differences,
    }


def all_moving(returns, train):
    """The first date of the part "moving"."""
    still = (returns == 0.0).rolling(train).mean().max(axis=1) > STILL
    last = int(np.flatnonzero(still)[-1]) if still.any() else train - 1
    return returns.index[min(last + 1 + max(STEPS.values()), len(returns) - 1)]


def run(kind, estimators, returns, train, step, parts):
    """A row a strategy, with its figures by part."""
    held, rows = {}, {}
    for name, estimator in estimators.items():
        held[name], rows[name] = walk(estimator, returns, train, step)
        print(kind, name, rows[name], flush=True)
    per_year = dates_per_year(returns.index)
    for part, start in parts.items():
        series = {name: one[one.index >= start].to_numpy() for name, one in held.items()}
        baselines = {name: series[name] for name in BASELINES[kind]}
        for name, one in series.items():
            others = {other: back for other, back in baselines.items() if other != name}
            rows[name][part] = judge(one, others, per_year)
            print(kind, part, name, rows[name][part], flush=True)
    return {"step": step, "first_date": str(held["equal"].index[0].date()), "rows": rows}


def main():
    arguments = parse(__doc__)
    # Of prices that stood still; such windows are counted.
    warnings.filterwarnings("ignore", module="skfolio")
    train, steps = TRAIN, STEPS
    panel = load_named("sp500")
    if arguments.quick:
        panel = linear_panel(42, n_dates=150, n_assets=5, n_factors=2)[0]
        train, steps = 60, {"variance": 45, "cvar": 45}
    returns = panel.to_frame()
    late = returns.index[split_dates(panel.n_dates).test.start]
    parts = {"all": returns.index[0], "moving": all_moving(returns, train), "late": late}
    if arguments.quick:
        parts["moving"] = late
    found = {
        kind: run(kind, estimators, returns, train, steps[kind], parts)
        for kind, estimators in strategies(arguments.quick).items()
    }
    starts = {part: str(start.date()) for part, start in parts.items()}
    settings = {"train": train, "scenarios": SCENARIOS, "parts": starts, "vaes": VAES}
    results = {"quick": arguments.quick, "panel": panel.name, **settings, **found}
    write_json(arguments.out, "portfolios", {**results, "skfolio": version("skfolio")})


if __name__ == "__main__":
    main()
