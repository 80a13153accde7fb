"""Assets that training never saw, on a study of planted sectors."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from context import HELD_OUT, N_FIT, OTHERS, TRUTH, WHOLE, WITH_CONTEXT

from jaxvae.errors import DataError, OptionError
from jaxvae.study.questions.new_assets import designs, sector_prior
from jaxvae.study.study import load_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(context_folder):
    return load_study(context_folder)


@pytest.fixture(scope="module")
def design(study):
    return designs(study.fitted, WITH_CONTEXT)


def history(asset, n_dates):
    dates = slice(N_FIT - n_dates, N_FIT)
    values = WHOLE.values[dates, asset]
    return pd.Series(values, index=WHOLE.dates[dates], dtype=float)


def later_error(mean, design, asset):
    """Mean squared error, on later dates, of what the factors do to an asset."""
    moved = TRUTH.factors[N_FIT:] @ TRUTH.loadings[asset]
    return np.mean((moved - design.mean[N_FIT:] @ mean) ** 2)


@pytest.mark.parametrize("n_dates", [5, 150])
def test_a_history_helps_and_never_loses_to_the_sector_or_to_regression(study, design, n_dates):
    """Over the held-out stocks; factors as the study says they are."""
    errors = np.zeros((3, len(HELD_OUT)))
    for place, asset in enumerate(HELD_OUT):
        sector, past = WHOLE.sectors[asset], history(asset, n_dates)
        found = study.new_asset(WITH_CONTEXT, past, sector)
        assert found.n_dates == n_dates
        rows = design.mean[N_FIT - n_dates : N_FIT]
        alone = np.linalg.lstsq(rows, past.to_numpy(), rcond=None)[0]
        others = (found.mean, sector_prior(study.fitted, sector).mean, alone)
        errors[:, place] = [later_error(mean, design, asset) for mean in others]
    ours, of_sector, of_regression = errors.mean(axis=1)
    assert ours < 1.1 * min(of_sector, of_regression)
    assert ours < (0.5 * of_regression if n_dates == 5 else 0.9 * of_sector)


def test_uncertainty_falls_with_the_history_and_noise_is_the_planted(study):
    asset = HELD_OUT[0]
    spreads = []
    for n_dates in (0, 10, 200):
        found = study.new_asset(WITH_CONTEXT, history(asset, n_dates), WHOLE.sectors[asset])
        spreads.append(np.asarray(found.loadings.sd))
    assert (np.diff(spreads, axis=0) < 0).all()
    assert found.noise == pytest.approx(TRUTH.noise_scale[asset], rel=0.2)
    names = ["factor 1", "factor 2", *WITH_CONTEXT.covariates, "constant"]
    assert list(found.loadings.index) == names


def test_a_sectors_prior_is_its_assets_mean(study):
    prior = sector_prior(study.fitted, "sector 1")
    scale = study.arrays["scaler_scale"]
    raw = study.arrays["mean_loadings"] * scale[:, None]
    here = np.array(OTHERS.sectors) == "sector 1"
    np.testing.assert_allclose(prior.mean[:2], raw[here].mean(axis=0), rtol=1e-3, atol=1e-5)
    assert (prior.variance > 0).all()


def test_dates_with_a_gap_or_unknown_to_the_panel_do_not_count(study):
    past = history(HELD_OUT[0], 10)
    gap = past.copy()
    gap.iloc[3] = np.nan
    gap[pd.Timestamp("1999-01-04")] = 0.5
    found = study.new_asset(WITH_CONTEXT, gap, "sector 0")
    same = study.new_asset(WITH_CONTEXT, past.drop(past.index[3]), "sector 0")
    assert found.n_dates == 9
    np.testing.assert_allclose(found.mean, same.mean, rtol=1e-9)
    with pytest.raises(DataError, match="1999-01-04 00:00:00 twice"):
        study.new_asset(WITH_CONTEXT, pd.concat([gap, gap.iloc[-1:]]), "sector 0")
    with pytest.raises(DataError, match="no date of the new asset's history"):
        study.new_asset(WITH_CONTEXT, pd.Series([0.1], [pd.Timestamp("1999-01-04")]), "sector 0")


def test_what_a_study_does_not_know_is_refused(study):
    with pytest.raises(OptionError, match=r"'sector 9' is not one of sector 0, .* did you mean"):
        study.new_asset(WITH_CONTEXT, history(3, 5), "sector 9")
    without = {**study.config["model_config"], "sectors": []}
    plain = replace(study, config={**study.config, "model_config": without})
    with pytest.raises(OptionError, match="fit one with model='conditional'"):
        plain.new_asset(WITH_CONTEXT, history(3, 5), "sector 0")


def test_a_whole_panel_comes_back_without_the_covariates_that_gaps_would_need(study):
    whole = replace(WITH_CONTEXT, covariates=None)
    np.testing.assert_array_equal(study.impute(whole).to_numpy(), whole.values)
    values = whole.values.copy()
    values[3, 1] = np.nan
    with pytest.raises(DataError, match="covariate"):
        study.impute(replace(whole, values=values))
