"""The members of a walk: windows × betas × seeds as one table, trained and asked tile by tile.

A window is a row of hyperparameters: which dates, how much each counts, and the mean and standard
deviation of its own dates. All windows run through one compiled program, whatever their number,
their places and, where they expand, their lengths.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from jaxvae.data.panel import Scaler
from jaxvae.inference.evaluation import posterior_means
from jaxvae.inference.forecasts import last_row_moments
from jaxvae.inference.importance import LIKELIHOOD_SAMPLES, log_likelihood
from jaxvae.inference.modes import decoder_jacobians
from jaxvae.models.model import Batch, Model, Variables, make_batch, take_rows
from jaxvae.training.ensemble import Ensemble, Members, Progress, member_grid, train_ensemble
from jaxvae.training.state import Data, Window, view
from jaxvae.training.store import Stages, in_memory
from jaxvae.training.streams import Stream
from jaxvae.training.tiles import concatenate, map_members, take
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.windows import Span

# Groups of expanding windows that are trained apart, so that early ones wait less for late ones.
GROUPS = 8
# What is asked of models without closed forms: draws for moments, importance samples a date.
MOMENT_DRAWS = 20_000


class Outputs(NamedTuple):
    """Outputs of trained members; in the units of their windows, the member axis first.

    ok: false for a member that diverged.
    mean, covariance: of the returns of the first date that is judged, before they are known,
        factor part and noise.
    loadings: the decoder's mean Jacobian, returns per unit of a factor.
    factors: posterior means of the window's last dates, then of those it is judged on.
    log_likelihood: of the dates it is judged on, nats.
    """

    ok: Bool[Array, "*members"]
    mean: Float[Array, "*members asset"]
    covariance: Float[Array, "*members asset asset"]
    loadings: Float[Array, "*members asset factor"]
    factors: Float[Array, "*members date factor"]
    log_likelihood: Float[Array, "*members step"]


def walk_members(
    values: Float[np.ndarray, "date asset"],
    spans: Sequence[Span],
    scalers: Sequence[Scaler],
    config: WalkConfig,
) -> Members:
    """Windows × betas × seeds, the seeds fastest; each window in the units of its own scaler.

    Rolling windows take as many rows as they are long. Expanding ones take all of the panel's, of
    which weights pick, so that one program serves all lengths; their random order then hangs on the
    panel's length, though on no later return.
    """
    rows, weights = _rows_of(spans, len(values) if config.expanding else None)
    location, scale = (np.array(part, np.float32) for part in zip(*scalers, strict=True))
    preset, none = config.preset(), make_batch(values[:0])
    model = preset.model.build(values.shape[1])
    settings = (model, preset.learning_rate, preset.train.epochs)
    grid = member_grid(range(config.seeds), config.betas, Data(none, none), *settings)
    table: Any = jax.tree.map(lambda leaf: np.concatenate([leaf] * len(spans)), grid)
    each = np.repeat(np.arange(len(spans)), len(grid.seed))
    own: Any = [part[each] for part in (weights, rows, location, scale)]
    given = table.hyperparameters._replace(row_weights=own[0], window=Window(*own[1:]))
    return Members(table.seed, given)


def train_windows(
    values: Float[np.ndarray, "date asset"],
    members: Members,
    config: WalkConfig,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stage: Stages = in_memory,
) -> Outputs:
    """Train the table on a panel and ask each member of its own dates: of factors as many of a
    window's last as `config.window` says, before the `config.step` that it is judged on.

    values: returns in any units; what a member sees is in those of its window.
    stage: gives, by name and kind, where the outputs of the tiles are kept while it is in work.
    """
    root, batch, preset = jax.random.key(config.root_seed), make_batch(values), config.preset()
    model, width = preset.model.build(values.shape[1]), config.tile_width
    shared = (Stream.WINDOWS.fold_into(root), batch)

    def finish(ensemble: Ensemble) -> Outputs:
        trained = ensemble.variables, ensemble.members
        settings = (model, config.window, config.step)
        outputs: Outputs = map_members(_ask, trained, shared, *settings, tile_width=width)
        ok: Any = ensemble.ok
        return outputs._replace(ok=ok)

    parts = []
    for number, group in enumerate(_groups(members)):

        def of_all(where: Progress, first: int = group.start) -> None:
            on_progress(where._replace(done=first + where.done, members=len(members.seed)))

        table = take(members, group)
        parts.append(
            train_ensemble(
                root,
                _data(batch, table, preset.train.batch_size),
                table,
                model,
                preset.train,
                tile_width=width,
                on_progress=of_all,
                finish=finish,
                stage=stage(f"windows-{number}", Outputs),
            )
        )
    outputs: Outputs = concatenate(parts)
    return outputs


def _rows_of(
    spans: Sequence[Span], n_rows: int | None
) -> tuple[Int[np.ndarray, "window row"], Float[np.ndarray, "window row"]]:
    """The rows of each window, so many for all, by default as the windows are long, and the weights
    that pick among them."""
    start, stop, _ = np.array(spans, np.int32).T
    n_rows = int((stop - start).max()) if n_rows is None else n_rows
    rows = start[:, None] + np.arange(n_rows, dtype=np.int32)[None]
    weights = (rows < stop[:, None]).astype(np.float32)
    return rows, weights


def _groups(members: Members) -> list[slice]:
    """Members whose windows have about as many rows, in turn; one group where all have."""
    weights = np.asarray(members.hyperparameters.row_weights)
    if (weights > 0).all():
        return [slice(0, len(weights))]
    edges = np.linspace(0, len(weights), GROUPS + 1).astype(int).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _data(batch: Batch, members: Members, batch_size: int) -> Data:
    """The whole panel, no validation, and as many batches as the longest window needs."""
    longest = int((np.asarray(members.hyperparameters.row_weights) > 0).sum(axis=1).max())
    none = take_rows(batch, slice(0, 0))
    return Data(batch, none, jnp.int32(math.ceil(longest / batch_size)))


def _ask(
    of_member: tuple[Variables, Members],
    shared: tuple[Key[Array, ""], Batch],
    model: Model,
    recent: int,
    step: int,
) -> Outputs:
    """Outputs of one member on the dates around its window's end."""
    (variables, member), (key, panel) = of_member, shared
    hyperparameters = member.hyperparameters
    assert hyperparameters.window is not None
    rows, weights = hyperparameters.window.rows, hyperparameters.row_weights
    stop = jnp.max(jnp.where(weights > 0.0, rows, -1)) + 1
    around = stop - recent + jnp.arange(recent + step, dtype=jnp.int32)
    window = hyperparameters.window._replace(rows=around)
    batch = view(Data(panel, take_rows(panel, slice(0, 0))), window, model).training
    return _outputs(key, model, variables, batch, recent)


def _outputs(
    key: Key[Array, ""], model: Model, variables: Variables, batch: Batch, recent: int
) -> Outputs:
    """Of a window's last dates and those after it: exact where the model has it, else simulated."""
    key_moments, key_likelihood = jax.random.split(key)
    factors = posterior_means(model, variables, batch)
    ahead = take_rows(batch, slice(recent + 1))
    mean, covariance = last_row_moments(key_moments, model, variables, ahead, MOMENT_DRAWS)
    jacobian, _ = decoder_jacobians(model, variables, batch, factors)
    judged = take_rows(batch, slice(recent, None))
    estimate = log_likelihood(key_likelihood, model, variables, judged, LIKELIHOOD_SAMPLES)
    return Outputs(
        ok=jnp.bool_(True),
        mean=mean,
        covariance=covariance,
        loadings=jnp.mean(jacobian[:, :recent], axis=1).T,
        factors=factors,
        log_likelihood=estimate.value,
    )
