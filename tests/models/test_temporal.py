"""The temporal VAE: closed forms where its noise is Gaussian, no look ahead, clusters in paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from jaxvae.analysis.risk import autocorrelation
from jaxvae.baselines.garch import Garch
from jaxvae.baselines.garch_copula import GarchCopula, copula_quantiles
from jaxvae.errors import OptionError
from jaxvae.inference.forecasts import generate_paths, sample_paths, sample_portfolio
from jaxvae.inference.importance import log_likelihood
from jaxvae.inference.members import Fitted
from jaxvae.integrations.sklearn import VAEFactors
from jaxvae.models import AdditiveConfig, TemporalConfig, make_batch, memory, take_rows
from jaxvae.models.memory import MemorySettings
from jaxvae.models.model import Recurrence, remember
from jaxvae.models.temporal import BY_ASSET, _starts

pytestmark = pytest.mark.slow

N_ASSETS, N_ROWS = 5, 40
CONFIG = TemporalConfig(3, half_lives=(1.0, 5.0, 20.0), products=(10.0, 30.0))
MODEL = CONFIG.build(N_ASSETS)
STARTS = _starts(CONFIG, N_ASSETS)
VALUES = np.random.default_rng(0).standard_t(5, size=(N_ROWS, N_ASSETS))
BATCH = make_batch(VALUES, past=remember(MODEL, VALUES)[0])
PATHS = jax.jit(sample_paths, static_argnums=(1, 4, 5, 6))
NO_PAST = MODEL.recurrence.start(), jnp.full(N_ASSETS, jnp.nan)


def member(volatility=0.3, freedom=8.0, persistence=0.5, seed=0):
    """Variables in which nothing is at its start, so that every path through the model is open."""
    variables = MODEL.initialise(jax.random.key(seed), BATCH)
    leaves, tree = jax.tree.flatten(variables.parameters)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    moved = [
        leaf + 0.1 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    parameters = jax.tree.unflatten(tree, moved)
    put(parameters, "decoder", "volatility", volatility)
    put(parameters, "decoder", "log_df", np.log(freedom - 2.0))
    put(parameters, "decoder", "own_log_df", 0.0)
    if not volatility:
        put(parameters, "decoder", "own_volatility", 0.0)
    put(parameters, "prior", "persistence", np.arctanh(persistence))
    return variables._replace(parameters=parameters)


def put(parameters, group, name, value):
    """Set a parameter, which is held as its deviation from where training starts."""
    start = STARTS[group][name]
    deviation = (np.broadcast_to(value, start.value.shape) - start.value) / start.reach
    parameters[group][name] = jnp.asarray(deviation, jnp.float32)


@pytest.fixture(scope="module")
def gaussian():
    """Without a surprise in volatility and with ν of a million, returns given the past are normal:
    variables, and mean and covariance of each row."""
    variables = member(volatility=0.0, freedom=1e6)
    prior = MODEL.prior(variables, jnp.zeros((N_ROWS, 3)), BATCH)
    units = [jnp.tile(unit, (N_ROWS, 1)) for unit in (jnp.zeros(3), *jnp.eye(3)[1:])]
    decoded = [MODEL.decode(variables, unit, BATCH, False)[0] for unit in units]
    bias = np.asarray(decoded[0].mean, np.float64)
    slopes = np.stack([np.asarray(d.mean, np.float64) - bias for d in decoded[1:]], axis=1)
    noise = np.exp(np.asarray(decoded[0].log_scale, np.float64))
    spread = np.exp(np.asarray(prior.log_variance, np.float64))[:, 1:]
    mean = bias + np.einsum("rk,rka->ra", np.asarray(prior.mean, np.float64)[:, 1:], slopes)
    covariance = np.einsum("rka,rk,rkb->rab", slopes, spread, slopes)
    covariance += noise[:, :, None] * np.eye(N_ASSETS)
    return variables, prior, slopes, mean, covariance


def test_an_informed_batch_says_the_same():
    """Whether a model reads its past anew or finds it read."""
    variables, factors = member(), jnp.asarray(VALUES[:, :3], jnp.float32)
    told = MODEL.informed(variables, BATCH)
    for ask in (
        lambda batch: MODEL.encode(variables, batch, False)[0],
        lambda batch: MODEL.decode(variables, factors, batch, False)[0],
        lambda batch: MODEL.prior(variables, factors, batch),
    ):
        for one, other in zip(*map(jax.tree.leaves, (ask(BATCH), ask(told))), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)
    again = MODEL.informed(variables, told)
    assert jax.tree.structure(again) == jax.tree.structure(told)
    some = take_rows(told, jnp.array([3, 1]))
    np.testing.assert_array_equal(some.past.noise, told.past.noise[jnp.array([3, 1])])


def test_one_step_likelihood_is_the_normals(gaussian):
    variables, *_, mean, covariance = gaussian
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    estimate = run(jax.random.key(0), MODEL, variables, BATCH, n_samples=200)
    expected = [
        multivariate_normal(m, c).logpdf(x)
        for m, c, x in zip(mean, covariance, VALUES, strict=True)
    ]
    error = np.asarray(estimate.value) - expected
    assert (np.abs(error) < 5 * np.asarray(estimate.standard_error) + 1e-3).all()
    assert abs(error.mean()) < 0.02


def test_encoder_is_the_exact_posterior_mean_of_gaussian_factors():
    """With φ = 0, no bias and no shrinkage: E[z | x] = (P + W Ψ⁻¹ Wᵀ)⁻¹ W Ψ⁻¹ x, and the variance
    of a factor given the others is the inverse of that matrix's diagonal."""
    variables = member(volatility=0.0, freedom=1e6, persistence=0.0)
    parameters = variables.parameters
    put(parameters, "decoder", "bias", 0.0)
    put(parameters, "encoder", "shrinkage", 50.0)
    put(parameters, "encoder", "log_variance", 0.0)
    prior = MODEL.prior(variables, jnp.zeros((N_ROWS, 3)), BATCH)
    posterior, _ = MODEL.encode(variables, BATCH, False)
    found, spread = (np.asarray(part)[:, 1:] for part in jax.tree.leaves(posterior))
    for row in range(0, N_ROWS, 7):
        one = jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], BATCH)
        slopes, scale = [], None
        for unit in jnp.eye(3)[1:]:
            density, _ = MODEL.decode(variables, unit[None], one, False)
            slopes.append(np.asarray(density.mean[0], np.float64))
            scale = np.exp(np.asarray(density.log_scale[0], np.float64))
        weighted = np.array(slopes) / scale
        precision = np.diag(np.exp(-np.asarray(prior.log_variance[row, 1:], np.float64)))
        precision += weighted @ np.array(slopes).T
        exact = np.linalg.solve(precision, weighted @ VALUES[row])
        np.testing.assert_allclose(found[row], exact, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(np.exp(-spread[row]), np.diag(precision), rtol=1e-3)


def test_prior_is_an_autoregression_of_the_encoders_last_mean():
    """Its mean is φ times what the encoder says of the last returns, under today's conditions; the
    surprise in volatility has none."""
    variables = member(persistence=0.5)
    known = BATCH.past
    before = BATCH._replace(values=known.last, observed=known.last_seen)
    said = MODEL.encode(variables, before, False)[0].mean
    prior = MODEL.prior(variables, jnp.zeros((N_ROWS, 3)), BATCH)
    np.testing.assert_allclose(prior.mean[:, 1:], 0.5 * said[:, 1:], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(prior.mean[:, 0], 0.0)
    np.testing.assert_array_equal(prior.log_variance[:, 0], 0.0)
    assert np.ptp(np.asarray(prior.log_variance[:, 1])) > 1e-3


def test_nothing_looks_ahead():
    """Gradients through memory and model are exactly zero: of the forecast of a date in the returns
    of that date and later ones, of its factors and likelihood in those of later ones."""
    variables, n_dates = member(), 8
    factors = jax.random.normal(jax.random.key(3), (n_dates, 3))

    def batch_of(values):
        ones = jnp.ones_like(values)
        return BATCH._replace(
            values=values, observed=ones, weights=ones[:, 0], past=remember(MODEL, values)[0]
        )

    def forecast(values):
        batch = batch_of(values)
        density, _ = MODEL.decode(variables, factors, batch, False)
        prior = MODEL.prior(variables, factors, batch)
        parts = [density.mean, density.log_scale, prior.mean, prior.log_variance]
        return sum(jnp.sum(jnp.sin(part), axis=1) for part in parts)

    def said(values):
        batch = batch_of(values)
        density, _ = MODEL.decode(variables, factors, batch, False)
        posterior, _ = MODEL.encode(variables, batch, False)
        filtered = sum(jnp.sum(jnp.sin(part), axis=1) for part in jax.tree.leaves(posterior))
        return filtered + density.log_prob(batch.values, batch.observed)

    values = jnp.asarray(VALUES[:n_dates], jnp.float32)
    ahead, of_today = (
        np.abs(np.asarray(jax.jacobian(function)(values))).max(axis=2)
        for function in (forecast, said)
    )
    before = np.tril_indices(n_dates, -1)
    assert (np.triu(ahead) == 0.0).all()
    assert (ahead[before] > 0.0).all()
    assert (np.triu(of_today, 1) == 0.0).all()
    assert (np.diagonal(of_today) > 0.0).all()
    assert (of_today[before] > 0.0).all()


def test_smoothing_is_filtering():
    """E[z_t | x_1 … x_T] is E[z_t | x_1 … x_t]: later dates leave the factors bit-equal."""
    variables = member()
    short = make_batch(VALUES[:25], past=remember(MODEL, VALUES[:25])[0])
    all_dates, filtered = (
        np.asarray(MODEL.encode(variables, batch, False)[0].mean) for batch in (BATCH, short)
    )
    np.testing.assert_allclose(all_dates[:25], filtered, rtol=1e-5, atol=1e-6)


def test_a_factor_out_of_use_decodes_to_nothing():
    variables = member()._replace(factor_mask=jnp.array([1.0, 1.0, 0.0]))
    at = jnp.tile(jnp.array([0.3, -0.5, 0.0]), (N_ROWS, 1))
    one, other = (MODEL.decode(variables, at.at[:, 2].set(z), BATCH, False)[0] for z in (0.0, 9.0))
    np.testing.assert_array_equal(one.mean, other.mean)
    posterior, _ = MODEL.encode(variables, BATCH, False)
    assert (np.asarray(posterior.mean[:, 2]) == 0.0).all()
    assert (np.asarray(posterior.log_variance[:, 2]) == 0.0).all()


def test_a_factor_out_of_use_has_no_say_on_the_others():
    said = []
    for gain in (1.0, 5.0):
        variables = member()._replace(factor_mask=jnp.array([1.0, 1.0, 0.0]))
        put(variables.parameters, "decoder", "gain", [1.0, gain])
        said.append(MODEL.encode(variables, BATCH, False)[0])
    np.testing.assert_array_equal(said[0].mean, said[1].mean)
    np.testing.assert_array_equal(said[0].log_variance, said[1].log_variance)


@pytest.mark.parametrize("used", [1.0, 0.0])
def test_variances_start_as_the_memorys_whatever_factors_are_in_use(used):
    """The memory's variance of an asset, 1 - κ + κ Σ w v, and correlations: a factor out of use is
    noise, and v half of the asset's own and half of what all assets share."""
    variables = MODEL.initialise(jax.random.key(0), BATCH)
    put(variables.parameters, "decoder", "volatility", 0.0)
    variables = variables._replace(factor_mask=jnp.array([1.0, 1.0, used]))
    units = (jnp.tile(unit, (N_ROWS, 1)) for unit in jnp.eye(3)[1:])
    one, other = (MODEL.decode(variables, unit, BATCH, False)[0] for unit in units)
    known = BATCH.past.estimates
    weights = np.asarray(jax.nn.softmax(0.3 * known.scores, axis=1))
    relative = (known.sizes + 1e-3) / (known.sizes[:, -1:] + 1e-3)
    averages = 0.5 * known.squares + 0.5 * known.squares[:, -1:] * relative[..., None]
    averages = np.concatenate([averages, np.ones((N_ROWS, 1, N_ASSETS))], axis=1)
    expected = 0.3 + 0.7 * np.einsum("rh,rha->ra", weights, averages)
    found = one.mean**2 + other.mean**2 + one.variance
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_surprise_moves_factors_and_noise_alike():
    """x = exp(½ l z_1 - ¼ l²) [W z + Ψ^½ ε] + b."""
    variables = member(volatility=0.3, freedom=8.0)
    put(variables.parameters, "decoder", "own_volatility", 0.0)
    put(variables.parameters, "decoder", "bias", 0.25)
    at = jnp.tile(jnp.array([0.0, 0.5, -1.0]), (N_ROWS, 1))
    calm, wild, none = (
        MODEL.decode(variables, factors, BATCH, False)[0]
        for factors in (at, at.at[:, 0].set(2.0), 0.0 * at)
    )
    np.testing.assert_allclose(none.mean, 0.25, atol=1e-6)
    np.testing.assert_allclose(wild.mean - 0.25, np.exp(0.3) * (calm.mean - 0.25), atol=1e-5)
    np.testing.assert_allclose(wild.log_scale, calm.log_scale + 0.6, atol=1e-5)
    np.testing.assert_allclose(calm.df, 8.0, rtol=1e-5)


def test_the_encoder_takes_its_surprise_out_of_the_factors():
    """Without shrinkage a date's fit is that of least squares, whatever the surprise."""
    fits = []
    for volatility in (0.0, 0.6):
        variables = member(volatility=volatility)
        for own in ("own_log_noise", "own_volatility", "own_log_df", "bias"):
            put(variables.parameters, "decoder", own, 0.0)
        put(variables.parameters, "encoder", "shrinkage", 50.0)
        factors = MODEL.encode(variables, BATCH, False)[0].mean
        fits.append(MODEL.decode(variables, factors, BATCH, False)[0].mean)
    np.testing.assert_allclose(fits[1], fits[0], rtol=1e-4, atol=1e-5)
    assert np.ptp(np.asarray(factors[:, 0])) > 0.1


def test_forecast_of_a_portfolio_has_the_normals_moments(gaussian):
    variables, *_, mean, covariance = gaussian
    weights = np.array([0.5, -0.2, 0.3, 0.1, 0.3])
    expected = np.einsum("a,rab,b->r", weights, covariance, weights)
    found_mean, found_variance, draws = jax.jit(
        sample_portfolio, static_argnames=("model", "n_draws")
    )(jax.random.key(0), MODEL, variables, BATCH, jnp.asarray(weights, jnp.float32), n_draws=4000)
    deviation = np.sqrt(expected)
    assert np.abs((found_mean - mean @ weights) / deviation).max() < 5 / np.sqrt(4000)
    np.testing.assert_allclose(found_variance, expected, rtol=0.12)
    np.testing.assert_allclose(np.var(np.asarray(draws), axis=0), expected, rtol=0.15)
    quantile = mean @ weights - 1.645 * deviation
    assert ((np.asarray(draws) < quantile).mean()) == pytest.approx(0.05, abs=0.004)


def test_settings_that_do_not_fit_are_named():
    for settings, words in (
        ({"half_lives": (0.0,)}, "half_lives: 0.0 is too small"),
        ({"products": (0.0,)}, "products: 0.0 is too small"),
        ({"n_factors": 1}, "n_factors: 1 is too small"),
    ):
        with pytest.raises(OptionError, match=words):
            TemporalConfig(**settings)
    with pytest.raises(OptionError, match="'temporal' knows more of a row"):
        VAEFactors(2, model="temporal").fit(VALUES)


def test_squared_returns_cluster_in_paths_of_a_memory_and_not_without():
    """A member's volatility follows its averages of past squares, here at the three speeds alike;
    without a reaction to them dates know nothing of each other."""
    moved = MODEL.initialise(jax.random.key(0), BATCH)
    put(moved.parameters, "scale", "trust", 0.0)
    still = jax.tree.map(jnp.copy, moved.parameters)
    put(still, "scale", "reaction", -50.0)
    for name in ("gain", "noise_slope"):
        put(still, "decoder", name, 0.0)
    found = []
    for parameters in (moved.parameters, still):
        variables = moved._replace(parameters=parameters)
        drawn = PATHS(jax.random.key(1), MODEL, variables, NO_PAST, N_ASSETS, 600, 40)
        squares = np.asarray(drawn, np.float64).transpose(1, 0, 2)[:, 100:] ** 2
        lags = [np.nanmean(autocorrelation(np.minimum(path, 25), 10)) for path in squares]
        found.append((np.mean(lags), np.std(lags) / np.sqrt(len(lags))))
    (clusters, error), (none, none_error) = found
    assert clusters > 0.01 + 5 * error
    assert abs(none + 1 / 500) < 5 * none_error


def test_paths_go_on_from_their_last_returns():
    """φ of .8 ties the assets' mean, which the first return factor moves, to the last date's."""
    variables = MODEL.initialise(jax.random.key(0), BATCH)
    put(variables.parameters, "prior", "persistence", np.arctanh(0.8))
    rng = np.random.default_rng(8)
    panel = rng.normal(size=(300, N_ASSETS)) + 2.0 * rng.normal(size=(300, 1))
    _, end = remember(MODEL, panel / panel.std(axis=0))
    drawn = PATHS(jax.random.key(2), MODEL, variables, end, N_ASSETS, 600, 40)
    signs = np.sign(np.asarray(drawn).mean(axis=2)[100:])
    assert (signs[1:] * signs[:-1]).mean() > 0.2


def test_paths_go_on_from_the_panel_that_they_follow():
    """After dates of four times the volatility the next one is wilder than after quiet ones."""
    one = MODEL.initialise(jax.random.key(0), BATCH)
    members = Fitted(jax.tree.map(lambda leaf: np.asarray(leaf)[None], one), np.zeros(1, np.uint32))
    spreads = []
    for size in (0.5, 4.0):
        _, end = remember(MODEL, size * VALUES)
        drawn = generate_paths(jax.random.key(4), MODEL, members, N_ASSETS, 1, 4000, end)
        spreads.append(np.percentile(np.abs(drawn), 50))
    assert spreads[1] > 2.0 * spreads[0]


def test_level_of_paths_stays():
    """Variances return to theirs, so that 2,000 dates later paths are as wide as the panel."""
    variables = MODEL.initialise(jax.random.key(0), BATCH)
    put(variables.parameters, "decoder", "volatility", 0.0)
    put(variables.parameters, "decoder", "log_df", np.log(1e6))
    rng = np.random.default_rng(7)
    panel = rng.normal(size=(600, N_ASSETS)) + rng.normal(size=(600, 1))
    _, end = remember(MODEL, panel / panel.std(axis=0))
    drawn = PATHS(jax.random.key(5), MODEL, variables, end, N_ASSETS, 2000, 20)
    ends = np.asarray(drawn, np.float64)[-500:].std(axis=(0, 1))
    np.testing.assert_allclose(ends, 1.0, atol=0.1)


def test_no_loading_noise_or_weight_moves_the_level_of_paths():
    """Of a member none of whose parameters is at its start: correlations are of unit variance."""
    variables = member(volatility=0.4, freedom=10.0, persistence=0.0)
    put(variables.parameters, "decoder", "gain", [1.6, 0.7])
    put(variables.parameters, "decoder", "noise_slope", 1.3)
    put(variables.parameters, "scale", "leverage", [0.3, 0.5, -0.2])
    put(variables.parameters, "scale", "trust", 0.0)
    rng = np.random.default_rng(7)
    panel = rng.normal(size=(600, N_ASSETS)) + rng.normal(size=(600, 1))
    _, end = remember(MODEL, panel / panel.std(axis=0))
    drawn = PATHS(jax.random.key(5), MODEL, variables, end, N_ASSETS, 2000, 40)
    ends = np.asarray(drawn, np.float64)[-1000:].std(axis=(0, 1))
    np.testing.assert_allclose(ends, 1.0, atol=0.1)


def of_constants(model, starts, batch, volatility=0.0, df=1e6, reach=1.0):
    """Variables of which no part that is seen in a row's density, but variances, looks at the past:
    τ = g = r = 0, φ = 0 and σ_k = 1, with loadings of their own."""
    variables = model.initialise(jax.random.key(0), batch)
    parameters, rng = variables.parameters, np.random.default_rng(1)
    for group, name, value in (
        ("scale", "trust", 0.0),
        ("decoder", "gain", 0.0),
        ("decoder", "noise_slope", 0.0),
        ("decoder", "volatility", volatility),
        ("decoder", "log_df", np.log(df - 2.0)),
    ):
        start = starts[group][name]
        deviation = (np.broadcast_to(value, start.value.shape) - start.value) / start.reach
        parameters[group][name] = jnp.asarray(deviation, jnp.float32)
    shape = parameters["decoder"]["loadings"].shape
    parameters["decoder"]["loadings"] = jnp.asarray(reach * rng.normal(0, 5, shape), jnp.float32)
    return variables


def test_with_constant_correlations_it_is_the_baselines_garch():
    """One speed, no scores, Gaussian: variances to rounding those of `Garch` with constant
    (1-κ)(1-β), reaction κ(1-β) and decay β, and densities those of its constant correlations."""
    config = TemporalConfig(2, half_lives=(9.0,), products=(30.0,))
    model, starts = config.build(N_ASSETS), _starts(config, N_ASSETS)
    beta, reaction = 0.5 ** (1 / 9), np.linspace(0.3, 0.9, N_ASSETS)
    batch = make_batch(VALUES, past=remember(model, VALUES)[0])
    variables = of_constants(model, starts, batch)
    scale = variables.parameters["scale"]
    scale["reaction"] = jnp.float32(50.0)
    own = np.stack([np.log(reaction), np.log(1.0 - reaction)]) / starts["scale"]["own_weight"].reach
    scale["own_weight"] = jnp.asarray(own, jnp.float32)
    zeros, ones = np.zeros(N_ASSETS), np.ones(N_ASSETS)
    level, shock = (1.0 - beta) * (1.0 - reaction), (1.0 - beta) * reaction
    law = Garch(zeros, level, shock, zeros, beta * ones, 1e6 * ones, ones)
    expected = law.innovations(VALUES).variances
    context = model.informed(variables, batch).past
    np.testing.assert_allclose(np.exp(context.log_scale), expected, rtol=1e-4)

    (loadings,), noise = np.asarray(context.loadings[0]), np.asarray(context.noise[0])
    correlations = np.outer(loadings, loadings) + np.diag(noise)
    np.testing.assert_allclose(np.diagonal(correlations), 1.0, rtol=1e-5)
    roots = np.sqrt(expected)
    densities = [
        multivariate_normal(np.zeros(N_ASSETS), root[:, None] * correlations * root).logpdf(x)
        for root, x in zip(roots, VALUES, strict=True)
    ]
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    found = run(jax.random.key(0), model, variables, batch, n_samples=500)
    error = np.asarray(found.value) - densities
    assert (np.abs(error) < 5 * np.asarray(found.standard_error) + 1e-3).all()


def test_at_one_speed_it_is_the_baselines_dcc():
    """Three assets, whose correlations one factor fits exactly, one speed of squares and one of
    products, scores without weight: correlations and densities of `GarchCopula` with normal
    margins and copula, to what the floors of squares and noise leave of rounding."""
    n_assets, recent, decay = 3, 0.8, 0.5 ** (1 / 10)
    rng = np.random.default_rng(4)
    values = 0.6 * rng.normal(size=(N_ROWS, n_assets)) + 0.8 * rng.normal(size=(N_ROWS, 1))
    target = np.array([[1.0, 0.6, 0.5], [0.6, 1.0, 0.7], [0.5, 0.7, 1.0]])
    config = TemporalConfig(2, half_lives=(9.0,), products=(10.0,))
    settings = MemorySettings(
        config.half_lives, config.products, recent, trust=0.0, blank_dates=np.inf, em_steps=400
    )
    blank, *others = memory.recurrence(settings, 1, n_assets)
    level = jnp.asarray(np.tile(target, (2, 1, 1)), jnp.float32)
    recurrence = Recurrence(lambda: blank()._replace(products=level), *others)
    model = config.build(n_assets)._replace(recurrence=recurrence)
    batch, starts = make_batch(values, past=remember(model, values)[0]), _starts(config, n_assets)
    variables = of_constants(model, starts, batch, reach=0.0)
    scale, decoder = variables.parameters["scale"], variables.parameters["decoder"]
    # The memory's own variances, half of them at their one speed and half at the level 1.
    shock = 0.5 * memory.REACTION
    scale["reaction"] = jnp.float32(50.0)
    own = np.repeat(np.log([[shock], [1.0 - shock]]), n_assets, axis=1) / BY_ASSET
    scale["own_weight"] = jnp.asarray(own, jnp.float32)
    for name in ("gain", "noise_slope"):
        decoder[name] = jnp.zeros_like(decoder[name])

    beta, nothing, every = 0.5 ** (1 / 9), np.zeros(n_assets), np.ones(n_assets)
    level, reaction = (1.0 - beta) * (1.0 - shock) * every, (1.0 - beta) * shock * every
    margins = Garch(nothing, level, reaction, nothing, beta * every, 1e6 * every, every)
    share = 0.5 * recent * (1.0 - decay)
    law = GarchCopula(margins, target, share, decay, 1e6)
    found = margins.innovations(values)
    expected = np.concatenate(list(law.correlations(copula_quantiles(found, 1e6))))
    context = model.informed(variables, batch).past
    np.testing.assert_allclose(np.exp(context.log_scale), found.variances, rtol=1e-4)
    loadings, noise = (np.asarray(part, np.float64) for part in (context.loadings, context.noise))
    correlations = np.einsum("rka,rkb->rab", loadings, loadings)
    correlations += noise[:, :, None] * np.eye(n_assets)
    assert np.ptp(expected, axis=0).max() > 0.1
    np.testing.assert_allclose(correlations[1:], expected[1:], atol=5e-4)
    run = jax.jit(log_likelihood, static_argnames=("model", "n_samples"))
    found = run(jax.random.key(0), model, variables, batch, n_samples=500)
    error = np.asarray(found.value) - law.log_likelihood(values)
    assert (np.abs(error) < 5 * np.asarray(found.standard_error) + 3e-3)[1:].all()


def test_without_a_memory_it_is_volatility():
    """κ = τ = g = r = 0: given the factors each row's law is that of the likelihood "volatility",
    whose loadings and noise hold the divisor of unit variances."""
    variables = of_constants(MODEL, STARTS, BATCH, volatility=0.6, df=7.0)
    put(variables.parameters, "scale", "reaction", -50.0)
    context = MODEL.informed(variables, BATCH).past
    np.testing.assert_allclose(context.log_scale, 0.0, atol=1e-6)
    loadings, noise = np.asarray(context.loadings[0]), np.asarray(context.noise[0])
    assert (np.ptp(context.loadings, axis=0) == 0).all()
    static = AdditiveConfig(3, likelihood="volatility").build(N_ASSETS)
    batch = make_batch(VALUES)
    other = static.initialise(jax.random.key(0), batch)
    decoder = other.parameters["decoder"]
    # Gaussian noise of variance Ψ is here a t of that variance, and E exp(½ l z) is divided out.
    divisor = np.exp(-0.25 * 0.6**2)
    raw = np.exp(np.log(noise) - np.log(7.0 / 5.0) + 2.0 * np.log(divisor)) - 1e-6
    decoder["curves"] = {"terms": {"kernel": jnp.asarray(divisor * loadings)}}
    decoder["log_variance"] = jnp.asarray(np.log(raw))
    decoder["volatility"] = jnp.full(N_ASSETS, 0.6)
    decoder["log_df"] = jnp.full(N_ASSETS, np.log(5.0), jnp.float32)
    decoder["mean"]["bias"] = jnp.zeros(N_ASSETS)
    factors = jnp.asarray(np.random.default_rng(2).normal(size=(N_ROWS, 3)), jnp.float32)
    one, two = (
        model.decode(parameters, factors, rows, False)[0].log_prob(rows.values, rows.observed)
        for model, parameters, rows in ((MODEL, variables, BATCH), (static, other, batch))
    )
    np.testing.assert_allclose(one, two, rtol=1e-4)
    prior = MODEL.prior(variables, factors, BATCH)
    np.testing.assert_array_equal(prior.mean, 0.0)
    np.testing.assert_allclose(prior.log_variance, 0.0, atol=1e-6)


def test_on_noise_it_can_be_nothing():
    """Without loadings, too, it says of a row what independent normals of variance 1 do, whatever
    the factors are."""
    variables = of_constants(MODEL, STARTS, BATCH, reach=0.0)
    put(variables.parameters, "scale", "reaction", -50.0)
    values = np.random.default_rng(3).standard_normal((N_ROWS, N_ASSETS))
    batch = make_batch(values, past=remember(MODEL, values)[0])
    factors = jnp.asarray(np.random.default_rng(4).normal(size=(N_ROWS, 3)), jnp.float32)
    density, _ = MODEL.decode(variables, factors, batch, False)
    found = density.log_prob(batch.values, batch.observed)
    np.testing.assert_allclose(found, norm.logpdf(values).sum(axis=1), rtol=1e-4)


def test_the_encoder_knows_which_cells_are_missing():
    """Its factors are those of the cells that are seen, whatever stands in the others."""
    variables = member()
    seen = jnp.asarray(np.random.default_rng(5).random(VALUES.shape) < 0.5, jnp.float32)
    holed = BATCH._replace(observed=seen, values=BATCH.values * seen)
    filled = holed._replace(values=BATCH.values * seen + 3.0 * (1.0 - seen))
    one, other, whole = (
        np.asarray(MODEL.encode(variables, batch, False)[0].mean)
        for batch in (holed, filled, BATCH)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert np.abs(one - whole).max() > 0.1
