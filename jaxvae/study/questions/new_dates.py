"""What can be asked of a study: factors of new dates, and missing cells."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

from jaxvae.analysis import consensus
from jaxvae.data import as_panel
from jaxvae.data.panel import Panel
from jaxvae.fitting.config import check_seed
from jaxvae.inference.evaluation import posterior_means
from jaxvae.inference.imputation import complete_by_mixture
from jaxvae.inference.members import ask
from jaxvae.models.model import Batch
from jaxvae.study.dataset import with_units
from jaxvae.study.fitted import Asked, FittedStudy


def encode(study: Asked, panel: Panel | pd.DataFrame | str | Path) -> pd.DataFrame:
    """Consensus factors of a panel's dates; nothing is refitted.

    What a temporal model knows of the past comes from the panel's own earlier dates, and starts
    blank. Missing cells (NaN) are seen as such by a study of a panel that had some; for another
    they are first filled by `impute`, whose expectation of a linear encoder's factors is exact.

    Args:
        panel: or a DataFrame or a file of returns, as `read_panel` takes them.

    Returns:
        Dates × factors, in their standard deviations over `fit`; units in `attrs`.

    Raises:
        DataError: the panel lacks an asset or covariate of the study; others are ignored.
    """
    fitted, panel = study.fitted, as_panel(panel)
    rows, model = fitted.rows(panel, fitted.returns(panel)), fitted.model
    sees_gaps = model.facts.sees_gaps or "missing_cells" in fitted.config["panel"]
    if not (sees_gaps or np.asarray(rows.observed).all()):
        filled = jnp.asarray(_imputed(fitted, rows, seed=0), jnp.float32)
        rows = rows._replace(values=filled, observed=jnp.ones_like(filled))
    shared = {"batch": rows}
    by_member = np.asarray(ask(posterior_means, fitted.members, shared, model=model), np.float64)
    table = consensus.consensus_factors(fitted.consensus, by_member)
    index = pd.Index(panel.dates, name="date")
    factors = pd.DataFrame(table, index=index, columns=fitted.config["factor_names"])
    return with_units(factors, "factors")


def impute(study: Asked, panel: Panel | pd.DataFrame | str | Path, seed: int = 0) -> pd.DataFrame:
    """A panel without missing cells: E[x_missing | x_observed], date by date.

    From the equal mixture of the seeds refitted at the chosen β, each heard by how likely it
    made the cells observed. With a linear Gaussian decoder every expectation is exact; else it
    rests on importance samples. Cells observed come back as they are. An expectation varies
    less than a return does: for spreads and correlations use `scenarios` or the covariance.

    Args:
        panel: or a DataFrame or a file of returns.
        seed: of importance samples; the same one gives the same numbers.

    Returns:
        The study's assets, dates × assets, as fractions; units in `attrs`.

    Raises:
        DataError: the panel lacks an asset of the study, or has missing cells and lacks a
            covariate; others are ignored.
    """
    fitted, panel = study.fitted, as_panel(panel)
    check_seed(seed)
    values = fitted.returns(panel).copy()
    gaps = np.isnan(values)
    if gaps.any():
        filled = _imputed(fitted, fitted.rows(panel, values), seed)
        values[gaps] = fitted.scaler.restore(filled)[gaps]
    return fitted.table(values, pd.Index(panel.dates, name="date"))


def _imputed(fitted: FittedStudy, rows: Batch, seed: int) -> Float[np.ndarray, "date asset"]:
    """`impute` in standard units."""
    key, n_samples = jax.random.key(seed), fitted.config["likelihood_samples"]
    return complete_by_mixture(key, fitted.model, fitted.refits, rows, n_samples)
