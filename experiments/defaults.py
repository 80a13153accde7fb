"""Which settings should be the default? Chosen on validation, over five panels.

Command: python experiments/defaults.py   (about a quarter of an hour on 2 cores; --quick: a minute)

Every candidate network is trained on the training part (the first 56 % of dates) of each panel at
β = 1 with K = 5, at two learning rates and three seeds at once, and scored by its mean validation
log-likelihood (importance sampled, nats a date). A candidate's loss on a panel is its gap to the
panel's best, divided by the number of assets; the default is the candidate with the smallest mean
loss over panels. The synthetic draws are not the ones that the results table reports (seed 42), and
no test part is opened.
"""

import itertools

import jax
import numpy as np
from support import parse, use_all_cores, write_json

from jaxvae import apply
from jaxvae.ensemble import member_grid, train_ensemble
from jaxvae.market import load_french, load_sp500
from jaxvae.models import ModelConfig, make_batch, static_vae
from jaxvae.panel import fit_scaler, split_dates
from jaxvae.state import TrainConfig, make_data
from jaxvae.synthetic import linear_panel, nonlinear_panel

LEARNING_RATES = (3e-3, 1e-2)
NETWORKS = {
    "notebook's, noise an asset": {"normalisation": "batch"},
    "batch norm, skip": {"normalisation": "batch", "skip": True},
    "no norm": {"normalisation": "none"},
    "no norm, skip, one layer": {"normalisation": "none", "skip": True, "widths": (32,)},
    "no norm, scalar noise": {"normalisation": "none", "noise": "scalar"},
    "linear": {"normalisation": "none", "widths": ()},
}
DECAYS = (0.0, 0.1)


def panels(quick):
    if quick:
        yield "linear", linear_panel(1, n_dates=200, n_assets=12)[0]
        return
    yield "linear", linear_panel(1)[0]
    yield "nonlinear", nonlinear_panel(1)[0]
    yield "nonlinear, second draw", nonlinear_panel(2)[0]
    yield "french", load_french()
    yield "sp500", load_sp500()


def prepare(panel, batch_size):
    split = split_dates(panel.n_dates)
    values = fit_scaler(panel.values[split.fit]).standardise(panel.values)
    training, validation = make_batch(values[split.train]), make_batch(values[split.validation])
    return make_data(training, validation, batch_size)


def swept(members):
    """Every member at every learning rate."""
    n_rates, n_members = len(LEARNING_RATES), len(members.seed)
    members = jax.tree.map(lambda leaf: np.concatenate([leaf] * n_rates), members)
    rates = np.repeat(np.array(LEARNING_RATES, np.float32), n_members)
    return members._replace(hyperparameters=members.hyperparameters._replace(learning_rate=rates))


def run(panel, network, decay, seeds, epochs, n_samples):
    """Mean validation log-likelihood and best epoch of each learning rate."""
    config = TrainConfig(epochs=epochs, weight_decay=decay)
    data = prepare(panel, config.batch_size)
    model = static_vae(ModelConfig(**network), panel.n_assets)
    members = swept(member_grid(range(seeds), [1.0], data, model, 1e-3, epochs))
    ensemble = train_ensemble(jax.random.key(0), data, members, model, config)
    key, fitted = jax.random.key(1), apply.everyone(ensemble)
    said = apply.evaluate(key, model, fitted, data.validation, n_samples)
    scores = np.asarray(said.likelihood.value).mean(axis=1)
    scores = np.where(ensemble.ok, scores, -np.inf).reshape(len(LEARNING_RATES), seeds)
    epochs_used = ensemble.best_epoch.reshape(len(LEARNING_RATES), seeds)
    return scores.mean(axis=1), scores.std(axis=1), epochs_used.mean(axis=1)


def main():
    arguments = parse(__doc__)
    use_all_cores()
    seeds, epochs, n_samples = (2, 20, 16) if arguments.quick else (3, 200, 64)
    networks, decays = NETWORKS, DECAYS
    if arguments.quick:
        networks, decays = dict(itertools.islice(NETWORKS.items(), 2)), DECAYS[:1]
    rows = []
    for panel_name, panel in panels(arguments.quick):
        for (name, network), decay in itertools.product(networks.items(), decays):
            means, spreads, epochs_used = run(panel, network, decay, seeds, epochs, n_samples)
            for rate, *values in zip(LEARNING_RATES, means, spreads, epochs_used, strict=True):
                keys = ("log_likelihood", "standard_deviation", "best_epoch")
                row = dict(zip(keys, map(float, values), strict=True))
                rows.append(
                    {
                        "panel": panel_name,
                        "n_assets": panel.n_assets,
                        "network": name,
                        "weight_decay": decay,
                        "learning_rate": rate,
                        **row,
                    }
                )
            # Thousands of small compiled functions would use up a process's memory mappings.
            jax.clear_caches()
            best = int(np.argmax(means))
            print(
                f"{panel_name:24s} {name:32s} decay {decay:<4} {np.round(means, 2)}"
                f" best rate {LEARNING_RATES[best]}",
                flush=True,
            )
    ranking = rank(rows)
    for entry in ranking[:8]:
        print(entry)
    write_json(
        arguments.out,
        "defaults",
        {
            "quick": arguments.quick,
            "seeds": seeds,
            "epochs": epochs,
            "ranking": ranking,
            "rows": rows,
        },
    )


def rank(rows):
    """Candidates by their mean loss over panels, nats an asset, smallest first."""
    best = {}
    for row in rows:
        best[row["panel"]] = max(best.get(row["panel"], -np.inf), row["log_likelihood"])
    losses = {}
    for row in rows:
        candidate = (row["network"], row["weight_decay"], row["learning_rate"])
        gap = (best[row["panel"]] - row["log_likelihood"]) / row["n_assets"]
        losses.setdefault(candidate, []).append(gap)
    order = sorted(losses, key=lambda candidate: np.mean(losses[candidate]))
    return [
        {
            "network": network,
            "weight_decay": decay,
            "learning_rate": rate,
            "mean_loss": float(np.mean(losses[network, decay, rate])),
            "worst_loss": float(np.max(losses[network, decay, rate])),
        }
        for network, decay, rate in order
    ]


if __name__ == "__main__":
    main()
