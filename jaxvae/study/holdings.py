"""What is true of each asset, of pairs, sectors and the portfolios that stand for factors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis.attribution import VarianceParts, largest_pairs, variance_parts
from jaxvae.analysis.metrics import column_r2, correlation, correlations_of_pairs
from jaxvae.analysis.portfolios import mimicking_weights, to_gross_one
from jaxvae.fitting.prepare import Prepared
from jaxvae.scoring.value_at_risk import ValueAtRisk

SHOWN_PAIRS = 10
PAIR_EDGES = np.linspace(-1.0, 1.0, 81)
EQUAL = "(equal weights)"


class HoldingsInput(NamedTuple):
    """What tables of holdings are made of, returns as fractions.

    Attributes:
        prepared: the panel.
        loadings: assets × consensus factors, returns per standard deviation of a factor.
        volatility: the factors, by place, that move volatilities; their loadings say nothing.
        noise: each asset's own variance, the mean of the refits.
        covariance: Σ of the ensemble.
        residual: standardised returns less the ensemble's reconstruction; NaN where missing.
    """

    prepared: Prepared
    loadings: pd.DataFrame
    volatility: list[int]
    noise: Float[np.ndarray, " asset"]
    covariance: pd.DataFrame
    residual: Float[np.ndarray, "date asset"]

    @property
    def return_loadings(self) -> Float[np.ndarray, "asset factor"]:
        """The loadings of factors that move returns, zeros for others."""
        found = self.loadings.to_numpy(np.float64).copy()
        found[:, self.volatility] = 0.0
        return found


def holdings(
    held: HoldingsInput,
    factors: Float[np.ndarray, "date factor"],
    risk: ValueAtRisk,
    fan: Float[np.ndarray, "order step"] | None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The tables of a `Study` that are about holdings, by name, and arrays that figures draw.

    Arrays: histograms of the correlations of pairs of assets on the test dates, of returns
    ("before") and of what the factors leave ("after"), with their means; facts of the factors'
    portfolios; the fan of the one of equal weights.
    """
    correlations = _correlations(held)
    tables: dict[str, Any] = {
        "assets": assets_table(held),
        "portfolios": portfolios_table(held),
        "pairs": pairs_table(held.prepared.panel.assets, correlations),
        "exposures": exposures_table(held),
        "risk": risk.table,
    }
    arrays = portfolio_arrays(held, tables["portfolios"], factors)
    if fan is not None:
        arrays["fan"] = fan
    for name, table in (("before", "test"), ("after", "residual")):
        found = correlations[table][np.triu_indices(len(correlations[table]), k=1)]
        found = found[np.isfinite(found)]
        arrays[f"pairs_{name}"] = np.histogram(found, PAIR_EDGES)[0].astype(np.float64)
        arrays[f"mean_pair_{name}"] = np.array(np.abs(found).mean() if len(found) else np.nan)
    return tables, arrays | {"pairs_edges": PAIR_EDGES}


def _correlations(held: HoldingsInput) -> dict[str, Float[np.ndarray, "asset asset"]]:
    prepared, split = held.prepared, held.prepared.split
    covariance = held.covariance.to_numpy()
    std = np.sqrt(np.diag(covariance))
    return {
        "correlation": covariance / np.outer(std, std),
        "fit": correlations_of_pairs(prepared.values[split.fit]),
        "test": correlations_of_pairs(prepared.values[split.test]),
        "residual_fit": correlations_of_pairs(held.residual[split.fit]),
        "residual": correlations_of_pairs(held.residual[split.test]),
    }


def assets_table(held: HoldingsInput) -> pd.DataFrame:
    """A row an asset, and one for the portfolio of equal weights.

    count, mean, std, min, 25%, 50%, 75%, max: of its returns on all dates, as `DataFrame.describe`
    has them. r2: share of its variance on the test dates that the ensemble rebuilds. volatility,
    specific_risk: standard deviation of a date's return under the fitted covariance, and of what
    is the asset's own. factor 1 …, specific, rest: shares of its variance, which sum to 1.
    """
    prepared = held.prepared
    returns = prepared.panel.to_frame()
    returns[EQUAL] = returns.mean(axis=1, skipna=False)
    n_assets = prepared.panel.n_assets
    weights = np.vstack([np.eye(n_assets), np.full(n_assets, 1 / n_assets)])
    parts = _parts(held, weights)
    test = prepared.split.test
    explained = column_r2(prepared.values[test], held.residual[test])
    table = returns.describe().T.assign(
        r2=[*explained, _portfolio_r2(held)],
        volatility=np.sqrt(parts.total),
        specific_risk=np.sqrt(parts.specific),
    )
    shares = pd.DataFrame(parts.factors, index=table.index, columns=list(held.loadings))
    shares = shares.assign(specific=parts.specific, rest=parts.rest).div(parts.total, axis=0)
    return table.join(shares).rename_axis("asset")


def _parts(held: HoldingsInput, weights: Float[np.ndarray, "portfolio asset"]) -> VarianceParts:
    return variance_parts(weights, held.return_loadings, held.noise, held.covariance.to_numpy())


def _portfolio_r2(held: HoldingsInput) -> float:
    weights, test = held.prepared.scaler.scale, held.prepared.split.test
    both = [(part[test] @ weights)[:, None] for part in (held.prepared.values, held.residual)]
    return float(column_r2(*both)[0])


def portfolios_table(held: HoldingsInput) -> pd.DataFrame:
    """Assets × factors: weights of the portfolio that moves with one factor and with no other
    (`analysis.portfolios.mimicking_weights`), long and short together 1."""
    weights = to_gross_one(mimicking_weights(held.return_loadings, held.noise))
    return pd.DataFrame(weights, index=held.loadings.index, columns=held.loadings.columns)


def portfolio_arrays(
    held: HoldingsInput, portfolios: pd.DataFrame, factors: Float[np.ndarray, "date factor"]
) -> dict[str, np.ndarray]:
    """Of each factor's portfolio: its return per standard deviation of the factor, its volatility
    under the fitted covariance, the share of that variance that is specific, and its correlation
    with the factor on the test dates (0 where it holds nothing, or no date has every asset)."""
    weights, test = portfolios.to_numpy(), held.prepared.split.test
    parts = _parts(held, weights.T)
    returns = held.prepared.panel.values[test] @ weights
    known = np.isfinite(returns).all(axis=1)
    found = np.zeros(weights.shape[1])
    if known.any():
        found = np.diag(correlation(returns[known], factors[test][known]))
    return {
        "portfolio_exposure": (weights * held.return_loadings).sum(axis=0),
        "portfolio_volatility": np.sqrt(parts.total),
        "portfolio_specific": parts.specific / np.where(parts.total > 0, parts.total, 1.0),
        "portfolio_correlation": found,
    }


def pairs_table(
    assets: Sequence[str], correlations: dict[str, Float[np.ndarray, "asset asset"]]
) -> pd.DataFrame:
    """by, asset, other, correlation, fit, test, residual_fit, residual: the ten pairs of assets
    most correlated under the fitted covariance, and the ten most correlated in what the factors
    leave on `fit`.

    by: which of the two. correlation: under the fitted covariance. fit, test: of the returns on
    these dates. residual_fit, residual: of what the reconstruction leaves on them.
    """
    criteria = ("correlation", "residual_fit")
    ranked = [largest_pairs(correlations[name], SHOWN_PAIRS) for name in criteria]
    pairs = np.concatenate(ranked)
    names = np.array(assets, dtype=object)[pairs]
    by = np.repeat(criteria, [len(part) for part in ranked])
    values = {name: table[pairs[:, 0], pairs[:, 1]] for name, table in correlations.items()}
    return pd.DataFrame({"by": by, "asset": names[:, 0], "other": names[:, 1], **values})


def exposures_table(held: HoldingsInput) -> pd.DataFrame | None:
    """A row a sector: the number of its assets, their mean loading on each factor; None without
    sectors."""
    sectors = held.prepared.panel.sectors
    if sectors is None:
        return None
    groups = held.loadings.groupby(np.array(sectors, dtype=object))
    table = groups.mean()
    table.insert(0, "assets", groups.size())
    return table.rename_axis("sector")
