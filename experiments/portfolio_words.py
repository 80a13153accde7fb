"""What is said of walk_forward.json and portfolios.json by the READMEs."""

from typing import Any

from pages import interval, number, results, table

PORTFOLIOS = {
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
        rows.append((name.replace("_", " "), *cells, against))
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


def walk_claim() -> str:
    """The ensemble's portfolio beside Ledoit–Wolf's and a plain shrinkage."""
    found = results("walk_forward")["models"]["linear"]
    moved, late = (found["parts"][part]["volatility"] for part in ("all", "late"))
    return (
        f"**Over {found['windows']} windows of `sp500` the minimum-variance portfolio of the "
        f"ensemble's covariance moved {number(moved['vae'])} % a year, Ledoit–Wolf's "
        f"{number(moved['ledoit_wolf'])} (on the last 30 % of windows, which chose nothing, "
        f"{number(late['vae'])} and {number(late['ledoit_wolf'])}); shrinking correlations by 30 % "
        "to the identity does as well, 14.82.**"
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


def portfolios_claim() -> str:
    """The mixture beside Ledoit–Wolf, and scenarios beside the empirical prior and the vine."""
    risk = []
    for part in ("all", "late"):
        rows = _strategies("variance", part)
        ours, other = (number(rows[name]["volatility"]) for name in ("vae_linear", "ledoit_wolf"))
        gap = _less(rows["vae_linear"], "ledoit_wolf", "variance")
        risk.append(f"{ours} and {other} % a year, a difference in variance of {gap} (%)²")
    tail = _strategies("cvar", "late")["vae_volatility"]
    over_empirical, over_vine = (_less(tail, name, "cvar") for name in ("empirical", "vine"))
    moving = _less(_strategies("cvar", "moving")["vae_volatility"], "empirical", "cvar")
    return (
        "**In skfolio, long only, the least variance of `linear` mixed over β and that of "
        f"Ledoit–Wolf moved {risk[0]}; on the last 30 % of dates {risk[1]}. Least CVaR by "
        f"scenarios of `volatility` was on these {number(tail['cvar'])} % a date; it differed from "
        f"the empirical prior's by {over_empirical}, from the vine's by {over_vine}, but over all "
        f"dates on which prices move by {moving} from the empirical prior's.**"
    )
