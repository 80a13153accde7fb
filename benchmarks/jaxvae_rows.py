"""The notebook's problem through jaxvae: one member, a loop, `lax.map`, `vmap`, the tile engine.

All of them train the same members: a member's key comes from its seed, whatever trains it.
"""

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from measure import n_cores
from notebook_problem import BETA, N_FACTORS, Problem, Row

from jaxvae.fitting.presets import make_preset
from jaxvae.inference.evaluation import reconstruct
from jaxvae.models import Batch, Model, Variables, make_batch
from jaxvae.runs.disk import OnDisk
from jaxvae.runs.progress import show_progress
from jaxvae.training.config import TrainConfig
from jaxvae.training.ensemble import (
    CHUNK_EPOCHS,
    Ensemble,
    Members,
    member_grid,
    member_key,
    train_ensemble,
)
from jaxvae.training.member import fit
from jaxvae.training.state import Data
from jaxvae.training.tiles import map_members, resolve_width
from jaxvae.xla import compiler_options


class Setup(NamedTuple):
    """The problem as jaxvae takes it."""

    root: jax.Array
    data: Data
    fresh: Batch
    model: Model
    config: TrainConfig
    learning_rate: float


def set_up(problem: Problem) -> Setup:
    preset = make_preset("notebook", n_factors=N_FACTORS, epochs=problem.epochs)
    model = preset.model.build(problem.values.shape[1])
    training, validation = make_batch(problem.values), make_batch(problem.values[:0])
    data = Data(training, validation)
    fresh = make_batch(problem.fresh)
    return Setup(jax.random.key(0), data, fresh, model, preset.train, preset.learning_rate)


def table(setup: Setup, seeds: Sequence[int]) -> Members:
    """The members of the seeds."""
    model, config = setup.model, setup.config
    return member_grid(seeds, (BETA,), setup.data, model, setup.learning_rate, config.epochs)


def fit_member(setup: Setup) -> Callable[[Any, Data, Members], Any]:
    """One member's whole training, a pure function of root key, data and its row of the table."""

    def run(root: jax.Array, data: Data, member: Members) -> tuple[Variables, Any]:
        key = member_key(root, member.seed, member.hyperparameters.beta)
        state, losses = fit(key, data, member.hyperparameters, setup.model, setup.config)
        return state.best, losses

    return run


def lowered(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function lowered for these arguments, to be compiled with jaxvae's options for XLA."""
    options = compiler_options(jax.default_backend())
    return jax.jit(function, compiler_options=options).lower(*arguments)


def member_errors(setup: Setup, variables: Variables) -> list[float]:
    """Each member's mean squared error on the fresh dates."""
    devices = tuple(jax.local_devices()[:1])
    errors = map_members(_error, variables, setup.fresh, setup.model, devices=devices)
    return [float(error) for error in errors]


def _error(variables: Variables, batch: Batch, model: Model) -> jax.Array:
    return jnp.mean((reconstruct(model, variables, batch) - batch.values) ** 2)


def one_by_one(problem: Problem) -> Row:
    """The compiled `fit`, called for one member after the other."""
    setup = set_up(problem)
    programs: list[Callable[..., Any]] = []

    def prepare(seeds: Sequence[int]) -> dict[str, Any]:
        one = take_member(table(setup, seeds), 0)
        programs.append(lowered(fit_member(setup), setup.root, setup.data, one).compile())
        return facts()

    def train(seeds: Sequence[int]) -> Variables:
        members = table(setup, seeds)
        ones = [take_member(members, index) for index in range(len(seeds))]
        done = [programs[0](setup.root, setup.data, one)[0] for one in ones]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *done)

    return Row(prepare, train, functools.partial(member_errors, setup))


def lax_map(problem: Problem) -> Row:
    """One program that maps `fit` over the members, one after the other."""

    def over(run: Callable[..., Any], root: jax.Array, data: Data, members: Members) -> Any:
        return jax.lax.map(lambda member: run(root, data, member), members)

    return _in_one_program(problem, over)


def vmap(problem: Problem) -> Row:
    """One program that trains all members at once."""

    def over(run: Callable[..., Any], root: jax.Array, data: Data, members: Members) -> Any:
        return jax.vmap(run, in_axes=(None, None, 0))(root, data, members)

    return _in_one_program(problem, over)


def tiles(problem: Problem) -> Row:
    """`train_ensemble` as it comes, with one CPU device a core."""
    return _engine(problem, lambda: contextlib.nullcontext({}))


def tiles_kept(problem: Problem) -> Row:
    """The same with progress shown, and every tile and a state every 100 epochs written to disk."""
    return _engine(problem, _kept)


@contextlib.contextmanager
def _kept() -> Iterator[dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(nowhere),
        show_progress(quiet=False) as show,
    ):
        stage = OnDisk(Path(folder), Ensemble, "benchmark")
        yield {"stage": stage, "on_progress": functools.partial(show, "train")}


def _engine(problem: Problem, options: Callable[[], Any]) -> Row:
    jax.config.update("jax_num_cpu_devices", n_cores())
    setup = set_up(problem)

    def run(members: Members, **options: Any) -> Variables:
        program = (setup.model, setup.config)
        trained: Ensemble = train_ensemble(setup.root, setup.data, members, *program, **options)
        return trained.variables

    def prepare(seeds: Sequence[int]) -> dict[str, Any]:
        """A tile with no epoch to go compiles all and ends after a chunk."""
        idle = table(setup, seeds[:1])
        idle.hyperparameters.last_epoch[:] = 0
        run(idle)
        return {
            **facts(),
            "tile_width": resolve_width(None, tuple(jax.local_devices())),
            "chunk_epochs": CHUNK_EPOCHS,
        }

    def train(seeds: Sequence[int]) -> Variables:
        with options() as given:
            return run(table(setup, seeds), **given)

    return Row(prepare, train, functools.partial(member_errors, setup))


def facts() -> dict[str, Any]:
    """What the programs were compiled with."""
    platform = jax.default_backend()
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.local_device_count(),
        "precision": f"float32, products {jax.config.jax_default_matmul_precision or 'default'}",
        "compiler_options": compiler_options(platform, jax.local_device_count()),
    }


def _in_one_program(problem: Problem, over: Callable[..., Any]) -> Row:
    setup = set_up(problem)
    programs: list[Callable[..., Any]] = []

    def prepare(seeds: Sequence[int]) -> dict[str, Any]:
        function = functools.partial(over, fit_member(setup))
        programs.append(lowered(function, setup.root, setup.data, table(setup, seeds)).compile())
        return facts()

    def train(seeds: Sequence[int]) -> Variables:
        trained, _ = programs[0](setup.root, setup.data, table(setup, seeds))
        return jax.block_until_ready(trained)

    return Row(prepare, train, functools.partial(member_errors, setup))


def take_member(members: Members, index: int) -> Members:
    return jax.tree.map(lambda leaf: leaf[index], members)
