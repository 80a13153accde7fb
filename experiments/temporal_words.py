"""What is said of temporal.json by the READMEs."""

from collections import Counter
from typing import Any

from historical_panels import FILES
from pages import NAMES, claims, joint, lead_over, listed, number, results, stands, table

GARCH = "garch_copula"
TESTS = ("unconditional", "independence")  # Kupiec's and Christoffersen's
IN_TIME = {name: NAMES[name] for name in (GARCH, "ccc_t", "ewma_t", "ewma_t_two_speeds")}
RISK_PANELS = ("sp500", "french", "regimes", *FILES)  # those that move
STANDS = ("ahead", "level", "behind")
CLOSE = 0.015  # autocorrelations of squares that are called alike


def temporal_table() -> str:
    """Log-likelihood a panel, one step ahead: of three roots, of models with a memory, of the
    best without one and of a mixture."""
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


def best_in_time(result: dict[str, Any]) -> str:
    """The classical model with a memory, other than GARCH, that is likeliest on the test dates."""
    scores = {name: result["test"][name] for name in IN_TIME if name != GARCH}
    return max(scores, key=lambda name: scores[name])


def leads_table() -> str:
    """Leads of the first root, jointly; over models in time by quarter of the test dates, too."""
    heads = ("panel", "over GARCH, t copula", "by quarter", "over the best other in time")
    rows = []
    for panel, result in results("temporal")["panels"].items():
        cells = []
        for name in (GARCH, best_in_time(result)):
            label = "" if name == GARCH else f"{IN_TIME[name]}: "
            parts = result["leads_by_quarter"][name]
            quarters = ", ".join(number(part, sign=True) for part in parts)
            cells += [f"{label}{joint(lead_over(result, name, 'temporal'))}", quarters]
        static = joint(lead_over(result, still(result), "temporal"))
        rows.append((f"`{panel}`", *cells, static))
    return table((*heads, "by quarter", "over the best static"), rows)


Against = tuple[str, dict[str, Any]]


def against_the_strongest(result: dict[str, Any]) -> Against:
    """The classical model that is likeliest on the test dates, and the lead over it."""
    scores = {name: result["test"][name] for name in (*IN_TIME, still(result))}
    baseline = max(scores, key=lambda name: scores[name])
    return baseline, lead_over(result, baseline, "temporal")


def elsewhere() -> tuple[dict[str, Against], Counter[str]]:
    """The same of the panels that nothing was tuned on, and how often `temporal` is where."""
    panels = results("temporal")["panels"]
    leads = {panel: against_the_strongest(panels[panel]) for panel in FILES}
    return leads, Counter(stands(lead).split()[0] for _, lead in leads.values())


def counts_elsewhere() -> str:
    """How often ahead, level and behind there."""
    counts = elsewhere()[1]
    return listed(f"{stand} in {counts[stand]}" for stand in STANDS if counts[stand])


def weakest_elsewhere() -> tuple[str, dict[str, Any], list[float]]:
    """The panel of the least lead there, that lead, and its quarters of the test dates."""
    leads = elsewhere()[0]
    panel = min(leads, key=lambda one: leads[one][1]["difference"])
    baseline, lead = leads[panel]
    return panel, lead, results("temporal")["panels"][panel]["leads_by_quarter"][baseline]


def temporal_claim() -> str:
    """Where the past helps, beside the classical model that is strongest in hindsight, jointly."""
    panels = results("temporal")["panels"]
    words = {}
    for panel in ("sp500", "french", "regimes", "noise", "linear"):
        baseline, lead = against_the_strongest(panels[panel])
        words[panel] = f"{stands(lead)} the strongest classical model ({NAMES[baseline]})"
        words[panel] += f", {joint(lead)}"
    worst, lead, quarters = weakest_elsewhere()
    return claims(
        f"One step ahead on `sp500` `temporal` is {words['sp500']} nats a date.",
        f"On `french` it is {words['french']}.",
        f"Where volatility jumps (`regimes`) it is {words['regimes']}.",
        f"Where the past says little it is {words['noise']}, on `noise`, and {words['linear']}, "
        "on `linear`.",
        f"On {len(FILES)} panels of other markets and decades, on which nothing was tuned, it is "
        f"{counts_elsewhere()}. The least lead there is {joint(lead)} on `{worst}`, by quarter of "
        f"the test dates {', '.join(number(part, sign=True) for part in quarters)}.",
    )


def quarters_claim() -> str:
    """In how many quarters of the test dates the past does not pay, by panel."""
    behind = {}
    for panel, result in results("temporal")["panels"].items():
        quarters = (result["leads_by_quarter"][name] for name in (GARCH, best_in_time(result)))
        behind[panel] = max(sum(lead < 0 for lead in parts) for parts in quarters)
    never = [f"`{panel}`" for panel, count in behind.items() if not count]
    some = [f"{count} (`{panel}`)" for panel, count in behind.items() if count]
    return claims(
        "In no quarter of the test dates is `temporal` behind GARCH or the best other model in "
        f"time on {listed(never)}.",
        f"It is behind one of them in {listed(some)} of four quarters.",
    )


def paths_claim() -> str:
    """Whether paths keep their level, and whether their squares cluster as the data's do."""
    panels = results("temporal")["panels"]
    ends = [one["level_of_long_paths"] for one in panels.values()]
    found: dict[str, list[str]] = {"less": [], "more": [], "alike": []}
    for panel, result in panels.items():
        lags = result["squares_autocorrelation"]
        ours, known = (sum(lags[name]) / len(lags[name]) for name in ("vae_ensemble", "data"))
        kind = "alike" if abs(ours - known) < CLOSE else "less" if ours < known else "more"
        found[kind].append(f"`{panel}`")
    less, more, alike = (listed(names) for names in found.values())
    return claims(
        f"Generated paths keep their level: after 2,000 dates {number(min(ends))} to "
        f"{number(max(ends))} of the data's standard deviation.",
        f"Their squares cluster less than the data's on {less}, more on {more}, and within "
        f"{CLOSE:g} of them on {alike}.",
    )


def risk_claim() -> str:
    """Which tests of the model's own quantile are rejected."""
    rejected: dict[str, list[str]] = {test: [] for test in TESTS}
    kept = []
    for panel in RISK_PANELS:
        found = results("temporal")["panels"][panel]["value_at_risk"]["temporal"]
        p_values = [found[order][f"{test}_p"] for order in found for test in TESTS]
        verdicts = iter(rejected_by_holm(p_values))
        for order in found:
            for test in TESTS:
                if next(verdicts):
                    breaches = f"{number(100 * found[order]['breaches'], 1)} %"
                    of = f" (breached on {breaches} of dates)" if test == TESTS[0] else ""
                    rejected[test].append(f"`{panel}` at {order}{of}")
        if not any(f"`{panel}`" in one for one in rejected[TESTS[0]]):
            kept.append(f"`{panel}`")
    return claims(
        f"The breach rate of the model's own quantile is not rejected on {listed(kept)}.",
        f"It is rejected on {listed(rejected[TESTS[0]])}.",
        "Breaches still come in clusters (independence is rejected) on "
        f"{listed(rejected[TESTS[1]])}.",
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
    for panel in RISK_PANELS:
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
