"""What tells a run from any other: all that its bits depend on, and nothing that they do not."""

import os

import jax
import pytest

from jaxvae.errors import FolderError
from jaxvae.runs import identity
from jaxvae.runs.identity import identify, require_same

SETTINGS = {"seeds": 2, "betas": (0.5, 1.0), "tile_width": None}
DATA = {"returns": "a hash"}


def record(settings=SETTINGS, data=DATA, tile_width=None):
    return identify("study", settings, data, tile_width)


def assert_another(name, before, now, tmp_path):
    with pytest.raises(FolderError, match=f"was begun with another {name}") as error:
        require_same(tmp_path, before, now)
    assert "\n" not in str(error.value)


def test_the_same_run_is_the_same(tmp_path):
    require_same(tmp_path, record(), record())
    require_same(tmp_path, record(tile_width=None), record(tile_width=4))


def test_settings_data_and_tiles_tell_runs_apart(tmp_path):
    for name, other in {
        "seeds": record({**SETTINGS, "seeds": 3}),
        "betas": record({**SETTINGS, "betas": (0.5,)}),
        "returns": record(data={"returns": "another"}),
        "covariates": record(data={**DATA, "covariates": "a hash"}),
        "tile width": record(tile_width=2),
        "command": identify("walk", SETTINGS, DATA, None),
    }.items():
        assert_another(name, record(), other, tmp_path)
        assert_another(name, other, record(), tmp_path)


@pytest.mark.parametrize(
    "package", ["jaxvae", "jax", "jaxlib", "flax", "optax", "numpy", "scipy", "pandas"]
)
def test_versions_tell_runs_apart(package, tmp_path, monkeypatch):
    before, real = record(), identity.version
    monkeypatch.setattr(identity, "version", lambda p: "9.9" if p == package else real(p))
    assert_another(f"versions {package}", before, record(), tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jax_enable_x64", True),
        ("jax_default_matmul_precision", "highest"),
        ("jax_threefry_partitionable", False),
        ("jax_default_prng_impl", "rbg"),
        ("jax_random_seed_offset", 1),
        ("jax_disable_jit", True),
    ],
)
def test_jaxs_options_tell_runs_apart(name, value, tmp_path):
    before, was = record(), getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        words = name.removeprefix("jax_").replace("_", " ")
        assert_another(f"jax {words}", before, record(), tmp_path)
    finally:
        jax.config.update(name, was)


def test_the_environment_tells_runs_apart(tmp_path, monkeypatch):
    """Flags of XLA one by one, in whatever order."""
    before, flags = record(), os.environ.get("XLA_FLAGS", "").split()
    monkeypatch.setenv("XLA_FLAGS", " ".join([*flags[::-1], "--xla_cpu_max_isa=AVX2"]))
    assert_another("XLA FLAGS xla cpu max isa: None, now AVX2", before, record(), tmp_path)
    monkeypatch.setenv("XLA_FLAGS", "  ".join(flags[::-1]))
    require_same(tmp_path, before, record())
    monkeypatch.setenv("OPENBLAS_CORETYPE", "of another kind")
    assert_another("environment OPENBLAS CORETYPE", before, record(), tmp_path)


def test_the_instructions_of_a_processor_tell_runs_apart(tmp_path, monkeypatch):
    """Sums of eight numbers and of sixteen differ in the last place."""
    before = record()
    features = {**identity.cpu_features(), "AVX512F": True, "AVX2": True}
    monkeypatch.setattr(identity, "cpu_features", lambda: features)
    wide = record()
    monkeypatch.setattr(identity, "cpu_features", lambda: {"AVX2": True})
    assert before["cpu"]
    assert_another("cpu .*", wide, record(), tmp_path)


def test_devices_tell_runs_apart(tmp_path):
    for name, value in {"kind": "H100", "count": 8, "platform": "gpu", "cores": 99}.items():
        other = record()
        other["device"][name] = value
        assert_another(f"device {name}", record(), other, tmp_path)
