"""Real panels: from the data files of installed packages, and from Yahoo Finance.

The packages that bring the files are never imported (that takes seconds and pulls in a great
deal): their files are found through `importlib` and read with pandas.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from importlib import metadata, util
from pathlib import Path

import pandas as pd

from jaxvae.data import panel_from_frame
from jaxvae.data.panel import Panel, Reference
from jaxvae.data.regimes import regimes_panel
from jaxvae.data.synthetic import linear_panel, nonlinear_panel
from jaxvae.errors import DataError, MissingExtraError, OptionError, check_option, import_extra

FRENCH_FACTORS = ["MktRF", "SMB", "HML", "Mom"]
FRENCH_RISKLESS = "RF"
SP500_NOTES = (
    "sp500 suffers from survivorship: its 20 companies were picked from those still quoted in "
    "2022, so that average returns are higher, and ruin rarer, than an investor of 1990 could "
    "have expected.",
    "sp500 is a stale example data set, its adjusted prices rounded to a tenth of a cent: early "
    "returns of stocks that have split often (AAPL and BBY start under 0.30) carry rounding "
    "errors of up to half a percent a price.",
)
FRENCH_NOTES = (
    "french holds overlapping portfolios, not stocks: the same firms sorted by industry, by size "
    "and value, and by size and momentum, so that its assets are tied by construction.",
    "french's returns are monthly and raw; its reference factor MktRF is in excess of the "
    "riskless rate, which is left out.",
)
STOCKS_START = "2011-10-03"
STOCKS_NOTES = (
    "stocks suffers from survivorship: five technology companies, picked for being well known in "
    "2013; none of them has failed.",
    "stocks' prices are closes adjusted for splits and dividends, public domain, as Quandl's WIKI "
    "table had them, without a guarantee; GOOG is the share class that has been called GOOGL since "
    "2014.",
    "stocks is short and about a few companies: FB, listed on 2012-05-18, has 39 returns in the "
    "training part.",
)
TICKERS_NOTES = (
    "Prices are Yahoo Finance's closes, adjusted for splits and dividends.",
    "The tickers were chosen with hindsight and are still quoted: companies that failed or were "
    "taken over are missing (survivorship), which flatters average returns.",
)


def load_sp500() -> Panel:
    """Daily returns of 20 S&P 500 stocks, 1990-01-03 to 2022-12-28, 8,312 dates.

    Simple returns p_t / p_{t−1} − 1, as fractions, of the 8,313 adjusted closes that the wheel of
    `skfolio` carries (its `load_sp500_dataset`).

    Returns:
        The panel, 8,312 × 20.

    Raises:
        MissingExtraError: the package, or the file in it, is absent.
    """
    path = _wheel_file("skfolio", "datasets/data/sp500_dataset.csv.gz")
    prices = pd.read_csv(path, index_col="Date", parse_dates=["Date"])
    return panel_from_frame(prices, kind="prices", name="sp500").with_notes(*SP500_NOTES)


def load_french() -> Panel:
    """Monthly returns of 30 US portfolios, 1949-01 to 2017-03, 819 dates, each a month's first day.

    12 industries, 9 portfolios sorted by size and value (S1V1 … S5V5) and 9 by size and momentum
    (S1M1 … S5M5): raw returns, as fractions. The market in excess of the riskless rate, size, value
    and momentum (MktRF, SMB, HML, Mom) are the panel's reference, not its assets; their loadings
    are unknown.

    Source: Kenneth R. French's data library (Fama & French 1993; Carhart 1997), in the wheel of
    `linearmodels` (`datasets.french`).

    Returns:
        The panel, 819 × 30, with four factors as its reference.

    Raises:
        MissingExtraError: the package, or the file in it, is absent.
    """
    path = _wheel_file("linearmodels", "datasets/french/french.csv.bz2")
    frame = pd.read_csv(path, index_col="dates", parse_dates=["dates"])
    portfolios = frame.drop(columns=[*FRENCH_FACTORS, FRENCH_RISKLESS])
    panel = panel_from_frame(portfolios, name="french").with_notes(*FRENCH_NOTES)
    reference = Reference(frame.loc[panel.dates, FRENCH_FACTORS], None, planted=False)
    return replace(panel, reference=reference)


def load_stocks(start: str | date = STOCKS_START) -> Panel:
    """Daily returns of AAPL, FB, GOOG, IBM and MSFT, from 2011-10-03 to 2013-03-01, 354 dates.

    Simple returns of closes adjusted for splits and dividends, as fractions; NaN before a company
    was listed. The file begins on 2000-03-01, GOOG's prices on 2004-08-19 and FB's on 2012-05-18.

    Source: Quandl's WIKI table, which its publisher declared public domain, in the wheel of
    `bokeh_sampledata`.

    Args:
        start: first day of returns. By default the start of a quarter in which FB has enough
            returns in the training part to be fitted; from an earlier one drop FB first.

    Returns:
        The panel, dates × 5.

    Raises:
        MissingExtraError: the package, or the file in it, is absent.
        OptionError: `start` is no date.
    """
    path = _wheel_file("bokeh_sampledata", "_data/stocks.csv.gz")
    table = pd.read_csv(path, parse_dates=["Date"], index_col=["Date", "Ticker"])
    prices = table["Adj Close"].unstack()  # noqa: PD010 (a repeated day is to raise)
    before = prices.index[prices.index < pd.Timestamp(_day("start", start))]
    prices = prices.loc[before[-1] if len(before) else None :]
    panel = panel_from_frame(
        prices, kind="prices", missing="keep", name="stocks", for_fitting=False
    )
    return panel.with_notes(*(STOCKS_NOTES if start == STOCKS_START else STOCKS_NOTES[:2]))


def load_tickers(
    tickers: Sequence[str],
    start: str | date | None,
    end: str | date | None,
    *,
    download: Callable[..., pd.DataFrame | None] | None = None,
    missing: str | None = None,
) -> Panel:
    """Daily returns of tickers from Yahoo Finance, in the order of the request.

    Simple returns of closes adjusted for splits and dividends, as fractions. The tests put an
    imitation in the place of `download`: a live download was never exercised.

    Args:
        tickers: Yahoo's symbols; upper and lower case are the same.
        start, end: first and last day of the prices, both included, as YYYY-MM-DD. (yfinance itself
            leaves `end` out.) None is refused: without dates yfinance returns one month.
        download: called as `yfinance.download`, which is the default.
        missing: what to do with gaps, as in `panel_from_frame`.

    Returns:
        The panel, dates × tickers.

    Raises:
        OptionError: the request repeats a ticker or has none, or its dates cannot be read or are
            not in order; `missing` is no choice.
        MissingExtraError: yfinance is not installed.
        DataError: the download fails, a ticker has no prices, or the prices fail the checks of a
            panel.
    """
    symbols, first, last = _symbols(tickers), _day("start", start), _day("end", end)
    if first >= last:
        raise OptionError("start", f"{first} is not before the end, {last}; give an earlier start")
    ask = download or import_extra("yfinance", "yfinance", "downloads tickers").download
    answer = _ask(ask, symbols, first, last)
    prices = _closes(answer, symbols, f"between {first} and {last}")
    panel = panel_from_frame(prices, kind="prices", missing=missing, name="tickers")
    return panel.with_notes(*TICKERS_NOTES)


SOURCES: dict[str, Callable[[], Panel]] = {
    "linear": lambda: linear_panel()[0],
    "nonlinear": lambda: nonlinear_panel()[0],
    "regimes": lambda: regimes_panel()[0],
    "sp500": load_sp500,
    "french": load_french,
    "stocks": load_stocks,
}


def load_named(name: str) -> Panel:
    """The panel of a named source: `linear`, `nonlinear`, `regimes`, `sp500`, `french` or `stocks`.

    Raises OptionError for any other name, and what the source itself raises.
    """
    return SOURCES[check_option("name", name, str, choices=SOURCES)]()


def _wheel_file(package: str, inside: str) -> Path:
    """Where an installed package keeps a file; the package is not imported."""
    spec = util.find_spec(package)
    if spec is None:
        raise MissingExtraError(
            f"the package {package}, which holds this panel, is not installed: "
            "pip install 'jaxvae[data]'"
        )
    for folder in spec.submodule_search_locations or []:
        if (path := Path(folder, inside)).is_file():
            return path
    raise MissingExtraError(
        f"the installed {package} {_version(package)} has no file {inside}, which holds this "
        "panel: pip install --force-reinstall 'jaxvae[data]'"
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(of unknown version)"


def _symbols(tickers: Sequence[str]) -> list[str]:
    """The request as Yahoo spells it; its downloader drops repeats without a word."""
    if isinstance(tickers, str):
        raise OptionError("tickers", f"{tickers!r} is a text; give a list of tickers")
    symbols = [ticker.strip().upper() for ticker in tickers]
    if not all(symbols) or not symbols:
        raise OptionError("tickers", "none is given, or an empty one; name at least one")
    repeated = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if repeated:
        raise OptionError("tickers", f"{', '.join(repeated)} comes twice; name each once")
    return symbols


def _day(option: str, value: str | date | None) -> date:
    if value is None:
        raise OptionError(option, "none is given; tickers need a first and a last day, YYYY-MM-DD")
    try:
        return date.fromisoformat(value if isinstance(value, str) else value.strftime("%Y-%m-%d"))
    except ValueError as error:
        raise OptionError(option, f"{value!r} is no date; give one as YYYY-MM-DD") from error


def _ask(
    download: Callable[..., pd.DataFrame | None], symbols: list[str], first: date, last: date
) -> pd.DataFrame:
    try:
        answer = download(
            symbols,
            start=first.isoformat(),
            end=(last + timedelta(days=1)).isoformat(),
            auto_adjust=True,
            progress=False,
        )
    except Exception as error:  # yfinance and the network libraries under it share no base class
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"the download failed ({reason}): check the connection") from error
    return pd.DataFrame() if answer is None else answer


def _closes(answer: pd.DataFrame, symbols: list[str], when: str) -> pd.DataFrame:
    """Adjusted closes in the order of the request.

    A failed ticker comes back as a column of gaps, or not at all, and never as an exception.
    """
    closes = answer["Close"] if "Close" in answer else pd.DataFrame()
    failed = [symbol for symbol in symbols if symbol not in closes or closes[symbol].isna().all()]
    if failed:
        raise DataError(
            f"no prices {when} for {', '.join(failed)}: check the spelling, the dates and the "
            "connection, or leave them out"
        )
    return pd.DataFrame(closes, columns=symbols)
