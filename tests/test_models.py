"""The network: its size, its batch norm, its skip and noise; shapes are checked at run time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.errors import OptionError
from jaxvae.models import ModelConfig, make_batch, static_vae, take_rows
from jaxvae.models.layers import BATCH_NORM_MOMENTUM, EPSILON, BatchNorm
from jaxvae.presets import NOTEBOOK, make_preset

RNG = np.random.default_rng(1)


def n_parameters(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables.parameters))


def test_notebook_preset_has_the_notebooks_parameters():
    model = static_vae(NOTEBOOK.model, 100)
    shapes = jax.eval_shape(model.initialise, jax.random.key(0), make_batch(np.zeros((64, 100))))
    assert n_parameters(shapes) == 17_998


def test_linear_model_is_two_matrices_and_their_biases():
    config = ModelConfig(n_factors=3, widths=(), normalisation="none", noise="scalar")
    variables = static_vae(config, 7).initialise(jax.random.key(0), make_batch(np.zeros((4, 7))))
    assert n_parameters(variables) == 2 * (7 * 3 + 3) + (3 * 7 + 7) + 1


def test_first_weights_follow_the_notebooks_law():
    """torch.nn.Linear: kernel and bias uniform on ±1/√fan_in."""
    model = static_vae(NOTEBOOK.model, 100)
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
    model = static_vae(ModelConfig(n_factors=2, widths=(4,)), 5)
    batch = make_batch(RNG.normal(size=(6, 5)))
    variables = model.initialise(jax.random.key(0), batch)
    together, _ = model.encode(variables, batch, False)
    alone, _ = model.encode(variables, take_rows(batch, jnp.array([3])), False)
    np.testing.assert_allclose(together.mean[3], alone.mean[0], rtol=1e-5, atol=1e-6)


def test_noise_starts_where_it_was_told_and_has_a_floor():
    config = ModelConfig(n_factors=2, widths=(), normalisation="none", noise_variance=0.3)
    model, batch = static_vae(config, 4), make_batch(np.zeros((2, 4)))
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
    assert static_vae(ModelConfig(), 9) is static_vae(ModelConfig(), 9)


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
        ModelConfig(**wrong)


@pytest.mark.parametrize(
    ("wrong", "words"), [({"name": "best"}, "--preset"), ({"model": "deep"}, "--model")]
)
def test_unknown_presets_and_models_are_refused(wrong, words):
    arguments = {"name": "default", "n_factors": 2, **wrong}
    with pytest.raises(OptionError, match=words):
        make_preset(arguments.pop("name"), **arguments)
