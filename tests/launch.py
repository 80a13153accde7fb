"""Processes of their own, to be killed and resumed: forks of one that has imported everything.

Use with the fixture `compilation_cache`: the one that is forked takes the environment of its start.
"""

import multiprocessing
import os
import sys
import time

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["jaxvae.cli.study", "jaxvae.report.study_report", "jaxvae.study.study"]
)
LONGEST = 120.0
# Of six members in three tiles, on two devices; refits and counts in two tiles each.
STUDY = (
    *("--seeds", "3", "--betas", "0.5", "1", "--factors", "2", "--model", "linear"),
    *("--epochs", "240", "--tile-width", "1", "--quiet"),
)


def launch(function, *arguments):
    """Call a function of a module in a process of its own."""
    process = FORKS.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def launch_command(log, *words, cache=True):
    """The command line in a process of its own; what it prints goes to a file.

    cache: whether programs may come from the compilation cache.
    """
    return launch(_command, log, [str(word) for word in words], cache)


def contents(folder):
    """What every file in a folder holds, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def ended(process):
    """The exit code of a process, once it has ended; a signal's number is negative."""
    process.join(LONGEST)
    assert process.exitcode is not None, "still at work"
    return process.exitcode


def wait_until(true, process):
    """Come back as soon as something is true, while a process works on it."""
    begun = time.monotonic()
    while not true():
        assert process.is_alive() or true(), "ended too soon"
        assert time.monotonic() - begun < LONGEST, "still at work"
        time.sleep(0.001)


def train_small(n_devices, path):
    """Train the small grid on so many devices, in a process of its own; what comes out is kept."""
    import jax

    jax.config.update("jax_num_cpu_devices", n_devices)
    from small import grid, trained

    from jaxvae.runs.checkpoint import save_tree

    save_tree(trained(grid()), path)


def _command(log, words, cache):
    import jax

    from jaxvae.cli.main import console

    jax.config.update("jax_enable_compilation_cache", cache)
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["jaxvae", *words]
    console()
