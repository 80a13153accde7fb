"""Panels of installed packages against published figures; Yahoo's downloader by an imitation."""

import subprocess
import sys
from datetime import date
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from jaxvae.data import named
from jaxvae.data.named import (
    SOURCES,
    load_french,
    load_named,
    load_sp500,
    load_stocks,
    load_tickers,
)
from jaxvae.data.panel import fit_scaler, split_dates
from jaxvae.errors import DataError, MissingExtraError, OptionError

YAHOO_FIELDS = ["Open", "High", "Low", "Close", "Volume"]


@pytest.fixture(scope="module")
def sp500():
    return load_sp500()


@pytest.fixture(scope="module")
def french():
    return load_french()


def standardised_parts(panel):
    """`fit` and `test` in the units of `fit`."""
    split = split_dates(panel.n_dates)
    scaler = fit_scaler(panel.values[split.fit])
    values = scaler.standardise(panel.values)
    return values[split.fit], values[split.test]


def gaussian_score(values, covariance):
    mean = np.zeros(values.shape[1])
    return multivariate_normal(mean, covariance).logpdf(values).mean()


def yahoo(prices, failed=()):
    """An imitation of yfinance 1.7's `download` that serves `prices` and records its requests.

    Order and case of the request are lost, `end` is exclusive, every field is there, a failed
    ticker is a column of gaps and alone contributes `Adj Close`.
    """

    def download(tickers, start=None, end=None, **options):
        download.requests.append({"tickers": tickers, "start": start, "end": end, **options})
        served = prices[(prices.index >= start) & (prices.index < end)]
        columns = {}
        for ticker in sorted({ticker.upper() for ticker in tickers}):
            closes = served[ticker] if ticker not in failed else np.nan
            fields = [*YAHOO_FIELDS, *(["Adj Close"] if ticker in failed else [])]
            columns |= {(field, ticker): closes for field in fields}
        answer = pd.DataFrame(columns, index=served.index)
        answer.columns = pd.MultiIndex.from_tuples(answer.columns, names=["Price", "Ticker"])
        return answer.sort_index(axis=1)

    download.requests = []
    return download


@pytest.fixture
def prices():
    """Made-up closes of three tickers over the 262 business days of 2020."""
    random = np.random.RandomState(0)
    dates = pd.bdate_range("2020-01-01", "2020-12-31", name="Date")
    steps = 1 + 0.01 * random.randn(len(dates), 3)
    return pd.DataFrame(100 * steps.cumprod(axis=0), index=dates, columns=["AAPL", "MSFT", "XOM"])


def test_stocks_panel():
    """FB was listed on 2012-05-18 and GOOG on 2004-08-19; AAPL fell by 52 % on 2000-09-29."""
    panel = load_stocks()
    assert panel.assets == ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    assert panel.values.shape == (354, 5)
    assert np.isnan(panel.values).sum(axis=0).tolist() == [0, 159, 0, 0, 0]
    assert str(panel.dates[159].date()) == "2012-05-21"
    assert np.isfinite(panel.values[159, 1])
    assert any("survivorship" in note for note in panel.notes)
    whole = load_stocks("2000-03-01").to_frame()
    assert whole.shape == (3269, 5)
    assert whole.notna().sum().tolist() == [3269, 195, 2147, 3269, 3269]
    assert whole.AAPL.idxmin() == pd.Timestamp("2000-09-29")
    assert whole.AAPL.min() == pytest.approx(-0.5187, abs=1e-4)
    assert whole.index[whole.GOOG.notna()][0] == pd.Timestamp("2004-08-20")


def test_sp500_panel(sp500):
    assert sp500.values.shape == (8312, 20)
    assert str(sp500.dates[0].date()) == "1990-01-03"
    assert str(sp500.dates[-1].date()) == "2022-12-28"
    assert sp500.assets[:2] == ("AAPL", "AMD")
    assert sp500.values[0, 0] == pytest.approx(0.266 / 0.264 - 1)
    assert sp500.reference is None
    assert sp500.name == "sp500"
    assert any("survivorship" in note for note in sp500.notes)


def test_french_panel(french):
    assert french.values.shape == (819, 30)
    assert french.assets[0] == "NoDur"
    assert french.assets[-1] == "S5M5"
    assert french.values[0, 0] == pytest.approx(0.0367)
    assert str(french.dates[-1].date()) == "2017-03-01"
    assert french.name == "french"
    assert any("riskless" in note for note in french.notes)


def test_french_reference_is_the_named_factors(french):
    reference = french.reference
    assert list(reference.factors) == ["MktRF", "SMB", "HML", "Mom"]
    assert reference.factors.index.equals(french.dates)
    assert reference.loadings is None
    assert not reference.planted
    mean = french.values.mean(axis=1)
    assert np.corrcoef(mean, reference.factors["MktRF"])[0, 1] > 0.9


def test_full_gaussian_out_of_sample(sp500, french):
    """The reference takes the covariance with divisor n − 1."""
    for panel, expected in [(sp500, -21.20), (french, -31.92)]:
        fit, test = standardised_parts(panel)
        assert round(gaussian_score(test, np.cov(fit.T)), 2) == expected


def test_ledoit_wolf_out_of_sample(sp500, french):
    for panel, expected in [(sp500, -21.22), (french, -30.08)]:
        fit, test = standardised_parts(panel)
        assert round(gaussian_score(test, LedoitWolf().fit(fit).covariance_), 2) == expected


def test_packages_with_data_are_not_imported():
    code = (
        "import sys; from jaxvae.data.named import load_named; "
        "load_named('sp500'); load_named('french'); load_named('stocks'); "
        "brought = {'skfolio', 'linearmodels', 'statsmodels', 'yfinance', 'bokeh_sampledata'}; "
        "sys.exit(bool(brought & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "package"),
    [("sp500", "skfolio"), ("french", "linearmodels"), ("stocks", "bokeh_sampledata")],
)
def test_absent_package_names_the_extra(monkeypatch, name, package):
    monkeypatch.setattr(named.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError) as caught:
        load_named(name)
    assert str(caught.value) == (
        f"the package {package}, which holds this panel, is not installed: "
        "pip install 'jaxvae[data]'"
    )
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("folders", [None, ["nowhere"]])
def test_moved_file_names_the_version(monkeypatch, folders):
    spec = SimpleNamespace(submodule_search_locations=folders)
    monkeypatch.setattr(named.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(named.metadata, "version", lambda _: "9.9")
    with pytest.raises(MissingExtraError, match=r"^the installed skfolio 9\.9 has no file data"):
        load_sp500()


def test_moved_file_of_a_package_without_a_version(monkeypatch):
    def absent(package):
        raise named.metadata.PackageNotFoundError(package)

    spec = SimpleNamespace(submodule_search_locations=["nowhere"])
    monkeypatch.setattr(named.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(named.metadata, "version", absent)
    with pytest.raises(MissingExtraError, match="of unknown version"):
        load_french()


@pytest.mark.parametrize("name", SOURCES)
def test_named_sources(name):
    assert load_named(name).name == name


def test_unknown_source():
    with pytest.raises(OptionError) as caught:
        load_named("nasdaq")
    assert str(caught.value) == (
        "name: 'nasdaq' is not one of linear, nonlinear, regimes, sp500, french, stocks"
    )


def test_tickers_come_in_the_order_of_the_request(prices):
    request = ["XOM", "aapl ", "MSFT"]
    panel = load_tickers(request, "2020-01-01", "2020-12-31", download=yahoo(prices))
    expected = prices[["XOM", "AAPL", "MSFT"]].pct_change().iloc[1:]
    assert panel.assets == ("XOM", "AAPL", "MSFT")
    assert panel.dates.equals(pd.DatetimeIndex(expected.index))
    np.testing.assert_allclose(panel.values, expected.values, rtol=1e-12)
    assert any("survivorship" in note for note in panel.notes)


def test_end_is_included(prices):
    download = yahoo(prices)
    panel = load_tickers(["AAPL", "XOM"], date(2020, 1, 1), "2020-12-30", download=download)
    assert panel.dates[-1] == pd.Timestamp("2020-12-30")
    assert download.requests == [
        {
            "tickers": ["AAPL", "XOM"],
            "start": "2020-01-01",
            "end": "2020-12-31",
            "auto_adjust": True,
            "progress": False,
        }
    ]


def test_failed_tickers_are_all_named(prices):
    download = yahoo(prices, failed=("NOPE", "GONE"))
    with pytest.raises(DataError) as caught:
        load_tickers(["NOPE", "AAPL", "GONE"], "2020-01-01", "2020-12-31", download=download)
    assert str(caught.value) == (
        "no prices between 2020-01-01 and 2020-12-31 for NOPE, GONE: check the spelling, the "
        "dates and the connection, or leave them out"
    )


@pytest.mark.parametrize("answer", [None, pd.DataFrame()])
def test_empty_answer_fails_every_ticker(answer):
    with pytest.raises(DataError, match="for AAPL, XOM: check"):
        load_tickers(["AAPL", "XOM"], "2020-01-01", "2020-12-31", download=lambda *_, **__: answer)


def test_ticker_without_rows_fails(prices):
    with pytest.raises(DataError, match="for AAPL, XOM: check"):
        load_tickers(["AAPL", "XOM"], "2031-01-01", "2031-12-31", download=yahoo(prices))


def test_gaps_follow_the_missing_policy(prices):
    prices.iloc[100, 2] = np.nan
    request = (["AAPL", "MSFT", "XOM"], "2020-01-01", "2020-12-31")
    with pytest.raises(DataError, match="XOM"):
        load_tickers(*request, download=yahoo(prices))
    panel = load_tickers(*request, download=yahoo(prices), missing="drop-assets")
    assert panel.assets == ("AAPL", "MSFT")


def test_failing_download_is_one_line():
    def download(*_, **__):
        raise ConnectionError("could not\nresolve host")

    with pytest.raises(DataError) as caught:
        load_tickers(["AAPL"], "2020-01-01", "2020-12-31", download=download)
    assert str(caught.value) == (
        "the download failed (ConnectionError: could not resolve host): check the connection"
    )


@pytest.mark.parametrize(
    ("tickers", "start", "end", "message"),
    [
        (["A", "B", "a"], "2020-01-01", "2020-02-01", "tickers: A comes twice; name each once"),
        ([], "2020-01-01", "2020-02-01", "tickers: none is given, or an empty one"),
        (["A", " "], "2020-01-01", "2020-02-01", "tickers: none is given, or an empty one"),
        ("A B", "2020-01-01", "2020-02-01", "tickers: 'A B' is a text; give a list"),
        (["A"], None, "2020-02-01", "start: none is given; tickers need a first and a last day"),
        (["A"], "2020-01-01", None, "end: none is given"),
        (
            ["A"],
            "01/02/2020",
            "2020-02-01",
            "start: '01/02/2020' is no date; give one as YYYY-MM-DD",
        ),
        (["A"], "2020-01-01", "2020-02-30", "end: '2020-02-30' is no date"),
        (["A"], "2020-02-01", "2020-02-01", "start: 2020-02-01 is not before the end"),
    ],
)
def test_bad_request(tickers, start, end, message):
    with pytest.raises(OptionError) as caught:
        load_tickers(tickers, start, end, download=yahoo(pd.DataFrame()))
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def test_yfinance_is_the_default(monkeypatch, prices):
    download = yahoo(prices)
    monkeypatch.setitem(sys.modules, "yfinance", SimpleNamespace(download=download))
    assert load_tickers(["AAPL", "XOM"], "2020-01-01", "2020-12-31").n_assets == 2
    assert len(download.requests) == 1


def test_absent_yfinance_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(MissingExtraError) as caught:
        load_tickers(["AAPL"], "2020-01-01", "2020-12-31")
    assert str(caught.value) == (
        "the package yfinance, which downloads tickers, is not installed: "
        "pip install 'jaxvae[yfinance]'"
    )
