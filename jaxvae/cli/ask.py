"""Commands that ask a finished study: scenarios, encode, impute, forecast, report."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxvae.cli.options import (
    add_debug,
    add_folder,
    add_missing_dates,
    add_new_dates,
    add_out_file,
    add_seed,
    named_numbers,
    read_new_dates,
)
from jaxvae.errors import FolderError, Option, OptionError
from jaxvae.runs.interrupts import say


def add_scenarios(commands: Any) -> None:
    """The parser of `jaxvae scenarios`."""
    parser = commands.add_parser("scenarios", help="draw returns from a study's chosen models")
    add_folder(parser)
    parser.add_argument("--number", type=int, default=1000, metavar="N", help="default: 1000")
    parser.add_argument(
        "--given",
        nargs="+",
        metavar="NAME=RETURN",
        help="returns of assets, or mean returns of sectors, that the rest is drawn under, as "
        "XOM=-0.10 JPM=-0.05",
    )
    add_seed(parser)
    parser.add_argument(
        "--covariates",
        nargs="+",
        metavar="NAME=VALUE",
        help="what to assume of the date, in the covariates' own units; the others stay as they "
        "were on the dates the study was fitted on. Or a CSV file of all, a row a date",
    )
    add_out_file(parser)
    parser.set_defaults(run=_scenarios)


def add_encode(commands: Any) -> None:
    """The parser of `jaxvae encode`."""
    parser = commands.add_parser("encode", help="factors of new dates under a saved study")
    add_new_dates(parser)
    add_missing_dates(parser)
    add_out_file(parser)
    parser.set_defaults(run=_encode)


def add_impute(commands: Any) -> None:
    """The parser of `jaxvae impute`."""
    parser = commands.add_parser(
        "impute",
        help="fill the missing cells of new dates under a saved study",
        description="The returns as they are, and the expectation of each missing one given those "
        "observed on its date.",
    )
    add_new_dates(parser)
    add_seed(parser)
    add_out_file(parser)
    parser.set_defaults(run=_impute, missing="keep")


def add_forecast(commands: Any) -> None:
    """The parser of `jaxvae forecast`."""
    parser = commands.add_parser(
        "forecast",
        help="one-step-ahead mean, volatility and value at risk of a portfolio",
        description="A row a date of the data, forecast from the dates before it, and one, next, "
        "for the date after the last. The data should start well before the dates of interest.",
    )
    add_new_dates(parser)
    add_missing_dates(parser)
    parser.add_argument(
        "--weights",
        nargs="+",
        metavar="ASSET=WEIGHT",
        help="the portfolio, 0 for assets not named (default: equal weights)",
    )
    parser.add_argument("--number", type=int, default=2000, metavar="N", help="draws (2000)")
    add_seed(parser)
    parser.add_argument(
        "--covariance", type=Path, metavar="FILE", help="CSV of the next date's covariance too"
    )
    add_out_file(parser)
    parser.set_defaults(run=_forecast)


def add_report(commands: Any) -> None:
    """The parser of `jaxvae report`."""
    parser = commands.add_parser("report", help="draw a study's figures and report again")
    add_folder(parser)
    add_debug(parser)
    parser.set_defaults(run=_report)


def _scenarios(options: argparse.Namespace) -> None:
    from jaxvae.study.folder import load_study

    _require_new_file(options.out)
    given = named_numbers("given", options.given) or None
    study, known = load_study(options.folder), _assumed_covariates(options.covariates)
    drawn = study.scenarios(options.number, given=given, covariates=known, seed=options.seed)
    if given:
        effective, draws = drawn.attrs["effective_samples"], drawn.attrs["draws"]
        say(f"effective sample size: {effective:,.0f} of {draws:,} draws")
    _write_table(drawn, options.out)


def _new_dates(study: Any, options: argparse.Namespace) -> Any:
    """The panel that the options name, for a study that knows what they say of it."""
    if options.covariates and not study.config.get("covariates"):
        raise OptionError("covariates", "the study was told of none; leave them out")
    return read_new_dates(options)


def _assumed_covariates(words: Sequence[str] | None) -> Any:
    """NAME=VALUE words as a dict, or the table in a file; None where there are none."""
    from jaxvae.data.frames import read_covariates

    if not words:
        return None
    if len(words) == 1 and "=" not in words[0]:
        return read_covariates(words[0])
    return named_numbers("covariates", words)


def _encode(options: argparse.Namespace) -> None:
    from jaxvae.study.folder import load_study

    _require_new_file(options.out)
    study = load_study(options.folder)
    _write_table(study.encode(_new_dates(study, options)), options.out)


def _impute(options: argparse.Namespace) -> None:
    from jaxvae.study.folder import load_study

    _require_new_file(options.out)
    study = load_study(options.folder)
    _write_table(study.impute(_new_dates(study, options), options.seed), options.out)


def _forecast(options: argparse.Namespace) -> None:
    from jaxvae.study.folder import load_study

    _require_new_file(options.out)
    _require_new_file(options.covariance)
    named = [path.resolve() for path in (options.out, options.covariance) if path is not None]
    if len({*named}) < len(named):
        raise OptionError(
            "covariance", f"{options.out} is ", Option("out"), ", too; name another file"
        )
    study = load_study(options.folder)
    weights = named_numbers("weights", options.weights) or None
    panel = _new_dates(study, options)
    table = study.forecast(panel, weights, number=options.number, seed=options.seed)
    _write_table(table, options.out)
    if options.covariance is not None:
        ahead = study.forecast_covariance(panel, number=options.number, seed=options.seed)
        _write_table(ahead, options.covariance)


def _report(options: argparse.Namespace) -> None:
    from jaxvae.runs.results import read_config

    if read_config(options.folder)["command"] == "walk":
        from jaxvae.walk.folder import draw_walk_report as draw_again
    else:
        from jaxvae.study.folder import draw_report as draw_again
    draw_again(options.folder)
    print(options.folder / "report.html")


def _write_table(table: Any, out: Path | None) -> None:
    """To standard output, or to a new file, which appears whole or not at all."""
    from jaxvae.runs.files import require_new, whole_file, writing

    if out is None:
        with writing(Path("standard output")):
            table.to_csv(sys.stdout)
            sys.stdout.flush()
        return
    with whole_file(out) as file:
        table.to_csv(file, mode="wb")
        require_new(out, "file")


def _require_new_file(out: Path | None) -> None:
    from jaxvae.runs.files import require_new

    if out is not None:
        require_new(out, "file")
        if not out.parent.is_dir():
            raise FolderError(f"{out.parent} is no folder; make it first")
