"""Joint intervals and the best of many: rates of error under the null, and power, by simulation."""

import numpy as np
import pytest
from scipy import stats

from jaxvae.analysis.bootstrap import (
    best_of_many_p_value,
    block_bootstrap_interval,
    block_means,
    jackknife_margin,
    simultaneous_intervals,
    student_interval,
)
from jaxvae.errors import OptionError

N_DATES, BLOCK, N_WORLDS = 250, 5, 400


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def null_worlds(rng, n_series, shared):
    """Differences of mean 0, correlated `shared`: all members meet the same dates."""
    for _ in range(N_WORLDS):
        common = rng.normal(size=(N_DATES, 1))
        own = rng.normal(size=(N_DATES, n_series))
        yield np.sqrt(shared) * common + np.sqrt(1 - shared) * own


def within_error(rate, nominal):
    """Within three Monte-Carlo standard errors, and what 50 blocks of dates cost."""
    return abs(rate - nominal) < 3 * np.sqrt(nominal * (1 - nominal) / N_WORLDS) + 0.01


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_joint_intervals_miss_anywhere_once_in_twenty(rng, shared):
    missed, missed_alone = [], []
    for world in null_worlds(rng, 12, shared):
        low, high = simultaneous_intervals(rng, world, BLOCK, n_draws=400)
        missed.append(((low > 0) | (high < 0)).any())
        error = world.std(axis=0) / np.sqrt(N_DATES)
        missed_alone.append((np.abs(world.mean(axis=0)) > 1.96 * error).any())
    assert within_error(np.mean(missed), 0.05)
    assert np.mean(missed_alone) > 0.15


def test_a_joint_interval_of_one_series_is_its_own(rng):
    series = rng.standard_t(8, size=300)
    low, high = simultaneous_intervals(rng, series[:, None], 5, n_draws=20_000)
    alone = block_bootstrap_interval(rng, series, 5, n_draws=20_000)
    width = alone.high - alone.low
    np.testing.assert_allclose([low[0], high[0]], alone[1:], atol=0.04 * width)


@pytest.mark.slow
def test_joint_intervals_of_independent_series_are_sidaks(rng):
    """c of ten independent Gaussian means: the quantile of |normal| at .95^(1/10)."""
    world = stats.zscore(rng.normal(size=(2000, 10)))
    low, high = simultaneous_intervals(rng, world, 1, n_draws=20_000)
    c = stats.norm.ppf((1 + 0.95**0.1) / 2)
    np.testing.assert_allclose((high - low) / 2, c / np.sqrt(2000), rtol=0.04)


def test_repeating_a_series_widens_nothing(rng):
    one = rng.normal(size=(300, 1))
    alone = simultaneous_intervals(np.random.default_rng(1), one, 4)
    repeated = simultaneous_intervals(np.random.default_rng(1), np.tile(one, 8) * 3.0, 4)
    np.testing.assert_allclose(repeated[0], 3 * alone[0][0])
    np.testing.assert_allclose(repeated[1], 3 * alone[1][0])


def test_a_series_that_never_varies_has_no_width_and_takes_no_part(rng):
    series = rng.normal(size=(300, 1))
    both = simultaneous_intervals(np.random.default_rng(1), np.hstack([series, 0 * series + 2]), 4)
    alone = simultaneous_intervals(np.random.default_rng(1), series, 4)
    np.testing.assert_allclose([end[0] for end in both], [end[0] for end in alone])
    np.testing.assert_allclose([end[1] for end in both], 2)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_the_best_of_many_is_called_a_winner_once_in_twenty(rng, shared):
    """Forty members, none better than the baseline. The best one's own p-value knows no better."""
    found, naive = [], []
    for world in null_worlds(rng, 40, shared):
        found.append(best_of_many_p_value(rng, world, BLOCK, n_draws=400))
        best = world[:, world.mean(axis=0).argmax()]
        naive.append(best_of_many_p_value(rng, best[:, None], BLOCK, n_draws=400))
    assert within_error(np.mean(np.array(found) <= 0.05), 0.05)
    assert np.mean(np.array(naive) <= 0.05) > 0.2


def test_autocorrelated_leads_need_blocks(rng):
    """AR(1) leads of mean 0: single dates find winners that blocks know for luck."""
    shocks = rng.normal(size=(200, N_DATES, 5))
    for date in range(1, N_DATES):
        shocks[:, date] += 0.4 * shocks[:, date - 1]
    single, blocks = (
        np.mean([best_of_many_p_value(rng, world, length, 400) <= 0.05 for world in shocks])
        for length in (1, 16)
    )
    assert blocks < 0.12
    assert single > 0.18


def test_a_real_lead_is_found_among_many(rng):
    """One of forty leads by .3 standard deviations a date; thirty are hopeless."""
    found = []
    for world in list(null_worlds(rng, 40, 0.5))[:60]:
        world = world - np.where(np.arange(40) < 30, 1.5, 0.0)
        world[:, -1] += 0.3
        found.append(best_of_many_p_value(rng, world, BLOCK, n_draws=400) <= 0.05)
    assert np.mean(found) > 0.9


def test_members_far_behind_count_for_nothing(rng):
    """Hansen's point: White's recentring would let their luck raise the bar."""
    good = 0.12 + rng.normal(size=(N_DATES, 1))
    hopeless = rng.normal(size=(N_DATES, 200)) - 3.0
    alone = best_of_many_p_value(np.random.default_rng(1), good, 2)
    among = best_of_many_p_value(np.random.default_rng(1), np.hstack([good, hopeless]), 2)
    assert among == alone


def test_no_member_ahead_is_no_evidence(rng):
    assert best_of_many_p_value(rng, rng.normal(size=(100, 3)) - 1, 3) == 1


def autoregression(rng, persistence, n_series, n_dates):
    """Stationary AR(1) series of mean 0, one a row."""
    shocks = rng.normal(size=(n_series, n_dates))
    shocks[:, 0] /= np.sqrt(1 - persistence**2)
    for date in range(1, n_dates):
        shocks[:, date] += persistence * shocks[:, date - 1]
    return shocks


def coverage(rng, block_length):
    """How often a nominal 95 % interval holds the mean 0 of 400 AR(1) series (ρ = .5, n = 400)."""
    intervals = [
        block_bootstrap_interval(rng, series, block_length, n_draws=400)
        for series in autoregression(rng, 0.5, 400, 400)
    ]
    return np.mean([interval.low <= 0 <= interval.high for interval in intervals])


@pytest.mark.slow
def test_block_bootstrap_covers_autocorrelated_means(rng):
    """Blocks hold the mean about 91 times in 100; single dates ignore autocorrelation: 72."""
    assert 0.87 < coverage(rng, None) < 0.96
    assert coverage(rng, 1) < 0.80


def test_single_date_blocks_give_the_standard_error(rng):
    series = 2 + rng.normal(size=300)
    interval = block_bootstrap_interval(rng, series, block_length=1, n_draws=20_000)
    error = series.std() / np.sqrt(300)
    assert interval.mean == pytest.approx(series.mean())
    ends = series.mean() + error * stats.norm.ppf([0.025, 0.975])
    np.testing.assert_allclose([interval.low, interval.high], ends, atol=0.04 * error)


def test_blocks_as_long_as_the_series_always_give_its_mean(rng):
    series = rng.normal(size=50)
    interval = block_bootstrap_interval(rng, series, block_length=50)
    assert interval.low == pytest.approx(series.mean())
    assert interval.high == pytest.approx(series.mean())


def test_resamples_keep_the_number_of_dates(rng):
    """n = 10 in blocks of 4: 4 + 4 + 2, so each mean is a whole number of tenths."""
    series = np.zeros(10)
    series[0] = 1.0
    interval = block_bootstrap_interval(rng, series, block_length=4, n_draws=500)
    assert interval.high * 10 == pytest.approx(round(interval.high * 10))
    assert interval.low == 0


@pytest.mark.parametrize("block_length", [0, 21])
def test_refuses_an_impossible_block(rng, block_length):
    with pytest.raises(OptionError, match="must lie between 1 and 20"):
        block_bootstrap_interval(rng, rng.normal(size=20), block_length)


def test_series_are_resampled_by_the_same_dates(rng):
    series = rng.normal(size=(60, 1)) * [1.0, -2.0]
    draws = block_means(rng, series, 7, 50)
    np.testing.assert_allclose(draws[:, 1], -2 * draws[:, 0])


def test_block_means_are_means_of_blocks_joined_in_a_circle():
    """Starts drawn again, and the resamples joined date by date."""
    series = np.random.default_rng(1).normal(size=(10, 2))
    starts = np.random.default_rng(0).integers(10, size=(6, 3))
    dates = [np.concatenate([s + np.arange(4) for s in row])[:10] % 10 for row in starts]
    expected = [series[chosen].mean(axis=0) for chosen in dates]
    np.testing.assert_allclose(block_means(np.random.default_rng(0), series, 4, 6), expected)


def test_interval_over_seeds_is_scipys(rng):
    scores = rng.normal(size=8)
    expected = stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert student_interval(scores) == pytest.approx((scores.mean(), *expected))


def test_interval_over_seeds_covers_the_mean_over_all_seeds(rng):
    """Nineteen times in twenty, from five seeds, and even when scores are skewed about as often."""
    for draw, mean in ((rng.normal, 0.0), (lambda size: rng.beta(8, 2, size=size), 0.8)):
        intervals = [student_interval(draw(size=5)) for _ in range(1500)]
        assert np.mean([i.low <= mean <= i.high for i in intervals]) == pytest.approx(
            0.95, abs=0.025
        )


def test_one_seed_has_no_interval():
    with pytest.raises(OptionError, match="at least 2"):
        student_interval(np.ones(1))


def test_a_mixture_hangs_on_its_seeds_as_a_mean_does_where_they_differ_little():
    rng = np.random.default_rng(5)
    base, levels = rng.normal(size=400), 1e-3 * rng.normal(size=8)
    _, low, high = student_interval(levels)
    assert jackknife_margin(base + levels[:, None]) == pytest.approx((high - low) / 2, rel=1e-2)
    assert jackknife_margin(np.stack([base] * 4)) == pytest.approx(0, abs=1e-12)
    assert np.isnan(jackknife_margin(base[None]))


def test_one_bad_seed_of_a_mixture_counts_little():
    """The others make up for it: without it the mixture gains ln n/(n - 1), whatever it is."""
    levels = np.zeros((8, 1))
    levels[0] = -1000.0
    half = jackknife_margin(levels)
    gain = np.log(8 / 7)  # the mean of the others is the mixture less what the bad one takes
    expected = stats.t.ppf(0.975, 7) * np.sqrt(7 / 8 * (7 / 8 * np.log(7 / 6) ** 2))
    assert half == pytest.approx(expected)
    assert half < 3 * gain
