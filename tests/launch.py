"""Processes of their own, to be killed and resumed: forks of one that has imported everything.

Use with the fixture `compilation_cache`: the one that is forked takes the environment of its start.
"""

import multiprocessing
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["jaxvae.cli.study", "jaxvae.report.study_report", "jaxvae.study.study"]
)
# Seconds of the processor, which others may have meanwhile, and of the clock, for one that hangs.
LONGEST, LONGEST_WAIT = 120.0, 900.0
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
    wait_until(lambda: not process.is_alive(), process)
    process.join()
    return process.exitcode


def wait_until(true, process):
    """Come back as soon as something is true, while a process works on it."""
    begun, before = time.monotonic(), seconds_of_work(process)
    while not true():
        assert process.is_alive() or true(), "ended too soon"
        assert seconds_of_work(process) - before < LONGEST, "still at work"
        assert time.monotonic() - begun < LONGEST_WAIT, "hangs"
        time.sleep(0.001)


def seconds_of_work(process):
    """Of the processor, that a process has had; 0 once it has ended."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def train_small(n_devices, path, programs):
    """Train the small grid on so many devices, in a process of its own; what comes out is kept, and
    what is compiled in a folder of programs."""
    import jax

    jax.config.update("jax_num_cpu_devices", n_devices)
    jax.config.update("jax_compilation_cache_dir", str(programs))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    from kept import save_tree
    from small import grid, trained

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
