"""A function of one member asked of all: what it is given, what is compiled, and whose draws."""

import jax
import jax.numpy as jnp
import numpy as np
from small import DATA, MODEL, grid, trained

from jaxvae.inference.evaluation import posterior_means
from jaxvae.inference.members import ask, fitted_members

ASKED = []


def noise(key, model, variables, number):
    """Draws that say who was asked and how often this was traced."""
    ASKED.append(number)
    return jax.random.normal(key, (number,)) + 0.0 * variables.factor_mask[0] * model.n_factors


def test_every_member_answers_as_alone():
    fitted = fitted_members(trained(grid()))
    found = ask(posterior_means, fitted, {"batch": DATA.validation}, model=MODEL)
    assert len(found) == len(fitted.seed) == 4
    for index, means in enumerate(found):
        one = jax.tree.map(lambda leaf, index=index: jnp.asarray(leaf[index]), fitted.variables)
        alone = jax.jit(posterior_means, static_argnums=0)(MODEL, one, DATA.validation)
        np.testing.assert_allclose(means, alone, rtol=1e-5, atol=1e-6)


def test_members_share_draws_unless_they_are_to_have_their_own():
    fitted = fitted_members(trained(grid()))
    shared = {"key": jax.random.key(0)}
    same = ask(noise, fitted, shared, model=MODEL, number=5)
    assert (same == same[:1]).all()
    own = ask(noise, fitted, shared, own_draws=True, model=MODEL, number=5)
    seeds = np.asarray(fitted.seed)
    for index, seed in enumerate(seeds):
        key = jax.random.fold_in(shared["key"], jnp.uint32(seed))
        np.testing.assert_allclose(own[index], jax.random.normal(key, (5,)), rtol=1e-6)
    # By seed, not by place: the two betas of a seed draw alike.
    assert (own[seeds == 0] == own[seeds == 0][:1]).all()
    assert not np.allclose(own[seeds == 0][0], own[seeds == 1][0])


def test_equal_questions_compile_once():
    fitted, shared = fitted_members(trained(grid())), {"key": jax.random.key(0)}
    ASKED.clear()
    for number in (3, 3, 4, 3):
        ask(noise, fitted, shared, model=MODEL, number=number)
    assert ASKED == [3, 4]
