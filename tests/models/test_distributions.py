"""Densities against SciPy: Gaussian, multivariate Student-t, independent Student-t's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from laplace import Laplace
from scipy import stats

from jaxvae.models.distributions import CorrelatedGaussian, Distribution, Gaussian
from jaxvae.models.student_t import CorrelatedT, IndependentT, StudentT

RNG = np.random.default_rng(0)
MEAN, LOG_SCALE, VALUES = (jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32) for _ in range(3))
ALL = jnp.ones((4, 3))
SOME = jnp.array([[1.0, 0.0, 1.0]] * 4)
FREEDOM = jnp.array([3.0, 8.0, 40.0, 1e5])
FREEDOMS = jnp.broadcast_to(jnp.array([3.0, 8.0, 40.0]), (4, 3))
GAUSSIAN = Gaussian(MEAN, LOG_SCALE)
STUDENT = StudentT(MEAN, LOG_SCALE, FREEDOM)
INDEPENDENT = IndependentT(MEAN, LOG_SCALE, FREEDOMS)


def cells(density):
    """SciPy's log density of each cell."""
    scale = np.exp(0.5 * np.asarray(LOG_SCALE, float))
    if isinstance(density, Gaussian):
        return stats.norm.logpdf(VALUES, MEAN, scale)
    return stats.t.logpdf(VALUES, np.asarray(density.df, float), MEAN, scale)


def multivariate_t(columns):
    """SciPy's joint log density of some columns."""
    scale = np.exp(np.asarray(LOG_SCALE, float))
    rows = zip(VALUES, MEAN, scale, np.asarray(FREEDOM, float), strict=True)
    return [
        stats.multivariate_t.logpdf(x[columns], m[columns], np.diag(s[columns]), df=v)
        for x, m, s, v in (tuple(np.asarray(part, float) for part in row) for row in rows)
    ]


@pytest.mark.parametrize("density", [GAUSSIAN, INDEPENDENT])
def test_log_density_of_independent_variables_is_scipys(density):
    found = density.log_prob(VALUES, ALL)
    np.testing.assert_allclose(found, cells(density).sum(axis=1), rtol=1e-5, atol=1e-5)
    some = density.log_prob(VALUES, SOME)
    np.testing.assert_allclose(some, cells(density)[:, [0, 2]].sum(axis=1), rtol=1e-5)


def test_log_density_of_a_multivariate_t_is_scipys():
    found = STUDENT.log_prob(VALUES, ALL)
    np.testing.assert_allclose(found, multivariate_t([0, 1, 2]), rtol=1e-5, atol=2e-5)


def test_the_marginal_of_a_multivariate_t_keeps_its_freedom():
    found = STUDENT.log_prob(VALUES, SOME)
    np.testing.assert_allclose(found, multivariate_t([0, 2]), rtol=1e-5, atol=2e-5)


def test_a_large_freedom_is_a_gaussian():
    heavy = StudentT(MEAN, LOG_SCALE, jnp.full(4, 1e6))
    expected = GAUSSIAN.log_prob(VALUES, ALL)
    np.testing.assert_allclose(heavy.log_prob(VALUES, ALL), expected, atol=1e-4)


@pytest.mark.parametrize("density", [GAUSSIAN, STUDENT, INDEPENDENT])
def test_nothing_used_has_no_density(density):
    """And no NaN in its gradient."""
    nothing = jnp.zeros((4, 3))
    np.testing.assert_array_equal(density.log_prob(VALUES, nothing), jnp.zeros(4))
    slope = jax.grad(lambda x: jnp.sum(density.log_prob(x, nothing)))(VALUES)
    np.testing.assert_array_equal(slope, nothing)


@pytest.mark.slow
@pytest.mark.parametrize("density", [GAUSSIAN, STUDENT, INDEPENDENT])
def test_draws_have_the_variance(density):
    """Rows and columns of eight degrees of freedom or more, whose fourth moments exist."""
    keys = jax.random.split(jax.random.key(0), 100_000)
    draws = np.asarray(jax.vmap(lambda key: density.sample(key))(keys), float)
    moments = draws.mean(axis=0), draws.var(axis=0), np.asarray(density.variance, float)
    mean, found, expected = (part[1:, 1:] for part in moments)
    np.testing.assert_allclose(mean, MEAN[1:, 1:], atol=6 * np.sqrt(expected.max() / 1e5))
    np.testing.assert_allclose(found, expected, rtol=0.04)


@pytest.mark.parametrize("df", [2.5, 6.0, 1e6])
def test_draws_of_independent_t_have_its_distribution(df):
    """By Kolmogorov's test, the tails included: heavy ones, usual ones, and a normal's."""
    zeros = jnp.zeros((20_000, 1))
    draws = IndependentT(zeros + 3.0, zeros + np.log(4.0), jnp.full((1, 1), df)).sample(
        jax.random.key(2)
    )
    standard = (np.asarray(draws[:, 0], np.float64) - 3.0) / 2.0
    assert stats.kstest(standard, stats.t(df).cdf).pvalue > 0.01
    beyond = stats.t(df).isf(1e-3)
    assert abs((np.abs(standard) > beyond).mean() - 2e-3) < 4 * np.sqrt(2e-3 / len(standard))


@pytest.mark.slow
def test_draws_of_a_multivariate_t_share_their_mixing_variable():
    """Squares are correlated in a multivariate t, not in independent ones."""
    keys = jax.random.split(jax.random.key(1), 50_000)
    together = jax.vmap(lambda key: STUDENT.sample(key)[1])(keys)
    apart = jax.vmap(lambda key: INDEPENDENT.sample(key)[1])(keys)
    squares = [(np.asarray(x) - np.asarray(MEAN[1])) ** 2 for x in (together, apart)]
    joint, separate = (np.corrcoef(s[:, 1], s[:, 2])[0, 1] for s in squares)
    assert joint > 0.1
    assert abs(separate) < 0.02


def test_the_variance_of_too_heavy_tails_is_infinite():
    assert np.isinf(StudentT(MEAN, LOG_SCALE, jnp.full(4, 1.5)).variance).all()


@pytest.mark.parametrize("density", [GAUSSIAN, STUDENT, INDEPENDENT])
def test_precision_is_the_slope_over_the_residual(density):
    """-∂ log p/∂x = precision · (x - μ): the weights of reweighted least squares."""
    slope = jax.grad(lambda x: jnp.sum(density.log_prob(x, ALL)))(VALUES)
    found = -density.precision(VALUES, ALL) * (VALUES - MEAN)
    np.testing.assert_allclose(found, slope, rtol=2e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("density", [GAUSSIAN, INDEPENDENT])
def test_scale_information_is_the_mean_squared_slope(density):
    def slope(key):
        x = density.sample(key)

        def score(log_scale):
            moved = density.replace(**{name: log_scale})
            return jnp.sum(moved.log_prob(x, ALL))

        return jax.grad(score)(LOG_SCALE) ** 2

    name = "log_variance" if density is GAUSSIAN else "log_scale"
    keys = jax.random.split(jax.random.key(2), 50_000)
    found = jnp.mean(jax.vmap(slope)(keys), axis=0)
    np.testing.assert_allclose(found, density.scale_information, rtol=0.05)


def test_the_divergence_of_ones_own_is_without_bias():
    """KL(Laplace(μ, b) ‖ N(0, 1)) = ½ ln 2π - 1 - ln 2b + ½ (μ² + 2b²), over the variables used."""
    posterior = Laplace(MEAN, jnp.exp(0.5 * LOG_SCALE))
    prior = Gaussian(jnp.zeros((4, 3)), jnp.zeros((4, 3)))

    def estimate(key):
        return posterior.kl(prior, posterior.draw(jnp.zeros((4, 3)), key), SOME)

    found = jax.vmap(estimate)(jax.random.split(jax.random.key(3), 40_000))
    mean, scale = np.asarray(MEAN, float), np.exp(0.5 * np.asarray(LOG_SCALE, float))
    cells = 0.5 * np.log(2 * np.pi) - 1 - np.log(2 * scale) + 0.5 * (mean**2 + 2 * scale**2)
    error = np.std(found, axis=0) / 200
    assert (np.abs(np.mean(found, axis=0) - cells[:, [0, 2]].sum(axis=1)) < 5 * error).all()
    by_factor = posterior.factor_kl(prior, SOME)
    assert (np.asarray(by_factor) >= 0.0).all()
    assert not by_factor[:, 1].any()


LAWS = {
    "laplace": (Laplace, stats.laplace),
    "gaussian": (lambda mean, scale: Gaussian(mean, 2.0 * jnp.log(scale)), stats.norm),
    "independent t": (
        lambda mean, scale: IndependentT(mean, 2.0 * jnp.log(scale), jnp.full((1, 3), 5.0)),
        stats.t(5.0),
    ),
}


@pytest.mark.parametrize("law", LAWS)
def test_a_draw_is_completed_given_portfolios(law):
    """The first asset alone, and the gap of the others: moments and density by quadrature."""
    location, scale = np.array([0.2, -0.5, 0.4]), np.array([0.7, 1.0, 0.5])
    weights, returns = np.array([[2.0, 0, 0], [0, 1.0, -1.0]]), np.array([0.6, 1.5])
    n, (make, frozen) = 40_000, LAWS[law]
    density = make(*(jnp.asarray(np.tile(part, (n, 1)), jnp.float32) for part in (location, scale)))
    known = tuple(jnp.asarray(part, jnp.float32) for part in (weights, returns))

    def pdf(x, asset):
        return frozen.pdf((x - location[asset]) / scale[asset]) / scale[asset]

    values, log_weights = density.complete(jax.random.key(4), *known)
    portfolios = density.portfolios(known[0])
    log_weights += portfolios.log_prob(jnp.broadcast_to(known[1], (n, 2)), jnp.ones((n, 2)))
    np.testing.assert_allclose(values @ known[0].T, np.broadcast_to(returns, (n, 2)), atol=1e-5)
    grid = np.linspace(-40.0, 40.0, 400_001)
    joint = pdf(grid, 1) * pdf(grid - returns[1], 2)
    of_sum = np.trapezoid(joint, grid)
    alone = pdf(returns[0] / 2.0, 0) / 2.0
    weight = np.exp(np.asarray(log_weights, float))
    error = 5 * weight.std() / n**0.5 + 1e-5
    assert np.mean(weight) == pytest.approx(of_sum * alone, abs=error)
    expected = np.trapezoid(grid * joint, grid) / of_sum
    second = np.asarray(values[:, 1], float)
    share = weight / weight.sum()
    error = 5 * np.sqrt(np.sum(share**2 * (second - expected) ** 2))
    assert share @ second == pytest.approx(expected, abs=error)


ROOT = jnp.asarray(np.tril(RNG.normal(size=(4, 3, 3))) + 2.0 * np.eye(3), jnp.float32)


@pytest.mark.parametrize("df", [None, 9.0])
def test_correlated_variables_are_scipys(df):
    """Normal, and Student-t."""
    if df is None:
        density, law, ratio = CorrelatedGaussian(MEAN, ROOT), stats.multivariate_normal.logpdf, 1.0
    else:
        density, ratio = CorrelatedT(MEAN, ROOT, jnp.full(4, df)), df / (df - 2.0)
        law = functools.partial(stats.multivariate_t.logpdf, df=df)
    scatter = np.einsum("rik,rjk->rij", *2 * (np.asarray(ROOT, float),))
    rows = list(zip(np.asarray(VALUES, float), np.asarray(MEAN, float), scatter, strict=True))
    for used, o in ((ALL, [0, 1, 2]), (SOME, [0, 2])):
        expected = [law(x[o], m[o], c[np.ix_(o, o)]) for x, m, c in rows]
        np.testing.assert_allclose(density.log_prob(VALUES, used), expected, rtol=1e-5)
    np.testing.assert_allclose(density.variance, ratio * np.diagonal(scatter, 0, 1, 2), rtol=1e-5)
    keys = jax.random.split(jax.random.key(5), 50_000)
    draws = np.asarray(jax.vmap(density.sample)(keys), float)[:, 1]
    np.testing.assert_allclose(np.cov(draws.T), ratio * scatter[1], rtol=0.06, atol=0.06)


def test_a_kind_that_leaves_a_method_out_is_named():
    """Whoever writes a distribution is told which of its methods a study wants."""

    class Bare(Distribution):
        mean: Array

    bare = Bare(jnp.zeros((1, 2)))
    with pytest.raises(TypeError, match=r"Bare has no method log_prob\(values, used\)"):
        bare.log_prob(bare.mean, bare.mean)
    with pytest.raises(TypeError, match=r"Bare has no method sample\(key\)"):
        bare.draw(bare.mean, jax.random.key(0))
