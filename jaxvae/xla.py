"""Options for XLA: what keeps a CPU's numbers right, and what makes it compile fast.

jaxlib 0.10.2 and 0.11 hand reductions on a CPU to a library whose fusions are wrong for arrays of
more than 32,768 entries: values silently come from other places (jax-ml/jax issue 39103). It is
switched off there, in the environment as this package is imported, so that a user's own `jax.jit`
around a function of ours is safe too, and for each program that we compile ourselves, so that the
order of imports does not matter.
"""

import os
from importlib.metadata import version

FUSION_FLAG = "xla_cpu_experimental_ynn_fusion_type"
PRODUCTS_ONLY = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
FIRST_WRONG, FIRST_RIGHT = (0, 10, 2), (0, 12, 0)


def keep_reductions_right() -> None:
    """Switch the wrong fusions off for every program compiled from now on, unless XLA_FLAGS says
    otherwise; without effect once JAX has compiled anything."""
    flags = os.environ.get("XLA_FLAGS", "")
    if reductions_are_wrong() and FUSION_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --{FUSION_FLAG}={PRODUCTS_ONLY}".strip()


def compiler_options(platform: str, n_devices: int = 1) -> dict[str, int | str | bool]:
    """For `jax.jit`, by the platform of its devices and how many of them work side by side.

    On a CPU, LLVM's first level compiles our programs in half the time, and they run as fast; of
    the library whose reductions are wrong the matrix products stay in use, which are right and a
    tenth faster; and where each core is a device of its own, a product does not ask the others for
    help.
    """
    if platform != "cpu":
        return {}
    wrong = {FUSION_FLAG: PRODUCTS_ONLY} if reductions_are_wrong() else {}
    alone = {"xla_cpu_multi_thread_eigen": n_devices < (os.cpu_count() or 1)}
    return {"xla_backend_optimization_level": 1, **wrong, **(alone if n_devices > 1 else {})}


def reductions_are_wrong(installed: str | None = None) -> bool:
    """Whether a version of jaxlib, by default the installed one, has the wrong fusions."""
    parts = (installed or version("jaxlib")).split(".")[:3]
    digits = tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in parts)
    return FIRST_WRONG <= digits < FIRST_RIGHT
