"""The classical rivals of a study: fitted on `fit`, scored on all dates."""

from threadpoolctl import threadpool_limits

from jaxvae.analysis import baselines
from jaxvae.errors import DataError
from jaxvae.study.backtest import score_ewma
from jaxvae.study.fit import Prepared
from jaxvae.study.gaps import is_incomplete
from jaxvae.study.tables import Scored, score_baseline

MOST_BASELINE_FACTORS = 15


def fit_factor_models(prepared: Prepared, n_factors: int) -> dict[str, baselines.Baseline]:
    """PCA and factor analysis on `fit`, at the study's K and at their own best on validation.

    On one BLAS thread: on many small matrices several cost far more than they give.
    """
    split, values = prepared.split, prepared.values
    fit, train, validation = values[split.fit], values[split.train], values[split.validation]
    most = min(MOST_BASELINE_FACTORS, prepared.panel.n_assets // 2, len(train) // 3)
    fitters = {"pca": baselines.fit_pca, "factor_analysis": baselines.fit_factor_analysis}
    models, tried = {}, range(1, max(most, 1) + 1)
    with threadpool_limits(1):
        for name, fitter in fitters.items():
            best, _ = baselines.choose_n_factors(fitter, train, validation, tried)
            models[name], models[f"{name}_best"] = fitter(fit, n_factors), fitter(fit, best)
    return models


def fit_baselines(
    prepared: Prepared, models: dict[str, baselines.Baseline]
) -> tuple[list[Scored], list[str]]:
    """Classical rivals: the factor models given, Ledoit-Wolf and the multivariate t, fitted here;
    and what could not be fitted. On one BLAS thread too."""
    fit, values = prepared.values[prepared.split.fit], prepared.values
    others = {
        "ledoit_wolf": baselines.fit_ledoit_wolf,
        "multivariate_t": baselines.fit_multivariate_t,
    }
    unfitted = []
    with threadpool_limits(1):
        for name, fitter in others.items():
            try:
                models = {**models, name: fitter(fit)}
            except DataError as error:
                unfitted.append(f"The {name.replace('_', ' ')} could not be fitted: {error}.")
        scored = [score_baseline(name, model, values) for name, model in models.items()]
    if prepared.model.recurrence is not None and not is_incomplete(values):
        scored.append(score_ewma(prepared))
    return scored, unfitted
