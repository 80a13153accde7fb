"""Windows as members: one program, the bits of a window alone, training on those rows directly."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear import sampled
from small import same_bits
from walking import CONFIG, PANEL, altered

from jaxvae.analysis.matching import match
from jaxvae.baselines import Elliptical, fit_factor_analysis
from jaxvae.data.panel import fit_scaler
from jaxvae.fitting.presets import PRESETS, WINDOWS
from jaxvae.inference.forecasts import last_row_moments
from jaxvae.models import TemporalConfig, make_batch, take_rows
from jaxvae.models.model import remember
from jaxvae.training.ensemble import _advance, train_ensemble
from jaxvae.training.state import Data, Window, view
from jaxvae.training.tiles import tile_program
from jaxvae.walk.config import for_windows
from jaxvae.walk.members import MOMENT_DRAWS, _ask, _outputs, train_windows, walk_members
from jaxvae.walk.windows import cut_windows

pytestmark = pytest.mark.slow

PRESET = CONFIG.preset()
MODEL = PRESET.model.build(PANEL.n_assets)
SPANS = cut_windows(PANEL.n_dates, CONFIG.window, CONFIG.step, False)
ROOT = jax.random.key(0)


GROWING = cut_windows(PANEL.n_dates, CONFIG.window, CONFIG.step, True)


def made_members(values, spans, config):
    scalers = [fit_scaler(values[span.start : span.stop]) for span in spans]
    return walk_members(values, spans, scalers, config)


def trained(spans=SPANS, some=slice(None), expanding=False, values=PANEL.values):
    config = replace(CONFIG, expanding=expanding)
    members = jax.tree.map(lambda leaf: leaf[some], made_members(values, spans, config))
    return train_windows(values, members, config)


@pytest.fixture(scope="module")
def rolling():
    return trained()


@pytest.fixture(scope="module")
def expanding():
    return trained(GROWING, expanding=True)


def member(outputs, index):
    return jax.tree.map(lambda leaf: leaf[index], outputs)


def test_windows_end_every_step_and_are_judged_on_whole_ones():
    assert cut_windows(30, 10, 8, False) == [(0, 10, 18), (8, 18, 26)]
    assert cut_windows(34, 10, 8, True) == [(0, 10, 18), (0, 18, 26), (0, 26, 34)]
    assert cut_windows(17, 10, 8, False) == []


def test_a_window_alone_has_the_bits_it_has_in_the_grid(rolling):
    alone = trained(SPANS[3:4], some=slice(1, 2))
    assert same_bits(member(alone, 0), member(rolling, 7))
    assert not same_bits(alone.covariance, rolling.covariance[:1])


def test_an_expanding_window_alone_has_its_bits_too(expanding):
    alone = trained(GROWING[1:2], some=slice(0, 1), expanding=True)
    assert same_bits(member(alone, 0), member(expanding, 2))


def test_the_first_expanding_window_sees_what_the_first_rolling_one_does(rolling, expanding):
    """Other draws, since more rows are shuffled; the same data and so nearly the same optimum."""
    one, two = (np.asarray(outputs.factors[0], float) for outputs in (rolling, expanding))
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
    programs = [
        tile_program(_advance, devices, MODEL, PRESET.train),
        tile_program(_ask, devices, MODEL, CONFIG.window, CONFIG.step),
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
    data = Data(make_batch(units), make_batch(units[:0]))
    members = made_members(PANEL.values, [span], replace(CONFIG, seeds=1))
    plain = members._replace(hyperparameters=members.hyperparameters._replace(window=None))
    ensemble = train_ensemble(ROOT, data, plain, MODEL, PRESET.train)
    variables = member(ensemble.variables, 0)
    _, covariance = MODEL.moments(variables, make_batch(units))
    np.testing.assert_allclose(covariance, rolling.covariance[4], rtol=1e-3, atol=1e-3)


def test_a_view_takes_rows_and_units_and_leaves_gaps_alone():
    values = np.array([[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]])
    data = Data(make_batch(values), make_batch(values[:1]))
    window = Window(jnp.array([2, 1]), jnp.array([1.0, 2.0]), jnp.array([2.0, 4.0]))
    seen = view(data, window, MODEL)
    np.testing.assert_array_equal(seen.training.values, [[2.0, 1.0], [0.0, 0.5]])
    np.testing.assert_array_equal(seen.training.observed, [[1, 1], [0, 1]])
    np.testing.assert_array_equal(seen.validation.values, [[0.0, 0.0]])
    assert view(data, None, MODEL) is data


@pytest.mark.parametrize("likelihood", ["gaussian", "student"])
def test_sampling_agrees_with_closed_forms(likelihood):
    """What models that bend are asked, of one that does not: within Monte-Carlo errors."""
    model = replace(PRESET.model, likelihood=likelihood).build(PANEL.n_assets)
    batch = make_batch((PANEL.values - PANEL.values.mean(axis=0)) / PANEL.values.std(axis=0))
    variables = model.initialise(jax.random.key(1), batch)
    key = jax.random.key(2)
    exact, other = (
        jax.jit(functools.partial(_outputs, key, one, recent=100))(variables=variables, batch=batch)
        for one in (model, sampled(model))
    )
    np.testing.assert_allclose(other.log_likelihood, exact.log_likelihood, atol=0.5)
    # 20,000 draws: four standard errors of a variance are 4 √(2/20000) of it.
    spread = np.sqrt(np.outer(*2 * [np.diag(exact.covariance)]))
    assert (np.abs(other.covariance - exact.covariance) < 0.04 * spread).all()
    np.testing.assert_allclose(other.loadings, exact.loadings, rtol=1e-4, atol=1e-5)


def test_training_through_reaches_factor_analysis(rolling):
    """Within .1 nats a date of the likeliest factor model of the window's own rows."""
    rows = PANEL.values[: CONFIG.window]
    units = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    best = fit_factor_analysis(units, 2).log_likelihood(units).mean()
    moments = (np.asarray(part[0], float) for part in (rolling.mean, rolling.covariance))
    found = Elliptical.without_factors(*moments)
    assert best - 0.1 < found.log_likelihood(units).mean() <= best + 1e-6


def test_windows_train_through_in_small_batches():
    plain = PRESETS["additive"]
    assert for_windows(plain, 252) == plain._replace(train=replace(plain.train, patience=None))
    assert for_windows(plain, 60).train.batch_size == 16


def test_linear_decoders_get_linear_encoders():
    for name, preset in WINDOWS.items():
        model = preset.model.build(PANEL.n_assets)
        assert (getattr(preset.model, "widths", None) == ()) == model.facts.linear, name


def test_what_a_date_is_told_begins_with_the_panel_in_its_windows_units():
    """And the covariance is the next date's."""
    model = TemporalConfig(2, half_lives=(5.0,), products=(20.0,)).build(PANEL.n_assets)
    batch, span = make_batch(PANEL.values), SPANS[1]
    own = PANEL.values[span.start : span.stop]
    known = (PANEL.values - own.mean(axis=0)) / own.std(axis=0)
    past, _ = remember(model, known)
    table = made_members(PANEL.values, [span], replace(CONFIG, seeds=1))
    window = jax.tree.map(jnp.asarray, member(table, 0).hyperparameters.window)
    seen = view(Data(batch, make_batch(PANEL.values[:0])), window, model)
    parts = map(jax.tree.leaves, (seen.training.past, past))
    for one, other in zip(*parts, strict=True):
        np.testing.assert_allclose(one, other[span.start : span.stop], rtol=1e-3, atol=1e-4)
    variables, shared = model.initialise(jax.random.key(1), batch), (jax.random.key(2), batch)
    outputs = jax.jit(_ask, static_argnums=(2, 3, 4))(
        (variables, member(table, 0)), shared, model, CONFIG.window, CONFIG.step
    )
    ahead = take_rows(make_batch(known, past=past), slice(span.stop + 1))
    key, _ = jax.random.split(jax.random.key(2))
    _, covariance = last_row_moments(key, model, variables, ahead, MOMENT_DRAWS)
    np.testing.assert_allclose(outputs.covariance, covariance, rtol=1e-3, atol=1e-4)
