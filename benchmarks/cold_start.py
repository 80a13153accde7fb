"""One member through the Python API in a cold process, its time cut into laps.

`throughput.py` runs it, with an empty and with a filled cache of compiled programs. The clock
starts as Python reads this file, before anything beyond the standard library is imported;
`throughput.py` adds the time of the whole process. It is written as a user would write it, so that
it imports what training one member needs and no more.
"""

import argparse
import functools
import json
import time
from pathlib import Path

BEGUN = time.perf_counter()
LAPS = ("import", "data", "lower", "compile", "run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    edges = [BEGUN]

    import jax

    import jaxvae
    from jaxvae.fitting.presets import make_preset
    from jaxvae.xla import compiler_options

    fit, key = jaxvae.fit, jax.random.key(0)
    edges.append(time.perf_counter())
    panel, _ = jaxvae.linear_panel(seed=42)
    values = jaxvae.fit_scaler(panel.values).standardise(panel.values)
    preset = make_preset("notebook", n_factors=5, epochs=2 if arguments.quick else None)
    model = preset.model.build(panel.n_assets)
    batches = jaxvae.make_batch(values), jaxvae.make_batch(values[:0])
    data = jaxvae.Data(*batches)
    hyperparameters = jaxvae.make_hyperparameters(
        data, model, preset.train, beta=0.1, learning_rate=preset.learning_rate
    )
    edges.append(time.perf_counter())
    member = functools.partial(fit, model=model, config=preset.train)
    program = jax.jit(member, compiler_options=compiler_options("cpu"))
    program = program.lower(key, data, hyperparameters)
    edges.append(time.perf_counter())
    program = program.compile()
    edges.append(time.perf_counter())
    jax.block_until_ready(program(key, data, hyperparameters))
    edges.append(time.perf_counter())

    laps = {name: edges[i + 1] - edges[i] for i, name in enumerate(LAPS)}
    arguments.out.write_text(json.dumps({**laps, "total": edges[-1] - BEGUN}))


if __name__ == "__main__":
    main()
