"""Options that several commands share, and how their words are read."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxvae.errors import Option, OptionError, either

MODELS = (
    *("static", "linear", "additive", "student", "volatility"),
    *("conditional", "autoregressive", "temporal"),
)
WALK_MODELS = MODELS[:5]
DATA_NAMES = ("linear", "nonlinear", "regimes", "sp500", "french", "stocks")


MISSING = ("drop-dates", "drop-assets", "mean", "keep")


# Options whose arguments in Python have other names.
FLAGS = {"n_factors": "factors", "root_seed": "seed"}


def name_option(option: Option) -> str:
    """An option in an error, as the command line has it."""
    flag = f"--{FLAGS.get(option.name, option.name).replace('_', '-')}"
    values = [str(value) for value in option.values if value is not True]
    return f"{flag} {either(values)}" if values else flag


def add_data(parser: Any, missing: Sequence[str] = MISSING) -> Any:
    """Which panel, and what may become of missing cells; the group comes back."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        metavar="NAME|FILE",
        help=f"{', '.join(DATA_NAMES)}, or a CSV or Parquet file (default: linear)",
    )
    data.add_argument("--kind", choices=("returns", "prices"), help="what a file holds")
    data.add_argument(
        "--missing",
        choices=missing,
        help="what becomes of missing cells; by default they are an error"
        + ("; keep fits models to the cells observed" if "keep" in missing else ""),
    )
    data.add_argument("--sectors", metavar="FILE", help="CSV of asset and sector")
    data.add_argument("--tickers", nargs="+", metavar="TICKER", help="download through yfinance")
    data.add_argument("--start", metavar="YYYY-MM-DD", help="first date to download")
    data.add_argument("--end", metavar="YYYY-MM-DD", help="last date to download")
    return data


def add_covariates(parser: Any, what: str) -> None:
    """What is known of each date."""
    parser.add_argument(
        "--covariates",
        nargs="+",
        metavar="FILE|NAME",
        help=f"what is known of each date, {what}: a CSV or Parquet file of dates × covariates, "
        "calendar, volatility (trailing), or several of these",
    )


def add_ensemble(parser: Any, models: Sequence[str], model: str, seeds: int, betas: str) -> Any:
    """Which members; the group comes back. seeds: the default. betas: its words."""
    grid = parser.add_argument_group("ensemble")

    def add(option: str, kind: Any, default: Any, metavar: str, what: str, **more: Any) -> None:
        what = what if default is None else f"{what} (default: {default})"
        grid.add_argument(option, type=kind, default=default, metavar=metavar, help=what, **more)

    add("--seeds", int, seeds, "N", "seeds a beta")
    add("--betas", float, None, "B", f"weights of the KL term (default: {betas})", nargs="+")
    add("--factors", int, 5, "K", "latent factors")
    add("--model", str, model, "NAME", ", ".join(models))
    add("--epochs", int, None, "N", "the most epochs (default: the preset's)")
    add("--seed", int, 0, "S", "root of all random numbers")
    return grid


def add_tile_width(engine: Any) -> None:
    """How many members at once."""
    engine.add_argument(
        "--tile-width",
        type=int,
        metavar="N",
        help="members at once on each device (default: 4 on a CPU)",
    )


def add_run(parser: Any) -> None:
    """Where a run's folder is, and how to go on with it."""
    out = parser.add_argument_group("output")
    out.add_argument("--out", type=Path, metavar="DIR", help="new folder (default: runs/…)")
    out.add_argument("--resume", action="store_true", help="go on with the unfinished run in --out")
    out.add_argument("--quiet", action="store_true", help="no progress")
    add_debug(out)


def add_new_dates(parser: Any) -> None:
    """A study's folder, and the dates that it is asked about."""
    add_folder(parser)
    parser.add_argument("--data", required=True, metavar="FILE", help="CSV or Parquet of dates")
    parser.add_argument("--kind", choices=("returns", "prices"), default="returns")
    add_covariates(parser, "as the study had it")


def add_missing_dates(parser: Any) -> None:
    """What becomes of new dates with missing cells."""
    parser.add_argument(
        "--missing",
        choices=("drop-dates", "keep"),
        help="drop dates with missing cells, or use what is observed of them",
    )


def add_folder(parser: Any) -> None:
    """Which study."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a study's folder")


def add_seed(parser: Any) -> None:
    """Of what is drawn."""
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")


def add_out_file(parser: Any) -> None:
    """Where the table goes."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="CSV (default: standard output)")
    add_debug(parser)


def add_debug(parser: Any) -> None:
    """Tracebacks for those who look for a fault of ours."""
    parser.add_argument("--debug", action="store_true", help="tracebacks")


def named_numbers(option: str, words: Sequence[str] | None) -> dict[str, float]:
    """NAME=NUMBER, each name once."""
    found: dict[str, float] = {}
    for word in words or ():
        name, _, number = word.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            name = ""
        if not name:
            raise OptionError(option, f"{word!r} is not NAME=NUMBER, as XOM=-0.05")
        if name in found:
            raise OptionError(option, f"{name} is given twice; keep one")
        found[name] = value
    return found


def read_new_dates(options: argparse.Namespace) -> Any:
    """The panel that `add_new_dates` named."""
    from jaxvae.data import read_panel
    from jaxvae.data.covariates import covariates_option, with_covariates

    names, file = covariates_option(options.covariates)
    panel = read_panel(
        options.data,
        kind=options.kind,
        missing=options.missing,
        covariates=file,
        for_fitting=False,
    )
    return with_covariates(panel, names, for_fitting=False)
