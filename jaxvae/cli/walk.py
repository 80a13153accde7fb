"""The command `walk`: its options, its folder, its interrupts."""

import argparse
import functools
from typing import Any

from jaxvae.cli.options import MISSING, WALK_MODELS, add_data, add_ensemble, add_run, add_tile_width
from jaxvae.errors import OptionError
from jaxvae.runs.interrupts import say


def add_walk(commands: Any) -> None:
    """The parser of `jaxvae walk`."""
    parser = commands.add_parser(
        "walk",
        help="train on window after window and judge each on the dates that follow",
        description="Train the ensemble on rolling or expanding windows; score each on the dates "
        "that follow it, chain its factors over time, and hold the minimum-variance portfolio of "
        "its covariance beside 1/N, sample, Ledoit-Wolf, OAS, PCA and factor analysis.",
    )
    add_data(parser, missing=MISSING[:-1])
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
    betas = ".5 1 2 4 8, mixed equally"
    add_tile_width(add_ensemble(parser, WALK_MODELS, model="linear", seeds=2, betas=betas))
    add_run(parser)
    parser.set_defaults(run=walk, covariates=None, betas=(0.5, 1.0, 2.0, 4.0, 8.0))


def walk(options: argparse.Namespace) -> None:
    """Walk over the panel that the options name, or go on; write the folder."""
    from jaxvae.cli.panel import load_panel
    from jaxvae.cli.study import how_to_go_on, new_out, use_all_cores
    from jaxvae.report.content import summary
    from jaxvae.report.walk_report import walk_opening

    if options.out is None and options.resume:
        raise OptionError("out", "name the folder of the run to go on with")
    options.out = options.out or new_out(options)
    options.interrupts.how_to_go_on = functools.partial(how_to_go_on, options)
    panel, config = load_panel(options), _config(options)
    use_all_cores()
    found = _run(options, panel, config)
    if found is None:
        return
    for note in found.config["notes"]:
        say(f"note: {note}")
    print(summary(walk_opening(found)))
    print(options.out / "report.html")


def _run(options: argparse.Namespace, panel: Any, config: Any) -> Any:
    """The walk in its folder, which keeps every finished tile until it is done; None where it was
    done before."""
    from jaxvae.cli.panel import source
    from jaxvae.cli.study import finish, is_done, options_as_json
    from jaxvae.runs.run import open_run
    from jaxvae.study import progress
    from jaxvae.walk.folder import LAYOUT, walk_files
    from jaxvae.walk.walk import walk_forward, walk_identity

    identity = walk_identity(panel, config)
    if is_done(options, LAYOUT, identity):
        return None
    with (
        open_run(options.out, identity, options_as_json(options), resume=options.resume) as run,
        progress.shown(quiet=options.quiet) as show,
    ):

        def on_progress(stage: str, where: Any) -> None:
            options.interrupts.check()
            show(stage, where)

        found = walk_forward(panel, config, on_progress=on_progress, stage=run.stage)
        found.config["source"] = source(options)
        on_progress("report", None)
        finish(options, run, walk_files(found))
        options.interrupts.over = True
    return found


def _config(options: argparse.Namespace) -> Any:
    from jaxvae.walk.config import WalkConfig

    return WalkConfig(
        window=options.window,
        step=options.step,
        expanding=options.expanding,
        seeds=options.seeds,
        betas=tuple(options.betas),
        n_factors=options.factors,
        model=options.model,
        epochs=options.epochs,
        root_seed=options.seed,
        tile_width=options.tile_width,
    )
