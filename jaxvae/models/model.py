"""A model as a value: pure functions over a batch, and a record of facts.

Training, inference and studies know a model by these alone. A model of your own is any `Model`
whose functions keep the shapes below; what it leaves out is estimated, or not reported.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxvae.models.distributions import Distribution, Gaussian

Parameters = Any
Statistics = Any
Factors = Float[Array, "row factor"]


class Batch(NamedTuple):
    """Rows of a panel in standard units.

    Attributes:
        values: the returns; 0 where a cell is missing.
        observed: 1 where a cell is observed, else 0.
        conditions: covariates of each row; no columns where there are none.
        weights: what each row counts in losses and batch statistics; 0 for padding.
        past: what each row is told of those before it (`Recurrence.tell`), arrays with the row axis
            first; () where a model is told nothing. What a model makes of it takes its place in a
            batch that `inform` has given.
    """

    values: Float[Array, "row asset"]
    observed: Float[Array, "row asset"]
    conditions: Float[Array, "row condition"]
    weights: Float[Array, " row"]
    past: Any = ()


class Variables(NamedTuple):
    """Parameters and running statistics of a member, and the factors that it uses.

    Attributes:
        parameters: what the optimiser moves; a nested dict of arrays, so that a study can save it.
        statistics: running statistics, moved by `encode` and `decode` in training; an empty dict
            where a model has none.
        factor_mask: 1 for the factors in use, 0 for the rest, which stay at their prior and decode
            to nothing.
    """

    parameters: Parameters
    statistics: Statistics
    factor_mask: Float[Array, "*members factor"]


class Objective(NamedTuple):
    """The expectations over q(z | x) that training minimises, in closed form, in nats.

    Attributes:
        reconstruction: -E_q ln p(x | z) of each row.
        kl: KL(q ‖ p) of each row and factor, the mean over what it is conditioned on.
    """

    reconstruction: Float[Array, " row"]
    kl: Float[Array, "row factor"]


class Recurrence(NamedTuple):
    """A recursion without parameters: what a date is told of those before it.

    Attributes:
        start: () -> state of a panel without a past.
        advance: (state, returns) -> state once a date's returns are known; NaN marks a missing one.
        tell: (state, returns) -> what the next date's row is told, its `Batch.past`: of the state
            and of the last returns, NaN where one is missing.
    """

    start: Callable[[], Any]
    advance: Callable[[Any, Float[Array, " asset"]], Any]
    tell: Callable[[Any, Float[Array, " asset"]], Any]


class Noise(NamedTuple):
    """The noise of a model, as classical models without factors and the theory of β take it.

    Attributes:
        form: its variance is learned for each "asset", learned as one "scalar", or "fixed".
        variance: the fixed one.
        row_tails, asset_tails: whether it is Student-t, with a mixing variable a row or one an
            asset.
    """

    form: str = "asset"
    variance: float = 1.0
    row_tails: bool = False
    asset_tails: bool = False


class Facts(NamedTuple):
    """What is true of a model whatever its parameters.

    Attributes:
        linear: E[x | z] is linear in z.
        ordered: rows are consecutive dates that depend on each other, so that training takes blocks
            of them, each from the stationary law, and not rows at random.
        sees_gaps: its posterior is of the cells observed, with no training for it.
        volatility_factor: the factor that moves the volatility of all assets and not their returns.
        conditioned: which parts see a panel's covariates; none where it takes none.
        n_sectors: of the sectors that loadings are drawn around.
        noise: None where it is of another form.
    """

    linear: bool = False
    ordered: bool = False
    sees_gaps: bool = False
    volatility_factor: int | None = None
    conditioned: tuple[str, ...] = ()
    n_sectors: int = 0
    noise: Noise | None = None


def is_matrix(parameters: Parameters) -> Any:
    """Whether each leaf of the parameters is a matrix, which weight decay is for by default."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)


class Model(NamedTuple):
    """A variational autoencoder as pure functions, and the facts of it.

    `encode` gives a factor that is not in use the mean 0 and the variance 1, `decode` does not look
    at it. Both give the variables back with their statistics moved where `training` is true, and
    untouched where it is false.

    The functions from `log_likelihood` to `objective` are exact answers, None where there are none;
    what they serve for is then estimated. Those after them are what most models do without.

    Attributes:
        n_factors: latent factors, those not in use included.
        initialise: (key, batch) -> Variables, every factor in use.
        encode: (variables, batch, training) -> q(z | x), of shape (row, factor), and Variables.
        decode: (variables, factors, batch, training) -> p(x | z), of shape (row, asset), and
            Variables.
        prior: (variables, factors, batch) -> p(z), of shape (row, factor); it may depend on the
            conditions, or on the factors of other rows.
        facts: what is true of it whatever its parameters.
        log_likelihood: (variables, batch) -> ln p(x) of each row over its observed cells, in nats,
            given the rows before it where rows depend on each other.
        posterior: (variables, batch) -> p(z | x) of each row given its observed cells.
        moments: (variables, batch) -> mean and covariance of returns over rows with these
            conditions.
        objective: (variables, batch) -> Objective, from which training then needs no draws.
        principal: (variables) -> variables of the same law of returns in principal axes, where it
            leaves its factors' axes free; host arrays, any axes of members first.
        complexity: (variables) -> what knowing the parameters costs, in nats a data set, where they
            are themselves uncertain.
        marginal: (variables, factors, batch) -> p(z) of each row by itself, where `prior` is not
            that.
        ahead: (variables, batch) -> p(z) of each row given the returns of the rows before it, where
            these say something that is not in its own `past`.
        persistence: (variables) -> φ of each factor, where each remembers its past.
        decayed: (parameters) -> whether weight decay draws each leaf to 0; by default each matrix.
        informed: (variables, batch) -> the batch with what its `past` means to the member in its
            place, row by row, so that `encode`, `decode` and `prior` need not work that out anew.
        recurrence: what a row is told of the ones before it.
    """

    n_factors: int
    initialise: Callable[[Key[Array, ""], Batch], Variables]
    encode: Callable[[Variables, Batch, bool], tuple[Distribution, Variables]]
    decode: Callable[[Variables, Factors, Batch, bool], tuple[Distribution, Variables]]
    prior: Callable[[Variables, Factors, Batch], Distribution]
    facts: Facts = Facts()
    log_likelihood: Callable[[Variables, Batch], Float[Array, " row"]] | None = None
    posterior: Callable[[Variables, Batch], Distribution] | None = None
    moments: Callable[[Variables, Batch], tuple[Array, Array]] | None = None
    objective: Callable[[Variables, Batch], Objective] | None = None
    principal: Callable[[Variables], Variables] | None = None
    complexity: Callable[[Variables], Float[Array, ""]] | None = None
    marginal: Callable[[Variables, Factors, Batch], Distribution] | None = None
    ahead: Callable[[Variables, Batch], Distribution] | None = None
    persistence: Callable[[Variables], Float[Array, "*members factor"]] | None = None
    decayed: Callable[[Parameters], Any] = is_matrix
    informed: Callable[[Variables, Batch], Batch] | None = None
    recurrence: Recurrence | None = None

    @property
    def has_standard_prior(self) -> bool:
        """Whether p(z) is N(0, I) for every row, whatever the other rows and the parameters are."""
        return self.prior is standard_normal_prior


class Family(ABC):
    """The base of configurations: what a model is before the number of assets is known."""

    def for_panel(self, n_conditions: int, sectors: tuple[int, ...], incomplete: bool) -> "Family":
        """The configuration for a panel with covariates, sectors or missing cells: the same, for a
        model that takes none of them.

        Args:
            n_conditions: covariates of each date.
            sectors: each asset's, counted from 0; empty where they are not known.
            incomplete: whether the dates that models are fitted on have missing cells.

        Returns:
            A configuration of the same family.
        """
        del n_conditions, sectors, incomplete
        return self

    def build(self, n_assets: int) -> Model:
        """The model; equal arguments give the same object, so that what was compiled for it is
        found again.

        Args:
            n_assets: of the panel.

        Returns:
            The `Model`.

        Raises:
            OptionError: a setting that does not go with the number of assets.
        """
        return _built(self, n_assets)

    @abstractmethod
    def new_model(self, n_assets: int) -> Model:
        """A model as `build` gives it, made anew.

        Args:
            n_assets: of the panel.

        Returns:
            The `Model`.
        """


@functools.cache
def _built(family: Family, n_assets: int) -> Model:
    return family.new_model(n_assets)


def make_batch(
    values: Float[np.ndarray, "row asset"] | Float[Array, "row asset"],
    conditions: Float[np.ndarray, "row condition"] | None = None,
    weights: Float[np.ndarray, " row"] | None = None,
    past: Any = (),
) -> Batch:
    """A float32 batch from standardised returns.

    Args:
        values: the returns; NaN marks a missing cell.
        conditions: covariates of each row; by default none.
        weights: what each row counts; by default 1.
        past: what each row is told of those before it, arrays with the row axis first.

    Returns:
        The `Batch`, 0 in its missing cells.
    """
    values = np.asarray(values, np.float32)
    observed = np.isfinite(values)
    n_rows = len(values)
    conditions = np.zeros((n_rows, 0)) if conditions is None else conditions
    weights = np.ones(n_rows) if weights is None else weights
    known = np.where(observed, values, np.float32(0.0))
    fields = known, observed, conditions, weights, past
    # Not `jnp.asarray`, which compiles a program for each new number of rows.
    return Batch(*jax.device_put(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), fields)))


def take_rows(batch: Batch, rows: Array | slice) -> Batch:
    """The batch's rows at the given indices, with `observed` cell by cell."""
    taken = jax.tree.map(lambda leaf: leaf[rows], batch)
    return taken._replace(observed=jnp.broadcast_to(taken.observed, taken.values.shape))


def inform(model: Model, variables: Variables, batch: Batch) -> Batch:
    """The batch as `Model.informed` gives it; as it is, of a model without that.

    Whatever asks a model more than once for the same rows does this first.
    """
    return batch if model.informed is None else model.informed(variables, batch)


def prior_of_rows(model: Model, variables: Variables, batch: Batch) -> Distribution:
    """p(z) of each row by itself, whatever the others are."""
    zeros = jnp.zeros((batch.values.shape[0], model.n_factors), batch.values.dtype)
    return (model.marginal or model.prior)(variables, zeros, batch)


def remember(
    model: Model, values: Any, after: tuple[Any, Any] | None = None
) -> tuple[Any, tuple[Any, Any] | None]:
    """What the rows of a panel are told of those before them, and where that ends.

    Args:
        model: of one without a recurrence no row is told anything.
        values: returns in standard units, oldest date first; NaN marks a missing one.
        after: where what came before has ended; by default nothing came before, no return was seen.

    Returns:
        Each row's `Batch.past`; the recurrence's state after the last row with that row's returns,
        or None.
    """
    if model.recurrence is None:
        return (), None
    values = jnp.asarray(values, jnp.float32)
    after = after or (model.recurrence.start(), jnp.full(values.shape[1], jnp.nan, values.dtype))
    return _remember(values, after, model.recurrence)


@functools.partial(jax.jit, static_argnames="by")
def _remember(
    values: Float[Array, "date asset"], after: tuple[Any, Array], by: Recurrence
) -> tuple[Any, tuple[Any, Array]]:
    def body(carry: tuple[Any, Array], returns: Array) -> tuple[tuple[Any, Array], Any]:
        state, last = carry
        return (by.advance(state, returns), returns), by.tell(state, last)

    end, past = jax.lax.scan(body, after, values)
    return past, end


def standard_normal_prior(
    variables: Variables, factors: Float[Array, "row factor"], batch: Batch
) -> Gaussian:
    """N(0, I) for every row."""
    del variables, batch
    zeros = jnp.zeros_like(factors)
    return Gaussian(zeros, zeros)


def factors_used(
    variables: Variables, factors: Float[Array, "*rows factor"]
) -> Float[Array, "*rows factor"]:
    """The factor mask, once for every row of `factors`."""
    return jnp.broadcast_to(variables.factor_mask, factors.shape)


def in_use(variables: Variables, posterior: Gaussian) -> Gaussian:
    """The posterior with the mean 0 and the variance 1 of every factor that is not in use."""
    used = factors_used(variables, posterior.mean)
    return Gaussian(used * posterior.mean, used * posterior.log_variance)
