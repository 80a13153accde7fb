"""The memory of the past against loops in NumPy, an oracle for its factor analysis, and time."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.analysis.baselines import fit_factor_analysis
from jaxvae.models.memory import (
    Speeds,
    _em_step,
    blank,
    flatten,
    recall,
    recurrence,
    size,
    unflatten,
)

SPEEDS, N_FACTORS, N_ASSETS = Speeds((1.0, 5.0, 20.0), 1, 30.0), 2, 5
PAST = recurrence(SPEEDS, N_FACTORS, N_ASSETS)
VALUES = np.random.default_rng(0).standard_t(5, size=(30, N_ASSETS))


def em(products, loadings, noise):
    """Two steps of EM in the textbook's form, by inverses of assets × assets."""
    for _ in range(2):
        beta = loadings @ np.linalg.inv(loadings.T @ loadings + np.diag(noise))
        moment = np.eye(len(loadings)) - beta @ loadings.T + beta @ products @ beta.T
        loadings = np.linalg.solve(moment, beta @ products)
        noise = np.maximum(np.diag(products - loadings.T @ beta @ products), 0.02)
    return loadings, noise


def by_hand(values):
    """Conditions of each date, and of the one after the last."""
    fast, slow = 0.5 ** (1 / np.array(SPEEDS.squares))[:, None], 0.5 ** (1 / SPEEDS.products)
    products, loadings, noise, squares, means = (
        np.array(part, np.float64) for part in blank(SPEEDS, N_FACTORS, N_ASSETS)
    )
    rows, last = [], np.zeros(N_ASSETS)
    for row in [*values, None]:
        parts = (loadings, noise, squares, means, last)
        rows.append(np.concatenate([part.ravel() for part in parts]))
        if row is None:
            return np.array(rows)
        seen, last = np.isfinite(row), np.nan_to_num(row)
        scaled = last / np.sqrt(np.maximum(squares[SPEEDS.base], 1e-3))
        moved = slow * products + (1 - slow) * np.outer(scaled, scaled)
        products = np.where(np.outer(seen, seen), moved, products)
        loadings, noise = em(products, loadings, noise)
        squares = np.where(seen, fast * squares + (1 - fast) * last**2, squares)
        means = np.where(seen, fast * means + (1 - fast) * last, means)
    raise AssertionError


def test_recursion_is_the_textbooks():
    expected = by_hand(VALUES)
    found = recall(VALUES, PAST)
    assert found.shape == (len(VALUES), size(SPEEDS, N_FACTORS, N_ASSETS))
    np.testing.assert_allclose(found, expected[:-1], atol=2e-4)
    later = recall(np.vstack([VALUES, VALUES[:1]]), PAST)
    np.testing.assert_allclose(later[-1:], expected[-1:], atol=2e-4)


def test_recursion_passes_over_missing_returns():
    holes = np.random.default_rng(3).random(VALUES.shape) < 0.2
    holed = np.where(holes, np.nan, VALUES)
    np.testing.assert_allclose(recall(holed, PAST), by_hand(holed)[:-1], atol=2e-4)


def test_an_asset_that_stands_still_and_wakes_has_floors():
    """Of the square that scales its return, and of its noise."""
    still = np.tile(VALUES, (8, 1))
    still[:, 2] = 0.0
    still[-2, 2] = 1.0
    found, expected = recall(still, PAST), by_hand(still)[:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    noise = unflatten(jnp.asarray(found, jnp.float32), SPEEDS, N_FACTORS, N_ASSETS).noise[:, 2]
    assert noise[-2] == jnp.float32(0.02)
    assert noise[-1] > 1.0


def test_first_date_is_told_nothing():
    first = unflatten(jnp.asarray(recall(VALUES, PAST)[:1]), SPEEDS, N_FACTORS, N_ASSETS)
    assert (np.asarray(first.squares) == 1.0).all()
    assert (np.asarray(first.means) == 0.0).all()
    assert (np.asarray(first.last) == 0.0).all()
    variances = np.sum(np.asarray(first.loadings) ** 2, axis=1) + np.asarray(first.noise)
    np.testing.assert_allclose(variances, 1.0, rtol=1e-6)


def test_flat_and_unfold_are_inverse():
    memory = blank(SPEEDS, N_FACTORS, N_ASSETS)
    again = unflatten(flatten(memory, jnp.arange(5.0))[None], SPEEDS, N_FACTORS, N_ASSETS)
    for part, known in zip(again, (*memory[1:], jnp.arange(5.0)), strict=True):
        np.testing.assert_array_equal(part[0], known)


def test_factor_analysis_is_maximum_likelihood_where_the_past_stands_still():
    """EM from the blank start ends in scikit-learn's factor analysis of the same moments."""
    rng = np.random.default_rng(1)
    planted = np.array([[0.8, 0.7, 0.6, 0.3, 0.2], [-0.1, -0.2, 0.3, 0.7, 0.6]])
    values = rng.normal(size=(1000, 2)) @ planted + 0.7 * rng.normal(size=(1000, N_ASSETS))
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    products = jnp.asarray(values.T @ values / len(values), jnp.float32)
    start = blank(SPEEDS, N_FACTORS, N_ASSETS)
    loadings, noise = jax.lax.fori_loop(
        0, 3000, lambda _, now: _em_step(products, *now), (start.loadings, start.noise)
    )
    found = np.asarray(loadings).T @ np.asarray(loadings) + np.diag(noise)
    np.testing.assert_allclose(found, fit_factor_analysis(values, 2).scatter, atol=0.01)


def test_no_condition_looks_ahead():
    """The gradient of a date's conditions in returns of that date or later is zero, exactly."""
    values = jnp.asarray(VALUES[:8], jnp.float32)

    def conditions(values):
        from jaxvae.models.memory import _recall

        return jnp.sum(_recall(values, PAST) ** 2, axis=1)

    slopes = np.abs(np.asarray(jax.jacobian(conditions)(values))).max(axis=2)
    assert (np.triu(slopes) == 0.0).all()
    assert (slopes[np.tril_indices(8, -1)] > 0.0).all()


def test_a_missing_return_moves_nothing_of_its_asset():
    holed = VALUES.copy()
    holed[10, 1] = np.nan
    found = recall(holed, PAST)
    assert np.isfinite(found).all()
    said = unflatten(jnp.asarray(found, jnp.float32), SPEEDS, N_FACTORS, N_ASSETS)
    whole = unflatten(jnp.asarray(recall(VALUES, PAST), jnp.float32), SPEEDS, N_FACTORS, N_ASSETS)
    others = [asset for asset in range(N_ASSETS) if asset != 1]
    np.testing.assert_array_equal(said.squares[11, :, 1], said.squares[10, :, 1])
    np.testing.assert_array_equal(said.means[11, :, 1], said.means[10, :, 1])
    np.testing.assert_array_equal(said.squares[11, :, others], whole.squares[11, :, others])
    assert said.last[11, 1] == 0.0
    np.testing.assert_array_equal(said.squares[:11], whole.squares[:11])
