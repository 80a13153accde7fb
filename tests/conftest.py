"""Shapes are checked at run time, broadcasting of ranks raises, dtypes are strict; two devices."""

import os
from importlib.metadata import version
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("jaxvae", "beartype.beartype")
# Here, so that processes which the tests start have two as well.
os.environ["JAX_NUM_CPU_DEVICES"] = "2"
# A test compiles what it runs, unless it says otherwise.
os.environ["JAXVAE_COMPILATION_CACHE"] = "off"
# Most programs run for a moment only, and are compiled the quick way: LLVM's level 0 where the
# package does not set its own, and before jaxlib 0.12, which has no choice, XLA's older emitters.
QUICK = "--xla_backend_optimization_level=0"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 12):
    QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()

import jax  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# Linux gives a process 65,530; a compiled program holds a dozen, and XLA crashes at the last.
MAPPINGS, MOST_MAPPINGS = Path("/proc/self/maps"), 30_000


@pytest.fixture(scope="module", autouse=True)
def _few_mappings():
    """Between modules programs are let go before their memory mappings run out."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_text("utf-8").count("\n") > MOST_MAPPINGS:
        from jaxvae.training.tiles import tile_program

        tile_program.cache_clear()
        jax.clear_caches()


@pytest.fixture(scope="session")
def compilation_cache(tmp_path_factory):
    """One for all processes that the tests start; the tests' own, if they were given one."""
    with pytest.MonkeyPatch.context() as patch:
        if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
            patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
        yield


@pytest.fixture(scope="session")
def returns_csv(tmp_path_factory):
    from jaxvae.data.synthetic import linear_panel

    path = tmp_path_factory.mktemp("data") / "returns.csv"
    panel, _ = linear_panel(3, n_dates=120, n_assets=8, n_factors=2, n_sectors=2)
    panel.to_frame().to_csv(path, index_label="date")
    return path


@pytest.fixture(scope="session")
def unbroken(compilation_cache, returns_csv, tmp_path_factory):
    """The folder of `launch.STUDY`, made without a break, in one process."""
    from launch import STUDY, ended, launch_command

    folder = tmp_path_factory.mktemp("runs") / "unbroken"
    words = ["study", *STUDY, "--data", returns_csv, "--out", folder]
    assert ended(launch_command(folder.with_name("log"), *words)) == 0
    return folder


@pytest.fixture(scope="session")
def context_files(tmp_path_factory):
    from context import write_files

    folder = tmp_path_factory.mktemp("context")
    write_files(folder)
    return folder


@pytest.fixture(scope="session")
def context_folder(context_files, tmp_path_factory):
    """A study that was given covariates and sectors, made on the command line."""
    from context import study_words

    from jaxvae.cli.main import main

    out = tmp_path_factory.mktemp("runs") / "context"
    assert main(study_words(context_files, out)) == 0
    return out


@pytest.fixture(scope="module")
def compilations():
    """How many programs were compiled so far, by a call."""
    counted = []

    def count(event, _, **__):
        counted.append(event == "/jax/core/compile/backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(count)
    yield lambda: sum(counted)
    jax.monitoring.unregister_event_duration_listener(count)
