"""Which settings should be the default? Chosen on validation, over five panels.

Command: python experiments/defaults.py   (about 25 minutes on 2 cores; --quick: a minute)

Every candidate is trained on the training part (the first 56 % of dates) of each panel with K = 5,
over two seeds and three betas at once, and scored as a study would: by the mean validation
log-likelihood over seeds (importance sampled, nats a date) at its best β. A candidate's loss on a
panel is its gap to the panel's best, divided by the number of assets; the default is the candidate
with the smallest mean loss over panels. The synthetic draws are not the ones that the results table
reports (seed 42), and no test part is opened. The figures are in results/defaults.json, whose
first entry under `ranking` is the preset `static`.
"""

import itertools

import jax
import numpy as np
from support import parse, use_all_cores, write_json

from jaxvae.data.named import load_french, load_sp500
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.inference.evaluation import evaluate_members
from jaxvae.inference.members import fitted_members
from jaxvae.models import PerceptronConfig, make_batch
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import member_grid, train_ensemble
from jaxvae.training.state import Data

LEARNING_RATES = (3e-3, 1e-2)
BETAS = (0.5, 1.0, 2.0)
# A network's settings and its weight decay.
NETWORKS = {
    "notebook's, noise an asset": ({"normalisation": "batch"}, 0.1),
    "batch norm, skip": ({"normalisation": "batch", "skip": True}, 0.1),
    "no norm": ({"normalisation": "none"}, 0.1),
    "no norm, skip": ({"normalisation": "none", "skip": True}, 0.1),
    "no norm, skip, no decay": ({"normalisation": "none", "skip": True}, 0.0),
    "no norm, skip, one layer": ({"normalisation": "none", "skip": True, "widths": (32,)}, 0.1),
}


def panels(quick):
    if quick:
        yield "linear", linear_panel(1, n_dates=200, n_assets=12)[0]
        return
    yield "linear", linear_panel(1)[0]
    yield "nonlinear", nonlinear_panel(1)[0]
    yield "nonlinear, second draw", nonlinear_panel(2)[0]
    yield "french", load_french()
    yield "sp500", load_sp500()


def prepare(panel):
    split = split_dates(panel.n_dates)
    values = fit_scaler(panel.values[split.fit]).standardise(panel.values)
    training, validation = make_batch(values[split.train]), make_batch(values[split.validation])
    return Data(training, validation)


def swept(members):
    """Every member at every learning rate."""
    n_rates, n_members = len(LEARNING_RATES), len(members.seed)
    members = jax.tree.map(lambda leaf: np.concatenate([leaf] * n_rates), members)
    rates = np.repeat(np.array(LEARNING_RATES, np.float32), n_members)
    return members._replace(hyperparameters=members.hyperparameters._replace(learning_rate=rates))


def score(panel, network, decay, seeds, epochs, n_samples):
    """Mean validation log-likelihood over seeds, by learning rate and β."""
    config = TrainConfig(epochs=epochs, weight_decay=decay)
    data = prepare(panel)
    model = PerceptronConfig(**network).build(panel.n_assets)
    members = swept(member_grid(range(seeds), BETAS, data, model, 1e-3, epochs))
    ensemble = train_ensemble(jax.random.key(0), data, members, model, config)
    fitted = fitted_members(ensemble)
    evaluation = evaluate_members(jax.random.key(1), model, fitted, data.validation, n_samples)
    scores = np.asarray(evaluation.likelihood.value, np.float64).mean(axis=1)
    # Thousands of small compiled functions would use up a process's memory mappings.
    jax.clear_caches()
    scores = np.where(ensemble.ok, scores, -np.inf)
    return scores.reshape(len(LEARNING_RATES), len(BETAS), seeds).mean(axis=2)


def rows_of(name, panel, networks, seeds, epochs, n_samples):
    """A row a candidate on one panel, at its best β."""
    for network, (settings, decay) in networks.items():
        table = score(panel, settings, decay, seeds, epochs, n_samples)
        print(f"{name:24s} {network:28s} {np.round(table, 2).tolist()}", flush=True)
        for rate, by_beta in zip(LEARNING_RATES, table, strict=True):
            yield {
                "panel": name,
                "n_assets": panel.n_assets,
                "network": network,
                "weight_decay": decay,
                "learning_rate": rate,
                "beta": BETAS[int(np.argmax(by_beta))],
                "log_likelihood": float(by_beta.max()),
            }


def rank(rows):
    """Candidates by their mean loss over panels, nats an asset, smallest first."""
    best, losses = {}, {}
    for row in rows:
        best[row["panel"]] = max(best.get(row["panel"], -np.inf), row["log_likelihood"])
    for row in rows:
        candidate = (row["network"], row["weight_decay"], row["learning_rate"])
        gap = (best[row["panel"]] - row["log_likelihood"]) / row["n_assets"]
        losses.setdefault(candidate, []).append(gap)
    names = ("network", "weight_decay", "learning_rate")
    entries = [
        {
            **dict(zip(names, candidate, strict=True)),
            "mean_loss": float(np.mean(gaps)),
            "worst_loss": float(np.max(gaps)),
        }
        for candidate, gaps in losses.items()
    ]
    return sorted(entries, key=lambda entry: entry["mean_loss"])


def main():
    arguments = parse(__doc__)
    use_all_cores()
    seeds, epochs, n_samples = (1, 20, 16) if arguments.quick else (2, 200, 64)
    networks = dict(itertools.islice(NETWORKS.items(), 1)) if arguments.quick else NETWORKS
    rows = []
    for name, panel in panels(arguments.quick):
        rows += rows_of(name, panel, networks, seeds, epochs, n_samples)
    ranking = rank(rows)
    settings = {"quick": arguments.quick, "seeds": seeds, "epochs": epochs, "betas": BETAS}
    write_json(arguments.out, "defaults", {**settings, "ranking": ranking, "rows": rows})
    for entry in ranking:
        print(entry)


if __name__ == "__main__":
    main()
