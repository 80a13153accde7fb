"""Shapes are checked at run time, broadcasting of ranks raises, dtypes are strict; two devices."""

from jaxtyping import install_import_hook

install_import_hook("jaxvae", "beartype.beartype")

import jax  # noqa: E402

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
