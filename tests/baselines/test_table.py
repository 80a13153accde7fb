"""The table of baselines: each fits what is known, and knows no more."""

from dataclasses import replace

import numpy as np
import pytest

from jaxvae.baselines import BASELINES, Development, Law
from jaxvae.data.synthetic import linear_panel

VALUES = linear_panel(1, n_dates=200, n_assets=6, n_factors=2, n_sectors=2)[0].values
VALUES = (VALUES - VALUES.mean(axis=0)) / VALUES.std(axis=0)
KNOWN = Development(VALUES[:140], 112, 2)
GAPS = np.where(np.random.default_rng(0).random(KNOWN.values.shape) < 0.1, np.nan, KNOWN.values)


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_is_a_law(name):
    law = BASELINES[name].fit(KNOWN)
    assert isinstance(law, Law)
    assert np.isfinite(law.log_likelihood(VALUES)).all()
    assert law.factors(VALUES).shape == (200, law.n_factors)
    assert law.reconstruct(VALUES).shape == VALUES.shape


@pytest.mark.parametrize("name", [n for n, one in BASELINES.items() if not one.complete])
def test_those_that_bear_gaps_do(name):
    law = BASELINES[name].fit(replace(KNOWN, values=GAPS))
    assert np.isfinite(law.log_likelihood(GAPS)).all()


@pytest.mark.parametrize("name", BASELINES)
def test_temporal_ones_and_no_others_look_at_the_dates_before(name):
    law = BASELINES[name].fit(KNOWN)
    changed = VALUES.copy()
    changed[:50] *= 3.0
    later = [law.log_likelihood(values)[60:] for values in (VALUES, changed)]
    assert np.array_equal(*later) != BASELINES[name].temporal


@pytest.mark.parametrize("name", ["factor_analysis", "pca"])
def test_sizes_are_the_ones_asked_for_or_chosen(name):
    assert BASELINES[name].fit(KNOWN).n_factors == 2
    assert BASELINES[f"{name}_best"].fit(KNOWN).n_factors in (1, 2, 3)
