"""The generated parts of the READMEs: claims and tables, from the committed JSON.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; `PARTS` says what makes it.

Command: python experiments/readme.py   (a second; with --check nothing changes, a gap fails)
"""

import argparse
import re
import sys
from collections.abc import Callable
from typing import Any

import auto_words
import benchmark_words
import candidate_words
import portfolio_words
import temporal_words
from pages import ROOT, joint, lead_over, number, results, stands, table

FILES = ("README.md", "experiments/README.md", "benchmarks/README.md")
MARK = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NAMES = {
    "factor_analysis": "factor analysis",
    "factor_analysis_best": "factor analysis, best K",
    "pca_best": "PCA, best K",
    "ledoit_wolf": "Ledoit–Wolf",
    "multivariate_t": "multivariate t",
    "multivariate_t_shrunk": "shrunk multivariate t",
    "ewma_t": "EWMA, t",
}
NOT_CLASSICAL = ("vae", "vae_ensemble", "vae_best", "consensus")


def strongest(result: dict[str, Any]) -> str:
    """The classical model of highest log-likelihood on the test dates."""
    scores = {
        name: scores["log_likelihood"]
        for name, scores in result["test"].items()
        if name not in NOT_CLASSICAL and "log_likelihood" in scores
    }
    return max(scores, key=lambda name: scores[name])


def panels_table() -> str:
    """A row a study: the mixture, its best member, the strongest classical model in hindsight."""
    heads = ("panel", "model", "VAE ensemble", "best member", "strongest classical model", "lead")
    rows = []
    for panel, by_model in results("panels")["panels"].items():
        for model, result in by_model.items():
            best, test = strongest(result), result["test"]
            scores = [number(test[one]["log_likelihood"]) for one in ("vae_ensemble", "vae_best")]
            against = f"{NAMES.get(best, best)} {number(test[best]['log_likelihood'])}"
            lead = joint(lead_over(result, best))
            rows.append((f"`{panel}`", f"`{model}`", *scores, against, lead))
    return table(heads, rows)


def panels_claim() -> str:
    """Which model stands where, by joint intervals."""
    panels = results("panels")["panels"]
    daily = lead_over(panels["sp500"]["volatility"], "multivariate_t")
    monthly = lead_over(panels["french"]["student"], "multivariate_t")
    line = lead_over(panels["linear"]["static"], strongest(panels["linear"]["static"]))
    bent = panels["nonlinear"]["static"]
    mixture, best = (
        lead_over(bent, strongest(bent), model) for model in ("vae_ensemble", "vae_best")
    )
    return (
        f"**Daily returns: `volatility` is {stands(daily)} the multivariate t, {joint(daily)} nats "
        f"a date. Monthly ones: `student` is {stands(monthly)} it, {joint(monthly)}. Linear "
        f"returns: the perceptrons of `static` are {stands(line)} factor analysis, {joint(line)}; "
        f"where returns bend, the mixture of eight is {stands(mixture)} it, {joint(mixture)}, its "
        f"best member {stands(best)} it, {joint(best)}.**"
    )


def nonlinear_table() -> str:
    """A row a draw: the ensemble between factor analysis and the oracle."""
    found = results("nonlinear")
    studies = [(f"nonlinear, {draw}", one) for draw, one in found["nonlinear"].items()]
    studies += [(f"linear, `{name}`", one) for name, one in found["linear"].items()]
    heads = ("panel, draw", "VAE ensemble", "factor analysis, best K", "true model")
    rows = []
    for name, one in studies:
        scores = (one["vae_ensemble"], one["factor_analysis_best"], one["oracle"]["log_likelihood"])
        pairs = (
            " / ".join(number(one[key][metric]) for key in ("best_member", "factor_analysis"))
            for metric in ("mcc", "subspace_r2")
        )
        rows.append((name, *map(number, scores), *pairs))
    return table((*heads, "matched correlation", "subspace R²"), rows)


def nonlinear_claim() -> str:
    """How much of the gap is closed."""
    draws = results("nonlinear")["over_draws"]
    gap, mcc = draws["gap_closed"], draws["mcc"]
    return (
        f"**Where returns bend, `additive` closes {number(gap['mean'])} of the gap between the "
        f"best linear model and the true one ({number(gap['min'])} to {number(gap['max'])} over "
        f"five draws); its factors match the true ones at {number(mcc['mean'])} "
        f"({number(mcc['min'])} to {number(mcc['max'])}).**"
    )


MISSING = {
    "vae": "VAE ensemble",
    "factor_analysis_em": "factor analysis by EM",
    "statsmodels_fill_em": "statsmodels `fill-em`",
    "mean_filling": "mean filling",
    "complete_cases": "complete cases",
}


def missing_table(share: str = "0.2") -> str:
    """Whole test dates in nats, and the error of filling, with a fifth of the cells removed."""

    def cell(found: dict[str, Any] | None) -> str:
        if found is None or found["whole"] is None:
            return "–"
        errors = found["imputation"]
        error = errors["fit"] if errors["test"] is None else errors["test"]
        return f"{number(found['whole'])} / {number(error)}"

    rows = (
        (f"{panel}, {pattern}", *(cell(by_share[share].get(name)) for name in MISSING))
        for panel, by_pattern in results("missing")["panels"].items()
        for pattern, by_share in by_pattern.items()
    )
    return table(("panel, removed", *MISSING.values()), rows)


def missing_claim(share: str = "0.2") -> str:
    """The ensemble beside factor analysis by EM."""
    leads: dict[str, list[float]] = {}
    for panel, by_pattern in results("missing")["panels"].items():
        for by_share in by_pattern.values():
            vae, em = (by_share[share][name]["whole"] for name in ("vae", "factor_analysis_em"))
            leads.setdefault(panel, []).append(vae - em)
    linear, bent = leads["linear"], leads["nonlinear"]
    return (
        f"**With a fifth of the cells removed the ensemble loses at most {number(-min(linear))} "
        "nats a date to factor analysis by EM where returns are linear, and leads it by "
        f"{number(min(bent), 1)} to {number(max(bent), 1)} where they bend.**"
    )


def conditional_claim() -> str:
    """What covariates buy, and where they buy nothing."""
    draws = results("conditional")["over_draws"]
    moving, still = draws["moving"], draws["constant"]
    best = number(moving["oracle_mcc"])
    return (
        "**Where factor variances move with an index that the prior sees, `conditional` matches "
        f"the true factors at {number(moving['conditional']['mcc'])} ({best} for the true model, "
        f"{number(moving['linear']['mcc'])} for `linear`); where they stand "
        f"still nothing is gained ({number(still['conditional']['mcc'])}, "
        f"{number(still['linear']['mcc'])}).**"
    )


def conditional_table() -> str:
    """Real panels with covariates: ahead of factor analysis, behind the multivariate t."""
    heads = ("panel", "told", "VAE ensemble", "lead over factor analysis, best K", "over the t")
    rows = []
    for panel, by_told in results("conditional_panels")["panels"].items():
        for told, result in by_told.items():
            leads = (
                joint(lead_over(result, one)) for one in ("factor_analysis_best", "multivariate_t")
            )
            rows.append((f"`{panel}`", told, number(result["test"]["vae_ensemble"]), *leads))
    return table(heads, rows)


def new_assets_table() -> str:
    """Systematic variance that loadings from a short history leave unexplained."""
    heads = ("dates known", "sector and history", "sector's mean", "regression")
    rows = []
    for dates, found in results("new_assets")["histories"].items():
        left = found["unexplained"]
        rows.append((dates, *(number(left[k]) for k in ("new_asset", "sector_mean", "regression"))))
    return table(heads, rows)


def beta_claim() -> str:
    """What β does to axes where variances differ, and where they are equal."""
    found = results("beta")
    betas = found["betas"]

    def over_betas(panel: str) -> list[float]:
        scores, used = (
            [row[0] for row in found["panels"][panel]["over_seeds"][name]]
            for name in ("mcc", "active_units")
        )
        return [score for score, active in zip(scores, used, strict=True) if active >= 5]

    apart, equal = over_betas("separated"), over_betas("isotropic")
    best = betas[apart.index(max(apart))]
    rotation = found["panels"]["separated"]["nulls"]["rotation"]["mcc"]["percentile_95"]
    return (
        "**β prunes as the closed form says, and turns factors to their true axes where their "
        f"variances differ: matched correlation {number(apart[0])} at β = {betas[0]:g}, "
        f"{number(max(apart))} at β = {best:g} (95 % of random rotations stay below "
        f"{number(rotation)}). Where variances are equal no β does: {number(min(equal))} to "
        f"{number(max(equal))}.**"
    )


def certificates_claim() -> str:
    """How many closed forms hold."""
    rows = results("certificates")["rows"]
    return (
        f"**{sum(row['holds'] for row in rows)} of {len(rows)} comparisons with closed forms keep "
        "their tolerance.**"
    )


def consensus_claim() -> str:
    """The consensus beside the median member."""
    found = results("consensus")
    before, after = (
        found["lead_over_median_member"][name] for name in ("before_the_rule", "consensus")
    )
    words = [_three(one) for one in (before, after)]
    return (
        f"**On {len(found['draws'])} linear draws the consensus matches the true factors better "
        f"than the median member, by {words[0]} in matched correlation, and by {words[1]} once "
        "its weak factors are dropped.**"
    )


def n_factors_claim() -> str:
    """Counts on noise and on planted factors."""
    found = results("n_factors")
    none = found["classical"]["share_finding_none"]
    right = [s for s, by in found["classical"]["share_finding_three"].items() if by["verdict"] == 1]
    return (
        f"**The verdict on the number of factors is none in all draws of {len(none)} kinds of "
        "noise, and three in all draws of three planted ones from a strength of "
        f"{float(right[0]):g} noise eigenvalues on; weaker ones are missed.**"
    )


def notebook_claim() -> str:
    """The notebook's figures and ours."""
    found = results("notebook")
    scores = found["over_seeds"]
    return (
        f"**Over {found['seeds']} seeds the preset `notebook` explains "
        f"{number(scores['r2_sampled']['mean'], 3)} of the variance in sample, as the notebook did "
        f"(.7155); one-to-one its factors match the true ones at "
        f"{number(scores['one_to_one_correlation']['mean'])}, random rotations at "
        f"{number(found['rotation']['mean'])} on average and 95 % of them below "
        f"{number(found['rotation']['percentile_95'])}.**"
    )


def _three(found: dict[str, float]) -> str:
    low, high = (number(found[end], 3, sign=True) for end in ("low", "high"))
    return f"{number(found['mean'], 3, sign=True)} [{low}, {high}]"


PARTS: dict[str, Callable[[], str]] = {
    name.replace("_", " "): made
    for module in (
        sys.modules[__name__],
        auto_words,
        benchmark_words,
        candidate_words,
        portfolio_words,
        temporal_words,
    )
    for name, made in vars(module).items()
    if name.endswith(("_table", "_claim"))
}


def generated(text: str) -> str:
    """The text with every generated part made anew. Raises KeyError on an unknown one."""
    return MARK.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail where one would")
    check = parser.parse_args().check
    stale = []
    for name in FILES:
        path = ROOT / name
        old = path.read_text("utf-8")
        if (new := generated(old)) != old:
            stale.append(name)
            if not check:
                path.write_text(new, "utf-8")
    if check and stale:
        sys.exit(f"not as the JSON has it: {', '.join(stale)}; run experiments/readme.py")


if __name__ == "__main__":
    main()
