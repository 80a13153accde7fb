"""What does the default study find on four panels, out of sample?

Command: python experiments/panels.py   (about ten minutes on 2 cores; --quick: under a minute)

Runs `jaxvae study` with its defaults (8 seeds × 5 betas, K = 5) on the synthetic linear and
nonlinear panels (seed 42) and on the real panels `french` and `sp500`, and keeps each model's test
log-likelihood (nats a date, returns standardised on the first 70 % of dates), the ensemble's paired
lead over each classical baseline with its block-bootstrap interval, R², matched correlation and
subspace R² where factors are known, and how the standard deviation of generated returns compares
with the data's. The betas, epochs and baselines' K were chosen on validation; the test part was
opened once. The figures are in results/panels.json.
"""

import dataclasses
import time

import jax
from support import parse, use_all_cores, write_json

from jaxvae.fitting import StudyConfig
from jaxvae.market import load_named
from jaxvae.plot_style import to_png
from jaxvae.plots import all_figures
from jaxvae.study import run_study
from jaxvae.synthetic import linear_panel

PANELS = ("linear", "nonlinear", "french", "sp500")
RIVALS = ("factor_analysis_best", "multivariate_t")
PICTURE = ("nonlinear", "score_over_beta")


def panels(quick):
    if quick:
        yield linear_panel(42, n_dates=150, n_assets=12, n_factors=2)[0]
        return
    for name in PANELS:
        yield load_named(name)


def digest(study, seconds):
    """The figures worth keeping of one study."""
    table = study.metrics[study.metrics.member.isna()]
    scores = {}
    for row in table[table.split == "test"].itertuples():
        scores.setdefault(row.model, {})[row.metric] = row.value
    comparisons = study.comparisons.drop(columns="split")
    moments = table[(table.split == "fit") & (table.metric == "std")].set_index("model").value
    return {
        "chosen": study.config["chosen"],
        "seconds": round(seconds, 1),
        "test": scores,
        "leads": comparisons.to_dict(orient="records"),
        "generated_std_over_data": moments["vae_ensemble"] / moments["data"],
        "stability_at_chosen_beta": study.arrays["stability"][
            sorted(study.config["betas"]).index(study.config["chosen"]["beta"])
        ].tolist(),
    }


def table_rows(results):
    """The README's table: a row a panel, log-likelihoods in nats a test date."""
    rows = []
    for name, result in results["panels"].items():
        leads = {
            lead["baseline"]: "{difference:+.2f} [{low:+.2f}, {high:+.2f}]".format(**lead)
            for lead in result["leads"]
            if lead["model"] == "vae_ensemble"
        }
        test = {model: scores.get("log_likelihood") for model, scores in result["test"].items()}
        cells = [f"{test[model]:.2f}" for model in ("vae_ensemble", *RIVALS)]
        rows.append(" | ".join([f"| `{name}`", *cells, *(leads[rival] for rival in RIVALS)]) + " |")
    return [row.replace("-", "−") for row in rows]


def main():
    arguments = parse(__doc__)
    use_all_cores()
    config = StudyConfig()
    if arguments.quick:
        config = StudyConfig(seeds=2, betas=(1.0,), n_factors=2, epochs=20)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {}
    for panel in panels(arguments.quick):
        begun = time.monotonic()
        study = run_study(panel, config)
        results[panel.name] = digest(study, time.monotonic() - begun)
        ensemble = results[panel.name]["test"]["vae_ensemble"]["log_likelihood"]
        print(f"{panel.name}: {ensemble:.2f} nats a date, {results[panel.name]['seconds']} s")
        if panel.name == PICTURE[0]:
            picture = to_png(all_figures(study)[PICTURE[1]])
            (arguments.out / "score_over_beta.png").write_bytes(picture)
    settings = {"config": dataclasses.asdict(config), "devices": jax.local_device_count()}
    results = {"quick": arguments.quick, **settings, "panels": results}
    print("\n".join(table_rows(results)))
    write_json(arguments.out, "panels", results)


if __name__ == "__main__":
    main()
