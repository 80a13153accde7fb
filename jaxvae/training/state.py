"""What training takes and gives: settings, hyperparameters, data, state, losses."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxvae.errors import Option, OptionError
from jaxvae.models.model import Batch, Model, Variables, take_rows

SCHEDULES = ("cosine", "constant")
REDUCTIONS = ("mean", "sum")


@dataclass(frozen=True)
class TrainConfig:
    """How a member is trained.

    epochs: the most passes over the training rows, and the length of the cosine schedule.
    batch_size: rows a step; the last, shorter batch of an epoch is included.
    warmup_epochs: β rises linearly from 0 over this many epochs, so that factors are let in before
        they cost anything (Bowman et al. 2016); 0 starts at β.
    capacity: nats a row at which the KL is held, in place of being charged for: it costs
        β |KL - C|, of the mean KL of a batch's rows, while C rises linearly from 0 to the capacity
        over `capacity_epochs` (Burgess et al. 2018, whose γ is β here); None charges β KL. β must
        exceed what a nat is worth there, or the KL runs ahead; far above it Adam's steps are all
        for the KL.
    free_bits: nats a row that each factor in use may carry without charge: β Σ_k max(free_bits,
        KL_k), of the mean KL of a batch's rows (Kingma et al. 2016), so that no factor gains by
        giving up the last of what it says; 0 charges β KL.
    unfold_epochs: factors come into use one at a time, evenly over this many epochs; 0 starts with
        all. A lone factor takes the curve that says most, where many at once share it in pieces.
    schedule: learning rate by epoch, "cosine" to 0 or "constant".
    clip_norm: largest global norm of a gradient; None leaves gradients alone.
    weight_decay: decoupled decay of matrices, a unit of learning rate (Loshchilov & Hutter 2019).
    input_dropout: share of cells hidden from the encoder in training, the rest scaled up
        (Srivastava et al. 2014); the likelihood sees them all.
    hidden_cells: for masked models, the most of a row's cells that training hides through the mask,
        from encoder and likelihood alike; each row draws its share uniformly from 0 to this. The
        encoder learns patterns that the training rows do not show, such as a delisting to come.
    n_samples: draws of z a row and step; above 1 the objective is the importance-weighted bound
        (Burda et al. 2016).
    reduction: "mean" over a batch's rows, or "sum" as in the notebook.
    patience: epochs without a better validation objective after which a member stops and its best
        epoch is kept, counted from the end of warm-up, unfolding and the rise of the capacity:
        before it the objective is another one; None trains through and keeps the last.
    """

    epochs: int = 200
    batch_size: int = 64
    warmup_epochs: int = 50
    capacity: float | None = None
    capacity_epochs: int = 0
    free_bits: float = 0.0
    unfold_epochs: int = 0
    schedule: str = "cosine"
    clip_norm: float | None = 1.0
    weight_decay: float = 0.0
    input_dropout: float = 0.0
    hidden_cells: float = 0.0
    n_samples: int = 1
    reduction: str = "mean"
    patience: int | None = 40

    def __post_init__(self) -> None:
        leasts = {"epochs": 1, "batch_size": 2, "warmup_epochs": 0, "n_samples": 1}
        for name, least in leasts.items():
            if getattr(self, name) < least:
                raise OptionError(name, f"{getattr(self, name)} is too small; at least {least}")
        if self.schedule not in SCHEDULES:
            raise OptionError("schedule", f"{self.schedule!r} is not one of {', '.join(SCHEDULES)}")
        if self.reduction not in REDUCTIONS:
            known = ", ".join(REDUCTIONS)
            raise OptionError("reduction", f"{self.reduction!r} is not one of {known}")
        if not 0 <= self.unfold_epochs <= self.epochs:
            raise OptionError("unfold_epochs", f"{self.unfold_epochs} must lie in [0, epochs]")
        self._check_charge()
        for name in ("input_dropout", "hidden_cells"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(name, f"{getattr(self, name)} must lie in [0, 1)")
        if self.patience is not None and self.patience < 1:
            raise OptionError("patience", f"{self.patience} is too small; at least 1, or none")

    @property
    def settled_epochs(self) -> int:
        """Epochs after which no schedule moves the objective, at most all."""
        rising = 0 if self.capacity is None else self.capacity_epochs
        return min(max(self.warmup_epochs, self.unfold_epochs, rising), self.epochs)

    def _check_charge(self) -> None:
        """Capacity and free bits."""
        for name, nats in (("capacity", self.capacity or 0.0), ("free_bits", self.free_bits)):
            if not (math.isfinite(nats) and nats >= 0):
                raise OptionError(name, f"{nats} must be finite and not negative")
        if not 0 <= self.capacity_epochs <= self.epochs:
            raise OptionError("capacity_epochs", f"{self.capacity_epochs} must lie in [0, epochs]")
        if self.capacity is not None and self.free_bits:
            raise OptionError(
                "capacity", "leave it or ", Option("free_bits"), " out: both say what the KL costs"
            )
        if self.n_samples > 1 and (self.capacity is not None or self.free_bits):
            raise OptionError(
                "n_samples",
                f"{self.n_samples} does not go with capacity or free_bits: the bound of several "
                "samples has no KL",
            )


class Window(NamedTuple):
    """A member's own view of the shared rows: which of them it sees, and in what units.

    rows: of the shared training rows, in the member's order; all members take equally many.
    location, scale: by asset; the member sees (x - location) / scale, in validation too.
    """

    rows: Int[Array, "*members row"]
    location: Float[Array, "*members asset"]
    scale: Float[Array, "*members asset"]


class Hyperparameters(NamedTuple):
    """What may differ between members, all traced.

    beta: weight of the KL term.
    learning_rate: Adam's, before the schedule.
    factor_mask: 1 for the factors in use, 0 for the rest.
    row_weights: what each training row counts; 0 leaves it out.
    validation_weights: what each validation row counts.
    last_epoch: epochs after which the member is frozen.
    window: the rows and units of the member's own, whose rows `row_weights` then counts; None where
        all members see the data as they are.
    """

    beta: Float[Array, "*members"]
    learning_rate: Float[Array, "*members"]
    factor_mask: Float[Array, "*members factor"]
    row_weights: Float[Array, "*members row"]
    validation_weights: Float[Array, "*members validation_row"]
    last_epoch: Int[Array, "*members"]
    window: Window | None = None


class Data(NamedTuple):
    """What all members share.

    training, validation: the rows of either part; weights in `Hyperparameters` pick among them.
    n_batches: batches an epoch; enough for the member that uses the most training rows.
    """

    training: Batch
    validation: Batch
    n_batches: Int[Array, ""]


def make_data(training: Batch, validation: Batch, batch_size: int) -> Data:
    """Training and validation rows, all in use."""
    n_batches = math.ceil(training.values.shape[0] / batch_size)
    return Data(training, validation, jnp.int32(n_batches))


def compact(data: Data) -> Data:
    """The same data for training, with one column in `observed` for all where every cell is
    observed: less to gather in each step."""
    if not all(bool(jnp.all(part.observed == 1.0)) for part in data[:2]):
        return data
    training, validation = (part._replace(observed=part.observed[:, :1]) for part in data[:2])
    return data._replace(training=training, validation=validation)


def view(data: Data, window: Window | None) -> Data:
    """The data as a member with this window sees them."""
    if window is None:
        return data
    training = take_rows(data.training, window.rows)
    return data._replace(
        training=_in_units_of(window, training), validation=_in_units_of(window, data.validation)
    )


def _in_units_of(window: Window, batch: Batch) -> Batch:
    units = (batch.values - window.location[None, :]) / window.scale[None, :]
    return batch._replace(values=jnp.where(batch.observed > 0.0, units, 0.0))


def make_hyperparameters(
    data: Data, model: Model, config: TrainConfig, *, beta: float = 1.0, learning_rate: float = 1e-3
) -> Hyperparameters:
    """One member's, with every row and factor in use and all epochs to go."""
    return Hyperparameters(
        beta=jnp.float32(beta),
        learning_rate=jnp.float32(learning_rate),
        factor_mask=jnp.ones(model.n_factors, jnp.float32),
        row_weights=jnp.ones(data.training.values.shape[0], jnp.float32),
        validation_weights=jnp.ones(data.validation.values.shape[0], jnp.float32),
        last_epoch=jnp.int32(config.epochs),
    )


class TrainState(NamedTuple):
    """A member between two epochs.

    best, best_validation, best_epoch: the variables kept, their validation objective (nats a row;
        infinite until the schedules are over) and the number of epochs that made them.
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

    reconstruction: -E_q log p(x | z). kl: KL(q ‖ p), without β. validation: the objective at the
    full β and capacity on the validation rows, nats a row.
    """

    total: Float[Array, "*members"]
    reconstruction: Float[Array, "*members"]
    kl: Float[Array, "*members"]
    validation: Float[Array, "*members"]
