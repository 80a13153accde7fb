"""The command `walk`: its options, its folder."""

import argparse
import time
from pathlib import Path
from typing import Any

from jaxvae.interrupts import Interrupts, say


def add_walk(commands: Any, add_data: Any) -> None:
    """The parser of `jaxvae walk`; add_data: adds the options that name a panel."""
    parser = commands.add_parser(
        "walk",
        help="train on window after window and judge each on the dates that follow",
        description="Train the ensemble on rolling or expanding windows; score each on the dates "
        "that follow it, chain its factors over time, and hold the minimum-variance portfolio of "
        "its covariance beside 1/N, sample, Ledoit-Wolf, OAS, PCA and factor analysis.",
    )
    add_data(parser)
    windows = parser.add_argument_group("windows")
    windows.add_argument(
        "--window", type=int, default=252, metavar="N", help="dates of a window (default: 252)"
    )
    windows.add_argument(
        "--step", type=int, default=21, metavar="N", help="dates to the next (default: 21)"
    )
    windows.add_argument(
        "--expanding", action="store_true", help="all windows begin with the first date"
    )
    _add_ensemble(parser)
    out = parser.add_argument_group("output")
    out.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/…)")
    out.add_argument("--quiet", action="store_true", help="no progress")
    out.add_argument("--debug", action="store_true", help="tracebacks")
    parser.set_defaults(run=walk, covariates=None)


def _add_ensemble(parser: Any) -> None:
    grid = parser.add_argument_group("ensemble")
    grid.add_argument("--seeds", type=int, default=2, metavar="N", help="seeds a beta (default: 2)")
    grid.add_argument(
        "--betas",
        type=float,
        nargs="+",
        metavar="B",
        help="weights of the KL term, mixed equally (default: .5 1 2 4 8)",
    )
    grid.add_argument(
        "--factors", type=int, default=5, metavar="K", help="latent factors (default: 5)"
    )
    grid.add_argument(
        "--model",
        default="linear",
        metavar="NAME",
        help="linear, student, static, additive or volatility (default: linear)",
    )
    grid.add_argument("--epochs", type=int, metavar="N", help="epochs (default: the model's)")
    grid.add_argument(
        "--seed", type=int, default=0, metavar="S", help="root of all random numbers (default: 0)"
    )
    grid.add_argument("--tile-width", type=int, metavar="N", help="members at once on each device")


def walk(options: argparse.Namespace) -> None:
    """Walk over the panel that the options name, and write the folder."""
    from jaxvae.cli_study import label, load_panel, source, use_all_cores
    from jaxvae.folder import require_new

    out = options.out or Path("runs") / f"walk-{label(options)}-{time.strftime('%Y%m%d-%H%M%S')}"
    require_new(out)
    Interrupts()
    panel, config = load_panel(options), _config(options)
    use_all_cores()
    from jaxvae import progress
    from jaxvae.walk import walk_forward
    from jaxvae.walk_folder import write_walk

    with progress.shown(quiet=options.quiet) as show:
        found = walk_forward(panel, config, on_progress=show)
        show("report", None)
        found.config["source"] = source(options)
        write_walk(found, out)
    for note in found.config["notes"]:
        say(f"note: {note}")
    print(closing_lines(found))
    print(out / "walk.md")


def closing_lines(found: Any) -> str:
    """The portfolios in a few lines, for the terminal."""
    config = found.config
    lines = [
        f"{config['name']}: {config['n_windows']:,} windows, judged {config['judged_from']} to "
        f"{config['judged_to']}",
        f"  {'minimum-variance portfolio':<28}{'volatility, % a year':>20}",
    ]
    for row in found.strategies.sort_values("volatility").itertuples():
        lines.append(f"  {row.Index:<28}{100 * row.volatility:>20.2f}")
    return "\n".join(lines)


def _config(options: argparse.Namespace) -> Any:
    from jaxvae.walk_config import BETAS, WalkConfig

    return WalkConfig(
        window=options.window,
        step=options.step,
        expanding=options.expanding,
        seeds=options.seeds,
        betas=tuple(options.betas or BETAS),
        n_factors=options.factors,
        model=options.model,
        epochs=options.epochs,
        root_seed=options.seed,
        tile_width=options.tile_width,
    )
