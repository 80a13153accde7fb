"""Compiled programs kept from one command to the next, in the user's own cache folder."""

import os
import stat
from pathlib import Path

import jax
from platformdirs import user_cache_path

from jaxvae.runs.documents import hash_document
from jaxvae.runs.identity import cpu_features

SWITCH = "JAXVAE_COMPILATION_CACHE"
MOST_KEPT = 2**30
LEAST_SECONDS = 0.1  # of compiling: less is as fast as reading


def keep_programs() -> Path | None:
    """Have JAX keep what it compiles, a gigabyte at most, the least recently used going first.

    A program that was kept is run without a question: the folder must be the user's own, and no one
    else may write there. Where that cannot be had nothing is kept. `JAXVAE_COMPILATION_CACHE=off`
    switches it off; a folder in `JAX_COMPILATION_CACHE_DIR` is used as JAX does.

    Returns:
        The folder; None where nothing is kept or JAX has a folder already.
    """
    if os.environ.get(SWITCH) == "off" or getattr(jax.config, "jax_compilation_cache_dir", None):
        return None
    # Processors differ in their instructions, and share a home: each kind has its own programs.
    kind = hash_document(sorted(cpu_features()))[:12]
    try:
        folder = user_cache_path("jaxvae") / f"programs-{kind}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_the_users_own(folder):
            return None
    except (OSError, RuntimeError):  # no home, a full disk, a file in the way
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MOST_KEPT)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def _is_the_users_own(folder: Path) -> bool:
    """Whether a folder is no link, belongs to this user, and takes writes from nobody else."""
    found = folder.lstat()
    if not hasattr(os, "getuid"):  # Windows keeps the folder in the user's profile.
        return stat.S_ISDIR(found.st_mode)
    others = stat.S_IWGRP | stat.S_IWOTH
    own = found.st_uid == os.getuid() and not found.st_mode & others
    return stat.S_ISDIR(found.st_mode) and own and os.access(folder, os.W_OK)
