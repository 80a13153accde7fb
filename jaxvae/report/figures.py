"""The figures of a study's report, by their names."""

from jaxvae.report import candidates, factor_figures, holdings, score_figures
from jaxvae.report.results import DrawFigure, StudyResults
from jaxvae.report.verdicts import compare_models


def drawings(study: StudyResults) -> dict[str, DrawFigure]:
    """What draws the figures that the study has the tables and arrays for."""
    several, known = int(study.members.ok.sum()) > 1, "correlation" in study.arrays
    found = {
        "agreement": factor_figures.agreement_figure if several else None,
        "matched_factors": factor_figures.match_figure if known else None,
        "factor_series": factor_figures.series_figure,
        "loadings": factor_figures.loading_figure,
        "n_factors": score_figures.number_figure,
        "comparison": score_figures.comparison_figure if compare_models(study).leads else None,
        "score_over_beta": score_figures.beta_figure,
        "training_curves": score_figures.training_figure,
        "reconstruction": score_figures.reconstruction_figure,
        "generated": score_figures.generated_figure,
        "risk": holdings.risk_figure,
        "candidates": candidates.candidates_figure if study.candidates is not None else None,
    }
    return {name: figure for name, figure in found.items() if figure is not None}
