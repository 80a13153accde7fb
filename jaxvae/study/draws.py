"""How many draws may be asked for."""

from jaxvae.errors import OptionError, check_option
from jaxvae.fitting.config import check_seed
from jaxvae.training.host_memory import host_bytes_free

# Of each draw in memory at once: as float32 a member, joined, in float64, restored, in a table.
COPIES = 8


def check_draws(number: int, seed: int, n_cells: int, least: int = 1) -> None:
    """OptionError unless so many draws, of so many cells each, are asked for with a seed that fits,
    and fit into what memory is free."""
    check_option("number", number, least=least)
    check_seed(seed)
    free, needed = host_bytes_free(), COPIES * 8 * number * n_cells
    if free is not None and needed > free:
        raise OptionError(
            "number",
            f"{number:,} draws take {needed / 1e9:,.0f} GB, {free / 1e9:,.0f} GB are free; at most "
            f"{number * free // needed:,}",
        )
