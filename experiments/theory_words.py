"""What is said by the READMEs of beta.json, state_space.json, certificates.json, consensus.json,
n_factors.json, notebook.json and defaults.json."""

import numpy as np
from pages import claims, number, results

from jaxvae.analysis.bootstrap import student_interval


def beta_claim() -> str:
    """What β does to axes where variances differ, and where they are equal."""
    found = results("beta")

    def over_betas(panel: str, name: str) -> dict[float, float]:
        rows = found["panels"][panel]["over_seeds"][name]
        return {beta: row[0] for beta, row in zip(found["betas"], rows, strict=True)}

    apart, used = over_betas("separated", "mcc"), over_betas("isotropic", "active_units")
    equal = [score for beta, score in over_betas("isotropic", "mcc").items() if used[beta] >= 5]
    first = min(apart)
    level = [score for beta, score in apart.items() if 0.5 <= beta <= 2]
    rotation = found["panels"]["separated"]["nulls"]["rotation"]["mcc"]["percentile_95"]
    off = found["panels"]["separated"]["certified"]["active_units"]["largest"]
    return claims(
        f"β prunes as the closed form says, to within {off:g} factor.",
        "It turns factors to their true axes where their variances differ: matched correlation "
        f"{number(apart[first])} at β = {first:g}, {number(min(level))} to {number(max(level))} "
        f"from 0.5 to 2, and {number(apart[4])} at 4, where true factors are pruned (95 % of "
        f"random rotations stay below {number(rotation)}).",
        f"Where variances are equal no β does: {number(min(equal))} to {number(max(equal))}.",
    )


def state_space_claim() -> str:
    """How far each encoder's expected ELBO is below the filter's exact likelihood."""
    panels = results("state_space")["panels"].values()
    gaps = {
        encoder: [one["at_the_same_parameters"][encoder]["gap"] for one in panels]
        for encoder in ("smoother", "filter", "mean_field")
    }
    ends = {name: f"{number(min(g))} to {number(max(g))}" for name, g in gaps.items()}
    return claims(
        "At the same parameters the expected ELBO of `autoregressive` is the Kalman filter's "
        f"exact likelihood with the smoother as encoder, to {max(map(abs, gaps['smoother'])):.0e} "
        "nats a date.",
        f"With a filter as encoder it is {ends['filter']} below, with independent dates and "
        f"factors {ends['mean_field']}.",
    )


def certificates_claim() -> str:
    """How many closed forms hold."""
    rows = results("certificates")["rows"]
    return (
        f"**{sum(row['holds'] for row in rows)} of {len(rows)} comparisons with closed forms keep "
        "their tolerance.**"
    )


def consensus_claim() -> str:
    """The consensus beside the median member, and beside the one that validation chooses."""
    found = results("consensus")
    before, after = (
        _three(found["lead_over_median_member"][name]) for name in ("before_the_rule", "consensus")
    )
    chosen = np.array([draw["chosen_member"] for draw in found["draws"]])
    level, lost = (
        student_interval(np.array([draw[name] for draw in found["draws"]]) - chosen)._asdict()
        for name in ("before_the_rule", "consensus")
    )
    means = {name: number(value, 3) for name, value in found["means"].items()}
    return claims(
        f"On {len(found['draws'])} linear draws the consensus matches the true factors better than "
        f"the median member does: {means['consensus']} and {means['median_member']}, a lead of "
        f"{after}; {before} before weak factors are dropped.",
        f"The member that validation chooses has {means['chosen_member']}: the consensus less this "
        f"member is {_three(lost)}; {_three(level)} before weak factors are dropped.",
    )


def n_factors_claim() -> str:
    """Counts on noise and on planted factors."""
    found = results("n_factors")["classical"]
    none, three = found["share_finding_none"], found["share_finding_three"]
    weakest = {
        name: min((s for s, by in three.items() if by[name] == 1), key=float)
        for name in ("verdict", "edge_distribution")
    }
    below = max((s for s, by in three.items() if by["verdict"] < 1), key=float)
    wrong = 1 - min(by["edge_distribution"] for by in none.values())
    silent = min(by["verdict"] for by in none.values())
    return claims(
        f"On {len(none)} kinds of noise the verdict is no factor in {_percent(silent)} of draws; "
        f"three planted factors are found in all draws from strength "
        f"{float(weakest['verdict']):g} on.",
        f"The verdict is cautious: at strength {float(below):g} it finds them in "
        f"{_percent(three[below]['verdict'])} of draws.",
        "One estimator, the edge distribution, finds them in all draws from strength "
        f"{float(weakest['edge_distribution']):g} on, and sees factors in up to {_percent(wrong)} "
        "of draws of noise.",
    )


def notebook_claim() -> str:
    """The notebook's figures and ours."""
    found = results("notebook")
    scores = found["over_seeds"]
    return claims(
        f"Over {found['seeds']} seeds the preset `notebook` explains "
        f"{number(scores['r2_sampled']['mean'], 4)} of the variance in sample, the notebook's one "
        f"run {number(found['notebook']['r2_sampled'], 4)}.",
        "One-to-one its factors match the true ones at "
        f"{number(scores['one_to_one_correlation']['mean'])}, random rotations at "
        f"{number(found['rotation']['mean'])} on average and 95 % of them below "
        f"{number(found['rotation']['percentile_95'])}.",
    )


def defaults_claim() -> str:
    """What the default network is, and how many others it was chosen from."""
    found = results("defaults")
    first, second = found["ranking"][:2]
    return (
        f"**Of {len(found['ranking'])} settings tried on validation dates the preset `static` is "
        f"the one that loses least: {number(first['mean_loss'], 4)} nats a date and asset behind "
        f"the best of each panel on average, the next {number(second['mean_loss'], 4)}.**"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _three(found: dict[str, float]) -> str:
    low, high = (number(found[end], 3, sign=True) for end in ("low", "high"))
    return f"{number(found['mean'], 3, sign=True)} [{low}, {high}]"
