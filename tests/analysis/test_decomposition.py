"""The parts of a mean KL against closed forms and a plain double loop."""

import numpy as np
import pytest
from scipy import stats

from jaxvae.analysis import decomposition
from jaxvae.analysis.decomposition import Codes, chance_correlation, decompose, mean_kl
from jaxvae.errors import DataError


def generator(seed=0):
    return np.random.default_rng(seed)


def codes(seed=0, n_dates=40, n_factors=3):
    rng = generator(seed)
    shape = (n_dates, n_factors)
    return Codes(rng.normal(size=shape), rng.normal(-1.5, 0.5, size=shape))


def by_loops(mean, deviation, points):
    """ln q(z) and Σ ln q(z_k), date by date and factor by factor."""
    joint, separate = [], []
    for point in points:
        cells = stats.norm.pdf(point, mean, deviation)
        joint.append(np.log(cells.prod(axis=1).mean()))
        separate.append(np.log(cells.mean(axis=0)).sum())
    return np.array(joint), np.array(separate)


def test_the_parts_are_the_definitions():
    """By plain loops over other draws, and the information by its own definition."""
    mean, log_variance = both = codes()
    deviation = np.exp(0.5 * log_variance)
    rows = np.repeat(np.arange(len(mean)), 100)
    points = mean[rows] + deviation[rows] * generator(1).normal(size=(len(rows), 3))
    joint, separate = by_loops(mean, deviation, points)
    own = stats.norm.logpdf(points, mean[rows], deviation[rows]).sum(axis=1)
    prior = stats.norm.logpdf(points).sum(axis=1)
    ratios = (own - joint, joint - separate, separate - prior)
    found = decompose(generator(2), both, 8000)
    for ratio, value, error in zip(ratios, found[:3], found[3:], strict=True):
        assert abs(ratio.mean() - value) < 5 * (error + ratio.std() / np.sqrt(len(rows)))


def test_the_parts_sum_to_the_kl():
    both = codes()
    found = decompose(generator(), both, 64)
    assert sum(found[:3]) == pytest.approx(mean_kl(both), abs=1e-12)
    by_cell = [
        stats.norm.entropy(0, 1)
        - stats.norm.entropy(0, np.exp(0.5 * v))
        + 0.5 * (m * m + np.exp(v) - 1)
        for m, v in zip(both.mean.ravel(), both.log_variance.ravel(), strict=True)
    ]
    assert mean_kl(both) == pytest.approx(np.sum(by_cell) / len(both.mean), rel=1e-12)


def test_a_product_of_marginals_has_no_total_correlation():
    """Every pair of two lists of codes: q(z) is the product of its marginals at every point."""
    first, second = np.meshgrid(generator().normal(size=12), generator(1).normal(size=9))
    mean = np.stack([first.ravel(), second.ravel()], axis=1)
    found = decompose(generator(), Codes(mean, np.full(mean.shape, -3.0)), 500)
    assert found.total_correlation == pytest.approx(0, abs=1e-6)
    assert found.total_correlation_se < 1e-6


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_gaussian_codes_have_the_closed_form(correlation):
    """q(z) = N(0, R): ½ ln det R⁻¹, and in the information ln of the posterior's share."""
    shape, variance = np.array([[1.0, correlation], [correlation, 1.0]]), 0.09
    root = np.linalg.cholesky(shape - variance * np.eye(2))
    mean = generator().normal(size=(4000, 2)) @ root.T
    both = Codes(mean, np.full(mean.shape, np.log(variance)))
    found = decompose(generator(1), both, 2000)
    determinant = np.linalg.det(np.cov(mean.T, bias=True) + variance * np.eye(2))
    closed = -0.5 * np.log(1 - correlation**2)
    assert found.total_correlation == pytest.approx(
        closed, abs=5 * found.total_correlation_se + 0.02
    )
    information = 0.5 * np.log(determinant) - np.log(variance)
    error = found.index_code_information_se
    assert found.index_code_information == pytest.approx(information, abs=5 * error + 0.02)
    assert found.dimension_kl == pytest.approx(0, abs=5 * found.dimension_kl_se + 0.02)


def test_codes_far_apart_tell_the_date_and_no_more():
    mean = generator().normal(size=(24, 2))
    found = decompose(generator(), Codes(mean, np.full(mean.shape, -14.0)), 4800)
    gap = found.index_code_information - np.log(24)
    assert abs(gap) < 5 * found.index_code_information_se < 0.2


def test_a_factor_at_its_prior_adds_nothing():
    mean, log_variance = codes()
    wider = Codes(*(np.insert(part, 1, 0.0, axis=1) for part in (mean, log_variance)))
    none = Codes(np.zeros((9, 2)), np.zeros((9, 2)))
    np.testing.assert_allclose(decompose(generator(), none), 0, atol=1e-6)
    one, other = (decompose(generator(), both, 4000) for both in (Codes(mean, log_variance), wider))
    gaps, errors = np.subtract(one[:3], other[:3]), np.add(one[3:], other[3:])
    assert (np.abs(gaps) < 5 * errors).all()


def test_blocks_change_nothing(monkeypatch):
    whole = decompose(generator(), codes(), 100)
    monkeypatch.setattr(decomposition, "BLOCK_CELLS", 300)
    np.testing.assert_allclose(decompose(generator(), codes(), 100), whole, rtol=1e-6)


def test_chance_is_what_few_dates_leave_of_independent_factors():
    """Narrow independent codes of few dates show correlation, as much as their shifts do; codes
    that repeat each other show more."""
    rng = generator()
    mean = rng.normal(size=(200, 4))
    both = Codes(mean, np.full(mean.shape, -3.0))
    found = decompose(rng, both, 4000)
    chance = np.mean([chance_correlation(rng, both, 4000) for _ in range(4)])
    assert chance > 0.5
    assert found.total_correlation == pytest.approx(chance, abs=0.1)
    twice = Codes(mean[:, [0, 1, 0, 1]], both.log_variance)
    assert decompose(rng, twice, 1000).total_correlation > chance_correlation(rng, twice) + 1


def test_chance_refuses_fewer_than_nine_dates():
    with pytest.raises(DataError, match="8 dates"):
        chance_correlation(generator(), codes(n_dates=8))
