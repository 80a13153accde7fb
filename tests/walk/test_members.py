"""Windows as members: one program, the bits of a window alone, training on those rows directly."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import same_bits
from walking import CONFIG, PANEL, altered

from jaxvae.analysis.baselines import fit_factor_analysis
from jaxvae.analysis.matching import match
from jaxvae.models import make_batch, static_vae
from jaxvae.models.static import df_of
from jaxvae.study.presets import build_model, make_preset
from jaxvae.training.ensemble import _advancer, train_ensemble
from jaxvae.training.state import Window, make_data, view
from jaxvae.training.tiles import tile_program
from jaxvae.walk.members import (
    _asker,
    _linear,
    _sampled,
    as_baseline,
    cut_windows,
    for_windows,
    train_windows,
    walk_members,
)

PRESET = CONFIG.preset()
MODEL = build_model(PRESET, PANEL.n_assets)
SPANS = cut_windows(PANEL.n_dates, CONFIG.window, CONFIG.step, False)
ROOT = jax.random.key(0)


GROWING = cut_windows(PANEL.n_dates, CONFIG.window, CONFIG.step, True)


def trained(spans=SPANS, seeds=(0, 1), expanding=False, values=PANEL.values):
    members = walk_members(values, spans, (1.0,), seeds, PRESET, expanding)
    return train_windows(ROOT, values, members, MODEL, PRESET, CONFIG.window, CONFIG.step)


@pytest.fixture(scope="module")
def rolling():
    return trained()


@pytest.fixture(scope="module")
def expanding():
    return trained(GROWING, expanding=True)


def member(said, index):
    return jax.tree.map(lambda leaf: leaf[index], said)


def test_windows_end_every_step_and_are_judged_on_whole_ones():
    assert cut_windows(30, 10, 8, False) == [(0, 10, 18), (8, 18, 26)]
    assert cut_windows(34, 10, 8, True) == [(0, 10, 18), (0, 18, 26), (0, 26, 34)]
    assert cut_windows(17, 10, 8, False) == []


def test_a_window_alone_has_the_bits_it_has_in_the_grid(rolling):
    alone = trained(SPANS[3:4], seeds=(1,))
    assert same_bits(member(alone, 0), member(rolling, 7))
    assert not same_bits(alone.covariance, rolling.covariance[:1])


def test_an_expanding_window_alone_has_its_bits_too(expanding):
    alone = trained(GROWING[1:2], seeds=(0,), expanding=True)
    assert same_bits(member(alone, 0), member(expanding, 2))


def test_the_first_expanding_window_sees_what_the_first_rolling_one_does(rolling, expanding):
    """Other draws, since more rows are shuffled; the same data and so nearly the same optimum."""
    one, two = (np.asarray(said.factors[0], float) for said in (rolling, expanding))
    assert (match(one, two).correlations > 0.9).all()
    np.testing.assert_allclose(expanding.covariance[0], rolling.covariance[0], atol=0.1)
    assert rolling.ok.all()
    assert expanding.ok.all()


def test_an_expanding_window_does_not_see_later_dates(expanding):
    other = trained(GROWING, expanding=True, values=altered(GROWING[1].stop).values)
    for name in ("mean", "covariance", "loadings"):
        one, two = getattr(expanding, name), getattr(other, name)
        assert np.array_equal(one[:4], two[:4])
        assert not np.array_equal(one[4:], two[4:])
    assert np.array_equal(expanding.log_likelihood[:2], other.log_likelihood[:2])
    assert not np.array_equal(expanding.log_likelihood[2:4], other.log_likelihood[2:4])


def test_number_places_and_lengths_of_windows_do_not_compile(rolling, expanding):
    devices = tuple(jax.local_devices())
    shape = PRESET.model
    programs = [
        tile_program(_advancer(MODEL, PRESET.train), devices),
        tile_program(_asker(MODEL, shape, CONFIG.window, CONFIG.step), devices),
    ]
    before = [len(program.compiled) for program in programs]
    trained(cut_windows(100, CONFIG.window, 7, False)[1:])
    trained(cut_windows(110, 71, CONFIG.step, True), expanding=True)
    assert [len(program.compiled) for program in programs] == before


def test_one_window_is_training_on_its_rows_directly(rolling):
    """The same member from rows that were cut out and standardised beforehand: rounding apart."""
    span = SPANS[2]
    rows = PANEL.values[span.start : span.stop]
    units = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    data = make_data(make_batch(units), make_batch(units[:0]), PRESET.train.batch_size)
    members = walk_members(PANEL.values, [span], (1.0,), (0,), PRESET)
    plain = members._replace(hyperparameters=members.hyperparameters._replace(window=None))
    ensemble = train_ensemble(ROOT, data, plain, MODEL, PRESET.train)
    variables = member(ensemble.variables, 0)
    found = _linear(MODEL, variables, make_batch(units), jnp.zeros((1, 2)))
    np.testing.assert_allclose(
        as_baseline(found).covariance, rolling.covariance[4], rtol=1e-3, atol=1e-3
    )


def test_a_view_takes_rows_and_units_and_leaves_gaps_alone():
    values = np.array([[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]])
    data = make_data(make_batch(values), make_batch(values[:1]), 2)
    window = Window(jnp.array([2, 1]), jnp.array([1.0, 2.0]), jnp.array([2.0, 4.0]))
    seen = view(data, window)
    np.testing.assert_array_equal(seen.training.values, [[2.0, 1.0], [0.0, 0.5]])
    np.testing.assert_array_equal(seen.training.observed, [[1, 1], [0, 1]])
    np.testing.assert_array_equal(seen.validation.values, [[0.0, 0.0]])
    assert view(data, None) is data


def test_a_student_member_is_its_multivariate_t():
    """x ~ t_ν(b, W Wᵀ + Ψ) by the parameters themselves, as the decoder's docstring has it."""
    shape = replace(PRESET.model, likelihood="student")
    model = static_vae(shape, PANEL.n_assets)
    batch = make_batch(PANEL.values)
    variables = model.initialise(jax.random.key(1), batch)
    found = _linear(model, variables, batch, jnp.zeros((1, 2)))
    decoder = jax.tree.map(lambda leaf: np.asarray(leaf, float), variables.parameters["decoder"])
    loadings = decoder["curves"]["terms"]["kernel"].T
    np.testing.assert_allclose(found.mean, decoder["mean"]["bias"], rtol=1e-5)
    np.testing.assert_allclose(found.loadings, loadings, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.noise, np.exp(decoder["log_variance"]) + 1e-6, rtol=1e-4)
    assert found.df == pytest.approx(float(df_of(variables)), rel=1e-5)
    fitted = as_baseline(found)
    expected = loadings @ loadings.T + np.diag(found.noise)
    np.testing.assert_allclose(fitted.scatter, expected, rtol=1e-4, atol=1e-5)
    ratio = found.df / (found.df - 2)
    np.testing.assert_allclose(fitted.covariance, ratio * fitted.scatter, rtol=1e-5)


def test_sampling_agrees_with_closed_forms(rolling):
    """What models that bend are asked, of one that does not: within Monte-Carlo errors."""
    batch = make_batch((PANEL.values - PANEL.values.mean(axis=0)) / PANEL.values.std(axis=0))
    variables = MODEL.initialise(jax.random.key(1), batch)
    ask = jax.jit(functools.partial(_sampled, model=MODEL, recent=100))
    said = ask(jax.random.key(2), variables=variables, batch=batch, factors=jnp.ones((120, 2)))
    linear = _linear(MODEL, variables, batch, jnp.ones((120, 2)))
    fitted = as_baseline(linear)
    exact = fitted.log_likelihood(np.asarray(batch.values[100:], float))
    np.testing.assert_allclose(said.log_likelihood, exact, atol=0.5)
    # 20,000 draws: four standard errors of a variance are 4 √(2/20000) of it.
    spread = np.sqrt(np.outer(*2 * [np.diag(fitted.covariance)]))
    assert (np.abs(said.covariance - fitted.covariance) < 0.04 * spread).all()
    np.testing.assert_allclose(said.loadings, linear.loadings, rtol=1e-4, atol=1e-5)


def test_training_through_reaches_factor_analysis(rolling):
    """Within .1 nats a date of the likeliest factor model of the window's own rows."""
    rows = PANEL.values[: CONFIG.window]
    units = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    best = fit_factor_analysis(units, 2).log_likelihood(units).mean()
    found = fit_factor_analysis(units, 0)._replace(
        mean=np.asarray(rolling.mean[0], float), scatter=np.asarray(rolling.covariance[0], float)
    )
    assert best - 0.1 < found.log_likelihood(units).mean() <= best + 1e-6


def test_only_linear_decoders_get_linear_encoders():
    linear, additive = (
        for_windows(make_preset("default", n_factors=2, model=model), 252)
        for model in ("linear", "additive")
    )
    assert linear.model.widths == ()
    plain = make_preset("default", n_factors=2, model="additive")
    assert additive == plain._replace(train=replace(plain.train, patience=None))
    assert for_windows(plain, 60).train.batch_size == 16
