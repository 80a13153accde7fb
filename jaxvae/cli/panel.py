"""The panel that a command's options name."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxvae.cli.options import DATA_NAMES
from jaxvae.errors import Option, OptionError


def load_panel(options: argparse.Namespace) -> Any:
    """The panel that the options name, with the covariates they name."""
    from jaxvae.data.covariates import covariates_option, with_covariates
    from jaxvae.data.frames import with_knowledge
    from jaxvae.study.presets import PRESETS

    informed = [name for name, preset in PRESETS.items() if preset.informed]
    if options.covariates and options.model not in informed:
        raise OptionError(
            "covariates", "they go with ", Option("model", *informed), "; leave one out"
        )
    built_in, file = covariates_option(options.covariates)
    panel = with_knowledge(_bare_panel(options), sectors=options.sectors, covariates=file)
    return with_covariates(panel, built_in)


def _bare_panel(options: argparse.Namespace) -> Any:
    """The panel without what other options add."""
    if options.tickers:
        return _download_panel(options)
    if options.start or options.end:
        given = "start" if options.start else "end"
        raise OptionError(given, "it goes with ", Option("tickers"), "; leave it out, or add it")
    data = "linear" if options.data is None else options.data
    if data in DATA_NAMES:
        _refuse_with(options, Option("data", data), ("kind", "missing"))
        from jaxvae.data.named import load_named

        return load_named(data)
    from jaxvae.data import read_panel

    return read_panel(
        data,
        kind=options.kind or "returns",
        missing=options.missing,
        n_factors=options.factors,
    )


def _download_panel(options: argparse.Namespace) -> Any:
    from jaxvae.data.named import load_tickers

    _refuse_with(options, Option("tickers"), ("data", "kind"))
    return load_tickers(options.tickers, options.start, options.end, missing=options.missing)


def _refuse_with(options: argparse.Namespace, what: Option, names: Sequence[str]) -> None:
    for name in names:
        if getattr(options, name) is not None:
            raise OptionError(name, "it does not go with ", what, "; leave one of them out")


def source(options: argparse.Namespace) -> dict[str, Any]:
    """Where the data came from, as the options say; a file by its name, without its folder."""
    names = ("kind", "missing", "tickers", "start", "end")
    others = {name: getattr(options, name) for name in names}
    files = {"data": options.data or "linear", "sectors": options.sectors}
    others["covariates"] = [Path(word).name for word in options.covariates or []]
    return {name: path and Path(path).name for name, path in files.items()} | others


def label(options: argparse.Namespace) -> str:
    """What the default folder is called after."""
    if options.tickers:
        return "tickers"
    name = Path("linear" if options.data is None else options.data).name.split(".")[0]
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "study"
