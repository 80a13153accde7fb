"""The notebook's nine sections, and what sixteen seeds say where it had one.

Command: python experiments/notebook.py [--figures DIR]   (a minute on 2 idle cores)

Sixteen seeds of the preset `notebook` are trained as one ensemble on the notebook's panel
(`linear_panel(42)`, β = 0.1). The walk shows the first; no seed is picked. As in the notebook all
1,000 dates are standardised, trained on and scored: every figure here is in sample. The tables go
to the terminal, a figure a section into DIR (`runs/notebook`), and all numbers, the notebook's own
beside them, into results/notebook.json.

Expected: the notebook's PCA ratios; R² near .72 for every seed from the posterior mean, a little
less from a sampled z. Best matches claim two to four of the five true factors; matched one-to-one,
the mean correlation is below that of a random rotation. The decoder alone generates too narrow
returns, and noise as large as the residual does not make up for it: over the data z is not spread
as its prior is, but wider. The objective's own noise (σ² = ½) nearly does, by being too large.
"""

import argparse
import math
from collections import namedtuple
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle
from support import RESULTS, use_all_cores, write_json

from jaxvae.analysis.matching import Compared, match, subspace_r2
from jaxvae.analysis.metrics import correlation, describe, r2, upper_correlations
from jaxvae.analysis.nulls import rotation_null
from jaxvae.baselines import explained_variance_ratio, fit_pca
from jaxvae.data.panel import fit_scaler
from jaxvae.data.synthetic import linear_panel
from jaxvae.fitting.presets import make_preset
from jaxvae.inference.evaluation import decoded_unit_vectors
from jaxvae.models import make_batch
from jaxvae.report import draw as style
from jaxvae.report.text import counted, number, percent
from jaxvae.study.summary import notebook_losses
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.state import Data
from jaxvae.training.tiles import map_members

BETA, K, N_SCENARIOS = 0.1, 5, 500
ASSETS, CORRELATED, DATE = (0, 25, 50, 75), 20, "date, counted from the first"
# What the notebook's own run printed.
THEIRS = {
    "parameters": 17_998,
    "explained_variance_ratio": [0.3233, 0.2596, 0.0661, 0.0546, 0.0110, 0.0081],
    "explained_by_five": 0.7146,
    "best_matches": [[1, 0.845], [1, 0.743], [3, 0.676], [4, 0.498], [2, 0.955]],
    "final_total": 1955,
    "r2_sampled": 0.7155,
    "argmax_correlation": 0.7434,
    "argmax_distinct": 4,
    "std_decoder_alone": 0.65,
}

# What a member says: posterior means; E[x | z] at them and at a draw of z; that draw's standard
# deviation; decoded unit vectors; the decoder's mean under the prior.
Look = namedtuple("Look", "factors rebuilt rebuilt_sampled latent_std loadings generated")
# What the sections read: losses and scores of all seeds, the look and the match of the first.
Walk = namedtuple("Walk", "panel truth values n_parameters losses scores look matching")


def look_at(member, shared, model):
    """One member's look, to be mapped over all."""
    (variables, seed), (key, batch, blank) = member, shared
    key_posterior, key_prior = jax.random.split(jax.random.fold_in(key, seed))
    posterior, _ = model.encode(variables, batch, False)
    factors = posterior.sample(key_posterior)
    drawn = jax.random.normal(key_prior, (N_SCENARIOS, K))
    return Look(
        factors=posterior.mean,
        rebuilt=model.decode(variables, posterior.mean, batch, False)[0].mean,
        rebuilt_sampled=model.decode(variables, factors, batch, False)[0].mean,
        latent_std=jnp.std(factors),
        loadings=decoded_unit_vectors(model, variables, batch),
        generated=model.decode(variables, drawn, blank, False)[0].mean,
    )


def take_walk(seeds, epochs):
    """Draw the panel, standardise it by all dates, train the seeds and look at each."""
    panel, truth = linear_panel(42)
    values = fit_scaler(panel.values).standardise(panel.values)
    preset = make_preset("notebook", n_factors=K, epochs=epochs)
    model, batch = preset.model.build(panel.n_assets), make_batch(values)
    data = Data(batch, make_batch(values[:0]))
    members = member_grid(range(seeds), [BETA], data, model, preset.learning_rate, epochs)
    ensemble = train_ensemble(jax.random.key(0), data, members, model, preset.train)
    sizes = [leaf[0].size for leaf in jax.tree.leaves(ensemble.variables.parameters)]
    n_batches = math.ceil(panel.n_dates / preset.train.batch_size)
    losses = notebook_losses(ensemble.history, panel.n_dates, n_batches, panel.n_assets)
    by_member = (ensemble.variables, members.seed)
    shared = (jax.random.key(1), batch, make_batch(np.zeros((N_SCENARIOS, panel.n_assets))))
    one_device = (jax.local_devices()[0],)
    mapped = map_members(look_at, by_member, shared, model, devices=one_device)
    looks = [Look(*(leaf[seed].astype(float) for leaf in mapped)) for seed in range(seeds)]
    rows = [score(values, truth, losses, look, seed) for seed, look in enumerate(looks)]
    matching = match(looks[0].factors, truth.factors)
    return Walk(panel, truth, values, sum(sizes), losses, pd.DataFrame(rows), looks[0], matching)


def score(values, truth, losses, look, seed):
    """A seed's figures, all in sample."""
    both, mean = (look.factors, truth.factors), values.mean(axis=0)
    strength = abs(correlation(*both))
    alone, objective, residual = (float(made.std()) for made in made_by(look, values))
    return {
        "final_total": float(losses.total[seed, -1]),
        "r2_mean": r2(((values - look.rebuilt) ** 2).sum(), values, mean),
        "r2_sampled": r2(((values - look.rebuilt_sampled) ** 2).sum(), values, mean),
        "argmax_correlation": float(strength.max(axis=1).mean()),
        "argmax_distinct": len(set(strength.argmax(axis=1))),
        "one_to_one_correlation": float(match(*both).correlations.mean()),
        "subspace_r2": subspace_r2(Compared(*both, *both)),
        "latent_std": float(look.latent_std),
        "std_decoder_alone": alone,
        "std_objective_noise": objective,
        "std_residual_noise": residual,
    }


def made_by(look, values):
    """Generated returns: as the notebook, the decoder's mean alone; with noise of the variance that
    its objective implies; and with noise as large as each asset's residual from a sampled z."""
    noise = np.random.default_rng(0).standard_normal(look.generated.shape)
    residual = np.sqrt(((values - look.rebuilt_sampled) ** 2).mean(axis=0))
    return tuple(look.generated + scale * noise for scale in (0.0, 0.5**0.5, residual))


def returns(walk):
    """Synthetic returns"""
    print(walk.panel.to_frame().describe().T.head().to_string(float_format="{:.4f}".format))


def pca(walk):
    """PCA baseline"""
    shares = explained_variance_ratio(walk.values)[:10]
    total = np.cumsum(shares)
    for i, share in enumerate(shares):
        print(f"  PC{i + 1}: {share:.4f} ({total[i]:.4f} cumulative)")
    print(f"  notebook: {THEIRS['explained_variance_ratio']}")
    figure = style.new_figure(3.8)
    axes = style.tidy(figure.subplots(), "principal component", "share of variance")
    places = np.arange(1, 11)
    axes.bar(places, shares, color=style.PCA, alpha=0.75, width=0.7, label="of the component")
    axes.plot(places, total, "o-", color=style.DATA, lw=1.4, ms=4, label="cumulated")
    axes.axhline(0.9, color=style.MUTED, ls="--", lw=1, label="90 %")
    axes.set(xticks=places, ylim=(0, 1))
    style.add_legend(figure, axes)
    share = percent(total[K - 1])
    style.set_message(figure, f"Five principal components explain {share} of the variance")
    return figure


def architecture(walk):
    """VAE architecture"""
    print(f"  parameters: {walk.n_parameters:,} (notebook {THEIRS['parameters']:,})")


def training(walk):
    """Training"""
    losses, epochs = walk.losses, walk.losses.total.shape[1]
    for epoch in range(40, epochs + 1, 40) or [epochs]:
        total, reconstruction, kl = (loss[0, epoch - 1] for loss in losses[:3])
        print(f"  Epoch {epoch}: Total={total:.2f}, Recon={reconstruction:.2f}, KL={kl:.2f}")
    shown = np.arange(epochs // 20 + 1, epochs + 1)
    figure = style.new_figure(3.6)
    names = ("Total loss", "Reconstruction loss", "KL divergence")
    for axes, name, loss in zip(figure.subplots(1, 3), names, losses[:3], strict=True):
        style.tidy(axes, f"epoch, from {shown[0]} on", "mean sum of a batch", name)
        low, high = loss.min(axis=0)[shown - 1], loss.max(axis=0)[shown - 1]
        axes.fill_between(shown, low, high, color=style.GRID, label="min to max over seeds")
        axes.plot(shown, loss[0, shown - 1], color=style.VAE, lw=1.2, label="first seed")
    style.add_legend(figure, axes)
    low, high = (f"{end(losses.total[:, -1]):,.0f}" for end in (np.min, np.max))
    message = f"The total loss ends at {low} to {high}, depending on the seed; the notebook’s near"
    style.set_message(figure, f"{message} {THEIRS['final_total']:,}")
    return figure


def factors(walk):
    """Latent factors"""
    values = correlation(walk.look.factors, walk.truth.factors)
    ours, true = ([f"{name} {k + 1}" for k in range(K)] for name in ("VAE", "true"))
    print(pd.DataFrame(values, ours, true).to_string(float_format="{:.3f}".format))
    best, one_to_one = np.abs(values).argmax(axis=1), np.argsort(walk.matching.learned)
    for k, (theirs, r) in enumerate(THEIRS["best_matches"]):
        a, b = best[k], one_to_one[k]
        print(
            f"  {ours[k]} -> {true[a]} ({values[k, a]:+.3f}), one-to-one {true[b]} "
            f"({values[k, b]:+.3f}); notebook true {theirs} (|r| {r:.3f})"
        )
    figure = style.new_figure(5.0, width=7.6)
    axes = style.tidy(figure.subplots())
    words = "correlation, in sample"
    style.heat_map(axes, values, true, ours, words, signed=True, written=True)
    for columns, size, ls in ((one_to_one, 0.94, "-"), (best, 0.82, "--")):
        for row, column in enumerate(columns):
            corner = (column - size / 2, row - size / 2)
            axes.add_patch(Rectangle(corner, size, size, fill=False, lw=1.8, ls=ls))
    claimed = counted(len(set(best)), "true factor")
    style.set_message(figure, f"Best matches (dashed) claim {claimed}; framed: one-to-one")
    return figure


def latent_space(walk):
    """Latent space"""
    figure = style.new_figure(7.2)
    learned, signs, strength = walk.matching
    for j, axes in enumerate(figure.subplots(K, 1, sharex=True, sharey=True)):
        r = number(strength[j])
        title = f"True factor {j + 1} and VAE factor {learned[j] + 1}: |r| = {r}"
        style.tidy(axes, DATE if j == K - 1 else "", "", title)
        both = (walk.truth.factors[:, j], signs[j] * walk.look.factors[:, learned[j]])
        true, ours = ((series - series.mean()) / series.std() for series in both)
        axes.plot(true[:200], color=style.TRUTH, lw=2.4, label="true factor")
        axes.plot(ours[:200], color=style.VAE, lw=1.1, label="VAE factor, sign aligned")
        axes.margins(x=0.01)
    figure.supylabel("standard deviations", fontsize=style.TEXT, color=style.MUTED)
    style.add_legend(figure, axes)
    best, worst = strength.argmax() + 1, strength.argmin() + 1
    style.set_message(figure, f"True factor {best} is followed best, true factor {worst} least")
    return figure


def loadings(walk):
    """Factor loadings"""
    rows = np.argsort(walk.truth.sectors, kind="stable")
    edges = np.flatnonzero(np.diff(walk.truth.sectors[rows])) + 0.5
    ours = walk.look.loadings[:, walk.matching.learned] * walk.matching.signs
    figure = style.new_figure(6.2)
    left, right = figure.subplots(1, 2, sharey=True)
    units = ("standard deviations of return", "return per unit of the factor")
    blocks = (
        (left, ours, "Decoded unit vectors, matched", "VAE", walk.matching.learned, units[0]),
        (right, walk.truth.loadings, "True loadings", "true", range(K), units[1]),
    )
    for axes, values, title, name, order, unit in blocks:
        style.tidy(axes, title=title)
        names, limit = [f"{name} {k + 1}" for k in order], np.abs(values).max()
        style.heat_map(axes, values[rows], names, (), unit, limit=limit, signed=True)
        axes.hlines(edges, -0.5, K - 0.5, color=style.MUTED, lw=0.6)
    left.set(yticks=[], ylabel="100 assets, by sector")
    r = number(np.diag(correlation(ours, walk.truth.loadings)).mean())
    style.set_message(figure, f"Matched loadings correlate {r} over assets in the mean")
    return figure


def reconstruction(walk):
    """Reconstruction"""
    by_pca, shares = fit_pca(walk.values, K).reconstruct(walk.values), []
    rebuilt = (walk.look.rebuilt, walk.look.rebuilt_sampled, by_pca)
    for name, made in zip(("VAE, mean of z", "VAE, sampled z", "PCA"), rebuilt, strict=True):
        errors = (walk.values - made) ** 2
        shares.append(r2(errors.sum(), walk.values, walk.values.mean(axis=0)))
        print(f"  {name:14s} MSE {errors.mean():.6f}, R² {shares[-1]:.4f}")
    print(f"  notebook: VAE {THEIRS['r2_sampled']}, PCA {THEIRS['explained_by_five']}")
    figure = style.new_figure(5.8)
    for asset, axes in zip(ASSETS, figure.subplots(2, 2, sharex=True).ravel(), strict=True):
        style.tidy(axes, DATE if asset in ASSETS[2:] else "", "", walk.panel.assets[asset])
        axes.plot(walk.values[:100, asset], color=style.TRUTH, lw=2.4, label="data")
        axes.plot(by_pca[:100, asset], color=style.PCA, lw=1.1, label="PCA")
        axes.plot(walk.look.rebuilt[:100, asset], color=style.VAE, lw=1.1, label="VAE")
        axes.margins(x=0.01)
    figure.supylabel("standardised return", fontsize=style.TEXT, color=style.MUTED)
    style.add_legend(figure, axes)
    vae, _, pca = (f"{100 * share:.1f} %" for share in shares)
    message = f"In sample, five VAE factors explain {vae} of the variance, PCA’s five {pca}"
    style.set_message(figure, message)
    return figure


def generation(walk):
    """Generated returns"""
    names = ("data", "decoder alone", "with noise of variance ½", "with the residual’s noise")
    made = dict(zip(names, (walk.values, *made_by(walk.look, walk.values)), strict=True))
    table = {name: describe(values) for name, values in made.items()}
    print(pd.DataFrame(table).T.to_string(float_format="{:.4f}".format))
    figure = style.new_figure(4.6)
    density, pairs = figure.subplots(1, 2, width_ratios=(1.4, 1))
    style.tidy(density, "standardised return", "density", "Pooled returns")
    style.tidy(
        pairs,
        "correlation in the data",
        "correlation generated",
        f"Pairs of the first {CORRELATED} assets (dashed: equal)",
    )
    for colour, (name, values) in zip(COLOURS, made.items(), strict=True):
        heights, edges = np.histogram(values, np.linspace(-5, 5, 61), density=True)
        density.stairs(heights, edges, baseline=None, color=colour, lw=1.5, label=name)
        ours, true = (upper_correlations(v[:, :CORRELATED]) for v in (values, walk.values))
        if name != "data":
            pairs.plot(true, ours, ".", color=colour, alpha=0.6, ms=4, mew=0)
    pairs.plot([-1, 1], [-1, 1], color=style.DATA, lw=1, ls="--")
    pairs.set_aspect("equal")
    style.add_legend(figure, density)
    stds = [number(row["std"]) for row in table.values()]
    message = f"Generated standard deviation: decoder alone {stds[1]}, with noise of variance ½ "
    style.set_message(figure, f"{message}{stds[2]}, with the residual’s noise {stds[3]} (data: 1)")
    return figure


COLOURS = (style.DATA, style.PCA, style.FACTOR_ANALYSIS, style.VAE)
SECTIONS = (
    returns,
    pca,
    architecture,
    training,
    factors,
    latent_space,
    loadings,
    reconstruction,
    generation,
)


def results(walk):
    """Every figure, and the notebook's own beside it where it printed one."""
    ratios, scores = explained_variance_ratio(walk.values), walk.scores
    statistics = scores.agg(["mean", "std", "min", "max"])
    return {
        "notebook": THEIRS,
        "parameters": walk.n_parameters,
        "explained_variance_ratio": list(ratios[:10]),
        "explained_by_five": ratios[:K].sum(),
        "over_seeds": {n: {**c, "notebook": THEIRS.get(n)} for n, c in statistics.items()},
        "rotation": rotation_null(np.random.default_rng(0), walk.truth.factors)._asdict(),
        "by_seed": scores.to_dict("list"),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a size for tests; no figure to quote")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON")
    parser.add_argument("--figures", type=Path, default=Path("runs/notebook"), help="of the PNGs")
    arguments = parser.parse_args()
    use_all_cores()
    size = {"seeds": 2, "epochs": 10} if arguments.quick else {"seeds": 16, "epochs": 200}
    walk = take_walk(**size)
    arguments.figures.mkdir(parents=True, exist_ok=True)
    for place, section in enumerate(SECTIONS, 1):
        print(f"\n{place}. {section.__doc__}")
        if figure := section(walk):
            figure.savefig(arguments.figures / f"{place}_{section.__name__}.png")
    found = results(walk)
    table = pd.DataFrame(found["over_seeds"]).T
    print(f"\nOver {size['seeds']} seeds:\n{table.to_string(float_format='{:.4f}'.format)}")
    mean, percentile_95 = found["rotation"].values()
    print(f"of random rotations: {mean:.3f} on average, 95 % of them below {percentile_95:.3f}")
    write_json(arguments.out, "notebook", {"quick": arguments.quick, **size, "beta": BETA, **found})


if __name__ == "__main__":
    main()
