"""What is said of walk_forward.json and portfolios.json by the READMEs."""

from typing import Any

from pages import claims, interval, listed, number, results, table

from jaxvae.baselines.covariances import CORRELATION_SHRINKAGE

PORTFOLIOS = {
    "vae": "ensemble",
    "sample": "sample",
    "shrunk_correlation": "shrunk correlations",
    "oas": "OAS",
    "pca": "PCA",
    "factor_analysis": "factor analysis",
    "equal": "equal weights",
    "empirical": "empirical prior",
    "ledoit_wolf": "Ledoit–Wolf",
    "ledoit_wolf_variance": "Ledoit–Wolf, least variance",
    "vine": "`VineCopula`",
    "vae_linear": "`linear`, mixed over β",
    "vae_volatility": "`volatility`",
}


def walk_table() -> str:
    """What minimum-variance portfolios moved, a year, over all windows."""
    part = results("walk_forward")["models"]["linear"]["parts"]["all"]
    heads = ("portfolio", "volatility, % a year", "turnover", "variance less Ledoit–Wolf's, (%)²")
    rows = []
    for name in sorted(part["volatility"], key=lambda name: part["volatility"][name]):
        gap = part["variance_difference"][name]
        against = "–" if name == "ledoit_wolf" else interval(*gap)
        cells = (number(part[kind][name]) for kind in ("volatility", "turnover"))
        rows.append((PORTFOLIOS[name], *cells, against))
    return table(heads, rows)


def walk_models_table() -> str:
    """The ensemble's portfolio by model, over all windows and the late ones."""
    heads = ("model", "β", "volatility, % a year", "on the last 30 %")
    more = ("variance less Ledoit–Wolf's, (%)²", "likelihood less its, nats a date")
    rows = []
    for name, found in results("walk_forward")["models"].items():
        whole, late = found["parts"]["all"], found["parts"]["late"]
        lead = whole["lead"]["ledoit_wolf"]
        rows.append(
            (
                f"`{name}`",
                ", ".join(f"{beta:g}" for beta in found["config"]["betas"]),
                number(whole["volatility"]["vae"]),
                number(late["volatility"]["vae"]),
                interval(*whole["variance_difference"]["vae"]),
                interval(lead["mean"], lead["low"], lead["high"]),
            )
        )
    return table((*heads, *more), rows)


def walk_models_claim() -> str:
    """Which models' portfolios are calmer than Ledoit–Wolf's, and which forecasts are likelier."""
    models = results("walk_forward")["models"]
    gaps = {name: one["parts"]["all"]["variance_difference"]["vae"] for name, one in models.items()}
    leads = {name: one["parts"]["all"]["lead"]["ledoit_wolf"] for name, one in models.items()}
    calmer = [f"`{name}`" for name, (_, _, high) in gaps.items() if high < 0]
    level = [f"`{name}`" for name, (_, low, high) in gaps.items() if low <= 0 <= high]
    likeliest = max(leads, key=lambda name: leads[name]["mean"])
    likelier = sum(lead["low"] > 0 for lead in leads.values())
    return claims(
        f"Calmer than Ledoit–Wolf's is the portfolio of {listed(calmer)}; level with it that of "
        f"{listed(level)}.",
        f"In likelihood {likelier} of {len(models)} models are ahead of it, `{likeliest}` by most.",
    )


def walk_claim() -> str:
    """The ensemble's portfolio beside Ledoit–Wolf's and a plain shrinkage."""
    found = results("walk_forward")["models"]["linear"]
    moved, late = (found["parts"][part]["volatility"] for part in ("all", "late"))
    return claims(
        f"Over {found['windows']} windows of `sp500` the minimum-variance portfolio of the "
        f"ensemble's covariance moved {number(moved['vae'])} % a year, Ledoit–Wolf's "
        f"{number(moved['ledoit_wolf'])}, one of "
        f"correlations shrunk by {100 * CORRELATION_SHRINKAGE:.0f} % to the identity "
        f"{number(moved['shrunk_correlation'])}.",
        f"On the last 30 % of windows, which chose nothing, these are {number(late['vae'])}, "
        f"{number(late['ledoit_wolf'])} and {number(late['shrunk_correlation'])}.",
    )


def single_beta_claim() -> str:
    """One β beside the mixture, on the windows that chose; and which factors stay the same."""
    found = results("walk_forward")["models"]["linear"]
    early, others = found["early_volatility"], found["parts"]["early"]["volatility"]
    single = {name: moved for name, moved in early.items() if " " not in name}
    kept = [value for name, value in found["agreement"].items() if name.startswith("congruence")]
    return claims(
        f"On the first 70 % of windows the best single β moved {number(min(single.values()))} %, "
        f"the worst {number(max(single.values()))}, Ledoit–Wolf {number(others['ledoit_wolf'])}, "
        f"the mixture {number(others['vae'])}.",
        f"From window to window the loadings of the first of {len(kept)} factors keep a congruence "
        f"of {number(kept[0])}, no other more than {number(max(kept[1:]))}.",
    )


def _strategies(kind: str, part: str) -> dict[str, Any]:
    """The figures of a part in portfolios.json, the calmest row over all dates first."""
    rows = results("portfolios")[kind]["rows"]
    measure = {"variance": "volatility", "cvar": "cvar"}[kind]
    names = sorted(rows, key=lambda name: rows[name]["all"][measure])
    return {name: {**rows[name], **rows[name][part]} for name in names}


def _less(row: dict[str, Any], baseline: str, measure: str) -> str:
    """A row's difference to a baseline; a dash for the baseline itself."""
    found = row["differences"].get(baseline)
    return interval(*found[measure]) if found else "–"


def variance_table() -> str:
    """Portfolios of least variance in skfolio, by part."""
    parts = {part: _strategies("variance", part) for part in ("all", "moving", "late")}
    heads = [f"{part}: {head}" for part in parts for head in ("volatility", "variance less LW's")]
    rows = []
    for name, row in parts["all"].items():
        cells = [PORTFOLIOS[name]]
        for part in parts.values():
            gap = _less(part[name], "ledoit_wolf", "variance")
            cells += [number(part[name]["volatility"]), gap]
        rows.append((*cells, number(row["turnover"]), number(row["seconds"])))
    return table(("portfolio", *heads, "turnover", "seconds"), rows)


def cvar_table() -> str:
    """Portfolios of least CVaR in skfolio, by part."""
    parts = {part: _strategies("cvar", part) for part in ("all", "moving", "late")}
    heads = ("CVaR", "less empirical's", "less vine's")
    rows = []
    for name, row in parts["all"].items():
        cells = [PORTFOLIOS[name], number(row["cvar"])]
        for part in (parts["moving"][name], parts["late"][name]):
            gaps = (_less(part, other, "cvar") for other in ("empirical", "vine"))
            cells += [number(part["cvar"]), *gaps]
        rows.append((*cells, number(row["seconds"])))
    by_part = [f"{part}: {head}" for part in ("moving", "late") for head in heads]
    return table(("portfolio", "all: CVaR", *by_part, "seconds"), rows)


def least_variance_claim() -> str:
    """The mixture beside Ledoit–Wolf, over all dates and over the late ones."""
    words = []
    for part in ("all", "late"):
        rows = _strategies("variance", part)
        ours, other = (number(rows[name]["volatility"]) for name in ("vae_linear", "ledoit_wolf"))
        gap = _less(rows["vae_linear"], "ledoit_wolf", "variance")
        words.append(f"{ours} and {other} % a year, a difference in variance of {gap} (%)²")
    return claims(
        "Least variance, long only, of `linear` mixed over β and of Ledoit–Wolf: " + words[0] + ".",
        f"The same on the last 30 % of dates: {words[1]}.",
    )


def least_cvar_claim() -> str:
    """Scenarios beside the empirical prior and the vine, on late dates and where prices move."""
    words = []
    for part in ("late", "moving"):
        row = _strategies("cvar", part)["vae_volatility"]
        words += [_less(row, name, "cvar") for name in ("empirical", "vine")]
    return claims(
        "Least CVaR by scenarios of `volatility`, in % a date, differs on the last 30 % of dates "
        f"from the empirical prior's by {words[0]} and from the vine's by {words[1]}.",
        f"On all dates on which prices move it differs by {words[2]} and {words[3]}.",
    )


def least_cvar_best_claim() -> str:
    """Which row has the least CVaR where prices move."""
    rows = _strategies("cvar", "moving")
    best = min(rows, key=lambda name: rows[name]["cvar"])
    return claims(
        f"Where prices move the lowest CVaR is that of {PORTFOLIOS[best]}: "
        f"{number(rows[best]['cvar'])} % a date, "
        f"{_less(rows[best], 'empirical', 'cvar')} beside the empirical prior, "
        f"{_less(rows[best], 'vine', 'cvar')} beside the vine."
    )
