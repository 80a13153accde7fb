"""The memory of the past against loops in NumPy, an oracle for its factor analysis, and time."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import softmax
from scipy.stats import multivariate_t

from jaxvae.baselines import fit_factor_analysis
from jaxvae.models import TemporalConfig
from jaxvae.models.memory import Estimates, MemorySettings, _em_step, blank, update
from jaxvae.models.model import remember

SETTINGS, N_FACTORS, N_ASSETS = MemorySettings((1.0, 5.0, 20.0), (10.0, 30.0)), 2, 5
MODEL = TemporalConfig(N_FACTORS + 1, *SETTINGS[:2]).build(N_ASSETS)
VALUES = np.random.default_rng(0).standard_t(5, size=(30, N_ASSETS))


def recall(values):
    """What each date is told, a row a date."""
    past, _ = remember(MODEL, values)
    parts = [np.asarray(part).reshape(len(values), -1) for part in jax.tree.leaves(past)]
    return np.concatenate(parts, axis=1)


def em(products, loadings, noise):
    """Two steps of EM in the textbook's form, by inverses of assets × assets."""
    for _ in range(2):
        beta = loadings @ np.linalg.inv(loadings.T @ loadings + np.diag(noise))
        moment = np.eye(len(loadings)) - beta @ loadings.T + beta @ products @ beta.T
        loadings = np.linalg.solve(moment, beta @ products)
        noise = np.maximum(np.diag(products - loadings.T @ beta @ products), 0.02)
    return loadings, noise


def towards_axes(loadings, noise):
    """A step of orthogonal iteration, by QR."""
    precision = np.eye(len(loadings)) + (loadings / noise) @ loadings.T
    rotation, triangle = np.linalg.qr(precision)
    return (rotation * np.sign(np.diag(triangle))).T @ loadings


def densities(scale_matrices, row, seen):
    """Log density of a date, t with six degrees of freedom and these covariances."""
    where, mean = np.ix_(seen, seen), np.zeros(seen.sum())
    if not seen.any():
        return np.zeros(len(scale_matrices))
    return np.array(
        [multivariate_t(mean, c[where] * 4 / 6, 6).logpdf(row[seen]) for c in scale_matrices]
    )


def mean_absolutes(products, scaled, seen):
    """Of a date's uncorrelated returns, by each speed's products."""
    where = np.ix_(seen, seen)
    both = [0.5 * one + 0.5 * products[-1] for one in products]
    return np.array(
        [np.abs(np.linalg.solve(np.linalg.cholesky(s[where]), scaled[seen])).mean() for s in both]
    )


def by_hand(values):
    """What each date is told, and of the one after the last."""
    fast, slow = (0.5 ** (1 / np.array(half)) for half in SETTINGS[:2])
    memory = blank(SETTINGS, N_FACTORS, N_ASSETS)
    now = {**memory._asdict(), **memory.estimates._asdict()}
    del now["estimates"]
    now = {name: np.array(part, np.float64) for name, part in now.items()}
    rows, row, seen = [], np.zeros(N_ASSETS), np.zeros(N_ASSETS)
    for date, returns in enumerate([*values, None]):
        parts = (*(now[name] for name in Estimates._fields), row, seen)
        rows.append(np.concatenate([part.ravel() for part in parts]))
        if returns is None:
            return np.array(rows)
        seen, row = np.isfinite(returns), np.nan_to_num(returns)
        variances = np.vstack([now["squares"], np.ones(N_ASSETS)]) + 1e-3
        scaled = row / np.sqrt(0.3 + 0.7 * softmax(now["scores"]) @ variances)
        single = [
            sum(densities([np.eye(1) * v], row[[a]], seen[[a]])[0] for a, v in enumerate(each))
            for each in variances
        ]
        joint = densities(0.5 * now["products"] + 0.5 * now["products"][-1:], scaled, seen)
        size = softmax(now["products_scores"]) @ mean_absolutes(now["products"], scaled, seen) ** 2
        if seen.any():
            level = 0.3 + 0.7 * softmax(now["scores"]) @ variances
            normal = 2 / np.pi + (1 - 2 / np.pi) / seen.sum()
            size *= np.exp(np.log(level).mean()) / normal
            early = np.minimum(fast, 1 - 1 / (20 + date + 1))
            now["sizes"] = early * now["sizes"] + (1 - early) * size
        for name, latest in (("scores", np.array(single)), ("products_scores", joint)):
            now[name] = 0.96 * now[name] + latest - latest.mean()
        decay = np.minimum([*slow, 1.0], 1 - 1 / (20 + date + 1))[:, None, None]
        moved = decay * now["products"] + (1 - decay) * np.outer(scaled, scaled)
        now["products"] = np.where(np.outer(seen, seen), moved, now["products"])
        both = 0.5 * now["products"] + 0.5 * now["products"][-1:]
        target = np.einsum("h,hab->ab", softmax(now["products_scores"]), both)
        scale = np.sqrt(0.3 / np.diag(target) + 0.7)
        target *= np.outer(scale, scale)
        now["loadings"], now["noise"] = em(target, now["loadings"], now["noise"])
        now["loadings"] = towards_axes(now["loadings"], now["noise"])
        for name, latest in (("squares", row**2), ("means", row)):
            blended = fast[:, None] * now[name] + (1 - fast[:, None]) * latest
            now[name] = np.where(seen, blended, now[name])
    raise AssertionError


def test_recursion_is_the_textbooks():
    expected = by_hand(VALUES)
    found = recall(VALUES)
    np.testing.assert_allclose(found, expected[:-1], atol=2e-4)
    later = recall(np.vstack([VALUES, VALUES[:1]]))
    np.testing.assert_allclose(later[-1:], expected[-1:], atol=2e-4)


def test_recursion_passes_over_missing_returns():
    holes = np.random.default_rng(3).random(VALUES.shape) < 0.2
    holed = np.where(holes, np.nan, VALUES)
    np.testing.assert_allclose(recall(holed), by_hand(holed)[:-1], atol=2e-4)


def test_an_asset_that_stands_still_and_wakes_has_floors():
    """Of the square that scales its return, and of its noise."""
    still = np.tile(VALUES, (8, 1))
    still[:, 2] = 0.0
    still[-2, 2] = 1.0
    found, expected = recall(still), by_hand(still)[:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    start = blank(SETTINGS, N_FACTORS, N_ASSETS)
    products = start.products[0].at[2, 2].set(0.0)
    assert _em_step(products, start.estimates.loadings, start.estimates.noise)[1][2] == jnp.float32(
        0.02
    )


def test_first_date_is_told_nothing():
    first, _ = remember(MODEL, VALUES[:1])
    assert (np.asarray(first.estimates.squares) == 1.0).all()
    assert (np.asarray(first.estimates.means) == 0.0).all()
    assert (np.asarray(first.estimates.sizes) == 1.0).all()
    assert (np.asarray(first.last) == 0.0).all()
    variances = np.sum(np.asarray(first.estimates.loadings) ** 2, axis=1) + np.asarray(
        first.estimates.noise
    )
    np.testing.assert_allclose(variances, 1.0, rtol=1e-6)


def test_factor_analysis_is_maximum_likelihood_where_the_past_stands_still():
    """EM from the blank start ends in scikit-learn's factor analysis of the same moments."""
    rng = np.random.default_rng(1)
    planted = np.array([[0.8, 0.7, 0.6, 0.3, 0.2], [-0.1, -0.2, 0.3, 0.7, 0.6]])
    values = rng.normal(size=(1000, 2)) @ planted + 0.7 * rng.normal(size=(1000, N_ASSETS))
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    products = jnp.asarray(values.T @ values / len(values), jnp.float32)
    start = blank(SETTINGS, N_FACTORS, N_ASSETS)
    loadings, noise = jax.lax.fori_loop(
        0,
        3000,
        lambda _, now: _em_step(products, *now),
        (start.estimates.loadings, start.estimates.noise),
    )
    found = np.asarray(loadings).T @ np.asarray(loadings) + np.diag(noise)
    np.testing.assert_allclose(found, fit_factor_analysis(values, 2).scatter, atol=0.01)


def test_nothing_that_a_date_is_told_looks_ahead():
    """The gradient of it in returns of that date or later is zero, exactly."""
    values = jnp.asarray(VALUES[:8], jnp.float32)

    def past_of(values):
        parts = jax.tree.leaves(remember(MODEL, values)[0])
        return sum(jnp.sum(part.reshape(len(values), -1) ** 2, axis=1) for part in parts)

    slopes = np.abs(np.asarray(jax.jacobian(past_of)(values))).max(axis=2)
    assert (np.triu(slopes) == 0.0).all()
    assert (slopes[np.tril_indices(8, -1)] > 0.0).all()


def test_sizes_are_the_variance_that_all_assets_share():
    """1 on average where returns are normal, whatever their correlations, and three times as large
    in each asset's units nine times."""
    rng = np.random.default_rng(6)
    values = rng.normal(size=(3000, N_ASSETS)) + 1.5 * rng.normal(size=(3000, 1))
    values /= values.std(axis=0)
    past, _ = remember(MODEL, values)
    np.testing.assert_allclose(np.asarray(past.estimates.sizes)[1000:].mean(axis=0), 1.0, atol=0.08)
    wild, _ = remember(MODEL, np.vstack([values, 3.0 * values[:60]]))
    assert 5.0 < np.asarray(wild.estimates.sizes)[-30:, 0].mean() < 12.0


def test_factors_turn_to_principal_axes_and_stay():
    """Where the past stands still Λ Ψ⁻¹ Λᵀ ends diagonal, largest first."""
    rng = np.random.default_rng(2)
    planted = np.array([[0.8, 0.7, 0.6, 0.3, 0.2], [-0.1, -0.2, 0.3, 0.7, 0.6]])
    values = rng.normal(size=(600, 2)) @ planted + 0.7 * rng.normal(size=(600, N_ASSETS))
    _, (memory, _) = remember(MODEL, values / values.std(axis=0))
    loadings, noise = np.asarray(memory.estimates.loadings), np.asarray(memory.estimates.noise)
    information = (loadings / noise) @ loadings.T
    assert information[0, 0] > information[1, 1] > 0.1
    assert abs(information[0, 1]) < 0.1 * information[1, 1]


def test_scores_favour_what_forecasts():
    """The level on noise, a fast average after volatility has jumped."""
    rng = np.random.default_rng(4)
    noise = rng.normal(size=(400, N_ASSETS))
    _, (calm, _) = remember(MODEL, noise)
    assert np.argmax(calm.estimates.scores) == len(SETTINGS.squares)
    _, (jumped, _) = remember(MODEL, np.vstack([noise, 6.0 * rng.normal(size=(8, N_ASSETS))]))
    assert np.argmax(jumped.estimates.scores) < len(SETTINGS.squares) - 1


def test_products_that_gaps_leave_without_a_density_count_in_no_score():
    """Nor do they spoil the factor analysis: the last one stays."""
    unit = jnp.eye(N_ASSETS)
    impossible = unit - 3.0 * (1.0 - unit)
    memory = blank(SETTINGS, N_FACTORS, N_ASSETS)
    memory = memory._replace(
        products=jnp.broadcast_to(impossible, memory.products.shape),
        products_scores=jnp.array([1.0, 0.0, -1.0]),
    )
    moved = update(memory, jnp.ones(N_ASSETS), SETTINGS)
    np.testing.assert_allclose(moved.products_scores, [0.96, 0.0, -0.96], rtol=1e-6)
    assert all(np.isfinite(part).all() for part in jax.tree.leaves(moved))


def test_a_missing_return_moves_nothing_of_its_asset():
    holed = VALUES.copy()
    holed[10, 1] = np.nan
    (found, _), (whole, _) = remember(MODEL, holed), remember(MODEL, VALUES)
    assert all(np.isfinite(part).all() for part in jax.tree.leaves(found))
    others = [asset for asset in range(N_ASSETS) if asset != 1]
    np.testing.assert_array_equal(
        found.estimates.squares[11, :, 1], found.estimates.squares[10, :, 1]
    )
    np.testing.assert_array_equal(found.estimates.means[11, :, 1], found.estimates.means[10, :, 1])
    np.testing.assert_array_equal(
        found.estimates.squares[11, :, others], whole.estimates.squares[11, :, others]
    )
    assert found.last[11, 1] == 0.0
    np.testing.assert_array_equal(found.estimates.squares[:11], whole.estimates.squares[:11])
