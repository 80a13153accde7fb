"""One member through the Python API in a cold process, its time cut into laps.

`throughput.py` runs it, with an empty and with a filled cache of compiled programs. The clock
starts as Python reads this file, before anything beyond the standard library is imported;
`throughput.py` adds the time of the whole process.
"""

import argparse
import time
from pathlib import Path

BEGUN = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    edges = [BEGUN]

    import jax
    from jaxvae_rows import fit_member, lowered, set_up, table, take_member
    from measure import write_json
    from notebook_problem import FULL, QUICK, notebook_problem

    edges.append(time.perf_counter())
    size = (QUICK if arguments.quick else FULL)._replace(n_fresh=1)
    setup = set_up(notebook_problem(size))
    inputs = (setup.root, setup.data, take_member(table(setup, [0]), 0))
    edges.append(time.perf_counter())
    program = lowered(fit_member(setup), *inputs)
    edges.append(time.perf_counter())
    program = program.compile()
    edges.append(time.perf_counter())
    jax.block_until_ready(program(*inputs))
    edges.append(time.perf_counter())

    names = ("import", "data", "lower", "compile", "run")
    laps = {name: edges[i + 1] - edges[i] for i, name in enumerate(names)}
    write_json(arguments.out, {**laps, "total": edges[-1] - BEGUN})


if __name__ == "__main__":
    main()
