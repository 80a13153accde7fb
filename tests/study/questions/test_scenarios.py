"""Scenarios of a saved study given some returns."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from jaxvae.errors import OptionError
from jaxvae.models import make_batch
from jaxvae.study.questions import scenarios
from jaxvae.study.study import load_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(unbroken):
    return load_study(unbroken)


@pytest.fixture(scope="module")
def given(study):
    """Two assets, at one and at minus two standard deviations."""
    scale = study.arrays["scaler_scale"]
    return {study.config["assets"][1]: float(scale[1]), study.config["assets"][4]: -2 * scale[4]}


@pytest.fixture(scope="module")
def found(study, given):
    return study.scenarios(4000, given=given, seed=3)


def mixture(study, given):
    """Mean of the mixture of the refits' Gaussian conditionals, in the units of the returns."""
    model = study.fitted.model
    refits = jax.tree.map(jnp.asarray, study.fitted.refits)
    assets, mean, scale = study.config["assets"], *scaler(study)
    seen = [assets.index(asset) for asset in given]
    known = (np.array(list(given.values())) - mean[seen]) / scale[seen]
    means, logs = [], []
    for index in range(len(refits.seed)):
        variables = jax.tree.map(lambda leaf, index=index: leaf[index], refits.variables)
        rows = np.vstack([np.zeros(model.n_factors), np.eye(model.n_factors)])
        blank = make_batch(np.zeros((len(rows), len(assets))))
        decoded = model.decode(variables, jnp.asarray(rows, jnp.float32), blank)[0]
        means_of, noise = np.asarray(decoded.mean), np.exp(decoded.log_variance[0])
        bias, loadings = means_of[0], (means_of[1:] - means_of[0]).T
        covariance = loadings @ loadings.T + np.diag(noise)
        within, gap = covariance[np.ix_(seen, seen)], known - bias[seen]
        means.append(bias + covariance[:, seen] @ np.linalg.solve(within, gap))
        logs.append(-0.5 * (np.linalg.slogdet(within)[1] + gap @ np.linalg.solve(within, gap)))
    shares = np.exp(np.array(logs) - max(logs))
    return mean + scale * (shares / shares.sum() @ np.array(means))


def scaler(study):
    return study.arrays["scaler_mean"], study.arrays["scaler_scale"]


def test_scenarios_have_the_mixtures_conditional_mean(study, given, found):
    """Seeds count by how likely they find what is given."""
    error = found.to_numpy().std(axis=0) / np.sqrt(4000)
    gap = found.to_numpy().mean(axis=0) - mixture(study, given)
    assert (np.abs(gap) <= 6 * error + 1e-9).all()


def test_what_is_given_comes_back_exactly(given, found):
    for asset, value in given.items():
        assert (found[asset] == value).all()
    assert 0.5 * found.attrs["draws"] < found.attrs["effective_samples"] <= found.attrs["draws"]


def test_the_seed_fixes_the_scenarios(study, given, found):
    again = study.scenarios(4000, given=given, seed=3)
    assert again.equals(found)
    assert not study.scenarios(4000, given=given, seed=4).equals(found)


def test_a_sector_is_the_plain_mean_of_its_assets(study):
    sectors = ["Energy"] * 3 + ["Banks"] * 5
    labelled = replace(study, config={**study.config, "sectors": sectors})
    drawn = labelled.scenarios(500, given={"Energy": -0.02, study.config["assets"][6]: 0.01})
    np.testing.assert_allclose(drawn.iloc[:, :3].mean(axis=1), -0.02, atol=1e-6)
    assert drawn.iloc[:, 0].std() > 0.001
    both = {"Energy": -0.02, study.config["assets"][0]: 0.01}
    with pytest.raises(OptionError, match="comes alone and in its sector; keep one"):
        labelled.scenarios(500, given=both)


def test_few_effective_draws_are_warned_of(study, given, monkeypatch):
    monkeypatch.setattr(scenarios, "LEAST_SHARE", 1.0)
    with pytest.warns(UserWarning, match="the effective sample size is .* of .* draws"):
        study.scenarios(10, given=given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"STOK_01": 0.1}, "'STOK_01' is no asset of the study; did you mean"),
        ({"?": 0.1}, "loadings.csv lists them"),
        ({"A": np.nan}, "give a return, as -0.05"),
        (pd.Series({"A": "much"}), "A='much' is not a finite number"),
        ({}, "nothing is; name an asset"),
    ],
)
def test_bad_requests_are_one_line(study, given, message):
    with pytest.raises(OptionError, match="given: ") as raised:
        study.scenarios(10, given=given)
    assert message in str(raised.value)


def test_a_series_of_returns_is_given_as_a_dict_is(study, given):
    drawn = study.scenarios(200, given=pd.Series(given))
    pd.testing.assert_frame_equal(drawn, study.scenarios(200, given=given))


def test_what_lies_far_out_is_warned_of(study, given):
    asset = next(iter(given))
    with pytest.warns(UserWarning, match=rf"{asset}=10 is [\d,]+ standard deviations from its"):
        study.scenarios(8, given={asset: 10.0})
    with pytest.raises(OptionError, match=f"{asset} cannot lose more than all"):
        study.scenarios(8, given={asset: -1.5})


def test_every_asset_given_leaves_nothing_to_draw(study):
    with pytest.raises(OptionError, match="every asset is; leave out those to draw"):
        study.scenarios(10, given=dict.fromkeys(study.config["assets"], 0.0))
