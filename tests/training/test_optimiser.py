"""Weight decay goes by leaf: matrices, or what a model names."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxvae.models import TemporalConfig, make_batch
from jaxvae.models.model import remember
from jaxvae.training.config import TrainConfig
from jaxvae.training.optimiser import make_optimiser

CONFIG = TrainConfig(weight_decay=0.5)


def decayed(parameters, *of_model):
    """The leaves that shrink where no gradient moves them, at their share of what they were."""
    optimiser = make_optimiser(CONFIG, *of_model)
    still = jax.tree.map(jnp.zeros_like, parameters)
    arguments = {"learning_rate": jnp.float32(0.1), "value": 0.0, "used": jnp.bool_(True)}
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optimiser.update(still, optimiser.init(parameters), parameters, **arguments)
    return jax.tree.map(lambda leaf: np.asarray(leaf).ravel(), updates)


def test_matrices_decay_unless_the_model_says_otherwise():
    parameters = {"matrix": jnp.ones((2, 3)), "vector": jnp.ones(3)}
    found = decayed(parameters)
    np.testing.assert_allclose(found["matrix"], -0.05, rtol=1e-6)
    np.testing.assert_array_equal(found["vector"], 0.0)
    found = decayed(parameters, lambda tree: {"matrix": False, "vector": True})
    np.testing.assert_array_equal(found["matrix"], 0.0)
    np.testing.assert_allclose(found["vector"], -0.05, rtol=1e-6)


def test_what_is_an_assets_own_decays_in_the_temporal_model():
    """Vectors of it as well as matrices, and nothing that all assets share."""
    model = TemporalConfig(3).build(4)
    values = np.random.default_rng(0).normal(size=(5, 4))
    batch = make_batch(values, past=remember(model, values)[0])
    parameters = jax.tree.map(jnp.ones_like, model.initialise(jax.random.key(0), batch).parameters)
    found = decayed(parameters, model.decayed)["decoder"]
    names = {name for name, leaf in found.items() if (leaf < 0).all()}
    assert names == {"loadings", "own_log_noise", "own_volatility", "own_log_df", "bias"}
    assert {name for name, leaf in found.items() if (leaf == 0).all()} == set(found) - names
