"""What evaluates members is compiled while they train."""

import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from jaxvae.fitting.presets import PRESETS
from jaxvae.inference import evaluation
from jaxvae.inference.evaluation import compiled_ahead, estimate_members, evaluate_members
from jaxvae.inference.members import Fitted
from jaxvae.models import PerceptronConfig, make_batch
from jaxvae.training import threads
from jaxvae.training.threads import THREADS

N_ASSETS = 6
BATCH = make_batch(np.random.default_rng(0).normal(size=(16, N_ASSETS)))
KEY, SMALL = jax.random.key(0), PerceptronConfig(1, widths=(4,), normalisation="none")


class AtOnce(ThreadPoolExecutor):
    """A pool that does what it is given before it goes on."""

    def submit(self, work):
        work()


@pytest.mark.parametrize(
    ("family", "ask"),
    [
        (SMALL, evaluate_members),
        pytest.param(SMALL, estimate_members, marks=pytest.mark.slow),
        (PRESETS["linear"].model, evaluate_members),
        (PRESETS["linear"].model, estimate_members),
    ],
)
def test_programs_compiled_ahead_are_those_that_run(family, ask, monkeypatch, compilations):
    monkeypatch.setattr(threads, "ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr(evaluation, "is_hard", lambda first, _: np.zeros(first.value.shape, bool))
    model = family.build(N_ASSETS)
    keys = jax.random.split(KEY, 2)
    fitted = jax.device_get(
        Fitted(
            jax.vmap(lambda key: model.initialise(key, BATCH))(keys), np.arange(2, dtype=np.uint32)
        )
    )
    question = KEY, model, BATCH, 8
    before = compilations()
    with compiled_ahead(*question, likelihood_alone=ask is estimate_members):
        assert compilations() > before
    before = compilations()
    ask(KEY, model, fitted, *question[2:])
    assert compilations() == before


def test_no_thread_outlives_what_it_compiles_for():
    model = SMALL.build(N_ASSETS)
    with compiled_ahead(KEY, model, BATCH, 8):
        pass
    assert not [one for one in threading.enumerate() if one.name.startswith(THREADS)]
