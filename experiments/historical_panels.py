"""Daily panels of other markets and decades, on which no model of the package was tuned.

From the data files of the wheel `universal-portfolios` (MIT), which is not imported; its pandas is
an older one than ours, so that it comes by itself: pip install --no-deps universal-portfolios. The
files are what the literature on universal portfolios has used since Cover (1991): companies by
letters, chosen with hindsight, prices relative to the first day, without dates. Rows are numbered
as business days from the period's first.
"""

from importlib import util
from pathlib import Path

import pandas as pd

from jaxvae.data import panel_from_frame

PACKAGE = "universal"
# The file, and about when its first price is of.
FILES = {
    "new york 1962": ("nyse_o", "1962-07-03"),
    "new york 1985": ("nyse_n", "1985-01-01"),
    "toronto 1994": ("tse", "1994-01-04"),
    "countries 2006": ("msci", "2006-04-01"),
}


def load(name):
    """Simple returns of a panel by its name."""
    spec = util.find_spec(PACKAGE)
    if spec is None:
        raise SystemExit(f"{name} comes with: pip install --no-deps universal-portfolios")
    file, first = FILES[name]
    prices = pd.read_csv(Path(spec.submodule_search_locations[0], "data", f"{file}.csv"))
    prices.columns = [f"{file} {place + 1}" for place in range(prices.shape[1])]
    prices.index = pd.bdate_range(first, periods=len(prices), name="date")
    return panel_from_frame(prices, kind="prices", name=name)
