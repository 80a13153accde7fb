"""Numbers of factors on noise and on planted panels of stated strength.

A planted strength is in multiples of √(N / T), the least population eigenvalue, in units of noise
variance, that can be told from noise at all (Baik, Ben Arous and Péché 2005).
"""

import numpy as np
import pytest

from jaxvae.analysis.n_factors import (
    PARALLEL,
    combine_estimates,
    edge_distribution,
    eigenvalue_ratio,
    growth_ratio,
    held_out_gains,
    held_out_number,
    most_considered,
    n_factors_table,
    parallel_analysis,
    sample_eigenvalues,
)
from jaxvae.baselines import fit_factor_analysis
from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import OptionError

N_DATES, N_ASSETS = 700, 100
IC = ["bai_ng_ic1", "bai_ng_ic2", "bai_ng_ic3"]
RATIOS = ["eigenvalue_ratio", "growth_ratio"]
EDGES = ["edge_distribution", PARALLEL]
NAMES = IC + RATIOS + EDGES


def table_of(values, most=10):
    return n_factors_table(values, most, np.random.default_rng(0))


def asked(estimate, values, most=10):
    return estimate(sample_eigenvalues(values, most), most)


def planted(seed, strength, n_factors=3):
    """Factors of equal strength on orthogonal loadings, unit noise."""
    rng = np.random.default_rng(seed)
    loadings = np.linalg.qr(rng.normal(size=(N_ASSETS, n_factors)))[0]
    loadings *= np.sqrt(strength * np.sqrt(N_ASSETS / N_DATES))
    noise = rng.normal(size=(N_DATES, N_ASSETS))
    return rng.normal(size=(N_DATES, n_factors)) @ loadings.T + noise


def persistent(rng):
    """AR(1) noise, ρ = .3."""
    noise = rng.normal(size=(N_DATES, N_ASSETS))
    for date in range(1, N_DATES):
        noise[date] += 0.3 * noise[date - 1]
    return noise


NOISES = {
    "Gaussian": lambda rng: rng.normal(size=(N_DATES, N_ASSETS)),
    "of many scales": lambda rng: rng.normal(size=(N_DATES, N_ASSETS)) * np.linspace(0.01, 9, 100),
    "Student-t, ν = 3": lambda rng: rng.standard_t(3, size=(N_DATES, N_ASSETS)),
    "more assets than dates": lambda rng: rng.normal(size=(60, 200)),
}
DEPENDENT_NOISES = {
    "persistent": persistent,
    "multivariate t, ν = 8": lambda rng: (
        rng.normal(size=(N_DATES, N_ASSETS)) * np.sqrt(8 / rng.chisquare(8, size=(N_DATES, 1)))
    ),
}


SEEDS = (1, pytest.param(2, marks=pytest.mark.slow))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("noise", NOISES)
def test_noise_has_no_factors(noise, seed):
    table = table_of(NOISES[noise](np.random.default_rng(seed)))
    assert [table[name] for name in IC + RATIOS] == [0] * 5
    assert combine_estimates(table) == 0


@pytest.mark.parametrize("noise", DEPENDENT_NOISES)
def test_the_verdict_withstands_noise_that_misleads_parallel_analysis(noise):
    table = table_of(DEPENDENT_NOISES[noise](np.random.default_rng(1)))
    assert table[PARALLEL] == 10
    assert combine_estimates(table) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_strong_factors_are_counted_by_all(seed):
    """Strength 32: each factor explains 9 % of the variance."""
    table = table_of(planted(seed, 32))
    assert set(table.values()) == {3}
    assert combine_estimates(table) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_the_verdict_is_right_from_five_percent_of_variance(seed):
    """Strength 16: each factor explains 5 % of the variance; ER no longer sees it."""
    table = table_of(planted(seed, 16))
    assert [table[name] for name in IC + EDGES] == [3] * 5
    assert table["eigenvalue_ratio"] == 0
    assert combine_estimates(table) == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_weak_factors_are_seen_by_edge_and_parallel_analysis_alone(seed):
    """Strength 6: each factor explains 2 % of the variance, and the cautious verdict is 0."""
    table = table_of(planted(seed, 6))
    assert [table[name] for name in EDGES] == [3, 3]
    assert [table[name] for name in IC + RATIOS] == [0] * 5
    assert combine_estimates(table) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_factors_below_the_threshold_are_seen_by_none(seed):
    assert set(table_of(planted(seed, 0.5)).values()) == {0}


# By panel: IC1, IC2, IC3, ER, GR, ED, parallel analysis; of five planted factors, the weakest
# eigenvalue is 1.4, 2.1, 1.9, 1.1 and 2.5 times the sixth.
LINEAR = {
    42: ([4, 4, 4, 4, 4, 5, 4], 4),
    0: ([5, 5, 5, 1, 4, 5, 5], 5),
    1: ([4, 4, 4, 2, 2, 5, 5], 4),
    2: ([4, 4, 4, 3, 3, 4, 4], 4),
    3: ([5, 5, 5, 5, 5, 5, 5], 5),
}


@pytest.mark.parametrize("seed", LINEAR)
def test_linear_panels(seed):
    """ED misses the weakest factor only where it is lost in noise; ER stops at large gaps."""
    values = linear_panel(seed)[0].values
    table = table_of((values - values.mean(0)) / values.std(0))
    estimates, expected = LINEAR[seed]
    assert list(table) == NAMES
    assert list(table.values()) == estimates
    assert combine_estimates(table) == expected


def test_a_dominant_market_captures_the_eigenvalue_ratio():
    rng = np.random.default_rng(3)
    market = 1.5 * rng.normal(size=(N_DATES, 1))
    others = 0.4 * rng.normal(size=(N_DATES, 2)) @ rng.normal(size=(2, N_ASSETS))
    values = market + others + rng.normal(size=(N_DATES, N_ASSETS))
    assert asked(eigenvalue_ratio, values) == 1
    assert asked(growth_ratio, values) == 3
    assert combine_estimates(table_of(values)) == 3


@pytest.mark.parametrize("shape", [(200, 30), (30, 200)])
def test_panels_without_noise_have_their_rank(shape):
    """Several draws, since rounding errors alone decide what an estimator without a floor says."""
    n_dates, n_assets = shape
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.normal(size=(n_dates, 3)) @ rng.normal(size=(3, n_assets))
        assert set(n_factors_table(values, 10, rng).values()) == {3}


def test_estimates_ignore_location_scale_and_order():
    rng = np.random.default_rng(0)
    values = planted(0, 20)
    changed = 5 + values[::-1, rng.permutation(N_ASSETS)] * rng.uniform(0.1, 10, N_ASSETS)
    assert table_of(changed) == table_of(values)


def residual_variance(values, n_factors):
    """Mean squared error of the best approximation by so many components, by SVD."""
    units = (values - values.mean(0)) / values.std(0)
    left, sizes, right = np.linalg.svd(units, full_matrices=False)
    rebuilt = (left[:, :n_factors] * sizes[:n_factors]) @ right[:n_factors]
    return ((units - rebuilt) ** 2).mean()


@pytest.mark.parametrize(("seed", "strength", "first"), [(0, 12, 1), (1, 12.5, 2), (2, 20, 3)])
def test_criteria_are_bai_and_ngs_formulas(seed, strength, first):
    """Factors on the edge: the penalties are .0511, .0526 and .0461 each, and not all pay."""
    values = planted(seed, strength)
    logarithms = np.log([residual_variance(values, k) for k in range(7)])
    share = (N_DATES + N_ASSETS) / (N_DATES * N_ASSETS)
    penalties = [share * np.log(1 / share), share * np.log(100), np.log(100) / 100]
    expected = [int(np.argmin(logarithms + np.arange(7) * penalty)) for penalty in penalties]
    found = table_of(values, 6)
    assert [found[name] for name in IC] == expected
    assert expected[0] == first


def test_ratios_are_ahn_and_horensteins_formulas():
    """GR from residual variances: ln[V(k−1)/V(k)] / ln[V(k)/V(k+1)], V(−1) = V(0) + mock."""
    values = planted(0, 20)
    residual = [residual_variance(values, k) for k in range(9)]
    mock = residual[0] / np.log(N_ASSETS)
    eigenvalues = np.concatenate([[mock], -np.diff(residual)])
    assert asked(eigenvalue_ratio, values, 7) == int(np.argmax(eigenvalues[:-1] / eigenvalues[1:]))
    growth = -np.diff(np.log([residual[0] + mock, *residual]))
    assert asked(growth_ratio, values, 7) == int(np.argmax(growth[:-1] / growth[1:]))


def onatski(eigenvalues, most, rounds=4):
    """Step by step as in the paper, places counted from 1."""
    at = dict(enumerate(eigenvalues, start=1))
    start = most + 1
    for _ in range(rounds):
        places = range(start, start + 5)
        design = [[1.0, (place - 1) ** (2 / 3)] for place in places]
        slope = np.linalg.lstsq(design, [at[place] for place in places])[0][1]
        wide = [k for k in range(1, most + 1) if at[k] - at[k + 1] >= 2 * abs(slope)]
        start = max(wide, default=0) + 1
    return start - 1


def test_edge_distribution_is_onatskis_algorithm():
    """Among panels of factors at the edge of detection, where its rounds change the answer."""
    panels = [planted(seed, 1.7, n_factors=6) for seed in range(30)]
    spectra = [np.linalg.eigvalsh(np.corrcoef(values.T))[::-1] for values in panels]
    expected = [onatski(spectrum, 10) for spectrum in spectra]
    assert [asked(edge_distribution, values) for values in panels] == expected
    assert expected != [onatski(spectrum, 10, rounds=1) for spectrum in spectra]


def test_most_bounds_every_answer():
    values = planted(0, 40, n_factors=5)
    assert max(table_of(values, most=2).values()) == 2


def test_parallel_analysis_counts_up_to_the_first_that_fails():
    """Eigenvalues 2.5, then 1.7 to the tenth: above noise's tenth and below its second."""
    rng = np.random.default_rng(0)
    eigenvalues = np.concatenate([[2.5], np.full(9, 1.7), np.full(90, 82.2 / 90)])
    left, _, right = np.linalg.svd(planted(0, 0), full_matrices=False)
    values = left * np.sqrt(eigenvalues) @ right
    assert parallel_analysis(values, 10, rng) == 1


def test_parallel_analysis_is_its_generators():
    values = planted(1, 4)
    found = [parallel_analysis(values, 10, np.random.default_rng(7)) for _ in range(2)]
    assert found[0] == found[1] > 0


def test_the_verdict_is_a_median_with_a_veto():
    assert combine_estimates(dict(zip(NAMES, [1, 1, 1, 3, 4, 5, 6], strict=True))) == 3
    assert combine_estimates(dict(zip(NAMES, [0, 0, 0, 0, 4, 5, 6], strict=True))) == 0
    assert combine_estimates(dict(zip(NAMES, [2, 2, 2, 2, 2, 2, 0], strict=True))) == 0


def test_no_factors_by_held_out_likelihood_are_no_factors():
    table = dict(zip(NAMES, [2, 2, 3, 3, 3, 2, 2], strict=True))
    assert [combine_estimates(table, held_out) for held_out in (None, 0, 1, 5)] == [2, 0, 2, 2]
    assert [combine_estimates({}, held_out) for held_out in (None, 0, 4)] == [0, 0, 4]


def held_out_scores(values, sizes, n_fit=500):
    """Log-likelihood of later dates under factor analysis of each size, fitted on the first."""
    fits = [fit_factor_analysis(values[:n_fit], size) for size in sizes]
    return np.stack([fit.log_likelihood(values[n_fit:]) for fit in fits])


def counted(rng, scores, used=None):
    sizes = np.arange(len(scores))
    return held_out_number(rng, scores, sizes, np.array(sizes if used is None else used, float))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("noise", ["Gaussian", "Student-t, ν = 3"])
def test_held_out_likelihood_finds_no_factor_in_noise(seed, noise):
    rng = np.random.default_rng(seed)
    scores = held_out_scores(NOISES[noise](rng), range(4))
    assert counted(rng, scores) == 0
    assert all(gain.low <= 0 for gain in held_out_gains(rng, scores))


@pytest.mark.parametrize("seed", range(3))
def test_held_out_likelihood_counts_planted_factors(seed):
    """Strength 16: each of three factors explains 5 % of the variance."""
    rng = np.random.default_rng(seed)
    scores = held_out_scores(planted(seed, 16), range(6))
    gains = held_out_gains(rng, scores)
    assert counted(rng, scores) == 3
    assert gains[0] == (0.0, 0.0, 0.0)
    assert gains[3].mean == pytest.approx((scores[3] - scores[0]).mean())
    assert gains[3].low > 0


def test_held_out_number_is_the_best_that_beats_none_beyond_its_error():
    rng = np.random.default_rng(0)
    shared, noise = rng.normal(size=200), rng.normal(size=200)
    gains = np.array([0.0, 0.3, 0.4, 0.2])
    scores = shared + gains[:, None] + 0.1 * (noise - noise.mean()) * (gains > 0)[:, None]
    assert counted(rng, scores) == 2
    assert counted(rng, scores, [0, 1, 1.2, 3]) == 1
    assert counted(rng, scores, [0, 0, 0.4, 0]) == 0
    assert counted(rng, np.concatenate([scores[:1] + 0.5, scores[1:]])) == 0
    unsure = shared + 0.05 * gains[:, None] + (noise - noise.mean()) * (gains > 0)[:, None]
    assert unsure.mean(axis=1).argmax() == 2
    assert counted(rng, unsure) == 0


def test_most_considered_is_fifteen_or_a_third_of_what_there_is():
    shapes = [(700, 100), (700, 30), (20, 90), (700, 6), (700, 5), (700, 2)]
    assert [most_considered(*shape) for shape in shapes] == [15, 10, 6, 1, 0, 0]
    values = NOISES["Gaussian"](np.random.default_rng(0))[:, :6]
    assert combine_estimates(table_of(values, most_considered(*values.shape))) == 0


@pytest.mark.parametrize("n_assets", [12, 20, 40])
def test_small_panels_of_noise_have_no_factors_either(n_assets):
    values = NOISES["Gaussian"](np.random.default_rng(3))[:300, :n_assets]
    assert combine_estimates(table_of(values, most_considered(*values.shape))) == 0


@pytest.mark.parametrize("most", [0, 16])
def test_refuses_an_impossible_most(most):
    values = np.random.default_rng(0).normal(size=(50, 20))
    with pytest.raises(OptionError, match="must lie between 1 and 15"):
        n_factors_table(values, most, np.random.default_rng(0))
    with pytest.raises(OptionError, match="must lie between 1 and 15"):
        parallel_analysis(values, most, np.random.default_rng(0))
