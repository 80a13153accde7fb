"""What do models learn from panels with missing cells, and how well do they fill them?

Command: python experiments/missing.py   (about ten minutes on one core; --quick: half a minute)

Planted panels, linear and nonlinear (30 assets, 700 dates, 3 factors, seed 7), lose 5, 20 or 50 %
of their cells in three ways: at `random`; in `blocks` of 20 dates of an asset; by `late` listings,
where assets begin one after the other within the training part (the share is of the dates up to
the test part, which is whole). Each model is fitted on the first 70 % of dates as they then are;
VAEs keep their best epoch on validation and are refitted, 2 seeds at β = 1: `linear` on the linear
panel, `additive` (at most 300 epochs, 6 factors) on the nonlinear one. Figures, by model:

- `imputation`: root mean squared error of the removed cells' conditional means in standard units,
  apart for the dates of `fit` and of `test` (none are removed there by late listings);
- `observed`: log-likelihood of the observed cells of the test dates, nats a cell;
- `whole`: log-likelihood of the whole test dates, nothing removed, nats a date.

`vae`: trained on the cells observed, an encoder that sees the mask. `vae_mean_filled`: the same
network on the panel filled with means. `factor_analysis_em`, `pca_em`: this package's baselines
(EM over the missing cells), K chosen on validation. `statsmodels_fill_em`: statsmodels' PCA with
`missing="fill-em"` at the planted K, a density by probabilistic PCA on what it filled.
`mean_filling`: means, and factor analysis on the panel filled with them. `complete_cases`: factor
analysis on the dates without a missing cell, None where fewer than 32 are left. `kept_whole`:
factor analysis on the panel before anything was removed, the mark to reach.

`exact`: the exact K × K solve of a `linear` member against the closed form in float64, its largest
error in a filled cell (standard units) and in a date's log-likelihood (nats); beside it what the
amortised encoder's means cost: their root mean squared distance from the exact posterior means, in
posterior standard deviations, and the RMSE of cells decoded from them less that of the exact ones.

What to expect. `exact` agrees to 1e-6 of a standard deviation and 2e-5 nats in every setting; the
encoder's means stay within .75 posterior standard deviations and cost at most .03 of RMSE. On the
linear panel, where factor analysis is the right model, the VAE fills cells and scores dates as its
EM does (within .01 of RMSE; behind by .3 nats a date at most, by .03 in most settings). On the
nonlinear panel it leads that EM by 1.3 to 1.8 nats a date, whatever is removed, and fills better.
Everywhere it fills better than statsmodels' EM and than means. Complete cases cost .2 to 1.3 nats
where there are any; at 20 % at random or in blocks at most one date of 490 is complete, at 50 %
none. Filling with means costs a VAE nothing at 5 % at random and 9.5 nats with late listings. The
encoder is the weak part: with blocks and late listings, where training shows fewer patterns than at
random, its means are further from the exact ones; the likelihoods and imputations above do not rest
on it.

Hidden cells (25 % at most of a row's, in training) were chosen on validation dates of another draw
(seed 101, the linear, static and additive models): against none they shorten the encoder's
distance from the posterior by a fifth to a half, on patterns that training did not show more, and
leave the decoder's likelihood within .1 nat; 50 % cost it .04 to .2 nats. Hiding them from the
encoder alone, the likelihood seeing all, was level.
"""

import warnings
from dataclasses import replace

import jax
import numpy as np
from scipy.optimize import brentq
from statsmodels.multivariate.pca import PCA
from support import parse, write_json
from threadpoolctl import threadpool_limits

from jaxvae import baselines
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.fit import choose, refit, train_grid
from jaxvae.fitting.prepare import prepare
from jaxvae.inference.evaluation import evaluate_members, posterior_means
from jaxvae.inference.imputation import complete_by_mixture, complete_rows
from jaxvae.inference.members import fitted_members
from jaxvae.models import make_batch
from jaxvae.scoring.score import mix_estimates

SEED = 7
N_FACTORS = 3
SHARES = (0.05, 0.2, 0.5)
BLOCK = 20
FEWEST_CASES = 32
MOST_FACTORS = 10
PANELS = {
    "linear": (linear_panel, StudyConfig(model="linear", n_factors=N_FACTORS)),
    "nonlinear": (nonlinear_panel, StudyConfig(model="additive", n_factors=6, epochs=300)),
}


def remove(values, pattern, share, rng):
    """The values without a share of their cells."""
    n_dates, n_assets = values.shape
    gaps = np.zeros(values.shape, bool)
    if pattern == "random":
        gaps = rng.random(values.shape) < share
    while pattern == "blocks" and gaps.mean() < share:
        first = rng.integers(1 - BLOCK, n_dates)
        gaps[max(first, 0) : first + BLOCK, rng.integers(n_assets)] = True
    if pattern == "late":
        split = split_dates(n_dates)
        latest = split.train.stop - FEWEST_CASES
        n_late = min(n_assets - 4, int(np.ceil(share * split.fit.stop * n_assets / latest * 2)))
        places, wanted = rng.random(n_late), share * split.fit.stop * n_assets / latest
        power = brentq(lambda power: (places**power).sum() - wanted, 1e-3, 1e3)
        for asset, place in zip(rng.permutation(n_assets), places, strict=False):
            gaps[: round(latest * place**power), asset] = True
    return np.where(gaps, np.nan, values)


def fitted_vaes(panel, values, config):
    """Refits of the chosen β on the values, and what was prepared for them."""

    def quiet(progress):
        return None

    prepared = prepare(replace(panel, values=values), config)
    grid = train_grid(prepared, quiet)
    return prepared, refit(prepared, grid, choose(grid, prepared), quiet)


def vae_figures(panel, values, config, standard, whole, split):
    """A VAE on the values, in the standard units of the panel with gaps."""
    prepared, refits = fitted_vaes(panel, values, config)
    fitted, key = fitted_members(refits.ensemble), jax.random.key(0)
    n_samples = config.likelihood_samples
    units, gaps = prepared.scaler, np.isnan(standard)
    back = fit_scaler(np.where(gaps, np.nan, panel.values)[split.fit])
    between = np.log(units.scale / back.scale)

    def score(cells):
        in_units = make_batch(units.standardise(back.restore(cells)))
        evaluation = evaluate_members(key, prepared.model, fitted, in_units, n_samples)
        bound = mix_estimates(
            jax.tree.map(lambda leaf: np.asarray(leaf, float), evaluation.likelihood)
        )
        return bound.value - np.isfinite(cells) @ between

    batch = make_batch(units.standardise(back.restore(standard)))
    filled = complete_by_mixture(key, prepared.model, fitted, batch, n_samples)
    filled = back.standardise(units.restore(filled))
    scores = score(standard[split.test]), score(whole[split.test])
    return figures_of(filled, *scores, standard, whole, split), (prepared, fitted, batch)


def baseline_figures(model, standard, whole, split, filled=None):
    """A classical density; `filled` where cells are not filled by its conditional means."""
    filled = model.given(standard).values if filled is None else filled
    scores = [model.log_likelihood(part[split.test]) for part in (standard, whole)]
    return figures_of(filled, *scores, standard, whole, split)


def figures_of(filled, observed, entire, standard, whole, split):
    """The measures, from filled cells and the log-likelihoods of the test dates."""
    error, gaps = filled - whole, np.isnan(standard)
    imputation = {}
    for part, rows in (("fit", split.fit), ("test", split.test)):
        errors = error[rows][gaps[rows]]
        imputation[part] = float(np.sqrt((errors**2).mean())) if len(errors) else None
    per_cell = observed.sum() / (~gaps[split.test]).sum()
    return {"imputation": imputation, "observed": float(per_cell), "whole": float(entire.mean())}


def by_statsmodels(fit, n_factors):
    """The rows that PCA by EM fills, and its directions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = PCA(fit, ncomp=n_factors, standardize=False, demean=True, missing="fill-em")
    return np.asarray(found._adjusted_data), np.asarray(found.eigenvecs)[:, :n_factors]


def projected(standard, mean, directions):
    """Missing cells of each row from least squares of the others on the directions."""
    filled = standard.copy()
    for row in filled:
        gaps = np.isnan(row)
        if gaps.any():
            seen = directions[~gaps]
            scores = np.linalg.lstsq(seen, row[~gaps] - mean[~gaps], rcond=None)[0]
            row[gaps] = mean[gaps] + directions[gaps] @ scores
    return filled


def classical_figures(standard, whole, split):
    fit = standard[split.fit]
    parts = standard[split.train], standard[split.validation]
    figures = {}
    for name, fit_sizes in (
        ("factor_analysis_em", baselines.fit_factor_analysis_sizes),
        ("pca_em", baselines.fit_pca_sizes),
    ):
        best = baselines.best_factors(fit_sizes, *parts, MOST_FACTORS)
        model = next(fit_sizes(fit, [best]))
        figures[name] = {"factors": best, **baseline_figures(model, standard, whole, split)}
    best = figures["factor_analysis_em"]["factors"]
    filled, directions = by_statsmodels(fit, N_FACTORS)
    rest = projected(standard, filled.mean(axis=0), directions)
    rest[split.fit] = filled
    model = baselines.fit_pca(filled, N_FACTORS)
    figures["statsmodels_fill_em"] = baseline_figures(model, standard, whole, split, rest)
    zeros = np.where(np.isnan(standard), 0.0, standard)
    model = baselines.fit_factor_analysis(zeros[split.fit], best)
    figures["mean_filling"] = baseline_figures(model, standard, whole, split, zeros)
    cases = fit[np.isfinite(fit).all(axis=1)]
    model = baselines.fit_factor_analysis(cases, best) if len(cases) >= FEWEST_CASES else None
    found = model and baseline_figures(model, standard, whole, split)
    figures["complete_cases"] = {"dates": len(cases), **(found or dict.fromkeys(MEASURES))}
    model = baselines.fit_factor_analysis(whole[split.fit], best)
    figures["kept_whole"] = baseline_figures(model, standard, whole, split)
    return figures


MEASURES = ("imputation", "observed", "whole")


def exactness(prepared, fitted, batch, standard, whole):
    """The exact solve of the first refit, and its encoder, against the closed form in float64."""
    one = jax.tree.map(lambda leaf: leaf[0], fitted.variables)
    decoder = jax.tree.map(lambda leaf: np.asarray(leaf, float), one.parameters["decoder"])
    loadings, bias = decoder["curves"]["terms"]["kernel"].T, decoder["mean"]["bias"]
    noise = np.logaddexp(decoder["log_variance"], np.log(1e-6))
    noise = np.exp(noise)
    truth = baselines.Elliptical.of_factors(bias, loadings, noise)
    cells = np.where(np.asarray(batch.observed) > 0, np.asarray(batch.values, float), np.nan)
    exact = truth.given(cells).values
    model, gaps = prepared.model, np.isnan(cells)
    filled, likelihood = jax.jit(complete_rows, static_argnums=(1, 4))(
        jax.random.key(0), model, one, batch, 8
    )
    posterior = jax.jit(model.posterior)(one, batch)
    amortised = posterior_means(model, one, batch)
    gap = np.asarray(amortised, float) - np.asarray(posterior.mean, float)
    distance = np.linalg.solve(np.asarray(posterior.root, float), gap[..., None])[..., 0]
    decoded = np.asarray(model.decode(one, amortised, batch, False)[0].mean)
    at_test = np.zeros(gaps.shape, bool)
    at_test[prepared.split.test] = gaps[prepared.split.test]
    scored = at_test if at_test.any() else gaps
    errors = [np.sqrt(((part - whole)[scored] ** 2).mean()) for part in (decoded, exact)]
    return {
        "cell": float(np.abs(np.asarray(filled) - exact).max()),
        "log_likelihood": float(np.abs(np.asarray(likelihood) - truth.log_likelihood(cells)).max()),
        "encoder_distance": float(np.sqrt((distance**2).mean())),
        "encoder_rmse_less_exact": float(errors[0] - errors[1]),
    }


def settings(quick):
    if quick:
        yield "linear", "blocks", 0.2
        return
    for name in PANELS:
        for pattern in ("random", "blocks", "late"):
            for share in SHARES:
                yield name, pattern, share


def main():
    arguments = parse(__doc__)
    size = {"n_dates": 120, "n_assets": 12} if arguments.quick else {"n_dates": 700, "n_assets": 30}
    results = {}
    for name, pattern, share in settings(arguments.quick):
        make, config = PANELS[name]
        config = replace(config, seeds=2, betas=(1.0,), likelihood_samples=32)
        config = replace(config, epochs=20) if arguments.quick else config
        panel, _ = make(SEED, n_factors=N_FACTORS, **size)
        split = split_dates(panel.n_dates)
        left = remove(panel.values, pattern, share, np.random.default_rng(SEED))
        units = fit_scaler(left[split.fit])
        standard, whole = units.standardise(left), units.standardise(panel.values)
        with threadpool_limits(1):
            figures = classical_figures(standard, whole, split)
        figures["vae"], kept = vae_figures(panel, left, config, standard, whole, split)
        if not arguments.quick:
            means = np.where(np.isnan(left), units.mean, left)
            parts = (config, standard, whole, split)
            figures["vae_mean_filled"], _ = vae_figures(panel, means, *parts)
        if config.model == "linear":
            figures["exact"] = exactness(*kept, standard, whole)
        figures["missing"] = float(np.isnan(standard).mean())
        results.setdefault(name, {}).setdefault(pattern, {})[f"{share:g}"] = figures
        print(name, pattern, share, figures, flush=True)
    write_json(arguments.out, "missing", {"quick": arguments.quick, "panels": results})


if __name__ == "__main__":
    main()
