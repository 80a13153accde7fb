"""The panel that a command's options name."""

from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass
from pathlib import Path
from typing import Any

from jaxvae.data import KINDS, MISSING_POLICIES, read_panel
from jaxvae.data.covariates import BUILT_IN, with_covariates
from jaxvae.data.knowledge import with_knowledge
from jaxvae.data.named import SOURCES, load_named, load_tickers
from jaxvae.data.panel import Panel
from jaxvae.errors import DataError, Option, OptionError, check_path, did_you_mean, like, option
from jaxvae.fitting.config import check_covariates

_DEFAULT_DATA, _DAY = "linear", "YYYY-MM-DD"
WHOLE = tuple(policy for policy in MISSING_POLICIES if policy != "keep")
COVARIATES = (
    "covariates known of each date: a CSV, Excel or Parquet file of dates × covariates, calendar, "
    "volatility (trailing), or several of these"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The panel: a name, a file or tickers, and how it is read; no policy leaves cells missing."""

    data: str | None = option(
        None,
        f"panel: {', '.join(SOURCES)}, or a CSV, Excel or Parquet file",
        otherwise=_DEFAULT_DATA,
        metavar="NAME|FILE",
    )
    kind: str | None = option(None, "kind of numbers in a file", otherwise=KINDS[0], choices=KINDS)
    missing: str | None = option(
        None, "treatment of missing cells", otherwise="they are refused", choices=WHOLE
    )
    tickers: tuple[str, ...] | None = option(
        None, "tickers to download through yfinance", otherwise="none", metavar="TICKER"
    )
    start: str | None = option(
        None, "first date to download, needed with --tickers", otherwise="none", metavar=_DAY
    )
    end: str | None = option(
        None, "last date to download, needed with --tickers", otherwise="none", metavar=_DAY
    )

    @property
    def label(self) -> str:
        """What the default folder is called after."""
        if self.tickers:
            return "tickers"
        name = Path(self.data or _DEFAULT_DATA).name.split(".")[0]
        return "".join(c if c.isalnum() or c in "-_" else "-" for c in name) or "panel"

    def load(self, config: Any) -> Panel:
        """The panel, for a study or a walk with these settings."""
        if self.tickers is not None:
            self._refuse_with(Option("tickers"), ("data", "kind"))
            return load_tickers(self.tickers, self.start, self.end, missing=self.missing)
        for name in ("start", "end"):
            if getattr(self, name) is not None:
                raise OptionError(
                    name, "it goes with ", Option("tickers"), "; leave it out, or add it"
                )
        data = _DEFAULT_DATA if self.data is None else self.data
        if data in SOURCES:
            self._refuse_with(Option("data", data), ("kind", "missing"))
            return load_named(data)
        if not check_path("data", data).exists():
            raise DataError(
                f"{data} does not exist: check the path, or name one of {', '.join(SOURCES)}"
                f"{did_you_mean(data, SOURCES)}"
            )
        least = 1 if isinstance(config.n_factors, str) else config.n_factors
        return read_panel(data, kind=self.kind, missing=self.missing, n_factors=least)

    def described(self) -> dict[str, Any]:
        """Where the data came from, as the options say; a file by its name, without its folder."""
        known = {"sectors": None, "covariates": None, **asdict(self)}
        known["data"] = self.data or _DEFAULT_DATA
        for name in ("data", "sectors"):
            known[name] = known[name] and Path(known[name]).name
        known["covariates"] = [Path(word).name for word in known["covariates"] or ()]
        return known

    def _refuse_with(self, other: Option, names: Sequence[str]) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise OptionError(name, "it does not go with ", other, "; leave one of them out")


@dataclass(frozen=True, kw_only=True)
class ContextSource(Source):
    """Which panel, and what is known of its dates and assets."""

    missing: str | None = like(Source, "missing", None, choices=tuple(MISSING_POLICIES))
    sectors: str | None = option(
        None, "CSV or Excel file of asset and sector", otherwise="the panel's own", metavar="FILE"
    )
    covariates: tuple[str, ...] | None = option(
        None, COVARIATES, otherwise="none", metavar="FILE|NAME"
    )

    def load(self, config: Any) -> Panel:
        """The panel with what is known of it, for a study with these settings."""
        if self.covariates:
            check_covariates(config.preset or config.model)
        built_in, file = _split_covariates(self.covariates)
        panel = with_knowledge(super().load(config), sectors=self.sectors, covariates=file)
        return with_covariates(panel, built_in)


@dataclass(frozen=True, kw_only=True)
class NewDates:
    """The dates that a study is asked about."""

    data: str = option(
        MISSING, "CSV, Excel or Parquet file of the dates asked about", metavar="FILE"
    )
    kind: str | None = like(Source, "kind", None)
    covariates: tuple[str, ...] | None = like(ContextSource, "covariates", None)

    def load(self, missing: str | None) -> Panel:
        """The panel of these dates."""
        built_in, file = _split_covariates(self.covariates)
        panel = read_panel(
            self.data, kind=self.kind, missing=missing, covariates=file, for_fitting=False
        )
        return with_covariates(panel, built_in, for_fitting=False)


def _split_covariates(words: Sequence[str] | None) -> tuple[list[str], Path | None]:
    """Names of built-in covariates, and at most one file."""
    words = words or ()
    paths = [check_path("covariates", word) for word in words if word not in BUILT_IN]
    if len(paths) > 1:
        raise OptionError("covariates", f"{paths[0]} and {paths[1]}; join them into one file")
    if paths and not paths[0].exists():
        known = ", ".join(BUILT_IN)
        hint = did_you_mean(str(paths[0]), BUILT_IN)
        raise OptionError("covariates", f"'{paths[0]}' is no file, and not one of {known}{hint}")
    return [word for word in words if word in BUILT_IN], paths[0] if paths else None
