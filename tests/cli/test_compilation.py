"""Compiled programs are kept for this user, and for nobody else to write."""

import os
import subprocess
import sys

import jax
import pytest

from jaxvae.cli.compilation import SWITCH, keep_programs

OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without a folder of programs; JAX's options are put back afterwards."""
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_go_to_the_users_folder(home):
    folder = keep_programs()
    assert folder.parent == home / "jaxvae"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert jax.config.jax_compilation_cache_max_size == 2**30


def test_it_can_be_switched_off(home, monkeypatch):
    monkeypatch.setenv(SWITCH, "off")
    assert keep_programs() is None
    assert not list(home.iterdir())


def test_a_folder_of_jaxs_own_stays(home):
    jax.config.update("jax_compilation_cache_dir", str(home / "mine"))
    assert keep_programs() is None
    assert jax.config.jax_compilation_cache_dir == str(home / "mine")


@pytest.mark.parametrize("fault", ["others write", "a link", "a file"])
def test_a_folder_that_is_not_the_users_alone_is_not_trusted(home, fault):
    folder = keep_programs()
    jax.config.update("jax_compilation_cache_dir", None)
    if fault == "others write":
        folder.chmod(0o777)
    else:
        folder.rmdir()
        folder.symlink_to(home) if fault == "a link" else folder.write_text("")
    assert keep_programs() is None
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.slow
def test_a_second_command_compiles_nothing_long(returns_csv, tmp_path):
    """What the first left is read by the second, whose tables have the same bits."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), SWITCH: ""}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    words = ("--data", str(returns_csv), "--model", "linear", "--factors", "2", "--seeds", "2")
    tables, kept = [], []
    for name in ("first", "second"):
        out = tmp_path / name
        command = [sys.executable, "-m", "jaxvae", "study", *words, "--betas", "1", "--epochs", "5"]
        subprocess.run([*command, "--out", str(out), "--quiet"], check=True, env=environment)
        tables.append((out / "metrics.csv").read_bytes())
        # JAX keeps what took it long, so that short programs come and go with the machine's load
        kept.append({path.name for path in (tmp_path / "jaxvae").rglob("jit__advance-*-cache")})
    assert kept[0]
    assert kept[1] == kept[0]
    assert tables[0] == tables[1]
