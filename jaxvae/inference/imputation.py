"""Missing cells, given the observed cells of their row."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.special import softmax

from jaxvae.inference.importance import posterior_mean_of_returns
from jaxvae.inference.members import Fitted, ask
from jaxvae.models.model import Batch, Model, Variables


def complete_rows(
    key: Key[Array, ""],
    model: Model,
    variables: Variables,
    batch: Batch,
    n_samples: int,
) -> tuple[Float[Array, "row asset"], Float[Array, " row"]]:
    """E[x_m | x_o] where a cell is missing, the value where it is observed; and log p(x_o), nats.

    Both are exact for a model that is linear in its factors and knows their posterior, E[x | z] at
    its mean; where rows depend on each other, given the observed cells of all. Else they rest on
    `n_samples` importance samples.
    """
    if model.facts.linear and model.posterior is not None and model.log_likelihood is not None:
        factors = model.posterior(variables, batch).mean
        expected = model.decode(variables, factors, batch, False)[0].mean
        likelihood = model.log_likelihood(variables, batch)
    else:
        expected, likelihood = posterior_mean_of_returns(key, model, variables, batch, n_samples)
    return jnp.where(batch.observed > 0.0, batch.values, expected), likelihood


def complete_by_mixture(
    key: Key[Array, ""], model: Model, fitted: Fitted, batch: Batch, n_samples: int
) -> Float[np.ndarray, "row asset"]:
    """`complete_rows` under the equal mixture of the members, in standard units.

    Members count by their responsibilities p_i(x_o)/Σ p_j(x_o), row by row: those that made the
    cells observed likely are heard on the others.
    """
    shared = {"key": key, "batch": batch}
    completed, likelihood = ask(complete_rows, fitted, shared, model=model, n_samples=n_samples)
    shares = softmax(np.asarray(likelihood, np.float64), axis=0)
    return np.einsum("mr,mra->ra", shares, np.asarray(completed, np.float64))
