"""Does a VAE beat the best linear model where returns bend with their factors?

Command: python experiments/nonlinear.py   (about eight minutes on 2 cores; --quick: under a minute)

Five draws of the nonlinear planted panel (seeds 42 to 46) and one of the linear (42), each a study
as `jaxvae study` makes it: the model `additive` (a sum of one cubic curve a factor, factors coming
into use one at a time) with K = 8, and on the linear panel also the model `linear` with K = 5; β
and epochs chosen on validation, the test part opened once. Beside it stand factor analysis at its
own best number of factors (1 to 15, chosen on validation) and the oracle, the true model with its
true parameters, by importance sampling. Reported a draw, on the test part in nats a date:

  gap_closed     (ensemble - factor analysis) / (oracle - factor analysis)
  mcc            matched correlation of the best member's factors with the planted ones, matched on
                 the first 70 % of dates, beside both nulls
  subspace_r2    beside factor analysis's own

On the linear panel factor analysis is the right model. The settings of both models were found on
draws 1 to 3 of the nonlinear panel and on validation dates. The figures are in
results/nonlinear.json.

What did not work, on draws 1 to 3: perceptron decoders (matched correlation .6); a sum of tanh
networks, with all factors from the start or one at a time (.6 to .7); K = 5 with cubic curves (.7
to .85: in one panel of two, two factors lie down in the plane of one curve and neither lets go); a
high β that falls (always the same such solution). Room for a few factors more than were planted,
and one factor at a time, let each find its whole curve before the next can take half of it. Even so
a seed in two ends in such a plane; on draws 4 to 7 it showed in the likelihood of the dates trained
on, by a nat or two, and the likeliest of 8 refits had a matched correlation of .90 to .95. That is
how the best VAE is now chosen, from 16 refits. A first run on the five draws reported, with 8 seeds
and the refit of the seed that validation liked best, gave .82, as did one of 16 with other random
numbers.
"""

import dataclasses
import time

import jax
import numpy as np
from planted import planted_model
from support import parse, use_all_cores, write_json

from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.inference.importance import log_likelihood
from jaxvae.models import make_batch
from jaxvae.study.run import run_study

DRAWS = (42, 43, 44, 45, 46)
ADDITIVE = StudyConfig(seeds=16, betas=(1.5, 2.0), n_factors=8, model="additive")
LINEAR = StudyConfig(seeds=8, betas=(1.0, 1.5, 2.0), n_factors=5, model="linear")
ORACLE_SAMPLES = 2000


def oracle(panel, truth, n_samples):
    """The true model's log-likelihood of the test part, nats a date, and its Monte-Carlo error."""
    split = split_dates(panel.n_dates)
    scaler = fit_scaler(panel.values[split.fit])
    model = planted_model(truth, scaler)
    batch = make_batch(scaler.standardise(panel.values)[split.test])
    variables = model.initialise(jax.random.key(0), batch)
    program = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    bound = program(jax.random.key(0), model, variables, batch, n_samples=n_samples)
    error = np.asarray(bound.standard_error, np.float64)
    return {
        "log_likelihood": float(np.mean(bound.value)),
        "log_likelihood_se": float(np.sqrt((error**2).sum()) / len(error)),
    }


def row(panel, truth, config, n_samples):
    """One study beside factor analysis and the oracle."""
    begun = time.monotonic()
    study = run_study(panel, config)
    seconds = time.monotonic() - begun
    strongest, known = "factor_analysis_best", oracle(panel, truth, n_samples)
    ensemble, linear = (
        study.metric(name, "log_likelihood", "test") for name in ("vae_ensemble", strongest)
    )
    lead = study.comparisons.query("model == 'vae_ensemble' and baseline == @strongest").iloc[0]
    gap = known["log_likelihood"] - linear
    names = ("mcc", "mcc_chance_95", "mcc_rotation_mean", "mcc_rotation_95", "subspace_r2")
    factors = study.metrics[study.metrics.model == strongest].factors.iloc[0]
    return {
        "model": config.model,
        "chosen": study.config["chosen"],
        "vae_ensemble": ensemble,
        "vae_best": study.metric("vae_best", "log_likelihood", "test"),
        "factor_analysis_best": linear,
        "factor_analysis_factors": int(factors),
        "oracle": known,
        "lead": [float(lead[name]) for name in ("difference", "low", "high")],
        "gap_closed": (ensemble - linear) / gap,
        "best_member": {name: study.metric("vae_best", name, "test") for name in names},
        "consensus": {name: study.metric("consensus", name, "test") for name in names},
        "factor_analysis": {name: study.metric(strongest, name, "test") for name in names},
        "seconds": round(seconds, 1),
    }


def over_draws(rows, name):
    values = [one[name] if name in one else one["best_member"][name] for one in rows]
    return {"mean": float(np.mean(values)), "min": min(values), "max": max(values)}


def main():
    arguments = parse(__doc__)
    use_all_cores()
    draws, n_samples, size = DRAWS, ORACLE_SAMPLES, {}
    configs = {"additive": ADDITIVE, "linear": LINEAR}
    if arguments.quick:
        draws, n_samples, size = DRAWS[:1], 64, {"n_dates": 150, "n_assets": 12, "n_factors": 2}
        small = {"seeds": 2, "betas": (1.0,), "n_factors": 2, "epochs": 20}
        configs = {"additive": dataclasses.replace(ADDITIVE, **small)}
    nonlinear = {}
    for draw in draws:
        nonlinear[draw] = row(*nonlinear_panel(draw, **size), configs["additive"], n_samples)
        print(draw, {k: v for k, v in nonlinear[draw].items() if k != "consensus"}, flush=True)
    linear = {
        name: row(*linear_panel(DRAWS[0], **size), config, n_samples)
        for name, config in configs.items()
    }
    print(linear)
    summary = {name: over_draws(nonlinear.values(), name) for name in ("gap_closed", "mcc")}
    print(summary)
    settings = {"config": dataclasses.asdict(configs["additive"]), "oracle_samples": n_samples}
    results = {"quick": arguments.quick, **settings, "over_draws": summary}
    write_json(arguments.out, "nonlinear", {**results, "nonlinear": nonlinear, "linear": linear})


if __name__ == "__main__":
    main()
