"""Disentanglement scores against golden values, scikit-learn and closed forms."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm, ortho_group
from sklearn.cross_decomposition import CCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import StandardScaler

from jaxvae.analysis.disentanglement import (
    RIDGE_PENALTIES,
    binned_entropy,
    canonical_correlations,
    dci,
    dci_scores,
    information_gap,
    modularity,
    mutual_information,
    ridge,
    sap,
)
from jaxvae.analysis.matching import Compared

DIAGONAL = 3.0 * np.eye(5)
SHARED = np.log(2) / np.log(10)  # entropy of two equal shares out of ten


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("importance", "disentanglement", "completeness"),
    [
        pytest.param(DIAGONAL, 1, 1, id="diagonal"),
        pytest.param(np.vstack([DIAGONAL, DIAGONAL]), 1, 1 - SHARED, id="duplicated codes"),
        pytest.param(np.hstack([DIAGONAL, DIAGONAL]), 1 - SHARED, 1, id="a code for two factors"),
        pytest.param(np.ones((4, 6)), 0, 0, id="all equal"),
        pytest.param(np.zeros((4, 6)), 0, 0, id="all zero"),
        pytest.param(np.eye(6)[:4], 1, 1, id="factors without a code"),
        pytest.param(np.ones((3, 1)), 1, 0, id="one factor"),
        pytest.param(np.ones((1, 3)), 0, 1, id="one code"),
    ],
)
def test_dci_golden_values(importance, disentanglement, completeness):
    expected = (disentanglement, completeness)
    assert dci_scores(importance) == pytest.approx(expected, abs=1e-12)
    assert dci_scores(importance[::-1, ::-1]) == pytest.approx(expected, abs=1e-12)


def test_dci_of_duplicated_codes_is_the_published_figure():
    _, completeness = dci_scores(np.vstack([DIAGONAL, DIAGONAL]))
    assert completeness == pytest.approx(0.69897, abs=5e-6)


def test_dci_weighs_codes_and_factors_by_importance():
    """Code 0 holds 9/10 of all importance and one factor; code 1 spreads 1/10 evenly on two."""
    disentanglement, completeness = dci_scores(np.array([[9.0, 0.0], [0.5, 0.5]]))
    assert disentanglement == pytest.approx(0.9)
    shares = np.array([9.0, 0.5]) / 9.5
    assert completeness == pytest.approx(0.95 * (1 + shares @ np.log2(shares)) + 0.05)


def test_ridge_is_scikit_learns_at_the_penalty_of_least_cross_validated_error(rng):
    """Every hat matrix in full; three targets of different noise choose penalties of their own."""
    regressors = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 4)) + 0.1 * rng.normal(size=(60, 4))
    targets = regressors @ rng.normal(size=(4, 3)) + rng.normal(size=(60, 3)) * [0.01, 1.0, 30.0]
    regressors, targets = (part - part.mean(axis=0) for part in (regressors, targets))
    chosen = []
    for column, found in zip(targets.T, ridge(regressors, targets).T, strict=True):
        scores = []
        for penalty in RIDGE_PENALTIES:
            inner = regressors.T @ regressors / 60 + penalty * np.eye(4)
            hat = regressors @ np.linalg.solve(inner, regressors.T) / 60 + 1 / 60
            scores.append(((column - hat @ column) ** 2).mean() / (1 - np.trace(hat) / 60) ** 2)
        chosen.append(RIDGE_PENALTIES[np.argmin(scores)])
        model = Ridge(60 * chosen[-1], fit_intercept=False).fit(regressors, column)
        np.testing.assert_allclose(found, model.coef_, rtol=1e-9)
    assert len(set(chosen)) == 3


def test_dci_of_repeated_codes_is_the_published_figure(rng):
    """Ten codes, each factor's twice: the ridge shares their importance equally."""
    factors = rng.normal(size=(600, 5))
    codes = np.hstack([factors, factors])
    scores = dci(Compared(codes[:400], factors[:400], codes[400:], factors[400:]))
    assert scores.disentanglement == pytest.approx(1, abs=0.02)
    assert scores.completeness == pytest.approx(0.69897, abs=0.02)
    assert scores.informativeness == pytest.approx(1, abs=1e-3)


def test_codes_that_know_nothing_score_low(rng):
    """Spread evenly over noise: about a sixth, where few kept coefficients would look sharp."""
    factors, codes = rng.normal(size=(2, 700, 5))
    scores = dci(Compared(codes[:500], factors[:500], codes[500:], factors[500:]))
    assert max(scores[:2]) < 0.35
    assert abs(scores.informativeness) < 0.05


def test_dci_is_the_ridges_importances_and_later_r2(rng):
    factors, codes = rng.normal(size=(300, 2)), rng.normal(size=(300, 3))
    codes[:, :2] = 5 + 4 * (factors @ [[1.0, 0.3], [0.0, 1.0]] + 0.3 * codes[:, :2])
    factors = 1e-3 * factors
    fit_codes, later_codes, fit_factors, later = *np.split(codes, [200]), *np.split(factors, [200])
    scaler, target = StandardScaler().fit(fit_codes), StandardScaler().fit(fit_factors)
    coefficients = ridge(scaler.transform(fit_codes), target.transform(fit_factors))
    predicted = scaler.transform(later_codes) @ coefficients
    rebuilt = target.inverse_transform(predicted)
    residual = ((later - rebuilt) ** 2).sum(0) / ((later - fit_factors.mean(0)) ** 2).sum(0)
    scores = dci(Compared(fit_codes, fit_factors, later_codes, later))
    assert scores[:2] == pytest.approx(dci_scores(np.abs(coefficients)))
    assert scores.informativeness == pytest.approx(1 - residual.mean())


def test_dci_of_independent_factors_and_of_their_rotation(rng):
    factors = rng.normal(size=(600, 3))
    codes = -7 * factors[:, [2, 0, 1]]
    upright = dci(Compared(codes[:400], factors[:400], codes[400:], factors[400:]))
    assert min(upright) > 0.97
    turned = codes @ ortho_group.rvs(3, random_state=1)
    rotated = dci(Compared(turned[:400], factors[:400], turned[400:], factors[400:]))
    assert rotated.informativeness > 0.97
    assert max(rotated[:2]) < 0.6


def test_dci_bears_collapsed_repeated_and_summed_codes(rng):
    factors = rng.normal(size=(600, 3))
    sums = factors @ rng.normal(size=(3, 6))
    codes = np.column_stack([sums, sums[:, 0], np.full(600, 0.3)])
    assert (
        dci(Compared(codes[:400], factors[:400], codes[400:], factors[400:])).informativeness > 0.97
    )
    nothing = np.full((600, 2), 0.1)
    scores = dci(Compared(nothing[:400], factors[:400], nothing[400:], factors[400:]))
    assert scores == pytest.approx((0, 0, 0), abs=0.02)


def test_informativeness_is_out_of_sample(rng):
    factors = rng.normal(size=(400, 2))
    scores = dci(Compared(factors[:200], factors[:200], -factors[200:], factors[200:]))
    assert scores.informativeness < -2


def test_mutual_information_is_that_of_equal_count_bins(rng):
    codes = rng.normal(size=(720, 3))
    factors = codes[:, :2] ** 3 + rng.normal(size=(720, 2))
    a, b = (series.argsort(axis=0).argsort(axis=0).T // 120 for series in (codes, factors))
    expected = [[mutual_info_score(x, y) for y in b] for x in a]
    np.testing.assert_allclose(mutual_information(codes, factors, 6), expected, atol=1e-12)


def test_mutual_information_of_gaussians_is_their_cells(rng):
    """From the exact probabilities of a bivariate Gaussian's cells between deciles."""
    ends = norm.ppf(np.clip(np.linspace(0, 1, 11), 1e-9, 1 - 1e-9))
    corners = np.stack(np.meshgrid(ends, ends), axis=-1)
    cumulative = multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]]).cdf(corners)
    cells = np.diff(np.diff(cumulative, axis=0), axis=1)
    one, two = rng.normal(size=(2, 100_000, 1))
    found = mutual_information(one, 0.8 * one + 0.6 * two).item()
    assert found == pytest.approx((cells * np.log(100 * cells)).sum(), abs=0.01)
    assert found == pytest.approx(0.457, abs=0.01)


def test_mutual_information_bounds(rng):
    series = rng.normal(size=(700, 2))
    found = mutual_information(series, np.exp(series))
    np.testing.assert_allclose(np.diag(found), np.log(10))
    independent = np.mean(
        [mutual_information(*rng.normal(size=(2, 700, 3))).mean() for _ in range(20)]
    )
    assert independent == pytest.approx(81 / 1400, rel=0.1)
    constant = 0.1 + 1e-15 * series
    np.testing.assert_array_equal(mutual_information(constant, series), 0)
    np.testing.assert_array_equal(mutual_information(series, constant), 0)


def test_binned_entropy_is_that_of_equal_counts(rng):
    series = np.column_stack([rng.normal(size=720), np.full(720, 0.1), np.arange(720) % 4 == 0])
    found = binned_entropy(series, 6)
    np.testing.assert_allclose(found[:2], [np.log(6), 0.0], atol=1e-12)
    assert found[2] == pytest.approx(np.log(4) - 0.75 * np.log(3))


def mig(codes, factors):
    return information_gap(mutual_information(codes, factors), binned_entropy(factors))


def test_mig_golden_values(rng):
    factors = rng.normal(size=(1000, 5))
    assert mig(factors[:, ::-1] ** 3, factors) >= 0.9
    assert mig(np.zeros((1000, 5)), factors) == pytest.approx(0, abs=1e-12)
    assert mig(np.hstack([factors, factors]), factors) == pytest.approx(0, abs=1e-12)
    assert mig(factors[:, :1], factors[:, :1]) == pytest.approx(1)


def test_mig_is_the_gap_as_a_share_of_the_factors_entropy(rng):
    factors = rng.normal(size=(500, 2))
    codes = np.column_stack([factors[:, 0], factors[:, 0] + rng.normal(size=500)])
    information = mutual_information(codes, factors)
    gaps = np.abs(information[0] - information[1])
    assert mig(codes, factors) == pytest.approx(gaps.mean() / np.log(10))


@pytest.mark.parametrize(
    ("information", "expected"),
    [
        pytest.param(DIAGONAL, 1, id="diagonal"),
        pytest.param(np.vstack([DIAGONAL, DIAGONAL]), 1, id="duplicated codes"),
        pytest.param(np.hstack([DIAGONAL, DIAGONAL]), 1 - 1 / 9, id="a code for two factors"),
        pytest.param(np.diag([1.0, 2.0, 0.0]), 2 / 3, id="a code that knows nothing"),
        pytest.param(np.ones((3, 4)), 0, id="all equal"),
        pytest.param(np.ones((3, 1)), 1, id="one factor"),
        pytest.param(np.array([[2.0, 1.0, 0.0]]), 1 - 1 / 8, id="squares"),
    ],
)
def test_modularity_golden_values(information, expected):
    assert modularity(information) == pytest.approx(expected)


def single_r2(fit_code, fit_factor, code, factor):
    """R² of one regression on later rows, against the fit rows' mean; at least 0."""
    residual = factor - LinearRegression().fit(fit_code[:, None], fit_factor).predict(code[:, None])
    return max(1 - (residual**2).sum() / ((factor - fit_factor.mean()) ** 2).sum(), 0)


def test_sap_is_the_gap_between_single_regressions(rng):
    factors = 2 + rng.normal(size=(300, 3))
    codes = factors @ rng.normal(size=(3, 4)) + rng.normal(size=(300, 4))
    parts = codes[:200], factors[:200], codes[200:], factors[200:]
    fit_codes, fit_factors, later_codes, later = parts
    scores = [
        [single_r2(a, b, c, d) for b, d in zip(fit_factors.T, later.T, strict=True)]
        for a, c in zip(fit_codes.T, later_codes.T, strict=True)
    ]
    second, first = np.sort(scores, axis=0)[-2:]
    assert sap(Compared(*parts)) == pytest.approx((first - second).mean())


def test_sap_in_sample_is_the_gap_of_squared_correlations(rng):
    factors = rng.normal(size=(300, 2))
    codes = factors @ rng.normal(size=(2, 3)) + rng.normal(size=(300, 3))
    squares = np.corrcoef(codes.T, factors.T)[:3, 3:] ** 2
    second, first = np.sort(squares, axis=0)[-2:]
    assert sap(Compared(codes, factors, codes, factors)) == pytest.approx((first - second).mean())


def test_sap_golden_values(rng):
    factors = rng.normal(size=(1000, 4))

    def score(codes):
        return sap(Compared(codes[:700], factors[:700], codes[700:], factors[700:]))

    assert score(-3 * factors[:, ::-1]) > 0.97
    assert score(np.hstack([factors, factors])) == pytest.approx(0, abs=1e-12)
    assert score(np.full((1000, 3), 0.1)) == 0
    assert sap(Compared(factors[:700], factors[:700], -factors[700:], factors[700:])) < 0.01


def test_sap_counts_a_code_that_turned_over_as_one_that_says_nothing(rng):
    fit, later = rng.normal(size=(2, 200, 1))
    assert sap(
        Compared(np.hstack([fit, fit]), fit, np.hstack([later, -later]), later)
    ) == pytest.approx(1)
    assert sap(Compared(fit, fit, -later, later)) == 0


def test_canonical_correlations_are_scikit_learns(rng):
    factors = rng.normal(size=(500, 3))
    codes = 1 + factors @ rng.normal(size=(3, 4)) + 2 * rng.normal(size=(500, 4))
    model = CCA(n_components=3, max_iter=20_000, tol=1e-12).fit(codes[:300], factors[:300])

    def expected(rows):
        pairs = zip(*(side.T for side in model.transform(codes[rows], factors[rows])), strict=True)
        return [np.corrcoef(*pair)[0, 1] for pair in pairs]

    fit, later = slice(300), slice(300, 500)
    for rows in (fit, later):
        found = canonical_correlations(
            Compared(codes[fit], factors[fit], codes[rows], factors[rows])
        )
        np.testing.assert_allclose(found, expected(rows), atol=1e-4)


def test_canonical_correlations_ignore_linear_maps(rng):
    factors = rng.normal(size=(200, 3))
    codes = factors + rng.normal(size=(200, 3))
    plain = canonical_correlations(Compared(codes, factors, codes, factors))
    assert (np.diff(plain) < 0).all()
    mapped = 3 + codes @ rng.normal(size=(3, 3))
    found = canonical_correlations(Compared(mapped, 1e-4 * factors, mapped, 1e-4 * factors))
    np.testing.assert_allclose(found, plain, atol=1e-9)


def test_canonical_correlations_bear_collapsed_and_repeated_codes(rng):
    """Rank one on the left: one pair, and none more even where later rows break the tie."""
    factors = rng.normal(size=(200, 3))
    codes = np.column_stack([factors[:, 0], 2 * factors[:, 0], np.full(200, 0.3)])
    later = codes + rng.normal(size=(200, 3)) * [0, 1e-3, 1]
    found = canonical_correlations(Compared(codes, factors, later, factors))
    assert found[0] == pytest.approx(1, abs=1e-3)
    np.testing.assert_array_equal(found[1:], 0)


def test_canonical_directions_are_not_learned_again_out_of_sample(rng):
    factors = rng.normal(size=(400, 2))
    codes = factors + 0.1 * rng.normal(size=(400, 2))
    found = canonical_correlations(
        Compared(codes[:200], factors[:200], codes[200:], -factors[200:])
    )
    assert (found < -0.98).all()
