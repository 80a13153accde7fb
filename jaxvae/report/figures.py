"""The figures of a study's report, by their names."""

from jaxvae.report.candidates import candidates_figure, choice_of
from jaxvae.report.factor_figures import (
    agreement_figure,
    loading_figure,
    match_figure,
    series_figure,
)
from jaxvae.report.holdings import risk_figure
from jaxvae.report.results import DrawFigure, StudyResults
from jaxvae.report.score_figures import (
    beta_figure,
    comparison_figure,
    generated_figure,
    number_figure,
    reconstruction_figure,
    training_figure,
)
from jaxvae.report.verdicts import compare_models


def drawings(study: StudyResults) -> dict[str, DrawFigure]:
    """What draws the figures that the study has the tables and arrays for."""
    several, known = int(study.members.ok.sum()) > 1, "correlation" in study.arrays
    found = {
        "agreement": agreement_figure if several else None,
        "matched_factors": match_figure if known else None,
        "factor_series": series_figure,
        "loadings": loading_figure,
        "n_factors": number_figure,
        "comparison": comparison_figure if compare_models(study).leads else None,
        "score_over_beta": beta_figure,
        "training_curves": training_figure,
        "reconstruction": reconstruction_figure,
        "generated": generated_figure,
        "risk": risk_figure,
        "candidates": candidates_figure if choice_of(study) is not None else None,
    }
    return {name: figure for name, figure in found.items() if figure is not None}
