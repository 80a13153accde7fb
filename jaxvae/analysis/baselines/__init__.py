"""Classical models of standardised returns: one file each, one table of them all.

A new one is a file whose fit gives a `Law`, and a line in `table.BASELINES`.
"""

from jaxvae.analysis.baselines.ccc_t import fit_ccc_t
from jaxvae.analysis.baselines.elliptical import Elliptical, fit_gaussian
from jaxvae.analysis.baselines.ewma_t import EwmaT, fit_ewma_t
from jaxvae.analysis.baselines.ewma_t_two_speeds import fit_ewma_t_two_speeds
from jaxvae.analysis.baselines.factor_analysis import (
    fit_factor_analysis,
    fit_factor_analysis_sizes,
)
from jaxvae.analysis.baselines.garch_copula import GarchCopula, fit_garch_copula
from jaxvae.analysis.baselines.independent import fit_independent
from jaxvae.analysis.baselines.ledoit_wolf import fit_ledoit_wolf
from jaxvae.analysis.baselines.multivariate_t import fit_multivariate_t
from jaxvae.analysis.baselines.multivariate_t_shrunk import fit_multivariate_t_shrunk
from jaxvae.analysis.baselines.pca import explained_variance_ratio, fit_pca, fit_pca_sizes
from jaxvae.analysis.baselines.table import (
    BASELINES,
    Baseline,
    Development,
    Law,
    choose_n_factors,
    most_factors,
)

__all__ = [
    "BASELINES",
    "Baseline",
    "Development",
    "Elliptical",
    "EwmaT",
    "GarchCopula",
    "Law",
    "choose_n_factors",
    "explained_variance_ratio",
    "fit_ccc_t",
    "fit_ewma_t",
    "fit_ewma_t_two_speeds",
    "fit_factor_analysis",
    "fit_factor_analysis_sizes",
    "fit_garch_copula",
    "fit_gaussian",
    "fit_independent",
    "fit_ledoit_wolf",
    "fit_multivariate_t",
    "fit_multivariate_t_shrunk",
    "fit_pca",
    "fit_pca_sizes",
    "most_factors",
]
