"""A study's tables as one xarray Dataset, and the units of each."""

from typing import Any

import numpy as np
import pandas as pd

from jaxvae.errors import import_extra
from jaxvae.report.words import KL_PARTS, TABLES

UNITS = {name: units for name, (_, units) in TABLES.items()}
NATS = {*KL_PARTS} - {"active_units"}  # beside likelihoods
COORDINATES = ("member", "seed", "beta")


def with_units(table: pd.DataFrame, like: str = "risk") -> pd.DataFrame:
    """A table with its units in `attrs`: those of a study's table of the name `like`."""
    table.attrs["units"] = UNITS[like]
    return table


def to_dataset(study: Any) -> Any:
    """The tables as an `xarray.Dataset`; needs the extra `xarray`.

    Returns:
        Factors, loadings, the covariance where the study has all of it, and the members' scores,
        with the dimensions member, date, asset and factor, and units among the attributes.

    Raises:
        MissingExtraError: xarray is not installed.
    """
    xarray = import_extra("xarray", "xarray")
    loadings, members = study.loadings, study.members
    factors = list(study.factors.columns)
    assets = list(study.config["assets"])
    numbers = [name for name in members if name not in COORDINATES]
    variables: dict[str, Any] = {
        "factors": (("date", "factor"), study.factors.to_numpy(np.float64)),
        "loadings": (("asset", "factor"), loadings[factors].to_numpy(np.float64)),
        **{name: ("member", members[name].to_numpy()) for name in numbers},
    }
    if study.covariance.shape == (len(assets), len(assets)):
        both = ("asset", "other_asset")
        variables["covariance"] = (both, study.covariance.to_numpy(np.float64))
    found = xarray.Dataset(
        variables,
        coords={
            "date": study.factors.index.to_numpy(),
            "factor": factors,
            "asset": assets,
            "other_asset": assets,
            **{name: ("member", members[name].to_numpy()) for name in COORDINATES},
        },
        attrs={"name": study.config["name"], "model": study.config["model"]},
    )
    for name, units in UNITS.items():
        if name in found:
            found[name].attrs["units"] = units
    for name in numbers:
        if name in NATS or name.startswith("log_likelihood"):
            found[name].attrs["units"] = "nats per date"
    return found
