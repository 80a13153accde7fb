"""What the KL costs in training: capacity and free bits against closed forms; their options."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import FULL_BATCH, elbo, linear_model, solution, train
from rate_distortion import beta_at_rate, linear_optimum, linear_rate_distortion
from small import CONFIG, DATA, HYPERPARAMETERS, ROOT, linear_gaussian

from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import OptionError
from jaxvae.fitting.config import StudyConfig, preset_of
from jaxvae.fitting.fit import Trained
from jaxvae.fitting.prepare import prepare
from jaxvae.models import make_batch
from jaxvae.models.distributions import Gaussian
from jaxvae.scoring.decompose_kl import kl_rows
from jaxvae.scoring.evidence import spectrum_table
from jaxvae.study import describe
from jaxvae.training import member as training
from jaxvae.training.config import TrainConfig
from jaxvae.training.objective import capacity_charge, free_bits_charge, row_terms

pytestmark = pytest.mark.slow

CAPACITY, FREE = 2.0, 0.3
# Above what a nat is worth at the capacity, 1.9; far above, Adam's steps are all for the KL.
STRENGTHS = (4.0, 8.0)
NOISE = 0.4
FIXED = {"noise": "fixed", "noise_variance": NOISE}


def planted(n_rows=400, n_assets=8):
    """Two factors well apart in noise of the variance that the members know."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(n_assets, 2)))[0]
    values = rng.normal(size=(n_rows, 2)) * np.sqrt([9.0, 3.0]) @ directions.T
    values += np.sqrt(NOISE) * rng.normal(size=values.shape)
    return values - values.mean(axis=0)


VALUES = planted()
MODEL = linear_gaussian()[0]


def parts(model, variables):
    """Rate by factor and distortion on the rows trained on, nats a row, in closed form."""
    found = solution(model, variables, make_batch(VALUES))
    by_factor = 0.5 * (found.mean**2 + found.variance - np.log(found.variance) - 1)
    return by_factor.mean(axis=0), -elbo(found, VALUES, beta=0.0)


@pytest.fixture(scope="module")
def held():
    model = linear_model(2, VALUES.shape[1], **FIXED)
    config = replace(FULL_BATCH, epochs=2500, capacity=CAPACITY, capacity_epochs=500)
    members, ensemble = train(model, VALUES, STRENGTHS, config)
    return [parts(model, member) for member in members], ensemble


def test_the_kl_ends_at_the_capacity_and_rises_with_it(held):
    members, ensemble = held
    for by_factor, _ in members:
        assert by_factor.sum() == pytest.approx(CAPACITY, abs=0.02)
    # While a nat is worth more than β the KL stands where it would be at that price.
    least = [
        linear_rate_distortion(linear_optimum(VALUES, 2, beta, *FIXED.values()), beta).rate
        for beta in STRENGTHS
    ]
    for epoch in (100, 200, 300, 400, 450):
        expected = np.maximum(CAPACITY * epoch / 500, least)
        np.testing.assert_allclose(ensemble.history.kl[:, epoch], expected, atol=0.15)


def test_a_capacity_reaches_the_least_distortion_at_its_rate(held):
    """That of the linear VAE whose β gives this rate: reverse water-filling."""
    optimum = linear_optimum(VALUES, 2, 1.0, *FIXED.values())
    beta = beta_at_rate(optimum, 2, CAPACITY)
    closed = linear_rate_distortion(linear_optimum(VALUES, 2, beta, *FIXED.values()), beta)
    assert closed.rate == pytest.approx(CAPACITY, abs=1e-9)
    for by_factor, distortion in held[0]:
        # A KL off by its tolerance moves the distortion β times as far.
        expected = closed.distortion - beta * (by_factor.sum() - CAPACITY)
        assert distortion == pytest.approx(expected, abs=0.03)


def test_free_bits_keep_factors_that_a_large_beta_would_lose():
    model = linear_model(2, VALUES.shape[1], **FIXED)
    betas = (30.0, 300.0)
    assert not any(linear_optimum(VALUES, 2, beta, *FIXED.values()).active for beta in betas)
    members, _ = train(model, VALUES, betas, replace(FULL_BATCH, epochs=800, free_bits=FREE))
    for member in members:
        np.testing.assert_allclose(parts(model, member)[0], FREE, atol=0.02)


def charges_by_hand(kl, used, weights):
    means = np.average(kl, axis=0, weights=weights)
    return abs(means.sum() - CAPACITY), (used * np.maximum(means, FREE)).sum()


def test_charges_are_of_weighted_means_over_the_factors_in_use():
    rng = np.random.default_rng(0)
    used, weights = np.array([1.0, 0.0, 1.0]), rng.uniform(size=7)
    kl = used * rng.exponential(0.4, size=(7, 3))
    arrays = [jnp.asarray(part, jnp.float32) for part in (kl, used, weights)]
    held = capacity_charge(arrays[0].sum(axis=1), arrays[2], jnp.float32(CAPACITY))
    free = free_bits_charge(*arrays, FREE)
    np.testing.assert_allclose([held, free], charges_by_hand(kl, used, weights), rtol=1e-5)


def test_a_factor_below_its_free_bits_has_no_gradient():
    mean = jnp.asarray(np.random.default_rng(0).normal(size=(9, 2)), jnp.float32)
    prior, weights = Gaussian(jnp.zeros((9, 2)), jnp.zeros((9, 2))), jnp.ones(9)

    def charge(scale):
        posterior = Gaussian(scale[None, :] * mean, jnp.zeros((9, 2)))
        return free_bits_charge(
            posterior.factor_kl(prior, jnp.ones((9, 2))), jnp.ones(2), weights, FREE
        )

    gradient = jax.grad(charge)(jnp.array([0.1, 2.0]))
    assert gradient[0] == 0.0
    assert gradient[1] > 0.1


@pytest.mark.parametrize("charge", [{"capacity": 1.0}, {"free_bits": 0.5}])
def test_the_validation_objective_is_the_charged_one(charge):
    """At the full capacity, with validation weights, whatever the epoch."""
    config = replace(CONFIG, **charge, capacity_epochs=0)
    weights = jnp.linspace(0.0, 1.0, len(DATA.validation.values))
    given = HYPERPARAMETERS._replace(validation_weights=weights)
    state = training.init(ROOT, DATA, given, MODEL, config)
    rows = DATA.validation._replace(weights=weights)
    plain, _ = row_terms(ROOT, state.variables, rows, given.beta, MODEL, CONFIG, False)
    posterior, _ = MODEL.encode(state.variables, rows, False)
    none = Gaussian(jnp.zeros_like(posterior.mean), jnp.zeros_like(posterior.mean))
    used = jnp.ones_like(posterior.mean)
    means = np.average(posterior.factor_kl(none, used), axis=0, weights=weights)
    charged = {
        "capacity": abs(means.sum() - 1.0),
        "free_bits": np.maximum(means, 0.5).sum(),
    }[next(iter(charge))]
    expected = np.average(plain.reconstruction, weights=weights) + given.beta * charged
    setup = training.Setup(DATA, given, MODEL, config)
    found = training._validation_objective(ROOT, state.variables, setup)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_settings_that_are_off_leave_the_same_program():
    fit = jax.jit(training.fit, static_argnames=("model", "config"))
    programs = [
        fit.lower(ROOT, DATA, HYPERPARAMETERS, model=MODEL, config=config).as_text()
        for config in (CONFIG, replace(CONFIG, capacity_epochs=3), replace(CONFIG, free_bits=0.1))
    ]
    assert programs[0] == programs[1]
    assert programs[0] != programs[2]


def test_a_capacity_rises_linearly_and_nothing_is_chosen_before_it_has():
    config = TrainConfig(epochs=50, warmup_epochs=5, capacity=3.0, capacity_epochs=20)
    setup = training.Setup(DATA, HYPERPARAMETERS, MODEL, config)
    risen = [training._settings(jnp.int32(epoch), setup).capacity for epoch in (0, 5, 20, 49)]
    np.testing.assert_allclose(risen, [0, 0.75, 3, 3], rtol=1e-6)
    assert config.settled_epochs == 20
    assert replace(config, capacity=None).settled_epochs == 5
    run_at_once = replace(config, capacity_epochs=0)
    assert training._settings(jnp.int32(0), setup._replace(config=run_at_once)).capacity == 3.0


def static(**changes):
    return StudyConfig(model="static", n_factors=2, **changes)


def test_a_study_takes_the_settings_in_place_of_its_presets():
    plain = preset_of(static()).train
    assert preset_of(static(warmup=7)).train == replace(plain, warmup_epochs=7)
    assert preset_of(static(free_bits=0.2)).train == replace(plain, free_bits=0.2)
    held = preset_of(static(capacity=4.0, epochs=90)).train
    assert (held.capacity, held.capacity_epochs, held.warmup_epochs) == (4.0, 45, 0)
    assert preset_of(static(capacity=4.0, warmup=3)).train.warmup_epochs == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"capacity": 2.0}, "held at a KL of 2 nats a date: β is how strongly"),
        ({"free_bits": 0.5}, "carried 0.5 nats a date at no charge"),
        ({}, None),
    ],
)
def test_a_report_says_what_beta_means(changes, words):
    """And has no closed form of β KL where the objective is another."""
    panel, _ = linear_panel(3, n_dates=60, n_assets=6, n_factors=2)
    config = static(**changes)
    prepared = prepare(panel, config)
    notes = describe._charge_notes(prepared)
    if words is None:
        assert notes == []
        return
    assert words in notes[0]
    assert spectrum_table(prepared, Trained(None, None)) is None


def test_a_student_prior_has_no_such_parts():
    panel, _ = linear_panel(3, n_dates=60, n_assets=6, n_factors=2)
    config = StudyConfig(n_factors=2, model="student")
    grid = Trained(SimpleNamespace(ok=np.ones(3)), None)
    assert kl_rows(prepare(panel, config), grid) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"capacity": -1.0}, "capacity: -1.0 is too small; at least 0"),
        ({"free_bits": -0.5}, "free_bits: -0.5 is too small"),
        ({"free_bits": float("nan")}, "free_bits: nan is not finite"),
        ({"warmup": -1}, "warmup: -1 is too small"),
        ({"warmup": 30, "epochs": 20}, "warmup: 30 exceeds the 20 epochs"),
        ({"capacity": 1.0, "free_bits": 0.1}, "capacity: leave it or free_bits out"),
    ],
)
def test_a_study_refuses_what_makes_no_sense(wrong, words):
    with pytest.raises(OptionError, match=words) as error:
        StudyConfig(**wrong)
    assert "\n" not in str(error.value)


def test_free_bits_need_a_normal_prior():
    panel, _ = linear_panel(3, n_dates=60, n_assets=6, n_factors=2)
    config = StudyConfig(n_factors=2, model="student", free_bits=0.1)
    with pytest.raises(OptionError, match="free_bits: does not go with model='student'"):
        prepare(panel, config)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"capacity": -1.0}, "capacity: -1.0"),
        ({"free_bits": float("inf")}, "free_bits: inf"),
        ({"capacity": 1.0, "capacity_epochs": 900}, "capacity_epochs: 900"),
        ({"capacity": 1.0, "free_bits": 0.1}, "leave it or free_bits out"),
        ({"free_bits": 0.1, "n_samples": 2}, "n_samples: 2 does not go"),
    ],
)
def test_wrong_charges_are_refused(wrong, words):
    with pytest.raises(OptionError, match=words):
        TrainConfig(**wrong)
