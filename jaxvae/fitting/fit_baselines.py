"""The classical baselines of a study: fitted on `fit`, scored on all dates."""

from jaxvae.analysis.incomplete import is_incomplete
from jaxvae.baselines import BASELINES, Development, Law
from jaxvae.errors import DataError, MissingExtraError
from jaxvae.fitting.prepare import Prepared

# What the report draws; a panel that does not carry them carries no study.
NEEDED = ("pca", "factor_analysis", "factor_analysis_best")


def fit_baselines(
    prepared: Prepared, best_factors: int | None = None
) -> tuple[dict[str, Law], list[str]]:
    """Every baseline of `baselines.BASELINES` that suits the panel and the models.

    Temporal ones stand beside models with a memory alone. On one BLAS thread: on many small
    matrices several cost far more than they give.

    Args:
        prepared: the panel; `fit` alone is looked at.
        best_factors: as `Development` has it.

    Returns:
        The laws by name, and a sentence for each that could not be fitted.

    Raises:
        DataError: PCA or factor analysis could not be fitted.
    """
    split, remembers = prepared.split, prepared.model.recurrence is not None
    known = Development(
        prepared.values[split.fit], split.train.stop, prepared.model.n_factors, best_factors
    )
    incomplete = is_incomplete(prepared.values)
    laws, unfitted = {}, []
    for name, baseline in BASELINES.items():
        if (baseline.temporal and not remembers) or (baseline.complete and incomplete):
            continue
        try:
            laws[name] = baseline.fit(known)
        except (DataError, MissingExtraError) as error:
            if name in NEEDED:
                raise
            unfitted.append(f"No {baseline.label} in comparisons: {error}.")
    return laws, unfitted
