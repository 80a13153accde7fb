"""The arrays that a report draws, made once so that plots compute nothing."""

import numpy as np
from jaxtyping import Float

from jaxvae import baselines
from jaxvae.analysis import matching, metrics
from jaxvae.fitting.prepare import Prepared

MOST_PAIRS = 4000
_MOST_DATES, _MOST_ASSETS = 100, 4
BINS = 120


def figure_arrays(
    prepared: Prepared,
    whole: Float[np.ndarray, "date asset"],
    factors: Float[np.ndarray, "date factor"],
    reconstructions: dict[str, Float[np.ndarray, "date asset"]],
    scenarios: Float[np.ndarray, "scenario asset"],
) -> dict[str, np.ndarray]:
    """What plots draw, by name; in standard units.

    whole: returns without missing cells (`missing.completed`). factors: the consensus.
    reconstructions: by model, "vae" and "pca".
    """
    fit = prepared.values[prepared.split.fit]
    return {
        "explained_variance": baselines.explained_variance_ratio(whole[prepared.split.fit]),
        **_reconstructions(prepared, reconstructions),
        **_generated(fit, scenarios),
        **_matched(prepared, factors),
    }


def shown_assets(n_assets: int) -> list[int]:
    """Up to four assets, evenly spread, whose reconstruction is drawn."""
    return sorted({i * n_assets // _MOST_ASSETS for i in range(_MOST_ASSETS)})


def _reconstructions(
    prepared: Prepared, reconstructions: dict[str, Float[np.ndarray, "date asset"]]
) -> dict[str, np.ndarray]:
    """The first test dates of a few assets."""
    test = prepared.split.test
    rows = slice(test.start, min(test.start + _MOST_DATES, test.stop))
    shown = shown_assets(prepared.panel.n_assets)
    series = {"data": prepared.values, **reconstructions}
    return {f"reconstruction_{name}": values[rows][:, shown] for name, values in series.items()}


def _generated(
    data: Float[np.ndarray, "date asset"], scenarios: Float[np.ndarray, "scenario asset"]
) -> dict[str, np.ndarray]:
    """Densities of pooled returns, and correlations of pairs of assets (a few thousand at most)."""
    most = max(np.nanmax(np.abs(data)), np.abs(scenarios).max())
    edges = np.linspace(-most, most, BINS + 1)
    series = {"data": data, "generated": scenarios}
    every = -(-data.shape[1] * (data.shape[1] - 1) // (2 * MOST_PAIRS))
    pairs = {name: metrics.upper_correlations(values)[::every] for name, values in series.items()}
    known = np.isfinite(pairs["data"])
    arrays = {"density_edges": edges}
    for name, values in series.items():
        cells = values[np.isfinite(values)]
        arrays[f"density_{name}"] = np.histogram(cells, edges, density=True)[0]
        arrays[f"correlations_{name}"] = pairs[name][known]
    return arrays


def _matched(
    prepared: Prepared, factors: Float[np.ndarray, "date factor"]
) -> dict[str, np.ndarray]:
    """Consensus against known factors: matched on `fit`, correlated on `test`."""
    reference = prepared.panel.reference
    if reference is None:
        return {}
    fit, test = prepared.split.fit, prepared.split.test
    known = reference.factors.to_numpy(np.float64)
    found = matching.match(factors[fit], known[fit])
    arrays = {
        "correlation": metrics.correlation(factors[test], known[test]),
        "match_learned": found.learned,
        "reference_factors": known,
    }
    if reference.loadings is not None:
        arrays["reference_loadings"] = reference.loadings.to_numpy(np.float64)
    return arrays
