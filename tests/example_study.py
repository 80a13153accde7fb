"""A study as the pipeline leaves it, made from fixed-seed NumPy: no training, plausible numbers."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from jaxvae.report.words import FACTOR_SCORES, NUMBER_ESTIMATORS
from jaxvae.study.study import Study

ODD_TICKERS = (
    "<script>alert(1)</script>",
    "$x_1$ & $y",
    "=cmd|'/C calc'!A0",
    "株式会社",
    "a`b*c_d",
)
BASELINES = {
    "pca": (-90.8, 0.706, 8.4),
    "pca_best": (-90.6, 0.708, 8.2),
    "factor_analysis": (-82.7, 0.703, 0.3),
    "factor_analysis_best": (-82.5, 0.704, 0.1),
    "ledoit_wolf": (-85.1, np.nan, 2.7),
    "multivariate_t": (-83.9, np.nan, 1.5),
}
OF_A_REFERENCE = (
    "correlation",
    "match_learned",
    "reference_factors",
    "reference_loadings",
)
MOMENTS = {
    "data": (0.0, 1.0, -6.2, 5.9, -0.04, 1.31),
    "vae_ensemble": (0.001, 0.982, -5.7, 5.6, -0.01, 0.87),
}


def make_study(
    *,
    n_assets=100,
    n_dates=1000,
    n_factors=5,
    n_seeds=8,
    betas=(0.25, 0.5, 1.0, 2.0, 4.0),
    reference=True,
    n_reference=None,
    sectors=True,
    tickers=(),
    diverged=(),
    epochs=120,
):
    rng = np.random.default_rng(0)
    assets = [*tickers, *(f"STOCK_{k:03d}" for k in range(len(tickers), n_assets))]
    labels = [f"sector {k}" for k in rng.integers(0, 10, n_assets)] if sectors else None
    n_reference = n_reference or n_factors
    size = SimpleNamespace(
        assets=assets, dates=n_dates, factors=n_factors, reference=n_reference, sectors=labels
    )
    grid = SimpleNamespace(seeds=list(range(n_seeds)), betas=list(betas), epochs=epochs)
    world = _world(rng, size)
    members = _with_parts(_members(rng, grid, reference, diverged))
    arrays = _arrays(rng, size, grid, world, members)
    if not reference:
        arrays = {name: array for name, array in arrays.items() if name not in OF_A_REFERENCE}
    config = _config(size, grid, members, reference, diverged)
    rule = {"survive": n_factors, "least_presence": 0.5, "chance_stability": 0.11, "trim": 0.25}
    config["consensus"] = {"factors": n_factors + 1, **rule}
    return Study(
        config=config,
        members=members,
        metrics=_metrics(members, n_factors, reference),
        history=_history(rng, members, epochs),
        comparisons=_comparisons(),
        factors=world.factors,
        loadings=world.loadings,
        covariance=world.loadings @ world.loadings.T,
        arrays=arrays,
        **_holdings(rng, size, world),
        parameters={"members": {}, "refits": {}, "consensus": {}},
        **_counts(rng, grid, members, n_factors, reference),
    )


def _holdings(rng, size, world):
    """Tables of assets, pairs, sectors and portfolios."""
    loadings, n_test = world.loadings, size.dates - int(0.70 * size.dates)
    n, names = len(size.assets), list(world.loadings)
    rows = pd.Index([*size.assets, "(equal weights)"], name="asset")
    moments = pd.DataFrame(rng.normal(0, 0.02, (500, n + 1)), columns=rows).describe().T
    share = np.full((n + 1, len(names)), 0.6 / len(names))
    assets = moments.assign(r2=0.7, volatility=0.02, specific_risk=0.013)
    assets = assets.join(pd.DataFrame(share, rows, names)).assign(specific=0.39, rest=0.01)
    pairs = [
        (by, size.assets[k], size.assets[k + 1], 0.9 - k / 50, 0.88, 0.86, 0.2, 0.1)
        for by in ("correlation", "residual_fit")
        for k in range(min(10, n - 1))
    ]
    columns = ["by", "asset", "other", "correlation", "fit", "test", "residual_fit", "residual"]
    dates = world.factors.index[-n_test:].rename("date")
    risk = pd.DataFrame({"portfolio": 0.01 * rng.standard_normal(n_test)}, index=dates)
    risk = risk.assign(mean=0.0, var_5=-0.016, var_1=-0.023, std=0.01)
    exposures = None
    if size.sectors:
        groups = loadings.groupby(np.array(size.sectors, dtype=object))
        exposures = groups.mean()
        exposures.insert(0, "assets", groups.size())
        exposures.index.name = "sector"
    return {
        "assets": assets.rename_axis("asset"),
        "portfolios": loadings / loadings.abs().sum(),
        "pairs": pd.DataFrame(pairs, columns=columns),
        "risk": risk,
        "exposures": exposures,
    }


def _with_parts(members):
    """The parts of each member's KL, which sum to it."""
    shares = {"index_code_information": 0.8, "total_correlation": 0.15, "dimension_kl": 0.05}
    parts = {name: share * members.kl for name, share in shares.items()}
    return members.assign(**parts, total_correlation_chance_mean=0.1 * members.kl)


def _counts(rng, grid, members, n_factors, reference):
    answers = dict(zip(NUMBER_ESTIMATORS, [n_factors] * 3 + [4, 5, 1, 3, 5, 4], strict=True))
    rows = [("estimate", name, answer) for name, answer in answers.items()]
    counts = pd.DataFrame(rows, columns=["kind", "name", "factors"])
    places = np.arange(n_factors + 1)
    gains = 20.0 * (1 - 0.5**places)
    sizes = pd.DataFrame({"kind": "size", "name": "vae", "factors": places, "gain": gains})
    sizes = sizes.assign(log_likelihood=gains - 103, low=0.9 * gains, high=1.1 * gains)
    sizes = sizes.assign(active_units=np.minimum(places, 4.75))
    noisy = np.geomspace(200, 2, n_factors)
    spectrum = [
        (beta, k + 1, level, level > beta, float(level > 1.3 * beta))
        for beta in grid.betas
        for k, level in enumerate(noisy / (1 + beta / 4))
    ]
    names = ["beta", "factor", "signal_to_noise", "linear", "members"]
    by_seed = np.linspace(0.97, 0.62, n_factors)
    stability = np.clip(by_seed - 0.05 * rng.random((len(grid.betas), n_factors)), 0, 1)
    factors = [f"factor {k + 1}" for k in range(n_factors)]
    truth = (0.41, 0.84, 0.79) if reference else (np.nan,) * 3
    ranked = [
        (criterion, len(members), 3, *truth) for criterion in ("log_likelihood_validation", "udr")
    ]
    titles = ["criterion", "members", "best_member", "correlation", "best_score", "median_score"]
    return {
        "n_factors": pd.concat([counts, sizes], ignore_index=True),
        "spectrum": pd.DataFrame(spectrum, columns=names),
        "stability": pd.DataFrame(stability, pd.Index(grid.betas, name="beta"), factors),
        "rankings": pd.DataFrame(ranked, columns=titles),
    }


def _world(rng, size):
    dates = pd.bdate_range("2020-01-01", periods=size.dates, name="date")
    names = [f"factor {k + 1}" for k in range(size.factors)]
    known = rng.standard_normal((size.dates, size.reference))
    rotated = _mixing(rng, size.factors, size.reference)
    learned = known @ rotated.T + 0.3 * rng.standard_normal((size.dates, size.factors))
    learned /= learned.std(axis=0)
    groups = pd.factorize(np.array(size.sectors or ["all"] * len(size.assets)))[0]
    scale = 0.018 / np.arange(1, size.reference + 1)
    by_sector = rng.standard_normal((groups.max() + 1, size.reference))
    reference = by_sector[groups] + 0.3 * rng.standard_normal((len(groups), size.reference))
    loadings = (reference * scale) @ rotated.T
    return SimpleNamespace(
        known=known,
        reference=reference,
        factors=pd.DataFrame(learned, dates, names),
        loadings=pd.DataFrame(loadings, pd.Index(size.assets, name="asset"), names),
    )


def _mixing(rng, n_factors, n_reference):
    mixing = 0.18 * rng.standard_normal((n_factors, n_reference))
    for k, place in enumerate(rng.permutation(max(n_factors, n_reference))[:n_factors]):
        if place < n_reference:
            mixing[k, place] += rng.choice([-1.0, 1.0])
    return mixing


def _members(rng, grid, reference, diverged):
    rows = [(seed, beta) for beta in grid.betas for seed in grid.seeds]
    table = pd.DataFrame(rows, columns=["seed", "beta"])
    table.insert(0, "member", range(len(table)))
    table["ok"] = ~table.member.isin(diverged)
    table["best_epoch"] = rng.integers(grid.epochs // 3, grid.epochs + 1, len(table))
    off = np.abs(np.log2(table.beta.to_numpy())) ** 1.5
    score = -82.8 - 0.7 * off + 0.35 * rng.standard_normal(len(table))
    for split, shift in {"train": 2.1, "validation": 0.2, "test": 0.0}.items():
        table[f"log_likelihood_{split}"] = score + shift + 0.1 * rng.standard_normal(len(table))
    for split, shift in {"train": 0.02, "validation": 0.004, "test": 0.0}.items():
        table[f"r2_{split}"] = 0.703 - 0.006 * off + shift + 0.003 * rng.standard_normal(len(table))
    table["kl"] = 9.0 - 1.2 * np.log2(table.beta) + 0.2 * rng.standard_normal(len(table))
    table["active_units"] = np.where(table.beta > 3, 4, 5)
    table["noise_variance"] = 0.29 + 0.01 * off
    table["beta_noise"] = table.beta * table.noise_variance
    table["udr"] = 0.5 + 0.05 * rng.standard_normal(len(table))
    if reference:
        table["mcc_test"] = 0.80 - 0.03 * off + 0.05 * rng.standard_normal(len(table))
        table["subspace_r2_test"] = 0.93 - 0.01 * off
    scores = table.columns[5:]
    table[scores] = table[scores].where(table.ok)
    return table


def _metrics(members, n_factors, reference):
    rows = []

    def add(model, split, member=None, factors=n_factors, **values):
        rows.extend((model, member, factors, split, m, v) for m, v in values.items())

    for row in members.itertuples():
        for split in ("train", "validation", "test"):
            value = getattr(row, f"log_likelihood_{split}")
            add("vae", split, row.member, log_likelihood=value, r2=getattr(row, f"r2_{split}"))
    for model, score, r2 in (("vae_best", -82.6, 0.702), ("vae_ensemble", -82.4, 0.705)):
        add(model, "test", log_likelihood=score, log_likelihood_se=0.02, effective_samples=141.0)
        add(model, "test", r2=r2, mse=1 - r2)
    for model, (score, r2, _) in BASELINES.items():
        factors = {"pca_best": 6, "factor_analysis_best": 6}.get(model, n_factors)
        factors = None if np.isnan(r2) else factors
        add(model, "test", factors=factors, log_likelihood=score)
        if factors:
            add(model, "test", factors=factors, r2=r2, mse=1 - r2)
    for model, moments in MOMENTS.items():
        names = ("mean", "std", "min", "max", "skewness", "excess_kurtosis")
        add(model, "fit", **dict(zip(names, moments, strict=True)))
    for kind in ("var", "filtered_var"):
        for order, rate in ((5, 0.047), (1, 0.007)):
            names = ("breaches", "unconditional_p", "independence_p", "conditional_p")
            found = {f"{kind}_{order}_{name}": 0.4 for name in names}
            add("vae_ensemble", "test", **{**found, f"{kind}_{order}_breaches": rate})
    if reference:
        for model, mcc in (("consensus", 0.861), ("vae_best", 0.812), ("pca", 0.702)):
            levels = {"mcc_chance_mean": 0.071, "mcc_chance_95": 0.094, "mcc_rotation_95": 0.828}
            add(model, "test", mcc=mcc, **levels)
            for name in [name for name in FACTOR_SCORES if name != "mcc"]:
                floor = {} if name == "canonical_correlation" else {f"{name}_rotation_95": 0.35}
                add(model, "test", **{name: 0.6, f"{name}_chance_95": 0.1, **floor})
        ends = {"mcc_seeds_mean": 0.80, "mcc_seeds_low": 0.77, "mcc_seeds_high": 0.83}
        add("vae_ensemble", "test", **ends)
    return pd.DataFrame(rows, columns=["model", "member", "factors", "split", "metric", "value"])


def _history(rng, members, epochs):
    epoch = np.arange(1, epochs + 1)
    tables = []
    for row in members.itertuples():
        fall = 55 * np.exp(-epoch / 6) + 12 * np.exp(-epoch / 40)
        reconstruction = 72 + fall + 0.6 * rng.standard_normal(epochs) + np.log2(row.beta)
        kl = (9 - 1.2 * np.log2(row.beta)) * (1 - np.exp(-epoch / 15))
        total = reconstruction + row.beta * kl * np.minimum(1, epoch / 50)
        columns = {"total": total, "reconstruction": reconstruction, "kl": kl}
        table = pd.DataFrame({"member": row.member, "epoch": epoch, **columns})
        table["validation"] = total + 1.5 + np.maximum(0, epoch - 70) * 0.02
        tables.append(table if row.ok else table.where(table.epoch < 20).assign(member=row.member))
    return pd.concat(tables, ignore_index=True)


def _comparisons():
    rows = []
    for baseline, (_, _, difference) in BASELINES.items():
        for model, shift in (("vae_ensemble", 0.0), ("vae_best", -0.2)):
            middle = difference + shift
            rows.append((model, baseline, "test", middle, middle - 0.55, middle + 0.6))
    names = ["model", "baseline", "split", "difference", "low", "high"]
    table = pd.DataFrame(rows, columns=names)
    table = table.assign(low_joint=table.low - 0.2, high_joint=table.high + 0.2)
    seeds = np.where(table.model == "vae_ensemble", 0.1, np.nan)
    table = table.assign(low_seeds=table.difference - seeds, high_seeds=table.difference + seeds)
    return table.assign(low_widest=table.low_joint, high_widest=table.high_joint)


def _config(size, grid, members, reference, diverged):
    dates = pd.bdate_range("2020-01-01", periods=size.dates)
    day = [str(date.date()) for date in dates]
    n_train, n_fit = int(0.56 * size.dates), int(0.70 * size.dates)
    notes = [f"The best of {len(members)} members is picked on validation."]
    notes += [f"member {member} diverged and was left out" for member in diverged]
    best = members.loc[members.log_likelihood_validation.idxmax()]
    chosen = {"beta": float(best.beta), "member": int(best.member), "seed": int(best.seed)}
    return {
        "name": "linear",
        "preset": "default",
        "model": "mlp",
        "seeds": grid.seeds,
        "betas": grid.betas,
        "n_factors": size.factors,
        "epochs": grid.epochs,
        "likelihood_samples": 256,
        "root_seed": 0,
        "identity": {
            "tile_width": 8,
            "device": {"platform": "cpu", "kind": "cpu", "count": 1},
            "versions": {"jaxvae": "0.1.0", "jax": "0.10.0", "flax": "0.12.8"},
            "data": {"returns": "5f0c" * 16},
        },
        "model_config": {"family": "perceptron", "widths": [64, 32]},
        "model_facts": {"exact_likelihood": False, "ordered": False},
        "axes": "",
        "train_config": {"batch_size": 64, "reduction": "mean"},
        "panel": {
            "n_dates": size.dates,
            "n_assets": len(size.assets),
            "first_date": day[0],
            "last_date": day[-1],
            "n_train": n_train,
            "n_validation": n_fit - n_train,
            "n_test": size.dates - n_fit,
            "validation_from": day[n_train],
            "test_from": day[n_fit],
        },
        "chosen": {**chosen, "best_epoch": int(best.best_epoch)},
        "reference": {"names": [f"factor {k + 1}" for k in range(size.reference)], "planted": True}
        if reference
        else None,
        "sectors": size.sectors,
        "covariates": [],
        "assets": size.assets,
        "refit_factors": [f"factor {k + 1}" for k in range(size.factors)],
        "factor_names": [f"factor {k + 1}" for k in range(size.factors)],
        "shown_assets": size.assets[:4],
        "volatility_factors": [],
        "selection": {"model": "mlp", "n_factors": size.factors, "found": None},
        "notes": notes,
    }


def _arrays(rng, size, grid, world, members):
    learned = world.factors.to_numpy()
    correlation = np.corrcoef(learned.T, world.known.T)[: size.factors, size.factors :]
    match = np.where(np.abs(correlation).max(axis=0) > 0.5, np.abs(correlation).argmax(axis=0), -1)
    n_test = size.dates - int(0.70 * size.dates)
    data = rng.standard_t(6, (min(100, n_test), min(4, len(size.assets))))
    edges = np.linspace(-7, 7, 57)
    centres = (edges[1:] + edges[:-1]) / 2
    pairs = np.clip(rng.normal(0.2, 0.35, min(4950, len(size.assets) ** 2 // 2)), -0.95, 0.95)
    agreement = np.clip(0.8 + 0.08 * rng.standard_normal((len(members),) * 2), 0, 1)
    agreement = (agreement + agreement.T) / 2
    agreement = agreement[np.ix_(members.ok, members.ok)]
    unit = world.loadings.to_numpy() * 25
    histogram = np.r_[np.zeros(30), np.arange(20), np.arange(20)[::-1], np.zeros(10)]
    return {
        **{f"pairs_{name}": histogram for name in ("before", "after")},
        "pairs_edges": np.linspace(-1, 1, 81),
        "mean_pair_before": np.array(0.31),
        "mean_pair_after": np.array(0.04),
        "portfolio_exposure": np.full(size.factors, 0.02),
        "portfolio_volatility": np.full(size.factors, 0.021),
        "portfolio_specific": np.full(size.factors, 0.1),
        "portfolio_correlation": np.full(size.factors, 0.95),
        "explained_variance": np.array(
            [0.3233, 0.2596, 0.0661, 0.0546, 0.0110, 0.0081, *[0.007] * 4]
        ),
        "correlation": correlation,
        "match_learned": match,
        "reference_factors": world.known * 0.015,
        "reference_loadings": world.reference,
        "consensus_presence": np.ones(size.factors),
        "unit_loadings": unit + 0.1 * rng.standard_normal(unit.shape),
        "mean_loadings": unit,
        "scaler_scale": np.full(len(size.assets), 0.04),
        "agreement": agreement,
        "reconstruction_data": data,
        "reconstruction_vae": 0.75 * data + 0.25 * rng.standard_normal(data.shape),
        "reconstruction_pca": 0.75 * data + 0.25 * rng.standard_normal(data.shape),
        "density_edges": edges,
        "density_data": 0.42 * np.exp(-(np.abs(centres) ** 1.7) / 1.9),
        "density_generated": 0.41 * np.exp(-(np.abs(centres) ** 1.8) / 1.95),
        "correlations_data": pairs,
        "correlations_generated": np.clip(pairs + 0.04 * rng.standard_normal(len(pairs)), -1, 1),
    }
