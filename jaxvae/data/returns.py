"""From prices to returns, and what becomes of missing cells."""

import numpy as np
import pandas as pd

from jaxvae.data.checks import LARGEST_VALUE, check_observed, check_size, refuse_cells
from jaxvae.data.panel import split_dates
from jaxvae.errors import DataError, Option, counted

SPANNED = "; the returns after these dates span them"
MISSING_POLICIES = ("drop-dates", "drop-assets", "mean", "keep")


def apply_missing_policy(
    table: pd.DataFrame, prices: bool, policy: str | None, n_factors: int | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Returns under a policy for missing cells, and the notes on what was done.

    Rows and columns go before returns are formed, so that a return spans the dates that went.

    Args:
        table: prices or returns.
        prices: which of them.
        policy: one of MISSING_POLICIES, or None.
        n_factors: None where nothing is to be fitted, and any size will do.
    """
    returns, notes = _returns_of(table, prices)
    if n_factors is not None:
        check_size(returns, n_factors)
        if policy not in ("drop-assets", "keep"):
            check_observed(returns)
    if policy is not None and table.isna().any(axis=None):
        if policy in DROPS:
            kept, note = DROPS[policy](table, prices)
            returns, notes = _returns_of(kept, prices)
        elif policy == "mean":
            returns, note = _fill_mean(returns)
        else:
            returns, note = _keep(returns, for_fitting=n_factors is not None)
        notes = (*notes, f"{note} (missing: {policy}).") if note else notes
        if n_factors is not None:
            check_size(returns, n_factors, " after ", Option("missing", policy))
    if returns.empty:
        raise DataError("no date with a return is left: give more dates, of prices at least 2")
    return returns, notes


def _returns_of(table: pd.DataFrame, prices: bool) -> tuple[pd.DataFrame, tuple[str, ...]]:
    return _simple_returns(table) if prices else (table, ())


def _simple_returns(prices: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Each asset's returns over its own last price, and the note on them."""
    last = prices.ffill().shift().iloc[1:]
    with np.errstate(over="ignore"):
        returns = prices.iloc[1:] / last - 1
    large = np.abs(returns.to_numpy()) > LARGEST_VALUE
    refuse_cells(returns, large, "too large for float32", "correct the prices")
    notes = ["Prices were turned into simple returns, so the first date was dropped."]
    spans = np.count_nonzero(returns.notna() & prices.shift().iloc[1:].isna())
    if spans:
        notes.append(
            f"{counted(spans, 'return')} of {returns.notna().to_numpy().sum():,} span dates "
            "without a price of the asset, from its last price on."
        )
    return returns, tuple(notes)


def _drop_dates(table: pd.DataFrame, prices: bool) -> tuple[pd.DataFrame, str]:
    kept = table.dropna()
    return kept, (
        f"Dropped {len(table) - len(kept):,} of {counted(len(table), 'date')} for a missing cell"
        + (SPANNED if prices else "")
    )


def _drop_assets(table: pd.DataFrame, prices: bool) -> tuple[pd.DataFrame, str]:
    # The first of n returns takes the first two of n + 1 prices.
    n_fit = split_dates(len(table) - prices).fit.stop + prices
    whole = table.iloc[:n_fit].notna().all()
    kept = table.loc[:, whole].dropna()
    return kept, (
        f"Dropped {_some(whole.index[~whole])} of {counted(len(whole), 'asset')} for a missing "
        f"cell in the first 70 % of dates, then {len(table) - len(kept):,} of "
        f"{counted(len(table), 'date')}, all later, for one that was left"
        + (SPANNED if prices else "")
    )


def _some(tickers: pd.Index) -> str:
    """How many tickers, and the first of them: 7 (A, B, C, D, E …)."""
    names = ", ".join(tickers[:5]) + (" …" if len(tickers) > 5 else "")
    return f"{len(tickers):,} ({names})" if names else "0"


def _fill_mean(returns: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    means = returns.iloc[split_dates(len(returns)).fit].mean()
    missing = returns.isna()
    return returns.fillna(means), (
        "Put the asset's mean over the first 70 % of dates in "
        f"{counted(np.count_nonzero(missing), 'missing cell')} of "
        f"{counted(np.count_nonzero(missing.any()), 'asset')}"
    )


def _keep(returns: pd.DataFrame, for_fitting: bool) -> tuple[pd.DataFrame, str]:
    kept = returns.dropna(how="all") if for_fitting else returns
    of = f"{len(returns) - len(kept):,} of {counted(len(returns), 'date')}"
    note = f"Dropped {of} without any value; other missing cells stay missing"
    return kept, note if len(kept) < len(returns) else ""


DROPS = {"drop-dates": _drop_dates, "drop-assets": _drop_assets}
