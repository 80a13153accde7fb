"""The command line: parses, calls, prints. Progress and log go to standard error.

Exit codes: 0 done; 1 the data, a run folder or a missing extra is at fault; 2 an option is at
fault; 130 interrupted, to be resumed.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from jaxvae.cli_walk import add_walk
from jaxvae.errors import FolderError, JaxvaeError, OptionError
from jaxvae.interrupts import INTERRUPTED, say

MODELS = (
    *("static", "linear", "additive", "student", "volatility"),
    *("conditional", "autoregressive", "temporal"),
)
DATA_NAMES = ("linear", "nonlinear", "regimes", "sp500", "french", "stocks")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors a user can mend are one line."""
    debug = "--debug" in (sys.argv[1:] if arguments is None else arguments)
    try:
        options = _parser().parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = _warn_in_a_line  # type: ignore[assignment]
            options.run(options)
    except JaxvaeError as error:
        if debug:
            raise
        say(f"jaxvae: {' '.join(str(error).split())}")
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        say(f"jaxvae: interrupted; {str(interrupt) or 'nothing was written'}")
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
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jaxvae",
        description="Latent factors in panels of asset returns, with ensembles of VAEs.",
    )
    parser.add_argument("--version", action="version", version=f"jaxvae {version('jaxvae')}")
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, parser_class=_Parser
    )
    _add_study(commands)
    add_walk(commands, _add_data)
    _add_scenarios(commands)
    _add_encode(commands)
    _add_forecast(commands)
    _add_report(commands)
    _add_gather(commands)
    return parser


def _add_study(commands: Any) -> None:
    parser = commands.add_parser(
        "study",
        help="train an ensemble on a panel and report what it found",
        description="Train seeds × betas on a panel of returns and write a study's folder: tables, "
        "figures, report. Without options: the synthetic linear panel, 8 seeds × 5 betas.",
    )
    _add_covariates(_add_data(parser), "for --model conditional")
    grid = parser.add_argument_group("ensemble")
    grid.add_argument("--seeds", type=int, default=8, metavar="N", help="seeds a beta (default: 8)")
    grid.add_argument(
        "--betas",
        type=float,
        nargs="+",
        default=(0.25, 0.5, 1.0, 2.0, 4.0),
        metavar="B",
        help="weights of the KL term (default: .25 .5 1 2 4)",
    )
    grid.add_argument(
        "--factors", type=int, default=5, metavar="K", help="latent factors (default: 5)"
    )
    grid.add_argument(
        "--model",
        default="static",
        metavar="NAME",
        help=f"{', '.join(MODELS)} (default: static)",
    )
    grid.add_argument("--preset", default="default", metavar="NAME", help="default or notebook")
    grid.add_argument("--epochs", type=int, metavar="N", help="the most epochs (default: preset's)")
    grid.add_argument(
        "--warmup", type=int, metavar="EPOCHS", help="β rises from 0 over these (default: preset's)"
    )
    grid.add_argument(
        "--capacity", type=float, metavar="NATS", help="KL a date is held here; cost β |KL - C|"
    )
    grid.add_argument(
        "--free-bits", type=float, metavar="NATS", help="KL a factor that costs nothing"
    )
    grid.add_argument(
        "--seed", type=int, default=0, metavar="S", help="root of all random numbers (default: 0)"
    )
    _add_engine(parser)
    out = parser.add_argument_group("output")
    out.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/…)")
    out.add_argument("--resume", action="store_true", help="go on with the unfinished run in --out")
    out.add_argument("--quiet", action="store_true", help="no progress")
    out.add_argument("--debug", action="store_true", help="tracebacks")
    parser.set_defaults(run=_study)


def _add_covariates(parser: Any, what: str) -> None:
    parser.add_argument(
        "--covariates",
        nargs="+",
        metavar="FILE|NAME",
        help=f"what is known of each date, {what}: a CSV or Parquet file of dates × covariates, "
        "calendar, volatility (trailing), or several of these",
    )


def _add_data(parser: Any) -> Any:
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="NAME|FILE",
        help=f"{', '.join(DATA_NAMES)}, or a CSV or Parquet file (default: linear)",
    )
    data.add_argument("--kind", choices=("returns", "prices"), help="what a file holds")
    data.add_argument(
        "--missing",
        choices=("drop-dates", "drop-assets", "mean", "keep"),
        help="what becomes of missing cells; keep fits models to the cells observed; by default "
        "they are an error",
    )
    data.add_argument("--sectors", metavar="FILE", help="CSV of asset and sector")
    data.add_argument("--tickers", nargs="+", metavar="TICKER", help="download through yfinance")
    data.add_argument("--start", metavar="YYYY-MM-DD", help="first date to download")
    data.add_argument("--end", metavar="YYYY-MM-DD", help="last date to download")
    return data


def _add_engine(parser: Any) -> None:
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--tile-width",
        type=int,
        metavar="N",
        help="members at once on each device (default: 4 on a CPU)",
    )
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
    parser.add_argument("folder", type=Path, metavar="DIR", help="the study's folder")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--debug", action="store_true", help="tracebacks")
    parser.set_defaults(run=_gather)


def _add_scenarios(commands: Any) -> None:
    parser = commands.add_parser("scenarios", help="draw returns from a study's chosen models")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    parser.add_argument("--number", type=int, default=1000, metavar="N", help="default: 1000")
    parser.add_argument(
        "--given",
        nargs="+",
        metavar="NAME=RETURN",
        help="returns of assets, or mean returns of sectors, that the rest is drawn under, as "
        "XOM=-0.10 JPM=-0.05",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    parser.add_argument(
        "--covariates",
        nargs="+",
        metavar="NAME=VALUE",
        help="what to assume of the date, in the covariates' own units; the others stay as they "
        "were on the dates the study was fitted on. Or a CSV file of all, a row a date",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="CSV (default: standard output)")
    parser.add_argument("--debug", action="store_true", help="tracebacks")
    parser.set_defaults(run=_scenarios)


def _add_new_dates(parser: Any) -> None:
    """A study's folder, and the dates that it is asked about."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    parser.add_argument("--data", required=True, metavar="FILE", help="CSV or Parquet of dates")
    parser.add_argument("--kind", choices=("returns", "prices"), default="returns")
    parser.add_argument(
        "--missing",
        choices=("drop-dates", "keep"),
        help="drop dates with missing cells, or use what is observed of them",
    )
    _add_covariates(parser, "as the study had it")


def _add_encode(commands: Any) -> None:
    parser = commands.add_parser("encode", help="factors of new dates under a saved study")
    _add_new_dates(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="CSV (default: standard output)")
    parser.add_argument("--debug", action="store_true", help="tracebacks")
    parser.set_defaults(run=_encode)


def _add_forecast(commands: Any) -> None:
    parser = commands.add_parser(
        "forecast",
        help="one-step-ahead mean, volatility and value at risk of a portfolio",
        description="A row a date of the data, forecast from the dates before it, and one, next, "
        "for the date after the last. The data should start well before the dates of interest.",
    )
    _add_new_dates(parser)
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="ASSET=WEIGHT",
        help="the portfolio, 0 for assets not named (default: equal weights)",
    )
    parser.add_argument("--number", type=int, default=2000, metavar="N", help="draws (2000)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    parser.add_argument("--out", type=Path, metavar="FILE", help="CSV (default: standard output)")
    parser.add_argument(
        "--covariance", type=Path, metavar="FILE", help="CSV of the next date's covariance too"
    )
    parser.add_argument("--debug", action="store_true", help="tracebacks")
    parser.set_defaults(run=_forecast)


def _add_report(commands: Any) -> None:
    parser = commands.add_parser("report", help="draw a study's figures and report again")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")
    parser.add_argument("--debug", action="store_true", help="tracebacks")
    parser.set_defaults(run=_report)


def _study(options: argparse.Namespace) -> None:
    from jaxvae.cli_study import study

    study(options)


def _gather(options: argparse.Namespace) -> None:
    from jaxvae.cli_study import gather

    gather(options)


def _scenarios(options: argparse.Namespace) -> None:
    from jaxvae.cli_study import assumed_covariates
    from jaxvae.folder import load_study
    from jaxvae.study import scenarios

    _require_new_file(options.out)
    given = named_numbers("--given", options.given or ())
    study, known = load_study(options.folder), assumed_covariates(options.covariates)
    if not given:
        drawn = scenarios(study, options.number, options.seed, covariates=known)
        _write_table(drawn, options.out)
        return
    from jaxvae.what_if import scenarios_given

    found = scenarios_given(study, given, options.number, options.seed, covariates=known)
    say(f"effective sample size: {found.effective_samples:,.0f} of {found.draws:,} draws")
    _write_table(found.returns, options.out)


def named_numbers(option: str, words: Sequence[str]) -> dict[str, float]:
    """NAME=NUMBER, each name once."""
    found: dict[str, float] = {}
    for word in words:
        name, _, number = word.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            name = ""
        if not name:
            raise OptionError(f"{option}: {word!r} is not NAME=NUMBER, as XOM=-0.05")
        if name in found:
            raise OptionError(f"{option}: {name} is given twice; keep one")
        found[name] = value
    return found


def _encode(options: argparse.Namespace) -> None:
    from jaxvae.folder import load_study
    from jaxvae.study import encode

    _require_new_file(options.out)
    study = load_study(options.folder)
    _write_table(encode(study, _read_new_dates(options)), options.out)


def _read_new_dates(options: argparse.Namespace) -> Any:
    from jaxvae.covariates import covariates_option, with_covariates
    from jaxvae.reading import read_panel

    names, file = covariates_option(options.covariates)
    panel = read_panel(
        options.data,
        kind=options.kind,
        missing=options.missing,
        covariates=file,
        for_fitting=False,
    )
    return with_covariates(panel, names, for_fitting=False)


def _forecast(options: argparse.Namespace) -> None:
    from jaxvae.folder import load_study
    from jaxvae.forecasts import forecast, forecast_covariance, portfolio

    _require_new_file(options.out)
    _require_new_file(options.covariance)
    study = load_study(options.folder)
    weights = portfolio(study, named_numbers("--weights", options.weights or ()))
    panel = _read_new_dates(options)
    table = forecast(study, panel, weights, number=options.number, seed=options.seed)
    _write_table(table, options.out)
    if options.covariance is not None:
        ahead = forecast_covariance(study, panel, number=options.number, seed=options.seed)
        _write_table(ahead, options.covariance)


def _report(options: argparse.Namespace) -> None:
    from jaxvae.folder import load_study, writing
    from jaxvae.report import write_report

    study = load_study(options.folder)
    with writing(options.folder):
        write_report(study, options.folder)
    print(options.folder / "report.html")


def _write_table(table: Any, out: Path | None) -> None:
    """To standard output, or to a new file, which appears whole or not at all."""
    from jaxvae.folder import writing

    if out is None:
        with writing(Path("standard output")):
            table.to_csv(sys.stdout)
            sys.stdout.flush()
        return
    partial = out.with_name(f".{out.name}.partial")
    with writing(out):
        try:
            table.to_csv(partial)
            os.rename(partial, out)
        finally:
            partial.unlink(missing_ok=True)


def _require_new_file(out: Path | None) -> None:
    from jaxvae.folder import require_new

    if out is not None:
        require_new(out)
        if not out.parent.is_dir():
            raise FolderError(f"--out: {out.parent} is no folder; make it first")


def _warn_in_a_line(message: Any, *where: Any) -> None:
    say(f"jaxvae: warning: {' '.join(str(message).split())}")
