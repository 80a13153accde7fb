"""What does β buy, and where can it buy nothing?

Command: python experiments/beta.py   (about seven minutes on one core; --quick: half a one)

12 betas from 1/16 to 32 × 8 seeds, one ensemble a panel, on four planted panels of 1,000 dates and
five factors: `isotropic`, where every factor is as strong as the next (signal-to-noise 6), and
`separated` (40, 16, 6.4, 2.6, 1.2), both 50 assets in orthonormal directions; `linear`, the
package's own, 50 assets, each divided by the noise that it was drawn with; `nonlinear`, the
package's own. On the first three members are linear, K = 8, and told the noise (variance 1), so
that all is known in closed form (`rate_distortion`); with one learned noise variance 2
seeds more count factors. On the last they are the default perceptrons, K = 5, stopped early on
validation. Trained on the first 70 % of dates; rates (mean KL), distortions (mean -E_q log p(x|z)),
log p(x) and scores against the planted factors are of the last 30 %, opened once, with 95 %
intervals over seeds; the parts of the KL of the dates trained on. The figures are in
results/beta.json, and drawn in results/beta.png.

What β buys:
- Pruning. Factors in use are those of form 2 at every β and seed, but for one factor whose
  eigenvalue is within 4 % of β (8 or 7 at β = 1.4, 1 or 0 at 8); with learned noise those of form
  3, to one factor. Surplus factors, K - 5, are given up between β = 1.4 and 2, where the spectrum
  of pure noise ends.
- Axes, where variances differ. On `separated` the matched correlation rises from .71 at β = 1/16, a
  random rotation's, to .89 at β = 2, SAP from .34 to .79, UDR from .31 to .97; on `linear` from .76
  to .90, though two of its pairs of eigenvalues are close and DCI stays at .42. In closed form any
  β > 0 has these axes: at small β the force towards them is too weak for 2,000 epochs, and rates
  lie up to 1.6 nats above the closed form; from β = 1.4 on they are within .03.
- A tenth of a nat. Held-out log p(x) of the linear panels is best at β = 1.4, .10 above β = 1, for
  the surplus factors that it gives up; larger β costs by the nat.

What it cannot: on `isotropic` no β lifts any matched correlation above the .71 of a random rotation
(.65 to .70 while factors are in use), and seeds agree no better (UDR .31 to .43): sampling alone
tells the factors apart. On `nonlinear` scores stay below a random rotation's at every β (.49 to
.55) and log p(x) is level from 1/8 to 1. Nor does β make factors independent: the total
correlation of linear members is that of the same factors shifted in time (9.96 and 9.95 nats at β =
1/16, .54 and .53 at 1, `isotropic`), that is, of 700 dates alone, to .1 nats; on
`nonlinear` it exceeds that by up to .2.

Ways to charge for the KL, on `nonlinear` at 200 epochs without early stopping: at β = 1 warm-up
(-67.4 [-68.2, -66.6]) and free bits of .25 nats (-67.3 [-67.9, -66.7]) lead the plain charge (-68.6
[-68.8, -68.4]), which loses one factor of five in every seed where they keep 4.6 and 4.9. A
capacity at the plain members' own rate, held by 4 β, does what they do (-68.7), and at β = 4 worse
(-75.2 with 3.2 factors in use, against -71.3 with 3.6; warm-up -69.5, free bits -69.3).

Draw 42 was run once; the programs were tried on draw 7.
"""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from beta_figure import draw
from rate_distortion import linear_optimum, linear_rate_distortion
from support import parse, use_all_cores, write_json

from jaxvae.analysis.bootstrap import student_interval
from jaxvae.analysis.decomposition import Codes, Decomposition, chance_correlation, decompose
from jaxvae.analysis.factor_scores import AxisScores, MatchedScores, axis_scores, matched_scores
from jaxvae.analysis.matching import compare_on
from jaxvae.analysis.metrics import active_units
from jaxvae.analysis.nulls import null_of, rotated_scores, shifted_scores
from jaxvae.analysis.udr import udr_by_group
from jaxvae.data.panel import Split, fit_scaler, split_dates
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.fitting.presets import PRESETS
from jaxvae.inference.evaluation import evaluate_members, posterior_means
from jaxvae.inference.members import ask, fitted_members
from jaxvae.models import PerceptronConfig, make_batch
from jaxvae.report.draw import to_png
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.objective import row_terms
from jaxvae.training.state import Data

DRAW = 42
SEEDS = 8
BETAS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0, 16.0, 32.0)
N_LINEAR, N_NONLINEAR, N_PLANTED = 8, 5, 5
EQUAL = (6.0,) * N_PLANTED
APART = (40.0, 16.0, 6.4, 2.6, 1.2)
N_ASSETS = 50
DISTORTION_DRAWS, LIKELIHOOD_SAMPLES, NULL_DRAWS = 64, 32, 50
LINEAR_TRAINING = TrainConfig(epochs=2000, batch_size=350, warmup_epochs=0, patience=None)
LEARNED_SEEDS = 2
NAMES = (*MatchedScores._fields, *AxisScores._fields)
SCHEDULE_BETAS = (1.0, 4.0)
FREE_BITS = 0.25


class Panel(NamedTuple):
    """Returns in the members' units, all dates; the planted factors; what members are."""

    values: np.ndarray
    factors: np.ndarray
    split: Split
    shape: PerceptronConfig
    config: TrainConfig
    learning_rate: float


def linear_members_of(values, factors, n_factors):
    """Noise of variance 1 an asset, which the members are told."""
    split = split_dates(len(values))
    shape = PerceptronConfig(
        n_factors, widths=(), normalisation="none", noise="fixed", noise_variance=1
    )
    centred = values - values[split.fit].mean(axis=0)
    return Panel(centred, factors, split, shape, LINEAR_TRAINING, 2e-2)


def planted(strengths, seed, n_dates, n_assets):
    """Independent normal factors in orthonormal directions; strengths are their signal-to-noise."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(n_assets, len(strengths))))[0]
    factors = rng.normal(size=(n_dates, len(strengths)))
    values = factors * np.sqrt(strengths) @ directions.T + rng.normal(size=(n_dates, n_assets))
    return values, factors


def panels(seed, quick):
    n_dates, n_assets = (120, 10) if quick else (1000, N_ASSETS)
    size = {"n_dates": n_dates, "n_assets": n_assets}
    for name, strengths in (("isotropic", EQUAL), ("separated", APART)):
        yield name, linear_members_of(*planted(strengths, seed, n_dates, n_assets), N_LINEAR)
    panel, truth = linear_panel(seed, **size)
    yield "linear", linear_members_of(panel.values / truth.noise_scale, truth.factors, N_LINEAR)
    panel, truth = nonlinear_panel(seed, **(size if quick else {}))
    split = split_dates(panel.n_dates)
    values = fit_scaler(panel.values[split.fit]).standardise(panel.values)
    shape, train, rate, *_ = PRESETS["static"]
    shape = dataclasses.replace(shape, n_factors=N_NONLINEAR)
    yield "nonlinear", Panel(values, truth.factors, split, shape, train, rate)


def shortened(panel, epochs):
    config = panel.config
    warmup = min(config.warmup_epochs, epochs // 4)
    batch = min(config.batch_size, panel.split.train.stop)
    return panel._replace(
        config=dataclasses.replace(config, epochs=epochs, warmup_epochs=warmup, batch_size=batch)
    )


def trained(panel, seeds, betas):
    """The grid on `fit`; where members stop early, on `train`, judged by `validation`."""
    split, config = panel.split, panel.config
    rows = split.fit if config.patience is None else split.train
    judges = panel.values[split.validation] if config.patience else panel.values[:0]
    data = Data(make_batch(panel.values[rows]), make_batch(judges))
    model = panel.shape.build(panel.values.shape[1])
    grid = member_grid(range(seeds), betas, data, model, panel.learning_rate, config.epochs)
    ensemble = train_ensemble(jax.random.key(0), data, grid, model, config)
    if not ensemble.ok.all():
        raise FloatingPointError("a member diverged")
    return model, ensemble


def distortion_of(key, model, variables, batch):
    """-E_q log p(x | z) of each row, the mean over draws of z."""
    config = TrainConfig()

    def drawn(key):
        beta = jnp.float32(1.0)
        terms, _ = row_terms(key, variables, batch, beta, model, config, False)
        return terms.reconstruction

    return jnp.mean(jax.lax.map(drawn, jax.random.split(key, DISTORTION_DRAWS)), axis=0)


def evaluated(panel, model, ensemble):
    """What the members say of all dates, and their distortion there."""
    batch, key = make_batch(panel.values), jax.random.key(1)
    fitted, shared = fitted_members(ensemble), {"key": key, "batch": batch}
    evaluation = evaluate_members(key, model, fitted, batch, LIKELIHOOD_SAMPLES)
    distortion = ask(distortion_of, fitted, shared, model=model)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (evaluation, distortion))


def rates(panel, evaluation, distortion):
    """By name, a number a member: nats a date on `fit` and on test dates, and factors in use."""
    fit, test, kl = panel.split.fit, panel.split.test, evaluation.kl.sum(axis=2)
    rows = {
        "rate_fit": kl[:, fit],
        "distortion_fit": distortion[:, fit],
        "rate": kl[:, test],
        "distortion": distortion[:, test],
        "log_likelihood": evaluation.likelihood.value[:, test],
    }
    columns = {name: row.mean(axis=1) for name, row in rows.items()}
    columns["active_units"] = active_units(evaluation.factors[:, fit]).sum(axis=1)
    return columns


def kl_parts(panel, evaluation):
    """The parts of each member's KL on `fit`, and its total correlation by chance."""
    fit, rows = panel.split.fit, []
    for pair in zip(evaluation.factors, evaluation.log_variance, strict=True):
        codes = Codes(*(part[fit] for part in pair))
        rng = np.random.default_rng(0)
        rows.append((*decompose(rng, codes)[:3], chance_correlation(rng, codes)))
    names = (*Decomposition._fields[:3], "total_correlation_chance_mean")
    return dict(zip(names, np.array(rows).T, strict=True))


def true_scores(panel, evaluation):
    """Each member's factors against the planted ones on test dates; one not in use is constant."""
    fit, test, known = panel.split.fit, panel.split.test, panel.factors
    shown = evaluation.factors * active_units(evaluation.factors[:, fit])[:, None, :]
    rows = [both_scores(compare_on(one, known, fit, test)) for one in shown]
    return dict(zip(NAMES, np.array(rows).T, strict=True))


def both_scores(compared):
    return [*matched_scores(compared), *axis_scores(compared)]


def nulls(panel, codes, n_draws):
    """By score: what the reference turned at random and shifted in time reach."""
    fit, test, known = panel.split.fit, panel.split.test, panel.factors
    rng = np.random.default_rng(0)
    turned = rotated_scores(rng, both_scores, known, fit, test, n_draws)
    shifted = shifted_scores(rng, both_scores, codes, known, fit, test, n_draws)
    floors = {name: null_of(draws)._asdict() for name, draws in zip(NAMES, turned.T, strict=True)}
    chance = {name: null_of(draws)._asdict() for name, draws in zip(NAMES, shifted.T, strict=True)}
    return {"rotation": floors, "chance": chance}


def over_seeds(columns, seeds):
    """By score, an interval a β: mean, low, high."""
    return {
        name: [list(student_interval(row)) for row in np.asarray(column, float).reshape(-1, seeds)]
        for name, column in columns.items()
    }


def closed_forms(panel, betas):
    """Form 2 or 3 on the rows trained on: factors in use, rate, distortion, noise."""
    fit, shape = panel.values[panel.split.fit], panel.shape
    optima = [
        linear_optimum(fit, shape.n_factors, beta, shape.noise, shape.noise_variance)
        for beta in betas
    ]
    points = [linear_rate_distortion(*pair) for pair in zip(optima, betas, strict=True)]
    return {
        "active_units": [one.active for one in optima],
        "rate": [point.rate for point in points],
        "distortion": [point.distortion for point in points],
        "signal_to_noise": optima[0].signal_to_noise[: shape.n_factors].tolist(),
    }


def sweep(panel, seeds, betas, n_draws):
    """The whole grid on one panel."""
    model, ensemble = trained(panel, seeds, betas)
    evaluation, distortion = evaluated(panel, model, ensemble)
    columns = rates(panel, evaluation, distortion)
    columns |= kl_parts(panel, evaluation) | true_scores(panel, evaluation)
    fit = panel.split.fit
    groups = np.repeat(betas, seeds)
    kl = evaluation.kl[:, fit].mean(axis=1)
    agree = udr_by_group(evaluation.factors[:, fit], kl, groups, np.ones(len(groups), bool))
    columns["udr"] = np.nan_to_num(agree)
    middle = (len(betas) // 2) * seeds
    result = {
        "over_seeds": over_seeds(columns, seeds),
        "nulls": nulls(panel, evaluation.factors[middle], n_draws),
    }
    if panel.shape.noise == "fixed":
        closed = closed_forms(panel, betas)
        result |= {"closed_form": closed, "certified": certified(columns, closed, seeds)}
    return result


def certified(columns, closed, seeds):
    """Largest difference of any member from its closed form on the rows trained on."""
    pairs = {"active_units": "active_units", "rate": "rate_fit", "distortion": "distortion_fit"}
    found = {}
    for name, column in pairs.items():
        gaps = np.abs(columns[column].reshape(-1, seeds) - np.array(closed[name])[:, None])
        found[name] = {"largest": float(gaps.max()), "by_beta": gaps.max(axis=1).tolist()}
    return found


def learned_noise(panel, seeds, betas):
    """Form 3: factors in use where one noise variance is learned, beside the closed form."""
    panel = panel._replace(shape=dataclasses.replace(panel.shape, noise="scalar"))
    model, ensemble = trained(panel, seeds, betas)
    shared = {"batch": make_batch(panel.values)}
    means = ask(posterior_means, fitted_members(ensemble), shared, model=model)
    used = active_units(means[:, panel.split.fit]).sum(axis=1).reshape(-1, seeds)
    return {"active_units": used.tolist(), "closed_form": closed_forms(panel, betas)}


def schedules(panel, seeds, betas):
    """Ways to charge for the KL, at equal epochs and no early stopping; a capacity of the rate that
    the plain charge ends at."""
    base = dataclasses.replace(panel.config, patience=None, warmup_epochs=0)
    warm = base.epochs // 4
    results = {}
    for beta in betas:
        plain = outcome(panel, base, seeds, beta)
        capacity = round(plain["rate_fit"][0], 2)
        held = {"capacity": capacity, "capacity_epochs": base.epochs // 2}
        ways = {
            "warm-up": (beta, {"warmup_epochs": warm}),
            "capacity": (4 * beta, held),
            "free bits": (beta, {"free_bits": FREE_BITS}),
        }
        results[f"{beta:g}"] = {"plain": plain} | {
            name: outcome(panel, dataclasses.replace(base, **changes), seeds, price)
            for name, (price, changes) in ways.items()
        }
    return results


def outcome(panel, config, seeds, beta):
    panel = panel._replace(config=config)
    model, ensemble = trained(panel, seeds, (beta,))
    evaluation, distortion = evaluated(panel, model, ensemble)
    columns = rates(panel, evaluation, distortion)
    learned, known = evaluation.factors, panel.factors
    fit, test = panel.split.fit, panel.split.test
    columns["mcc"] = [matched_scores(compare_on(one, known, fit, test)).mcc for one in learned]
    return {name: interval[0] for name, interval in over_seeds(columns, seeds).items()}


def main():
    arguments = parse(__doc__)
    use_all_cores()
    begun, quick = time.monotonic(), arguments.quick
    betas, seeds, n_draws = (BETAS, SEEDS, NULL_DRAWS) if not quick else ((0.5, 8.0), 2, 9)
    results = {}
    for name, panel in panels(DRAW, quick):
        if quick and name != "separated":
            continue
        panel = shortened(panel, 10) if quick else panel
        results[name] = sweep(panel, seeds, betas, n_draws)
        if panel.shape.noise == "fixed":
            results[name]["learned_noise"] = learned_noise(panel, LEARNED_SEEDS, betas)
        if quick or name == "nonlinear":
            prices = betas[:1] if quick else SCHEDULE_BETAS
            results[name]["schedules"] = schedules(panel, seeds, prices)
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    settings = {"draw": DRAW, "seeds": seeds, "betas": list(betas)}
    results = {"quick": quick, **settings, "panels": results}
    write_json(arguments.out, "beta", results)
    (arguments.out / "beta.png").write_bytes(to_png(draw(results)))


if __name__ == "__main__":
    main()
