"""The command line: parses, calls, prints. Progress and log go to standard error.

Exit codes: 0 done; 1 the data, a run folder or a missing extra is at fault; 2 an option is at
fault; 130 interrupted, to be resumed.
"""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NoReturn

from jaxvae.cli.ask import add_encode, add_forecast, add_impute, add_report, add_scenarios
from jaxvae.cli.options import (
    MODELS,
    add_covariates,
    add_data,
    add_debug,
    add_ensemble,
    add_folder,
    add_run,
    add_tile_width,
    name_option,
)
from jaxvae.cli.walk import add_walk
from jaxvae.errors import JaxvaeError, OptionError
from jaxvae.runs.interrupts import INTERRUPTED, SIGNALS, Interrupts, say, signals_as_before


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors a user can mend are one line."""
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        with warnings.catch_warnings(), signals_as_before():
            warnings.showwarning = _warn_in_a_line  # type: ignore[assignment]
            interrupts = Interrupts()
            options = make_parser().parse_args(arguments)
            options.interrupts = interrupts
            if getattr(options, "resume", False) or options.command in ("gather", "report"):
                interrupts.how_to_go_on = lambda: "go on with the same command"
            interrupts.call(lambda: options.run(options))
    except JaxvaeError as error:
        if debug:
            raise
        say(f"jaxvae: {' '.join(error.worded(name_option).split())}")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        say(f"jaxvae: interrupted; {interrupt}")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def console() -> NoReturn:
    """`main` as a program. Where something went wrong it leaves without the interpreter's farewell,
    in which XLA's compiler threads, still at work, would crash, and JAX's distributed runtime would
    wait minutes for the other processes."""
    code = main()
    if code:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def make_parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = _Parser(
        prog="jaxvae",
        description="Latent factors in panels of asset returns, with ensembles of VAEs.",
    )
    parser.add_argument("--version", action="version", version=f"jaxvae {version('jaxvae')}")
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, parser_class=_Parser
    )
    for add in (
        *(_add_study, _add_gather, add_walk),
        *(add_scenarios, add_encode, add_impute, add_forecast, add_report),
    ):
        add(commands)
    return parser


def _add_study(commands: Any) -> None:
    parser = commands.add_parser(
        "study",
        help="train an ensemble on a panel and report what it found",
        description="Train seeds × betas on a panel of returns and write a study's folder: tables, "
        "figures, report. Without options: the synthetic linear panel, 8 seeds × 5 betas.",
    )
    add_covariates(add_data(parser), "for --model conditional")
    grid = add_ensemble(parser, MODELS, model="static", seeds=8, betas=".25 .5 1 2 4")
    grid.add_argument("--preset", metavar="NAME", help="notebook")
    grid.add_argument(
        "--warmup", type=int, metavar="EPOCHS", help="β rises from 0 over these (default: preset's)"
    )
    grid.add_argument(
        "--capacity", type=float, metavar="NATS", help="KL a date is held here; cost β |KL - C|"
    )
    grid.add_argument(
        "--free-bits", type=float, metavar="NATS", help="KL a factor that costs nothing"
    )
    _add_engine(parser)
    add_run(parser)
    parser.set_defaults(run=_study, betas=(0.25, 0.5, 1.0, 2.0, 4.0))


def _add_engine(parser: Any) -> None:
    engine = parser.add_argument_group("engine")
    add_tile_width(engine)
    engine.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="of several processes that share the study in --out, or auto on a cluster that says",
    )
    engine.add_argument("--processes", type=int, metavar="N", help="how many share the study")
    engine.add_argument("--process", type=int, metavar="I", help="which of them this is, from 0")


def _add_gather(commands: Any) -> None:
    parser = commands.add_parser(
        "gather", help="finish a study whose members a job array has trained"
    )
    add_folder(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_debug(parser)
    parser.set_defaults(run=_gather)


def _study(options: argparse.Namespace) -> None:
    from jaxvae.cli.study import study

    study(options)


def _gather(options: argparse.Namespace) -> None:
    from jaxvae.cli.study import gather

    gather(options)


def _warn_in_a_line(message: Any, *where: Any) -> None:
    say(f"jaxvae: warning: {' '.join(str(message).split())}")
