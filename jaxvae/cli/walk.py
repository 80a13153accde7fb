"""The command `walk`."""

import functools

from jaxvae.cli.options import Command, Output
from jaxvae.cli.panel import Source, load_panel
from jaxvae.cli.run import Task, carry_out, closing_lines
from jaxvae.runs.interrupts import Interrupts
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.folder import LAYOUT, PAGE, walk_files
from jaxvae.walk.walk import Walk, walk_forward, walk_identity


def walk(interrupts: Interrupts, source: Source, config: WalkConfig, output: Output) -> None:
    """Walk over a panel, or go on."""
    task = Task(
        source,
        config,
        label=f"walk-{source.label}",
        load=functools.partial(load_panel, source, config.n_factors),
        identity=walk_identity,
        compute=walk_forward,
        layout=LAYOUT,
        files=walk_files,
        closing=_closing,
        page=PAGE,
    )
    carry_out(interrupts, task, output)


def _closing(walk: Walk) -> str:
    """What was walked, and the volatility of each portfolio, calmest first."""
    config, strategies = walk.config, walk.strategies.sort_values("volatility")
    head = (
        f"{config['name']}: {config['n_windows']:,} windows, judged {config['judged_from']} to "
        f"{config['judged_to']}",
    )
    rows = [(name, f"{100 * value:.2f}", "") for name, value in strategies.volatility.items()]
    return closing_lines(head, ("minimum-variance portfolio", "volatility, % a year", ""), rows)


COMMANDS = {
    "walk": Command(
        walk,
        {"data": Source, "windows and ensemble": WalkConfig, "output": Output},
        "Train the ensemble on rolling or expanding windows; score each on the dates that follow "
        "it, chain its factors over time, and hold the minimum-variance portfolio of its "
        "covariance beside 1/N, sample, Ledoit-Wolf, OAS, PCA and factor analysis.",
    )
}
