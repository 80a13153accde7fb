"""GARCH margins against `arch`'s own variances and likelihoods."""

import sys

import numpy as np
import pytest

from jaxvae.baselines.garch import fit_garch, fit_gjr
from jaxvae.errors import MissingExtraError


def simulated(n_dates=1500, leverage=0.15):
    """Of two assets, the first symmetric, the second with leverage."""
    rng, values = np.random.default_rng(0), np.empty((n_dates, 2))
    variance, gamma = np.ones(2), np.array([0.0, leverage])
    for row in values:
        row[:] = np.sqrt(variance * 6 / 8) * rng.standard_t(8, size=2)
        variance = 0.05 + (0.08 + gamma * (row < 0)) * row**2 + (0.87 - gamma / 2) * variance
    return values


VALUES = simulated()


def test_variances_and_likelihoods_are_archs():
    arch = pytest.importorskip("arch")
    plain = fit_garch(VALUES)
    for n_leverage, law in ((0, plain), (1, fit_gjr(VALUES, plain))):
        found = law.innovations(VALUES)
        for asset in range(2):
            model = arch.arch_model(
                VALUES[:, asset], p=1, o=n_leverage, q=1, dist="t", rescale=False
            )
            names = ("mean", "constant", "reaction", "leverage", "decay", "df")
            point = [
                getattr(law, name)[asset] for name in names if n_leverage or name != "leverage"
            ]
            theirs = model.fix(point)
            variances = theirs.conditional_volatility**2
            np.testing.assert_allclose(found.variances[:, asset], variances, rtol=1e-8)
            total = found.log_density[:, asset].sum()
            np.testing.assert_allclose(total, theirs.loglikelihood, rtol=1e-8)


def test_leverage_is_found_where_it_is_and_never_costs_likelihood():
    pytest.importorskip("arch")
    plain = fit_garch(VALUES)
    free = fit_gjr(VALUES, plain)
    gain = (free.innovations(VALUES).log_density - plain.innovations(VALUES).log_density).sum(
        axis=0
    )
    assert (gain >= 0).all()
    assert gain[1] > 5.0
    assert not plain.leverage.any()
    np.testing.assert_allclose(free.leverage[1], 0.15, atol=0.07)
    np.testing.assert_allclose(plain.df, 8.0, atol=3.0)


def test_standardised_innovations_are_uniform_tails():
    pytest.importorskip("arch")
    found = fit_garch(VALUES).innovations(VALUES)
    levels = np.where(found.values < 0, found.tails, 1 - found.tails)
    for order in (0.05, 0.5, 0.95):
        np.testing.assert_allclose((levels < order).mean(axis=0), order, atol=0.03)


def test_without_arch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "arch", None)
    with pytest.raises(MissingExtraError, match=r"jaxvae\[garch\]"):
        fit_garch(VALUES)
