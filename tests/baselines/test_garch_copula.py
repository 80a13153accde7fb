"""DCC with a t copula: against scipy's densities, a simulated truth, and its own past."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from jaxvae.baselines.garch import Garch
from jaxvae.baselines.garch_copula import (
    GarchCopula,
    copula_quantiles,
    fit_copula,
    fit_garch_copula,
)

N = 3
TARGET = 0.5 * np.eye(N) + 0.5
MARGINS = Garch(*(np.full(N, value) for value in (0.02, 0.05, 0.08, 0.04, 0.85, 7.0, 1.0)))
TRUTH = GarchCopula(MARGINS, TARGET, reaction=0.05, decay=0.9, df=8.0)


def simulated(law, n_dates, seed=0):
    """Returns drawn from a law, by its definition."""
    rng, margins = np.random.default_rng(seed), law.margins
    variance, moments, rows = margins.first, law.target, np.empty((n_dates, N))
    for row in rows:
        scale = np.sqrt(np.diag(moments))
        # By a Cholesky factor, which is the same on every machine; eigenvectors are not.
        root = np.linalg.cholesky(moments / np.outer(scale, scale))
        q = root @ rng.standard_normal(N) * np.sqrt(law.df / rng.chisquare(law.df))
        level = stats.t.cdf(q, law.df)
        error = np.sqrt(variance * (margins.df - 2) / margins.df) * stats.t.ppf(level, margins.df)
        row[:] = margins.mean + error
        push = (margins.reaction + margins.leverage * (error < 0)) * error**2
        variance = margins.constant + push + margins.decay * variance
        a, b = law.reaction, law.decay
        moments = (1 - a - b) * law.target + a * np.outer(q, q) + b * moments
    return rows


VALUES = simulated(TRUTH, 2000)


def by_definition(law, values):
    """The log density, a date at a time, by scipy's distributions."""
    found, moments = law.margins.innovations(values), law.target
    total = np.empty(len(values))
    for date, row in enumerate(values):
        scale = np.sqrt(found.variances[date] * (law.margins.df - 2) / law.margins.df)
        margin = stats.t(law.margins.df, law.margins.mean, scale)
        q = stats.t.ppf(margin.cdf(row), law.df)
        root = np.sqrt(np.diag(moments))
        joint = stats.multivariate_t(shape=moments / np.outer(root, root), df=law.df).logpdf(q)
        total[date] = margin.logpdf(row).sum() + joint - stats.t.logpdf(q, law.df).sum()
        a, b = law.reaction, law.decay
        moments = (1 - a - b) * law.target + a * np.outer(q, q) + b * moments
    return total


def test_density_is_that_of_the_definition():
    expected = by_definition(TRUTH, VALUES[:150])
    np.testing.assert_allclose(TRUTH.log_likelihood(VALUES[:150]), expected, rtol=1e-9)


def test_far_tails_keep_their_digits():
    extreme = VALUES[:40].copy()
    extreme[20] = [40.0, -40.0, 39.0]
    found = TRUTH.margins.innovations(extreme)
    assert (np.sign(copula_quantiles(found, 8.0)) == np.sign(found.values)).all()
    assert np.isfinite(TRUTH.log_likelihood(extreme)).all()
    q = copula_quantiles(found, 7.0)  # the margins' own
    np.testing.assert_allclose(q, found.values, rtol=1e-6)


def test_the_truth_is_found_again():
    """Within .02 in a, .05 in b, .1 in Q̄, whose moments remember for twenty dates, and likelier
    than the truth by no more than chance gives: half a χ² of the parameters, on 2,000 dates."""
    law, _ = fit_copula(MARGINS, VALUES)
    np.testing.assert_allclose(law.reaction, 0.05, atol=0.02)
    np.testing.assert_allclose(law.decay, 0.9, atol=0.05)
    np.testing.assert_allclose(law.df, 8.0, atol=3.0)
    correlations = law.target / np.sqrt(np.outer(*[np.diag(law.target)] * 2))
    np.testing.assert_allclose(correlations, TARGET, atol=0.1)
    gain = (law.log_likelihood(VALUES) - TRUTH.log_likelihood(VALUES)).sum()
    assert -1.0 < gain < 12.0


def test_constant_correlation_is_its_special_case():
    still = replace(TRUTH, reaction=0.0, decay=0.0)
    found = MARGINS.innovations(VALUES)
    q = copula_quantiles(found, still.df)
    joint = stats.multivariate_t(shape=TARGET, df=still.df).logpdf(q)
    expected = found.log_density.sum(axis=1) + joint - stats.t.logpdf(q, still.df).sum(axis=1)
    np.testing.assert_allclose(still.log_likelihood(VALUES), expected, rtol=1e-11)
    np.testing.assert_allclose(
        replace(TRUTH, reaction=1e-14, decay=0.0).log_likelihood(VALUES), expected, rtol=1e-9
    )
    law, start = fit_copula(MARGINS, VALUES, [2.0])
    assert (law.reaction, law.decay, len(start)) == (0.0, 0.0, 1)
    moving, _ = fit_copula(MARGINS, VALUES)
    assert moving.log_likelihood(VALUES).sum() > law.log_likelihood(VALUES).sum() + 10.0


def test_an_earlier_density_does_not_see_later_rows():
    changed = VALUES[:300].copy()
    changed[200:] *= 3.0
    before, after = (TRUTH.log_likelihood(values) for values in (VALUES[:300], changed))
    np.testing.assert_array_equal(before[:200], after[:200])
    assert (before[200:] != after[200:]).all()


def test_the_kind_of_margin_is_chosen_on_validation():
    """Returns with strong leverage have GJR margins; a fit sees no row but those given."""
    pytest.importorskip("arch")
    steep = replace(
        TRUTH, margins=MARGINS._replace(leverage=np.full(N, 0.25), decay=np.full(N, 0.75))
    )
    values = simulated(steep, 3000)
    for dynamic in (True, False):
        law = fit_garch_copula(values[:2400], 1400, dynamic)
        assert law.margins.leverage.any()
        gap = (steep.log_likelihood(values) - law.log_likelihood(values))[2400:].mean()
        assert gap < (0.05 if dynamic else 0.25)
        assert bool(law.reaction and law.decay) == dynamic
    assert law.factors(values).shape == (3000, law.n_factors)
    np.testing.assert_allclose(law.reconstruct(values)[7], law.margins.mean)
