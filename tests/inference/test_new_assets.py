"""What a model with sectors knows of its assets, by whatever kind of noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvae.inference.new_assets import asset_coefficients
from jaxvae.models import ConditionalConfig, make_batch

N_ASSETS, SCALE = 4, np.array([1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize("noise", ["asset", "scalar", "fixed"])
def test_noise_is_that_of_the_model(noise):
    """Where nothing is known of a date: learned by asset, learned for all, or fixed."""
    family = ConditionalConfig(
        2, n_conditions=1, sectors=(0, 1, 0, 1), noise=noise, conditioned=("decoder",)
    )
    model = family.build(N_ASSETS)
    batch = make_batch(np.ones((3, N_ASSETS)), np.ones((3, 1)))
    variables = model.initialise(jax.random.key(0), batch)
    location = np.arange(4.0)
    mean, variance, found = asset_coefficients(model, variables, location, SCALE)
    nowhere = make_batch(np.zeros((1, N_ASSETS)), np.zeros((1, 1)))
    law, _ = model.decode(variables, jnp.zeros((1, 2)), nowhere, False)
    np.testing.assert_allclose(found, SCALE**2 * np.asarray(law.variance[0]), rtol=1e-6)
    np.testing.assert_allclose(mean[:, -1], location + SCALE * np.asarray(law.mean[0]), rtol=1e-6)
    assert mean.shape == variance.shape == (N_ASSETS, 4)
    assert (variance[:, :2] > 0).all()
    assert not variance[:, 2:].any()
