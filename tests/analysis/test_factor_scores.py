"""The groups of scores say what the functions they name say."""

import numpy as np
import pytest

from jaxvae.analysis import disentanglement
from jaxvae.analysis.factor_scores import axis_scores, matched_scores
from jaxvae.analysis.matching import Compared, match, mcc, subspace_r2


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def parts(codes, factors):
    return codes[:200], factors[:200], codes[200:], factors[200:]


def test_scores_are_those_of_their_functions(rng):
    factors = rng.normal(size=(300, 3))
    four = parts(factors @ rng.normal(size=(3, 4)) + rng.normal(size=(300, 4)), factors)
    matched, axes = matched_scores(Compared(*four)), axis_scores(Compared(*four))
    assert matched.mcc == mcc(match(*four[:2]), *four[2:])
    assert matched.subspace_r2 == subspace_r2(Compared(*four))
    assert axes[1:4] == disentanglement.dci(Compared(*four))
    assert axes.canonical_correlation == pytest.approx(
        disentanglement.canonical_correlations(Compared(*four)).mean()
    )
    assert axes.sap == disentanglement.sap(Compared(*four))
    information = disentanglement.mutual_information(*four[2:])
    assert axes.modularity == disentanglement.modularity(information)
    entropy = disentanglement.binned_entropy(four[3])
    assert axes.mig == disentanglement.information_gap(information, entropy)
    best = [max(column) for column in information.T]
    assert axes.mutual_information == pytest.approx(np.mean(best))


def test_the_truth_itself_scores_full_marks(rng):
    factors = rng.normal(size=(600, 4))
    four = parts(-3 * factors[:, [2, 0, 3, 1]], factors)
    axes = axis_scores(Compared(*four))
    assert matched_scores(Compared(*four)) == pytest.approx((1, 1))
    assert axes.canonical_correlation == pytest.approx(1)
    assert min(axes[1:4]) > 0.97
    assert min(axes.mig, axes.sap, axes.modularity) > 0.85
    assert axes.mutual_information == pytest.approx(np.log(10))


def test_factors_beyond_the_codes_count_nothing(rng):
    factors = np.linalg.qr(rng.normal(size=(300, 4)))[0]
    four = factors[:, :1], factors, factors[:, :1], factors
    assert axis_scores(Compared(*four)).canonical_correlation == pytest.approx(1 / 4)
    assert matched_scores(Compared(*four)).mcc == pytest.approx(1 / 4)
