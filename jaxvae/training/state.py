"""Arguments and results of training: hyperparameters, data, state, losses."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxvae.models.model import Batch, Model, Variables, remember, take_rows
from jaxvae.training.config import TrainConfig


class Window(NamedTuple):
    """A member's own view of the shared rows: which of them it sees, and in what units.

    What a model is given of the past begins with the first of the shared rows, in the member's
    units, whichever rows are its own.

    Attributes:
        rows: of the shared training rows, in the member's order; all members take equally many.
        location, scale: by asset; the member sees (x - location) / scale, in validation too.
    """

    rows: Int[Array, "*members row"]
    location: Float[Array, "*members asset"]
    scale: Float[Array, "*members asset"]


class Hyperparameters(NamedTuple):
    """A member's own settings, arrays that one compiled program takes: with members on the leading
    axes, a table of them.

    Attributes:
        beta: weight of the KL term.
        learning_rate: Adam's, before the schedule.
        factor_mask: 1 for the factors in use, 0 for the rest.
        row_weights: what each training row counts; 0 leaves it out.
        validation_weights: what each validation row counts.
        last_epoch: epochs after which the member is frozen.
        window: the rows and units of the member's own, whose rows `row_weights` then counts; None
            where all members see the data as they are.
    """

    beta: Float[Array, "*members"]
    learning_rate: Float[Array, "*members"]
    factor_mask: Float[Array, "*members factor"]
    row_weights: Float[Array, "*members row"]
    validation_weights: Float[Array, "*members validation_row"]
    last_epoch: Int[Array, "*members"]
    window: Window | None = None


class Data(NamedTuple):
    """Training and validation rows, the same for all members.

    Attributes:
        training, validation: the rows of either part; weights in `Hyperparameters` pick among them.
        n_batches: batches an epoch, where no member uses all training rows: enough for the one that
            uses the most; None for as many as all rows fill.
    """

    training: Batch
    validation: Batch
    n_batches: Int[Array, ""] | None = None


def compact(data: Data) -> Data:
    """The same data for training, with one column in `observed` for all where every cell is
    observed: less to gather in each step."""
    if not all(bool(jnp.all(part.observed == 1.0)) for part in data[:2]):
        return data
    training, validation = (part._replace(observed=part.observed[:, :1]) for part in data[:2])
    return data._replace(training=training, validation=validation)


def view(data: Data, window: Window | None, model: Model) -> Data:
    """The data as a member with this window sees them.

    Args:
        data: the shared rows.
        window: None for a member that sees them as they are.
        model: by whose recurrence rows are told of the past anew, in the member's units.

    Returns:
        The member's own rows, in its units.
    """
    if window is None:
        return data
    training, validation = (_in_units_of(window, part) for part in data[:2])
    values = [jnp.where(one.observed > 0.0, one.values, jnp.nan) for one in (training, validation)]
    past, _ = remember(model, jnp.concatenate(values))
    n_rows = len(training.values)
    training = training._replace(past=jax.tree.map(lambda leaf: leaf[:n_rows], past))
    return data._replace(
        training=take_rows(training, window.rows),
        validation=validation._replace(past=jax.tree.map(lambda leaf: leaf[n_rows:], past)),
    )


def _in_units_of(window: Window, batch: Batch) -> Batch:
    units = (batch.values - window.location[None, :]) / window.scale[None, :]
    return batch._replace(values=jnp.where(batch.observed > 0.0, units, 0.0))


def make_hyperparameters(
    data: Data, model: Model, config: TrainConfig, *, beta: float = 1.0, learning_rate: float = 1e-3
) -> Hyperparameters:
    """One member's, with every row and factor in use and all epochs to go.

    Args:
        data: training and validation rows.
        model: what is trained.
        config: how it is trained.
        beta: weight of the KL term.
        learning_rate: Adam's, before the schedule.

    Returns:
        The member's `Hyperparameters`, without an axis of members.
    """
    return Hyperparameters(
        beta=jnp.float32(beta),
        learning_rate=jnp.float32(learning_rate),
        factor_mask=jnp.ones(model.n_factors, jnp.float32),
        row_weights=jnp.ones(data.training.values.shape[0], jnp.float32),
        validation_weights=jnp.ones(data.validation.values.shape[0], jnp.float32),
        last_epoch=jnp.int32(config.epochs),
    )


class TrainState(NamedTuple):
    """A member between two epochs: what `init` makes, and `epoch` takes and gives back.

    Attributes:
        variables: those of the last epoch.
        optimiser: the state of the optax chain.
        best, best_validation, best_epoch: the variables kept, their validation objective (nats a
            row; infinite until the schedules are over) and the number of epochs that made them.
        epoch: epochs done.
        ok: false once an epoch has ended in a number that is not finite; the member is then frozen.
    """

    variables: Variables
    optimiser: Any
    best: Variables
    best_validation: Float[Array, "*members"]
    best_epoch: Int[Array, "*members"]
    epoch: Int[Array, "*members"]
    ok: Bool[Array, "*members"]


class Losses(NamedTuple):
    """An epoch's objective and its parts: nats a row, or mean batch sums if `reduction` is "sum".

    Attributes:
        total: the objective that training lowers: reconstruction and what the KL costs.
        reconstruction: -E_q log p(x | z).
        kl: KL(q ‖ p), without β.
        validation: the objective at the full β and capacity on the validation rows, nats a row.
    """

    total: Float[Array, "*members"]
    reconstruction: Float[Array, "*members"]
    kl: Float[Array, "*members"]
    validation: Float[Array, "*members"]
