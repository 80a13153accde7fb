"""README's findings, a line each with a link to its section, from the committed JSON."""

import textwrap

from auto_words import counted, largest_lag, largest_shortfall, without_factors
from historical_panels import FILES
from pages import interval, joint, number, results
from panel_words import missing_words
from temporal_words import against_the_strongest, counts_elsewhere, weakest_elsewhere

PAGE = "https://github.com/jaxvae/jaxvae/blob/main/experiments/README.md"
WIDTH = 119


def findings_list() -> str:
    """Five findings."""
    lines = [
        (default_model(), "without-options"),
        (noise(), "without-options"),
        (time(), "time"),
        (portfolios(), "walk-forward"),
        (missing(), "missing-cells"),
    ]
    return "\n".join(
        textwrap.fill(
            f"- {line} [More]({PAGE}#{section})",
            width=WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line, section in lines
    )


def default_model() -> str:
    """What a study without options is worth."""
    found, (ahead, level, behind) = counted()
    panel, least = largest_shortfall()
    return (
        f"**Without options** the ensemble is ahead of the best classical model in {ahead} of "
        f"{len(found)} studies, level in {level} (least {interval(*least)}, `{panel}`), "
        f"behind in {behind} (by at most {largest_lag()})."
    )


def noise() -> str:
    """What it finds where there is nothing."""
    return "**Noise:** in {} of {} panels of noise it finds no factor.".format(*without_factors())


def time() -> str:
    """Forecasts one step ahead."""
    lead = against_the_strongest(results("temporal")["panels"]["sp500"])[1]
    worst, _, quarters = weakest_elsewhere()
    by_quarter = ", ".join(number(quarter, sign=True) for quarter in quarters)
    return (
        "**Time:** `temporal` is ahead of the best classical forecast on 20 US stocks, "
        f"{joint(lead)} nats a date; on {len(FILES)} panels of other markets {counts_elsewhere()}, "
        f"but clearly behind in the first quarters of `{worst}` ({by_quarter})."
    )


def portfolios() -> str:
    """Portfolios of least variance."""
    moved = results("walk_forward")["models"]["linear"]["parts"]["all"]["volatility"]
    return (
        f"**Portfolios** of least variance moved {number(moved['vae'])} % a year by the ensemble, "
        f"{number(moved['ledoit_wolf'])} by Ledoit–Wolf, {number(moved['shrunk_correlation'])} by "
        "shrunk correlations."
    )


def missing() -> str:
    """Cells that are missing."""
    return f"**Missing cells:** with a fifth of the cells removed {missing_words()}."
