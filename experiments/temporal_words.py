"""What is said of temporal.json by the READMEs."""

from typing import Any

from pages import joint, lead_over, number, results, stands, table

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


def leads_table() -> str:
    """Leads of the first root, jointly, and over GARCH by quarter of the test dates."""
    heads = ("panel", "over GARCH, t copula", "by quarter", "over EWMA, t", "over the best static")
    rows = []
    for panel, result in results("temporal")["panels"].items():
        names = ("garch_copula", "ewma_t", still(result))
        garch, ewma, static = (joint(lead_over(result, name, "temporal")) for name in names)
        parts = result["leads_by_quarter"]["garch_copula"]
        quarters = ", ".join(number(part, sign=True) for part in parts)
        rows.append((f"`{panel}`", garch, quarters, ewma, static))
    return table(heads, rows)


def temporal_claim() -> str:
    """Where the past helps, beside the rival that is strongest in hindsight, jointly."""
    known = {}
    for panel, result in results("temporal")["panels"].items():
        scores = {name: result["test"][name] for name in (*IN_TIME, still(result))}
        rival = max(scores, key=lambda name: scores[name])
        lead = lead_over(result, rival, "temporal")
        label = IN_TIME.get(rival, rival.replace("_", " "))
        known[panel] = f"{stands(lead)} the strongest rival ({label}), {joint(lead)}"
    return (
        f"**One step ahead, in nats a date, `temporal` is {known['sp500']}, on `sp500`; "
        f"{known['french']}, on `french`; {known['regimes']}, where volatility jumps.**"
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
    """Value at risk of the equal-weighted `sp500` portfolio on the test dates."""
    heads = ("forecast", "order", "breached", "Kupiec p", "independence p", "joint p")
    rows = []
    for name, by_order in results("temporal")["panels"]["sp500"]["value_at_risk"].items():
        for order, found in by_order.items():
            tests = (
                found[f"{kind}_p"] for kind in ("unconditional", "independence", "conditional")
            )
            breached = f"{number(100 * found['breaches'], 1)} %"
            rows.append((name.replace("_", " "), order, breached, *(f"{p:.2g}" for p in tests)))
    return table(heads, rows)
