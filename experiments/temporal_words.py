"""What is said of temporal.json by the READMEs."""

from collections import Counter
from typing import Any

from historical_panels import FILES
from pages import joint, lead_over, number, results, stands, table

GARCH = "garch_copula"
TESTS = ("unconditional", "independence")  # Kupiec's and Christoffersen's
IN_TIME = {
    "garch_copula": "GARCH, t copula",
    "ccc_t": "constant correlations, t",
    "ewma_t": "EWMA, t",
    "ewma_t_two_speeds": "two speeds",
}


def temporal_table() -> str:
    """Log-likelihood a panel, one step ahead: of three roots, of the rivals in time, of the best
    model without a memory and of a mixture."""
    heads = ("panel", "`temporal`", *IN_TIME.values(), "best static", "half `temporal`, half GARCH")
    rows = []
    for panel, result in results("temporal")["panels"].items():
        scores, roots = result["test"], result["test_by_root"]
        others = [scores.get(name) for name in (*IN_TIME, still(result))]
        both = scores.get("temporal + garch_copula")
        cells = ["–" if score is None else number(score) for score in (*others, both)]
        rows.append((f"`{panel}`", f"{number(min(roots))} to {number(max(roots))}", *cells))
    return table(heads, rows)


def still(result: dict[str, Any]) -> str:
    """The model without a memory that is likeliest on the test dates."""
    scores = {
        name: score
        for name, score in result["test"].items()
        if name not in IN_TIME and name != "oracle" and "temporal" not in name
    }
    return max(scores, key=lambda name: scores[name])


def rival_in_time(result: dict[str, Any]) -> str:
    """The rival with a memory, other than GARCH, that is likeliest on the test dates."""
    scores = {name: result["test"][name] for name in IN_TIME if name != GARCH}
    return max(scores, key=lambda name: scores[name])


def leads_table() -> str:
    """Leads of the first root, jointly; over rivals in time by quarter of the test dates, too."""
    heads = ("panel", "over GARCH, t copula", "by quarter", "over the best other in time")
    rows = []
    for panel, result in results("temporal")["panels"].items():
        cells = []
        for name in (GARCH, rival_in_time(result)):
            label = "" if name == GARCH else f"{IN_TIME[name]}: "
            parts = result["leads_by_quarter"][name]
            quarters = ", ".join(number(part, sign=True) for part in parts)
            cells += [f"{label}{joint(lead_over(result, name, 'temporal'))}", quarters]
        static = joint(lead_over(result, still(result), "temporal"))
        rows.append((f"`{panel}`", *cells, static))
    return table((*heads, "by quarter", "over the best static"), rows)


def temporal_claim() -> str:
    """Where the past helps, beside the rival that is strongest in hindsight, jointly."""
    stands_by, told, elsewhere = Counter[str](), {}, {}
    for panel, result in results("temporal")["panels"].items():
        scores = {name: result["test"][name] for name in (*IN_TIME, still(result))}
        rival = max(scores, key=lambda name: scores[name])
        lead = lead_over(result, rival, "temporal")
        label = IN_TIME.get(rival, rival.replace("_", " "))
        told[panel] = f"{stands(lead)} the strongest rival ({label}), {joint(lead)}"
        if panel in FILES:
            elsewhere[panel] = lead
            stands_by[f"{stands(lead)} the strongest"] += 1
    counts = ", ".join(f"{stand} in {count}" for stand, count in stands_by.most_common())
    worst = min(elsewhere, key=lambda panel: elsewhere[panel]["difference"])
    return (
        f"**One step ahead, in nats a date, `temporal` is {told['sp500']}, on `sp500`; "
        f"{told['french']}, on `french`; {told['regimes']}, where volatility jumps. On "
        f"{len(elsewhere)} panels of other markets and decades, on which nothing was tuned, it is "
        f"{counts}, at the worst {joint(elsewhere[worst])}, on `{worst}`.**"
    )


def paths_table() -> str:
    """How generated paths cluster, and where their level ends."""
    heads = ("panel", "autocorrelation of squares, paths", "the data's", "level after 2,000 dates")
    rows = []
    for panel, result in results("temporal")["panels"].items():
        lags = result["squares_autocorrelation"]
        known = (lags.get(name) for name in ("vae_ensemble", "data"))
        means = ("–" if lag is None else number(sum(lag) / len(lag), 3) for lag in known)
        end = result["level_of_long_paths"]
        level = "beyond all bounds" if end is None else number(end)
        rows.append((f"`{panel}`", *means, level))
    return table(heads, rows)


def risk_table() -> str:
    """Value at risk of the equal-weighted portfolio on the test dates, of `sp500` by three
    forecasts, of other panels that move by the model's own quantiles."""
    heads = ("panel", "forecast", "order", "breached", "Kupiec p", "independence p")
    rows = []
    for panel in ("sp500", "french", "regimes", *FILES):
        forecasts = results("temporal")["panels"][panel]["value_at_risk"]
        names = list(forecasts) if panel == "sp500" else ["temporal"]
        for name in names:
            by_order = forecasts[name]
            p_values = [found[f"{kind}_p"] for found in by_order.values() for kind in TESTS]
            rejected = rejected_by_holm(p_values)
            for place, (order, found) in enumerate(by_order.items()):
                cells = [
                    f"{p:.2g}{', rejected' if reject else ''}"
                    for p, reject in list(zip(p_values, rejected, strict=True))[2 * place :][:2]
                ]
                breached = f"{number(100 * found['breaches'], 1)} %"
                rows.append((f"`{panel}`", name.replace("_", " "), order, breached, *cells))
    return table(heads, rows)


def rejected_by_holm(p_values: list[float], level: float = 0.05) -> list[bool]:
    """Which hypotheses are rejected where all are tested at once (Holm 1979): from the smallest p
    on, as long as p ≤ level / (hypotheses left)."""
    rejected, n = [False] * len(p_values), len(p_values)
    for done, place in enumerate(sorted(range(n), key=lambda k: p_values[k])):
        if p_values[place] > level / (n - done):
            break
        rejected[place] = True
    return rejected
