"""The command `walk`."""

from jaxvae.cli.options import Command, Output
from jaxvae.cli.panel import Source
from jaxvae.cli.task import Task, carry_out, model_notes
from jaxvae.fitting.presets import WINDOWS
from jaxvae.report.walk_report import walk_opening
from jaxvae.runs.interrupts import Interrupts
from jaxvae.walk.config import WalkConfig
from jaxvae.walk.run import walk_procedure


def walk(interrupts: Interrupts, source: Source, config: WalkConfig, output: Output) -> None:
    """Train the ensemble on rolling or expanding windows; score each on the dates that follow it,
    track its factors over time, and hold the minimum-variance portfolio of its covariance beside
    1/N, sample, Ledoit-Wolf, OAS, PCA and factor analysis."""
    task = Task(
        source,
        config,
        label=f"walk-{source.label}",
        make_procedure=walk_procedure,
        opening=walk_opening,
    )
    carry_out(interrupts, task, output)


COMMANDS = {
    "walk": Command(
        walk,
        {
            "walk --data sp500": "windows of 252 dates, each judged on the 21 that follow",
            "walk --data returns.csv --window 504 --expanding": "windows that grow",
        },
        titles=("data", "windows and ensemble", "output"),
        notes=model_notes(WINDOWS),
    )
}
