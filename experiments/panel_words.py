"""What is said of panels.json, nonlinear.json, missing.json, conditional.json,
conditional_panels.json and new_assets.json by the READMEs."""

from typing import Any

from pages import NAMES, claims, joint, lead_over, listed, number, results, stands, table

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
            against = f"{NAMES[best]} {number(test[best]['log_likelihood'])}"
            lead = joint(lead_over(result, best))
            rows.append((f"`{panel}`", f"`{model}`", *scores, against, lead))
    return table(heads, rows)


def panels_claim() -> str:
    """Which model stands where, by joint intervals."""
    panels = results("panels")["panels"]

    def words(panel: str, model: str, row: str = "vae_ensemble") -> str:
        result = panels[panel][model]
        best = strongest(result)
        lead = lead_over(result, best, row)
        return f"{stands(lead)} the strongest classical model ({NAMES[best]}), {joint(lead)}"

    bent = panels["nonlinear"]["static"]
    alone = lead_over(bent, strongest(bent), "vae_best")
    return claims(
        f"Daily returns (`sp500`): `volatility` is {words('sp500', 'volatility')} nats a date.",
        f"Monthly returns (`french`): `student` is {words('french', 'student')}.",
        f"Linear synthetic returns: `static` is {words('linear', 'static')}.",
        f"Synthetic returns that bend: the ensemble of `static` is "
        f"{words('nonlinear', 'static')}; its best member alone is {stands(alone)} that model, "
        f"{joint(alone)}.",
    )


def identification_claim() -> str:
    """What a good likelihood says of factors: beside both nulls."""
    test = results("panels")["panels"]["nonlinear"]["static"]["test"]
    best, joined = test["vae_best"], test["consensus"]
    same_panel = results("nonlinear")["nonlinear"]["42"]["best_member"]
    null = number(same_panel["mcc_rotation_95"])
    return (
        "**Likelihood is not identification: on `nonlinear` the factors of the best member of "
        f"`static` match the true ones at {number(best['mcc'])}, the consensus at "
        f"{number(joined['mcc'])}, and 95 % of random rotations of the true ones below {null}.**"
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
        matched, subspace = (
            " / ".join(number(one[key][metric]) for key in ("best_member", "factor_analysis"))
            for metric in ("mcc", "subspace_r2")
        )
        null = number(one["best_member"]["mcc_rotation_95"])
        rows.append((name, *map(number, scores), matched, null, subspace))
    more = ("matched correlation", "95 % of rotations below", "subspace R²")
    return table((*heads, *more), rows)


def nonlinear_claim() -> str:
    """How much of the gap is closed, and how many draws match beyond both nulls."""
    found = results("nonlinear")
    draws, by_draw = found["over_draws"], found["nonlinear"]
    gap, mcc = draws["gap_closed"], draws["mcc"]
    best = [one["best_member"] for one in by_draw.values()]
    nulls = [one["mcc_rotation_95"] for one in best]
    above = sum(one["mcc"] > max(one["mcc_rotation_95"], one["mcc_chance_95"]) for one in best)
    return claims(
        f"`additive` closes {number(gap['mean'])} of the gap between the best factor analysis and "
        f"the true model ({number(gap['min'])} to {number(gap['max'])} over {len(best)} draws).",
        f"Its axes are the true ones on some draws only: its factors match the true ones at "
        f"{number(mcc['mean'])} ({number(mcc['min'])} to {number(mcc['max'])}), 95 % of random "
        f"rotations stay below {number(min(nulls))} to {number(max(nulls))}, and {above} of "
        f"{len(best)} draws exceed that.",
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


def missing_leads(share: str = "0.2") -> dict[str, list[float]]:
    """Leads over factor analysis by EM in whole test dates, nats a date, of each kind of panel."""
    leads: dict[str, list[float]] = {}
    for panel, by_pattern in results("missing")["panels"].items():
        for by_share in by_pattern.values():
            vae, em = (by_share[share][name]["whole"] for name in ("vae", "factor_analysis_em"))
            leads.setdefault(panel, []).append(vae - em)
    return leads


def missing_words() -> str:
    """The ensemble beside factor analysis by EM."""
    linear, bent = (missing_leads()[panel] for panel in ("linear", "nonlinear"))
    return (
        f"the ensemble is at most {number(-min(linear))} nats a date behind factor analysis by EM "
        f"where returns are linear, and {number(min(bent), 1)} to {number(max(bent), 1)} ahead "
        "where they bend"
    )


def missing_claim() -> str:
    """The ensemble beside factor analysis by EM, with a fifth of the cells removed."""
    return f"**With a fifth of the cells removed {missing_words()}.**"


def conditional_claim() -> str:
    """What covariates buy, and where they buy nothing."""
    found = results("conditional")
    moving, still = found["over_draws"]["moving"], found["over_draws"]["constant"]
    nulls = [one["rotation_95"] for one in found["moving"].values()]
    return claims(
        "Where factor variances move with an index that the prior sees, `conditional` matches the "
        f"true factors at {number(moving['conditional']['mcc'])}; 95 % of random rotations stay "
        f"below {number(max(nulls))}, `linear` has {number(moving['linear']['mcc'])}, the true "
        f"model {number(moving['oracle_mcc'])}.",
        f"Where variances stand still nothing is gained: {number(still['conditional']['mcc'])}, "
        f"`linear` {number(still['linear']['mcc'])}.",
    )


def conditional_panels_claim() -> str:
    """What each panel's model was given, and what it is worth beside classical models."""
    panels = results("conditional_panels")["panels"]

    def words(panel: str, given: str) -> str:
        lead = lead_over(panels[panel][given], "factor_analysis_best")
        return f"{stands(lead)} factor analysis, {joint(lead)}"

    behind = [
        lead_over(one, "multivariate_t")["high_joint"] < 0
        for by_given in panels.values()
        for one in by_given.values()
    ]
    return claims(
        "`sp500`: given volatility and sectors together, `conditional` is "
        f"{words('sp500', 'volatility, sectors')} nats a date.",
        f"`french`: given volatility, it is {words('french', 'volatility')}; given the month, "
        f"{words('french', 'month')}.",
        f"Against the multivariate t {sum(behind)} of {len(behind)} rows of the table are behind.",
    )


def conditional_table() -> str:
    """Real panels with covariates, beside factor analysis and the multivariate t."""
    heads = ("panel", "given", "VAE ensemble", "lead over factor analysis, best K", "over the t")
    rows = []
    for panel, by_given in results("conditional_panels")["panels"].items():
        for given, result in by_given.items():
            leads = (
                joint(lead_over(result, one)) for one in ("factor_analysis_best", "multivariate_t")
            )
            rows.append((f"`{panel}`", given, number(result["test"]["vae_ensemble"]), *leads))
    return table(heads, rows)


NEW_ASSETS = ("new_asset", "sector_mean", "regression")


def new_assets_claim() -> str:
    """Loadings from a sector and a short history, at the least and at the most history."""
    histories = results("new_assets")["histories"]
    words = []
    for dates in (min(histories, key=int), max(histories, key=int)):
        ours, mean, regression = (number(histories[dates]["unexplained"][k]) for k in NEW_ASSETS)
        words.append(f"{ours} after {dates} dates (sector's mean {mean}, regression {regression})")
    return (
        "**A stock that training never saw gets loadings from its sector and a short history. Of "
        f"its systematic variance {listed(words)} stays unexplained.**"
    )


def new_assets_table() -> str:
    """Systematic variance that loadings from a short history leave unexplained."""
    heads = ("dates known", "sector and history", "sector's mean", "regression", "stocks")
    rows = []
    for dates, found in results("new_assets")["histories"].items():
        better = found["baseline_better_on"]
        cells = [number(found["unexplained"][name]) for name in NEW_ASSETS]
        for place, name in enumerate(NEW_ASSETS[1:], start=1):
            cells[place] += f" (nearer on {better[name]})"
        rows.append((dates, *cells, str(found["stocks"])))
    return table(heads, rows)
