"""How a member is trained: a frozen, checked set of settings."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from jaxvae.errors import Option, OptionError, check_options, option, part_name, show_settings


@runtime_checkable
class Optimiser(Protocol):
    """An optax chain, which is a pair of functions, to type checkers too, that know none of optax's
    types."""

    @property
    def init(self) -> Callable[..., Any]: ...
    @property
    def update(self) -> Callable[..., Any]: ...


@dataclass(frozen=True, repr=False)
class TrainConfig:
    """How a member is trained.

    Args:
        epochs: the most passes over the training rows; the learning rate falls to 0 over them, as
            a half cosine (Loshchilov & Hutter 2017).
        batch_size: rows a step; the last, shorter batch of an epoch is included.
        warmup_epochs: β rises linearly from 0 over this many epochs, so that factors are let in
            before they cost anything (Bowman et al. 2016); 0 starts at β.
        capacity: nats a row at which the KL is held, in place of being charged for: it costs
            β |KL - C|, of the mean KL of a batch's rows, while C rises linearly from 0 to the
            capacity over `capacity_epochs` (Burgess et al. 2018, whose γ is β here); None charges
            β KL. β must exceed what a nat is worth there, or the KL runs ahead; far above it
            Adam's steps are all for the KL.
        capacity_epochs: over which the capacity rises; 0 starts at it.
        free_bits: nats a row that each factor in use may carry without charge: β Σ_k
            max(free_bits, KL_k), of the mean KL of a batch's rows (Kingma et al. 2016), so that no
            factor gains by giving up the last of what it carries; 0 charges β KL.
        curriculum_epochs: factors come into use one at a time, evenly over this many epochs; 0
            starts with all. A lone factor takes the curve that explains most, where many at once
            share it in pieces.
        clip_norm: largest global norm of a gradient; None leaves gradients alone.
        weight_decay: decoupled decay of matrices, a unit of learning rate (Loshchilov & Hutter
            2019).
        hidden_cells: for masked models, the most of a row's cells that training hides through the
            mask, from encoder and likelihood alike; each row draws its share uniformly from 0 to
            this. The encoder learns patterns that the training rows do not show, such as a
            delisting to come.
        n_samples: draws of z a row and step; above 1 the objective is the importance-weighted bound
            (Burda et al. 2016).
        reduction: "mean" over a batch's rows, or "sum" as in the notebook.
        patience: epochs without a better validation objective after which a member stops and its
            best epoch is kept, counted from the end of warm-up, curriculum and the rise of the
            capacity: before it the objective is another one; None trains through and keeps the
            last.
        optimiser: an optax chain of your own in place of clipping, Adam and weight decay. It is
            given the parameters as the model has them, and may take two arguments more: the
            epoch's `learning_rate` and the batch's `value`. What it returns is added to the
            parameters.

    Raises:
        OptionError: a setting out of its limits, or two that do not go together.
    """

    epochs: int = option(200, "the most epochs", least=1)
    batch_size: int = option(64, "rows a step", least=2)
    warmup_epochs: int = option(50, "epochs over which β rises", least=0)
    capacity: float | None = option(None, "nats a row at which the KL is held", least=0)
    capacity_epochs: int = option(0, "epochs over which the capacity rises", least=0)
    free_bits: float = option(0.0, "nats a row that each factor carries at no charge", least=0)
    curriculum_epochs: int = option(0, "epochs over which factors come into use", least=0)
    clip_norm: float | None = option(1.0, "largest norm of a gradient", above=0)
    weight_decay: float = option(0.0, "decay of matrices", least=0)
    hidden_cells: float = option(0.0, "the most of a row's cells to hide", least=0, below=1)
    n_samples: int = option(1, "draws of the factors a row and step", least=1)
    reduction: Literal["mean", "sum"] = option(
        "mean", "over a batch's rows", choices=("mean", "sum")
    )
    patience: int | None = option(40, "epochs without a better validation objective", least=1)
    optimiser: Optimiser | None = None

    __repr__ = show_settings

    def __post_init__(self) -> None:
        check_options(self)
        for name in ("capacity_epochs", "curriculum_epochs"):
            if getattr(self, name) > self.epochs:
                raise OptionError(
                    name, f"{getattr(self, name)} exceeds the {self.epochs} of ", Option("epochs")
                )
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

    @property
    def settled_epochs(self) -> int:
        """Epochs after which no schedule moves the objective, at most all."""
        rising = 0 if self.capacity is None else self.capacity_epochs
        return min(max(self.warmup_epochs, self.curriculum_epochs, rising), self.epochs)

    def record(self) -> dict[str, Any]:
        """The settings as plain values, to be saved.

        Returns:
            Each by its name; an optimiser of your own by the function that made it.
        """
        return {**asdict(self), "optimiser": self.optimiser_name}

    @property
    def optimiser_name(self) -> str | None:
        """The function that made an optimiser of your own; None for the package's."""
        return None if self.optimiser is None else part_name(self.optimiser)
