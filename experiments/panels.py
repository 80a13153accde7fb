"""What do studies find on two planted and two real panels, out of sample?

Command: python experiments/panels.py   (about fifteen minutes on 2 cores; --quick: under a minute)

Runs `jaxvae study` on the synthetic linear and nonlinear panels (seed 42) and on the real panels
`french` and `sp500`: with the model `static` (8 seeds × 5 betas, K = 5) on all four, and on the
real ones with the models `student` and `volatility` too (4 seeds × 3 betas; K = 12 on `french`,
whose choice on validation lay between 6 and 20, and K = 9 on `sp500`; one of the factors of
`volatility` moves the volatility). Keeps each model's test log-likelihood (nats a date, returns
standardised on the first 70 % of dates), the ensemble's paired lead over each classical baseline
with its block-bootstrap interval, R², matched correlation and subspace R² with their chance levels
where factors are known (on `french` MktRF, SMB, HML and Mom), and how the standard deviation of
generated returns compares with the data's. The betas, epochs and baselines' K were chosen on
validation, and nothing on the test part. The figures are in results/panels.json.

On the real panels the baseline to beat is the multivariate t. `student` contains it, with a factor
structure in place of the full scatter. `volatility` has tails of each asset's own beside a
volatility that all share, so that a shock to one company says little about the others; `french`
holds portfolios of many companies and 573 months to fit them. Tried on validation dates, without a
gain: more and fewer factors (6 to 20), weight decay of .03 to 1, input dropout, eight samples of z,
training through without early stopping, cubic curves, perceptron decoders, three volatility factors
in place of one.
"""

import dataclasses
import time
from dataclasses import replace

import jax
from support import parse, use_all_cores, write_json

from jaxvae.data.named import load_named
from jaxvae.data.synthetic import linear_panel
from jaxvae.fitting.config import StudyConfig
from jaxvae.report.draw import to_png
from jaxvae.report.score_figures import beta_figure
from jaxvae.study.run import run_study

DEFAULTS = StudyConfig(model="static", n_factors=5)
HEAVY = StudyConfig(seeds=4, betas=(0.7, 1.0, 1.4), model="student", n_factors=9)
# A panel, and the studies made of it.
PANELS = {
    "linear": (DEFAULTS,),
    "nonlinear": (DEFAULTS,),
    "french": (
        DEFAULTS,
        *(replace(HEAVY, model=m, n_factors=12) for m in ("student", "volatility")),
    ),
    "sp500": (DEFAULTS, *(replace(HEAVY, model=m, n_factors=9) for m in ("student", "volatility"))),
}
QUICK = StudyConfig(seeds=2, betas=(1.0,), n_factors=2, model="static", epochs=20)
PICTURE = ("nonlinear", "static")  # the study whose scores over β are drawn


def studies(quick):
    """Panels and the configurations of their studies."""
    if quick:
        panel = linear_panel(42, n_dates=150, n_assets=12, n_factors=2)[0]
        yield panel, [QUICK]
        return
    for name, configs in PANELS.items():
        yield load_named(name), configs


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
        "kept_factors": list(study.factors),
    }


def main():
    arguments = parse(__doc__)
    use_all_cores()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results, configs = {}, {}
    for panel, wanted in studies(arguments.quick):
        results[panel.name] = {}
        for config in wanted:
            begun = time.monotonic()
            study = run_study(panel, config)
            result = digest(study, time.monotonic() - begun)
            results[panel.name][config.model] = result
            configs[f"{panel.name}, {config.model}"] = dataclasses.asdict(config)
            print(f"{panel.name}, {config.model}: {result['seconds']} s", flush=True)
            print(panel.name, config.model, result["test"]["vae_ensemble"], flush=True)
            if (panel.name, config.model) == PICTURE:
                picture = to_png(beta_figure(study))
                (arguments.out / "score_over_beta.png").write_bytes(picture)
    settings = {"configs": configs, "devices": jax.local_device_count()}
    write_json(arguments.out, "panels", {"quick": arguments.quick, **settings, "panels": results})


if __name__ == "__main__":
    main()
