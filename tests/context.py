"""A planted panel with the context of its dates and assets, with stocks held out, as files."""

from dataclasses import replace

import pandas as pd

from jaxvae.data.covariates import with_covariates
from jaxvae.data.synthetic import volatility_index_panel

WHOLE, TRUTH = volatility_index_panel(3, n_dates=300, n_assets=24, n_factors=2, n_sectors=3)
N_FIT = 210
HELD_OUT = [3, 11, 17]
KEPT = [asset for asset in range(24) if asset not in HELD_OUT]
OTHERS = replace(
    WHOLE,
    values=WHOLE.values[:, KEPT],
    assets=tuple(WHOLE.assets[asset] for asset in KEPT),
    sectors=tuple(WHOLE.sectors[asset] for asset in KEPT),
    reference=None,
)
# What the study is given of each date: the index and the calendar.
WITH_CONTEXT = with_covariates(OTHERS, ["calendar"])


def write_files(folder):
    """returns.csv, index.csv, sectors.csv."""
    OTHERS.to_frame().to_csv(folder / "returns.csv", index_label="date")
    OTHERS.covariates.to_csv(folder / "index.csv", index_label="date")
    pairs = pd.DataFrame({"asset": OTHERS.assets, "sector": OTHERS.sectors})
    pairs.to_csv(folder / "sectors.csv", index=False)


def study_words(files, out):
    """The command that makes a study of them."""
    words = ["study", "--data", files / "returns.csv", "--model", "conditional", "--covariates"]
    words += [files / "index.csv", "calendar", "--sectors", files / "sectors.csv", "--out", out]
    words += ["--seeds", "2", "--betas", "1", "--factors", "2", "--epochs", "100", "--quiet"]
    return [str(word) for word in words]
