"""The autoregressive VAE: what its encoders may see, its objective, training, and studies of it."""

import functools
import hashlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import state_space
from scipy.linalg import block_diag
from small import same_bits

from jaxvae.errors import OptionError
from jaxvae.fitting.fit import Choice, Trained
from jaxvae.inference.evaluation import evaluate
from jaxvae.inference.forecasts import WITHOUT_PAST, sample_paths, sample_portfolio
from jaxvae.inference.scenarios import implied_covariance, sample_scenarios
from jaxvae.models import (
    AutoregressiveConfig,
    kalman,
    linear_gaussian,
    make_batch,
    persistence,
)
from jaxvae.models.autoregressive import LARGEST_PERSISTENCE, linked_rows
from jaxvae.scoring.align import Aligned, persistence_arrays
from jaxvae.training import batches
from jaxvae.training import member as train
from jaxvae.training.config import TrainConfig
from jaxvae.training.objective import row_terms
from jaxvae.training.state import Data, make_hyperparameters

pytestmark = pytest.mark.slow

N_ROWS, N_ASSETS, PERSISTENCE = 30, 6, (0.8, -0.3)
VALUES, PARAMETERS = state_space.planted(1, PERSISTENCE, N_ROWS, N_ASSETS)
HOLES = np.where(np.random.default_rng(2).random(VALUES.shape) < 0.2, np.nan, VALUES)
BATCH, KEY = make_batch(VALUES), jax.random.key(0)
MODELS = {
    encoder: AutoregressiveConfig(2, encoder).build(N_ASSETS)
    for encoder in ("smoother", "filter", "perceptron")
}


# The Cayley transform of S = [[0, s], [-s, 0]] turns by 2 arctan s.
TURN, ANGLE = np.array([[0.0, 0.4], [7.0, 0.0]]), 2 * np.arctan(0.4)


def turned(loadings):
    """V of W = V R."""
    cosine, sine = np.cos(ANGLE), np.sin(ANGLE)
    return loadings @ np.array([[cosine, sine], [-sine, cosine]]).T


def member(encoder, parameters=PARAMETERS, temperature=1.0):
    """A member of known parameters; a perceptron untrained."""
    loadings, bias, noise, phi = parameters
    variables = MODELS[encoder].initialise(jax.random.key(0), BATCH)
    own = {"log_temperature": np.log(temperature)}
    parts = {
        "encoder": variables.parameters["encoder"] if encoder == "perceptron" else own,
        "decoder": {
            "curves": {"terms": {"kernel": turned(loadings).T}},
            "mean": {"kernel": np.zeros((0, N_ASSETS)), "bias": bias},
            "log_variance": np.log(noise),
        },
        "prior": {"persistence": np.arctanh(phi / LARGEST_PERSISTENCE), "rotation": TURN},
    }
    single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), parts)
    return variables._replace(parameters=single)


def test_a_member_is_the_state_space_model_of_its_parameters():
    found = linear_gaussian(MODELS["smoother"], member("smoother"))
    for part, expected in zip(found, PARAMETERS, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)


@functools.partial(jax.jit, static_argnames="encoder")
def _slopes(values, encoder, row, weights):
    """Derivatives, in all returns, of a random combination of all that a date's posterior says."""

    def said(values):
        batch = BATCH._replace(values=values, weights=weights)
        posterior, _ = MODELS[encoder].encode(member(encoder), batch, False)
        parts = jax.tree.leaves(posterior)
        if isinstance(posterior, kalman.Chain):
            parts.append(kalman.covariances(posterior))
        keys = jax.random.split(jax.random.key(5), len(parts))
        return sum(
            jnp.sum(part[row] * jax.random.normal(key, part[row].shape))
            for key, part in zip(keys, parts, strict=True)
        )

    return jax.grad(said)(values)


def slope(encoder, row, weights=None):
    """By date."""
    weights = jnp.ones(N_ROWS) if weights is None else jnp.asarray(weights, jnp.float32)
    return np.abs(_slopes(BATCH.values, encoder, row, weights)).sum(axis=1)


def test_the_filter_does_not_look_ahead():
    seen = slope("filter", 12)
    assert not seen[13:].any()
    assert (seen[8:13] > 0).all()


def test_the_smoother_looks_both_ways_but_not_from_dates_in_use_to_others():
    assert (slope("smoother", 12)[8:17] > 0).all()
    in_use = np.where(np.arange(N_ROWS) < 15, 1.0, 0.0)
    seen = slope("smoother", 12, in_use)
    assert (seen[8:15] > 0).all()
    assert not seen[15:].any()
    # A later date may look back.
    assert (slope("smoother", 15, in_use)[12:17] > 0).all()


def test_a_perceptron_sees_its_own_date_alone():
    assert np.flatnonzero(slope("perceptron", 12)).tolist() == [12]


def objective(encoder, values=VALUES, beta=1.0, temperature=1.0):
    """Minus what training takes a member for, summed over dates."""
    model, variables = MODELS[encoder], member(encoder, temperature=temperature)
    total = OBJECTIVE(variables, make_batch(values), jnp.float32(beta), model)
    return -float(jnp.sum(total))


@functools.partial(jax.jit, static_argnames="model")
def OBJECTIVE(variables, batch, beta, model):
    terms, _ = row_terms(KEY, variables, batch, beta, model, TrainConfig(), training=False)
    return terms.total


@pytest.mark.parametrize("values", [VALUES, HOLES], ids=["whole", "incomplete"])
@pytest.mark.parametrize("encoder", MODELS)
def test_the_objective_reaches_the_likelihood_with_the_smoother_alone(encoder, values):
    exact = state_space.log_density(PARAMETERS, values)
    if encoder == "smoother":
        assert objective(encoder, values) == pytest.approx(exact, abs=2e-3)
    else:
        assert objective(encoder, values) < exact - 0.5


@pytest.mark.parametrize("encoder", ["filter", "perceptron"])
def test_the_objective_is_the_dense_elbo_of_what_the_encoder_says(encoder):
    """Dates are independent under both, so the covariance is block by block."""
    posterior, _ = MODELS[encoder].encode(member(encoder), BATCH, False)
    chain = kalman.independent_rows(posterior) if encoder == "perceptron" else posterior
    covariance = block_diag(*np.asarray(kalman.covariances(chain), float))
    expected = state_space.elbo(PARAMETERS, VALUES, np.asarray(chain.mean, float), covariance)
    assert objective(encoder) == pytest.approx(expected, rel=1e-5)


def test_the_tempered_smoother_is_the_best_posterior_of_its_beta():
    """The β-ELBO falls on either side of τ = β."""
    by_temperature = [objective("smoother", beta=2.0, temperature=t) for t in (1.8, 2.0, 2.2)]
    assert by_temperature[1] > max(by_temperature[::2]) + 1e-3


def test_dates_of_weight_0_are_where_the_chain_is_cut():
    weights = np.array([0.0, 1, 1, 0, 0, 2, 1, 1])
    batch = make_batch(np.zeros((8, N_ASSETS)), weights=weights)
    assert linked_rows(batch).tolist() == [1, 1, 0, 1, 1, 1, 1, 0]


def test_prior_is_given_the_next_date_but_for_a_cut():
    weights = np.array([0.0, 1, 1, 0, 0, 2, 1, 1])
    batch = make_batch(np.zeros((8, N_ASSETS)), weights=weights)
    factors = jax.random.normal(jax.random.key(8), (8, 2))
    phi = linked_rows(batch)[:, None] * PARAMETERS[3][None].astype(np.float32)
    law = MODELS["smoother"].prior(member("smoother"), factors, batch)
    np.testing.assert_allclose(law.mean, phi * np.roll(factors, -1, axis=0), atol=1e-5)
    np.testing.assert_allclose(jnp.exp(law.log_variance), 1 - phi**2, atol=1e-5)


def test_no_term_of_a_date_in_use_looks_at_later_ones_that_are_not():
    weights = np.where(np.arange(N_ROWS) < 15, 1.0, 0.0)
    later = np.where(np.arange(N_ROWS)[:, None] < 15, VALUES, 3.0 - VALUES)
    model = MODELS["smoother"]
    run = jax.jit(lambda *known: (model.log_likelihood(*known), *model.objective(*known)))
    one, other = (
        run(member("smoother"), make_batch(values, weights=weights)) for values in (VALUES, later)
    )
    for part, again in zip(one, other, strict=True):
        np.testing.assert_allclose(part[:15], again[:15], rtol=1e-4, atol=1e-5)
        assert not np.allclose(part[15:], again[15:], rtol=1e-2)


def test_evaluation_is_exact_one_step_ahead_and_over_observed_cells():
    batch = make_batch(HOLES)
    said, _ = jax.jit(evaluate, static_argnames=("model", "n_samples"))(
        jax.random.key(0), MODELS["smoother"], member("smoother"), batch, n_samples=16
    )
    exact = state_space.log_density(PARAMETERS, HOLES)
    assert float(jnp.sum(said.likelihood.value)) == pytest.approx(exact, abs=2e-3)
    assert not said.likelihood.standard_error.any()
    assert (said.likelihood.effective_samples == 16).all()
    np.testing.assert_allclose(
        said.factors, state_space.posterior_mean(PARAMETERS, HOLES), atol=1e-3
    )
    np.testing.assert_allclose(said.loadings, PARAMETERS[0], atol=1e-4)


@pytest.mark.parametrize("encoder", MODELS)
def test_a_factor_not_in_use_is_as_if_it_were_not_there(encoder):
    model = MODELS[encoder]
    variables = member(encoder)._replace(factor_mask=jnp.array([1.0, 0.0]))
    decoded, _ = model.decode(variables, jnp.eye(2), make_batch(VALUES[:2]), False)
    np.testing.assert_allclose(decoded.mean[1], PARAMETERS[1], atol=1e-5)
    posterior, _ = model.encode(variables, BATCH, False)
    assert not posterior.mean[:, 1].any()
    expected = model.objective(variables, BATCH)
    assert not expected.kl[:, 1].any()
    assert (expected.kl[:, 0] > 0).all()
    loadings, bias, noise, phi = PARAMETERS
    alone = state_space.log_density((loadings[:, :1], bias, noise, phi[:1]), VALUES)
    assert float(jnp.sum(model.log_likelihood(variables, BATCH))) == pytest.approx(alone, abs=2e-3)


def test_scenarios_are_of_the_stationary_law():
    """Rows independent, whatever φ: mean b and covariance W Wᵀ + Ψ."""
    loadings, bias, noise, _ = PARAMETERS
    model, variables = MODELS["smoother"], member("smoother")
    rows = make_batch(np.zeros((40_000, N_ASSETS)))
    expected = loadings @ loadings.T + np.diag(noise)
    draws = np.asarray(sample_scenarios(jax.random.key(0), model, variables, rows), float)
    np.testing.assert_allclose(draws.mean(axis=0), bias, atol=0.05)
    np.testing.assert_allclose(np.cov(draws.T), expected, atol=0.05 * expected.max())
    assert abs(np.corrcoef(draws[1:, 0], draws[:-1, 0])[0, 1]) < 0.02
    mean, covariance = implied_covariance(jax.random.key(1), model, variables, rows)
    np.testing.assert_allclose(mean, bias, atol=0.05)
    np.testing.assert_allclose(covariance, expected, atol=0.05 * expected.max())


def test_blocks_are_consecutive_and_cover_the_rows_in_use():
    weights = jnp.asarray(np.where((np.arange(50) >= 5) & (np.arange(50) < 38), 1.5, 0.0))
    rows, used = (np.asarray(part) for part in batches.blocks(jax.random.key(3), weights, 8))
    assert (np.diff(rows[:5]) == 1).all()
    assert sorted(rows[used > 0].tolist()) == list(range(5, 38))
    assert (used[used > 0] == 1.5).all()
    assert not used[5:].any()
    assert rows[:5, 0].tolist() != sorted(rows[:5, 0].tolist())


def test_rows_at_random_are_the_ones_they_always_were():
    """The default's bits: may change only with the promise that a member keeps its bits."""
    rows, weights = batches.shuffle(jax.random.key(7), jnp.ones(700).at[560:].set(0.0), 64)
    digest = hashlib.sha256(np.asarray(rows).tobytes() + np.asarray(weights).tobytes())
    assert digest.hexdigest()[:16] == "55b17c317a33d644"


def test_draws_are_refused():
    model, config = MODELS["smoother"], TrainConfig(n_samples=2)
    with pytest.raises(OptionError, match="draws no factors"):
        row_terms(KEY, member("smoother"), BATCH, jnp.float32(1.0), model, config, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"encoder": "oracle"}, "encoder: 'oracle'"),
        ({"noise": "row"}, "noise: 'row'"),
    ],
)
def test_wrong_configurations_are_refused(changes, words):
    with pytest.raises(OptionError, match=words):
        AutoregressiveConfig(**changes)


LONG, TRUE = state_space.planted(4, (0.9, 0.3), 1000, 12)
# In standard units, as studies train.
CENTRE, SCALE = LONG[:700].mean(axis=0), LONG[:700].std(axis=0)
LONG, TRUE = (
    (LONG - CENTRE) / SCALE,
    kalman.StateSpace(
        TRUE[0] / SCALE[:, None], (TRUE[1] - CENTRE) / SCALE, TRUE[2] / SCALE**2, TRUE[3]
    ),
)
FITTED = TrainConfig(epochs=150, batch_size=700, warmup_epochs=0, patience=None)
TRAINED_BETAS = (1.0, 2.0)


@pytest.fixture(scope="module")
def trained():
    """Members of the smoother on 700 rows, of β 1 and 2; and twice on 600, when the others hold two
    different things."""
    model = AutoregressiveConfig(2).build(12)
    batches = make_batch(LONG[:700]), make_batch(LONG[700:])

    @jax.jit
    @jax.vmap
    def run(beta, weights, shift):
        values = batches[0].values + shift * (1.0 - weights)[:, None]
        data = Data(batches[0]._replace(values=values), batches[1])
        one = make_hyperparameters(data, model, FITTED, learning_rate=5e-2)
        one = one._replace(beta=beta, row_weights=weights)
        return train.fit(jax.random.key(0), data, one, model, FITTED)[0].best

    weights = np.ones((4, 700), np.float32)
    weights[2:, 600:] = 0.0
    betas, shifts = jnp.asarray([*TRAINED_BETAS, 1.0, 1.0]), jnp.asarray([0.0, 0.0, 0.0, 3.0])
    found = run(betas, jnp.asarray(weights), shifts)
    return model, [jax.tree.map(lambda leaf, k=k: leaf[k], found) for k in range(4)]


def test_training_recovers_persistence_and_likelihood(trained):
    """φ to .08, three standard errors √((1-φ²)/700) of the larger; within a tenth of a nat of the
    true parameters on rows held out, of 29 parameters a nat each in 700 rows."""
    model, variables = trained[0], trained[1][0]
    found = np.sort(np.asarray(persistence(variables), float))
    np.testing.assert_allclose(found, np.sort(TRUE[3]), atol=0.08)
    exact = jax.jit(model.log_likelihood)(variables, make_batch(LONG))
    true = kalman.StateSpace(*(jnp.asarray(part, jnp.float32) for part in TRUE))
    oracle = jax.jit(kalman.kalman_filter)(true, *make_batch(LONG)[:2]).log_likelihood
    assert float(jnp.mean(exact[:700])) > float(jnp.mean(oracle[:700]))
    assert float(jnp.mean(exact[700:])) > float(jnp.mean(oracle[700:])) - 0.1


def test_training_learns_the_temperature_of_its_beta(trained):
    for beta, variables in zip(TRAINED_BETAS, trained[1], strict=False):
        temperature = float(jnp.exp(variables.parameters["encoder"]["log_temperature"]))
        assert temperature == pytest.approx(beta, rel=0.02)


def test_rows_without_weight_tell_the_others_nothing_in_training(trained):
    one, other = trained[1][2:]
    assert same_bits(one, other)
    assert not same_bits(one, trained[1][0])


def test_forecasts_are_the_filters_on_every_date_and_the_next():
    model, variables = MODELS["smoother"], member("smoother")
    ahead = make_batch(np.vstack([VALUES, np.full(N_ASSETS, np.nan)]))
    weights = jnp.linspace(-1.0, 1.0, N_ASSETS)
    run = jax.jit(sample_portfolio, static_argnames=("model", "n_draws"))
    means, variances, draws = run(jax.random.key(6), model, variables, ahead, weights, n_draws=8000)
    known = linear_gaussian(model, variables)
    weights, parameters = np.asarray(weights), [np.asarray(part) for part in known]
    for last in (10, N_ROWS):
        filtered = kalman.kalman_filter(known, BATCH.values[:last], BATCH.observed[:last])
        root = np.asarray(filtered.filtered_roots[-1])
        now = np.asarray(filtered.filtered_means[-1]), root @ root.T
        mean, covariance = state_space.forecast(parameters, *now, 1)
        variance = float(weights @ covariance[0] @ weights)
        error = np.sqrt(variance / 8000)
        assert abs(float(means[last] - weights @ mean[0])) < 5 * error
        assert float(variances[last]) == pytest.approx(variance, rel=0.08)
        assert float(jnp.var(draws[:, last])) == pytest.approx(variance, rel=0.08)


def test_paths_remember_as_the_factors_do():
    """Cov(x_t, x_{t+1}) = W diag(φ) Wᵀ."""
    model, variables = MODELS["smoother"], member("smoother")
    run = jax.jit(sample_paths, static_argnums=(1, 4, 5, 6))
    no_past = WITHOUT_PAST.start(), jnp.full(N_ASSETS, jnp.nan)
    drawn = np.asarray(run(jax.random.key(7), model, variables, no_past, N_ASSETS, 40, 2000))
    loadings, bias, noise, phi = (np.asarray(part) for part in PARAMETERS)
    centred = drawn - bias
    lagged = np.einsum("tpa,tpb->ab", centred[:-1], centred[1:]) / (39 * 2000)
    level = np.einsum("tpa,tpb->ab", centred, centred) / (40 * 2000)
    first = np.einsum("pa,pb->ab", centred[0], centred[0]) / 2000
    size = np.abs(loadings @ loadings.T).max()
    np.testing.assert_allclose(lagged, loadings * phi @ loadings.T, atol=0.04 * size)
    expected = loadings @ loadings.T + np.diag(noise)
    np.testing.assert_allclose(level, expected, atol=0.04 * size)
    np.testing.assert_allclose(first, expected, atol=0.15 * size)


def test_persistence_of_a_consensus_factor_is_its_members_at_the_chosen_beta():
    """Of members 2 and 3; the alignment knows the members 1, 2 and 3, as 0 diverged."""
    phi = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, -0.8]])
    parameters = {"prior": {"persistence": jnp.arctanh(jnp.asarray(phi) / LARGEST_PERSISTENCE)}}
    variables = member("smoother")._replace(parameters=parameters)
    assignment = np.array([[0, 1], [1, 0], [0, 1]])
    joint = SimpleNamespace(alignment=SimpleNamespace(assignment=assignment))
    aligned = Aligned(joint, np.arange(4) > 0, *[None] * 6)
    grid = Trained(SimpleNamespace(variables=variables), None)
    found = persistence_arrays(MODELS["smoother"], grid, aligned, Choice(1, 1, 2))["persistence"]
    np.testing.assert_allclose(found, [(0.6 + 0.7) / 2, (0.5 - 0.8) / 2], rtol=1e-5)
    without = MODELS["smoother"]._replace(persistence=None)
    assert persistence_arrays(without, grid, aligned, Choice(1, 1, 2)) == {}
