"""JAX_ENABLE_X64=1 changes no dtype of a member: in processes of their own, which start with it."""

import json
import os
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import jax, numpy as np
import jaxvae
from jaxvae.fitting.presets import PRESETS, make_preset
from jaxvae.training.config import TrainConfig

values = np.random.default_rng(0).normal(size=(60, 6))
training, validation = jaxvae.make_batch(values[:45]), jaxvae.make_batch(values[45:])
data = jaxvae.Data(training, validation)
preset = make_preset("static", n_factors=2, epochs=3)
model = preset.model.build(6)
given = jaxvae.make_hyperparameters(data, model, preset.train)
state, losses = jaxvae.fit(jax.random.key(0), data, given, model, preset.train)
grid = jaxvae.member_grid((0, 1), (1.0,), data, model, 1e-2, 3)
ensemble = jaxvae.train_ensemble(jax.random.key(0), data, grid, model, preset.train)
factors = jaxvae.VAEFactors(2, model="static", epochs=3).fit(values)
found = {
    "x64": jax.config.jax_enable_x64,
    "dtypes": sorted({str(leaf.dtype) for leaf in jax.tree.leaves((state, losses, ensemble))}),
    "fit": float(losses.total[-1]),
    "ensemble": np.asarray(ensemble.history.total[:, -1]).tolist(),
    "score": factors.score(values),
}
found["student"] = jaxvae.VAEFactors(2, model="student", epochs=3).fit(values).score(values)
preset = make_preset("autoregressive", n_factors=2, epochs=3)
model = preset.model.build(6)
ensemble = jaxvae.train_ensemble(jax.random.key(0), data, grid, model, preset.train)
member = jax.tree.map(lambda leaf: leaf[0], ensemble.variables)
known = jaxvae.log_likelihood(jax.random.key(0), model, member, validation, 8)
found["autoregressive"] = float(known.value.mean())
json.dump(found, sys.stdout)
"""


def run(x64):
    environment = {**os.environ, "JAX_ENABLE_X64": str(int(x64)), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.usefixtures("compilation_cache")
def test_members_are_those_of_single_precision():
    single, double = run(False), run(True)
    assert (single.pop("x64"), double.pop("x64")) == (False, True)
    assert double.pop("dtypes") == single.pop("dtypes")
    for name, expected in single.items():
        assert double[name] == pytest.approx(expected, rel=1e-3), name
