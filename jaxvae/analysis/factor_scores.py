"""All scores of learned factors against true ones, each learned on `fit` and taken on any rows.

Two groups, because the second costs several times the first. Each is one function of four arrays,
so that `nulls` can ask what it would say of factors that know nothing, or nothing of the axes.
"""

from typing import NamedTuple

from jaxvae.analysis.disentanglement import (
    binned_entropy,
    canonical_correlations,
    dci,
    information_gap,
    modularity,
    mutual_information,
    sap,
)
from jaxvae.analysis.matching import Compared, match, mcc, subspace_r2

# What a rotation of the learned factors leaves as it is: it tells of the space, not of its axes.
# The ridge behind informativeness is not quite blind to a rotation, but its shrinkage is slight.
ROTATION_INVARIANT = ("subspace_r2", "canonical_correlation", "dci_informativeness")


class MatchedScores(NamedTuple):
    """Are these the factors, one for one (`mcc`), and is this their space (`subspace_r2`)?

    Attributes:
        mcc: `matching.mcc`, −1 to 1.
        subspace_r2: `matching.subspace_r2`, at most 1.
    """

    mcc: float
    subspace_r2: float


class AxisScores(NamedTuple):
    """How the learned axes stand to the true ones; sources are with the functions that compute.

    Attributes:
        canonical_correlation: mean over true factors; a pair beyond the learned factors counts 0.
        mutual_information: mean over true factors of the most that any learned one knows of it,
            nats.
        dci_disentanglement, dci_completeness, dci_informativeness: the parts of `dci`.
        mig: `information_gap`, 0 to 1.
        sap, modularity: 0 to 1.
    """

    canonical_correlation: float
    dci_disentanglement: float
    dci_completeness: float
    dci_informativeness: float
    mig: float
    sap: float
    modularity: float
    mutual_information: float


def matched_scores(compared: Compared) -> MatchedScores:
    """Scores by one-to-one matching and by regression, learned on the `fit_` rows.

    Args:
        compared: from `matching.compare_on`.
    """
    fit_codes, fit_factors, codes, factors = compared
    matching = match(fit_codes, fit_factors)
    return MatchedScores(mcc=mcc(matching, codes, factors), subspace_r2=subspace_r2(compared))


def axis_scores(compared: Compared) -> AxisScores:
    """Scores of `disentanglement`; what is learned is learned on the `fit_` rows.

    Those from mutual information learn nothing but bins, and see the other rows alone.

    Args:
        compared: from `matching.compare_on`.
    """
    *_, codes, factors = compared
    information = mutual_information(codes, factors)
    importances = dci(compared)
    return AxisScores(
        canonical_correlation=float(canonical_correlations(compared).sum() / factors.shape[1]),
        dci_disentanglement=importances.disentanglement,
        dci_completeness=importances.completeness,
        dci_informativeness=importances.informativeness,
        mig=information_gap(information, binned_entropy(factors)),
        sap=sap(compared),
        modularity=modularity(information),
        mutual_information=float(information.max(axis=0).mean()),
    )
