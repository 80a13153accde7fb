"""Members whose axes the likelihood leaves free are reported in the same ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import DATA, N_ASSETS

from jaxvae.models import AdditiveConfig, PerceptronConfig

BATCH = DATA.training
K = 3


def model_of(likelihood, **changes):
    config = AdditiveConfig(K, widths=(4,), likelihood=likelihood, **changes)
    return config.build(N_ASSETS)


def members_of(model, n=2):
    """Untrained members with loadings large enough to matter."""
    variables = jax.vmap(lambda key: model.initialise(key, BATCH))(
        jax.random.split(jax.random.key(0), n)
    )
    return jax.tree.map(lambda leaf: np.array(2.0 * leaf), variables)._replace(
        factor_mask=np.ones((n, K), np.float32)
    )


def one(variables, member):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[member]), variables)


def information(variables, first):
    decoder = variables.parameters["decoder"]
    terms = np.asarray(decoder["curves"]["terms"]["kernel"], np.float64)
    precision = np.exp(-np.asarray(decoder.get("log_variance", 0.0), np.float64))
    return (terms * precision) @ terms.T, terms


@pytest.mark.parametrize("likelihood", ["gaussian", "student", "volatility"])
def test_loadings_are_diagonal_in_the_noise_and_descend(likelihood):
    model = model_of(likelihood)
    first = 1 if likelihood == "volatility" else 0
    turned = model.principal(members_of(model))
    for member in range(2):
        found, terms = information(one(turned, member), first)
        np.testing.assert_allclose(found, np.diag(np.diag(found)), atol=1e-4 * found.max())
        assert (np.diff(np.diag(found)) < 0).all()
        assert (terms.mean(axis=1) > 0).all()


@pytest.mark.parametrize("likelihood", ["gaussian", "student", "volatility"])
def test_the_law_of_returns_is_the_same(likelihood):
    """Jointly with the factors, which are turned: so, too, without them."""
    model = model_of(likelihood)
    before, joint = members_of(model), []
    for variables in (before, model.principal(before)):
        member = one(variables, 0)
        factors = model.encode(member, BATCH, False)[0].mean
        returns, _ = model.decode(member, factors, BATCH, False)
        prior = model.prior(member, factors, BATCH)
        density = prior.log_prob(factors, jnp.ones_like(factors))
        joint.append(density + returns.log_prob(BATCH.values, BATCH.observed))
    np.testing.assert_allclose(*joint, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("likelihood", ["gaussian", "student", "volatility"])
def test_means_turn_with_the_loadings(likelihood):
    """So that what is rebuilt stays as it was."""
    model = model_of(likelihood)
    before, rebuilt = members_of(model), []
    for variables in (before, model.principal(before)):
        member = one(variables, 1)
        means = model.encode(member, BATCH, False)[0].mean
        rebuilt.append(model.decode(member, means, BATCH, False)[0].mean)
    np.testing.assert_allclose(*rebuilt, rtol=1e-3, atol=1e-3)


def test_two_rotations_of_one_member_become_the_same():
    model = model_of("gaussian")
    before = members_of(model, n=1)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(K, K)))
    rotation = rotation.astype(np.float32)
    encoder, decoder = dict(before.parameters["encoder"]), dict(before.parameters["decoder"])
    terms = decoder["curves"]["terms"]["kernel"]
    decoder["curves"] = {"terms": {"kernel": rotation.T @ terms}}
    for name in ("mean", "skip"):
        encoder[name] = {part: leaf @ rotation for part, leaf in encoder[name].items()}
    other = before._replace(parameters={"encoder": encoder, "decoder": decoder})
    found = [model.principal(variables) for variables in (before, other)]
    means = [model.encode(one(variables, 0), BATCH, False)[0].mean for variables in found]
    np.testing.assert_allclose(*means, rtol=1e-3, atol=1e-3)


def test_factors_that_are_not_in_use_stay_last():
    model = model_of("gaussian")
    members = members_of(model)
    few = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    turned = model.principal(members._replace(factor_mask=few))
    np.testing.assert_array_equal(turned.factor_mask, few)
    for member in range(2):
        exact = [
            model.log_likelihood(one(variables, member), BATCH)
            for variables in (members._replace(factor_mask=few), turned)
        ]
        np.testing.assert_allclose(*exact, atol=2e-3)


def test_a_place_alone_moves_variances_exactly():
    model = model_of("gaussian")
    once = model.principal(members_of(model))
    twice = model.principal(once)
    for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(twice), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_axes_that_a_likelihood_fixes_are_left_alone():
    assert model_of("gaussian", degree=3).principal is None
    assert PerceptronConfig(K).build(N_ASSETS).principal is None
