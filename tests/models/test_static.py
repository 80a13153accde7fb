"""The network: its size, its batch norm, its skip and noise; shapes are checked at run time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.baselines import fit_factor_analysis
from jaxvae.data.synthetic import linear_panel
from jaxvae.errors import OptionError
from jaxvae.fitting.config import StudyConfig
from jaxvae.fitting.fit import train_grid
from jaxvae.fitting.prepare import prepare
from jaxvae.fitting.presets import MODELS, PRESETS, make_preset
from jaxvae.models import AdditiveConfig, PerceptronConfig, make_batch, take_rows
from jaxvae.models.layers import BATCH_NORM_MOMENTUM, EPSILON, BatchNorm, Curves

RNG = np.random.default_rng(1)


def n_parameters(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables.parameters))


def test_notebook_preset_has_the_notebooks_parameters():
    model = PRESETS["notebook"].model.build(100)
    shapes = jax.eval_shape(model.initialise, jax.random.key(0), make_batch(np.zeros((64, 100))))
    assert n_parameters(shapes) == 17_998


def test_linear_model_is_two_matrices_and_their_biases():
    config = PerceptronConfig(n_factors=3, widths=(), normalisation="none", noise="scalar")
    variables = config.build(7).initialise(jax.random.key(0), make_batch(np.zeros((4, 7))))
    assert n_parameters(variables) == 2 * (7 * 3 + 3) + (3 * 7 + 7) + 1


def test_first_weights_follow_the_notebooks_law():
    """torch.nn.Linear: kernel and bias uniform on ±1/√fan_in."""
    model = PRESETS["notebook"].model.build(100)
    variables = model.initialise(jax.random.key(0), make_batch(np.zeros((8, 100))))
    layer = variables.parameters["encoder"]["hidden"]["dense_0"]
    for weights in (layer["kernel"], layer["bias"]):
        assert 0.09 < np.abs(weights).max() <= 0.1
    assert np.std(layer["kernel"]) == pytest.approx(0.1 / 3**0.5, rel=0.05)


def batch_norm(weights, training=True):
    layer = BatchNorm()
    variables = layer.init(jax.random.key(0), INPUTS, weights, True)
    return layer.apply(variables, INPUTS, weights, training, mutable=["statistics"])


INPUTS = jnp.asarray(RNG.normal(2.0, 3.0, size=(6, 2)), jnp.float32)


def test_batch_norm_standardises_and_moves_its_statistics():
    outputs, moved = batch_norm(jnp.ones(6))
    inputs = np.asarray(INPUTS)
    mean, variance = inputs.mean(axis=0), inputs.var(axis=0)
    np.testing.assert_allclose(outputs, (inputs - mean) / np.sqrt(variance + EPSILON), rtol=1e-4)
    statistics = moved["statistics"]
    np.testing.assert_allclose(statistics["mean"], BATCH_NORM_MOMENTUM * mean, rtol=1e-5)
    expected = 1 + BATCH_NORM_MOMENTUM * (inputs.var(axis=0, ddof=1) - 1)
    np.testing.assert_allclose(statistics["variance"], expected, rtol=1e-5)


def test_batch_norm_leaves_out_rows_without_weight():
    weights = jnp.array([1.0, 1, 1, 1, 0, 0])
    outputs, moved = batch_norm(weights)
    layer = BatchNorm()
    variables = layer.init(jax.random.key(0), INPUTS[:4], jnp.ones(4), True)
    alone, alone_moved = layer.apply(
        variables, INPUTS[:4], jnp.ones(4), True, mutable=["statistics"]
    )
    np.testing.assert_allclose(outputs[:4], alone, rtol=1e-5)
    for name in ("mean", "variance"):
        np.testing.assert_allclose(
            moved["statistics"][name], alone_moved["statistics"][name], rtol=1e-5
        )


def test_dates_do_not_see_each_other_outside_training():
    model = PerceptronConfig(n_factors=2, widths=(4,)).build(5)
    batch = make_batch(RNG.normal(size=(6, 5)))
    variables = model.initialise(jax.random.key(0), batch)
    together, _ = model.encode(variables, batch, False)
    alone, _ = model.encode(variables, take_rows(batch, jnp.array([3])), False)
    np.testing.assert_allclose(together.mean[3], alone.mean[0], rtol=1e-5, atol=1e-6)


def test_noise_starts_where_it_was_told_and_has_a_floor():
    config = PerceptronConfig(n_factors=2, widths=(), normalisation="none", noise_variance=0.3)
    model, batch = config.build(4), make_batch(np.zeros((2, 4)))
    variables = model.initialise(jax.random.key(0), batch)
    start, _ = model.decode(variables, jnp.zeros((2, 2)), batch, False)
    np.testing.assert_allclose(np.exp(start.log_variance), 0.3, rtol=1e-4)
    variables.parameters["decoder"]["log_variance"] = jnp.full(4, -1e4)
    floor, _ = model.decode(variables, jnp.zeros((2, 2)), batch, False)
    np.testing.assert_allclose(np.exp(floor.log_variance), 1e-6, rtol=1e-3)


def test_missing_cells_are_zero_and_unobserved():
    batch = make_batch(np.array([[1.0, np.nan], [2.0, 3.0]]))
    np.testing.assert_array_equal(batch.observed, [[1, 0], [1, 1]])
    assert float(batch.values[0, 1]) == 0.0


def test_equal_configurations_give_one_model():
    assert PerceptronConfig().build(9) is PerceptronConfig().build(9)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"n_factors": 0}, "factors: 0"),
        ({"widths": (8, 0)}, "widths"),
        ({"normalisation": "instance"}, "normalisation: 'instance'"),
        ({"noise": "row"}, "noise: 'row'"),
        ({"noise_variance": 0.0}, "noise_variance"),
    ],
)
def test_wrong_configurations_are_refused(wrong, words):
    with pytest.raises(OptionError, match=words):
        PerceptronConfig(**wrong)


@pytest.mark.parametrize("wrong", ["deep", 3])
def test_what_makes_no_model_is_refused(wrong):
    with pytest.raises(OptionError, match="model: "):
        make_preset(wrong, n_factors=2)


def mixed_curvature(config):
    """∂²E[x | z]/∂z_1 ∂z_2 of an untrained decoder at a point."""
    model, batch = config.build(5), make_batch(np.zeros((1, 5)))
    variables = model.initialise(jax.random.key(0), batch)

    def mean(factors):
        return model.decode(variables, factors[None, :], batch, False)[0].mean[0]

    return np.asarray(jax.jacfwd(jax.jacrev(mean))(jnp.array([0.4, -0.7, 1.1])))


@pytest.mark.slow
def test_no_term_of_an_additive_decoder_sees_two_factors():
    config = AdditiveConfig(n_factors=3, degree=3)
    curvature = mixed_curvature(config)
    assert np.abs(curvature[:, range(3), range(3)]).min() > 1e-3
    off = ~np.eye(3, dtype=bool)
    assert not curvature[:, off].any()
    tangled = mixed_curvature(PerceptronConfig(n_factors=3, widths=(8, 8), normalisation="layer"))
    assert np.abs(tangled[:, off]).max() > 1e-3


def test_curves_are_orthonormal_polynomials():
    """Under N(0, 1), by Gauss-Hermite quadrature; the kernel shows each term by itself."""
    points, weights = np.polynomial.hermite_e.hermegauss(12)
    curves = Curves(degree=4, size=4)
    kernel = {"params": {"terms": {"kernel": jnp.eye(4)}}}
    terms = np.asarray(curves.apply(kernel, jnp.asarray(points, jnp.float32)[:, None]))
    products = terms.T * weights / weights.sum() @ terms
    np.testing.assert_allclose(products, np.eye(4), atol=1e-4)
    np.testing.assert_allclose(terms[:, 1], (points**2 - 1) / np.sqrt(2), rtol=1e-4, atol=1e-4)


def test_a_curve_of_degree_one_is_a_line():
    curvature = mixed_curvature(AdditiveConfig(n_factors=3, degree=1))
    assert not curvature.any()


def heavy(likelihood, values):
    config = PerceptronConfig(2, widths=(4,), normalisation="none", likelihood=likelihood)
    model, batch = config.build(5), make_batch(values)
    return model, batch, model.initialise(jax.random.key(0), batch)


def test_a_students_posterior_grows_with_its_row():
    """Ten times the row: ten times the mean and the standard deviation, but for the cell added."""
    row = 1e3 * RNG.normal(size=(1, 5))
    model, batch, variables = heavy("student", np.concatenate([row, 10 * row]))
    head = variables.parameters["encoder"]["hidden"]["dense_0"]["kernel"]
    variables.parameters["encoder"]["hidden"]["dense_0"]["kernel"] = head.at[-1].set(0.0)
    posterior, _ = model.encode(variables, batch, False)
    np.testing.assert_allclose(posterior.mean[1], 10 * posterior.mean[0], rtol=1e-3)
    gap = posterior.log_variance[1] - posterior.log_variance[0]
    np.testing.assert_allclose(gap, 2 * np.log(10), rtol=1e-3)


def test_the_first_factor_of_a_volatility_model_scales_mean_and_noise():
    model, batch, variables = heavy("volatility", np.zeros((2, 5)))
    calm, wild = jnp.array([[0.0, 0.8], [2.0, 0.8]])
    density, _ = model.decode(variables, jnp.stack([calm, wild]), batch, False)
    loadings = variables.parameters["decoder"]["volatility"]
    ratio = np.exp(np.asarray(loadings))
    np.testing.assert_allclose(density.mean[1], density.mean[0] * ratio, rtol=1e-4)
    gap = density.log_scale[1] - density.log_scale[0]
    np.testing.assert_allclose(gap, 2.0 * loadings, rtol=1e-4)


def test_conditions_reach_encoder_and_decoder():
    model = PerceptronConfig(n_factors=2, widths=(), normalisation="none").build(3)
    batch = make_batch(np.zeros((2, 3)), conditions=np.array([[0.0], [1.0]]))
    variables = model.initialise(jax.random.key(0), batch)
    posterior, _ = model.encode(variables, batch, False)
    density, _ = model.decode(variables, jnp.zeros((2, 2)), batch, False)
    assert not np.allclose(posterior.mean[0], posterior.mean[1])
    assert not np.allclose(density.mean[0], density.mean[1])


@pytest.mark.parametrize("model", MODELS)
def test_every_model_of_the_command_line_is_a_preset(model):
    preset = make_preset(model, n_factors=3, epochs=40)
    assert preset.model.n_factors == 3
    assert preset.train.epochs == 40
    assert preset.train.curriculum_epochs == (25 if model == "additive" else 0)


def test_the_notebook_has_its_own_network_only():
    with pytest.raises(OptionError, match="notebook"):
        StudyConfig(preset="notebook", model="additive")


def test_a_linear_encoder_gives_way_where_cells_are_missing():
    """What an observed cell says of a factor hangs on which others are observed."""
    linear = PRESETS["linear"].model
    assert linear.for_panel(0, (), incomplete=False) == linear
    masked = linear.for_panel(0, (), incomplete=True)
    assert (masked.masked, masked.skip, masked.widths) == (True, True, AdditiveConfig().widths)
    own = AdditiveConfig(widths=(7,), skip=False).for_panel(0, (), incomplete=True)
    assert (own.widths, own.skip) == ((7,), False)


@pytest.mark.slow
def test_the_linear_preset_comes_to_a_factor_analysis():
    """Its members reach the maximum of the likelihood, in the same axes."""
    scores, best, grid = scored_beside_factor_analysis(n_assets=12, seeds=3)
    assert (scores < best + 1e-3).all()
    assert (scores > best - 0.05).all()
    loadings = np.asarray(grid.evaluation.loadings, np.float64)
    unit = loadings / np.linalg.norm(loadings, axis=1, keepdims=True)
    assert (np.einsum("mak,ak->mk", unit, unit[0]) > 0.99).all()


@pytest.mark.slow
def test_many_assets_do_not_make_training_diverge():
    """An encoder of many inputs takes no larger steps than one of few."""
    scores, best, grid = scored_beside_factor_analysis(n_assets=1600, seeds=1)
    assert grid.ensemble.ok.all()
    assert scores > best - 1.0


def scored_beside_factor_analysis(n_assets, seeds):
    """Mean log-likelihood of `train` by member, that of a factor analysis, and the members."""
    panel, _ = linear_panel(3, n_dates=300, n_assets=n_assets, n_factors=2, n_sectors=3)
    config = StudyConfig(model="linear", n_factors=2, seeds=seeds, betas=(1.0,))
    prepared = prepare(panel, config)
    grid = train_grid(prepared, lambda progress: None)
    train = prepared.values[prepared.split.train]
    law = fit_factor_analysis(train, 2)
    scores = np.asarray(grid.evaluation.likelihood.value)[:, prepared.split.train].mean(axis=1)
    return scores, law.log_likelihood(train).mean(), grid
