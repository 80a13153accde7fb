"""Classical models of standardised returns: one file each, one table of them all.

A new one is a file whose fit gives a `Law`, and a line in `table.BASELINES`.
"""

from jaxvae.baselines.elliptical import Elliptical as Elliptical
from jaxvae.baselines.ewma_t import EwmaT as EwmaT
from jaxvae.baselines.ewma_t import fit_ewma_t as fit_ewma_t
from jaxvae.baselines.ewma_t_two_speeds import (
    fit_ewma_t_two_speeds as fit_ewma_t_two_speeds,
)
from jaxvae.baselines.factor_analysis import fit_factor_analysis as fit_factor_analysis
from jaxvae.baselines.factor_analysis import (
    fit_factor_analysis_sizes as fit_factor_analysis_sizes,
)
from jaxvae.baselines.garch_copula import GarchCopula as GarchCopula
from jaxvae.baselines.garch_copula import fit_garch_copula as fit_garch_copula
from jaxvae.baselines.independent import fit_independent as fit_independent
from jaxvae.baselines.law import Law as Law
from jaxvae.baselines.ledoit_wolf import fit_ledoit_wolf as fit_ledoit_wolf
from jaxvae.baselines.multivariate_t import fit_multivariate_t as fit_multivariate_t
from jaxvae.baselines.multivariate_t_shrunk import (
    fit_multivariate_t_shrunk as fit_multivariate_t_shrunk,
)
from jaxvae.baselines.pca import explained_variance_ratio as explained_variance_ratio
from jaxvae.baselines.pca import fit_pca as fit_pca
from jaxvae.baselines.pca import fit_pca_sizes as fit_pca_sizes
from jaxvae.baselines.table import BASELINES as BASELINES
from jaxvae.baselines.table import Baseline as Baseline
from jaxvae.baselines.table import Development as Development
from jaxvae.baselines.table import best_factors as best_factors
